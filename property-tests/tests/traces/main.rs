//! Method: scripted traces. An explorer of the protocol's states broke one rule after the other and found, for each, a shortest trace that
//! ends in wrong data. Here each is led through the real coordinator, the real stores and a real ledger: what is wrong must be
//! refused or harmless, and the world must then come to its end.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod world;

use fulmar::coordinator::{Action, Event, Phase, WriteOutcome};
use fulmar::state::{Generation, RewindOutcome, SealOutcome, StateError, TxId};
use world::World;

/// Explorer: `seal_early`. One worker has batch 1, and the other not yet.
#[test]
fn i2_no_seal_is_written_before_the_last_worker_has_prepared() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    world.ack(core, 0, first);
    assert!(world.write_of(core).is_none());
    world.finish(core);
}

/// Explorer: `ack_unsynced`. A worker that crashed before it had the batch durably must not count as one that has it.
#[test]
fn a_worker_that_crashes_before_it_has_prepared_does_not_have_the_batch() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    world.ack(core, 0, first);
    world.crash(core, 1);
    assert_eq!(world.store(1).newest(), TxId::ZERO);
    assert!(world.write_of(core).is_none());
    let again = world.live(core);
    assert!(
        again.is_none_or(|again| again != first),
        "what was lost is not taken for empty"
    );
    world.finish(core);
}

/// Explorer: `skip_empty`. A lost share is never an empty share: whoever restarts in a batch has nothing for it, and all is issued anew.
#[test]
fn a_lost_share_is_never_an_empty_share() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.crash(core, 0);
    world.prepare(1, first).unwrap();
    world.ack(core, 1, first);
    assert!(world.write_of(core).is_none());
    world.rewind_all(core);
    let again = world.issue(core);
    assert!(again.generation > first.generation);
    // The old shares come after all.
    let late = world.prepare(0, first);
    assert!(matches!(late, Err(StateError::Fenced { .. })), "{late:?}");
    world.finish(core);
}

/// Explorer: `ack_txid`. What was said of an attempt says nothing of the next one.
#[test]
fn attempts_are_compared_and_never_txids_alone_when_a_late_ack_arrives() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    for worker in [0, 1] {
        world.prepare(worker, first).unwrap();
    }
    world.fail(core, first);
    world.rewind_all(core);
    let second = world.issue(core);
    assert_eq!(first.txid, second.txid);
    for worker in [0, 1] {
        world.ack(core, worker, first);
    }
    assert!(world.write_of(core).is_none());
    world.finish(core);
    assert_eq!(world.sealed()[0].0, second);
}

/// Explorer: `rerun_rewind`. A rewind that comes again must not drop what was prepared since.
#[test]
fn a_rewind_that_comes_again_drops_nothing() {
    let mut world = World::new();
    let core = world.take_over();
    let (first, rewind) = (world.issue(core), world.rewind_of(core));
    world.prepare(0, first).unwrap();
    world.ack(core, 0, first);
    assert_eq!(world.rewind(core, 0, rewind), Ok(RewindOutcome::Again));
    assert_eq!(world.store(0).newest(), TxId(1));
    world.prepare(1, first).unwrap();
    world.ack(core, 1, first);
    world.apply(core);
    world.finish(core);
    assert_eq!(world.sealed()[0].0, first);
}

/// Explorer: `forget_hi`. The same, and the worker has crashed in between: what it heard is durable.
#[test]
fn a_rewind_that_comes_again_after_a_crash_drops_nothing() {
    let mut world = World::new();
    let core = world.take_over();
    let (first, rewind) = (world.issue(core), world.rewind_of(core));
    world.prepare(0, first).unwrap();
    world.ack(core, 0, first);
    world.crash_unheard(0);
    assert_eq!(world.rewind(core, 0, rewind), Ok(RewindOutcome::Again));
    assert_eq!(world.store(0).newest(), TxId(1));
    world.prepare(1, first).unwrap();
    world.ack(core, 1, first);
    world.apply(core);
    world.finish(core);
}

