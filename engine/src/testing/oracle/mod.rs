//! The oracle: keeps its own account of what was sent, prepared, sealed, shown and published, from what passes at the seams, and says
//! at once when a rule is broken.

mod account;
mod attempts;
mod evaluate;
mod flow;
mod links;
mod recount;

pub(super) use attempts::Attempts;
pub(super) use links::LinkWatch;
pub(super) use recount::Recount;

use std::collections::{BTreeMap, BTreeSet};

use fulmar_coordinator::{LedgerRecord, PartitionMove};
use fulmar_state::{Attempt, Epoch, Generation, StateId, TxId};

use super::disk::Note;
use super::plan::Plan;
pub(super) use super::scene::Broken;
use super::scene::{Key, Ranges, Scene, Sight};
use flow::Flows;

/// What a worker has durably, by the journal of its disk.
#[derive(Clone, Debug, Default)]
struct Durable {
    highest: Generation,
    folded: TxId,
    /// What each state's data holds.
    data: BTreeMap<StateId, TxId>,
    log: BTreeMap<TxId, (Attempt, Option<Attempt>)>,
}

/// A sealed batch.
#[derive(Clone, Debug)]
struct Sealed {
    attempt: Attempt,
    /// What each partition gave, by spout.
    ranges: Ranges,
}

pub(super) struct Oracle {
    plan: Plan,
    /// The spouts' names.
    spouts: Vec<String>,
    workers: Vec<Durable>,
    newest: Epoch,
    sealed: Vec<Sealed>,
    issued: BTreeSet<Attempt>,
    /// What sources said they read, by attempt and spout.
    reads: BTreeMap<(Attempt, usize), Vec<PartitionMove>>,
    /// Parts of outboxes that each worker hands over with an attempt.
    handed: BTreeMap<(Attempt, u16), Vec<(String, u16)>>,
    taken: BTreeSet<Key>,
    pub(super) folds: u64,
    /// What passes the links.
    flows: Flows,
    /// The newest rewind of each term.
    told: BTreeMap<Epoch, Generation>,
    /// Up to where everything is sealed, by spout and partition.
    ends: BTreeMap<(usize, u64), u32>,
    /// What was shown to whoever asked at a step: worker, state.
    views: BTreeMap<(u32, u16, usize), TxId>,
    /// What each executor has shown last, by state.
    shown: BTreeMap<(u16, usize), TxId>,
    states: usize,
}

impl Oracle {
    /// For a topology of these spouts, and so many states and edges.
    pub(super) fn new(plan: &Plan, spouts: Vec<String>, states: usize, edges: usize) -> Self {
        Oracle {
            spouts,
            flows: Flows::new(edges, plan.tasks().into(), plan.spouts.len()),
            told: BTreeMap::new(),
            ends: BTreeMap::new(),
            views: BTreeMap::new(),
            shown: BTreeMap::new(),
            states,
            plan: plan.clone(),
            workers: vec![Durable::default(); plan.workers.into()],
            newest: Epoch(0),
            sealed: Vec::new(),
            issued: BTreeSet::new(),
            reads: BTreeMap::new(),
            handed: BTreeMap::new(),
            taken: BTreeSet::new(),
            folds: 0,
        }
    }

    /// The newest sealed batch.
    pub(super) fn txid(&self) -> TxId {
        TxId(self.sealed.len() as u64)
    }

    fn attempt(&self, txid: TxId) -> Option<Attempt> {
        let index = usize::try_from(txid.0.checked_sub(1)?).ok()?;
        Some(self.sealed.get(index)?.attempt)
    }

    /// A coordinator issues a batch.
    pub(super) fn issued(&mut self, attempt: Attempt) -> Result<(), Broken> {
        if self.issued.insert(attempt) {
            return Ok(());
        }
        Err(format!("I6: {attempt} is issued twice"))
    }

    /// A coordinator tells its workers to rewind.
    pub(super) fn rewinds(&mut self, generation: Generation) -> Result<(), Broken> {
        if generation.epoch > self.newest {
            return Err(format!(
                "I3: workers are told to rewind to {generation}, the ledger is of epoch {}",
                self.newest
            ));
        }
        let told = self.told.entry(generation.epoch).or_default();
        if generation < *told {
            return Err(format!(
                "I6: workers are told to rewind to {generation} after {told}"
            ));
        }
        *told = generation;
        Ok(())
    }

