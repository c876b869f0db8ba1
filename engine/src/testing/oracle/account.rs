//! The recount: what each sealed batch held, and what must have come of all of them.

use std::collections::{BTreeMap, BTreeSet};

use fulmar_coordinator::LedgerRecord;
use fulmar_state::{Attempt, TxId};

use super::super::plan::Promise;
use super::super::scene::{Broken, DEAD, Ranges, Reading};
use super::super::shape::{Item, id_of};
use super::super::spout::{Record, offset_of, seen};
use super::Oracle;
use super::evaluate::{Snapshot, evaluate};
use super::recount::{Recount, Sealed};

impl Recount {
    /// What a sealed attempt held: exactly what lies in the ranges it read.
    pub(super) fn account(&self, attempt: Attempt, ranges: &Ranges) -> Result<Sealed, Broken> {
        let mut records = self.sent.get(&attempt).cloned().unwrap_or_default();
        records.sort_unstable();
        if let Some(poison) = records.iter().find(|record| record.poison != 0) {
            return Err(format!("I2: {attempt} is sealed although {poison:?} fails"));
        }
        for (place, range) in ranges {
            self.is_whole(attempt, &records, *place, *range)?;
        }
        for spout in 0..self.plan.spouts.len() {
            self.keeps_promise(attempt, spout)?;
        }
        let inside = |record: &&Record| {
            let place = (record.spout.into(), record.partition.into());
            ranges
                .get(&place)
                .is_some_and(|(from, to)| (from..to).contains(&&record.offset))
        };
        match records.iter().find(|record| !inside(record)) {
            Some(outside) => Err(format!(
                "I1: {outside:?} of {attempt} is outside of what was read"
            )),
            None => Ok(Sealed {
                attempt,
                records,
                ranges: ranges.clone(),
            }),
        }
    }

    /// Each offset of a range was sent once, unless it is poison or this reading yields nothing there.
    fn is_whole(
        &self,
        attempt: Attempt,
        records: &[Record],
        (spout, partition): (usize, u64),
        (from, to): (u32, u32),
    ) -> Result<(), Broken> {
        let plan = &self.plan.spouts[spout];
        let values = &plan.partitions[partition as usize];
        let own = records.iter().filter(|record| {
            (usize::from(record.spout), u64::from(record.partition)) == (spout, partition)
        });
        let own: BTreeMap<u32, &Record> = own.map(|record| (record.offset, record)).collect();
        let salt = own.values().next().map(|record| record.salt);
        for offset in from..to {
            let place = (spout as u8, partition as u8, offset);
            let poison = self
                .plan
                .poison
                .iter()
                .any(|(poisoned, _)| *poisoned == place);
            let value = u64::from(values[offset as usize]);
            let due = salt.map(|salt| seen(plan.promise, value, offset, salt));
            let fine = match own.get(&offset) {
                Some(record) => Some(Some(record.value)) == due && Some(record.salt) == salt,
                None if poison || due == Some(None) => true,
                None => due.is_none() && plan.promise == Promise::Any,
            };
            if !fine {
                return Err(format!(
                    "I1: {attempt} is sealed with {:?} at offset {offset} of partition {partition} of spout {spout}, which yields {due:?}",
                    own.get(&offset)
                ));
            }
        }
        Ok(())
    }

    /// A spout that promises identical replays is held to it within a term.
    fn keeps_promise(&self, attempt: Attempt, spout: usize) -> Result<(), Broken> {
        if self.plan.spouts[spout].promise == Promise::Any {
            return Ok(());
        }
        let key = (attempt.generation.epoch, attempt.txid, spout);
        let Some(first) = self.first.get(&key) else {
            return Err(format!(
                "I2: {attempt} is sealed, its coordinator never heard of its read"
            ));
        };
        let again = self.content(attempt, spout);
        if first.iter().any(|record| !again.contains(record)) && self.plan.poison.is_empty() {
            return Err(format!(
                "spout {spout} promises identical replays, {attempt} holds {again:?}, first was {first:?}"
            ));
        }
        Ok(())
    }
}

