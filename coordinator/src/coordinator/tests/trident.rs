//! Storm's deleted `test-coordinator` sequences (storm-core v1.2.3, `transactional_test.clj`), for our types.

use super::*;

#[test]
fn as_many_as_may_be_pending_are_issued_and_no_more_until_there_is_room() {
    let mut rig = Rig::new(settings());
    rig.fill();
    assert_eq!(rig.live_txids(), [1, 2, 3, 4]);
    assert_eq!(rig.issued().len(), 4);
    rig.ready().tick(1);
    assert!(rig.issued().is_empty());
    let first = rig.live(0);
    rig.ack(first);
    assert!(rig.issued().is_empty(), "acknowledged is not sealed");
    rig.apply().read_all(10);
    assert_eq!(rig.live_txids(), [2, 3, 4, 5], "a seal makes room for one");
}

#[test]
fn a_failure_issues_the_batch_and_all_after_it_with_new_attempts() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first).apply().read_all(10).take();
    let before: Vec<_> = rig.core.in_flight().collect();
    rig.fail(before[1], CauseKind::User).rewound().read_all(10);
    let again: Vec<_> = rig.core.in_flight().collect();
    assert_eq!(rig.live_txids(), [2, 3, 4, 5]);
    assert!(
        before
            .iter()
            .zip(&again)
            .all(|(old, new)| old.txid == new.txid && old.generation < new.generation)
    );
}

#[test]
fn acknowledged_out_of_order_seals_in_order_and_by_one_write() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[1]).ack(attempts[2]);
    assert!(rig.writes.is_empty(), "2 and 3 wait for 1");
    rig.ack(attempts[0]).take();
    assert_eq!(rig.writes.len(), 1, "three batches, one write");
    rig.apply();
    let reports = rig.reports();
    assert_eq!(
        reports
            .iter()
            .map(|report| report.attempt)
            .collect::<Vec<_>>(),
        attempts[..3]
    );
    assert!(reports.iter().all(|report| report.sealed_together == 3));
    assert_eq!(rig.core.record.base, Some(attempts[1]));
}

#[test]
fn nothing_is_issued_while_no_source_has_anything() {
    let mut rig = Rig::new(settings());
    rig.tick(1);
    assert!(rig.issued().is_empty(), "no source has spoken");
    rig.ready();
    let first = rig.live(0);
    rig.read(first, 10, More::Waiting)
        .ack(first)
        .apply()
        .noted();
    assert!(rig.live_txids().is_empty());
    rig.ready();
    assert_eq!(rig.live_txids(), [2]);
}

#[test]
fn a_failure_while_all_are_processed_but_unsealed_issues_them_anew() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack_all(&attempts[1..]);
    rig.fail(attempts[0], CauseKind::User)
        .rewound()
        .read_all(10);
    assert_eq!(rig.live_txids(), [1, 2, 3, 4]);
    rig.ack_all(&attempts);
    assert!(
        rig.writes.is_empty(),
        "acknowledgements of the old attempts are void"
    );
}

#[test]
fn a_replay_equals_the_first_attempt_although_more_has_arrived_and_limits_have_grown() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first: Vec<_> = rig
        .core
        .live
        .iter()
        .map(|batch| batch.reads[0].clone().unwrap().moves)
        .collect();
    let attempt = rig.live(1);
    rig.on(Event::SetLimits(Limits {
        records: 99_999,
        ..Limits::default()
    }));
    rig.fail(attempt, CauseKind::Link).rewound().take();
    for moves in first {
        let batch = rig.core.live.back().unwrap().attempt;
        let told = rig.core.tries[&batch.txid].first[0].clone().unwrap();
        assert_eq!(told.moves, moves);
        rig.read(batch, told.records, More::Ready);
    }
    let again: Vec<_> = rig
        .issued()
        .into_iter()
        .map(|batch| batch.replay[0].is_some())
        .collect();
    assert_eq!(again, [true, true, true]);
}

#[test]
fn a_restart_goes_on_behind_what_is_sealed_with_nothing_counted_twice() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).ack(attempts[1]).apply();
    rig.apply();
    let (mut record, version) = (rig.core.record.clone(), rig.core.version);
    (record.epoch, record.writer) = (Epoch(2), WriterId(2));
    let mut rig = Rig::resume(settings(), record, version.next());
    let Some(Action::Rewind {
        generation,
        sealed,
        positions,
    }) = rig.take().into_iter().next()
    else {
        panic!("no rewind")
    };
    assert_eq!(
        (generation.to_string().as_str(), sealed),
        ("2.1", Some(attempts[1]))
    );
    assert_eq!(
        positions.get("lines", "0"),
        Some(20u64.to_be_bytes().as_slice())
    );
    rig.ready();
    let batch = rig.issued().remove(0);
    assert_eq!(
        (batch.attempt.to_string().as_str(), batch.base),
        ("3@2.1", Some(attempts[1]))
    );
}

#[test]
fn many_empty_batches_do_not_freeze_the_stream() {
    let mut rig = Rig::new(settings());
    for n in 1..=50 {
        rig.ready();
        assert_eq!(rig.live_txids(), [n]);
        rig.seal_next(0, More::Waiting).noted();
    }
    rig.ready().seal_next(7, More::Exhausted);
    assert_eq!((rig.sealed(), rig.core.record.records), (51, 7));
}

/// The fail of a commit: whether it was applied or not, the next term goes on right behind what the ledger holds.
#[test]
fn a_seal_that_fails_ends_the_term_and_the_next_one_goes_on_behind_what_is_sealed() {
    for applied in [false, true] {
        let mut rig = Rig::new(settings());
        rig.fill();
        let attempts: Vec<_> = rig.core.in_flight().collect();
        rig.ack(attempts[0]).take();
        let write = rig.write.clone().unwrap();
        let error = crate::Error::Unreachable {
            what: "the disk is full".into(),
        };
        rig.outcome(WriteOutcome::Failed(error));
        let reason = rig.halted();
        assert!(reason.to_string().contains("the disk is full"), "{reason}");
        let (held, version) = if applied {
            (write.record, write.expected.next())
        } else {
            (fence(1), write.expected)
        };
        let record = LedgerRecord {
            epoch: Epoch(2),
            writer: WriterId(2),
            ..held
        };
        let mut rig = Rig::resume(settings(), record, version.next());
        rig.fill();
        let again: Vec<_> = rig.core.in_flight().collect();
        assert_eq!(rig.live_txids()[0], 1 + u64::from(applied));
        assert!(again.iter().all(|attempt| !attempts.contains(attempt)));
        rig.ack_all(&again);
        rig.apply().apply();
        assert_eq!(rig.sealed(), 4 + u64::from(applied));
        assert_eq!(rig.core.record.records, 40 + 10 * u64::from(applied));
    }
}

/// Storm's own to-do: a partition that has seen a later transaction must not answer for an earlier one.
#[test]
fn what_is_read_for_a_batch_that_is_sealed_or_of_an_earlier_attempt_changes_nothing() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).apply().read_all(10).take();
    let before = rig.core.record.clone();
    rig.read(attempts[0], 77, More::Ready)
        .ack(attempts[0])
        .fail(attempts[0], CauseKind::Link);
    assert_eq!(rig.core.record, before);
    assert_eq!(rig.live_txids(), [2, 3, 4, 5]);
    assert!(rig.take().is_empty() && rig.write.is_none());
}
