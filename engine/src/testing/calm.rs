//! The engine's cores without a coordinator, in one thread and in the order of their messages: nothing goes wrong here.
//!
//! It is the measure of what goes wrong elsewhere, so that it shares no more with the world than what it must: a worker's cores.

use std::collections::VecDeque;
use std::sync::Arc;

use fulmar_coordinator::{
    Batch, Cause, Event, Limits, Micros, PartitionMove, Positions, Skip, TxId, WorkerId,
};
use fulmar_state::{Attempt, DeadLetter, Generation, MemoryStorage, StateId, Storage};

use super::look::{Look, Seen};
use crate::message::{Envelope, ToExecutor, ToPublisher, ToRecorder, ToSource};
use crate::operator::BatchInfo;
use crate::plan::Plan;
use crate::publisher::Published;
use crate::recorder::FoldLimits;
use crate::sink::Sink;
use crate::worker::{Share, Worker, WorkerSettings};

/// A limit that nothing reaches.
const ENDLESS: usize = 1 << 40;

/// Where a batch ends: when there is nothing more to read for a moment.
const LIMITS: Limits = Limits {
    records: u64::MAX,
    bytes: u64::MAX,
    time_ms: 1,
};

/// A worker to which nothing happens.
pub(super) struct Calm {
    cores: Worker,
    storage: Arc<dyn Storage>,
    /// What is to be delivered next.
    queue: VecDeque<Envelope>,
    now: Micros,
    rewinds: u64,
    sealed: Option<Attempt>,
    spouts: Vec<String>,
    positions: Positions,
    /// What each source read of the attempt under way.
    reads: Vec<Option<Vec<PartitionMove>>>,
    failed: Option<Cause>,
    /// The last batch that was sealed here and found to be prepared.
    shown: TxId,
    /// So many messages were delivered.
    pub(super) delivered: u64,
    /// The worker cannot go on.
    fatal: Option<String>,
}

