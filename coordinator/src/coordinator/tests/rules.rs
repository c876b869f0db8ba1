//! The invariants, and the rules that exploring the protocol's states showed to be needed, one by one.

use super::*;

#[test]
fn i2_a_batch_is_sealed_only_when_prepared_on_every_worker() {
    let mut rig = Rig::new(settings());
    rig.ready();
    let attempt = rig.live(0);
    // A worker that nothing reached acknowledges no edge, and its preparation is still waited for.
    rig.on(Event::Read {
        attempt,
        spout: 0,
        report: rig.report(5, More::Waiting),
        xor: 0,
    });
    rig.on(Event::Ack {
        attempt,
        xor: prepare_id(attempt, WORKERS[0]),
    });
    assert!(rig.writes.is_empty());
    rig.on(Event::Ack {
        attempt,
        xor: prepare_id(attempt, WORKERS[1]),
    });
    assert_eq!(rig.writes.len(), 1);
}

#[test]
fn i2_a_batch_is_sealed_only_when_every_source_has_read() {
    let mut two = settings();
    two.spouts.push(SpoutInfo {
        name: "more".into(),
        replays: Replays::Any,
    });
    let mut rig = Rig::new(two);
    rig.ready();
    let attempt = rig.live(0);
    let prepared = WORKERS
        .iter()
        .fold(0, |xor, worker| xor ^ prepare_id(attempt, *worker));
    rig.on(Event::Read {
        attempt,
        spout: 0,
        report: rig.report(5, More::Ready),
        xor: 0,
    })
    .on(Event::Ack {
        attempt,
        xor: prepared,
    });
    assert!(rig.writes.is_empty());
    assert_eq!(rig.live_txids(), [1], "nor is the next one issued before");
    let report = ReadReport {
        moves: vec![],
        records: 0,
        bytes: 0,
        more: More::Waiting,
    };
    rig.on(Event::Read {
        attempt,
        spout: 1,
        report,
        xor: 0,
    });
    assert_eq!(rig.writes.len(), 1);
    assert_eq!(rig.live_txids(), [1, 2]);
}

#[test]
fn i3_a_write_of_another_writer_ends_the_term() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first);
    let current = Some(Box::new((fence(2), Version(2))));
    rig.outcome(WriteOutcome::Refused { current });
    assert!(matches!(
        rig.halted(),
        HaltReason::Fenced {
            epoch: Epoch(2),
            ..
        }
    ));
    rig.tick(5000).ready();
    assert!(
        rig.take().is_empty() && rig.write.is_none(),
        "nothing follows"
    );
}

#[test]
fn i3_the_same_epoch_by_another_writer_is_not_mine() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first);
    let other = LedgerRecord {
        writer: WriterId(99),
        ..rig.writes[0].record.clone()
    };
    rig.outcome(WriteOutcome::Refused {
        current: Some(Box::new((other, Version(2)))),
    });
    assert!(matches!(
        rig.halted(),
        HaltReason::Fenced {
            writer: WriterId(99),
            ..
        }
    ));
}

#[test]
fn i3_workers_are_told_only_after_the_fence() {
    let mut core = Coordinator::new(settings()).unwrap();
    let quiet = [
        Event::Tick {
            now: Micros(1),
            wall_ms: 1,
        },
        Event::Ready {
            spout: 0,
            generation: Generation::ZERO,
        },
        Event::Rewound {
            worker: WORKERS[0],
            generation: Generation::ZERO,
            outcome: Ok(()),
        },
        Event::Restarted {
            worker: WORKERS[0],
            cause: cause(CauseKind::WorkerLost),
        },
    ];
    for event in quiet {
        assert_eq!(core.step(event), Step::default());
    }
    let step = core.step(Event::Fenced {
        record: Box::new(fence(3)),
        version: Version(9),
    });
    assert!(
        matches!(&step.actions[..], [Action::Rewind { generation, .. }] if *generation == Generation::new(3, 1))
    );
}

