//! The hot structure: an insertion-ordered hash table keyed by bytes, all keys in one arena.
//!
//! Keys are never taken out, so linear probing needs no tombstones. A slot holds 32 bits of the key's hash beside the
//! entry's index: a probe that does not match costs no look at the entry. Partitions are cut by the upper bits of the
//! same hash, hence the position comes from its lower bits.

use std::fmt;
use std::hint::black_box;

const TAG: u64 = 0xffff_ffff_0000_0000;
const LEN_BITS: u32 = 28;
const MIN_SLOTS: usize = 16;

/// How many keys are looked up together.
pub(crate) const BLOCK: usize = 16;

/// A hash table from byte strings to `V` that remembers the order of insertion and allocates nothing per key.
#[derive(Clone)]
pub struct ByteMap<V> {
    /// Power of two, or empty; 0 is free, else `hash & TAG | (entry index + 1)`.
    slots: Vec<u64>,
    entries: Vec<Entry<V>>,
    arena: Vec<u8>,
}

#[derive(Clone)]
struct Entry<V> {
    hash: u64,
    /// Offset in the arena and length of the key.
    span: u64,
    value: V,
}

impl<V> Entry<V> {
    #[inline]
    fn key<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = (self.span >> LEN_BITS) as usize;
        let len = (self.span & ((1 << LEN_BITS) - 1)) as usize;
        &arena[start..start + len]
    }
}

impl<V> Default for ByteMap<V> {
    fn default() -> Self {
        ByteMap::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for ByteMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(_, key, value)| (key, value)))
            .finish()
    }
}

enum Probe {
    Found(usize),
    Free(usize),
}

impl<V> ByteMap<V> {
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = (1 << LEN_BITS) - 1;

    /// An empty table that has allocated nothing.
    #[must_use]
    pub fn new() -> ByteMap<V> {
        ByteMap {
            slots: Vec::new(),
            entries: Vec::new(),
            arena: Vec::new(),
        }
    }

    /// An empty table with room for so many keys of so many bytes in all.
    #[must_use]
    pub fn with_capacity(keys: usize, key_bytes: usize) -> ByteMap<V> {
        let mut map = ByteMap::new();
        if keys > 0 {
            map.entries.reserve(keys);
            map.arena.reserve(key_bytes);
            map.rebuild((keys + keys / 2 + 1).next_power_of_two().max(MIN_SLOTS));
        }
        map
    }

