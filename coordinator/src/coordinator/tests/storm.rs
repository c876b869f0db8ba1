//! What Storm gets wrong, as regression tests; the numbers are those of the design's list of Storm's flaws.

use super::*;

/// Flaw 1: a late fail of an old attempt re-reads a live batch.
#[test]
fn storm_flaw_1_a_late_failure_of_an_old_attempt_changes_nothing() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let old: Vec<_> = rig.core.in_flight().collect();
    rig.fail(old[0], CauseKind::User)
        .rewound()
        .read_all(10)
        .take();
    let live: Vec<_> = rig.core.in_flight().collect();
    for attempt in &old {
        rig.fail(*attempt, CauseKind::User).on(Event::Ack {
            attempt: *attempt,
            xor: 7,
        });
        rig.read(*attempt, 999, More::Exhausted);
    }
    assert_eq!(rig.core.in_flight().collect::<Vec<_>>(), live);
    assert!(rig.take().is_empty());
    rig.ack_all(&live);
    rig.apply().apply();
    assert_eq!((rig.sealed(), rig.core.record.records), (4, 40));
}

/// Flaw 4: metadata is cleaned before the commit pointer is durable. Here nobody is told of a seal before the write is known to be applied.
#[test]
fn storm_flaw_4_nothing_is_announced_before_the_write_is_known_to_be_applied() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.take();
    rig.ack(first);
    let told = |action: &Action| matches!(action, Action::Announce { .. } | Action::Sealed(_));
    rig.outcome(WriteOutcome::Unknown("connection lost".into()))
        .tick(100);
    assert!(rig.write.is_some() && !rig.take().iter().any(told));
    rig.apply();
    assert!(rig.take().iter().any(told));
}

/// Flaw 5: attempt numbers start again at 0 after a restart.
#[test]
fn storm_flaw_5_attempts_are_never_reused_not_across_restarts_either() {
    let mut seen = BTreeSet::new();
    for epoch in 1..=4 {
        let mut rig = Rig::resume(settings(), fence(epoch), Version(epoch));
        rig.fill();
        for _ in 0..5 {
            let attempts: Vec<_> = rig.core.in_flight().collect();
            assert!(attempts.iter().all(|attempt| seen.insert(*attempt)));
            rig.fail(attempts[2], CauseKind::WorkerLost)
                .rewound()
                .read_all(10);
        }
    }
    assert_eq!(seen.len(), 4 * 5 * 4);
}

/// Flaw 9: replays without a word to the operator.
#[test]
fn storm_flaw_9_every_failed_attempt_is_told_with_its_cause_and_counted_in_the_report() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.take();
    rig.fail(attempts[1], CauseKind::Panic);
    let told = rig.replayed();
    assert_eq!(
        told.iter()
            .map(|failure| failure.attempt)
            .collect::<Vec<_>>(),
        attempts,
        "those dropped with it are told too"
    );
    assert_eq!(told[1].cause, cause(CauseKind::Panic));
    assert!(
        told[2].cause.kind == CauseKind::Dropped
            && told[2]
                .cause
                .message
                .contains("2@1.1 failed: panic: it went wrong")
    );
    rig.rewound().read_all(10);
    let again = rig.live(0);
    let second = rig.live(1);
    rig.ack(again).ack(second).apply().apply();
    let reports = rig.reports();
    assert_eq!((reports[0].attempts, reports[1].attempts), (2, 2));
    assert_eq!(reports[1].failures, told[1..2]);
}

/// Flaw 9: several that fail while a write is outstanding are told each with its own cause.
#[test]
fn storm_flaw_9_no_cause_is_hidden_by_another() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).take();
    rig.fail(attempts[3], CauseKind::Panic)
        .fail(attempts[1], CauseKind::Link)
        .fail(attempts[1], CauseKind::User)
        .apply();
    let told = rig.replayed();
    let kinds: Vec<_> = told.iter().map(|failure| failure.cause.kind).collect();
    assert_eq!(
        kinds,
        [CauseKind::Link, CauseKind::Dropped, CauseKind::Panic]
    );
    assert_eq!(
        rig.core.tries[&TxId(4)].strikes,
        0,
        "only the first is blamed"
    );
}

/// Flaw 10: two topologies with one name share metadata; the ledger's part is tested with [`crate::open_term`].
#[test]
fn storm_flaw_10_a_record_of_another_topology_is_never_acted_upon() {
    let mut core = Coordinator::new(settings()).unwrap();
    let record = LedgerRecord {
        topology: "other".into(),
        ..fence(1)
    };
    let step = core.step(Event::Fenced {
        record: Box::new(record),
        version: Version(1),
    });
    assert!(
        matches!(&step.actions[..], [Action::Halt(HaltReason::Protocol(what))] if what.contains("other"))
    );
}

/// Flaw 12: a poison record that replays for ever; more in `poison.rs`.
#[test]
fn storm_flaw_12_a_poison_record_does_not_replay_for_ever() {
    let mut rig = Rig::new(settings());
    rig.ready();
    for _ in 0..4 {
        rig.read_all(10);
        let first = rig.live(0);
        rig.fail(first, CauseKind::User).rewound();
    }
    let HaltReason::Poison { attempts, .. } = rig.halted() else {
        panic!("not poison")
    };
    assert_eq!(attempts, 4, "three and the careful one");
}

/// Flaw 13: a fixed timeout replays live batches under load.
#[test]
fn storm_flaw_13_progress_extends_the_deadline() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    for _ in 0..20 {
        // A sign of life of the oldest is enough: the others may be waiting for it.
        rig.tick(900).on(Event::Ack {
            attempt: attempts[0],
            xor: 0,
        });
    }
    assert!(rig.replayed().is_empty());
    rig.ack(attempts[0]).apply().tick(900);
    assert!(
        rig.replayed().is_empty(),
        "the next one's time begins when it is the oldest"
    );
    rig.tick(200);
    let told = rig.replayed();
    assert_eq!(
        (told[0].attempt, told[0].cause.kind),
        (attempts[1], CauseKind::Timeout)
    );
    assert!(
        told[0]
            .cause
            .message
            .contains("1100 ms: all spouts had read it"),
        "{}",
        told[0].cause.message
    );
}

/// Flaw 13: what is paused by the ledger is not late.
#[test]
fn storm_flaw_13_an_unreachable_ledger_pauses_and_replays_nothing() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first).take();
    for _ in 0..50 {
        rig.outcome(WriteOutcome::Unknown("no quorum".into()))
            .tick(900);
    }
    assert!(rig.take().is_empty());
    assert!(rig.writes.windows(2).all(|pair| pair[0] == pair[1]));
    rig.apply().tick(900);
    assert_eq!((rig.sealed(), rig.replayed().len()), (1, 0));
}
