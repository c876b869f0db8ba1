//! The recorder: a worker's one writer. It prepares batches, carries rewinds out, shows what is sealed, and starts folds.
//!
//! Every method of the store that it calls makes at most one storage write, so a crash falls between two calls.

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fulmar_coordinator::{Cause, CauseKind, Event, Positions, prepare_id};
use fulmar_state::{
    Attempt, DeadLetter, Entry, FoldDone, FoldPart, Generation, OutboxPart, Rewind, RewindOutcome,
    SealOutcome, StateError, StateId, Store, TxId,
};

use crate::executor::Layout;
use crate::message::{
    BatchPart, Envelope, Party, ReadState, ToExecutor, ToPublisher, ToRecorder, ToSource,
};
use crate::worker::Share;

/// When the recorder folds, and when it makes preparing wait for the fold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldLimits {
    /// Bytes of log entries that a restart may have to reload.
    pub(crate) log_bytes: usize,
    /// Bytes that overlays may hold in memory.
    pub(crate) overlay_bytes: usize,
}

/// Published batches that may be forgotten by a crash, so that sinks see them again.
const UNRECORDED: u64 = 32;

struct Rewinding {
    generation: Generation,
    waiting: BTreeSet<Party>,
    failed: Option<String>,
}

struct Folding {
    upto: TxId,
    parts: BTreeMap<StateId, Vec<Arc<dyn FoldPart>>>,
    waiting: BTreeSet<u16>,
}

pub(crate) struct Recorder {
    share: Share,
    layout: Arc<Layout>,
    store: Store,
    /// The names of all spouts, by their numbers.
    spouts: Vec<String>,
    /// Batches that the publisher has and that are not published.
    publishing: usize,
    limits: FoldLimits,
    /// Nothing was prepared since the start.
    fresh: bool,
    /// Parts of batches that are not prepared, by executor.
    parts: BTreeMap<TxId, BTreeMap<u16, BatchPart>>,
    /// What prepared batches will publish once they are sealed.
    outboxes: BTreeMap<TxId, (Vec<OutboxPart>, Vec<DeadLetter>)>,
    overlays: Vec<usize>,
    rewinding: Option<Rewinding>,
    folding: Option<Folding>,
    /// A fold runs on the flusher.
    flushing: bool,
    loaded: bool,
    shown: TxId,
    recorded: TxId,
    /// Reads that came before the worker was told what is sealed.
    early: Vec<(u16, StateId, ReadState)>,
    failed: bool,
    out: Vec<Envelope>,
}

impl Recorder {
    pub(crate) fn new(
        share: Share,
        layout: Arc<Layout>,
        store: Store,
        spouts: Vec<String>,
        limits: FoldLimits,
    ) -> Self {
        let overlays = vec![0; share.executors.len()];
        Recorder {
            share,
            layout,
            spouts,
            publishing: 0,
            fresh: true,
            limits,
            parts: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            overlays,
            rewinding: None,
            folding: None,
            flushing: false,
            loaded: false,
            shown: TxId::ZERO,
            recorded: store.published(),
            store,
            early: Vec::new(),
            failed: false,
            out: Vec::new(),
        }
    }

    /// Takes one message; what is to be sent comes back in order.
    pub(crate) fn step(&mut self, message: ToRecorder) -> Vec<Envelope> {
        let outcome = match message {
            _ if self.failed => Ok(()),
            ToRecorder::Part(part) => self.part(*part),
            ToRecorder::Rewind {
                generation,
                sealed,
                positions,
            } => self.rewind(generation, sealed, &positions),
            ToRecorder::Rewound {
                party,
                generation,
                outcome,
            } => self.rewound(party, generation, outcome),
            ToRecorder::Announce { attempt } => self.announce(attempt),
            ToRecorder::Frozen { executor, parts } => self.frozen(executor, parts),
            ToRecorder::Folded(done) => done.and_then(|done| self.folded(done)),
            ToRecorder::Published { txid } => self.published(txid),
            ToRecorder::Read { state, reads } => {
                for (executor, read) in self.share.executors.clone().zip(reads) {
                    self.read(executor, state, read);
                }
                Ok(())
            }
            ToRecorder::ReadOne {
                executor,
                state,
                read,
            } => {
                self.read(executor, state, read);
                Ok(())
            }
            ToRecorder::Close => self.store.record_published(),
        };
        self.settle(outcome)
    }

