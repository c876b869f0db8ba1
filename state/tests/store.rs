//! Method: examples of every rule of the store.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fulmar_state::{
    DeadLetter, Entry, Family, Generation, OutboxPart, RewindOutcome, SealOutcome, StateError,
    Storage, Store, TxId,
};
use support::examples::{attempt, entry, folded, log_key, open, put, remove, store_with};
use support::{Faulty, Medium, Moment, Worker, delta, identity, memory, rewind, schemas};

#[test]
fn a_rewind_drops_what_is_above_and_fences_what_is_older() {
    let storage = memory();
    let mut store = store_with(&storage, 3);
    assert_eq!(store.seal(attempt(1, 1)), SealOutcome::Shown);
    assert_eq!(
        store.rewind(rewind(2, Some(attempt(1, 1)))),
        Ok(RewindOutcome::Done)
    );
    assert_eq!(
        (store.newest(), store.highest()),
        (TxId(1), Generation::new(2, 0))
    );
    for gone in [2, 3] {
        assert_eq!(storage.get(Family::Log, &log_key(gone)).unwrap(), None);
    }
    assert_eq!(
        store.rewind(rewind(2, Some(attempt(1, 1)))),
        Ok(RewindOutcome::Again)
    );
    let older = RewindOutcome::Older {
        highest: Generation::new(2, 0),
    };
    assert_eq!(store.rewind(rewind(1, None)), Ok(older));
    // Issue: what carries an attempt that is not the live one is refused.
    let late = store.append(&[entry(2, 1, Some(attempt(1, 1)))]);
    assert!(matches!(late, Err(StateError::Fenced { .. })), "{late:?}");
    store.append(&[entry(2, 2, Some(attempt(1, 1)))]).unwrap();
    assert_eq!(
        open(&storage).unwrap().highest(),
        Generation::new(2, 0),
        "it is durable"
    );
}

#[test]
fn an_equal_rewind_after_a_restart_is_answered_again() {
    let storage = memory();
    drop(store_with(&storage, 2));
    let mut store = open(&storage).unwrap();
    assert_eq!(
        store.rewind(rewind(1, Some(attempt(1, 1)))),
        Ok(RewindOutcome::Again)
    );
    assert_eq!(
        (store.sealed(), store.newest()),
        (Some(attempt(1, 1)), TxId(2))
    );
}

#[test]
fn entries_continue_the_log_each_on_the_one_before() {
    let mut store = store_with(&memory(), 1);
    for wrong in [
        entry(1, 1, None),
        entry(3, 1, Some(attempt(2, 1))),
        entry(2, 1, None),
        entry(2, 1, Some(attempt(1, 0))),
    ] {
        let refused = store.append(&[wrong]);
        assert!(
            matches!(refused, Err(StateError::OutOfOrder { .. })),
            "{refused:?}"
        );
    }
    let (two, three) = (
        entry(2, 1, Some(attempt(1, 1))),
        entry(3, 1, Some(attempt(2, 1))),
    );
    store.append(&[two, three]).unwrap();
    assert_eq!(store.newest(), TxId(3));
}

#[test]
fn several_entries_are_one_write() {
    let storage = memory();
    drop(store_with(&storage, 0));
    let faulty = Faulty::new(storage.open(), usize::MAX, Moment::Before);
    let calls = faulty.calls();
    let mut store = Store::open(Arc::new(faulty), &identity(), &schemas()).unwrap();
    let _ = store.rewind(rewind(2, None)).unwrap();
    let before = calls.load(Ordering::Relaxed);
    store
        .append(&[entry(1, 2, None), entry(2, 2, Some(attempt(1, 2)))])
        .unwrap();
    store.append(&[]).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed) - before, 1);
}

#[test]
fn nothing_is_taken_or_shown_before_the_first_rewind() {
    let storage = memory();
    drop(store_with(&storage, 1));
    let mut store = open(&storage).unwrap();
    assert_eq!(store.seal(attempt(1, 1)), SealOutcome::NotMine);
    assert!(matches!(
        store.append(&[entry(2, 1, None)]),
        Err(StateError::NotRewound { .. })
    ));
    assert!(matches!(
        store.restore(&mut |_, _, _, _| Ok(())),
        Err(StateError::NotRewound { .. })
    ));
}