    /// How many keys it holds.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no key.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all its keys.
    #[must_use]
    pub fn key_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes allocated, without what the values themselves point to.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
            + self.entries.capacity() * size_of::<Entry<V>>()
            + self.arena.capacity()
    }

    /// The value of a key with this hash.
    #[inline]
    #[must_use]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&V> {
        match self.probe(hash, key)? {
            Probe::Found(index) => Some(&self.entries[index].value),
            Probe::Free(_) => None,
        }
    }

    /// The value of a key with this hash, to change it.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut V> {
        match self.probe(hash, key)? {
            Probe::Found(index) => Some(&mut self.entries[index].value),
            Probe::Free(_) => None,
        }
    }

    /// Inserts a value, or merges it into the one that is there.
    ///
    /// # Panics
    ///
    /// If the key is longer than [`ByteMap::MAX_KEY`], there are 2^32 - 1 keys, or the keys exceed 64 GiB.
    #[inline]
    pub fn upsert(&mut self, hash: u64, key: &[u8], value: V, merge: impl FnOnce(&mut V, V)) {
        if self.entries.len() * 3 >= self.slots.len() * 2 {
            self.grow();
        }
        match self
            .probe(hash, key)
            .expect("a table that has grown has slots")
        {
            Probe::Found(index) => merge(&mut self.entries[index].value, value),
            Probe::Free(slot) => self.insert(slot, hash, key, value),
        }
    }

    /// Hash, key and value of all entries in the order of insertion.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &[u8], &V)> {
        self.entries
            .iter()
            .map(|entry| (entry.hash, entry.key(&self.arena), &entry.value))
    }

    /// Key and value of the entry that was inserted as number `index`.
    #[inline]
    #[must_use]
    pub fn entry(&self, index: usize) -> (&[u8], &V) {
        let entry = &self.entries[index];
        (entry.key(&self.arena), &entry.value)
    }

    /// Takes all of another table in; adopts its storage when this one is empty.
    pub fn absorb(&mut self, other: ByteMap<V>, mut merge: impl FnMut(&mut V, V)) {
        if self.is_empty() {
            if !other.is_empty() {
                *self = other;
            }
            return;
        }
        let mut entries = other.entries.into_iter();
        while !entries.as_slice().is_empty() {
            let ahead = entries.as_slice();
            self.warm(
                ahead[..ahead.len().min(BLOCK)]
                    .iter()
                    .map(|entry| entry.hash),
            );
            for entry in entries.by_ref().take(BLOCK) {
                self.upsert(entry.hash, entry.key(&other.arena), entry.value, &mut merge);
            }
        }
    }

    /// Brings what keys with these hashes need into the cache, for at most [`BLOCK`] of them.
    ///
    /// Slot, entry and key lie in three places, each known only from the one before. Looked up one key after the other,
    /// a large table makes the processor wait three times per key; looked up together, three times per block.
    #[inline]
    pub(crate) fn warm(&self, hashes: impl Iterator<Item = u64>) {
        let Some(mask) = self.slots.len().checked_sub(1) else {
            return;
        };
        let mut indexes = [0_u32; BLOCK];
        for (index, hash) in indexes.iter_mut().zip(hashes) {
            *index = self.slots[hash as usize & mask] as u32;
        }
        let mut starts = [usize::MAX; BLOCK];
        for (start, index) in starts.iter_mut().zip(indexes) {
            if let Some(entry) = self.entries.get((index as usize).wrapping_sub(1)) {
                *start = (entry.span >> LEN_BITS) as usize;
            }
        }
        let bytes = starts.iter().filter_map(|start| self.arena.get(*start));
        black_box(bytes.fold(0, |all, byte| all | byte));
    }

    /// Hands out all entries in the order of insertion.
    pub fn consume(self, mut each: impl FnMut(u64, &[u8], V)) {
        for entry in self.entries {
            each(entry.hash, entry.key(&self.arena), entry.value);
        }
    }

    /// The same keys with other values.
    #[must_use]
    pub fn map_values<W>(self, mut map: impl FnMut(V) -> W) -> ByteMap<W> {
        let convert = |entry: Entry<V>| Entry {
            hash: entry.hash,
            span: entry.span,
            value: map(entry.value),
        };
        ByteMap {
            slots: self.slots,
            entries: self.entries.into_iter().map(convert).collect(),
            arena: self.arena,
        }
    }

    /// Drops all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.entries.clear();
        self.arena.clear();
    }

    #[inline]
    fn probe(&self, hash: u64, key: &[u8]) -> Option<Probe> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Some(Probe::Free(at));
            }
            if (slot ^ hash) & TAG == 0 {
                let index = (slot & !TAG) as usize - 1;
                if self.entries[index].key(&self.arena) == key {
                    return Some(Probe::Found(index));
                }
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn insert(&mut self, slot: usize, hash: u64, key: &[u8], value: V) {
        let start = self.arena.len() as u64;
        assert!(
            key.len() <= Self::MAX_KEY,
            "a key of {} bytes exceeds {}",
            key.len(),
            Self::MAX_KEY
        );
        assert!(
            start < 1 << (64 - LEN_BITS),
            "the keys of one table exceed 64 GiB"
        );
        assert!(
            self.entries.len() < u32::MAX as usize,
            "a table holds at most 2^32 - 1 keys"
        );
        self.arena.extend_from_slice(key);
        self.entries.push(Entry {
            hash,
            span: start << LEN_BITS | key.len() as u64,
            value,
        });
        self.slots[slot] = hash & TAG | self.entries.len() as u64;
    }

    #[cold]
    fn grow(&mut self) {
        self.rebuild((self.slots.len() * 2).max(MIN_SLOTS));
    }

    fn rebuild(&mut self, size: usize) {
        self.slots.clear();
        self.slots.resize(size, 0);
        let mask = size - 1;
        for (index, entry) in self.entries.iter().enumerate() {
            let mut at = entry.hash as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = entry.hash & TAG | (index as u64 + 1);
        }
    }
}

#[cfg(test)]
mod tests;
