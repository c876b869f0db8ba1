//! Failures, deadlines and rewinds: everything unsealed is dropped, everywhere, and issued anew.

use super::{Coordinator, Phase};
use crate::action::{Action, Step};
use crate::cause::{Cause, CauseKind, Failure, Skip};
use crate::event::More;
use crate::halt::HaltReason;
use crate::ledger::{LedgerRecord, Version};
use crate::settings::{Micros, OnPoison, WorkerId};
use crate::{Attempt, Generation};

/// What a failure of the lowest failed batch leads to.
enum Verdict {
    /// Everything unsealed is issued anew.
    Replay,
    /// The batch can never be sealed.
    End(Box<HaltReason>),
}

impl Coordinator {
    /// The term begins: the ledger is fenced, now everyone is told (I3: in this order).
    pub(super) fn on_fenced(&mut self, record: LedgerRecord, version: Version, step: &mut Step) {
        if self.phase != Phase::Unfenced {
            return;
        }
        if record.topology != self.settings.topology {
            let what = format!(
                "the ledger is of topology {:?}, the settings of {:?}",
                record.topology, self.settings.topology
            );
            return self.halt(HaltReason::Protocol(what), step);
        }
        // Attempts are never reused: the epoch is new by the fence, and the number grows with each rewind from here.
        self.generation = Generation {
            epoch: record.epoch,
            number: 0,
        };
        self.record = record;
        self.version = version;
        self.rewind(None, step);
    }

    pub(super) fn on_tick(&mut self, now: Micros, wall_ms: u64, step: &mut Step) {
        self.now = self.now.max(now);
        self.wall_ms = wall_ms;
        // A source that has never said how it stands has perhaps not heard.
        let unheard = self.live.is_empty() && self.sources.contains(&None);
        if self.phase == Phase::Rewinding || self.phase == Phase::Running && unheard {
            self.tell_rewind_again(step);
        }
        self.seal_again(step);
        self.check_deadline();
    }

    /// Fails the oldest batch that is not acknowledged if it shows no sign of life.
    ///
    /// Only that one: the others may be waiting for it. And not while a write is outstanding: a ledger that is away pauses everything.
    fn check_deadline(&mut self) {
        if self.outstanding.is_some() || self.phase != Phase::Running {
            return;
        }
        let Some(batch) = self.live.iter().find(|batch| !batch.is_ready()) else {
            return;
        };
        let quiet = self.now.since(batch.progress.max(self.head_since));
        // A spout may wait for records for as long as a batch may take, and shows no sign of life meanwhile.
        let reading = batch.reads.iter().any(Option::is_none);
        let filling = if reading { batch.filling_ms } else { 0 };
        if quiet < self.timeout().after(Micros::from_ms(filling)) {
            return;
        }
        let missing = batch
            .reads
            .iter()
            .zip(&self.settings.spouts)
            .filter(|(read, _)| read.is_none());
        let missing: Vec<_> = missing
            .map(|(_, spout)| format!("{:?}", spout.name))
            .collect();
        let what = if missing.is_empty() {
            "all spouts had read it; something is still being processed or prepared, or was lost"
                .to_owned()
        } else {
            format!("not read yet by spout {}", missing.join(", "))
        };
        let cause = Cause::new(
            CauseKind::Timeout,
            format!("no progress for {} ms: {what}", quiet.ms()),
        );
        self.on_failed(batch.attempt, cause);
    }

    /// Notes a failure; it is acted upon by [`Coordinator::judge`], when no write is outstanding.
    pub(super) fn on_failed(&mut self, attempt: Attempt, cause: Cause) {
        // Storm's first flaw was to act before this comparison.
        if self.live_index(attempt).is_none() {
            return;
        }
        self.failed
            .entry(attempt.txid)
            .or_insert(Failure { attempt, cause });
    }

    pub(super) fn on_restarted(&mut self, worker: WorkerId, cause: Cause) {
        // During a rewind it needs a new one too: its answer to this one may be from before it restarted.
        if self.phase != Phase::Unfenced && self.settings.workers.contains(&worker) {
            self.restarted.get_or_insert(cause);
        }
    }

    /// Acts upon the lowest failure. By now whatever was ready below it is sealed.
    pub(super) fn judge(&mut self, step: &mut Step) {
        assert!(
            self.outstanding.is_none(),
            "while a write is outstanding nothing is dropped"
        );
        if let Some((_, failure)) = self.failed.pop_first() {
            match self.verdict(&failure) {
                Verdict::End(reason) => self.end_at(failure.attempt.txid, *reason),
                Verdict::Replay if self.stop.as_ref().is_some_and(|stop| !stop.drain) => {
                    self.give_up(failure, step)
                }
                Verdict::Replay => self.rewind(Some(failure), step),
            }
        }
        if let Some(cause) = self.restarted.take() {
            let head = self.live.front().map(|batch| Failure {
                attempt: batch.attempt,
                cause,
            });
            self.rewind(head, step);
        }
    }

