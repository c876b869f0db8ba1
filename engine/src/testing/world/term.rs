//! A coordinator's process: a candidate that fences the ledger, then the coordinator of a term.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fulmar_coordinator::{
    Action, CauseKind, Coordinator, Error, Event, HaltReason, Ledger as _, LedgerRecord, Micros,
    OnPoison, Phase as Standing, Retry, Settings, Step, Term as Candidate, Version, WorkerId,
    Write, WriterId, open_term,
};
use fulmar_state::{Epoch, Generation, TxId};
use futures::FutureExt as _;
use futures::future::ready;

use super::super::bug::Bug;
use super::super::ledger::{Answer, Counter, Request};
use super::super::links::{Actor, Mail, TERMS};
use super::super::oracle::{Attempts, Broken};
use super::super::plan::Promise;
use super::super::report::Phase;
use super::World;
use super::process::limits;
use crate::message::{ToRecorder, ToSource};

/// How often a coordinator hears the time when nothing else happens, in microseconds.
const TICK: u64 = 20_000;

/// How often a fence of unknown outcome is sent again.
const FENCES: u32 = 8;

/// After so long without a sign of life an attempt is given up, in milliseconds.
const TIMEOUT_MS: u64 = 400;

type Fenced = Result<(LedgerRecord, Version), Error>;

enum Stage {
    /// Fences the ledger.
    Opening(Pin<Box<dyn Future<Output = Fenced> + Send>>, Counter),
    Running(Box<Coordinator>),
}

pub(super) struct Term {
    stage: Stage,
    settings: Settings,
    epoch: Epoch,
    /// Its newest rewind.
    generation: Generation,
    heard_time: u64,
    pub(super) next_tick: u64,
    /// Until then it stands still.
    pub(super) frozen: u64,
    /// Its session with the ledger has ended.
    pub(super) expired: bool,
    /// When it hears of that.
    pub(super) deposed: u64,
    drained: bool,
    /// A seal is on its way.
    sealing: bool,
}

impl Term {
    pub(super) fn is_drained(&self) -> bool {
        match &self.stage {
            Stage::Running(core) => self.drained && core.in_flight().next().is_none(),
            Stage::Opening(..) => false,
        }
    }

    /// What it is doing.
    pub(super) fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Opening(..) => Phase::Opening,
            Stage::Running(core) if core.phase() == Standing::Rewinding => Phase::Rewinding,
            Stage::Running(_) if self.sealing => Phase::Sealing,
            Stage::Running(core) if core.in_flight().next().is_some() => Phase::Flying,
            Stage::Running(_) => Phase::Idle,
        }
    }

    /// What it is doing, for messages.
    pub(super) fn standing(&self) -> String {
        match &self.stage {
            Stage::Opening(..) => "fencing the ledger".into(),
            Stage::Running(core) => {
                let flying: Vec<_> = core
                    .in_flight()
                    .map(|attempt| attempt.to_string())
                    .collect();
                format!(
                    "{:?} in epoch {}, in flight {flying:?}",
                    core.phase(),
                    self.epoch
                )
            }
        }
    }
}

impl World {
    /// Starts a coordinator's process: the leader from now on, whatever others go on.
    pub(super) fn start_term(&mut self) -> Result<(), Broken> {
        self.election = super::process::NEVER;
        let free = |slot: &usize| {
            let index = self.cast.index(Actor::Term(*slot));
            self.terms[*slot].is_none() && self.links.load(index) == 0
        };
        let slot = (0..TERMS).find(free).or_else(|| {
            let mut dead = 0..TERMS;
            dead.find(|slot| self.terms[*slot].is_none())
        });
        let slot = slot.unwrap_or_else(|| self.retire());
        self.forget_term(slot);
        self.started += 1;
        let settings = Settings {
            topology: self.candidate.topology.clone(),
            max_pending: self.plan.max_pending,
            max_attempts: self.plan.max_attempts,
            timeout_ms: TIMEOUT_MS,
            retry_ms: 60,
            limits: limits(&self.plan),
            spouts: self.spouts.clone(),
            workers: (0..self.plan.workers)
                .map(|worker| WorkerId(worker.into()))
                .collect(),
            on_poison: OnPoison::DeadLetter,
        };
        let candidate = Candidate {
            writer: WriterId(self.started.into()),
            ..self.candidate.clone()
        };
        let counter = Counter::default();
        let skips = self.plan.bug == Some(Bug::SkipsFence);
        let fencing = Box::pin(fence(counter.clone(), candidate, skips));
        self.terms[slot] = Some(Term {
            stage: Stage::Opening(fencing, counter),
            settings,
            epoch: Epoch(0),
            generation: Generation::ZERO,
            heard_time: 0,
            next_tick: super::process::NEVER,
            frozen: 0,
            expired: false,
            deposed: super::process::NEVER,
            drained: false,
            sealing: false,
        });
        self.leader = Some(slot);
        self.tell(|| format!("coordinator {slot} starts"));
        self.open(slot)
    }

