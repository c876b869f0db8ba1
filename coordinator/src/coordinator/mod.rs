//! The coordinator's core: one event in, at most one ledger write and some actions out.
//!
//! The files beside hold its parts: `live` what it remembers of a batch, `issue` from readiness to what was read, `seal` from acknowledged to
//! announced, `recover` failures and rewinds, `end` how a term ends.

mod end;
mod issue;
mod live;
mod recover;
mod seal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::acker::Acker;
use crate::action::{Action, Step};
use crate::cause::{Cause, Failure};
use crate::error::Result;
use crate::event::{Event, More};
use crate::ledger::{LedgerRecord, Version};
use crate::position::Positions;
use crate::settings::{Micros, Settings, WorkerId};
use crate::{Attempt, Generation, TxId};

use end::{End, Stopping};
use live::{Live, Tries};
use seal::{Outstanding, Seals};

/// How far a term is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waits for [`Event::Fenced`].
    Unfenced,
    /// Waits until every worker has carried the newest rewind out.
    Rewinding,
    /// Batches are in flight, or could be.
    Running,
    /// Stopped or halted.
    Over,
}

/// One term's decisions; see the [crate] and [`Event`], [`Step`].
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Settings,
    phase: Phase,
    now: Micros,
    wall_ms: u64,

    /// The ledger's record as this term last wrote it, and its version.
    record: LedgerRecord,
    version: Version,
    outstanding: Option<Outstanding>,
    seals: Seals,

    generation: Generation,
    /// Workers that have carried the newest rewind out.
    rewound: BTreeSet<WorkerId>,
    /// When the newest rewind is told again.
    rewind_again: Micros,

    /// The batches in flight: consecutive, from the first unsealed.
    live: VecDeque<Live>,
    /// What is remembered of unsealed batches over their attempts.
    tries: BTreeMap<TxId, Tries>,
    /// Where reading stands: the sealed positions and every reported read of a live batch.
    tip: Positions,
    /// How each spout's source stands, as far as it said since the first rewind.
    sources: Vec<Option<More>>,
    acker: Acker<Attempt>,
    /// When the oldest batch that is not acknowledged became that: its deadline counts from there, or from its own progress.
    head_since: Micros,

    /// The first failure of each live attempt that has failed and is still to be acted upon.
    failed: BTreeMap<TxId, Failure>,
    /// A worker restarted, which is still to be acted upon.
    restarted: Option<Cause>,

    paused: bool,
    drained: bool,
    stop: Option<Stopping>,
    /// The batch that cannot be sealed: all below it are, then the term halts.
    end: Option<End>,
}

impl Coordinator {
    /// A coordinator for one term; it does nothing before [`Event::Fenced`].
    ///
    /// # Errors
    ///
    /// [`crate::Error::Settings`] names what nothing can run with.
    pub fn new(settings: Settings) -> Result<Coordinator> {
        settings.validate()?;
        Ok(Coordinator {
            phase: Phase::Unfenced,
            now: Micros::default(),
            wall_ms: 0,
            record: LedgerRecord::default(),
            version: Version::ABSENT,
            outstanding: None,
            seals: Seals::default(),
            generation: Generation::ZERO,
            rewound: BTreeSet::new(),
            rewind_again: Micros::default(),
            live: VecDeque::new(),
            tries: BTreeMap::new(),
            tip: Positions::default(),
            sources: vec![None; settings.spouts.len()],
            acker: Acker::new(0),
            head_since: Micros::default(),
            failed: BTreeMap::new(),
            restarted: None,
            paused: false,
            drained: false,
            stop: None,
            end: None,
            settings,
        })
    }

