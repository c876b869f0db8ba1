//! The section of a log entry that holds one batch's changes to one partition of one state.
//!
//! `state u16 ++ partition u16 ++ body length u32 ++ body`, little-endian. The body is a tag (0: only deltas, 1: mixed),
//! the number of keys, and for each key `[kind if mixed] ++ length ++ key ++ [length ++ value unless removed]`.

use crate::attempt::{Partition, StateId};
use crate::codec::{self, Reader};
use crate::error::{Result, StateError};
use crate::key::{MAX_KEY, hash_key};
use crate::part::Part;
use crate::table::BLOCK;
use crate::value::{Change, Found, Merge, Value};

const DELTAS: u8 = 0;
const MIXED: u8 = 1;
const DELTA: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;

/// One section, not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// The state.
    pub state: StateId,
    /// The partition.
    pub partition: Partition,
    /// What [`AnyShard::restore`](crate::AnyShard::restore) takes.
    pub body: &'a [u8],
}

/// The sections that one executor encoded, in their order; ends after the first error.
pub fn sections(bytes: &[u8]) -> impl Iterator<Item = Result<Section<'_>>> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let section = next(&mut reader);
        if section.is_err() {
            reader = Reader::new(&[]);
        }
        Some(section)
    })
}

fn next<'a>(reader: &mut Reader<'a>) -> Result<Section<'a>> {
    let state = StateId(u16::from_le_bytes(reader.array("section header")?));
    let partition = Partition(u16::from_le_bytes(reader.array("section header")?));
    let len = u32::from_le_bytes(reader.array("section header")?);
    Ok(Section {
        state,
        partition,
        body: reader.take(len as usize, "section")?,
    })
}

/// Appends a section, with or without changes.
pub(crate) fn encode<V: Value>(
    state: StateId,
    partition: Partition,
    part: &Part<V>,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.extend_from_slice(&state.0.to_le_bytes());
    out.extend_from_slice(&partition.0.to_le_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    // A guess that is right for counts of words; wrong guesses only cost a reallocation.
    out.reserve(part.key_bytes() + part.len() * 4);
    match part {
        Part::Deltas(map) => {
            out.push(DELTAS);
            codec::put_varint(out, map.len() as u64);
            for (_, key, value) in map.iter() {
                put_key(out, key)?;
                codec::put_value(out, value)?;
            }
        }
        Part::Changes(map) => {
            out.push(MIXED);
            codec::put_varint(out, map.len() as u64);
            for (_, key, change) in map.iter() {
                put_change(out, key, Found::from(change))?;
            }
        }
    }
    let size = out.len() - length_at - 4;
    let Ok(length) = u32::try_from(size) else {
        let what = format!("the batch's changes to partition {partition} of state {state}");
        return Err(StateError::TooLarge {
            what,
            size,
            limit: u32::MAX as usize,
        });
    };
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

#[inline]
fn put_key(out: &mut Vec<u8>, key: &[u8]) -> Result<()> {
    if key.len() > MAX_KEY {
        return Err(StateError::TooLarge {
            what: "a key".to_owned(),
            size: key.len(),
            limit: MAX_KEY,
        });
    }
    codec::put_bytes(out, key);
    Ok(())
}

fn put_change<V: Value>(out: &mut Vec<u8>, key: &[u8], change: Found<'_, V>) -> Result<()> {
    let (kind, value) = match change {
        Found::Delta(value) => (DELTA, Some(value)),
        Found::Put(value) => (PUT, Some(value)),
        Found::Remove => (REMOVE, None),
    };
    out.push(kind);
    put_key(out, key)?;
    value.map_or(Ok(()), |value| codec::put_value(out, value))
}

/// Adds a section's changes to a part.
pub(crate) fn absorb<V: Value>(
    body: &[u8],
    part: &mut Part<V>,
    merge: &impl Merge<V>,
) -> Result<()> {
    let mut reader = Reader::new(body);
    let tag = reader.u8("section tag")?;
    if tag != DELTAS && tag != MIXED {
        return Err(StateError::malformed(format!("section tag is {tag}")));
    }
    let keys: usize = reader.varint_as("number of keys")?;
    // A key takes at least two bytes: a forged number asks for no more memory than the section itself.
    let room = (keys.min(body.len() / 2), body.len());
    let mut block = Vec::with_capacity(BLOCK);
    let mut left = keys;
    while left > 0 {
        for _ in 0..left.min(BLOCK) {
            let kind = if tag == DELTAS {
                DELTA
            } else {
                reader.u8("change kind")?
            };
            let key = reader.bytes("key")?;
            block.push((hash_key(key), key, read_change(&mut reader, kind)?));
        }
        left -= block.len();
        part.warm(block.iter().map(|(hash, _, _)| *hash));
        for (hash, key, change) in block.drain(..) {
            part.change(hash, key, change, room, merge);
        }
    }
    reader.finish("section")
}

#[inline]
fn read_change<V: Value>(reader: &mut Reader<'_>, kind: u8) -> Result<Change<V>> {
    match kind {
        DELTA => Ok(Change::Delta(codec::decode(reader.bytes("value")?)?)),
        PUT => Ok(Change::Put(codec::decode(reader.bytes("value")?)?)),
        REMOVE => Ok(Change::Remove),
        _ => Err(StateError::malformed(format!("change kind is {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(into: &mut u64, delta: u64) {
        *into += delta;
    }

    fn change() -> impl Strategy<Value = Change<u64>> {
        prop_oneof![
            3 => any::<u32>().prop_map(|value| Change::Delta(value.into())),
            1 => any::<u32>().prop_map(|value| Change::Put(value.into())),
            1 => Just(Change::Remove)
        ]
    }

    fn part(changes: Vec<(Vec<u8>, Change<u64>)>) -> Part<u64> {
        let mut part = Part::default();
        for (key, change) in changes {
            part.change(hash_key(&key), &key, change, (0, 0), &add);
        }
        part
    }

    fn listed(part: &Part<u64>) -> Vec<(Vec<u8>, Change<u64>)> {
        (0..part.len())
            .map(|at| part.entry(at))
            .map(|(key, found)| (key.to_vec(), found.to_change()))
            .collect()
    }

    proptest! {
        #[test]
        fn sections_come_back(changes in proptest::collection::vec((proptest::collection::vec(0_u8..3, 0..3), change()), 0..40)) {
            let part = part(changes);
            let mut out = Vec::new();
            encode(StateId(3), Partition(9), &part, &mut out)?;
            encode(StateId(4), Partition(0), &Part::<u64>::default(), &mut out)?;
            let found: Vec<_> = sections(&out).collect::<Result<_>>()?;
            prop_assert_eq!(found.len(), 2);
            prop_assert_eq!((found[0].state, found[0].partition), (StateId(3), Partition(9)));
            let mut back = Part::default();
            absorb(found[0].body, &mut back, &add)?;
            prop_assert_eq!(listed(&back), listed(&part));
            absorb(found[1].body, &mut back, &add)?;
            prop_assert_eq!(listed(&back), listed(&part));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let wrapping = |into: &mut u64, delta: u64| *into = into.wrapping_add(delta);
            let _ = sections(&bytes).count();
            let _ = absorb(&bytes, &mut Part::<u64>::default(), &wrapping);
        }
    }
}