/// Explorer: `same_epoch_no_k`, `forget_k`. Rewinds are numbered within an epoch, and the number survives a crash.
#[test]
fn rewinds_are_numbered_within_an_epoch_and_an_older_one_is_refused_after_a_crash_too() {
    let mut world = World::new();
    let core = world.take_over();
    let (first, older) = (world.issue(core), world.rewind_of(core));
    world.fail(core, first);
    assert_eq!(world.rewind_of(core).generation, Generation::new(1, 2));
    world.rewind_all(core);
    let second = world.issue(core);
    for worker in [0, 1] {
        world.prepare(worker, second).unwrap();
    }
    world.crash_unheard(0);
    let highest = Generation::new(1, 2);
    assert_eq!(
        world.rewind(core, 0, older),
        Ok(RewindOutcome::Older { highest })
    );
    assert_eq!(world.store(0).newest(), TxId(1));
    world.finish(core);
}

/// Explorer: `lazy_hi`. The epoch is durable before the rewind is answered, not only with the next entry.
#[test]
fn a_worker_that_has_heard_of_an_epoch_refuses_the_older_one_after_a_crash_with_an_empty_log() {
    let mut world = World::new();
    let old = world.take_over();
    let (late, rewind) = (world.issue(old), world.rewind_of(old));
    let new = world.take_over();
    world.crash_unheard(0);
    let highest = world.rewind_of(new).generation;
    assert_eq!(
        world.rewind(old, 0, rewind),
        Ok(RewindOutcome::Older { highest })
    );
    let refused = world.prepare(0, late);
    assert!(
        matches!(
            refused,
            Err(StateError::Fenced { .. } | StateError::NotRewound { .. })
        ),
        "{refused:?}"
    );
    world.finish(new);
}

/// Explorer: `no_rewind_needed`. A batch of a newer number is not taken before its rewind: it would stand on what that drops.
#[test]
fn a_batch_is_taken_only_of_exactly_the_highest_generation() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    world.fail(core, first);
    let rewind = world.rewind_of(core);
    let _ = world.rewind(core, 1, rewind).unwrap();
    // Worker 0 has not heard of it, when a batch of it comes.
    let refused = world.append(0, TxId(2), rewind.generation, first);
    assert!(
        matches!(refused, Err(StateError::Fenced { .. })),
        "{refused:?}"
    );
    world.finish(core);
}

/// Explorer: `lazy_drop`. A rewind drops the log entries, not only the layers: after a crash they must not come back.
#[test]
fn what_a_rewind_drops_is_durably_gone_and_nothing_is_built_on_it() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    world.fail(core, first);
    world.rewind_all(core);
    let generation = world.rewind_of(core).generation;
    world.crash_unheard(0);
    let rewind = world.rewind_of(core);
    assert_eq!(world.rewind(core, 0, rewind), Ok(RewindOutcome::Again));
    assert_eq!(world.store(0).newest(), TxId::ZERO);
    let refused = world.append(0, TxId(2), generation, first);
    assert!(
        matches!(refused, Err(StateError::OutOfOrder { .. })),
        "{refused:?}"
    );
    world.finish(core);
}

/// Explorer: `act_in_seal`. While a seal is on its way nothing is rewound, whatever is said against its batch.
#[test]
fn while_a_seal_is_on_its_way_nothing_is_rewound() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.prepared_everywhere(core);
    let before = world.rewind_of(core);
    assert!(world.write_of(core).is_some());
    world.fail(core, first);
    world.tick(core, 10_000);
    assert_eq!(
        world.rewind_of(core),
        before,
        "no rewind that drops what may be sealed"
    );
    world.apply(core);
    world.finish(core);
    assert_eq!(world.sealed()[0].0, first);
}

/// Explorer: `settle_by_read`. "The version is unchanged" is not "not applied": the write may still be on its way.
#[test]
fn a_write_of_unknown_outcome_is_settled_by_a_write_and_not_by_a_read() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.prepared_everywhere(core);
    let (before, write) = (world.rewind_of(core), world.write_of(core).unwrap());
    world.outcome(core, WriteOutcome::Unknown("connection lost".into()));
    // Someone looks, and finds the old version.
    let stale = world.ledger.peek().map(Box::new);
    world.fail(core, first);
    world.tick(core, 10_000);
    world.outcome(core, WriteOutcome::Refused { current: stale });
    world.tick(core, 10_000);
    assert_eq!(world.rewind_of(core), before);
    assert_eq!(
        world.write_of(core),
        Some(write),
        "the same is sent again, and nothing else"
    );
    // The first one arrives now; the second finds it.
    world.apply_late(core);
    let outcome = world.apply_unheard(core);
    assert!(
        matches!(outcome, WriteOutcome::Refused { .. }),
        "{outcome:?}"
    );
    world.outcome(core, outcome);
    world.finish(core);
    assert_eq!(world.sealed()[0].0, first);
}

