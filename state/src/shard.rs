//! One state's partitions that one executor owns: layers on an overlay on folded data.

mod any;
mod read;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

pub use any::{AnyShard, ShardMemory};
pub(crate) use read::Known;

use crate::attempt::{Partition, StateId, TxId};
use crate::base::Base;
use crate::error::{Result, StateError};
use crate::fold::Fold;
use crate::frozen::Frozen;
use crate::part::Part;
use crate::section;
use crate::table::ByteMap;
use crate::value::{Change, Merge, Value};
use crate::view::ShardView;

const NOT_OWNED: u16 = u16::MAX;

/// The partitions of one state that one executor owns.
///
/// A batch is a layer from `begin` to `seal`; sealed layers merge into the overlay, whose active part takes them until
/// it is frozen, for a view or a fold; frozen parts go when they are folded into the base.
pub struct Shard<V, M> {
    state: StateId,
    owned: Arc<[Partition]>,
    /// From partition to its position in `owned`.
    slots: Vec<u16>,
    merge: M,
    base: Base,
    sealed: TxId,
    /// Unsealed batches, oldest first; the first is `sealed + 1`.
    layers: VecDeque<Layer<V>>,
    active: Active<V>,
    /// Oldest first.
    frozen: Vec<Arc<Frozen<V>>>,
    /// A fold of everything up to here is under way: its parts must not be joined with newer ones.
    folding: TxId,
    /// Keys and key bytes that each partition of the last sealed layer had.
    room: Vec<(usize, usize)>,
}

struct Layer<V> {
    txid: TxId,
    parts: Vec<Part<V>>,
    /// What the layer was encoded to: an estimate of what its values point to.
    encoded: Cell<usize>,
}

struct Active<V> {
    first: TxId,
    parts: Vec<Part<V>>,
    heap: usize,
}

impl<V> Active<V> {
    fn new(first: TxId, owned: usize) -> Active<V> {
        Active {
            first,
            parts: empty_parts(owned),
            heap: 0,
        }
    }
}

fn empty_parts<V>(count: usize) -> Vec<Part<V>> {
    std::iter::repeat_with(Part::default).take(count).collect()
}

impl<V: Value, M: Merge<V>> Shard<V, M> {
    /// The partitions `owned`, out of `total`, of a state, on its folded data. What the log holds above that is
    /// brought in by [`AnyShard::restore`].
    ///
    /// # Panics
    ///
    /// If a partition is not below `total`, or given twice.
    #[must_use]
    pub fn new(
        state: StateId,
        mut owned: Vec<Partition>,
        total: u16,
        merge: M,
        base: Base,
    ) -> Shard<V, M> {
        owned.sort_unstable();
        let mut slots = vec![NOT_OWNED; total.into()];
        for (slot, partition) in (0..).zip(&owned) {
            let entry = &mut slots[usize::from(partition.0)];
            assert_eq!(
                *entry, NOT_OWNED,
                "partition {partition} of state {state} is given twice"
            );
            *entry = slot;
        }
        let sealed = base.folded(state);
        Shard {
            state,
            slots,
            merge,
            sealed,
            layers: VecDeque::new(),
            active: Active::new(sealed.next(), owned.len()),
            frozen: Vec::new(),
            folding: sealed,
            room: vec![(0, 0); owned.len()],
            owned: owned.into(),
            base,
        }
    }

    /// Adds deltas to the newest layer; adopts the map if the layer's partition is empty.
    ///
    /// # Panics
    ///
    /// If `txid` is not the newest layer or the partition is not owned.
    pub fn absorb(&mut self, txid: TxId, partition: Partition, changes: ByteMap<V>) {
        let slot = self.slot(partition);
        let layer = newest(&mut self.layers, txid);
        layer.parts[slot].add(changes, &self.merge);
    }

    /// Makes one change in the newest layer.
    ///
    /// # Panics
    ///
    /// If `txid` is not the newest layer or the key's partition is not owned.
    #[inline]
    pub fn change(&mut self, txid: TxId, hash: u64, key: &[u8], change: Change<V>) {
        let slot = self.slot(self.partition_of(hash));
        let layer = newest(&mut self.layers, txid);
        layer.parts[slot].change(hash, key, change, self.room[slot], &self.merge);
    }

