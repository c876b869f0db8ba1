//! Where each partition of each spout has been read to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The range of one partition that a batch read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionMove {
    /// The partition.
    pub partition: String,
    /// Where the batch before ended; `None` if the partition was never read before.
    pub from: Option<Vec<u8>>,
    /// Where the next batch goes on.
    pub to: Vec<u8>,
    /// How many records lie between.
    pub records: u64,
    /// A digest of these records, of a spout that promises identical replays.
    pub digest: Option<u64>,
}

/// The position of every partition ever read, by spout and partition. A partition that went away keeps its position.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Positions(BTreeMap<String, BTreeMap<String, Vec<u8>>>);

impl Positions {
    /// Where the partition has been read to; `None` if it never was.
    #[must_use]
    pub fn get(&self, spout: &str, partition: &str) -> Option<&[u8]> {
        self.0.get(spout)?.get(partition).map(Vec::as_slice)
    }

    /// All partitions of one spout, by name.
    pub fn of(&self, spout: &str) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .get(spout)
            .into_iter()
            .flatten()
            .map(|(partition, to)| (partition.as_str(), to.as_slice()))
    }

    /// All positions as (spout, partition, position), in that order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.0.keys().flat_map(|spout| {
            self.of(spout)
                .map(move |(partition, to)| (spout.as_str(), partition, to))
        })
    }

    /// Sets one position.
    pub fn set(&mut self, spout: &str, partition: &str, to: Vec<u8>) {
        if let Some(slot) = self
            .0
            .get_mut(spout)
            .and_then(|spout| spout.get_mut(partition))
        {
            *slot = to;
            return;
        }
        self.0
            .entry(spout.to_owned())
            .or_default()
            .insert(partition.to_owned(), to);
    }

    /// Carries one batch's moves out.
    pub fn apply(&mut self, spout: &str, moves: &[PartitionMove]) {
        for step in moves {
            self.set(spout, &step.partition, step.to.clone());
        }
    }

    /// How many partitions have a position.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing was ever read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