#[test]
fn i6_a_new_attempt_names_the_new_attempt_it_builds_on() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first).apply().read_all(10).take();
    let third = rig.live(1);
    rig.fail(third, CauseKind::User).rewound().read_all(10);
    let issued = rig.issued();
    assert_eq!(
        issued[0].base,
        Some(first),
        "what is sealed keeps its attempt"
    );
    assert!(
        issued
            .windows(2)
            .all(|pair| pair[1].base == Some(pair[0].attempt))
    );
}

#[test]
fn an_unknown_write_is_sent_again_identically_until_settled_and_nothing_else_is_built() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0])
        .outcome(WriteOutcome::Unknown("lost".into()));
    rig.ack(attempts[1]).tick(50);
    assert!(rig.write.is_none(), "not in a hot loop");
    rig.tick(50);
    assert_eq!(rig.writes.len(), 2);
    assert_eq!(
        rig.writes[0], rig.writes[1],
        "the second batch is not slipped in"
    );
    // The first sending was applied after all: the refusal shows our own record.
    let own = Some(Box::new((rig.writes[0].record.clone(), Version(2))));
    rig.outcome(WriteOutcome::Refused { current: own });
    assert_eq!((rig.sealed(), rig.core.version), (1, Version(2)));
    assert_eq!(
        rig.write.as_ref().unwrap().expected,
        Version(2),
        "and the second follows"
    );
}

#[test]
fn an_unchanged_version_settles_nothing() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first)
        .outcome(WriteOutcome::Refused {
            current: Some(Box::new((fence(1), Version(1)))),
        })
        .tick(100);
    assert_eq!(rig.writes.len(), 2);
    assert_eq!(rig.core.phase(), Phase::Running);
}

#[test]
fn a_late_answer_to_an_earlier_write_says_nothing_about_this_one() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).apply().ack(attempts[1]);
    let own = Some(Box::new((rig.writes[0].record.clone(), Version(2))));
    rig.on(Event::Ledger {
        expected: Version(1),
        outcome: WriteOutcome::Refused { current: own },
    });
    rig.on(Event::Ledger {
        expected: Version(1),
        outcome: WriteOutcome::Applied(Version(2)),
    });
    assert_eq!(rig.sealed(), 1);
    rig.apply();
    assert_eq!(rig.sealed(), 2);
}

#[test]
fn nothing_is_rewound_while_a_write_is_outstanding() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack(attempts[0]).take();
    rig.fail(attempts[2], CauseKind::User)
        .outcome(WriteOutcome::Unknown("lost".into()))
        .tick(100)
        .tick(5000);
    assert!(rig.take().is_empty(), "neither rewound nor told");
    rig.ack(attempts[1]).apply();
    assert_eq!(rig.sealed(), 1);
    assert!(
        rig.write.is_some() && rig.replayed().is_empty(),
        "what is ready below the failed one is sealed first"
    );
    rig.apply();
    assert_eq!(rig.sealed(), 2);
    assert_eq!(rig.replayed()[0].attempt, attempts[2]);
    assert_eq!(rig.core.phase(), Phase::Rewinding);
}

#[test]
fn what_is_said_against_a_batch_while_it_is_being_sealed_is_void_once_it_is() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first).fail(first, CauseKind::User).take();
    rig.apply();
    assert!(rig.replayed().is_empty());
    assert_eq!((rig.sealed(), rig.core.phase()), (1, Phase::Running));
}

