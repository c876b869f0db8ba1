//! One shard's sealed data, pinned.

mod scan;
mod state;

use std::fmt;
use std::sync::Arc;

pub use scan::PartitionScan;
pub use state::{StateScan, StateView};

use crate::attempt::{Partition, StateId, TxId};
use crate::backend::Family;
use crate::base::{Base, data_key};
use crate::codec;
use crate::error::{Result, StateError};
use crate::frozen::Frozen;
use crate::key::partition_of;
use crate::shard::Known;
use crate::value::{Merge, Value};

/// What a shard held as of one sealed batch. Immutable; holds up nothing while it lives.
pub struct ShardView<V, M> {
    pub(crate) state: StateId,
    pub(crate) txid: TxId,
    pub(crate) owned: Arc<[Partition]>,
    pub(crate) partitions: u16,
    pub(crate) parts: Vec<Arc<Frozen<V>>>,
    pub(crate) base: Base,
    pub(crate) merge: M,
}

impl<V: Value, M: Merge<V>> ShardView<V, M> {
    /// The sealed batch it shows.
    #[must_use]
    pub fn txid(&self) -> TxId {
        self.txid
    }

    /// The state it shows a share of.
    #[must_use]
    pub fn state(&self) -> StateId {
        self.state
    }

    /// The partitions it shows, ascending.
    #[must_use]
    pub fn owned(&self) -> &[Partition] {
        &self.owned
    }

    /// How many partitions the whole state has.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// A key's value; an error if its partition is not shown here.
    pub fn get(&self, hash: u64, key: &[u8]) -> Result<Option<V>> {
        let partition = partition_of(hash, self.partitions());
        let slot = self.slot(partition)?;
        let found = self
            .parts
            .iter()
            .rev()
            .filter_map(|frozen| frozen.part(slot).find(hash, key));
        let known = Known::of(found, &self.merge);
        if let Known::Whole(value) = known {
            return Ok(value);
        }
        let mut full = Vec::with_capacity(key.len() + 2);
        data_key(partition, key, &mut full);
        let folded = self.base.snapshot().get(Family::Data(self.state), &full)?;
        let folded = folded.as_deref().map(codec::decode::<V>).transpose();
        let folded = folded.map_err(|error| error.at(|| format!("state {}", self.state)))?;
        Ok(known.on(folded, &self.merge))
    }

    /// A partition's keys, ascending, from `from` up to but without `to`, or to the end.
    pub fn scan(
        &self,
        partition: Partition,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<PartitionScan<'_, V, M>> {
        let slot = self.slot(partition)?;
        Ok(PartitionScan::new(self, partition, slot, from, to))
    }

    fn slot(&self, partition: Partition) -> Result<usize> {
        match self.owned.binary_search(&partition) {
            Ok(slot) => Ok(slot),
            Err(_) => {
                let what = format!("partition {partition} is not shown by this view");
                Err(StateError::Mismatch {
                    state: self.state,
                    what,
                })
            }
        }
    }
}

impl<V, M> fmt::Debug for ShardView<V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardView")
            .field("state", &self.state)
            .field("txid", &self.txid)
            .finish_non_exhaustive()
    }
}