impl Oracle {
    /// What a sealed attempt read of each partition.
    pub(super) fn ranges(&self, attempt: Attempt) -> Result<Ranges, Broken> {
        let mut ranges = BTreeMap::new();
        for spout in 0..self.plan.spouts.len() {
            let Some(moves) = self.reads.get(&(attempt, spout)) else {
                return Err(format!(
                    "I2: {attempt} is sealed, spout {spout} has not read it"
                ));
            };
            for step in moves {
                let number = |position: &[u8]| offset_of(position).unwrap_or(u32::MAX);
                let from = step.from.as_deref().map_or(0, number);
                let partition = step.partition.parse().unwrap_or(u64::MAX);
                ranges.insert((spout, partition), (from, number(&step.to)));
            }
        }
        Ok(ranges)
    }

    /// The ledger's positions are where the sealed batches end.
    pub(super) fn positions_are_right(&self, record: &LedgerRecord) -> Result<(), Broken> {
        for ((spout, partition), stands) in &self.ends {
            let found = record
                .positions
                .get(&self.spouts[*spout], &partition.to_string());
            if found.and_then(offset_of) != Some(*stands) {
                return Err(format!(
                    "I1: the ledger has {found:?} of partition {partition} of spout {spout}, sealed is up to {stands}"
                ));
            }
        }
        Ok(())
    }

    /// A sealed batch goes on where the one before ended.
    pub(super) fn goes_on(&mut self, attempt: Attempt, ranges: &Ranges) -> Result<(), Broken> {
        for ((spout, partition), (from, to)) in ranges {
            let stands = self.ends.entry((*spout, *partition)).or_default();
            if stands != from {
                return Err(format!(
                    "I1: {attempt} reads partition {partition} of spout {spout} from {from}, the batch before ended at {stands}"
                ));
            }
            *stands = *to;
        }
        Ok(())
    }

    /// Whether everything that there is to read is sealed.
    pub(in super::super) fn is_whole_input_sealed(&self) -> bool {
        let mut partitions = self
            .plan
            .spouts
            .iter()
            .enumerate()
            .flat_map(|(spout, plan)| {
                let partitions = plan.partitions.iter().enumerate();
                partitions.map(move |(partition, values)| (spout, partition as u64, values.len()))
            });
        partitions.all(|(spout, partition, length)| {
            let end = self.ends.get(&(spout, partition));
            end.copied().unwrap_or_default() as usize == length
        })
    }
}

impl Recount {
    /// At the end: the states, whatever readers saw meanwhile, and the sinks, against the recount.
    pub(super) fn judge_all(&self, before_last: usize) -> Result<(), Broken> {
        let last = &self.readings.all[before_last..];
        let batches = self.sealed.iter().map(|batch| batch.records.as_slice());
        let all = evaluate(&self.plan.graph, batches);
        let owners = self.owners(last, &all)?;
        for Reading { sight, entries } in &self.readings.all {
            let (executor, state, txid) = sight.of();
            let due = all[txid.0 as usize].states[state].iter();
            let due = due.filter(|(key, _)| owners.get(&(state, **key)) == Some(&executor));
            let due: Vec<(u64, u64)> = due.map(|(key, value)| (*key, *value)).collect();
            let mut found = entries.clone();
            found.sort_unstable();
            if found != due {
                return Err(format!(
                    "I5: executor {executor} shows state {state} as of {txid} as {found:?}, it is {due:?}"
                ));
            }
        }
        self.judge_sinks(&all)?;
        self.judge_dead()
    }