    /// Takes one event in and says what to record and what to do.
    pub fn step(&mut self, event: Event) -> Step {
        let mut step = Step::default();
        if self.phase == Phase::Over {
            return step;
        }
        match event {
            Event::Tick { now, wall_ms } => self.on_tick(now, wall_ms, &mut step),
            Event::Fenced { record, version } => self.on_fenced(*record, version, &mut step),
            Event::Rewound {
                worker,
                generation,
                outcome,
            } => self.on_rewound(worker, generation, outcome, &mut step),
            Event::Restarted { worker, cause } => self.on_restarted(worker, cause),
            Event::Ready { spout, generation } => {
                self.on_source(spout, generation, More::Ready, &mut step)
            }
            Event::Waiting { spout, generation } => {
                self.on_source(spout, generation, More::Waiting, &mut step)
            }
            Event::Exhausted { spout, generation } => {
                self.on_source(spout, generation, More::Exhausted, &mut step)
            }
            Event::Read {
                attempt,
                spout,
                report,
                xor,
            } => self.on_read(attempt, spout, report, xor, &mut step),
            Event::Ack { attempt, xor } => self.on_ack(attempt, xor),
            Event::Failed { attempt, cause } => self.on_failed(attempt, cause),
            Event::Ledger { expected, outcome } => self.on_ledger(expected, outcome, &mut step),
            Event::SealAcked { worker, txid } => self.on_seal_acked(worker, txid),
            Event::Stop { drain } => self.on_stop(drain),
            Event::Pause => self.paused = true,
            Event::Resume => self.paused = false,
            Event::SetLimits(limits) => self.settings.limits = limits,
            Event::SetMaxPending(max) => self.settings.max_pending = max.max(1),
            Event::SetTimeout { timeout_ms } => self.settings.timeout_ms = timeout_ms.max(1),
        }
        self.advance(&mut step);
        step
    }

    /// How far the term is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The newest sealed attempt.
    #[must_use]
    pub fn sealed(&self) -> Option<Attempt> {
        self.record.sealed
    }

    /// The ledger's record as this term last knew it to be written, and its version.
    #[must_use]
    pub fn record(&self) -> (&LedgerRecord, Version) {
        (&self.record, self.version)
    }

    /// The newest rewind.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The attempts in flight, in order.
    pub fn in_flight(&self) -> impl Iterator<Item = Attempt> {
        self.live.iter().map(|batch| batch.attempt)
    }

    /// The settings as they are now.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Does whatever has become possible, in the order of its urgency: what is ready is sealed before anything is dropped, and nothing
    /// is dropped while a write is outstanding, since that write may have sealed it.
    fn advance(&mut self, step: &mut Step) {
        if self.phase == Phase::Over {
            return;
        }
        self.finish_rewind();
        self.seal_ready(step);
        if self.outstanding.is_none() {
            self.judge(step);
        }
        if self.finish(step) {
            return;
        }
        self.issue(step);
        self.tell_drained(step);
        self.check();
    }

    /// Ends the term at once.
    fn halt(&mut self, reason: crate::HaltReason, step: &mut Step) {
        self.phase = Phase::Over;
        step.actions.push(Action::Halt(reason));
    }

    /// The live batch of exactly this attempt (I6: what carries any other attempt is ignored).
    fn live_index(&self, attempt: Attempt) -> Option<usize> {
        let first = self.live.front()?.attempt.txid;
        let index = usize::try_from(attempt.txid.0.checked_sub(first.0)?).ok()?;
        (self.live.get(index)?.attempt == attempt).then_some(index)
    }

    /// The batch that would be issued next.
    fn next_txid(&self) -> TxId {
        self.live
            .back()
            .map_or_else(|| self.record.txid(), |batch| batch.attempt.txid)
            .next()
    }

    fn timeout(&self) -> Micros {
        Micros::from_ms(self.settings.timeout_ms)
    }

    fn retry(&self) -> Micros {
        Micros::from_ms(self.settings.retry_ms)
    }

    /// The invariants of what is in flight, after every step.
    fn check(&self) {
        let mut base = self.record.sealed;
        for batch in &self.live {
            assert_eq!(
                batch.attempt.txid,
                base.map_or(TxId::ZERO, |base| base.txid).next(),
                "I1: batches in flight follow the sealed one without gaps"
            );
            assert_eq!(
                batch.base, base,
                "a batch in flight builds on the live attempt before it"
            );
            assert_eq!(
                batch.attempt.generation, self.generation,
                "I6: a new attempt of one is a new attempt of all after it"
            );
            base = Some(batch.attempt);
        }
        assert!(
            self.live.is_empty() || self.phase == Phase::Running,
            "nothing is in flight before the rewind is carried out everywhere"
        );
        if let Some(outstanding) = &self.outstanding {
            let ready = self
                .live
                .iter()
                .take(outstanding.batches)
                .filter(|batch| batch.is_ready())
                .count();
            assert_eq!(
                ready, outstanding.batches,
                "what is being sealed stays in flight until the write is settled"
            );
        }
    }
}
