//! Drained, stopped, halted: how a term ends, and that an idle one does nothing.

use super::*;

fn drained(rig: &mut Rig) -> usize {
    rig.take()
        .iter()
        .filter(|action| **action == Action::Drained)
        .count()
}

#[test]
fn drained_is_said_once_each_time_everything_readable_is_sealed_and_noted() {
    let mut rig = Rig::new(settings());
    assert_eq!(drained(&mut rig), 0, "no source has spoken");
    rig.ready().seal_next(5, More::Waiting);
    assert_eq!(drained(&mut rig), 0, "the workers do not know yet");
    rig.noted().tick(10).tick(10);
    assert_eq!(drained(&mut rig), 1);
    rig.ready().seal_next(5, More::Exhausted).noted();
    assert_eq!(drained(&mut rig), 1);
}

#[test]
fn an_idle_stream_issues_and_seals_nothing() {
    let mut rig = Rig::new(settings());
    let generation = rig.core.generation();
    rig.on(Event::Waiting {
        spout: 0,
        generation,
    });
    for _ in 0..1000 {
        rig.tick(1000);
    }
    assert_eq!(
        rig.take()
            .iter()
            .filter(|action| !matches!(action, Action::Rewind { .. }))
            .count(),
        1,
        "drained, once"
    );
    assert!(rig.writes.is_empty());
    // A source that says it has something and has nothing costs one empty batch, not one after the other.
    rig.ready().seal_next(0, More::Ready);
    assert!(rig.live_txids().is_empty());
    assert_eq!(rig.writes.len(), 1);
}

#[test]
fn a_stop_without_drain_seals_what_is_in_flight_and_issues_nothing_more() {
    let mut rig = Rig::new(settings());
    rig.fill().on(Event::Stop { drain: false });
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.ack_all(&attempts);
    rig.apply().apply();
    assert_eq!(
        (rig.sealed(), rig.core.phase()),
        (4, Phase::Running),
        "the workers are still told"
    );
    rig.noted();
    assert_eq!(rig.take().pop(), Some(Action::Stopped));
}

#[test]
fn a_stop_without_drain_drops_what_fails_and_keeps_what_is_before_it() {
    let mut rig = Rig::new(settings());
    rig.fill().on(Event::Stop { drain: false }).take();
    let attempts: Vec<_> = rig.core.in_flight().collect();
    rig.fail(attempts[1], CauseKind::User);
    assert_eq!(rig.live_txids(), [1]);
    assert_eq!(rig.replayed().len(), 3);
    rig.ack(attempts[0]).apply().noted();
    assert_eq!((rig.sealed(), rig.core.phase()), (1, Phase::Over));
}

#[test]
fn a_stop_with_drain_reads_to_the_end_first() {
    let mut rig = Rig::new(settings());
    rig.ready().on(Event::Stop { drain: true });
    rig.seal_next(5, More::Ready)
        .seal_next(5, More::Ready)
        .seal_next(5, More::Exhausted);
    assert_eq!(rig.core.phase(), Phase::Running);
    rig.noted();
    let last = rig.take();
    assert_eq!(last[last.len() - 2..], [Action::Drained, Action::Stopped]);
    assert_eq!(rig.sealed(), 3);
}

#[test]
fn a_stop_with_drain_replays_what_fails() {
    let mut rig = Rig::new(settings());
    rig.ready().on(Event::Stop { drain: true });
    let first = rig.live(0);
    rig.read(first, 5, More::Exhausted)
        .fail(first, CauseKind::User)
        .rewound()
        .seal_next(5, More::Exhausted)
        .noted();
    assert_eq!((rig.sealed(), rig.core.phase()), (1, Phase::Over));
}

#[test]
fn a_second_stop_may_be_more_urgent_but_not_less() {
    let mut rig = Rig::new(settings());
    rig.on(Event::Stop { drain: true });
    assert_eq!(
        rig.core.phase(),
        Phase::Running,
        "the source has not spoken"
    );
    rig.on(Event::Stop { drain: false });
    assert_eq!(rig.core.phase(), Phase::Over);
    let mut rig = Rig::new(settings());
    rig.fill()
        .on(Event::Stop { drain: false })
        .on(Event::Stop { drain: true })
        .tick(2000)
        .tick(2000);
    assert_eq!(rig.core.phase(), Phase::Over);
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_ledger_that_is_away() {
    let mut rig = Rig::new(settings());
    rig.fill();
    let first = rig.live(0);
    rig.ack(first).on(Event::Stop { drain: false });
    rig.outcome(WriteOutcome::Unknown("no quorum".into()))
        .tick(999);
    assert_eq!(rig.core.phase(), Phase::Running);
    rig.write = None;
    rig.tick(1);
    assert_eq!(rig.take().pop(), Some(Action::Stopped));
}

#[test]
fn a_stop_before_or_during_the_first_rewind_ends_at_once() {
    let mut core = Coordinator::new(settings()).unwrap();
    assert_eq!(
        core.step(Event::Stop { drain: false }).actions,
        [Action::Stopped]
    );
    let mut core = Coordinator::new(settings()).unwrap();
    let _ = core.step(Event::Fenced {
        record: Box::new(fence(1)),
        version: Version(1),
    });
    assert_eq!(
        core.step(Event::Stop { drain: false }).actions,
        [Action::Stopped]
    );
    assert_eq!(core.step(Event::Stop { drain: false }), Step::default());
}

#[test]
fn a_ledger_that_fails_or_is_gone_halts_with_what_it_said() {
    let acked = || {
        let mut rig = Rig::new(settings());
        rig.fill();
        let first = rig.live(0);
        rig.ack(first);
        rig
    };
    let error = crate::Error::TooLarge { bytes: 9, limit: 8 };
    let mut rig = acked();
    rig.outcome(WriteOutcome::Failed(error.clone()));
    assert_eq!(rig.halted(), HaltReason::Ledger(error));
    let mut rig = acked();
    rig.outcome(WriteOutcome::Refused { current: None });
    assert_eq!(rig.halted(), HaltReason::LedgerGone);
    let mut rig = acked();
    rig.outcome(WriteOutcome::Applied(Version(7)));
    assert!(matches!(
        rig.halted(),
        HaltReason::Ledger(crate::Error::Contract { .. })
    ));
}

#[test]
fn a_spout_that_does_not_exist_is_the_shells_fault() {
    let mut rig = Rig::new(settings());
    let generation = rig.core.generation();
    rig.on(Event::Ready {
        spout: 1,
        generation,
    });
    assert!(matches!(rig.halted(), HaltReason::Protocol(_)));
}