    /// Drops what is still on its way from and to a coordinator that is gone.
    fn forget_term(&mut self, slot: usize) {
        let index = self.cast.index(Actor::Term(slot));
        for other in 0..self.cast.count() {
            self.links.clear(other, index);
            self.links.clear(index, other);
        }
    }

    /// The oldest of the coordinators that lead no more hears of it at last, as all of them would, and leaves its place to another.
    fn retire(&mut self) -> usize {
        let age = |slot: &usize| {
            let epoch = self.terms[*slot].as_ref().map(|term| term.epoch);
            (self.leader == Some(*slot), epoch)
        };
        let oldest = (0..TERMS).min_by_key(age).unwrap_or_default();
        self.end_term(oldest, 0);
        oldest
    }

    /// A coordinator's process is gone; another one is started if it was the leader.
    pub(super) fn end_term(&mut self, slot: usize, down_us: u64) {
        self.terms[slot] = None;
        let index = self.cast.index(Actor::Term(slot));
        (0..self.cast.count()).for_each(|other| self.links.clear(other, index));
        if self.leader == Some(slot) {
            self.leader = None;
            self.election = self.now + down_us;
        }
    }

    /// Goes on with fencing as far as the answers reach.
    fn open(&mut self, slot: usize) -> Result<(), Broken> {
        let Some(Term {
            stage: Stage::Opening(fencing, counter),
            ..
        }) = &mut self.terms[slot]
        else {
            return Ok(());
        };
        let mut context = Context::from_waker(Waker::noop());
        let outcome = fencing.as_mut().poll(&mut context);
        let request = counter.take_request();
        if let Some(request) = request {
            self.ask_ledger(slot, request);
        }
        match outcome {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok((record, version))) => self.begin(slot, record, version),
            Poll::Ready(Err(
                error @ (Error::Fenced { .. }
                | Error::Unreachable { .. }
                | Error::SessionLost { .. }),
            )) => {
                self.tell(|| format!("coordinator {slot}: {error}"));
                let down = 1 + self.random.below(30_000);
                self.end_term(slot, down);
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(format!("the ledger cannot be fenced: {error}")),
        }
    }

    fn begin(&mut self, slot: usize, record: LedgerRecord, version: Version) -> Result<(), Broken> {
        let now = self.now;
        if let Some(term) = &mut self.terms[slot] {
            let core =
                Coordinator::new(term.settings.clone()).map_err(|error| error.to_string())?;
            term.epoch = record.epoch;
            term.stage = Stage::Running(Box::new(core));
            term.next_tick = now + TICK;
            // Of two that started at once, not the later one leads, but the one whose fence holds.
            let held = self.ledger.peek();
            if held.is_some_and(|(held, _)| held.epoch == record.epoch) {
                self.leader = Some(slot);
            }
            self.hear(
                slot,
                Event::Fenced {
                    record: Box::new(record),
                    version,
                },
            )?;
        }
        Ok(())
    }

    fn ask_ledger(&mut self, slot: usize, request: Request) {
        let (from, to) = (Actor::Term(slot), Actor::Ledger);
        let (from, to) = (self.cast.index(from), self.cast.index(to));
        self.links.push(from, to, Mail::Request(request));
    }