/// Explorer: `seal_skip`. A seal hangs on the version, not on the epoch: applied late and again, it takes nothing back.
#[test]
fn a_seal_that_arrives_again_after_the_next_one_takes_nothing_back() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.prepared_everywhere(core);
    world.apply(core);
    let second = world.prepared_everywhere(core);
    world.apply(core);
    let again = world.apply_late(core);
    assert!(matches!(again, WriteOutcome::Refused { .. }), "{again:?}");
    assert_eq!(
        world
            .sealed()
            .iter()
            .map(|sealed| sealed.0)
            .collect::<Vec<_>>(),
        [first, second]
    );
}

/// Explorer: `notice_early`. Only a known seal is announced, and a worker shows only the durable attempt that it names.
#[test]
fn only_a_known_seal_is_announced_and_only_the_attempt_it_names_is_shown() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    world.fail(core, first);
    world.rewind_all(core);
    let second = world.prepared_everywhere(core);
    world.outcome(core, WriteOutcome::Unknown("connection lost".into()));
    let announced = |action: &Action| matches!(action, Action::Announce { .. });
    assert!(!world.told(core).iter().any(announced));
    assert_eq!(world.store(0).seal(first), SealOutcome::NotMine);
    world.tick(core, 10_000);
    world.apply(core);
    assert!(
        world
            .told(core)
            .contains(&Action::Announce { attempt: second })
    );
    world.finish(core);
}

/// Explorer: `show_prepared`. What a worker finds prepared after a crash is nothing to be shown until it is told.
#[test]
fn a_restarted_worker_shows_nothing_until_it_is_told_what_is_sealed() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.prepared_everywhere(core);
    world.crash_unheard(0);
    assert_eq!(
        (world.store(0).sealed(), world.store(0).newest()),
        (None, TxId(1))
    );
    assert_eq!(world.store(0).seal(first), SealOutcome::NotMine);
    world.finish(core);
}

/// Explorer: `fold_unsealed`. What is folded cannot be taken back.
#[test]
fn what_is_not_sealed_is_not_folded() {
    let mut world = World::new();
    let core = world.take_over();
    world.prepared_everywhere(core);
    let refused = world.store(0).fold(TxId(1), &[]).err();
    assert!(
        matches!(refused, Some(StateError::OutOfOrder { .. })),
        "{refused:?}"
    );
    world.finish(core);
}

/// Explorer: `fence_late`. A candidate tells the workers nothing before its fence is known to be applied.
#[test]
fn a_candidate_whose_fence_is_not_applied_reaches_no_worker() {
    let mut world = World::new();
    let core = world.take_over();
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    world.ack(core, 0, first);
    let (candidate, fence) = world.candidate();
    world.tick(candidate, 10_000);
    assert!(world.told(candidate).is_empty());
    world.prepare(1, first).unwrap();
    world.ack(core, 1, first);
    world.apply(core);
    // Its fence comes too late for the version it was made for.
    assert!(matches!(
        world.try_fence(candidate, &fence),
        WriteOutcome::Refused { .. }
    ));
    assert!(world.told(candidate).is_empty());
    world.finish(core);
}

/// Explorer: `no_owner`. Two candidates try the same epoch; reading back "my epoch, my version" is not enough.
#[test]
fn of_two_candidates_for_one_epoch_the_record_names_the_writer() {
    let mut world = World::new();
    let (one, mine) = world.candidate();
    let (other, theirs) = world.candidate();
    assert_eq!(
        (mine.record.epoch, mine.expected),
        (theirs.record.epoch, theirs.expected)
    );
    assert_ne!(mine.record.writer, theirs.record.writer);
    // The one's outcome is unknown, the other's is applied: sent again, the one's must not be taken for it.
    assert!(matches!(
        world.try_fence(other, &theirs),
        WriteOutcome::Applied(_)
    ));
    assert!(matches!(
        world.try_fence(one, &mine),
        WriteOutcome::Refused { .. }
    ));
    assert!(world.told(one).is_empty(), "it has not won");
    world.rewind_all(other);
    world.finish(other);
}

