//! The oracle: keeps its own account of what was sent, prepared, sealed, shown and published, from what passes at the seams, and says
//! at once when a rule is broken.

mod account;
mod attempts;
mod evaluate;
mod links;
mod recount;

pub(super) use attempts::Attempts;
pub(super) use links::LinkWatch;
pub(super) use recount::Recount;

use std::collections::{BTreeMap, BTreeSet};

use fulmar_coordinator::{LedgerRecord, PartitionMove};
use fulmar_state::{Attempt, Epoch, Generation, TxId};

use super::disk::Note;
use super::plan::Plan;
pub(super) use super::scene::Broken;
use super::scene::{Key, Ranges, Scene};

/// What a worker has durably, by the journal of its disk.
#[derive(Clone, Debug, Default)]
struct Durable {
    highest: Generation,
    folded: TxId,
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
}

impl Oracle {
    pub(super) fn new(plan: &Plan, spouts: Vec<String>) -> Self {
        Oracle {
            spouts,
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
        Err(format!("{attempt} is issued twice"))
    }

    /// A source has read its share.
    pub(super) fn read(&mut self, attempt: Attempt, spout: usize, moves: &[PartitionMove]) {
        self.reads.insert((attempt, spout), moves.to_vec());
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
            sealed => Err(format!("{attempt} is announced, sealed is {sealed:?}")),
        }
    }

    /// A worker's disk was written.
    pub(super) fn written(&mut self, worker: u16, notes: &[Note]) -> Result<(), Broken> {
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
                    let gone = durable.log.remove(&txid);
                    if let Some((attempt, _)) = gone.filter(|_| txid <= sealed) {
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
                    self.folds += u64::from(folded > durable.folded);
                    (durable.highest, durable.folded) = (highest, folded);
                    if folded > sealed {
                        return Err(format!(
                            "I4: worker {worker} has folded {folded}, sealed is {sealed}"
                        ));
                    }
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
            let ranges = self.ranges(attempt)?;
            scene.sealed(attempt, &ranges)?;
            self.sealed.push(Sealed { attempt, ranges });
        }
        for spout in 0..self.plan.spouts.len() {
            self.positions_are_right(record, spout)?;
        }
        Ok(())
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
            return Err(format!("{key:?} comes first after {later:?}"));
        }
        self.taken.insert(key);
        Ok(())
    }

    /// A reader saw a state as of a batch.
    pub(super) fn saw(&self, txid: TxId) -> Result<(), Broken> {
        if txid > self.txid() {
            return Err(format!(
                "I5: a state is shown as of {txid}, sealed is {}",
                self.txid()
            ));
        }
        Ok(())
    }
}
