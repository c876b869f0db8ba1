//! The publisher: carries the outboxes of sealed batches to sinks, in order, until each is taken.

use std::collections::VecDeque;
use std::sync::Arc;

use fulmar_coordinator::WorkerId;
use fulmar_state::{DeadLetter, OutboxPart, TxId};

use crate::message::{Envelope, ToPublisher, ToRecorder};
use crate::sink::{AnySink, Part, Sink, SinkError};

/// The name under which dead letters are published.
const DEAD_LETTERS: &str = "dead letters";

pub(crate) struct Publisher {
    topology: Arc<str>,
    /// Tells the dead letters of one worker from those of another.
    worker: u16,
    sinks: Vec<(Arc<str>, Box<dyn AnySink>)>,
    dead_letters: Option<Box<dyn Sink<DeadLetter>>>,
    waiting: VecDeque<(TxId, VecDeque<OutboxPart>, Vec<DeadLetter>)>,
}

/// What became of one try to publish.
pub(crate) enum Published {
    /// There is nothing to publish.
    Nothing,
    /// A part was taken; the recorder may have to know.
    Taken(Option<Envelope>),
    /// A sink refused; it is offered the same again after a while.
    Refused(String, SinkError),
}

impl Publisher {
    pub(crate) fn new(
        topology: &str,
        worker: WorkerId,
        sinks: Vec<(String, Box<dyn AnySink>)>,
        dead_letters: Option<Box<dyn Sink<DeadLetter>>>,
    ) -> Self {
        let sinks = sinks
            .into_iter()
            .map(|(name, sink)| (name.into(), sink))
            .collect();
        Publisher {
            topology: topology.into(),
            worker: u16::try_from(worker.0).unwrap_or(u16::MAX),
            sinks,
            dead_letters,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn step(&mut self, message: ToPublisher) {
        let ToPublisher::Publish { txid, outbox, dead } = message;
        self.waiting.push_back((txid, outbox.into(), dead));
    }

    /// Publishes one part of the oldest batch.
    pub(crate) fn publish_next(&mut self) -> Published {
        let Some((txid, outbox, dead)) = self.waiting.front_mut() else {
            return Published::Nothing;
        };
        let txid = *txid;
        if let Some(part) = outbox.front() {
            let named = self.sinks.iter_mut().find(|(name, _)| **name == *part.sink);
            // The fingerprint holds the names of all sinks, so that an outbox never names another one.
            let (name, sink) = named.expect("every outbox belongs to a sink of this topology");
            let key = Part {
                topology: self.topology.clone(),
                sink: name.clone(),
                partition: part.partition,
                txid,
            };
            return match sink.publish(&key, part) {
                Ok(()) => {
                    outbox.pop_front();
                    Published::Taken(None)
                }
                Err(error) => Published::Refused(name.to_string(), error),
            };
        }
        if !dead.is_empty() {
            let Some(sink) = &mut self.dead_letters else {
                let what = format!(
                    "batch {txid} has records that failed every time, and no sink takes them: give the configuration one (Config::dead_letters)"
                );
                return Published::Refused(DEAD_LETTERS.to_string(), SinkError::permanent(what));
            };
            let key = Part {
                topology: self.topology.clone(),
                sink: DEAD_LETTERS.into(),
                partition: self.worker,
                txid,
            };
            if let Err(error) = sink.publish(&key, dead.clone()) {
                return Published::Refused(DEAD_LETTERS.to_string(), error);
            }
        }
        self.waiting.pop_front();
        Published::Taken(Some(Envelope::Recorder(ToRecorder::Published { txid })))
    }
}
