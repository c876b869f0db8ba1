//! Method: contract. What the docs of `Storage` promise, asked of every implementation alike.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use std::sync::Arc;

use fulmar_state::{Durable, Family, Result, Snapshot, StateError, Storage, WriteBatch};
use support::{COUNTS, Medium, NAMES};

const DATA: Family = Family::Data(COUNTS);

fn write(storage: &dyn Storage, puts: &[(Family, &str, &str)], deletes: &[(Family, &str)]) {
    let mut batch = WriteBatch::new();
    for (family, key, value) in puts {
        batch.put(*family, *key, *value);
    }
    for (family, key) in deletes {
        batch.delete(*family, *key);
    }
    storage.write(batch, Durable::Synced).unwrap();
}

fn scan(snapshot: &dyn Snapshot, family: Family, from: &str, to: &str) -> Vec<(String, Vec<u8>)> {
    let records = snapshot.scan(family, from.as_bytes(), to.as_bytes());
    records
        .map(|record| record.unwrap())
        .map(|(key, value)| (text(&key), value.to_vec()))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    fulmar_state::codec::encode(&value, &mut out).unwrap();
    out
}

fn writes_are_read_and_families_are_apart(medium: &dyn Medium) {
    let storage = medium.open();
    write(
        &*storage,
        &[
            (Family::Meta, "a", "1"),
            (Family::Log, "a", "2"),
            (DATA, "a", "3"),
        ],
        &[],
    );
    assert_eq!(storage.get(Family::Meta, b"a").unwrap().unwrap(), b"1");
    assert_eq!(storage.get(Family::Log, b"a").unwrap().unwrap(), b"2");
    assert_eq!(storage.get(DATA, b"a").unwrap().unwrap(), b"3");
    assert_eq!(storage.get(Family::Data(NAMES), b"a").unwrap(), None);
    write(
        &*storage,
        &[(Family::Meta, "a", "4")],
        &[(Family::Log, "a")],
    );
    assert_eq!(storage.get(Family::Meta, b"a").unwrap().unwrap(), b"4");
    assert_eq!(storage.get(Family::Log, b"a").unwrap(), None);
}

fn a_batch_is_applied_in_its_order(medium: &dyn Medium) {
    let storage = medium.open();
    let mut batch = WriteBatch::new();
    batch.put(Family::Meta, "k", "1");
    batch.delete(Family::Meta, "k");
    batch.put(Family::Meta, "k", "2");
    batch.put(Family::Meta, "gone", "1");
    batch.delete(Family::Meta, "gone");
    storage.write(batch, Durable::Buffered).unwrap();
    assert_eq!(storage.get(Family::Meta, b"k").unwrap().unwrap(), b"2");
    assert_eq!(storage.get(Family::Meta, b"gone").unwrap(), None);
    storage.write(WriteBatch::new(), Durable::Synced).unwrap();
}

fn what_was_written_outlives_the_storage(medium: &dyn Medium) {
    let storage = medium.open();
    write(
        &*storage,
        &[(Family::Meta, "a", "1"), (Family::Log, "b", "2")],
        &[],
    );
    ingest(&*storage, |sink| sink.put(b"c", &number(3))).unwrap();
    drop(storage);
    let storage = medium.open();
    assert_eq!(storage.get(Family::Meta, b"a").unwrap().unwrap(), b"1");
    assert_eq!(storage.get(Family::Log, b"b").unwrap().unwrap(), b"2");
    assert_eq!(storage.get(DATA, b"c").unwrap().unwrap(), number(3));
}

fn snapshots_do_not_move(medium: &dyn Medium) {
    let storage = medium.open();
    write(
        &*storage,
        &[
            (Family::Log, "a", "1"),
            (Family::Log, "b", "1"),
            (Family::Log, "d", "1"),
        ],
        &[],
    );
    ingest(&*storage, |sink| sink.put(b"x", &number(1))).unwrap();
    let before = storage.snapshot().unwrap();
    write(
        &*storage,
        &[(Family::Log, "c", "2"), (Family::Log, "b", "2")],
        &[(Family::Log, "a")],
    );
    ingest(&*storage, |sink| {
        sink.merge(b"x", &number(1))?;
        sink.put(b"y", &number(9))
    })
    .unwrap();
    let after = storage.snapshot().unwrap();
    let old = [
        ("a".to_owned(), b"1".to_vec()),
        ("b".to_owned(), b"1".to_vec()),
    ];
    let new = [
        ("b".to_owned(), b"2".to_vec()),
        ("c".to_owned(), b"2".to_vec()),
    ];
    assert_eq!(scan(&*before, Family::Log, "", "d"), old);
    assert_eq!(scan(&*after, Family::Log, "", "d"), new);
    assert_eq!(before.get(DATA, b"x").unwrap().unwrap(), number(1));
    assert_eq!(before.get(DATA, b"y").unwrap(), None);
    assert_eq!(after.get(DATA, b"x").unwrap().unwrap(), number(2));
    drop(storage);
    assert_eq!(
        scan(&*before, Family::Log, "", "d"),
        old,
        "a snapshot outlives its storage"
    );
}

fn scans_are_bounded_and_ordered(medium: &dyn Medium) {
    let storage = medium.open();
    write(
        &*storage,
        &[
            (Family::Log, "b", "2"),
            (Family::Log, "a", "1"),
            (Family::Log, "c", "3"),
        ],
        &[],
    );
    let snapshot = storage.snapshot().unwrap();
    let keys = |from, to| -> Vec<String> {
        scan(&*snapshot, Family::Log, from, to)
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    };
    assert_eq!(keys("", "z"), ["a", "b", "c"]);
    assert_eq!(keys("b", "c"), ["b"]);
    assert_eq!(keys("aa", "c"), ["b"]);
    assert_eq!(keys("b", "b"), [""; 0]);
    assert_eq!(keys("c", "a"), [""; 0]);
}

