//! Channels between the threads of one process: the transport of an embedded worker.

use std::sync::mpsc::Sender;

use fulmar_coordinator::{Event, Tuning};
use fulmar_state::{FoldJob, TxId};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::message::{Envelope, ToExecutor, ToPublisher, ToRecorder, ToSource, Transport};

/// A message, or the request to end.
pub(super) enum Mail<T> {
    Message(T),
    Stop,
}

/// What the driver hears.
pub(super) enum ToDriver {
    Event(Event),
    Fatal(String),
    /// Leadership is lost: the term ends at once.
    #[cfg_attr(
        not(feature = "zookeeper"),
        expect(dead_code, reason = "nothing takes an embedded term away")
    )]
    Lost(fulmar_coordinator::Error),
    /// Settings changed; told back when they count.
    #[cfg_attr(
        not(feature = "zookeeper"),
        expect(dead_code, reason = "only ZooKeeper brings settings while running")
    )]
    Tune(Tuning, oneshot::Sender<()>),
    Published(TxId),
    /// The lag of a source changed, in bytes.
    Lag(usize, u64),
    /// End without waiting for anything: the handle was dropped.
    Abandon,
}

/// One sender to every part of the worker. The channels have no bound of their own: what is under way is bounded by
/// the windows of the links and by the batches in flight.
#[derive(Clone)]
pub(super) struct Mailboxes {
    pub(super) executors: Vec<Sender<Mail<ToExecutor>>>,
    pub(super) sources: Vec<Sender<Mail<ToSource>>>,
    pub(super) recorder: Sender<Mail<ToRecorder>>,
    pub(super) flusher: Sender<Mail<FoldJob>>,
    pub(super) publisher: Sender<Mail<ToPublisher>>,
    pub(super) driver: UnboundedSender<ToDriver>,
}

impl Mailboxes {
    /// Asks every thread but the recorder's to end. What is sent to them afterwards is lost.
    pub(super) fn stop(&self) {
        self.sources
            .iter()
            .for_each(|source| drop(source.send(Mail::Stop)));
        self.executors
            .iter()
            .for_each(|executor| drop(executor.send(Mail::Stop)));
        drop(self.publisher.send(Mail::Stop));
        drop(self.flusher.send(Mail::Stop));
    }

    /// Asks the recorder to end: the last, since it writes down how far the others came.
    pub(super) fn stop_recorder(&self) {
        drop(self.recorder.send(Mail::Stop));
    }
}

impl Transport for Mailboxes {
    fn deliver(&self, envelope: Envelope) {
        // A receiver that is gone has ended with the topology: what it would have done is dropped and done anew.
        match envelope {
            Envelope::Executor(id, message) => {
                drop(self.executors[usize::from(id)].send(Mail::Message(message)))
            }
            Envelope::Source(id, message) => drop(self.sources[id].send(Mail::Message(message))),
            Envelope::Recorder(message) => drop(self.recorder.send(Mail::Message(message))),
            Envelope::Flusher(job) => drop(self.flusher.send(Mail::Message(job))),
            Envelope::Publisher(message) => drop(self.publisher.send(Mail::Message(message))),
            Envelope::Coordinator(event) => drop(self.driver.send(ToDriver::Event(event))),
            Envelope::Published(txid) => drop(self.driver.send(ToDriver::Published(txid))),
            Envelope::Fatal(error) => drop(self.driver.send(ToDriver::Fatal(error))),
        }
    }
}
