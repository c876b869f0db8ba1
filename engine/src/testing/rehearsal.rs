//! The scene of a user's topology: what its sealed batches held is run once more without faults, and both must come to the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use fulmar_state::{Attempt, DeadLetter, TxId};

use super::look::Seen;
use super::plan::Plan;
use super::rig::{DeadSink, Props, Rig, Rigged, Stand, Tap};
use super::scene::{Broken, Key, Ranges, Scene};
use super::trial::Trial;
use crate::message::{ReadState, ToExecutor};
use crate::sink::Sink;

/// Makes a topology on a rig.
pub(super) type Make<R> = Rc<dyn Fn(&Rig) -> R>;

/// Where a world leaves the fault-free run that it was compared with.
pub(super) type End<R> = Rc<RefCell<Option<(Trial, <R as Rigged>::Handles)>>>;

/// All that sources sent for one attempt: spout, executor, message.
#[derive(Default)]
struct Draft {
    time_ms: u64,
    sent: Vec<(usize, u16, ToExecutor)>,
}

/// What a reader saw of one executor's share of a state.
#[derive(Clone, Debug)]
struct Reading {
    executor: u16,
    state: usize,
    seen: Seen,
}

/// A state's keys and values, encoded.
type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// A user's topology in a world.
pub(super) struct Rehearsal<R: Rigged> {
    make: Make<R>,
    stand: Stand,
    props: Props,
    executors: u16,
    drafts: BTreeMap<Attempt, Draft>,
    /// Which reading of each partition an attempt comes from, by spout.
    salts: BTreeMap<(Attempt, usize), Vec<u32>>,
    sealed: Vec<Draft>,
    /// What readers saw since the last look.
    fresh: Arc<Mutex<Vec<Reading>>>,
    readings: Vec<Reading>,
    end: End<R>,
}

impl<R: Rigged> Rehearsal<R> {
    pub(super) fn new(
        plan: &Plan,
        make: Make<R>,
        stand: &Stand,
        end: End<R>,
    ) -> Result<Self, Broken> {
        let stand = stand.again();
        let (topology, _) = make(&Rig::on(stand.clone())).into_parts();
        let built = topology.build().map_err(|error| error.to_string())?;
        let props = stand.props(&built).map_err(|error| error.to_string())?;
        for ((_, stock), spout) in props.spouts.iter().zip(&plan.spouts) {
            let first = |length: usize| if spout.trickles { length / 4 } else { length };
            let released = stock.well.lengths().into_iter().map(first).collect();
            stock.tap(|tap| (tap.released, tap.forgetful) = (Some(released), true));
        }
        Ok(Rehearsal {
            make,
            stand,
            props,
            executors: plan.tasks(),
            drafts: BTreeMap::new(),
            salts: BTreeMap::new(),
            sealed: Vec::new(),
            fresh: Arc::default(),
            readings: Vec::new(),
            end,
        })
    }

    /// What a source sent is what lies in its ranges, each record once, but for those that this reading left out.
    fn is_whole(&self, attempt: Attempt, spout: usize, ranges: &Ranges) -> Result<(), Broken> {
        let (name, stock) = &self.props.spouts[spout];
        let salts = self.salts.get(&(attempt, spout));
        let mut due = Vec::new();
        for ((_, partition), (from, to)) in ranges.iter().filter(|((of, _), _)| *of == spout) {
            let partition = *partition as usize;
            let salt = salts.and_then(|salts| salts.get(partition)).copied();
            let range = *from as usize..*to as usize;
            let records = range.clone().zip(stock.well.encoded(partition, range));
            let yielded = records.filter(|(at, _)| !Tap::omits(salt.unwrap_or_default(), *at));
            due.extend(yielded.map(|(_, record)| record));
        }
        let mut sent = Vec::new();
        let own = self
            .drafts
            .get(&attempt)
            .into_iter()
            .flat_map(|draft| &draft.sent);
        for (_, _, message) in own.filter(|(of, ..)| *of == spout) {
            match message {
                ToExecutor::Data { chunk, .. } => sent.extend(stock.well.encode(chunk)),
                ToExecutor::End { dead, .. } => {
                    sent.extend(dead.iter().map(|letter| letter.record.clone()));
                }
                _ => {}
            }
        }
        match difference(due, sent) {
            None => Ok(()),
            Some((what, record)) => Err(format!(
                "{attempt} is sealed, of spout {name:?} it holds record {} {what}",
                stock.well.show(&record)
            )),
        }
    }