#[test]
fn only_the_durable_attempt_is_shown() {
    let mut store = store_with(&memory(), 3);
    assert_eq!(store.seal(attempt(1, 2)), SealOutcome::NotMine);
    assert_eq!(store.seal(attempt(4, 1)), SealOutcome::NotMine);
    assert_eq!(
        store.seal(attempt(2, 1)),
        SealOutcome::Shown,
        "and with it batch 1"
    );
    assert_eq!(store.seal(attempt(2, 1)), SealOutcome::Already);
    assert_eq!(store.seal(attempt(1, 1)), SealOutcome::Already);
    assert_eq!(store.seal(attempt(2, 2)), SealOutcome::NotMine);
    assert_eq!(store.seal(attempt(1, 2)), SealOutcome::NotMine);
    assert_eq!(store.sealed(), Some(attempt(2, 1)));
}

#[test]
fn a_log_that_ends_before_the_sealed_batch_has_lost_data() {
    let storage = memory();
    drop(store_with(&storage, 3));
    let error = open(&storage)
        .unwrap()
        .rewind(rewind(2, Some(attempt(5, 1))))
        .unwrap_err();
    let place = "memory".to_owned();
    assert_eq!(
        error,
        StateError::LostData {
            place,
            newest: TxId(3),
            sealed: TxId(5)
        }
    );
    assert!(
        error.to_string().contains("batches 4 to 5 are lost"),
        "{error}"
    );
}

#[test]
fn a_gap_in_the_log_is_named() {
    let storage = memory();
    drop(store_with(&storage, 4));
    remove(&storage, Family::Log, &log_key(2));
    let error = open(&storage)
        .unwrap()
        .rewind(rewind(2, Some(attempt(4, 1))))
        .unwrap_err();
    let expected = StateError::GapInLog {
        place: "memory".to_owned(),
        missing: TxId(2),
        newest: TxId(4),
        sealed: TxId(4),
    };
    assert_eq!(error, expected);
}

#[test]
fn another_attempt_of_a_sealed_batch_is_an_old_disk() {
    let storage = memory();
    drop(store_with(&storage, 3));
    let error = open(&storage)
        .unwrap()
        .rewind(rewind(3, Some(attempt(3, 2))))
        .unwrap_err();
    assert!(matches!(error, StateError::OtherAttempt { .. }), "{error}");
    // Batch 3 is right, but it was built on another attempt of batch 2 than the one that is here.
    let mut store = open(&storage).unwrap();
    let _ = store.rewind(rewind(2, Some(attempt(1, 1)))).unwrap();
    store.append(&[entry(2, 2, Some(attempt(1, 1)))]).unwrap();
    let mixed = storage.get(Family::Log, &log_key(2)).unwrap().unwrap();
    let other = memory();
    drop(store_with(&other, 3));
    put(&other, Family::Log, &log_key(2), &mixed);
    let error = open(&other)
        .unwrap()
        .rewind(rewind(4, Some(attempt(3, 1))))
        .unwrap_err();
    assert!(matches!(error, StateError::OtherAttempt { .. }), "{error}");
}

#[test]
fn folded_beyond_the_ledger_means_that_the_ledger_is_old() {
    let storage = memory();
    drop(folded(&storage));
    let error = open(&storage).unwrap().rewind(rewind(2, None)).unwrap_err();
    assert!(matches!(error, StateError::FoldedBeyond { .. }), "{error}");
    let error = open(&storage)
        .unwrap()
        .rewind(rewind(2, Some(attempt(1, 7))))
        .unwrap_err();
    assert!(matches!(error, StateError::OtherAttempt { .. }), "{error}");
}

#[test]
fn the_family_markers_alone_are_enough_to_notice_an_old_ledger() {
    let storage = memory();
    let mut worker = Worker::start(storage.open(), rewind(1, None), 2).unwrap();
    let first = worker.prepare(&delta("a", 1)).unwrap();
    worker.seal(first);
    let parts = worker.fold_parts();
    let job = worker.store.fold(TxId(1), &parts).unwrap();
    let crash = Faulty::new(storage.open(), 0, Moment::After);
    job.run(&crash).unwrap_err();
    drop(worker);
    let error = open(&storage).unwrap().rewind(rewind(2, None)).unwrap_err();
    assert!(matches!(error, StateError::FoldedBeyond { .. }), "{error}");
}