    /// Everything sealed, pinned: later batches do not change it, and it holds up nothing.
    #[must_use]
    pub fn view(&mut self) -> ShardView<V, M> {
        self.freeze_active();
        ShardView {
            state: self.state,
            txid: self.sealed,
            owned: Arc::clone(&self.owned),
            partitions: self.total(),
            parts: self.frozen.clone(),
            base: self.base.clone(),
            merge: self.merge.clone(),
        }
    }

    /// The last sealed batch.
    #[must_use]
    pub fn sealed(&self) -> TxId {
        self.sealed
    }

    /// The newest batch, sealed or not.
    #[must_use]
    pub fn newest(&self) -> TxId {
        self.layers.back().map_or(self.sealed, |layer| layer.txid)
    }

    /// The partitions it owns, ascending.
    #[must_use]
    pub fn owned(&self) -> &[Partition] {
        &self.owned
    }

    fn total(&self) -> u16 {
        u16::try_from(self.slots.len()).expect("a state has fewer than 2^16 partitions")
    }

    fn slot(&self, partition: Partition) -> usize {
        match self.slots[usize::from(partition.0)] {
            NOT_OWNED => panic!(
                "partition {partition} of state {} is not owned here",
                self.state
            ),
            slot => slot.into(),
        }
    }

    fn freeze_active(&mut self) {
        let next = Active::new(self.sealed.next(), self.owned.len());
        if self.active.parts.iter().all(Part::is_empty) {
            self.active.first = next.first;
            return;
        }
        let Active { first, parts, heap } = std::mem::replace(&mut self.active, next);
        let mut newest = Frozen::new(first, self.sealed, parts, heap);
        // What nobody pins is joined at once; what is pinned is copied only when it is not much larger, so that the
        // number of parts stays logarithmic however many views are taken.
        let folding = self.folding;
        while let Some(older) = self.frozen.pop_if(|older| {
            let cheap = Arc::strong_count(older) == 1 || older.len() <= 2 * newest.len();
            older.first > folding && cheap
        }) {
            newest = Arc::unwrap_or_clone(older).join(newest, &self.merge);
        }
        self.frozen.push(Arc::new(newest));
    }

    fn restore_section(&mut self, txid: TxId, partition: Partition, section: &[u8]) -> Result<()> {
        if txid <= self.base.folded(self.state) {
            return Ok(());
        }
        if !self.layers.is_empty() || txid < self.sealed || txid > self.sealed.next() {
            let what = format!(
                "state {} has {} and cannot restore {txid}",
                self.state,
                self.newest()
            );
            return Err(StateError::OutOfOrder { what });
        }
        let slot = self.slot(partition);
        let place = || {
            format!(
                "log entry {txid}, partition {partition} of state {}",
                self.state
            )
        };
        section::absorb(section, &mut self.active.parts[slot], &self.merge)
            .map_err(|error| error.at(place))?;
        self.active.heap += heap::<V>(section.len());
        self.sealed = txid;
        Ok(())
    }

    fn fold(&mut self) -> Fold<V, M> {
        self.freeze_active();
        self.folding = self.sealed;
        Fold {
            state: self.state,
            upto: self.sealed,
            owned: Arc::clone(&self.owned),
            parts: self.frozen.clone(),
            merge: self.merge.clone(),
        }
    }
}

/// The layer that is being filled.
fn newest<V>(layers: &mut VecDeque<Layer<V>>, txid: TxId) -> &mut Layer<V> {
    match layers.back_mut() {
        Some(layer) if layer.txid == txid => layer,
        other => panic!(
            "batch {txid} is not the newest layer, {:?} is",
            other.map(|layer| layer.txid)
        ),
    }
}

/// What values of so many encoded bytes may point to: nothing, if their type owns nothing.
fn heap<V>(encoded: usize) -> usize {
    if std::mem::needs_drop::<V>() {
        encoded
    } else {
        0
    }
}