    pub(super) fn deliver_to_term(&mut self, slot: usize, mail: Mail) -> Result<(), Broken> {
        let Some(term) = &mut self.terms[slot] else {
            return Ok(());
        };
        match (&mut term.stage, mail) {
            (Stage::Opening(_, counter), Mail::Answer(answer)) => {
                counter.put_answer(answer);
                self.open(slot)
            }
            (Stage::Running(_), Mail::Answer(Answer::Written(expected, outcome))) => {
                term.sealing = false;
                self.hear(slot, Event::Ledger { expected, outcome })
            }
            (Stage::Running(_), Mail::Event(event)) => self.hear(slot, event),
            _ => Ok(()),
        }
    }

    /// A coordinator hears the time, and what has happened.
    fn hear(&mut self, slot: usize, event: Event) -> Result<(), Broken> {
        let (now, wall) = (self.now, self.wall_now());
        let Some(term) = &mut self.terms[slot] else {
            return Ok(());
        };
        let Stage::Running(core) = &mut term.stage else {
            return Ok(());
        };
        let told = Attempts::news(&event, term.epoch);
        let mut ticked = None;
        if now >= term.heard_time + 1_000 || matches!(event, Event::Fenced { .. }) {
            term.heard_time = now;
            let tick = Event::Tick {
                now: Micros(now),
                wall_ms: wall,
            };
            ticked = Some(core.step(tick));
        }
        // The time alone may have failed the batch, whose read then comes too late.
        if let Event::Read { attempt, spout, .. } = &event
            && core.in_flight().any(|live| live == *attempt)
        {
            self.scene.heard(*attempt, *spout);
        }
        if matches!(event, Event::Tick { .. }) {
            return ticked.map_or(Ok(()), |step| self.carry_out(slot, step));
        }
        let live = is_live(&event, term.generation);
        let step = core.step(event);
        if !live && (step.record.is_some() || !step.actions.is_empty()) {
            return Err(format!(
                "I6: a coordinator of generation {} acts upon another attempt's report: {step:?}",
                term.generation
            ));
        }
        if let Some(step) = ticked {
            self.carry_out(slot, step)?;
        }
        if let Some((attempt, news)) = told {
            self.attempts.heard(attempt, now, news);
        }
        self.carry_out(slot, step)
    }

    /// Time passes for a coordinator.
    pub(super) fn tick(&mut self, slot: usize) -> Result<(), Broken> {
        if let Some(term) = &mut self.terms[slot] {
            term.next_tick = self.now + TICK;
            term.heard_time = 0;
        }
        let (now, wall_ms) = (Micros(self.now), self.wall_now());
        self.hear(slot, Event::Tick { now, wall_ms })
    }

    fn wall_now(&self) -> u64 {
        let now = i64::try_from(self.now / 1000).unwrap_or(i64::MAX);
        u64::try_from(self.wall_ms.saturating_add(now)).unwrap_or(0)
    }

    fn carry_out(&mut self, slot: usize, step: Step) -> Result<(), Broken> {
        let Step { record, actions } = step;
        if let Some(write) = record {
            let Write { record, expected } = *write;
            if let Some(term) = &mut self.terms[slot] {
                term.sealing = true;
            }
            if let (Some(Bug::AnnouncesEarly), Some(attempt)) = (self.plan.bug, record.sealed) {
                self.tell_workers(slot, || ToRecorder::Announce { attempt });
            }
            self.ask_ledger(slot, Request::Write(Box::new(record), expected));
        }
        actions
            .into_iter()
            .try_for_each(|action| self.act(slot, action))
    }

    fn tell_workers(&mut self, slot: usize, message: impl Fn() -> ToRecorder) {
        let from = self.cast.index(Actor::Term(slot));
        for worker in 0..self.plan.workers {
            let to = self.cast.index(Actor::Recorder(worker));
            self.links.push(from, to, Mail::Recorder(message()));
        }
    }

