//! The world: one more shell around the engine's cores, in which a seed decides whose turn it is.

mod fault;
mod ledger;
mod other;
mod process;
mod sabotage;
mod term;
mod time;
mod weather;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fulmar_coordinator::{CauseKind, Event, SpoutInfo, Term as Candidate, WriterId};
use fulmar_state::{Attempt, StateId};

use super::bug::Bug;
use super::disk::Disk;
use super::fault::Kind;
use super::ledger::SimLedger;
use super::links::{Actor, Cast, Links, Mail, TERMS};
use super::oracle::{Attempts, Broken, LinkWatch, Oracle, Recount};
use super::plan::Plan;
use super::random::{Random, mixed};
use super::report::{Figures, Report, Violation};
use super::scene::Scene;
use crate::message::{Envelope, ToRecorder};
use crate::worker::spouts_of;

use process::{NEVER, Process};
use sabotage::Sabotage;
use term::Term;
use weather::Weather;

/// So many steps are enough to seal everything once nothing goes wrong any more; `./fulmar sim` tells how many the longest world took
/// ([`Figures::longest_calm`]).
const PATIENCE: u32 = 30_000;

/// A seeded world; see the [module](super).
pub struct World {
    plan: Plan,
    random: Random,
    cast: Cast,
    /// Who wants a term; each process start is another writer.
    candidate: Candidate,
    spouts: Vec<SpoutInfo>,
    /// Edges of the topology.
    edges: u32,
    links: Links,
    weather: Weather,
    sabotage: Sabotage,
    now: u64,
    /// How far the wall clock is from the virtual time, in milliseconds.
    wall_ms: i64,
    step: u32,
    calm: bool,
    next_fault: usize,
    workers: Vec<Option<Process>>,
    /// When each worker that is away starts again.
    restarts: Vec<u64>,
    disks: Vec<Disk>,
    terms: [Option<Term>; TERMS],
    /// The coordinator that was started last.
    leader: Option<usize>,
    /// When the next one is started.
    election: u64,
    started: u64,
    ledger: SimLedger,
    scene: Box<dyn Scene>,
    /// When more can be read.
    release: u64,
    /// How many readings there were before the last look at the states.
    before_last: Option<usize>,
    oracle: Oracle,
    attempts: Attempts,
    watch: LinkWatch,
    digest: u64,
    figures: Figures,
    trace: Option<Trace>,
    over: bool,
    /// What the executor whose turn it is sends; empty between steps.
    made: Vec<Envelope>,
    /// Whose turn this step is.
    turn: Option<Actor>,
}

pub(super) type Trace = Box<dyn FnMut(String)>;

impl World {
    /// Runs a world to its end.
    #[must_use]
    pub fn run(plan: &Plan) -> Report {
        World::run_scene(plan, Box::new(Recount::new(plan)), None)
    }

    /// Runs a world to its end, and tells of every step.
    #[must_use]
    pub fn trace(plan: &Plan, tell: impl FnMut(String) + 'static) -> Report {
        let scene = Box::new(Recount::new(plan));
        World::run_scene(plan, scene, Some(Box::new(tell)))
    }

