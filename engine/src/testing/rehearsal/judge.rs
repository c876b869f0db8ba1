//! The sealed batches once more, without faults, and what they must have come to.

use std::collections::{BTreeMap, BTreeSet};

use fulmar_state::{DeadLetter, TxId};

use super::super::links::copied;
use super::super::rig::Rigged;
use super::super::scene::Broken;
use super::super::trial::Trial;
use super::{Draft, Reading, Rehearsal, Table};
use crate::message::ToExecutor;

impl<R: Rigged> Rehearsal<R> {
    /// Runs the sealed batches without faults; answers the states after those batches that were read.
    pub(super) fn rehearse(
        &mut self,
        trial: &mut Trial,
    ) -> Result<BTreeMap<TxId, Vec<Table>>, Broken> {
        let last = TxId(self.sealed.len() as u64);
        let mut read: BTreeSet<TxId> = self
            .readings
            .all
            .iter()
            .map(|reading| reading.sight.txid)
            .collect();
        read.insert(last);
        let mut all = BTreeMap::from([(TxId::ZERO, vec![Table::new(); self.props.states.len()])]);
        for (draft, txid) in std::mem::take(&mut self.sealed).into_iter().zip(1..) {
            let txid = TxId(txid);
            self.letters_are_due(trial, txid, &draft)?;
            let sent = draft.sent.into_iter().map(|(_, to, message)| (to, message));
            if let Some(cause) = trial.repeat(draft.time_ms, sent)? {
                return Err(format!(
                    "batch {txid} is sealed, without faults its records fail: {cause}"
                ));
            }
            trial.calm().seal()?;
            if read.contains(&txid) {
                all.insert(txid, tables(trial));
            }
        }
        Ok(all)
    }

    /// A record that became a dead letter fails without faults, too.
    fn letters_are_due(&self, trial: &mut Trial, txid: TxId, draft: &Draft) -> Result<(), Broken> {
        for (spout, _, end) in &draft.sent {
            let ToExecutor::End { dead, .. } = end else {
                continue;
            };
            for letter in dead {
                let stock = &self.props.spouts[*spout].1;
                let with = self.with_record(draft, *spout, letter);
                let cause = trial.repeat(draft.time_ms, with)?;
                trial.calm().rewind()?;
                if cause.is_none() {
                    return Err(format!(
                        "record {} of batch {txid} became a dead letter ({}), without faults it can be processed",
                        stock.well.show(&letter.record),
                        letter.cause
                    ));
                }
            }
        }
        Ok(())
    }

    /// A batch with one of the records that were left out of it, behind those that the first executor has of its spout.
    fn with_record(&self, draft: &Draft, of: usize, letter: &DeadLetter) -> Vec<(u16, ToExecutor)> {
        let mut all = Vec::new();
        for (spout, to, message) in &draft.sent {
            let well = &self.props.spouts[*spout].1.well;
            let Some(mut message) = copied(message, |chunk| well.copy(chunk)) else {
                continue;
            };
            if let ToExecutor::End {
                edge,
                from,
                batch,
                chunks,
                records,
                ..
            } = &mut message
                && (*spout, *to) == (of, 0)
                && let Some(chunk) = well.chunk_of(&letter.record)
            {
                let (edge, from, batch, seq) = (*edge, *from, *batch, *chunks);
                (*chunks, *records) = (*chunks + 1, *records + 1);
                let data = ToExecutor::Data {
                    edge,
                    from,
                    batch,
                    seq,
                    chunk,
                };
                all.push((*to, data));
            }
            all.push((*to, message));
        }
        all
    }