impl Calm {
    pub(super) fn new(
        plan: Plan,
        executors: u16,
        dead_letters: Box<dyn Sink<DeadLetter>>,
    ) -> Result<Self, String> {
        let spouts: Vec<String> = plan
            .graph
            .spouts
            .iter()
            .map(|spout| spout.name.clone())
            .collect();
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(&plan.states()));
        let settings = WorkerSettings {
            executors,
            limits: LIMITS,
            folds: FoldLimits {
                log_bytes: ENDLESS,
                overlay_bytes: ENDLESS,
            },
            dead_letters: Some(dead_letters),
        };
        let share = Share::whole(executors, spouts.len());
        let cores = Worker::new(plan, &share, settings, &storage);
        let mut calm = Calm {
            cores: cores.map_err(|error| error.to_string())?,
            storage,
            queue: VecDeque::new(),
            now: Micros(0),
            rewinds: 0,
            sealed: None,
            reads: vec![None; spouts.len()],
            spouts,
            positions: Positions::default(),
            failed: None,
            shown: TxId::ZERO,
            delivered: 0,
            fatal: None,
        };
        calm.rewind()?;
        Ok(calm)
    }

    /// The last sealed batch.
    pub(super) fn txid(&self) -> TxId {
        self.sealed.map_or(TxId::ZERO, |attempt| attempt.txid)
    }

    /// The attempt under way.
    fn attempt(&self) -> Attempt {
        let generation = Generation::new(1, self.rewinds);
        Attempt::new(self.txid().next(), generation)
    }

    /// Drops what is not sealed.
    pub(super) fn rewind(&mut self) -> Result<(), String> {
        self.rewinds += 1;
        self.failed = None;
        self.reads.iter_mut().for_each(|read| *read = None);
        let rewind = ToRecorder::Rewind {
            generation: self.attempt().generation,
            sealed: self.sealed,
            positions: self.positions.clone(),
        };
        self.queue.push_back(Envelope::Recorder(rewind));
        self.settle()
    }

    /// Reads and processes all that there is, but for some records, as the next batch. Careful, one record after the other.
    /// Answers what user code failed with, if it did.
    pub(super) fn read(
        &mut self,
        time_ms: u64,
        careful: bool,
        skip: &[Skip],
    ) -> Result<Option<Cause>, String> {
        let batch = Arc::new(Batch {
            attempt: self.attempt(),
            base: self.sealed,
            time_ms,
            limits: LIMITS,
            careful,
            skip: skip.to_vec(),
            replay: vec![None; self.spouts.len()],
        });
        for source in 0..self.spouts.len() {
            let issue = ToSource::Issue(batch.clone());
            self.queue.push_back(Envelope::Source(source, issue));
        }
        self.settle()?;
        while self.failed.is_none() && self.reads.iter().any(Option::is_none) {
            for (source, read) in self.cores.sources.iter_mut().zip(&self.reads) {
                if read.is_none() {
                    let (wait, envelopes) = source.pump(self.now);
                    self.queue.extend(envelopes);
                    if let crate::source::Wait::Poll(wait) = wait {
                        self.now = Micros(self.now.0 + wait.0.max(1));
                    }
                }
            }
            self.settle()?;
        }
        Ok(self.failed.take())
    }

    /// Processes what sources sent elsewhere as the next batch. Answers what user code failed with, if it did.
    pub(super) fn process(
        &mut self,
        time_ms: u64,
        sent: impl IntoIterator<Item = (u16, ToExecutor)>,
    ) -> Result<Option<Cause>, String> {
        let info = BatchInfo {
            attempt: self.attempt(),
            base: self.sealed,
            time_ms,
        };
        for (to, mut message) in sent {
            if let ToExecutor::Data { batch, .. } | ToExecutor::End { batch, .. } = &mut message {
                *batch = info;
            }
            self.queue.push_back(Envelope::Executor(to, message));
        }
        self.settle()?;
        Ok(self.failed.take())
    }

    /// Makes the batch under way final: shown and published.
    pub(super) fn seal(&mut self) -> Result<(), String> {
        let attempt = self.attempt();
        let announce = ToRecorder::Announce { attempt };
        self.queue.push_back(Envelope::Recorder(announce));
        self.settle()?;
        if self.shown != attempt.txid {
            return Err(format!("batch {} was not prepared", attempt.txid));
        }
        self.sealed = Some(attempt);
        for (spout, moves) in self.spouts.iter().zip(&mut self.reads) {
            self.positions
                .apply(spout, &moves.take().unwrap_or_default());
        }
        Ok(())
    }

    /// All keys and values of a state, encoded, in the order of the keys.
    pub(super) fn entries(&mut self, state: usize, look: Look) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (tell, told) = std::sync::mpsc::channel::<Option<Seen>>();
        let state = StateId(state as u16);
        for executor in &mut self.cores.executors {
            let tell = tell.clone();
            let read = Box::new(move |shard: &mut dyn fulmar_state::AnyShard| {
                // The receiver is there until all have answered.
                drop(tell.send((look.all)(shard)));
            });
            executor.step(ToExecutor::Read { state, read });
        }
        drop(tell);
        let seen = told.into_iter().flatten();
        let mut entries: Vec<_> = seen.flat_map(|seen| seen.entries).collect();
        entries.sort_unstable();
        entries
    }

    /// Delivers messages until nobody has anything to do.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            while let Some(envelope) = self.queue.pop_front() {
                self.deliver(envelope);
            }
            let prepared = self.cores.recorder.prepare();
            let mut idle = prepared.is_empty();
            self.queue.extend(prepared);
            match self.cores.publisher.publish_next() {
                Published::Nothing => {}
                Published::Taken(envelope) => {
                    idle = false;
                    self.queue.extend(envelope);
                }
                Published::Refused(sink, error) => {
                    return Err(format!("sink {sink:?}: {error}"));
                }
            }
            if let Some(error) = self.fatal.take() {
                return Err(error);
            }
            if idle {
                return Ok(());
            }
        }
    }

    fn deliver(&mut self, envelope: Envelope) {
        self.delivered += 1;
        let cores = &mut self.cores;
        let envelopes = match envelope {
            Envelope::Executor(to, message) => cores.executors[usize::from(to)].step(message),
            Envelope::Source(to, message) => cores.sources[to].step(message),
            Envelope::Recorder(message) => cores.recorder.step(message),
            Envelope::Flusher(job) => {
                let done = job.run(self.storage.as_ref());
                vec![Envelope::Recorder(ToRecorder::Folded(done))]
            }
            Envelope::Publisher(message @ ToPublisher::Publish { .. }) => {
                cores.publisher.step(message);
                Vec::new()
            }
            Envelope::Coordinator(event) => {
                self.hear(event);
                Vec::new()
            }
            Envelope::Published(_) => Vec::new(),
            Envelope::Fatal(error) => {
                self.fatal = Some(error);
                Vec::new()
            }
        };
        self.queue.extend(envelopes);
    }

    fn hear(&mut self, event: Event) {
        let live = self.attempt();
        match event {
            Event::Read {
                attempt,
                spout,
                report,
                ..
            } if attempt == live => self.reads[spout] = Some(report.moves),
            Event::Failed { attempt, cause } if attempt == live => {
                self.failed.get_or_insert(cause);
            }
            Event::SealAcked { worker, txid } => {
                debug_assert_eq!(worker, WorkerId(0), "there is one worker");
                self.shown = self.shown.max(txid);
            }
            Event::Rewound {
                outcome: Err(error),
                ..
            } => self.fatal = Some(error),
            _ => {}
        }
    }
}
