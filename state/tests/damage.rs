//! Method: what must be refused. Stores of others, and every record of ours damaged: each bit flipped, each length cut.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use fulmar_state::{
    Family, Generation, MemoryStorage, Rewind, SealOutcome, StateError, Storage, Store,
    StoreIdentity,
};
use support::examples::{attempt, folded, log_key, open, put, remove, store_with};
use support::{Changes, Medium, Worker, delta, identity, memory, rewind, schema, schemas};

#[test]
fn others_stores_are_refused() {
    let storage = memory();
    drop(store_with(&storage, 1));
    let refused = |identity: &StoreIdentity, schemas: &[_]| {
        Store::open(storage.open(), identity, schemas).unwrap_err()
    };
    let other = StoreIdentity {
        topology: "other".to_owned(),
        ..identity()
    };
    assert!(matches!(
        refused(&other, &schemas()),
        StateError::OtherOwner {
            what: "topology",
            ..
        }
    ));
    let other = StoreIdentity {
        worker: "w1".to_owned(),
        ..identity()
    };
    assert!(matches!(
        refused(&other, &schemas()),
        StateError::OtherOwner { what: "worker", .. }
    ));
    let mut changed = schemas();
    changed[0].value_version = 2;
    let error = refused(&identity(), &changed).to_string();
    let named = "value type was value of counts version 1, now it is value of counts version 2";
    assert!(error.contains(named), "{error}");
    assert!(matches!(
        refused(&identity(), &changed[..1]),
        StateError::SchemaDiffers { .. }
    ));
    changed.swap(0, 1);
    assert!(matches!(
        refused(&identity(), &changed),
        StateError::SchemaDiffers { .. }
    ));
    let twice = [schema("a", 1), schema("a", 2)];
    assert!(matches!(
        refused(&identity(), &twice),
        StateError::BadSchema { .. }
    ));
}

#[test]
fn other_programs_and_versions_are_refused() {
    for (key, value) in [(&b"format"[..], &b"some-db 1"[..]), (b"whatever", b"?")] {
        let storage = memory();
        put(&storage, Family::Meta, key, value);
        let error = open(&storage).unwrap_err();
        assert!(matches!(error, StateError::OtherProgram { .. }), "{error}");
    }
    let storage = memory();
    drop(store_with(&storage, 1));
    put(&storage, Family::Meta, b"format", b"fulmar-state 2.1\n");
    let error = open(&storage).unwrap_err();
    assert_eq!(
        error,
        StateError::OtherVersion {
            place: "memory".to_owned(),
            found: 2,
            supported: 1
        }
    );
    remove(&storage, Family::Meta, b"format");
    assert!(matches!(
        open(&storage),
        Err(StateError::OtherProgram { .. })
    ));
}

/// Opens, rewinds to batch 2 and reloads; the error, if there is one.
fn reload(storage: &MemoryStorage) -> Option<StateError> {
    let generation = Generation::new(9, 0);
    let states = support::families();
    let storage = storage.reopen(&states);
    let outcome = Worker::start(
        storage.open(),
        Rewind {
            generation,
            sealed: Some(attempt(2, 1)),
        },
        2,
    );
    outcome.err()
}

fn copy(storage: &MemoryStorage) -> MemoryStorage {
    let (copy, snapshot) = (memory(), storage.snapshot().unwrap());
    for family in [
        Family::Meta,
        Family::Log,
        Family::Data(support::COUNTS),
        Family::Data(support::NAMES),
    ] {
        for record in snapshot.scan(family, &[], &[0xff; 16]) {
            let (key, value) = record.unwrap();
            put(&copy, family, &key, &value);
        }
    }
    copy
}

#[test]
fn every_flipped_bit_and_every_cut_is_a_clear_error() {
    let storage = memory();
    let mut worker = folded(&storage);
    let names = vec![(
        "n".to_owned(),
        fulmar_state::Change::Put("value".to_owned()),
    )];
    let second = worker
        .prepare(&Changes {
            names,
            ..delta("b", 300)
        })
        .unwrap();
    assert_eq!(second, attempt(2, 1));
    drop(worker);
    assert_eq!(reload(&copy(&storage)), None);
    let records: [(Family, &[u8]); 7] = [
        (Family::Meta, b"format"),
        (Family::Meta, b"identity"),
        (Family::Meta, b"states"),
        (Family::Meta, b"head"),
        (Family::Log, &log_key(2)),
        (Family::Data(support::COUNTS), b"\xff\xfffolded"),
        (Family::Data(support::NAMES), b"\xff\xfffolded"),
    ];
    for (family, key) in records {
        let whole = storage.get(family, key).unwrap().unwrap();
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut value = whole.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            value
        });
        let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
        for value in flipped.chain(cut) {
            let damaged = copy(&storage);
            put(&damaged, family, key, &value);
            let error = reload(&damaged)
                .unwrap_or_else(|| panic!("{family:?} {key:?} {value:?} was not noticed"));
            let clear = matches!(
                error,
                StateError::Corrupt { .. }
                    | StateError::OtherProgram { .. }
                    | StateError::OtherVersion { .. }
            );
            assert!(clear, "{family:?} {key:?}: {error}");
        }
        if family != Family::Log {
            let damaged = copy(&storage);
            remove(&damaged, family, key);
            assert!(
                reload(&damaged).is_some(),
                "{family:?} {key:?} is missing and nobody noticed"
            );
        }
    }
}

#[test]
fn an_entry_under_the_wrong_key_is_noticed() {
    let storage = memory();
    drop(store_with(&storage, 2));
    let first = storage.get(Family::Log, &log_key(1)).unwrap().unwrap();
    put(&storage, Family::Log, &log_key(2), &first);
    assert!(matches!(open(&storage), Err(StateError::Corrupt { .. })));
    let storage = memory();
    put(&storage, Family::Log, b"short", &first);
    assert!(open(&storage).is_err());
}

#[test]
fn values_of_other_types_do_not_decode_silently() {
    let storage = memory();
    let mut worker = Worker::start(storage.open(), rewind(1, None), 1).unwrap();
    let first = worker.prepare(&delta("a", 1)).unwrap();
    let mut store = worker.store;
    assert_eq!(store.seal(first), SealOutcome::Shown);
    // The log of counts, read as texts.
    let base = store.base().unwrap();
    let all = (0..8).map(fulmar_state::Partition).collect();
    let keep = support::keep as support::Keep;
    let mut texts = fulmar_state::Shard::<String, _>::new(support::COUNTS, all, 8, keep, base);
    let outcome = store.restore(&mut |txid, state, partition, section| {
        if state == support::COUNTS {
            fulmar_state::AnyShard::restore(&mut texts, txid, partition, section)?;
        }
        Ok(())
    });
    assert!(
        matches!(outcome, Err(StateError::Corrupt { .. })),
        "{outcome:?}"
    );
}