    /// Prepares every batch that is whole, in one write. The shell calls this when no message waits, so that batches
    /// which came in during one fsync share the next.
    pub(crate) fn prepare(&mut self) -> Vec<Envelope> {
        let outcome = if self.failed { Ok(()) } else { self.append() };
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Result<(), StateError>) -> Vec<Envelope> {
        if let Err(error) = outcome {
            // A write that failed is never tried again: what is on the disk is not known until the log is read anew.
            self.failed = true;
            self.out.push(Envelope::Fatal(error.to_string()));
        }
        std::mem::take(&mut self.out)
    }

    fn tell_executors(&mut self, message: impl Fn() -> ToExecutor) {
        let executors = self.share.executors.clone();
        self.out
            .extend(executors.map(|executor| Envelope::Executor(executor, message())));
    }

    fn part(&mut self, part: BatchPart) -> Result<(), StateError> {
        if part.batch.attempt.generation == self.store.highest() {
            self.overlays[usize::from(part.executor - self.share.executors.start)] = part.overlay;
            self.parts
                .entry(part.batch.attempt.txid)
                .or_default()
                .insert(part.executor, part);
        }
        Ok(())
    }

    /// Whether whole batches wait for a fold. The coordinator is told now and then that they are alive.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.failed && !self.parts.is_empty() && self.is_behind()
    }

    /// Signs of life of the batches that wait.
    pub(crate) fn keep_alive(&mut self) -> Vec<Envelope> {
        let attempts = self
            .parts
            .values()
            .filter_map(|parts| parts.values().next())
            .map(|part| part.batch.attempt);
        attempts
            .map(|attempt| Envelope::Coordinator(Event::Ack { attempt, xor: 0 }))
            .collect()
    }

    /// Whether the fold, or a sink, is so far behind that preparing must wait for it.
    fn is_behind(&self) -> bool {
        // What a crash has left may be all that is allowed, and its fold takes a while. The first batches after a start do not wait
        // for it, so that a restart is seen to go on; however often that happens, each adds no more than was in flight.
        let unfolded = !self.fresh
            && (self.store.unfolded_bytes() >= 2 * self.limits.log_bytes
                || self.overlays.iter().sum::<usize>() >= self.limits.overlay_bytes);
        let folds = self.folding.is_some() || self.flushing || self.shown > self.store.folded();
        let unpublished = self.store.log_bytes() >= 4 * self.limits.log_bytes;
        (unfolded && folds) || (unpublished && self.publishing > 0)
    }

    fn append(&mut self) -> Result<(), StateError> {
        if self.rewinding.is_some() {
            return Ok(());
        }
        if self.is_behind() {
            self.fold_if_due();
            return Ok(());
        }
        let mut whole: Vec<BTreeMap<u16, BatchPart>> = Vec::new();
        let mut next = self.store.newest().next();
        let executors = self.share.executors.len();
        while self
            .parts
            .get(&next)
            .is_some_and(|parts| parts.len() == executors)
        {
            whole.extend(self.parts.remove(&next));
            next = next.next();
        }
        if whole.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry> = whole.into_iter().map(entry_of).collect();
        self.store.append(&entries)?;
        self.fresh = false;
        for Entry {
            attempt,
            outbox,
            dead,
            ..
        } in entries
        {
            let executors = self.share.executors.clone();
            let parts = executors.map(|executor| self.layout.part_id(attempt, executor));
            let xor = parts.fold(prepare_id(attempt, self.share.worker), |xor, id| xor ^ id);
            self.outboxes.insert(attempt.txid, (outbox, dead));
            self.out
                .push(Envelope::Coordinator(Event::Ack { attempt, xor }));
        }
        Ok(())
    }

    fn rewind(
        &mut self,
        generation: Generation,
        sealed: Option<Attempt>,
        positions: &Positions,
    ) -> Result<(), StateError> {
        match self.store.rewind(Rewind { generation, sealed }) {
            Ok(RewindOutcome::Older { highest }) => {
                self.answer(generation, Err(format!(
                    "its state was rewound to generation {highest} before, and this is {generation}: a newer coordinator has taken over, and this one has ended; \
                     or else the ledger is older than the state, and the newest one must be put back"
                )));
                Ok(())
            }
            Ok(RewindOutcome::Again) if !self.loaded => {
                // Carried out before this process started: its executors and sources know nothing of it, and what it has prepared
                // since cannot be gone on from.
                let cause = Cause::new(CauseKind::WorkerLost, "the worker has started again");
                let worker = self.share.worker;
                self.out
                    .push(Envelope::Coordinator(Event::Restarted { worker, cause }));
                Ok(())
            }
            Ok(RewindOutcome::Again) => {
                if self.rewinding.is_none() {
                    self.answer(generation, Ok(()));
                }
                Ok(())
            }
            Ok(RewindOutcome::Done) => {
                if !std::mem::replace(&mut self.loaded, true) {
                    self.load()?;
                }
                self.drop_unsealed(generation, sealed, positions);
                Ok(())
            }
            Err(error) => {
                self.answer(generation, Err(error.to_string()));
                // A past that is not the ledger's can be answered for again and again; a store that failed needs another process.
                self.store.usable()
            }
        }
    }

    fn drop_unsealed(
        &mut self,
        generation: Generation,
        sealed: Option<Attempt>,
        positions: &Positions,
    ) {
        let n = sealed.map_or(TxId::ZERO, |attempt| attempt.txid);
        self.parts.clear();
        self.show(n);
        self.outboxes.clear();
        self.tell_executors(|| ToExecutor::Rewind { generation, sealed });
        for &index in &self.share.sources {
            let positions = positions
                .of(&self.spouts[index])
                .map(|(partition, to)| (partition.to_string(), to.to_vec()))
                .collect();
            self.out.push(Envelope::Source(
                index,
                ToSource::Rewind {
                    generation,
                    positions,
                },
            ));
        }
        let executors = self.share.executors.clone().map(Party::Executor);
        let sources = self.share.sources.iter().copied().map(Party::Source);
        let waiting = executors.chain(sources).collect();
        self.rewinding = Some(Rewinding {
            generation,
            waiting,
            failed: None,
        });
    }

    fn rewound(
        &mut self,
        party: Party,
        generation: Generation,
        outcome: Result<(), String>,
    ) -> Result<(), StateError> {
        let Some(rewinding) = self
            .rewinding
            .as_mut()
            .filter(|rewinding| rewinding.generation == generation)
        else {
            return Ok(());
        };
        rewinding.waiting.remove(&party);
        if let Err(message) = outcome {
            rewinding.failed.get_or_insert(message);
        }
        if let Some(Rewinding { failed, .. }) = self
            .rewinding
            .take_if(|rewinding| rewinding.waiting.is_empty())
        {
            self.answer(generation, failed.map_or(Ok(()), Err));
            for (executor, state, read) in std::mem::take(&mut self.early) {
                self.read(executor, state, read);
            }
        }
        Ok(())
    }

    fn answer(&mut self, generation: Generation, outcome: Result<(), String>) {
        self.out.push(Envelope::Coordinator(Event::Rewound {
            worker: self.share.worker,
            generation,
            outcome,
        }));
    }

    fn announce(&mut self, attempt: Attempt) -> Result<(), StateError> {
        match self.store.seal(attempt) {
            SealOutcome::NotMine => {
                tracing::warn!(%attempt, "sealed, but this worker's entry is another attempt's")
            }
            SealOutcome::Shown | SealOutcome::Already => {
                self.show(attempt.txid);
                self.out.push(Envelope::Coordinator(Event::SealAcked {
                    worker: self.share.worker,
                    txid: attempt.txid,
                }));
                self.fold_if_due();
            }
        }
        Ok(())
    }

    /// Shows and publishes everything up to a sealed batch.
    fn show(&mut self, upto: TxId) {
        while self.loaded && self.shown < upto {
            let txid = self.shown.next();
            self.shown = txid;
            self.tell_executors(|| ToExecutor::Seal { txid });
            let (outbox, dead) = self.outboxes.remove(&txid).unwrap_or_default();
            self.publish(txid, outbox, dead);
        }
    }

    /// Hands a batch's outbox to the publisher; one that has none is published, once those before it are.
    fn publish(&mut self, txid: TxId, outbox: Vec<OutboxPart>, dead: Vec<DeadLetter>) {
        if self.publishing == 0 && outbox.is_empty() && dead.is_empty() {
            self.store.publish_done(txid);
            self.out.push(Envelope::Published(txid));
            return;
        }
        self.publishing += 1;
        self.out.push(Envelope::Publisher(ToPublisher::Publish {
            txid,
            outbox,
            dead,
        }));
    }

    fn published(&mut self, txid: TxId) -> Result<(), StateError> {
        self.publishing -= 1;
        self.store.publish_done(txid);
        self.out.push(Envelope::Published(txid));
        if txid.0 >= self.recorded.0 + UNRECORDED {
            self.recorded = txid;
            self.store.record_published()?;
        }
        Ok(())
    }

    fn fold_if_due(&mut self) {
        let due = self.store.unfolded_bytes() >= self.limits.log_bytes
            || self.overlays.iter().sum::<usize>() >= self.limits.overlay_bytes / 2;
        if !due || self.folding.is_some() || self.flushing || self.shown <= self.store.folded() {
            return;
        }
        let waiting = self.share.executors.clone().collect();
        self.folding = Some(Folding {
            upto: self.shown,
            parts: BTreeMap::new(),
            waiting,
        });
        self.tell_executors(|| ToExecutor::Freeze);
    }

    fn frozen(
        &mut self,
        executor: u16,
        parts: Vec<(StateId, Arc<dyn FoldPart>)>,
    ) -> Result<(), StateError> {
        let Some(folding) = &mut self.folding else {
            return Ok(());
        };
        folding.waiting.remove(&executor);
        for (state, part) in parts {
            folding.parts.entry(state).or_default().push(part);
        }
        if let Some(Folding { upto, parts, .. }) =
            self.folding.take_if(|folding| folding.waiting.is_empty())
        {
            let parts: Vec<_> = parts.into_iter().collect();
            self.out
                .push(Envelope::Flusher(self.store.fold(upto, &parts)?));
            self.flushing = true;
        }
        Ok(())
    }

    fn folded(&mut self, done: FoldDone) -> Result<(), StateError> {
        let upto = done.upto.txid;
        self.flushing = false;
        tracing::debug!(%upto, records = done.records, "folded");
        self.store.finish_fold(done)?;
        let base = self.store.base()?;
        self.tell_executors(|| ToExecutor::Folded {
            upto,
            base: base.clone(),
        });
        // The executors tell their real figures with their next parts; until then nothing is held up by old ones.
        self.overlays.iter_mut().for_each(|overlay| *overlay = 0);
        Ok(())
    }

    fn read(&mut self, executor: u16, state: StateId, read: ReadState) {
        if self.loaded && self.rewinding.is_none() {
            self.out.push(Envelope::Executor(
                executor,
                ToExecutor::Read { state, read },
            ));
        } else {
            self.early.push((executor, state, read));
        }
    }
}

fn entry_of(parts: BTreeMap<u16, BatchPart>) -> Entry {
    let mut entry = Entry::default();
    for BatchPart {
        batch,
        sections,
        outbox,
        dead,
        ..
    } in parts.into_values()
    {
        (entry.attempt, entry.base, entry.time_ms) = (batch.attempt, batch.base, batch.time_ms);
        entry.parts.push(sections);
        entry.outbox.extend(outbox);
        entry.dead.extend(dead);
    }
    entry
}