#[test]
fn every_rewind_has_a_new_number_and_is_repeated_until_every_worker_has_answered_it() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.fail(first, CauseKind::User).take();
    let generation = rig.core.generation();
    assert_eq!(generation, Generation::new(1, 2));
    rig.on(Event::Rewound {
        worker: WORKERS[0],
        generation,
        outcome: Ok(()),
    });
    rig.on(Event::Rewound {
        worker: WORKERS[0],
        generation,
        outcome: Ok(()),
    });
    rig.on(Event::Rewound {
        worker: WORKERS[1],
        generation: Generation::new(1, 1),
        outcome: Ok(()),
    });
    rig.on(Event::Rewound {
        worker: WorkerId(7),
        generation,
        outcome: Ok(()),
    });
    assert_eq!(rig.core.phase(), Phase::Rewinding);
    rig.tick(100);
    assert!(
        matches!(&rig.take()[..], [Action::Rewind { generation: again, .. }] if *again == generation)
    );
    rig.on(Event::Rewound {
        worker: WORKERS[1],
        generation,
        outcome: Ok(()),
    });
    assert_eq!(
        (rig.core.phase(), rig.live_txids()),
        (Phase::Running, vec![1])
    );
}

#[test]
fn a_worker_that_cannot_go_on_from_what_is_sealed_halts_the_term() {
    let mut core = Coordinator::new(settings()).unwrap();
    let _ = core.step(Event::Fenced {
        record: Box::new(fence(1)),
        version: Version(1),
    });
    let outcome = Err("its log ends at batch 3, 5 are sealed".into());
    let step = core.step(Event::Rewound {
        worker: WORKERS[1],
        generation: core.generation(),
        outcome,
    });
    let [Action::Halt(reason)] = &step.actions[..] else {
        panic!("not halted")
    };
    assert_eq!(
        reason.to_string(),
        "worker 1 cannot go on from what is sealed: its log ends at batch 3, 5 are sealed"
    );
}

#[test]
fn a_worker_that_restarts_is_rewound_even_if_nothing_is_in_flight_or_a_rewind_is_under_way() {
    let mut rig = Rig::new(settings());
    rig.on(Event::Restarted {
        worker: WORKERS[1],
        cause: cause(CauseKind::WorkerLost),
    });
    assert_eq!(
        (rig.core.phase(), rig.core.generation()),
        (Phase::Rewinding, Generation::new(1, 2))
    );
    rig.on(Event::Restarted {
        worker: WORKERS[1],
        cause: cause(CauseKind::WorkerLost),
    });
    assert_eq!(rig.core.generation(), Generation::new(1, 3));
    rig.on(Event::Rewound {
        worker: WORKERS[1],
        generation: Generation::new(1, 2),
        outcome: Ok(()),
    });
    rig.rewound().fill().take();
    rig.on(Event::Restarted {
        worker: WORKERS[0],
        cause: cause(CauseKind::WorkerLost),
    });
    let told: Vec<_> = rig
        .replayed()
        .into_iter()
        .map(|failure| failure.cause.kind)
        .collect();
    assert_eq!(
        told,
        [
            CauseKind::WorkerLost,
            CauseKind::Dropped,
            CauseKind::Dropped,
            CauseKind::Dropped
        ]
    );
}

#[test]
fn a_seal_is_announced_with_its_attempt_and_repeated_until_every_worker_has_noted_it() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first).take();
    rig.apply();
    let announced = |rig: &mut Rig| {
        rig.take()
            .iter()
            .filter(|action| **action == Action::Announce { attempt: first })
            .count()
    };
    assert_eq!(announced(&mut rig), 1);
    rig.on(Event::SealAcked {
        worker: WORKERS[0],
        txid: TxId(1),
    });
    rig.on(Event::SealAcked {
        worker: WORKERS[1],
        txid: TxId(0),
    });
    rig.tick(99);
    assert_eq!(announced(&mut rig), 0);
    rig.tick(1);
    assert_eq!(announced(&mut rig), 1);
    rig.on(Event::SealAcked {
        worker: WORKERS[1],
        txid: TxId(99),
    })
    .tick(100);
    assert_eq!(announced(&mut rig), 0);
    assert_eq!(rig.core.seals.untold(), 0);
}