    /// Which executor has which key: each has exactly one, and together they show the whole state.
    fn owners(
        &self,
        last: &[Reading<(u64, u64)>],
        all: &[Snapshot],
    ) -> Result<BTreeMap<(usize, u64), u16>, Broken> {
        let mut owners = BTreeMap::new();
        let mut whole = vec![BTreeMap::new(); all[0].states.len()];
        for Reading { sight, entries } in last {
            let (executor, state, txid) = sight.of();
            if txid != self.txid() {
                return Err(format!(
                    "I5: executor {executor} shows batch {txid}, sealed is {}",
                    self.txid()
                ));
            }
            for (key, value) in entries {
                whole[state].insert(*key, *value);
                if let Some(other) = owners.insert((state, *key), executor) {
                    return Err(format!(
                        "I5: executors {other} and {executor} both show key {key} of state {state}"
                    ));
                }
            }
        }
        let due = &all[all.len() - 1].states;
        match whole == *due {
            true => Ok(owners),
            false => Err(format!("I5: the states are {whole:?}, due are {due:?}")),
        }
    }

    /// Each sealed batch's records were taken exactly once.
    fn judge_sinks(&self, all: &[Snapshot]) -> Result<(), Broken> {
        let mut found: BTreeMap<(&str, TxId), Vec<Item>> = BTreeMap::new();
        for ((sink, txid, _), items) in self.taken.iter().filter(|((sink, ..), _)| sink != DEAD) {
            found.entry((sink, *txid)).or_default().extend(items);
        }
        found.values_mut().for_each(|items| items.sort_unstable());
        let mut due: BTreeMap<(&str, TxId), Vec<Item>> = BTreeMap::new();
        for (txid, snapshot) in (0..).map(TxId).zip(all) {
            for (sink, items) in snapshot
                .outputs
                .iter()
                .filter(|(_, items)| !items.is_empty())
            {
                let mut items = items.clone();
                items.sort_unstable();
                due.insert((sink, txid), items);
            }
        }
        if found == due {
            return Ok(());
        }
        let differs = found
            .iter()
            .find(|(key, items)| due.get(*key) != Some(*items));
        let misses = due
            .iter()
            .find(|(key, items)| found.get(*key) != Some(*items));
        Err(format!("I5: a sink took {differs:?}, due is {misses:?}"))
    }

    /// Each poison record that a sealed batch holds became one dead letter, and nothing else did.
    fn judge_dead(&self) -> Result<(), Broken> {
        let mut due = BTreeSet::new();
        for batch in &self.sealed {
            for ((spout, partition), (from, to)) in &batch.ranges {
                let inside = self.plan.poison.iter().filter(|((of, at, offset), _)| {
                    let here = (usize::from(*of), u64::from(*at)) == (*spout, *partition);
                    here && (from..to).contains(&offset)
                });
                due.extend(inside.map(|((spout, partition, offset), _)| {
                    let record = Record {
                        spout: *spout,
                        partition: *partition,
                        offset: *offset,
                        salt: 0,
                        value: 0,
                        poison: 0,
                    };
                    (id_of(&record), batch.attempt.txid)
                }));
            }
        }
        let mut found = BTreeSet::new();
        for ((_, txid, _), items) in self.taken.iter().filter(|((sink, ..), _)| sink == DEAD) {
            for (id, _) in items {
                if !found.insert((*id, *txid)) {
                    return Err(format!("I5: record {id:x} became two dead letters"));
                }
            }
        }
        let any = |id: u64| self.plan.spouts[(id >> 40) as usize].promise == Promise::Any;
        // Another reading may yield nothing where the poison was.
        let missing = due.difference(&found).find(|(id, _)| !any(*id));
        let surplus = found.difference(&due).next();
        match (missing, surplus) {
            (None, None) => Ok(()),
            differs => Err(format!("I5: dead letters missing, surplus: {differs:x?}")),
        }
    }

    /// How many dead letters there are.
    pub(super) fn dead_letters_taken(&self) -> u64 {
        let dead = self.taken.iter().filter(|((sink, ..), _)| sink == DEAD);
        dead.map(|(_, items)| items.len() as u64).sum()
    }
}
