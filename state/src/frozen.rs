//! Sealed changes that no longer change: what a fold writes and a view pins.

use std::sync::OnceLock;

use crate::attempt::TxId;
use crate::part::Part;
use crate::value::{Change, Found, Merge};

/// The changes of the sealed batches `first..=last`, one part per owned partition.
#[derive(Clone, Debug)]
pub(crate) struct Frozen<V> {
    pub(crate) first: TxId,
    pub(crate) last: TxId,
    parts: Vec<Sorted<V>>,
    /// Estimated bytes that the values point to.
    pub(crate) heap: usize,
}

/// A part and, once somebody asked, the ascending order of its keys.
#[derive(Clone, Debug)]
pub(crate) struct Sorted<V> {
    part: Part<V>,
    order: OnceLock<Box<[u32]>>,
}

impl<V> Frozen<V> {
    pub(crate) fn new(first: TxId, last: TxId, parts: Vec<Part<V>>, heap: usize) -> Frozen<V> {
        let parts = parts
            .into_iter()
            .map(|part| Sorted {
                part,
                order: OnceLock::new(),
            })
            .collect();
        Frozen {
            first,
            last,
            parts,
            heap,
        }
    }

    /// These changes followed by newer ones.
    pub(crate) fn join(mut self, newer: Frozen<V>, merge: &impl Merge<V>) -> Frozen<V> {
        for (old, new) in self.parts.iter_mut().zip(newer.parts) {
            if !new.part.is_empty() {
                old.part.absorb(new.part, merge);
                old.order = OnceLock::new();
            }
        }
        self.last = newer.last;
        self.heap += newer.heap;
        self
    }

    pub(crate) fn part(&self, slot: usize) -> &Sorted<V> {
        &self.parts[slot]
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|sorted| sorted.part.len()).sum()
    }

    /// Bytes held, the order of the keys included as if it were there already.
    pub(crate) fn memory(&self) -> usize {
        let part = |sorted: &Sorted<V>| sorted.part.memory() + sorted.part.len() * size_of::<u32>();
        self.parts.iter().map(part).sum::<usize>() + self.heap
    }
}

impl<V> Sorted<V> {
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Found<'_, V>> {
        self.part.find(hash, key)
    }

    /// Entry numbers of the keys from `from` up to but without `to`, ascending.
    fn range(&self, from: &[u8], to: Option<&[u8]>) -> &[u32] {
        let order = self.order.get_or_init(|| sort(&self.part));
        let key = |index: &u32| self.part.entry(*index as usize).0;
        let start = if from.is_empty() {
            0
        } else {
            order.partition_point(|index| key(index) < from)
        };
        let end = to.map_or(order.len(), |to| {
            order.partition_point(|index| key(index) < to)
        });
        order.get(start..end).unwrap_or_default()
    }
}

/// Sorts by the first eight bytes, which lie together, and looks at the whole keys only where these are equal.
fn sort<V>(part: &Part<V>) -> Box<[u32]> {
    let key = |index: u32| part.entry(index as usize).0;
    let count = u32::try_from(part.len()).expect("a table holds fewer than 2^32 keys");
    let mut order: Vec<(u64, u32)> = (0..count)
        .map(|index| (prefix(key(index)), index))
        .collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
    order.into_iter().map(|(_, index)| index).collect()
}

fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// What several parts, oldest first, do to a key in all.
#[derive(Debug)]
pub(crate) enum Combined<'a, V> {
    /// Only one part has the key.
    One(Found<'a, V>),
    /// Several have.
    Many(Change<V>),
}

impl<V: Clone> Combined<'_, V> {
    pub(crate) fn found(&self) -> Found<'_, V> {
        match self {
            Combined::One(found) => *found,
            Combined::Many(change) => change.into(),
        }
    }

    pub(crate) fn into_change(self) -> Change<V> {
        match self {
            Combined::One(found) => found.to_change(),
            Combined::Many(change) => change,
        }
    }
}

/// The keys of several parts, merged in ascending order.
pub(crate) struct Merged<'a, V, M> {
    cursors: Vec<(&'a Sorted<V>, &'a [u32])>,
    merge: &'a M,
}

impl<'a, V, M> Merged<'a, V, M> {
    /// Merges the parts, oldest first, between two keys.
    pub(crate) fn new(
        parts: impl Iterator<Item = &'a Sorted<V>>,
        from: &[u8],
        to: Option<&[u8]>,
        merge: &'a M,
    ) -> Merged<'a, V, M> {
        let cursors = parts.map(|sorted| (sorted, sorted.range(from, to)));
        Merged {
            cursors: cursors.filter(|(_, order)| !order.is_empty()).collect(),
            merge,
        }
    }
}

impl<'a, V: Clone, M: Merge<V>> Iterator for Merged<'a, V, M> {
    type Item = (&'a [u8], Combined<'a, V>);

    fn next(&mut self) -> Option<Self::Item> {
        let head = |(sorted, order): &(&'a Sorted<V>, &'a [u32])| {
            order
                .first()
                .map(|index| sorted.part.entry(*index as usize))
        };
        let key = self
            .cursors
            .iter()
            .filter_map(head)
            .map(|(key, _)| key)
            .min()?;
        let mut all: Option<Combined<'a, V>> = None;
        for cursor in &mut self.cursors {
            let Some((_, found)) = head(cursor).filter(|(other, _)| *other == key) else {
                continue;
            };
            cursor.1 = &cursor.1[1..];
            all = Some(match all {
                None => Combined::One(found),
                Some(older) => {
                    Combined::Many(older.into_change().then(found.to_change(), self.merge))
                }
            });
        }
        all.map(|combined| (key, combined))
    }
}