    fn act(&mut self, slot: usize, action: Action) -> Result<(), Broken> {
        match action {
            Action::Rewind {
                generation,
                sealed,
                positions,
            } => {
                self.oracle.rewinds(generation)?;
                if let Some(term) = &mut self.terms[slot] {
                    term.generation = generation;
                }
                let too_far = self.plan.bug == Some(Bug::RewindsTooFar);
                let sealed = sealed.filter(|sealed| !too_far || sealed.txid <= TxId(1));
                self.tell_workers(slot, || ToRecorder::Rewind {
                    generation,
                    sealed,
                    positions: positions.clone(),
                });
            }
            Action::Issue(batch) => {
                self.oracle.issued(batch.attempt)?;
                self.attempts.issued(batch.attempt, self.now)?;
                self.watch.issued(batch.attempt);
                let (from, batch) = (self.cast.index(Actor::Term(slot)), Arc::new(batch));
                for source in 0..self.plan.spouts.len() {
                    let to = self.cast.index(Actor::Source(source));
                    let mail = Mail::Source(ToSource::Issue(batch.clone()));
                    self.links.push(from, to, mail);
                }
                if let Some(term) = &mut self.terms[slot] {
                    term.drained = false;
                }
            }
            Action::Announce { attempt } => {
                self.oracle.announced(attempt)?;
                self.tell_workers(slot, || ToRecorder::Announce { attempt });
            }
            Action::Replayed(failure) => {
                self.figures.replays += 1;
                self.attempts.told(&failure, self.now, TIMEOUT_MS * 1000)?;
                self.tell(|| format!("coordinator {slot}: {failure}"));
            }
            Action::Drained => {
                if let Some(term) = &mut self.terms[slot] {
                    term.drained = true;
                }
            }
            Action::Halt(reason) => return self.halted(slot, &reason),
            Action::Sealed(report) => self.attempts.sealed(&report)?,
            action => return Err(format!("a coordinator wants {action:?}")),
        }
        Ok(())
    }

    /// A term could not go on: some reasons are the faults', all others the engine's.
    fn halted(&mut self, slot: usize, reason: &HaltReason) -> Result<(), Broken> {
        self.tell(|| format!("coordinator {slot} halts: {reason}"));
        let older = self.terms[slot].as_ref().is_some_and(|term| {
            let held = self.ledger.peek();
            held.is_some_and(|(record, _)| record.epoch > term.epoch)
        });
        let mut promises = self.plan.spouts.iter().map(|spout| spout.promise);
        let fine = match reason {
            HaltReason::Fenced { .. } => {
                self.figures.fenced += 1;
                older
            }
            // A worker that follows a newer coordinator, or whose disk has just failed.
            HaltReason::Worker { message, .. } => older || self.may_fail(message),
            HaltReason::Ledger(Error::SessionLost { .. }) => {
                let term = self.terms[slot].as_ref();
                term.is_some_and(|term| term.expired)
            }
            // What a spout has promised to yield again is not there.
            HaltReason::Permanent(failure) => {
                failure.cause.kind == CauseKind::Spout
                    && failure.cause.message.contains("is gone")
                    && self.scene.has_gone()
            }
            // Failures that nobody is to blame for may use up the attempts.
            HaltReason::Poison { failure, .. } => failure.cause.origin.is_none(),
            HaltReason::NotIdentical { .. } => {
                promises.any(|promise| promise == Promise::Cheats)
                    && self.plan.bug != Some(Bug::SpoutCheats)
            }
            _ => false,
        };
        if !fine {
            return Err(format!("the coordinator halts: {reason}"));
        }
        let down = 1 + self.random.below(30_000);
        self.end_term(slot, down);
        Ok(())
    }

    /// Whether a worker's error is a fault of its disk.
    fn may_fail(&self, message: &str) -> bool {
        message.contains("the process is dying")
            || message.contains("a fault of the world")
            || message.contains("no space")
            || message.contains("full")
    }
}

/// Whether an event is about an attempt of this generation, or about none.
fn is_live(event: &Event, generation: Generation) -> bool {
    match event {
        Event::Read { attempt, .. }
        | Event::Ack { attempt, .. }
        | Event::Failed { attempt, .. } => attempt.generation == generation,
        Event::Rewound {
            generation: rewound,
            ..
        } => *rewound == generation,
        _ => true,
    }
}

/// Opens a term; with `skips`, without the write that fences older ones out.
async fn fence(mut ledger: Counter, candidate: Candidate, skips: bool) -> Fenced {
    if skips && let Some((mut record, version)) = ledger.load().await? {
        record.epoch = Epoch(record.epoch.0 + 1);
        record.writer = candidate.writer;
        return Ok((record, version));
    }
    let mut retry = |sent: u32, _: &str| {
        let again = if sent < FENCES {
            Retry::Again
        } else {
            Retry::GiveUp
        };
        ready(again).boxed()
    };
    open_term(&mut ledger, &candidate, &mut retry).await
}
