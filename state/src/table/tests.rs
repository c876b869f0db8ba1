//! Method: differential against a `BTreeMap` that also remembers the order of insertion.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::key::hash_key;

/// A hash that collides in all bits that the table looks at, or the real one.
fn hash(key: &[u8], collide: bool) -> u64 {
    if collide {
        hash_key(key) & 1
    } else {
        hash_key(key)
    }
}

fn keys() -> impl Strategy<Value = Vec<(Vec<u8>, u64)>> {
    proptest::collection::vec(
        (proptest::collection::vec(0_u8..4, 0..4), 0_u64..100),
        0..200,
    )
}

fn build(upserts: &[(Vec<u8>, u64)], collide: bool) -> ByteMap<u64> {
    let mut map = ByteMap::new();
    for (key, value) in upserts {
        map.upsert(hash(key, collide), key, *value, |old, new| *old += new);
    }
    map
}

fn model(upserts: &[(Vec<u8>, u64)]) -> (BTreeMap<Vec<u8>, u64>, Vec<Vec<u8>>) {
    let (mut sums, mut order) = (BTreeMap::new(), Vec::new());
    for (key, value) in upserts {
        *sums.entry(key.clone()).or_insert_with(|| {
            order.push(key.clone());
            0
        }) += value;
    }
    (sums, order)
}

proptest! {
    #[test]
    fn sums_and_order_are_those_of_the_model(upserts in keys(), collide in any::<bool>()) {
        let map = build(&upserts, collide);
        let (sums, order) = model(&upserts);
        let listed: Vec<_> = map.iter().map(|(_, key, _)| key.to_vec()).collect();
        prop_assert_eq!(listed, order);
        for (key, sum) in &sums {
            prop_assert_eq!(map.get(hash(key, collide), key), Some(sum));
        }
        prop_assert_eq!(map.get(hash(b"absent", collide), b"absent"), None);
        prop_assert_eq!(map.key_bytes(), sums.keys().map(Vec::len).sum::<usize>());
    }

    #[test]
    fn absorbing_is_inserting_one_after_the_other(first in keys(), second in keys()) {
        let mut map = build(&first, false);
        map.absorb(build(&second, false), |old, new| *old += new);
        let (sums, order) = model(&[first, second].concat());
        let listed: Vec<_> = map.iter().map(|(_, key, value)| (key.to_vec(), *value)).collect();
        let expected: Vec<_> = order.into_iter().map(|key| { let sum = sums[&key]; (key, sum) }).collect();
        prop_assert_eq!(listed, expected);
    }
}

#[test]
fn an_empty_table_adopts_the_other_ones_storage() {
    let full = build(&[(b"key".to_vec(), 1)], false);
    let address = full.arena.as_ptr();
    let mut map = ByteMap::new();
    map.absorb(full, |_, _| unreachable!("nothing to merge"));
    assert_eq!(map.arena.as_ptr(), address);
}

#[test]
fn room_made_in_advance_is_enough() {
    let mut map = ByteMap::with_capacity(1000, 4000);
    let memory = map.memory();
    for key in 0..1000_u32 {
        map.upsert(
            hash_key(&key.to_be_bytes()),
            &key.to_be_bytes(),
            (),
            |(), ()| (),
        );
    }
    assert_eq!((map.len(), map.memory()), (1000, memory));
}

#[test]
fn values_are_mapped_and_cleared() {
    let mut map = build(&[(b"a".to_vec(), 1), (b"b".to_vec(), 2)], false)
        .map_values(|value| value.to_string());
    assert_eq!(map.get(hash_key(b"b"), b"b").map(String::as_str), Some("2"));
    assert_eq!(map.entry(0), (&b"a"[..], &"1".to_owned()));
    if let Some(value) = map.get_mut(hash_key(b"a"), b"a") {
        value.push('0');
    }
    assert_eq!(
        map.get(hash_key(b"a"), b"a").map(String::as_str),
        Some("10")
    );
    map.clear();
    assert!(map.is_empty() && map.get(hash_key(b"a"), b"a").is_none());
}

#[test]
#[should_panic(expected = "exceeds")]
fn a_key_that_is_too_long_is_refused() {
    let mut map = ByteMap::new();
    map.upsert(0, &vec![0; ByteMap::<()>::MAX_KEY + 1], (), |(), ()| ());
}