    /// Runs a world in which this is done, whatever the plan says of topology and data.
    pub(super) fn run_scene(plan: &Plan, scene: Box<dyn Scene>, trace: Option<Trace>) -> Report {
        let mut world = World::new(plan, scene, trace);
        let outcome = catch_unwind(AssertUnwindSafe(|| world.live()));
        let what = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(broken)) => Some(broken),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                Some(format!("the engine panicked: {}", text.unwrap_or_default()))
            }
        };
        let mut figures = world.figures;
        figures.worlds = 1;
        figures.steps = world.step.into();
        figures.micros = world.now;
        figures.sealed = world.oracle.txid().0;
        figures.terms = world.started;
        figures.folds = world.oracle.folds;
        figures.reads = world.scene.readings() as u64;
        figures.dead = world.scene.dead();
        figures.empty = world.oracle.empty();
        figures.longest_calm = u64::from(world.step.saturating_sub(plan.calm));
        let step = world.step;
        Report {
            digest: world.digest,
            figures,
            violation: what.map(|what| Violation { step, what }),
        }
    }

    fn new(plan: &Plan, scene: Box<dyn Scene>, trace: Option<Trace>) -> World {
        let cast = Cast {
            tasks: plan.tasks().into(),
            spouts: plan.spouts.len(),
            workers: plan.workers.into(),
        };
        let built = scene.build();
        let spouts = spouts_of(&built);
        let names = spouts.iter().map(|spout| spout.name.clone());
        let (states, edges) = (built.states(), built.edges.len() as u32);
        let forgets = plan.bug == Some(Bug::StorageForgetsSync);
        let mut ledger = SimLedger::default();
        ledger.careless = plan.bug == Some(Bug::LedgerIgnoresVersion);
        World {
            random: Random::new(mixed(plan.seed)),
            cast,
            candidate: Candidate {
                topology: built.name.clone(),
                fingerprint: built.fingerprint(),
                writer: WriterId(0),
            },
            oracle: Oracle::new(plan, names.collect(), states.len(), edges as usize),
            spouts,
            edges,
            links: Links::new(cast.count()),
            weather: Weather::default(),
            sabotage: Sabotage::default(),
            now: 0,
            wall_ms: 1_700_000_000_000,
            step: 0,
            calm: false,
            next_fault: 0,
            workers: (0..plan.workers).map(|_| None).collect(),
            restarts: vec![0; plan.workers.into()],
            disks: (0..plan.workers)
                .map(|_| Disk::new(&states, forgets))
                .collect(),
            terms: [const { None }; TERMS],
            leader: None,
            election: 0,
            started: 0,
            ledger,
            scene,
            release: 0,
            before_last: None,
            attempts: Attempts::default(),
            watch: LinkWatch::default(),
            digest: plan.seed,
            figures: Figures::default(),
            trace,
            over: false,
            made: Vec::new(),
            turn: None,
            plan: plan.clone(),
        }
    }

    /// Lives until everything is sealed and compared.
    fn live(&mut self) -> Result<(), Broken> {
        let patience = PATIENCE * self.scene.weight();
        while !self.over {
            self.step += 1;
            if self.step > self.plan.calm.saturating_add(patience) {
                return Err(self.stuck(patience));
            }
            self.go_wrong()?;
            let due = self.next_due();
            if self.now >= due {
                self.strike_the_hour()?;
            } else if let Some((from, to)) = self.links.pick(&mut self.random) {
                self.take_turn(from, to)?;
            } else if self.is_done() {
                self.look_last()?;
            } else {
                self.now = due;
            }
            self.step_oracle()?;
        }
        Ok(())
    }

    fn stuck(&self, patience: u32) -> Broken {
        let leader = self.leader.and_then(|slot| self.terms[slot].as_ref());
        format!(
            "not everything is sealed {patience} steps after the last fault: {} batches are; the coordinator is {:?}",
            self.oracle.txid(),
            leader.map(Term::standing)
        )
    }

    /// Remembers a number of this step for the digest.
    fn note(&mut self, what: u64) {
        self.digest = mixed(self.digest ^ what ^ self.now << 20);
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace(format!("{:>6} {:>9}us {}", self.step, self.now, text()));
        }
    }

    /// One message arrives, or one part does what it has to do.
    fn take_turn(&mut self, from: usize, to: usize) -> Result<(), Broken> {
        if self.is_slow(to) {
            self.now += 10;
            return Ok(());
        }
        let pace = if self.calm {
            self.plan.pace_us.min(50)
        } else {
            self.plan.pace_us
        };
        self.now += 1 + self.random.below(pace);
        let receiver = self.cast.actor(to);
        self.turn = Some(receiver);
        // An executor also sends to itself; it has nothing to do that is not a message.
        if from == to && !matches!(receiver, Actor::Executor(_)) {
            drop(self.links.pop(from, to));
            self.note(to as u64);
            self.tell(|| format!("{receiver:?} works"));
            return self.work(receiver);
        }
        let Some(mail) = self.weathered(from, to) else {
            return Ok(());
        };
        self.note(mail.code() ^ (from << 8 | to) as u64);
        let sender = self.cast.actor(from);
        self.tell(|| format!("{sender:?} -> {receiver:?}: {}", mail.text()));
        match receiver {
            Actor::Ledger => self.deliver_to_ledger(from, *mail),
            Actor::Term(slot) => self.deliver_to_term(slot, *mail),
            _ => self.deliver_to_worker(receiver, *mail),
        }
    }

    /// Sends what came of a step on its way.
    fn route(
        &mut self,
        from: Actor,
        envelopes: impl IntoIterator<Item = Envelope>,
    ) -> Result<(), Broken> {
        let sender = self.cast.index(from);
        let Some(worker) = self.host(from) else {
            return Ok(());
        };
        for envelope in envelopes {
            let (to, mail) = match envelope {
                Envelope::Executor(id, message) => {
                    if let Actor::Source(spout) = from {
                        self.scene.sent(spout, id, &message);
                    }
                    self.oracle.passes(from, id, &message)?;
                    (Actor::Executor(id), Mail::Executor(message))
                }
                Envelope::Source(index, message) => (Actor::Source(index), Mail::Source(message)),
                Envelope::Recorder(message) => {
                    self.overhear_part(worker, &message)?;
                    (Actor::Recorder(worker), Mail::Recorder(message))
                }
                Envelope::Flusher(job) => (Actor::Flusher(worker), Mail::Flusher(job)),
                Envelope::Publisher(message) => {
                    (Actor::Publisher(worker), Mail::Publisher(message))
                }
                // The one who acknowledges too early does not acknowledge again.
                Envelope::Coordinator(Event::Ack { xor: 1.., .. })
                    if self.plan.bug == Some(Bug::AcksBeforePrepared)
                        && matches!(from, Actor::Recorder(_)) =>
                {
                    continue;
                }
                Envelope::Coordinator(event) => {
                    self.check_report(from, worker, &event)?;
                    self.report(from, worker, event);
                    continue;
                }
                Envelope::Published(txid) => {
                    if let Some(process) = &mut self.workers[usize::from(worker)] {
                        process.published = txid;
                    }
                    continue;
                }
                Envelope::Fatal(error) => {
                    if let Some(process) = &mut self.workers[usize::from(worker)] {
                        process.fatal = Some(error);
                    }
                    continue;
                }
            };
            let receiver = self.cast.index(to);
            self.links.push(sender, receiver, mail);
        }
        Ok(())
    }

    /// A worker tells every coordinator that there is: each decides by itself what concerns it.
    pub(super) fn report(&mut self, from: Actor, worker: u16, event: Event) {
        if let Event::Read {
            attempt,
            spout,
            report,
            ..
        } = &event
        {
            self.oracle.read(*attempt, *spout, &report.moves);
            if self.scene.read(*attempt, *spout) {
                self.struck(Kind::OtherReplay);
            }
        }
        if let (
            Event::Rewound {
                outcome: Ok(()), ..
            },
            Some(process),
        ) = (&event, &mut self.workers[usize::from(worker)])
        {
            process.heard = true;
        }
        if let Event::Failed { cause, .. } = &event {
            match cause.kind {
                CauseKind::User => self.struck(Kind::PoisonError),
                CauseKind::Panic => self.struck(Kind::PoisonPanic),
                _ => {}
            }
        }
        let sender = self.cast.index(from);
        let Some(last) = self.terms.iter().rposition(Option::is_some) else {
            return;
        };
        for slot in 0..last {
            if self.terms[slot].is_some() {
                let (receiver, copy) = (self.cast.index(Actor::Term(slot)), event.clone());
                self.links.push(sender, receiver, Mail::Event(copy));
            }
        }
        let receiver = self.cast.index(Actor::Term(last));
        self.links.push(sender, receiver, Mail::Event(event));
    }

    /// The oracle sees what sinks are to be given.
    fn overhear_part(&mut self, worker: u16, message: &ToRecorder) -> Result<(), Broken> {
        if let ToRecorder::Part(part) = message {
            let attempt: Attempt = part.batch.attempt;
            let parts = part.outbox.iter();
            let parts = parts.map(|part| (part.sink.clone(), part.partition));
            self.oracle.handed(attempt, worker, parts.collect());
            self.oracle.hands_over(part.executor, attempt)?;
        }
        Ok(())
    }

    /// The worker that a part belongs to.
    fn host(&self, actor: Actor) -> Option<u16> {
        Some(match actor {
            Actor::Executor(id) => id / self.plan.executors,
            Actor::Source(index) => self.plan.reader_of(index),
            Actor::Recorder(worker) | Actor::Flusher(worker) | Actor::Publisher(worker) => worker,
            Actor::Reader | Actor::Ledger | Actor::Term(_) => return None,
        })
    }

    /// The oracle looks at what became of the step: sinks, readers, and disks that broke.
    fn step_oracle(&mut self) -> Result<(), Broken> {
        // Only these parts call sinks, spouts and readers; looking has its price.
        let turn = self.turn.take();
        match turn {
            Some(Actor::Publisher(_)) => {
                self.count_strikes();
                for key in self.scene.took()? {
                    self.oracle.took(key)?;
                }
            }
            Some(Actor::Source(_)) => self.count_strikes(),
            Some(Actor::Executor(_)) => {
                for sight in self.scene.seen() {
                    self.oracle.saw(sight)?;
                }
            }
            _ => {}
        }
        for kind in std::mem::take(&mut self.ledger.struck) {
            self.struck(kind);
        }
        if self.step.is_multiple_of(127) && self.before_last.is_none() {
            let worker = self.random.below(self.plan.workers.into()) as u16;
            self.read_states(worker);
        }
        match turn {
            Some(Actor::Term(_) | Actor::Ledger) => Ok(()),
            _ => self.bury(),
        }
    }

    /// Asks a worker for all of its states.
    fn read_states(&mut self, worker: u16) {
        let reader = self.cast.index(Actor::Reader);
        let recorder = self.cast.index(Actor::Recorder(worker));
        for state in 0..self.scene.states() {
            let first = worker * self.plan.executors;
            let reads = (first..first + self.plan.executors)
                .map(|executor| self.scene.reading(self.step, executor, state))
                .collect();
            let state = StateId(state as u16);
            let mail = Mail::Recorder(ToRecorder::Read { state, reads });
            if self.workers[usize::from(worker)].is_some() {
                self.links.push(reader, recorder, mail);
            }
        }
    }

    /// Whether everything is sealed, told and published.
    fn is_done(&self) -> bool {
        let leader = self.leader.and_then(|slot| self.terms[slot].as_ref());
        let sealed = self.oracle.txid();
        let mut workers = self.workers.iter();
        self.calm
            && self.links.next_release() == NEVER
            && leader.is_some_and(Term::is_drained)
            && self.oracle.is_whole_input_sealed()
            && workers.all(|worker| {
                worker
                    .as_ref()
                    .is_some_and(|worker| worker.published == sealed)
            })
    }

    /// All is quiet: everything is read a last time and compared.
    fn look_last(&mut self) -> Result<(), Broken> {
        let Some(before) = self.before_last else {
            self.before_last = Some(self.scene.readings());
            (0..self.plan.workers).for_each(|worker| self.read_states(worker));
            return Ok(());
        };
        self.over = true;
        self.refuse_others()?;
        self.scene.judge(before)
    }
}