    /// Counts a failure and says what follows from it.
    fn verdict(&mut self, failure: &Failure) -> Verdict {
        let Failure { attempt, cause } = failure;
        if cause.permanent {
            return Verdict::End(Box::new(HaltReason::Permanent(failure.clone())));
        }
        let careful = self
            .live_index(*attempt)
            .is_some_and(|index| self.live[index].careful);
        let Some(tries) = self.tries.get_mut(&attempt.txid) else {
            return Verdict::Replay;
        };
        if !cause.kind.counts() {
            return Verdict::Replay;
        }
        tries.strikes += 1;
        if !careful {
            tries.careful |= tries.strikes >= self.settings.max_attempts;
            return Verdict::Replay;
        }
        match &cause.origin {
            // One that fails although it was to be left out would fail for ever.
            Some(origin)
                if self.settings.on_poison == OnPoison::DeadLetter
                    && !tries.skip.iter().any(|skip| skip.origin == **origin) =>
            {
                let origin = origin.clone();
                tries.skip.push(Skip {
                    origin: *origin,
                    cause: cause.message.clone(),
                });
                Verdict::Replay
            }
            _ => Verdict::End(Box::new(HaltReason::Poison {
                failure: failure.clone(),
                attempts: tries.attempts,
            })),
        }
    }

    /// Drops everything unsealed and tells everyone. `failure` is why; every other batch in flight is dropped with it.
    pub(super) fn rewind(&mut self, failure: Option<Failure>, step: &mut Step) {
        assert!(
            self.outstanding.is_none(),
            "while a write is outstanding nothing is rewound"
        );
        let why = failure.as_ref().map(ToString::to_string);
        if let Some(failure) = failure {
            self.failed.insert(failure.attempt.txid, failure);
        }
        for batch in std::mem::take(&mut self.live) {
            self.acker.forget(&batch.attempt);
            for (spout, more) in self.sources.iter_mut().enumerate() {
                // What it gave is there to be read again.
                if batch.took_from(spout) {
                    *more = Some(More::Ready);
                }
            }
            if let Some(why) = &why {
                self.tell_failed(batch.attempt, why, step);
            }
        }
        self.failed.clear();
        self.restarted = None;
        self.tip = self.record.positions.clone();
        self.generation.number += 1;
        self.rewound.clear();
        self.drained = false;
        self.phase = Phase::Rewinding;
        self.tell_rewind(step);
    }

    /// Every failed attempt is told, and kept for the batch's report: with its own cause, or with that of the one that it is dropped with.
    pub(super) fn tell_failed(&mut self, attempt: Attempt, why: &str, step: &mut Step) {
        let own = self.failed.remove(&attempt.txid);
        let failure = own.unwrap_or_else(|| Failure {
            attempt,
            cause: Cause::new(CauseKind::Dropped, format!("with another: {why}")),
        });
        if let Some(tries) = self.tries.get_mut(&failure.attempt.txid) {
            tries.note(failure.clone());
        }
        step.actions.push(Action::Replayed(failure));
    }

    pub(super) fn tell_rewind_again(&mut self, step: &mut Step) {
        if self.now >= self.rewind_again {
            self.tell_rewind(step);
        }
    }

    fn tell_rewind(&mut self, step: &mut Step) {
        self.rewind_again = self.now.after(self.retry());
        step.actions.push(Action::Rewind {
            generation: self.generation,
            sealed: self.record.sealed,
            positions: self.record.positions.clone(),
        });
    }

    pub(super) fn on_rewound(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        outcome: Result<(), String>,
        step: &mut Step,
    ) {
        if generation != self.generation
            || self.phase != Phase::Rewinding
            || !self.settings.workers.contains(&worker)
        {
            return;
        }
        match outcome {
            Ok(()) => {
                self.rewound.insert(worker);
                // A rewind names what is sealed, so it is as good as the announcements.
                self.seals
                    .note(worker, self.record.txid(), &self.settings.workers);
            }
            Err(message) => self.halt(HaltReason::Worker { worker, message }, step),
        }
    }

    /// Batches may run once every worker has carried the rewind out.
    pub(super) fn finish_rewind(&mut self) {
        if self.phase == Phase::Rewinding && self.rewound.len() == self.settings.workers.len() {
            self.phase = Phase::Running;
            self.head_since = self.now;
        }
    }
}
