//! The topologies of the world, written with the DSL, and the sinks that their records go to.

use std::sync::{Arc, Mutex, PoisonError};

use fulmar_state::DeadLetter;

use super::graph::{Keeps, Key as By, Node, field, folded};
use super::plan::Plan;
use super::scene::Key;
use super::spout::{Record, SimSpout, Wells};
use crate::aggregate::{Count, First, Max, Min, ReducerAggregator, Sum};
use crate::sink::{Part, Sink, SinkError};
use crate::stream::{StateHandle, StateSpec, Stream, Topology};

pub(super) use super::graph::Item;

/// What a node has become in the DSL.
enum Made {
    Stream(Stream<Item>),
    State(Handle),
    Nothing,
}

/// A state, by what its values are.
enum Handle {
    One(StateHandle<u64, u64>),
    Pair(StateHandle<u64, (u64, u64)>),
}

/// Builds the topology of a world.
pub(super) fn build(plan: &Plan, wells: &Arc<Wells>, desk: &Desk) -> crate::plan::Plan {
    let topology = Topology::new("world");
    let mut made: Vec<Made> = Vec::with_capacity(plan.graph.nodes.len());
    for (place, node) in plan.graph.nodes.iter().enumerate() {
        let next = match *node {
            Node::Spout {
                spout,
                behind_shuffle,
            } => {
                let name = format!("spout {spout}");
                let records = topology.spout(name, SimSpout::new(wells, spout.into()));
                Made::Stream(match behind_shuffle {
                    true => checked(&records.shuffle()),
                    false => checked(&records),
                })
            }
            Node::State { from, key, keeps } => {
                let spec = StateSpec::named(format!("state {place}")).partitions(plan.partitions);
                Made::State(keep(stream(&made, from), spec, key, keeps))
            }
            Node::Sink { from } => {
                stream(&made, from).sink(sink_name(place), desk.sink());
                Made::Nothing
            }
            node => Made::Stream(verb(node, &made)),
        };
        made.push(next);
    }
    topology.build().expect("the world's topologies are right")
}

/// The verbs that make a stream of streams and states.
fn verb(node: Node, made: &[Made]) -> Stream<Item> {
    match node {
        Node::Each { from, divisor } => stream(made, from).each(move |(id, value), out| {
            out.emit((id, value / divisor));
            let rest = value % divisor;
            (rest != 0).then(|| out.emit((id, rest)));
        }),
        Node::Map {
            from,
            times,
            plus,
            below,
        } => stream(made, from).map(move |(id, value)| {
            let value = value.wrapping_mul(times).wrapping_add(plus);
            (id, value % below)
        }),
        Node::Filter {
            from,
            divisor,
            rest,
        } => stream(made, from).filter(move |&(_, value)| value % divisor != rest),
        Node::FlatMap { from, most } => stream(made, from).flat_map(move |(id, value)| {
            let times = value % (u64::from(most) + 1);
            (1..=times).map(move |more| (id, value.wrapping_add(more)))
        }),
        Node::Peek { from } => stream(made, from).peek(|_| {}).named("look"),
        Node::Merge { left, right } => stream(made, left).merge(stream(made, right)),
        Node::Shuffle { from } => stream(made, from).shuffle(),
        Node::NewValues { state } => match handle(made, state) {
            Handle::One(state) => state.new_values(),
            Handle::Pair(state) => {
                let pairs = state.new_values();
                pairs.map(|(key, pair)| (key, folded(pair)))
            }
        },
        Node::Query { from, state, key } => match handle(made, state) {
            Handle::One(state) => {
                let answer =
                    |(id, _): Item, found: Option<u64>, out: &mut crate::Emitter<'_, _>| {
                        out.emit((id, found.unwrap_or_default()));
                    };
                stream(made, from).state_query(state, move |item| key.of(item), answer)
            }
            Handle::Pair(state) => stream(made, from).state_query(
                state,
                move |item| key.of(item),
                |(id, _), found, out| out.emit((id, found.map_or(0, folded))),
            ),
        },
        Node::Spout { .. } | Node::State { .. } | Node::Sink { .. } => {
            unreachable!("{node:?} is built by itself")
        }
    }
}

/// The verbs that keep something.
fn keep(items: &Stream<Item>, spec: StateSpec, key: By, keeps: Keeps) -> Handle {
    if keeps == Keeps::First {
        // A batch's order is the engine's: only of equal records is the first known.
        let keys = items.map(move |item| key.of(&item));
        let first = keys.group_by(|key| *key).persistent_aggregate(spec, First);
        return Handle::One(first);
    }
    let groups = items.group_by(move |item| key.of(item));
    Handle::One(match keeps {
        Keeps::Count | Keeps::First => groups.persistent_aggregate(spec, Count),
        Keeps::Sum => groups.persistent_aggregate(spec, Sum::by(field)),
        Keeps::Min => groups.persistent_aggregate(spec, Min::by(field)),
        Keeps::Max => groups.persistent_aggregate(spec, Max::by(field)),
        Keeps::Bulk => groups.persistent_aggregate(spec, Bulk),
        Keeps::Bounds => {
            let bounds = (Min::by(field), Max::by(field));
            return Handle::Pair(groups.persistent_aggregate(spec, bounds));
        }
    })
}

fn stream(made: &[Made], place: usize) -> &Stream<Item> {
    match made.get(place) {
        Some(Made::Stream(stream)) => stream,
        _ => unreachable!("node {place} is no stream: a plan's graph is checked"),
    }
}

fn handle(made: &[Made], place: usize) -> &Handle {
    match made.get(place) {
        Some(Made::State(handle)) => handle,
        _ => unreachable!("node {place} is no state: a plan's graph is checked"),
    }
}

/// A sink's name says which node it is.
pub(super) fn sink_name(place: usize) -> String {
    format!("sink {place}")
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
        value.unwrap_or_default() + 3 * field(record) + 1
    }
}

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