    /// A worker says that it has rewound.
    pub(super) fn has_rewound(&self, worker: u16, generation: Generation) -> Result<(), Broken> {
        let highest = self.workers[usize::from(worker)].highest;
        if highest < generation {
            return Err(format!(
                "I3: worker {worker} says that it has rewound to {generation}, durably it has only to {highest}"
            ));
        }
        self.parts_have_rewound(worker, generation)
    }

    /// A source has read its share.
    pub(super) fn read(&mut self, attempt: Attempt, spout: usize, moves: &[PartitionMove]) {
        self.reads.insert((attempt, spout), moves.to_vec());
    }

    /// Whether a worker has something durably that is not sealed.
    pub(super) fn has_prepared(&self) -> bool {
        let mut newest = self
            .workers
            .iter()
            .map(|durable| durable.log.last_key_value());
        newest.any(|newest| newest.is_some_and(|(txid, _)| *txid > self.txid()))
    }

    /// How many sealed batches hold nothing.
    pub(super) fn empty(&self) -> u64 {
        self.sealed
            .iter()
            .filter(|batch| batch.ranges.values().all(|(from, to)| from == to))
            .count() as u64
    }

    /// An executor hands over what its sinks shall publish.
    pub(super) fn handed(&mut self, attempt: Attempt, worker: u16, parts: Vec<(String, u16)>) {
        if !parts.is_empty() {
            self.handed
                .entry((attempt, worker))
                .or_default()
                .extend(parts);
        }
    }

    /// A worker is told that an attempt is sealed.
    pub(super) fn announced(&self, attempt: Attempt) -> Result<(), Broken> {
        match self.attempt(attempt.txid) {
            Some(sealed) if sealed == attempt => Ok(()),
            sealed => Err(format!("I5: {attempt} is announced, sealed is {sealed:?}")),
        }
    }

    /// A worker's disk was written.
    pub(super) fn written(&mut self, worker: u16, notes: &[Note]) -> Result<(), Broken> {
        let mut gone = TxId::ZERO;
        for note in notes {
            let sealed = self.txid();
            let durable = &mut self.workers[usize::from(worker)];
            match *note {
                Note::Put(attempt, _) if attempt.generation != durable.highest => {
                    return Err(format!(
                        "I3: worker {worker} prepares {attempt}, it was durably rewound to {}",
                        durable.highest
                    ));
                }
                Note::Put(attempt, _) if attempt.txid <= sealed => {
                    return Err(format!(
                        "I1: worker {worker} prepares {attempt}, which is sealed"
                    ));
                }
                Note::Put(attempt, base) => {
                    durable.log.insert(attempt.txid, (attempt, base));
                }
                Note::Delete(txid) => {
                    let entry = durable.log.remove(&txid);
                    if let Some((attempt, _)) = entry.filter(|_| txid <= sealed) {
                        gone = gone.max(txid);
                        self.may_go(worker, attempt)?;
                    }
                }
                Note::Head(highest, folded, _) => {
                    if highest < durable.highest {
                        return Err(format!(
                            "I3: worker {worker} goes back from {} to {highest}",
                            durable.highest
                        ));
                    }
                    let mut states = (0..self.states as u16).map(StateId);
                    let data = |state| durable.data.get(&state).copied().unwrap_or_default();
                    if let Some(state) = states.find(|state| data(*state) < folded) {
                        return Err(format!(
                            "I7: worker {worker} says that all is folded up to {folded}, state {state} holds {}",
                            data(state)
                        ));
                    }
                    self.folds += u64::from(folded > durable.folded);
                    (durable.highest, durable.folded) = (highest, folded);
                    if folded > sealed {
                        return Err(format!(
                            "I4: worker {worker} has folded {folded}, sealed is {sealed}"
                        ));
                    }
                }
                Note::Folded(state, upto) if upto > sealed => {
                    return Err(format!(
                        "I4: worker {worker} folds state {state} up to {upto}, sealed is {sealed}"
                    ));
                }
                Note::Folded(state, upto) => drop(durable.data.insert(state, upto)),
                Note::Done if gone > durable.folded => {
                    return Err(format!(
                        "I7: worker {worker} removes its entry of batch {gone}, folded is {}",
                        durable.folded
                    ));
                }
                Note::Done => self.is_durable(worker)?,
            }
        }
        Ok(())
    }

    /// I7: an entry goes only when sinks have taken all of it.
    fn may_go(&self, worker: u16, attempt: Attempt) -> Result<(), Broken> {
        let parts = self.handed.get(&(attempt, worker));
        for (sink, partition) in parts.into_iter().flatten() {
            let key = (sink.clone(), attempt.txid, *partition);
            if !self.taken.contains(&key) {
                return Err(format!(
                    "I7: worker {worker} removes its entry of {attempt}, of which sink {sink} has not taken part {partition}"
                ));
            }
        }
        Ok(())
    }