fn several_keys_are_got_at_once(medium: &dyn Medium) {
    let storage = medium.open();
    ingest(&*storage, |sink| {
        (0..500_u64).try_for_each(|key| sink.put(&key.to_be_bytes(), &number(key)))
    })
    .unwrap();
    let snapshot = storage.snapshot().unwrap();
    let keys: Vec<[u8; 8]> = (0..1000_u64).step_by(3).map(u64::to_be_bytes).collect();
    let asked: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let found = snapshot.multi_get(DATA, &asked).unwrap();
    for (key, found) in (0..1000_u64).step_by(3).zip(&found) {
        assert_eq!(*found, (key < 500).then(|| number(key)));
    }
    assert_eq!(found.len(), asked.len());
    assert!(snapshot.multi_get(DATA, &[]).unwrap().is_empty());
}

fn ingested_records_merge_with_what_is_there(medium: &dyn Medium) {
    let storage = medium.open();
    ingest(&*storage, |sink| {
        sink.merge(b"a", &number(1))?;
        sink.put(b"b", &number(2))?;
        sink.put(b"c", &number(3))
    })
    .unwrap();
    ingest(&*storage, |sink| {
        sink.merge(b"a", &number(10))?;
        sink.merge(b"b", &number(20))?;
        sink.delete(b"c")?;
        sink.delete(b"never there")
    })
    .unwrap();
    ingest(&*storage, |sink| sink.merge(b"c", &number(30))).unwrap();
    ingest(&*storage, |_| Ok(())).unwrap();
    let get = |key: &[u8]| storage.get(DATA, key).unwrap().unwrap();
    assert_eq!(
        (get(b"a"), get(b"b"), get(b"c")),
        (number(11), number(22), number(30))
    );
}

fn a_failing_ingestion_adds_nothing(medium: &dyn Medium) {
    let storage = medium.open();
    let error = StateError::Merge {
        state: "test".to_owned(),
        what: "on purpose".to_owned(),
    };
    let failed = ingest(&*storage, |sink| {
        sink.put(b"a", &number(1))?;
        Err(error.clone())
    });
    assert_eq!(failed, Err(error));
    for second in [b"b", b"a"] {
        let failed = ingest(&*storage, |sink| {
            sink.put(b"b", &number(1))?;
            sink.put(second, &number(2))
        });
        assert!(
            matches!(failed, Err(StateError::OutOfOrder { .. })),
            "{failed:?}"
        );
    }
    assert_eq!(storage.get(DATA, b"a").unwrap(), None);
    assert_eq!(storage.get(DATA, b"b").unwrap(), None);
    ingest(&*storage, |sink| sink.put(b"a", &number(1))).unwrap();
}

/// A stored state has no operator; a combined one's operator may be given bytes that are no value.
fn a_merge_that_cannot_be_done_is_an_error(medium: &dyn Medium) {
    let storage = medium.open();
    let merge = |family, operand: &[u8]| {
        storage.ingest(family, &mut |sink| sink.merge(b"k", operand))?;
        storage.get(family, b"k").map(|_| ())
    };
    assert!(merge(Family::Data(NAMES), &number(1)).is_err());
    ingest(&*storage, |sink| sink.put(b"k", &number(1))).unwrap();
    assert!(merge(DATA, &[0xff; 3]).is_err());
}

fn threads_may_write_read_and_ingest(medium: &dyn Medium) {
    let storage = medium.open();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for txid in 0..100_u64 {
                let mut batch = WriteBatch::new();
                batch.put(Family::Log, txid.to_be_bytes(), "entry");
                batch.put(Family::Meta, "head", txid.to_be_bytes());
                storage.write(batch, Durable::Buffered).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..10 {
                ingest(&*storage, |sink| sink.merge(b"sum", &number(1))).unwrap();
            }
        });
        for _ in 0..50 {
            let snapshot = storage.snapshot().unwrap();
            let head = snapshot.get(Family::Meta, b"head").unwrap();
            let entries = snapshot.scan(Family::Log, &[], &[0xff; 9]).count() as u64;
            let head = head.map_or(0, |head| u64::from_be_bytes(head.try_into().unwrap()) + 1);
            assert_eq!(entries, head, "a batch is seen whole");
        }
    });
    assert_eq!(storage.get(DATA, b"sum").unwrap().unwrap(), number(10));
}

fn ingest(
    storage: &dyn Storage,
    mut fill: impl FnMut(&mut dyn fulmar_state::SortedSink) -> Result<()>,
) -> Result<()> {
    storage.ingest(DATA, &mut fill)
}

macro_rules! contract {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() { super::$test(&super::support::memory()); })*
        }
        #[cfg(feature = "rocksdb")]
        mod rocks {
            $(#[test] fn $test() { super::$test(&super::support::rocks()); })*
        }
    };
}

contract! {
    writes_are_read_and_families_are_apart
    a_batch_is_applied_in_its_order
    what_was_written_outlives_the_storage
    snapshots_do_not_move
    scans_are_bounded_and_ordered
    several_keys_are_got_at_once
    ingested_records_merge_with_what_is_there
    a_failing_ingestion_adds_nothing
    a_merge_that_cannot_be_done_is_an_error
    threads_may_write_read_and_ingest
}

#[test]
fn storages_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<dyn Storage>>();
    shared::<Arc<dyn Snapshot>>();
}
