//! The scene of a user's topology: what its sealed batches held is run once more without faults, and both must come to the same.

mod judge;

pub(super) use judge::{difference, tables, unequal};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fulmar_state::{Attempt, DeadLetter};

use super::links::copied;
use super::look::Seen;
use super::plan::Plan;
use super::rig::{DeadSink, Props, Rig, Rigged, Stand, Tap};
use super::scene::{Broken, Key, Ranges, Reading, Readings, Scene, Sight};
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

/// A state's keys and values, encoded.
type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// A user's topology in a world.
pub(super) struct Rehearsal<R: Rigged> {
    make: Make<R>,
    stand: Stand,
    props: Props,
    executors: u16,
    weight: u32,
    drafts: BTreeMap<Attempt, Draft>,
    /// Which reading of each partition an attempt comes from, by spout.
    salts: BTreeMap<(Attempt, usize), Vec<u32>>,
    sealed: Vec<Draft>,
    readings: Readings<(Vec<u8>, Vec<u8>)>,
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
            weight: 1,
            drafts: BTreeMap::new(),
            salts: BTreeMap::new(),
            sealed: Vec::new(),
            readings: Readings::new(),
            end,
        })
    }

    /// Whose batches take so many times as many steps as those of the world's own topologies.
    pub(super) fn of_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
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
}

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

    fn weight(&self) -> u32 {
        self.weight
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

    fn mend(&self) -> bool {
        let taps = self.props.spouts.iter();
        taps.for_each(|(_, stock)| stock.tap(|tap| tap.failing = 0));
        self.stand.shelf.relent();
        false
    }

    fn sent(&mut self, spout: usize, to: u16, message: &ToExecutor) {
        let (ToExecutor::Data { batch, .. } | ToExecutor::End { batch, .. }) = message else {
            return;
        };
        let well = &self.props.spouts[spout].1.well;
        if let Some(message) = copied(message, |chunk| well.copy(chunk)) {
            let draft = self.drafts.entry(batch.attempt).or_default();
            draft.time_ms = batch.time_ms;
            draft.sent.push((spout, to, message));
        }
    }

    fn read(&mut self, attempt: Attempt, spout: usize) -> bool {
        let salts = self.props.spouts[spout].1.tap(|tap| tap.salts.clone());
        self.salts.insert((attempt, spout), salts);
        false
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

    fn reading(&self, asked: u32, executor: u16, state: usize) -> ReadState {
        let add = self.readings.adder(asked, executor, state);
        let look = self.props.states[state].1;
        Box::new(move |shard| {
            if let Some(Seen { txid, entries }) = (look.all)(shard) {
                add(txid, entries);
            }
        })
    }

    fn seen(&mut self) -> Vec<Sight> {
        self.readings.news()
    }

    fn readings(&self) -> usize {
        self.readings.all.len()
    }

    fn judge(&mut self, before_last: usize) -> Result<(), Broken> {
        let stand = self.stand.again();
        let (topology, handles) = (self.make)(&Rig::on(stand.clone())).into_parts();
        let plan = topology.build().map_err(|error| error.to_string())?;
        let trial = Trial::new(&stand, plan, self.executors);
        let mut trial = trial.map_err(|error| error.to_string())?;
        let all = self.rehearse(&mut trial)?;
        self.judge_states(&self.readings.all[before_last..], &all)?;
        self.judge_sinks(&trial)?;
        *self.end.borrow_mut() = Some((trial, handles));
        Ok(())
    }

    fn dead(&self) -> u64 {
        self.stand.shelf.dead().len() as u64
    }
}

#[cfg(test)]
mod tests;
