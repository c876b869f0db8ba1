//! What is done to a shard once per batch, whatever its types.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;

use super::{Layer, Shard, empty_parts, heap};
use crate::attempt::{Partition, StateId, TxId};
use crate::base::Base;
use crate::error::{Result, StateError};
use crate::fold::FoldPart;
use crate::part::Part;
use crate::section;
use crate::value::{Merge, Value};

/// Bytes that a shard holds in memory. Allocations of the values themselves are estimated by their encoded size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardMemory {
    /// Unsealed batches.
    pub layers: usize,
    /// Sealed batches that are not folded.
    pub overlay: usize,
}

/// A shard whose types are forgotten.
pub trait AnyShard: Send {
    /// Which state it is a share of.
    fn state(&self) -> StateId;

    /// Opens the layer of a batch.
    ///
    /// # Panics
    ///
    /// If it is not the batch after the newest.
    fn begin(&mut self, txid: TxId);

    /// Appends the sections of a batch's log entry, one per owned partition, empty or not.
    fn encode(&self, txid: TxId, out: &mut Vec<u8>) -> Result<()>;

    /// Merges the oldest layer into the overlay. Asked again for a sealed batch, it does nothing.
    ///
    /// # Panics
    ///
    /// If a batch before it is not sealed, or it has no layer.
    fn seal(&mut self, txid: TxId);

    /// Drops every layer above a batch.
    ///
    /// # Panics
    ///
    /// If the batch is before the sealed one, or after the newest.
    fn rewind(&mut self, txid: TxId);

    /// Adds one section of a sealed log entry to the overlay; ignores what the base holds already.
    fn restore(&mut self, txid: TxId, partition: Partition, section: &[u8]) -> Result<()>;

    /// Makes the overlay immutable as it is; later seals go into a new part.
    fn freeze(&mut self);

    /// Everything sealed and not folded, for the fold.
    fn fold_part(&mut self) -> Arc<dyn FoldPart>;

    /// Drops what the new base holds; `upto` is where the fold was taken.
    ///
    /// # Panics
    ///
    /// If the base is not folded up to there.
    fn folded(&mut self, upto: TxId, base: Base);

    /// What it holds in memory.
    fn memory(&self) -> ShardMemory;

    /// The shard itself, to get at its type.
    fn as_any(&self) -> &dyn Any;

    /// The shard itself, to get at its type.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<V: Value, M: Merge<V>> AnyShard for Shard<V, M> {
    fn state(&self) -> StateId {
        self.state
    }

    fn begin(&mut self, txid: TxId) {
        assert_eq!(
            txid,
            self.newest().next(),
            "state {}: batches begin in order",
            self.state
        );
        let parts = empty_parts(self.owned.len());
        self.layers.push_back(Layer {
            txid,
            parts,
            encoded: Cell::new(0),
        });
    }

    fn encode(&self, txid: TxId, out: &mut Vec<u8>) -> Result<()> {
        let Some(layer) = self.layers.iter().find(|layer| layer.txid == txid) else {
            let what = format!("state {} has no layer of batch {txid}", self.state);
            return Err(StateError::OutOfOrder { what });
        };
        let start = out.len();
        for (partition, part) in self.owned.iter().zip(&layer.parts) {
            section::encode(self.state, *partition, part, out)?;
        }
        layer.encoded.set(out.len() - start);
        Ok(())
    }

    fn seal(&mut self, txid: TxId) {
        if txid <= self.sealed {
            return;
        }
        assert_eq!(
            txid,
            self.sealed.next(),
            "state {}: batches are sealed in order",
            self.state
        );
        let layer = self
            .layers
            .pop_front()
            .expect("a batch that is sealed has its layer");
        for (slot, part) in layer.parts.into_iter().enumerate() {
            self.room[slot] = (
                part.len() + part.len() / 8,
                part.key_bytes() + part.key_bytes() / 8,
            );
            self.active.parts[slot].absorb(part, &self.merge);
        }
        self.active.heap += heap::<V>(layer.encoded.get());
        self.sealed = txid;
    }

    fn rewind(&mut self, txid: TxId) {
        if self.owned.is_empty() && self.layers.is_empty() {
            // The log has no sections for it to restore: it follows what it is told.
            self.sealed = self.sealed.max(txid);
            self.active.first = self.sealed.next();
        }
        assert!(
            txid >= self.sealed,
            "state {}: {} is sealed, cannot rewind to {txid}",
            self.state,
            self.sealed
        );
        assert!(
            txid <= self.newest(),
            "state {}: {} is the newest, not {txid}",
            self.state,
            self.newest()
        );
        self.layers.retain(|layer| layer.txid <= txid);
    }

    fn restore(&mut self, txid: TxId, partition: Partition, section: &[u8]) -> Result<()> {
        self.restore_section(txid, partition, section)
    }

    fn freeze(&mut self) {
        self.freeze_active();
    }

    fn fold_part(&mut self) -> Arc<dyn FoldPart> {
        Arc::new(self.fold())
    }

    fn folded(&mut self, upto: TxId, base: Base) {
        let folded = base.folded(self.state);
        assert!(
            folded == upto,
            "state {}: the base holds up to {folded}, not {upto}",
            self.state
        );
        self.frozen.retain(|part| part.last > folded);
        assert!(
            self.frozen.iter().all(|part| part.first > folded),
            "a fold takes whole parts"
        );
        self.base = base;
    }

    fn memory(&self) -> ShardMemory {
        let parts = |parts: &[Part<V>]| parts.iter().map(Part::memory).sum::<usize>();
        let layer = |layer: &Layer<V>| parts(&layer.parts) + heap::<V>(layer.encoded.get());
        let frozen = self.frozen.iter().map(|part| part.memory()).sum::<usize>();
        ShardMemory {
            layers: self.layers.iter().map(layer).sum(),
            overlay: parts(&self.active.parts) + self.active.heap + frozen,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
