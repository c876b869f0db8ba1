//! What is run in a world, and what must come of it: the seam between the protocol, which knows no records, and records of some type.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fulmar_state::{Attempt, DeadLetter, TxId};

use crate::message::{ReadState, ToExecutor};
use crate::plan::Plan;
use crate::sink::Sink;

/// A broken rule, in words.
pub(super) type Broken = String;

/// A part as sinks are given it: sink, batch, partition.
pub(super) type Key = (String, TxId, u16);

/// The offsets that a batch read, from and to, by spout and partition.
pub(super) type Ranges = BTreeMap<(usize, u64), (u32, u32)>;

/// What a reader was shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// The step at which somebody asked.
    pub(super) asked: u32,
    pub(super) executor: u16,
    pub(super) state: usize,
    pub(super) txid: TxId,
}

impl Sight {
    /// What it is of: executor, state, batch.
    pub(super) fn of(&self) -> (u16, usize, TxId) {
        (self.executor, self.state, self.txid)
    }
}

/// What it was shown: one executor's share of a state.
#[derive(Clone, Debug)]
pub(super) struct Reading<E> {
    pub(super) sight: Sight,
    pub(super) entries: Vec<E>,
}

/// Everything that readers were shown; what is new waits until it is asked for.
pub(super) struct Readings<E> {
    fresh: Arc<Mutex<Vec<Reading<E>>>>,
    pub(super) all: Vec<Reading<E>>,
}

impl<E: Send + 'static> Readings<E> {
    pub(super) fn new() -> Self {
        Readings {
            fresh: Arc::default(),
            all: Vec::new(),
        }
    }

    /// For whoever asks one executor for a state: adds, from wherever it is read, as of which batch it was shown and what.
    pub(super) fn adder(
        &self,
        asked: u32,
        executor: u16,
        state: usize,
    ) -> impl FnOnce(TxId, Vec<E>) + Send + 'static {
        let fresh = self.fresh.clone();
        move |txid, entries| {
            let sight = Sight {
                asked,
                executor,
                state,
                txid,
            };
            let mut fresh = fresh.lock().unwrap_or_else(PoisonError::into_inner);
            fresh.push(Reading { sight, entries });
        }
    }

    /// Those that came since this was asked last.
    pub(super) fn news(&mut self) -> Vec<Sight> {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let sights = fresh.iter().map(|reading| reading.sight).collect();
        self.all.append(&mut fresh);
        sights
    }
}

/// The name under which dead letters come.
pub(super) const DEAD: &str = "dead letters";

/// A topology with its spouts, sinks and an account of every record. Positions of its spouts are offsets, its partitions numbers.
pub(super) trait Scene {
    /// The topology, as every process makes it when it starts.
    fn build(&self) -> Plan;
    /// Where dead letters go.
    fn dead_letters(&self) -> Box<dyn Sink<DeadLetter>>;
    /// How many states the topology has.
    fn states(&self) -> usize;
    /// How many times as many steps its batches take as those of the world's own topologies.
    fn weight(&self) -> u32 {
        1
    }

    /// More can be read: so many records of each partition. Says whether there is still more to come.
    fn release(&self, more: u64) -> bool;
    /// The next reads of a spout fail.
    fn fail_reads(&self, spout: usize, times: u64);
    /// The next parts are refused by the sinks that they are offered to.
    fn refuse_parts(&self, times: u8);
    /// A partition is listed from now on, or no more; says whether that is news.
    fn list(&self, _spout: usize, _partition: usize, _listed: bool) -> bool {
        false
    }
    /// Whether a partition has ever gone.
    fn has_gone(&self) -> bool {
        false
    }
    /// How many reads failed and how many parts were refused since the last look, if it is known.
    fn strikes(&self) -> (u64, u8) {
        (0, 0)
    }
    /// No read fails any more, no part is refused, and every partition is there. Says whether the lists have ever changed.
    fn mend(&self) -> bool;

    /// A source sends chunks and markers to an executor.
    fn sent(&mut self, spout: usize, to: u16, message: &ToExecutor);
    /// A source has read its share. Says whether it is known to be something else than the last time.
    fn read(&mut self, attempt: Attempt, spout: usize) -> bool;
    /// A coordinator hears of a read of a batch in flight.
    fn heard(&mut self, attempt: Attempt, spout: usize);
    /// A batch is sealed: what was sent must be exactly what lies in the ranges.
    fn sealed(&mut self, attempt: Attempt, ranges: &Ranges) -> Result<(), Broken>;
    /// Parts that sinks took since the last look, in their order; one that comes again must be the same.
    fn took(&mut self) -> Result<Vec<Key>, Broken>;

    /// A reader of one executor's share of a state.
    fn reading(&self, asked: u32, executor: u16, state: usize) -> ReadState;
    /// What readers were shown since the last look.
    fn seen(&mut self) -> Vec<Sight>;
    /// How many readings there are.
    fn readings(&self) -> usize;
    /// At the end: whatever readers saw, of which those from `before_last` on saw everything, and what sinks took.
    fn judge(&mut self, before_last: usize) -> Result<(), Broken>;
    /// How many dead letters there are.
    fn dead(&self) -> u64;
}
