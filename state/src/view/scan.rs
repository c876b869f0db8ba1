//! Scanning one partition: folded records and frozen changes, merged by key.

use std::cmp::Ordering;
use std::iter::Peekable;

use super::ShardView;
use crate::attempt::{Partition, StateId};
use crate::backend::{Family, Record, Scan};
use crate::base::data_key;
use crate::codec;
use crate::error::Result;
use crate::frozen::{Combined, Merged};
use crate::value::{Merge, Value};

/// A key and the value it has, if any.
type Found<V> = (Box<[u8]>, Option<V>);

/// Ascending keys and values of one partition; ends after the first error.
pub struct PartitionScan<'a, V, M: Merge<V>>
where
    V: Value,
{
    state: StateId,
    folded: Peekable<Scan<'a>>,
    changes: Peekable<Merged<'a, V, M>>,
    merge: &'a M,
    failed: bool,
}

impl<'a, V: Value, M: Merge<V>> PartitionScan<'a, V, M> {
    pub(crate) fn new(
        view: &'a ShardView<V, M>,
        partition: Partition,
        slot: usize,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> PartitionScan<'a, V, M> {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        data_key(partition, from, &mut first);
        match to {
            Some(to) => data_key(partition, to, &mut last),
            None => data_key(Partition(partition.0 + 1), b"", &mut last),
        }
        let parts = view.parts.iter().map(|frozen| frozen.part(slot));
        PartitionScan {
            state: view.state,
            folded: view
                .base
                .snapshot()
                .scan(Family::Data(view.state), &first, &last)
                .peekable(),
            changes: Merged::new(parts, from, to, &view.merge).peekable(),
            merge: &view.merge,
            failed: false,
        }
    }

    /// The next key, from whichever side it comes, and its value, if it still has one.
    fn step(&mut self) -> Option<Result<Found<V>>> {
        let order = match (self.folded.peek(), self.changes.peek()) {
            (None, None) => return None,
            (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(Ok((full, _))), Some((key, _))) => full[2..].cmp(key),
        };
        Some(match order {
            Ordering::Less => self
                .folded
                .next()?
                .and_then(|record| self.folded_value(&record)),
            Ordering::Greater => self
                .changes
                .next()
                .map(|(key, change)| Ok((key.into(), self.apply(change, None))))?,
            Ordering::Equal => {
                let (_, change) = self.changes.next()?;
                let folded = self
                    .folded
                    .next()?
                    .and_then(|record| self.folded_value(&record));
                folded.map(|(key, value)| (key, self.apply(change, value)))
            }
        })
    }

    fn folded_value(&self, (full, value): &Record) -> Result<Found<V>> {
        let value =
            codec::decode(value).map_err(|error| error.at(|| format!("state {}", self.state)))?;
        Ok((full[2..].into(), Some(value)))
    }

    fn apply(&self, change: Combined<'_, V>, before: Option<V>) -> Option<V> {
        change.into_change().apply(before, self.merge)
    }
}

impl<V: Value, M: Merge<V>> Iterator for PartitionScan<'_, V, M> {
    type Item = Result<(Box<[u8]>, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.step()? {
                Ok((key, Some(value))) => return Some(Ok((key, value))),
                Ok((_, None)) => {}
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
