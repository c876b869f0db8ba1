//! Poison records: careful attempts, dead letters, halting; and failures that nothing can cure.

use super::*;

fn dead_letters() -> Settings {
    Settings {
        on_poison: OnPoison::DeadLetter,
        ..settings()
    }
}

fn fail_at(rig: &mut Rig, attempt: Attempt, position: u64) {
    let cause = Cause {
        origin: Some(Box::new(origin(position))),
        operator: Some("split".into()),
        ..cause(CauseKind::User)
    };
    rig.on(Event::Failed { attempt, cause });
}

/// Fails the second batch until it is run carefully.
fn until_careful(rig: &mut Rig) {
    rig.fill();
    for _ in 0..3 {
        let second = rig.live(1);
        rig.fail(second, CauseKind::User).rewound().read_all(10);
    }
}

#[test]
fn a_careful_attempt_is_the_last_in_flight() {
    let mut rig = Rig::new(settings());
    until_careful(&mut rig);
    assert_eq!(
        rig.live_txids(),
        [1, 2],
        "nothing else is lost when it fails again"
    );
    let careful: Vec<_> = rig
        .issued()
        .iter()
        .rev()
        .take(2)
        .map(|batch| batch.careful)
        .collect();
    assert_eq!(careful, [true, false]);
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).ack(attempts[1]).apply().apply();
    assert_eq!(rig.sealed(), 2, "what was not the record's fault passes");
    let reports = rig.reports();
    assert_eq!(
        reports[1]
            .failures
            .iter()
            .filter(|failure| failure.cause.kind == CauseKind::User)
            .count(),
        3
    );
    assert_eq!(rig.live_txids(), [3]);
    assert!(!rig.core.live[0].careful);
}

#[test]
fn the_batches_that_are_dropped_with_a_failed_one_are_not_blamed() {
    let mut rig = Rig::new(settings());
    until_careful(&mut rig);
    assert_eq!(rig.core.tries[&TxId(1)].strikes, 0);
    assert!(!rig.core.tries[&TxId(3)].careful);
}

#[test]
fn a_lost_worker_is_nobodys_fault() {
    let mut rig = Rig::new(settings());
    rig.fill();
    for _ in 0..20 {
        let first = rig.live(0);
        rig.fail(first, CauseKind::WorkerLost)
            .rewound()
            .read_all(10);
    }
    assert_eq!(rig.core.tries[&TxId(1)].strikes, 0);
}

#[test]
fn halting_names_the_record_after_everything_before_it_is_sealed() {
    let mut rig = Rig::new(settings());
    until_careful(&mut rig);
    let attempts: Vec<_> = rig.core.in_flight().collect();
    fail_at(&mut rig, attempts[1], 13);
    assert_eq!(
        rig.core.phase(),
        Phase::Running,
        "the first batch can still be sealed"
    );
    rig.ack(attempts[0]).apply();
    let reason = rig.halted().to_string();
    assert!(
        reason.contains("batch 2 failed in 4 attempts")
            && reason.contains(r#"error in split: it went wrong"#),
        "{reason}"
    );
    assert!(
        reason.contains(r#"spout "lines", partition "0", position 0x000000000000000d"#),
        "{reason}"
    );
}

#[test]
fn a_dead_letter_is_left_out_and_the_batch_goes_on_carefully_until_it_passes() {
    let mut rig = Rig::new(dead_letters());
    until_careful(&mut rig);
    for position in [13, 17] {
        let second = rig.live(1);
        fail_at(&mut rig, second, position);
        rig.rewound().read_all(10);
    }
    let last = rig.issued().pop().unwrap();
    assert_eq!((last.careful, last.skip), (true, vec![skip(13), skip(17)]));
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).ack(attempts[1]).apply().apply();
    assert_eq!(rig.reports()[1].skipped, [skip(13), skip(17)]);
}

#[test]
fn what_cannot_be_attributed_halts() {
    let mut rig = Rig::new(dead_letters());
    until_careful(&mut rig);
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0])
        .apply()
        .fail(attempts[1], CauseKind::Timeout);
    let reason = rig.halted();
    assert!(
        matches!(reason, HaltReason::Poison { .. })
            && reason
                .to_string()
                .contains("no single record could be blamed")
    );
}

#[test]
fn a_record_that_fails_although_left_out_halts() {
    let mut rig = Rig::new(dead_letters());
    until_careful(&mut rig);
    let first = rig.live(0);
    rig.ack(first).apply();
    let second = rig.live(0);
    fail_at(&mut rig, second, 13);
    rig.rewound().read_all(10);
    let second = rig.live(0);
    fail_at(&mut rig, second, 13);
    assert!(matches!(rig.halted(), HaltReason::Poison { .. }));
}

#[test]
fn a_permanent_failure_halts_once_everything_before_it_is_sealed() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.on(Event::Failed {
        attempt: attempts[2],
        cause: Cause {
            permanent: true,
            ..cause(CauseKind::Spout)
        },
    });
    assert_eq!(rig.live_txids(), [1, 2]);
    // Those before it may be replayed meanwhile.
    rig.fail(attempts[0], CauseKind::Link)
        .rewound()
        .read_all(10);
    assert_eq!(rig.live_txids(), [1, 2], "and nothing from it on is issued");
    let again: Vec<_> = rig.core.in_flight().collect();
    rig.ack(again[0]).ack(again[1]).apply().apply();
    assert_eq!(rig.sealed(), 2);
    assert!(
        matches!(rig.halted(), HaltReason::Permanent(failure) if failure.attempt == attempts[2])
    );
}

#[test]
fn a_permanent_failure_waits_for_the_outstanding_write() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).on(Event::Failed {
        attempt: attempts[1],
        cause: Cause {
            permanent: true,
            ..cause(CauseKind::Spout)
        },
    });
    assert_eq!(rig.core.phase(), Phase::Running);
    rig.apply();
    assert_eq!(rig.sealed(), 1);
    assert!(matches!(rig.halted(), HaltReason::Permanent(_)));
}

#[test]
fn an_end_that_other_replays_never_reach_still_halts() {
    let mut opaque = settings();
    opaque.spouts[0].replays = Replays::Any;
    let mut rig = Rig::new(opaque);
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.on(Event::Failed {
        attempt: attempts[3],
        cause: Cause {
            permanent: true,
            ..cause(CauseKind::Spout)
        },
    });
    rig.fail(attempts[0], CauseKind::Link).rewound();
    let first = rig.live(0);
    rig.read(first, 40, More::Exhausted).ack(first).apply();
    assert!(matches!(rig.halted(), HaltReason::Permanent(_)));
}
