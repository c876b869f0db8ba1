//! The world's own scene: records that say where they come from, and an account of each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fulmar_state::{Attempt, DeadLetter, Epoch, TxId, Value};

use super::super::bug::Bug;
use super::super::graph::folded;
use super::super::plan::Plan;
use super::super::scene::{Broken, Key, Ranges, Readings, Scene, Sight};
use super::super::shape::{Desk, Item, build};
use super::super::spout::{Record, Wells};
use crate::message::{ReadState, ToExecutor};
use crate::operator::Merging;
use crate::sink::Sink;

/// What a sealed batch held.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) attempt: Attempt,
    pub(super) records: Vec<Record>,
    /// What each partition gave, by spout.
    pub(super) ranges: Ranges,
}

/// The values that a spout yielded for an attempt, by partition and offset.
type Content = Vec<(u8, u32, u64)>;

/// A shard of a state of the world.
type Shard<V> = fulmar_state::Shard<V, Merging<V>>;

/// A plan's topology and data, and what became of them.
pub(in super::super) struct Recount {
    pub(super) plan: Plan,
    wells: Arc<Wells>,
    desk: Desk,
    pub(super) readings: Readings<(u64, u64)>,
    /// What sources sent, by attempt.
    pub(super) sent: BTreeMap<Attempt, Vec<Record>>,
    /// What spouts that promise the same yielded first, in the knowledge of a term.
    pub(super) first: BTreeMap<(Epoch, TxId, usize), Content>,
    /// The newest attempt that was read of each batch, by spout.
    newest_read: BTreeMap<(TxId, usize), Attempt>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) taken: BTreeMap<Key, Vec<Item>>,
}

impl Recount {
    pub(in super::super) fn new(plan: &Plan) -> Self {
        let desk = Desk::default();
        desk.with(|taken| taken.lies = plan.bug == Some(Bug::SinkLies));
        Recount {
            wells: Arc::new(Wells::new(plan)),
            desk,
            readings: Readings::new(),
            sent: BTreeMap::new(),
            first: BTreeMap::new(),
            newest_read: BTreeMap::new(),
            sealed: Vec::new(),
            taken: BTreeMap::new(),
            plan: plan.clone(),
        }
    }

    /// The newest sealed batch.
    pub(super) fn txid(&self) -> TxId {
        TxId(self.sealed.len() as u64)
    }

    pub(super) fn content(&self, attempt: Attempt, spout: usize) -> Content {
        let records = self.sent.get(&attempt).into_iter().flatten();
        let own = records.filter(|record| usize::from(record.spout) == spout && record.poison == 0);
        own.map(|record| (record.partition, record.offset, record.value))
            .collect()
    }
}

impl Scene for Recount {
    fn build(&self) -> crate::plan::Plan {
        build(&self.plan, &self.wells, &self.desk)
    }

    fn dead_letters(&self) -> Box<dyn Sink<DeadLetter>> {
        Box::new(self.desk.sink())
    }

    fn states(&self) -> usize {
        self.plan.graph.states().len()
    }

    fn release(&self, more: u64) -> bool {
        self.wells.release(more)
    }

    fn fail_reads(&self, spout: usize, times: u64) {
        self.wells.fail(spout, times);
    }

    fn refuse_parts(&self, times: u8) {
        self.desk.with(|taken| taken.refusing += times);
    }

    fn list(&self, spout: usize, partition: usize, listed: bool) -> bool {
        self.wells.list(spout, partition, listed)
    }

    fn has_gone(&self) -> bool {
        self.wells.has_gone()
    }

    fn strikes(&self) -> (u64, u8) {
        let refused = self.desk.with(|taken| std::mem::take(&mut taken.refused));
        (self.wells.take_failures(), refused)
    }

    fn mend(&self) -> bool {
        self.desk.with(|taken| taken.refusing = 0);
        self.wells.mend()
    }

    fn sent(&mut self, _spout: usize, _to: u16, message: &ToExecutor) {
        if let ToExecutor::Data { batch, chunk, .. } = message {
            let records = self.sent.entry(batch.attempt).or_default();
            records.extend_from_slice(chunk.peek::<Record>());
        }
    }

    fn read(&mut self, attempt: Attempt, spout: usize) -> bool {
        let before = self.newest_read.insert((attempt.txid, spout), attempt);
        before.is_some_and(|before| self.content(before, spout) != self.content(attempt, spout))
    }

    fn heard(&mut self, attempt: Attempt, spout: usize) {
        let key = (attempt.generation.epoch, attempt.txid, spout);
        if !self.first.contains_key(&key) {
            let content = self.content(attempt, spout);
            self.first.insert(key, content);
        }
    }

    fn sealed(&mut self, attempt: Attempt, ranges: &Ranges) -> Result<(), Broken> {
        let sealed = self.account(attempt, ranges)?;
        self.sealed.push(sealed);
        Ok(())
    }

    fn took(&mut self) -> Result<Vec<Key>, Broken> {
        let fresh = self.desk.with(|taken| std::mem::take(&mut taken.fresh));
        let mut keys = Vec::with_capacity(fresh.len());
        for (key, mut items) in fresh {
            items.sort_unstable();
            keys.push(key.clone());
            let before = self.taken.entry(key.clone()).or_insert(items.clone());
            if *before != items {
                return Err(format!(
                    "{key:?} comes again as {items:?}, it was {before:?}"
                ));
            }
        }
        Ok(keys)
    }

    fn reading(&self, asked: u32, executor: u16, state: usize) -> ReadState {
        let graph = &self.plan.graph;
        let add = self.readings.adder(asked, executor, state);
        match graph.keeps_pairs(graph.states()[state]) {
            true => reading(add, folded),
            false => reading(add, |value: u64| value),
        }
    }

    fn seen(&mut self) -> Vec<Sight> {
        self.readings.news()
    }

    fn readings(&self) -> usize {
        self.readings.all.len()
    }

    fn judge(&mut self, before_last: usize) -> Result<(), Broken> {
        self.judge_all(before_last)
    }

    fn dead(&self) -> u64 {
        self.dead_letters_taken()
    }
}

/// Reads one executor's share of a state, its values as numbers.
fn reading<V: Value>(
    add: impl FnOnce(TxId, Vec<(u64, u64)>) + Send + 'static,
    number: fn(V) -> u64,
) -> ReadState {
    Box::new(move |shard| {
        let shard: &mut Shard<V> = shard
            .as_any_mut()
            .downcast_mut()
            .expect("a state of the world holds what its node says");
        let view = shard.view();
        let mut entries = Vec::new();
        for partition in view.owned() {
            let Ok(scan) = view.scan(*partition, b"", None) else {
                return;
            };
            for record in scan {
                let Ok((key, value)) = record else { return };
                let key: [u8; 8] = key[..].try_into().expect("keys are numbers");
                entries.push((u64::from_be_bytes(key), number(value)));
            }
        }
        add(view.txid(), entries);
    })
}