    /// Runs the sealed batches without faults; answers the states after those batches that were read.
    fn rehearse(&mut self, trial: &mut Trial) -> Result<BTreeMap<TxId, Vec<Table>>, Broken> {
        let last = TxId(self.sealed.len() as u64);
        let mut read: BTreeSet<TxId> = self
            .readings
            .iter()
            .map(|reading| reading.seen.txid)
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
            let Some(mut message) = copy(message, |chunk| well.copy(chunk)) else {
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
    fn judge_states(
        &self,
        last: &[Reading],
        all: &BTreeMap<TxId, Vec<Table>>,
    ) -> Result<(), Broken> {
        let (end, due) = all.last_key_value().expect("there is a beginning");
        let mut owners = BTreeMap::new();
        let mut whole = vec![Table::new(); self.props.states.len()];
        for Reading {
            executor,
            state,
            seen,
        } in last
        {
            let name = &self.props.states[*state].0;
            if seen.txid != *end {
                return Err(format!(
                    "executor {executor} shows state {name:?} as of batch {}, sealed is {end}",
                    seen.txid
                ));
            }
            for (key, value) in &seen.entries {
                whole[*state].insert(key.clone(), value.clone());
                if let Some(other) = owners.insert((*state, key.clone()), *executor) {
                    return Err(format!(
                        "executors {other} and {executor} both show a key of state {name:?}"
                    ));
                }
            }
        }
        // The earliest first: it is the nearest to the cause.
        let mut readings: Vec<&Reading> = self.readings.iter().collect();
        readings.sort_by_key(|reading| reading.seen.txid);
        for Reading {
            executor,
            state,
            seen,
        } in readings
        {
            let own = |key: &Vec<u8>| owners.get(&(*state, key.clone())) == Some(executor);
            let due = all[&seen.txid][*state].iter();
            let due = due.filter(|(key, _)| own(key));
            let due = due
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let found = seen.entries.iter().cloned().collect();
            self.is_same(*state, seen.txid, &found, &due)?;
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
    fn judge_sinks(&self, trial: &Trial) -> Result<(), Broken> {
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
pub(super) fn tables(trial: &mut Trial) -> Vec<Table> {
    let looks = trial.props().states.clone();
    let looks = looks.iter().enumerate();
    looks
        .map(|(state, (_, look))| trial.calm().entries(state, *look).into_iter().collect())
        .collect()
}

/// What differs between what is there and what is due, the latter given first.
pub(super) fn difference(
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

pub(super) fn unequal<'a>(found: &'a Table, due: &'a Table) -> Option<Unequal<'a>> {
    let mut keys = found.keys().chain(due.keys());
    let key = keys.find(|key| found.get(*key) != due.get(*key))?;
    Some((key, found.get(key), due.get(key)))
}

fn copy(
    message: &ToExecutor,
    duplicate: impl Fn(&crate::chunk::Chunk) -> crate::chunk::Chunk,
) -> Option<ToExecutor> {
    Some(match message {
        ToExecutor::Data {
            edge,
            from,
            batch,
            seq,
            chunk,
        } => ToExecutor::Data {
            edge: *edge,
            from: *from,
            batch: *batch,
            seq: *seq,
            chunk: duplicate(chunk),
        },
        ToExecutor::End {
            edge,
            from,
            batch,
            chunks,
            records,
            dead,
        } => ToExecutor::End {
            edge: *edge,
            from: *from,
            batch: *batch,
            chunks: *chunks,
            records: *records,
            dead: dead.clone(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

impl<R: Rigged> Scene for Rehearsal<R> {
    fn build(&self) -> crate::plan::Plan {
        let (topology, _) = (self.make)(&Rig::on(self.stand.clone())).into_parts();
        let plan = topology.build();
        let checked = plan.and_then(|plan| self.stand.props(&plan).map(|_| plan));
        checked.unwrap_or_else(|error| panic!("another time, {error}"))
    }

    fn dead_letters(&self) -> Box<dyn Sink<DeadLetter>> {
        Box::new(DeadSink(self.stand.shelf.clone()))
    }

    fn states(&self) -> usize {
        self.props.states.len()
    }

    fn release(&self, more: u64) -> bool {
        let mut left = false;
        for (_, stock) in &self.props.spouts {
            let lengths = stock.well.lengths();
            stock.tap(|tap| {
                let released = tap.released.iter_mut().flatten();
                for (released, length) in released.zip(lengths) {
                    // Large inputs come in as many steps as small ones.
                    let more = (more as usize) * (length / 40).max(1);
                    *released = (*released + more).min(length);
                    left |= *released < length;
                }
            });
        }
        left
    }

    fn fail_reads(&self, spout: usize, times: u64) {
        self.props.spouts[spout].1.tap(|tap| tap.failing += times);
    }

    fn refuse_parts(&self, times: u8) {
        self.stand.shelf.refuse(times);
    }

    fn mend(&self) {
        let taps = self.props.spouts.iter();
        taps.for_each(|(_, stock)| stock.tap(|tap| tap.failing = 0));
        self.stand.shelf.relent();
    }

    fn sent(&mut self, spout: usize, to: u16, message: &ToExecutor) {
        let (ToExecutor::Data { batch, .. } | ToExecutor::End { batch, .. }) = message else {
            return;
        };
        let well = &self.props.spouts[spout].1.well;
        if let Some(message) = copy(message, |chunk| well.copy(chunk)) {
            let draft = self.drafts.entry(batch.attempt).or_default();
            draft.time_ms = batch.time_ms;
            draft.sent.push((spout, to, message));
        }
    }

    fn read(&mut self, attempt: Attempt, spout: usize) {
        let salts = self.props.spouts[spout].1.tap(|tap| tap.salts.clone());
        self.salts.insert((attempt, spout), salts);
    }

    fn heard(&mut self, _attempt: Attempt, _spout: usize) {}

    fn sealed(&mut self, attempt: Attempt, ranges: &Ranges) -> Result<(), Broken> {
        for spout in 0..self.props.spouts.len() {
            self.is_whole(attempt, spout, ranges)?;
        }
        let draft = self.drafts.remove(&attempt);
        self.sealed.push(draft.unwrap_or_default());
        self.drafts.retain(|other, _| other.txid > attempt.txid);
        self.salts.retain(|(other, _), _| other.txid > attempt.txid);
        Ok(())
    }

    fn took(&mut self) -> Result<Vec<Key>, Broken> {
        self.stand.shelf.fresh()
    }

    fn reading(&self, executor: u16, state: usize) -> ReadState {
        let (to, look) = (self.fresh.clone(), self.props.states[state].1);
        Box::new(move |shard| {
            if let Some(seen) = (look.all)(shard) {
                let reading = Reading {
                    executor,
                    state,
                    seen,
                };
                let mut all = to.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(reading);
            }
        })
    }

    fn seen(&mut self) -> Vec<TxId> {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let txids = fresh.iter().map(|reading| reading.seen.txid).collect();
        self.readings.append(&mut fresh);
        txids
    }

    fn readings(&self) -> usize {
        self.readings.len()
    }

    fn judge(&mut self, before_last: usize) -> Result<(), Broken> {
        let stand = self.stand.again();
        let (topology, handles) = (self.make)(&Rig::on(stand.clone())).into_parts();
        let plan = topology.build().map_err(|error| error.to_string())?;
        let trial = Trial::new(&stand, plan, self.executors);
        let mut trial = trial.map_err(|error| error.to_string())?;
        let all = self.rehearse(&mut trial)?;
        self.judge_states(&self.readings[before_last..], &all)?;
        self.judge_sinks(&trial)?;
        *self.end.borrow_mut() = Some((trial, handles));
        Ok(())
    }

    fn dead(&self) -> u64 {
        self.stand.shelf.dead().len() as u64
    }
}
