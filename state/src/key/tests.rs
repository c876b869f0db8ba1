//! Method: properties over generated keys. Bytes must order as keys do, and come back as the keys they were.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;

fn encoded<K: Key>(key: &K) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

/// Order and round trip, alone and as a component before another.
fn check<K: Key + Ord + Debug>(a: &K, b: &K) -> TestCaseResult {
    prop_assert_eq!(encoded(a).cmp(&encoded(b)), a.cmp(b));
    prop_assert_eq!(&K::decode(&encoded(a))?, a);
    for (tail_a, tail_b) in [(1_u8, 1_u8), (0, 255), (255, 0)] {
        let (a, b) = ((a.clone(), tail_a), (b.clone(), tail_b));
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        prop_assert_eq!(<(K, u8)>::decode(&encoded(&a))?, a);
    }
    Ok(())
}

/// Any bytes decode to a key that encodes to them, or to an error.
fn survives<K: Key>(bytes: &[u8]) -> TestCaseResult {
    if let Ok(key) = K::decode(bytes) {
        prop_assert_eq!(encoded(&key), bytes);
    }
    let _ = K::decode_part(&mut &*bytes);
    Ok(())
}

/// Byte strings full of the bytes that escaping is about.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()],
        0..6,
    )
}

macro_rules! integers {
    ($($name:ident: $int:ty),*) => {
        proptest! {$(
            #[test]
            fn $name(a in any::<$int>(), b in any::<$int>()) {
                check(&a, &b)?;
                check(&Some(a), &None)?;
            }
        )*}
    };
}

integers!(u8s: u8, u16s: u16, u32s: u32, u64s: u64, u128s: u128, i8s: i8, i16s: i16, i32s: i32, i64s: i64, i128s: i128,
    bools: bool, chars: char, arrays: [u8; 3]);

proptest! {
    #[test]
    fn byte_strings(a in nasty(), b in nasty()) {
        check(&a, &b)?;
        check(&Bytes::from(a.clone()), &Bytes::from(b.clone()))?;
        check(&Some(a.clone()), &Some(b.clone()))?;
        check(&a.clone().into_boxed_slice(), &b.clone().into_boxed_slice())?;
        check(&Some((a.clone(), b.clone())), &Some((b, a)))?;
    }

    #[test]
    fn texts(a in "[\0\u{1}a-c\u{ff}é]{0,5}", b in "[\0\u{1}a-c\u{ff}é]{0,5}") {
        check(&a, &b)?;
        check(&Box::<str>::from(a.as_str()), &Box::<str>::from(b.as_str()))?;
        check(&Arc::<str>::from(a.as_str()), &Arc::<str>::from(b.as_str()))?;
    }

    #[test]
    fn tuples(
        a in (nasty(), any::<i8>(), ".{0,3}", any::<Option<u16>>(), any::<bool>(), nasty()),
        b in (nasty(), any::<i8>(), ".{0,3}", any::<Option<u16>>(), any::<bool>(), nasty()),
    ) {
        check(&a, &b)?;
        check(&((a.0.clone(), a.5.clone()), a.2.clone()), &((b.0.clone(), b.5.clone()), b.2.clone()))?;
        check(&(a.0, (), a.1), &(b.0, (), b.1))?;
    }

    #[test]
    fn any_bytes(bytes in nasty()) {
        survives::<Vec<u8>>(&bytes)?;
        survives::<String>(&bytes)?;
        survives::<(Vec<u8>, u16)>(&bytes)?;
        survives::<Option<(String, bool)>>(&bytes)?;
        survives::<((), char)>(&bytes)?;
        survives::<i32>(&bytes)?;
    }

    #[test]
    fn partitions_are_in_range(hash in any::<u64>(), partitions in 1_u16..) {
        prop_assert!(partition_of(hash, partitions).0 < partitions);
    }
}

#[test]
fn encodings_are_fixed_for_ever() {
    assert_eq!(encoded(&-1_i16), [0x7f, 0xff]);
    assert_eq!(
        encoded(&(String::from("a\0b"), 7_u8)),
        [b'a', 0x00, 0xff, b'b', 0x00, 0x01, 7]
    );
    assert_eq!(encoded(&Some(String::from("a"))), [1, b'a']);
    assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2); // the reference implementation's test vector
    assert_eq!(hash_key(b"fulmar"), 6_909_289_145_613_173_422);
    assert_eq!(partition_of(u64::MAX, 64), Partition(63));
    assert_eq!(partition_of(1 << 63, 64), Partition(32));
    assert_eq!(partition_of(hash_key(b"fulmar"), 64), Partition(23));
}
