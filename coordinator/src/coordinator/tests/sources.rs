//! What sources say and read: positions, promises, readiness, and the settings they are told.

use super::*;

#[test]
fn a_source_must_go_on_where_the_batch_before_ended() {
    let mut rig = Rig::new(settings());
    rig.ready();
    let first = rig.live(0);
    rig.read(first, 10, More::Ready);
    let second = rig.live(1);
    let mut report = rig.report(10, More::Ready);
    report.moves[0].from = Some(9u64.to_be_bytes().to_vec());
    rig.on(Event::Read {
        attempt: second,
        spout: 0,
        report,
        xor: 0,
    });
    rig.ack(first).apply();
    assert_eq!(rig.sealed(), 1, "what is before it is sealed");
    let reason = rig.halted();
    assert!(matches!(reason, HaltReason::PositionGap { .. }));
    assert!(reason.to_string().contains(r#"spout "lines" read partition "0" for 2@1.1 from 0x0000000000000009 instead of 0x000000000000000a"#), "{reason}");
}

#[test]
fn a_spout_that_breaks_its_promise_of_identical_replays_is_named() {
    for (change, what) in [
        (
            (|report: &mut ReadReport| report.moves[0].digest = Some(1)) as fn(&mut ReadReport),
            "digest differs",
        ),
        (
            |report| report.moves[0].records = 9,
            "10 records the first time, 9 now",
        ),
        (|report| report.moves.clear(), "nothing now"),
        (
            |report| {
                report.moves.push(PartitionMove {
                    partition: "1".into(),
                    from: None,
                    ..report.moves[0].clone()
                })
            },
            "nothing the first time",
        ),
    ] {
        let mut rig = Rig::new(settings());
        rig.fill();
        let first = rig.live(0);
        rig.fail(first, CauseKind::Link).rewound();
        let again = rig.live(0);
        let mut report = rig.report(10, More::Ready);
        change(&mut report);
        rig.on(Event::Read {
            attempt: again,
            spout: 0,
            report,
            xor: 0,
        });
        let reason = rig.halted();
        assert!(matches!(&reason, HaltReason::NotIdentical { spout, .. } if spout == "lines"));
        assert!(reason.to_string().contains(what), "{reason}");
    }
}

#[test]
fn a_spout_without_that_promise_may_read_anything_again() {
    let mut opaque = settings();
    opaque.spouts[0].replays = Replays::Any;
    let mut rig = Rig::new(opaque);
    rig.fill();
    let first = rig.live(0);
    rig.fail(first, CauseKind::Link).rewound().take();
    let again = rig.live(0);
    rig.read(again, 3, More::Ready).ack(again).apply();
    assert_eq!((rig.sealed(), rig.core.record.records), (1, 3));
}

#[test]
fn a_read_that_comes_twice_counts_once() {
    let mut rig = Rig::new(settings());
    rig.ready();
    let first = rig.live(0);
    rig.read(first, 10, More::Waiting)
        .read(first, 10, More::Ready)
        .ack(first)
        .apply();
    assert_eq!((rig.core.record.records, rig.live_txids().len()), (10, 0));
}

#[test]
fn batch_times_never_go_back_and_stay_over_attempts() {
    let mut rig = Rig::new(settings());
    rig.ready();
    let first = rig.live(0);
    rig.on(Event::Tick {
        now: Micros::from_ms(20),
        wall_ms: 5,
    });
    rig.read(first, 10, More::Ready)
        .fail(first, CauseKind::User)
        .rewound()
        .read_all(10);
    let times: Vec<_> = rig.issued().iter().map(|batch| batch.time_ms).collect();
    assert!(times.iter().all(|time| *time == 1_000_010), "{times:?}");
}

#[test]
fn what_a_source_said_before_a_rewind_is_void() {
    let mut rig = Rig::new(settings());
    rig.ready();
    let first = rig.live(0);
    let before = rig.core.generation();
    rig.read(first, 10, More::Exhausted)
        .fail(first, CauseKind::User);
    rig.on(Event::Exhausted {
        spout: 0,
        generation: before,
    })
    .rewound();
    assert_eq!(
        rig.live_txids(),
        [1],
        "what it gave is there to be read again"
    );
}

#[test]
fn live_configuration_applies_from_the_next_batch() {
    let mut rig = Rig::new(settings());
    rig.on(Event::SetMaxPending(2)).fill();
    assert_eq!(rig.live_txids(), [1, 2]);
    rig.on(Event::Pause)
        .on(Event::SetMaxPending(4))
        .on(Event::SetLimits(Limits {
            records: 5,
            ..Limits::default()
        }))
        .take();
    rig.tick(10);
    assert!(rig.issued().is_empty());
    rig.on(Event::Resume);
    assert_eq!(rig.issued()[0].limits.records, 5);
}

#[test]
fn seals_that_a_worker_does_not_note_hold_new_batches_back() {
    let mut rig = Rig::new(settings());
    rig.ready();
    for _ in 0..257 {
        rig.seal_next(1, More::Ready);
    }
    assert!(rig.live_txids().is_empty());
    rig.noted();
    assert_eq!(rig.live_txids(), [258]);
}

#[test]
fn a_source_that_has_not_heard_of_the_newest_rewind_is_told_again() {
    let mut rig = Rig::new(settings());
    rig.take();
    let told = |rig: &mut Rig| {
        rig.take()
            .iter()
            .filter(|action| matches!(action, Action::Rewind { .. }))
            .count()
    };
    rig.tick(100);
    assert_eq!(told(&mut rig), 1, "it has never spoken");
    rig.ready();
    let (first, before) = (rig.live(0), rig.core.generation());
    rig.fail(first, CauseKind::Link).rewound().take();
    rig.on(Event::Waiting {
        spout: 0,
        generation: before,
    });
    assert_eq!(told(&mut rig), 0, "that may have been on its way");
    rig.tick(100).on(Event::Waiting {
        spout: 0,
        generation: before,
    });
    assert_eq!(told(&mut rig), 1, "it still speaks of an old one");
    assert_eq!(rig.live_txids(), [1]);
}

#[test]
fn a_new_timeout_counts_from_the_next_check_on_also_for_what_is_in_flight() {
    let mut rig = Rig::new(settings());
    rig.fill().tick(500).take();
    rig.on(Event::SetTimeout { timeout_ms: 400 });
    assert!(rig.replayed().is_empty(), "a setting alone fails nothing");
    rig.tick(1);
    let failures = rig.replayed();
    assert_eq!(failures[0].cause.kind, CauseKind::Timeout);
    assert!(
        failures[0].cause.message.contains("501 ms"),
        "{}",
        failures[0].cause.message
    );

    rig.on(Event::SetTimeout { timeout_ms: 0 });
    assert_eq!(
        rig.core.settings().timeout_ms,
        1,
        "none at all would fail every batch at once"
    );
    rig.on(Event::SetTimeout { timeout_ms: 5000 });
    rig.rewound().fill().tick(4999).take();
    assert!(rig.replayed().is_empty());
    rig.tick(4999);
    assert!(!rig.replayed().is_empty());
}

#[test]
fn a_batch_that_fills_keeps_the_limits_it_was_issued_with() {
    let slow = Limits {
        time_ms: 60_000,
        ..Limits::default()
    };
    let mut rig = Rig::new(Settings {
        limits: slow,
        ..settings()
    });
    rig.ready();
    assert_eq!(rig.issued()[0].limits, slow);
    let quick = Limits {
        time_ms: 1,
        records: 5,
        ..slow
    };
    rig.on(Event::SetLimits(quick)).tick(30_000);
    assert!(
        rig.replayed().is_empty(),
        "its source may still wait for records by the old limits"
    );
    let first = rig.live(0);
    rig.read(first, 10, More::Ready);
    assert_eq!(
        rig.issued()[0].limits,
        quick,
        "the next batch has the new ones"
    );
}