/// A zombie: the older coordinator seals nothing after the fence of the newer, and its batches reach no worker.
#[test]
fn an_older_coordinator_seals_nothing_once_it_is_fenced() {
    let mut world = World::new();
    let old = world.take_over();
    let first = world.prepared_everywhere(old);
    let new = world.take_over();
    assert!(matches!(
        world.apply_unheard(old),
        WriteOutcome::Refused { .. }
    ));
    world.apply(old);
    assert_eq!(world.core(old).phase(), Phase::Over);
    let refused = world.prepare(0, first);
    assert!(
        matches!(refused, Err(StateError::Fenced { .. })),
        "{refused:?}"
    );
    world.finish(new);
    assert!(
        world
            .sealed()
            .iter()
            .all(|(attempt, _)| attempt.generation > first.generation)
    );
}

/// A coordinator dies between seal and notice: the next one's rewind mends it.
#[test]
fn a_death_between_seal_and_notice_is_mended_by_the_next_rewind() {
    let mut world = World::new();
    let old = world.take_over();
    let first = world.prepared_everywhere(old);
    assert!(matches!(world.apply_unheard(old), WriteOutcome::Applied(_)));
    let new = world.take_over();
    assert_eq!(world.rewind_of(new).sealed, Some(first));
    assert_eq!(world.store(0).sealed(), Some(first));
    world.finish(new);
}

/// Explorer: `rs`. An old disk is put back: without the sealed batch, or with another attempt of it. A clear error, nothing else.
#[test]
fn an_old_disk_put_back_is_refused_before_the_take_over_is_answered() {
    let mut world = World::new();
    let core = world.take_over();
    let empty = world.snapshot(0);
    let first = world.issue(core);
    world.prepare(0, first).unwrap();
    let other = world.snapshot(0);
    world.fail(core, first);
    world.rewind_all(core);
    world.prepared_everywhere(core);
    world.apply(core);
    for (disk, lost) in [(empty, true), (other, false)] {
        let good = world.snapshot(0);
        world.put_back(0, disk, true);
        let new = world.take_over_unanswered();
        let rewind = world.rewind_of(new);
        let refused = world.rewind(new, 0, rewind).unwrap_err();
        let right = match refused {
            StateError::LostData { .. } => lost,
            StateError::OtherAttempt { .. } => !lost,
            _ => false,
        };
        assert!(right, "{refused}");
        assert_eq!(
            world.core(new).phase(),
            Phase::Over,
            "the term halts with it"
        );
        world.put_back(0, good, false);
    }
    let new = world.take_over();
    world.finish(new);
}

/// An old ledger is put back: the worker knows a seal that it does not.
#[test]
fn an_old_ledger_put_back_is_refused_by_who_has_published_beyond_it() {
    let mut world = World::new();
    let core = world.take_over();
    let old = world.ledger.peek();
    world.prepared_everywhere(core);
    world.apply(core);
    world.note_all(core);
    world.store(0).publish_done(TxId(1));
    world.store(0).record_published().unwrap();
    world.crash_unheard(0);
    world.forget_sealed(old);
    let new = world.take_over_unanswered();
    let rewind = world.rewind_of(new);
    let refused = world.rewind(new, 0, rewind).unwrap_err();
    assert!(
        matches!(refused, StateError::FoldedBeyond { .. }),
        "{refused}"
    );
}

/// Stopped workers and lost messages: a rewind is repeated until every worker has answered, and then all goes on.
#[test]
fn a_rewind_that_is_lost_is_repeated() {
    let mut world = World::new();
    let core = world.take_over_unanswered();
    let rewind = world.rewind_of(core);
    let _ = world.rewind(core, 0, rewind).unwrap();
    let before = world.told(core).len();
    world.tick(core, 10_000);
    let again = &world.told(core)[before..];
    assert!(
        again.iter().any(|action| matches!(action, Action::Rewind { generation, .. } if *generation == rewind.generation)),
        "{again:?}"
    );
    world.event(core, Event::Resume);
    let _ = world.rewind(core, 1, rewind).unwrap();
    world.finish(core);
}
