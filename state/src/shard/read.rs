//! Reading a shard: from the newest layer down to the folded data, until a whole value is found.

use super::Shard;
use crate::attempt::{Partition, TxId};
use crate::backend::Family;
use crate::base::data_key;
use crate::codec;
use crate::error::Result;
use crate::key::partition_of;
use crate::value::{Change, Found, Merge, Value};

/// What memory knows of a key.
pub(crate) enum Known<V> {
    /// The value, or that there is none.
    Whole(Option<V>),
    /// Only what must be added to the folded value.
    Delta(Option<V>),
}

impl<V: Value> Known<V> {
    /// Adds changes up, newest first, until a whole value is found.
    pub(crate) fn of<'a>(
        newest_first: impl Iterator<Item = Found<'a, V>>,
        merge: &impl Merge<V>,
    ) -> Known<V> {
        let mut newer: Option<V> = None;
        for found in newest_first {
            let change = newer.take().map(Change::Delta);
            let all = match (found, change) {
                (found, None) => found.to_change(),
                (found, Some(newer)) => found.to_change().then(newer, merge),
            };
            match all {
                Change::Delta(delta) => newer = Some(delta),
                Change::Put(value) => return Known::Whole(Some(value)),
                Change::Remove => return Known::Whole(None),
            }
        }
        Known::Delta(newer)
    }

    /// The value, given the folded one.
    pub(crate) fn on(self, folded: Option<V>, merge: &impl Merge<V>) -> Option<V> {
        match self {
            Known::Whole(value) => value,
            Known::Delta(None) => folded,
            Known::Delta(Some(delta)) => Change::Delta(delta).apply(folded, merge),
        }
    }
}

impl<V: Value, M: Merge<V>> Shard<V, M> {
    /// A key's value as of batch `upto`, which is sealed or has a layer.
    ///
    /// # Panics
    ///
    /// If `upto` is before the sealed batch or the key's partition is not owned.
    pub fn get(&self, upto: TxId, hash: u64, key: &[u8]) -> Result<Option<V>> {
        let mut answer = self.get_many(upto, &[(hash, key)])?;
        Ok(answer.pop().expect("one answer per key"))
    }

    /// The values of several keys, as by [`Shard::get`], with one request for all that memory does not know.
    ///
    /// # Panics
    ///
    /// As [`Shard::get`].
    pub fn get_many(&self, upto: TxId, keys: &[(u64, &[u8])]) -> Result<Vec<Option<V>>> {
        assert!(
            upto >= self.sealed,
            "state {}: {} is sealed, cannot read as of {upto}",
            self.state,
            self.sealed
        );
        let mut answers = Vec::with_capacity(keys.len());
        let mut unknown: Vec<(Vec<u8>, usize, Known<V>)> = Vec::new();
        for (at, (hash, key)) in keys.iter().enumerate() {
            let partition = self.partition_of(*hash);
            match self.known(upto, partition, *hash, key) {
                Known::Whole(value) => answers.push(value),
                known => {
                    let mut full = Vec::with_capacity(key.len() + 2);
                    data_key(partition, key, &mut full);
                    unknown.push((full, at, known));
                    answers.push(None);
                }
            }
        }
        unknown.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let asked: Vec<&[u8]> = unknown.iter().map(|(key, _, _)| key.as_slice()).collect();
        let found = if asked.is_empty() {
            Vec::new()
        } else {
            self.fetch(&asked)?
        };
        for ((_, at, known), folded) in unknown.into_iter().zip(found) {
            let folded = folded.as_deref().map(codec::decode::<V>).transpose();
            let folded = folded.map_err(|error| error.at(|| format!("state {}", self.state)))?;
            answers[at] = known.on(folded, &self.merge);
        }
        Ok(answers)
    }

    /// The partition of a key with this hash.
    #[inline]
    #[must_use]
    pub fn partition_of(&self, hash: u64) -> Partition {
        partition_of(hash, self.total())
    }

    fn fetch(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let family = Family::Data(self.state);
        match keys {
            [key] => Ok(vec![self.base.snapshot().get(family, key)?]),
            keys => self.base.snapshot().multi_get(family, keys),
        }
    }

    fn known(&self, upto: TxId, partition: Partition, hash: u64, key: &[u8]) -> Known<V> {
        let slot = self.slot(partition);
        let layers = self.layers.iter().rev().filter(|layer| layer.txid <= upto);
        let layers = layers.filter_map(|layer| layer.parts[slot].find(hash, key));
        let active = self.active.parts[slot].find(hash, key);
        let frozen = self
            .frozen
            .iter()
            .rev()
            .filter_map(|frozen| frozen.part(slot).find(hash, key));
        Known::of(layers.chain(active).chain(frozen), &self.merge)
    }
}