    /// I4: everything sealed is in the worker's log or folded.
    fn is_durable(&self, worker: u16) -> Result<(), Broken> {
        let durable = &self.workers[usize::from(worker)];
        let mut txid = durable.folded.next();
        while let Some(sealed) = self.attempt(txid) {
            let entry = durable.log.get(&txid).map(|(attempt, _)| *attempt);
            if entry != Some(sealed) {
                return Err(format!(
                    "I4: worker {worker} has {entry:?} of batch {txid}, of which {sealed} is sealed"
                ));
            }
            txid = txid.next();
        }
        Ok(())
    }

    /// The ledger was written.
    pub(super) fn applied(
        &mut self,
        record: &LedgerRecord,
        scene: &mut dyn Scene,
    ) -> Result<(), Broken> {
        if record.epoch < self.newest {
            return Err(format!(
                "I3: epoch {} writes the ledger after epoch {}",
                record.epoch, self.newest
            ));
        }
        self.newest = record.epoch;
        let before = self.txid();
        if record.txid() < before
            || record.txid() == before && record.sealed != self.attempt(before)
        {
            return Err(format!(
                "I1: the ledger goes from {:?} to {:?}",
                self.attempt(before),
                record.sealed
            ));
        }
        let attempts = self.chain(record, before)?;
        for attempt in attempts {
            let live = self.told.get(&attempt.generation.epoch).copied();
            if live != Some(attempt.generation) || attempt.generation.epoch != record.epoch {
                return Err(format!(
                    "I6: epoch {} seals {attempt}, its newest rewind is {live:?}",
                    record.epoch
                ));
            }
            self.is_complete(attempt)?;
            let ranges = self.ranges(attempt)?;
            scene.sealed(attempt, &ranges)?;
            self.goes_on(attempt, &ranges)?;
            self.sealed.push(Sealed { attempt, ranges });
        }
        self.positions_are_right(record)
    }

    /// The attempts that a record seals, by the workers' logs, in their order (I1, I2).
    fn chain(&self, record: &LedgerRecord, before: TxId) -> Result<Vec<Attempt>, Broken> {
        let mut chain = Vec::new();
        let mut next = record.sealed;
        while let Some(attempt) = next.filter(|attempt| attempt.txid > before) {
            let mut base = None;
            for (worker, durable) in self.workers.iter().enumerate() {
                match durable.log.get(&attempt.txid) {
                    Some((found, below)) if *found == attempt => base = *below,
                    found => {
                        return Err(format!(
                            "I2: {attempt} is sealed, worker {worker} has prepared {found:?}"
                        ));
                    }
                }
            }
            chain.push(attempt);
            next = base;
        }
        if next != self.attempt(before) {
            return Err(format!(
                "I1: what is sealed builds on {next:?}, sealed was {:?}",
                self.attempt(before)
            ));
        }
        chain.reverse();
        Ok(chain)
    }

    /// A sink took a part.
    pub(super) fn took(&mut self, key: Key) -> Result<(), Broken> {
        if key.1 > self.txid() {
            return Err(format!(
                "I5: {key:?} is published, sealed is {}",
                self.txid()
            ));
        }
        if self.taken.contains(&key) {
            return Ok(());
        }
        let mut later = self.taken.iter();
        let same = |other: &&Key| other.0 == key.0 && other.2 == key.2 && other.1 > key.1;
        if let Some(later) = later.find(same) {
            return Err(format!("I5: {key:?} comes first after {later:?}"));
        }
        self.taken.insert(key);
        Ok(())
    }

    /// A reader saw a state as of a batch.
    pub(super) fn saw(&mut self, sight: Sight) -> Result<(), Broken> {
        let Sight {
            asked,
            executor,
            state,
            txid,
        } = sight;
        if txid > self.txid() {
            return Err(format!("I5: {sight:?} is shown, sealed is {}", self.txid()));
        }
        let worker = executor / self.plan.executors;
        let pinned = *self.views.entry((asked, worker, state)).or_insert(txid);
        let before = self.shown.entry((executor, state)).or_default();
        if pinned != txid || *before > txid {
            return Err(format!(
                "I5: {sight:?} is shown, in the same view is {pinned}, before was {before}"
            ));
        }
        *before = txid;
        Ok(())
    }
}
