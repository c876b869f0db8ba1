//! The changes to one partition's keys: only deltas, as they came, or a mixture.

use crate::table::ByteMap;
use crate::value::{Change, Found, Merge};

/// Changes by key. As long as all are deltas they are kept as plain values, so that a map that was aggregated
/// upstream is adopted as it is.
#[derive(Clone, Debug)]
pub(crate) enum Part<V> {
    Deltas(ByteMap<V>),
    Changes(ByteMap<Change<V>>),
}

impl<V> Default for Part<V> {
    fn default() -> Self {
        Part::Deltas(ByteMap::new())
    }
}

impl<V> Part<V> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Part::Deltas(map) => map.len(),
            Part::Changes(map) => map.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn memory(&self) -> usize {
        match self {
            Part::Deltas(map) => map.memory(),
            Part::Changes(map) => map.memory(),
        }
    }

    pub(crate) fn key_bytes(&self) -> usize {
        match self {
            Part::Deltas(map) => map.key_bytes(),
            Part::Changes(map) => map.key_bytes(),
        }
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Found<'_, V>> {
        match self {
            Part::Deltas(map) => map.get(hash, key).map(Found::Delta),
            Part::Changes(map) => map.get(hash, key).map(Found::from),
        }
    }

    /// See [`ByteMap::warm`].
    #[inline]
    pub(crate) fn warm(&self, hashes: impl Iterator<Item = u64>) {
        match self {
            Part::Deltas(map) => map.warm(hashes),
            Part::Changes(map) => map.warm(hashes),
        }
    }

    /// The entry that was inserted as number `index`.
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> (&[u8], Found<'_, V>) {
        match self {
            Part::Deltas(map) => {
                let (key, value) = map.entry(index);
                (key, Found::Delta(value))
            }
            Part::Changes(map) => {
                let (key, change) = map.entry(index);
                (key, Found::from(change))
            }
        }
    }

    /// Adds one newer change; `room` is how many keys and key bytes to expect if this is the first.
    #[inline]
    pub(crate) fn change(
        &mut self,
        hash: u64,
        key: &[u8],
        change: Change<V>,
        room: (usize, usize),
        merge: &impl Merge<V>,
    ) {
        match (&mut *self, change) {
            (Part::Deltas(map), Change::Delta(delta)) => {
                if map.is_empty() {
                    *map = ByteMap::with_capacity(room.0, room.1);
                }
                map.upsert(hash, key, delta, |old, new| merge.merge(old, new));
            }
            (_, change) => {
                if self.is_empty() {
                    *self = Part::Changes(ByteMap::with_capacity(room.0, room.1));
                }
                self.mixed()
                    .upsert(hash, key, change, |old, new| old.extend(new, merge));
            }
        }
    }

    /// Adds newer deltas.
    pub(crate) fn add(&mut self, deltas: ByteMap<V>, merge: &impl Merge<V>) {
        match self {
            Part::Deltas(map) => map.absorb(deltas, |old, new| merge.merge(old, new)),
            Part::Changes(map) => deltas.consume(|hash, key, delta| {
                map.upsert(hash, key, Change::Delta(delta), |old, new| {
                    old.extend(new, merge)
                });
            }),
        }
    }

    /// Adds newer changes.
    pub(crate) fn absorb(&mut self, newer: Part<V>, merge: &impl Merge<V>) {
        match newer {
            Part::Deltas(map) => self.add(map, merge),
            Part::Changes(map) if map.is_empty() => {}
            Part::Changes(map) => self.mixed().absorb(map, |old, new| old.extend(new, merge)),
        }
    }

    fn mixed(&mut self) -> &mut ByteMap<Change<V>> {
        if let Part::Deltas(map) = self {
            *self = Part::Changes(std::mem::take(map).map_values(Change::Delta));
        }
        match self {
            Part::Changes(map) => map,
            Part::Deltas(_) => unreachable!("deltas were converted above"),
        }
    }
}