    /// Everything that readers saw is what the states were as of that batch, and the last readings saw all of it.
    pub(super) fn judge_states(
        &self,
        last: &[Reading<(Vec<u8>, Vec<u8>)>],
        all: &BTreeMap<TxId, Vec<Table>>,
    ) -> Result<(), Broken> {
        let (end, due) = all.last_key_value().expect("there is a beginning");
        let mut owners = BTreeMap::new();
        let mut whole = vec![Table::new(); self.props.states.len()];
        for Reading { sight, entries } in last {
            let (executor, state, txid) = sight.of();
            let name = &self.props.states[state].0;
            if txid != *end {
                return Err(format!(
                    "executor {executor} shows state {name:?} as of batch {txid}, sealed is {end}"
                ));
            }
            for (key, value) in entries {
                whole[state].insert(key.clone(), value.clone());
                if let Some(other) = owners.insert((state, key.clone()), executor) {
                    return Err(format!(
                        "executors {other} and {executor} both show a key of state {name:?}"
                    ));
                }
            }
        }
        // The earliest first: it is the nearest to the cause.
        let mut readings: Vec<_> = self.readings.all.iter().collect();
        readings.sort_by_key(|reading| reading.sight.txid);
        for Reading { sight, entries } in readings {
            let (executor, state, txid) = sight.of();
            let own = |key: &Vec<u8>| owners.get(&(state, key.clone())) == Some(&executor);
            let due = all[&txid][state].iter();
            let due = due.filter(|(key, _)| own(key));
            let due = due
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let found = entries.iter().cloned().collect();
            self.is_same(state, txid, &found, &due)?;
        }
        for (state, (found, due)) in whole.iter().zip(due).enumerate() {
            self.is_same(state, *end, found, due)?;
        }
        Ok(())
    }

    fn is_same(&self, state: usize, txid: TxId, found: &Table, due: &Table) -> Result<(), Broken> {
        let (name, look) = &self.props.states[state];
        match unequal(found, due) {
            None => Ok(()),
            Some((key, found, due)) => {
                let show = |value: Option<&Vec<u8>>| {
                    value.map_or("absent".into(), |value| (look.value)(value))
                };
                Err(format!(
                    "state {name:?} as of batch {txid}: key {} is {}, without faults it is {}",
                    (look.key)(key),
                    show(found),
                    show(due)
                ))
            }
        }
    }

    /// Sinks took exactly what they take without faults, batch by batch.
    pub(super) fn judge_sinks(&self, trial: &Trial) -> Result<(), Broken> {
        let (mut found, mut due) = (self.stand.shelf.batches(), trial.shelf().batches());
        let keys: BTreeSet<_> = found.keys().chain(due.keys()).cloned().collect();
        for key in keys {
            let found = found.remove(&key).unwrap_or_default();
            let due = due.remove(&key).unwrap_or_default();
            if let Some((what, record)) = difference(due, found) {
                return Err(format!(
                    "sink {:?} has of batch {} record {} {what}",
                    key.0,
                    key.1,
                    self.stand.shelf.show(&key.0, &record)
                ));
            }
        }
        let letters = |all: Vec<(TxId, DeadLetter)>| {
            let mut all: Vec<_> = all
                .into_iter()
                .map(|(txid, letter)| (txid, letter.spout, letter.partition, letter.position))
                .collect();
            all.sort_unstable();
            all
        };
        let (found, due) = (
            letters(self.stand.shelf.dead()),
            letters(trial.dead_letters()),
        );
        match found == due {
            true => Ok(()),
            false => Err(format!("dead letters are {found:?}, sealed are {due:?}")),
        }
    }
}

/// All states of a trial.
pub(in super::super) fn tables(trial: &mut Trial) -> Vec<Table> {
    let looks = trial.props().states.clone();
    let looks = looks.iter().enumerate();
    looks
        .map(|(state, (_, look))| trial.calm().entries(state, *look).into_iter().collect())
        .collect()
}

/// What differs between what is there and what is due, the latter given first.
pub(in super::super) fn difference(
    mut due: Vec<Vec<u8>>,
    mut found: Vec<Vec<u8>>,
) -> Option<(&'static str, Vec<u8>)> {
    due.sort_unstable();
    found.sort_unstable();
    let differs = due.iter().zip(&found).position(|(due, found)| due != found);
    let at = differs.unwrap_or(due.len().min(found.len()));
    match (due.get(at), found.get(at)) {
        (None, None) => None,
        (Some(due), Some(found)) if found < due => Some(("too often", found.clone())),
        (None, Some(found)) => Some(("too often", found.clone())),
        (Some(due), _) => Some(("too rarely", due.clone())),
    }
}

/// A key, what there is of it, and what is due.
type Unequal<'a> = (&'a Vec<u8>, Option<&'a Vec<u8>>, Option<&'a Vec<u8>>);

pub(in super::super) fn unequal<'a>(found: &'a Table, due: &'a Table) -> Option<Unequal<'a>> {
    let mut keys = found.keys().chain(due.keys());
    let key = keys.find(|key| found.get(*key) != due.get(*key))?;
    Some((key, found.get(key), due.get(key)))
}