#[test]
fn entries_stay_until_folded_and_published() {
    let storage = memory();
    let mut worker = folded(&storage);
    assert_eq!(worker.store.unfolded_bytes(), 0);
    assert!(
        worker.store.log_bytes() > 0,
        "batch 1 waits to be published"
    );
    assert!(worker.store.entry(TxId(1)).unwrap().is_some());
    worker.store.publish_done(TxId(1));
    let second = worker.prepare(&delta("a", 1)).unwrap();
    assert_eq!(worker.store.entry(TxId(1)).unwrap(), None);
    assert_eq!(storage.get(Family::Log, &log_key(1)).unwrap(), None);
    worker.seal(second);
    worker.store.publish_done(TxId(2));
    drop(worker);
    // What was remembered but not written is published again.
    let mut store = open(&storage).unwrap();
    assert_eq!((store.published(), store.folded()), (TxId(1), TxId(1)));
    assert_eq!(
        store.rewind(rewind(2, Some(second))),
        Ok(RewindOutcome::Done)
    );
    assert!(store.entry(TxId(2)).unwrap().is_some());
}

#[test]
fn an_entry_comes_back_whole() {
    let storage = memory();
    let mut store = store_with(&storage, 0);
    let entry = Entry {
        attempt: attempt(1, 1),
        base: None,
        time_ms: 1_700_000_000_123,
        parts: vec![vec![], vec![]],
        outbox: vec![OutboxPart {
            sink: "out".to_owned(),
            partition: 7,
            records: 2,
            bytes: vec![1, 2, 3],
        }],
        dead: vec![DeadLetter {
            spout: "lines".to_owned(),
            partition: "a.txt".to_owned(),
            position: vec![9],
            cause: "not a number".to_owned(),
            record: b"x".to_vec(),
        }],
    };
    store.append(std::slice::from_ref(&entry)).unwrap();
    assert_eq!(store.entry(TxId(1)).unwrap(), Some(entry));
}

#[test]
fn a_failed_write_is_answered_to_every_later_call() {
    let full = StateError::DiskFull {
        path: "/data".into(),
        doing: "writing".to_owned(),
    };
    for moment in [Moment::Before, Moment::After] {
        let storage = memory();
        drop(folded(&storage));
        let sealed = Some(attempt(1, 1));
        let faulty = Faulty::new(storage.open(), 1, moment).failing_with(full.clone());
        let mut worker = Worker::start(Arc::new(faulty), rewind(2, sealed), 2).unwrap();
        assert_eq!(worker.prepare(&delta("a", 2)), Err(full.clone()));
        assert_eq!(
            worker.store.append(&[entry(2, 2, sealed)]),
            Err(full.clone())
        );
        assert_eq!(worker.store.rewind(rewind(3, sealed)), Err(full.clone()));
        assert_eq!(worker.store.entry(TxId(1)), Err(full.clone()));
        assert_eq!(worker.store.base().err(), Some(full.clone()));
        drop(worker);
        // With room again, everything sealed is there, and nothing else.
        let mut worker = Worker::start(storage.open(), rewind(3, sealed), 2).unwrap();
        assert_eq!(
            worker.contents().counts.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), 1)]
        );
    }
}

#[test]
fn a_fold_needs_all_partitions_as_of_one_sealed_batch() {
    let mut worker = Worker::start(memory().open(), rewind(1, None), 2).unwrap();
    let first = worker.prepare(&delta("a", 1)).unwrap();
    let parts = worker.fold_parts();
    assert!(
        matches!(
            worker.store.fold(TxId(1), &parts),
            Err(StateError::OutOfOrder { .. })
        ),
        "not sealed"
    );
    worker.seal(first);
    assert!(
        matches!(
            worker.store.fold(TxId(1), &parts),
            Err(StateError::Mismatch { .. })
        ),
        "older parts"
    );
    let mut parts = worker.fold_parts();
    let taken = parts[0].1.pop();
    assert!(
        matches!(
            worker.store.fold(TxId(1), &parts),
            Err(StateError::Mismatch { .. })
        ),
        "one missing"
    );
    parts[0].1.extend([taken.clone().unwrap(), taken.unwrap()]);
    assert!(
        matches!(
            worker.store.fold(TxId(1), &parts),
            Err(StateError::Mismatch { .. })
        ),
        "one twice"
    );
    parts[0].1.pop();
    let job = worker.store.fold(TxId(1), &parts).unwrap();
    let second = worker.store.fold(TxId(1), &parts);
    assert!(
        matches!(second, Err(StateError::OutOfOrder { .. })),
        "one is under way"
    );
    let done = job.run(&**worker.store.storage()).unwrap();
    worker.store.finish_fold(done).unwrap();
    let again = worker.store.finish_fold(done);
    assert!(
        matches!(again, Err(StateError::OutOfOrder { .. })),
        "finished twice"
    );
}
