//! A whole state as of one sealed batch, over all the executors that share it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use super::{PartitionScan, ShardView};
use crate::attempt::{Partition, StateId, TxId};
use crate::error::{Result, StateError};
use crate::key::{Key, hash_key, partition_of};
use crate::value::{Merge, Value};

/// All of a state's partitions as of one sealed batch.
pub struct StateView<K, V, M> {
    state: StateId,
    txid: TxId,
    shards: Vec<ShardView<V, M>>,
    /// From partition to its shard.
    owner: Vec<u16>,
    key: PhantomData<fn() -> K>,
}

impl<K: Key, V: Value, M: Merge<V>> StateView<K, V, M> {
    /// Puts shards' views together; an error unless they are of one state as of one batch and show every partition
    /// exactly once.
    pub fn new(shards: Vec<ShardView<V, M>>) -> Result<StateView<K, V, M>> {
        let Some(first) = shards.first() else {
            let what = "there is none".to_owned();
            return Err(StateError::Mismatch {
                state: StateId(0),
                what,
            });
        };
        let (state, txid, partitions) = (first.state(), first.txid(), first.partitions());
        let mismatch = |what: String| Err(StateError::Mismatch { state, what });
        let mut owner = vec![u16::MAX; partitions.into()];
        for (at, shard) in (0_u16..).zip(&shards) {
            if (shard.state(), shard.txid(), shard.partitions()) != (state, txid, partitions) {
                return mismatch(format!("{shard:?} beside {first:?}"));
            }
            for partition in shard.owned() {
                let owner = &mut owner[usize::from(partition.0)];
                if *owner != u16::MAX {
                    return mismatch(format!("partition {partition} is shown twice"));
                }
                *owner = at;
            }
        }
        match owner.iter().position(|owner| *owner == u16::MAX) {
            Some(missing) => mismatch(format!("partition {missing} is missing")),
            None => Ok(StateView {
                state,
                txid,
                shards,
                owner,
                key: PhantomData,
            }),
        }
    }

    /// The sealed batch it shows.
    #[must_use]
    pub fn txid(&self) -> TxId {
        self.txid
    }

    /// A key's value.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        let hash = hash_key(&bytes);
        let owner = self.owner[usize::from(partition_of(hash, self.shards[0].partitions()).0)];
        self.shards[usize::from(owner)].get(hash, &bytes)
    }

    /// All keys and values in ascending order of the keys.
    pub fn scan(&self) -> StateScan<'_, K, V, M> {
        self.scan_range(..)
    }

    /// The keys of a range and their values in ascending order of the keys.
    pub fn scan_range(&self, range: impl RangeBounds<K>) -> StateScan<'_, K, V, M> {
        // The smallest byte string above a key is the key with a zero byte behind it.
        let bytes = |key: &K, above: bool| {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            if above {
                bytes.push(0);
            }
            bytes
        };
        let from = match range.start_bound() {
            Bound::Included(key) => bytes(key, false),
            Bound::Excluded(key) => bytes(key, true),
            Bound::Unbounded => Vec::new(),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some(bytes(key, true)),
            Bound::Excluded(key) => Some(bytes(key, false)),
            Bound::Unbounded => None,
        };
        StateScan::new(self, &from, to.as_deref())
    }

    /// How many keys there are; scans them all.
    pub fn count(&self) -> Result<u64> {
        self.scan()
            .try_fold(0, |count, record| record.map(|_| count + 1))
    }
}

impl<K, V, M> fmt::Debug for StateView<K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateView")
            .field("state", &self.state)
            .field("txid", &self.txid)
            .finish_non_exhaustive()
    }
}

/// Keys and values of a state in ascending order of the keys; ends after the first error.
pub struct StateScan<'a, K, V: Value, M: Merge<V>> {
    state: StateId,
    heap: BinaryHeap<Reverse<Head<'a, V, M>>>,
    error: Option<StateError>,
    key: PhantomData<fn() -> K>,
}

/// A partition's next record and what comes behind it. Ordered by key; no key is in two partitions.
struct Head<'a, V: Value, M: Merge<V>> {
    key: Box<[u8]>,
    value: V,
    partition: Partition,
    rest: PartitionScan<'a, V, M>,
}

impl<V: Value, M: Merge<V>> PartialEq for Head<'_, V, M> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<V: Value, M: Merge<V>> Eq for Head<'_, V, M> {}

impl<V: Value, M: Merge<V>> PartialOrd for Head<'_, V, M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<V: Value, M: Merge<V>> Ord for Head<'_, V, M> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<'a, K: Key, V: Value, M: Merge<V>> StateScan<'a, K, V, M> {
    fn new(view: &'a StateView<K, V, M>, from: &[u8], to: Option<&[u8]>) -> StateScan<'a, K, V, M> {
        let mut scan = StateScan {
            state: view.state,
            heap: BinaryHeap::new(),
            error: None,
            key: PhantomData,
        };
        if to.is_some_and(|to| from >= to) {
            return scan;
        }
        for shard in &view.shards {
            for partition in shard.owned() {
                if let Err(error) = scan.open(shard, *partition, from, to) {
                    scan.error = Some(error);
                    return scan;
                }
            }
        }
        scan
    }

    fn open(
        &mut self,
        shard: &'a ShardView<V, M>,
        partition: Partition,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<()> {
        let mut rest = shard.scan(partition, from, to)?;
        if let Some(first) = rest.next() {
            let (key, value) = first?;
            self.heap.push(Reverse(Head {
                key,
                value,
                partition,
                rest,
            }));
        }
        Ok(())
    }

    /// The smallest head, replaced by what comes behind it.
    fn step(&mut self) -> Option<Result<(K, V)>> {
        let mut top = self.heap.peek_mut()?;
        let head = &mut top.0;
        let partition = head.partition;
        let (key, value) = match head.rest.next() {
            Some(Ok((key, value))) => {
                let taken = (
                    std::mem::replace(&mut head.key, key),
                    std::mem::replace(&mut head.value, value),
                );
                drop(top);
                taken
            }
            Some(Err(error)) => return Some(Err(error)),
            None => {
                let Reverse(head) = PeekMut::pop(top);
                (head.key, head.value)
            }
        };
        let state = self.state;
        let decoded = K::decode(&key).map_err(|error| StateError::Key {
            state,
            partition,
            error,
        });
        Some(decoded.map(|key| (key, value)))
    }
}

impl<K: Key, V: Value, M: Merge<V>> Iterator for StateScan<'_, K, V, M> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.error.take() {
            Some(error) => Some(Err(error)),
            None => self.step(),
        };
        if matches!(next, Some(Err(_))) {
            self.heap.clear();
        }
        next
    }
}
