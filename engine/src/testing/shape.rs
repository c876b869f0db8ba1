//! The topologies of the world, written with the DSL, and the sinks that their records go to.

use std::sync::{Arc, Mutex, PoisonError};

use fulmar_state::{DeadLetter, TxId};

use super::plan::{Plan, Shape};
use super::spout::{Record, SimSpout, Wells};
use crate::aggregate::{Count, ReducerAggregator, Sum};
use crate::sink::{Part, Sink, SinkError};
use crate::stream::{StateSpec, Stream, Topology};

/// What a world's records are after the first operator: one of several readings is told from another by its value.
pub(super) type Item = (u64, u64);

/// The name under which dead letters come.
pub(super) const DEAD: &str = "dead letters";

/// Builds the topology of a world.
pub(super) fn build(plan: &Plan, wells: &Arc<Wells>, desk: &Desk) -> crate::plan::Plan {
    let topology = Topology::new("world");
    let state = |name: &str| StateSpec::named(name).partitions(plan.partitions);
    let spout = |index: usize| {
        let name = format!("spout {index}");
        checked(&topology.spout(name, SimSpout::new(wells, index)))
    };
    match plan.shape {
        Shape::Words => {
            let words = spout(0).each(|(id, value): Item, out| {
                out.emit(value % 7);
                (id % 3 != 0).then(|| out.emit(value % 5));
            });
            let counts = words
                .group_by(|word| *word)
                .persistent_aggregate(state("counts"), Count);
            counts.new_values().sink("news", desk.sink());
        }
        Shape::Merged => {
            let all = spout(0).merge(&spout(1));
            let counts = all
                .group_by(|(_, value)| value % 7)
                .persistent_aggregate(state("counts"), Count);
            all.group_by(|(_, value)| value % 3)
                .persistent_aggregate(state("bulk"), Bulk);
            counts.new_values().sink("news", desk.sink());
            let sum = Sum::by(|(_, count): &(u64, u64)| *count);
            let news = counts.new_values();
            news.group_by(|(key, _)| key % 2)
                .persistent_aggregate(state("sums"), sum);
            let seen = |(id, _): Item, count: Option<u64>, out: &mut crate::Emitter<'_, Item>| {
                out.emit((id, count.unwrap_or_default()));
            };
            all.state_query(&counts, |(_, value)| value % 7, seen)
                .sink("seen", desk.sink());
        }
        Shape::Letters => {
            let all = spout(0);
            all.sink("raw", desk.sink());
            all.group_by(|(_, value)| *value)
                .persistent_aggregate(state("counts"), Count);
        }
    }
    topology.build().expect("the world's topologies are right")
}

/// An item's first number says where it comes from.
pub(super) fn id_of(record: &Record) -> u64 {
    u64::from(record.spout) << 40 | u64::from(record.partition) << 32 | u64::from(record.offset)
}

/// Fails on poison.
fn checked(records: &Stream<Record>) -> Stream<Item> {
    records.try_each(|record: Record, out| match record.poison {
        0 => {
            out.emit((id_of(&record), record.value));
            Ok(())
        }
        1 => Err("poison"),
        // As a panic, but without the message that the hook would print.
        _ => std::panic::resume_unwind(Box::new("poison")),
    })
}

/// Adds numbers up in a way that no order changes.
struct Bulk;

impl ReducerAggregator<Item> for Bulk {
    type Value = u64;

    fn reduce(&self, value: Option<u64>, record: &Item) -> u64 {
        value.unwrap_or_default() + 3 * record.1 + 1
    }
}

/// A part as sinks are given it: sink, batch, partition.
pub(super) type Key = (String, TxId, u16);

/// Where all sinks of a world lie: outside.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<Taken>>);

#[derive(Default)]
pub(super) struct Taken {
    /// Parts taken since the oracle last looked, in their order.
    pub(super) fresh: Vec<(Key, Vec<Item>)>,
    /// So many parts are refused.
    pub(super) refusing: u8,
    /// So many were refused since the world last looked.
    pub(super) refused: u8,
    /// Whether what is refused is said to be taken.
    pub(super) lies: bool,
}

impl Desk {
    pub(super) fn sink(&self) -> SimSink {
        SimSink(self.clone())
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Taken) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, part: &Part, items: Vec<Item>) -> Result<(), SinkError> {
        self.with(|taken| {
            if let Some(left) = taken.refusing.checked_sub(1) {
                taken.refusing = left;
                taken.refused += 1;
                if taken.lies {
                    return Ok(());
                }
                return Err(SinkError::retry("the world lets this sink refuse"));
            }
            let key = (part.sink.to_string(), part.txid, part.partition);
            taken.fresh.push((key, items));
            Ok(())
        })
    }
}

/// A sink of the world.
pub(super) struct SimSink(Desk);

impl Sink<Item> for SimSink {
    fn publish(&mut self, part: &Part, records: Vec<Item>) -> Result<(), SinkError> {
        self.0.take(part, records)
    }
}

impl Sink<DeadLetter> for SimSink {
    fn publish(&mut self, part: &Part, records: Vec<DeadLetter>) -> Result<(), SinkError> {
        // The letter's record is what the spout yielded; its position is where that was read from.
        let item = |letter: &DeadLetter| {
            let record = fulmar_state::codec::decode::<Record>(&letter.record);
            record.map(|record| (id_of(&record), record.value))
        };
        let items: Result<Vec<_>, _> = records.iter().map(item).collect();
        let items = items.map_err(SinkError::permanent)?;
        self.0.take(part, items)
    }
}
