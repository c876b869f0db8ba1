//! What a topology must have come to, computed plainly from what each sealed batch held: one arm for each verb.

use std::collections::{BTreeMap, BTreeSet};

use super::super::graph::{BITS, Graph, Item, Keeps, Node, field, folded};
use super::super::shape::{id_of, sink_name};
use super::super::spout::Record;

/// Keys and values of one state.
pub(super) type Table = BTreeMap<u64, u64>;

/// Everything after one batch, and what the batch gave to sinks.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// In the order in which the topology makes its states.
    pub(super) states: Vec<Table>,
    pub(super) outputs: BTreeMap<String, Vec<Item>>,
}

/// The states after batch 0, 1, 2 and so on.
pub(super) fn evaluate<'a>(
    graph: &Graph,
    batches: impl Iterator<Item = &'a [Record]>,
) -> Vec<Snapshot> {
    let places = graph.states();
    let mut all = vec![Snapshot {
        states: vec![Table::new(); places.len()],
        outputs: BTreeMap::new(),
    }];
    for records in batches {
        let next = batch(graph, &places, records, &all[all.len() - 1].states);
        all.push(next);
    }
    all
}

/// What a batch makes of the states before it.
fn batch(graph: &Graph, places: &[usize], records: &[Record], before: &[Table]) -> Snapshot {
    let mut after = Snapshot {
        states: before.to_vec(),
        outputs: BTreeMap::new(),
    };
    let state_at = |place: usize| places.iter().position(|state| *state == place).unwrap_or(0);
    // What each node yields; a state yields its new values.
    let mut streams: Vec<Vec<Item>> = Vec::with_capacity(graph.nodes.len());
    for (place, node) in graph.nodes.iter().enumerate() {
        let yields = match *node {
            Node::Spout { spout, .. } => {
                let own = records.iter().filter(|record| record.spout == spout);
                own.map(|record| (id_of(record), record.value)).collect()
            }
            Node::Each { from, divisor } => each(&streams[from], divisor.get()),
            Node::Map {
                from,
                times,
                plus,
                below,
            } => {
                let map = |(id, value): &Item| {
                    (*id, value.wrapping_mul(times).wrapping_add(plus) % below)
                };
                streams[from].iter().map(map).collect()
            }
            Node::Filter {
                from,
                divisor,
                rest,
            } => {
                let mut kept = streams[from].clone();
                kept.retain(|&(_, value)| value % divisor != rest);
                kept
            }
            Node::FlatMap { from, most } => {
                let mut items = Vec::new();
                for (id, value) in &streams[from] {
                    let times = value % (u64::from(most) + 1);
                    (1..=times).for_each(|more| items.push((*id, value.wrapping_add(more))));
                }
                items
            }
            Node::Merge { left, right } => {
                let both = streams[left].iter().chain(&streams[right]);
                both.copied().collect()
            }
            Node::Peek { from } | Node::Shuffle { from } => streams[from].clone(),
            Node::State { from, key, keeps } => {
                let items = streams[from].iter().map(|item| (key.of(item), *item));
                keep(keeps, items, &mut after.states[state_at(place)])
            }
            Node::NewValues { state } => streams[state].clone(),
            Node::Query { from, state, key } => {
                let table = &before[state_at(state)];
                let value = |item: &Item| table.get(&key.of(item)).copied().unwrap_or_default();
                let items = streams[from].iter();
                items.map(|item| (item.0, value(item))).collect()
            }
            Node::Sink { from } => {
                let items = streams[from].clone();
                after.outputs.insert(sink_name(place), items);
                Vec::new()
            }
        };
        streams.push(yields);
    }
    after
}

fn each(items: &[Item], divisor: u64) -> Vec<Item> {
    let mut parts = Vec::new();
    for (id, value) in items {
        parts.push((*id, value / divisor));
        if value % divisor != 0 {
            parts.push((*id, value % divisor));
        }
    }
    parts
}

/// Puts items into a table; answers the new values of the keys that came.
fn keep(keeps: Keeps, items: impl Iterator<Item = (u64, Item)>, table: &mut Table) -> Vec<Item> {
    let mut touched = BTreeSet::new();
    for (key, item) in items {
        let old = table.get(&key).copied();
        let value = field(&item);
        let new = match (keeps, old) {
            (Keeps::Count, _) => old.unwrap_or_default() + 1,
            (Keeps::Sum, _) => old.unwrap_or_default() + value,
            (Keeps::Bulk, _) => old.unwrap_or_default() + 3 * value + 1,
            (Keeps::First, _) => key,
            (Keeps::Min | Keeps::Max, None) => value,
            (Keeps::Min, Some(old)) => old.min(value),
            (Keeps::Max, Some(old)) => old.max(value),
            (Keeps::Bounds, None) => folded((value, value)),
            (Keeps::Bounds, Some(old)) => {
                let (low, high) = (old >> BITS, old % (1 << BITS));
                folded((low.min(value), high.max(value)))
            }
        };
        table.insert(key, new);
        touched.insert(key);
    }
    touched.into_iter().map(|key| (key, table[&key])).collect()
}
