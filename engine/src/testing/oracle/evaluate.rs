//! What a topology must have come to, computed plainly from what each sealed batch held.

use std::collections::{BTreeMap, BTreeSet};

use super::super::plan::Shape;
use super::super::shape::{Item, id_of};
use super::super::spout::Record;

/// Keys and values of one state.
pub(super) type Table = BTreeMap<u64, u64>;

/// Everything after one batch, and what the batch gave to sinks.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// In the order in which the topology makes its states.
    pub(super) states: Vec<Table>,
    pub(super) outputs: BTreeMap<&'static str, Vec<Item>>,
}

/// The states after batch 0, 1, 2 and so on.
pub(super) fn evaluate<'a>(
    shape: Shape,
    batches: impl Iterator<Item = &'a [Record]>,
) -> Vec<Snapshot> {
    let states = match shape {
        Shape::Words | Shape::Letters => 1,
        Shape::Merged => 3,
    };
    let mut all = vec![Snapshot {
        states: vec![Table::new(); states],
        outputs: BTreeMap::new(),
    }];
    for records in batches {
        let mut next = all[all.len() - 1].clone();
        next.outputs.clear();
        let items: Vec<Item> = records
            .iter()
            .map(|record| (id_of(record), record.value))
            .collect();
        match shape {
            Shape::Words => words(&items, &mut next),
            Shape::Merged => merged(&items, &mut next),
            Shape::Letters => letters(items, &mut next),
        }
        all.push(next);
    }
    all
}

fn words(items: &[Item], to: &mut Snapshot) {
    let mut words = Vec::new();
    for (id, value) in items {
        words.push(value % 7);
        if id % 3 != 0 {
            words.push(value % 5);
        }
    }
    let news = count(words, &mut to.states[0]);
    to.outputs.insert("news", news);
}

fn merged(items: &[Item], to: &mut Snapshot) {
    let before = to.states[0].clone();
    let seen = |(id, value): &Item| (*id, before.get(&(value % 7)).copied().unwrap_or_default());
    to.outputs.insert("seen", items.iter().map(seen).collect());
    let news = count(items.iter().map(|(_, value)| value % 7), &mut to.states[0]);
    for (_, value) in items {
        *to.states[1].entry(value % 3).or_default() += 3 * value + 1;
    }
    for (key, count) in &news {
        *to.states[2].entry(key % 2).or_default() += count;
    }
    to.outputs.insert("news", news);
}

fn letters(items: Vec<Item>, to: &mut Snapshot) {
    count(items.iter().map(|(_, value)| *value), &mut to.states[0]);
    to.outputs.insert("raw", items);
}

/// Counts keys; answers the new counts of those that came.
fn count(keys: impl IntoIterator<Item = u64>, table: &mut Table) -> Vec<Item> {
    let mut touched = BTreeSet::new();
    for key in keys {
        *table.entry(key).or_default() += 1;
        touched.insert(key);
    }
    touched.into_iter().map(|key| (key, table[&key])).collect()
}
