//! A worker's process: its cores, and what a shell remembers for them.

use std::sync::Arc;

use fulmar_coordinator::{Cause, CauseKind, Event, Limits, Micros, WorkerId};
use fulmar_state::{Storage, TxId};

use super::super::bug::Bug;
use super::super::links::{Actor, Mail};
use super::super::oracle::Broken;
use super::super::plan::Plan;
use super::World;
use crate::message::{Envelope, ToExecutor, ToPublisher, ToRecorder};
use crate::publisher::Published;
use crate::recorder::FoldLimits;
use crate::source::Wait;
use crate::worker::{Share, Worker, WorkerSettings};

pub(super) const NEVER: u64 = u64::MAX;

/// How often a worker that nobody has rewound says that it is there, a source how it stands, and the recorder that it waits.
const SAY_AGAIN: u64 = 300_000;
/// How long a sink that refused is left alone.
const RETRY: u64 = 20_000;

pub(super) struct Process {
    cores: Worker,
    /// When each source looks for more.
    pub(super) polls: Vec<u64>,
    /// When the publisher tries again.
    pub(super) retry: u64,
    pub(super) say_again: u64,
    /// Whether it was rewound since it started.
    pub(super) heard: bool,
    /// It cannot go on.
    pub(super) fatal: Option<String>,
    /// The last batch that is published here.
    pub(super) published: TxId,
}

/// Where a batch ends.
pub(super) fn limits(plan: &Plan) -> Limits {
    Limits {
        records: plan.batch_records,
        bytes: 1 << 20,
        time_ms: 30,
    }
}

impl World {
    /// Starts a worker's process; what its disk refuses is tried again later.
    pub(super) fn start_worker(&mut self, worker: u16) -> Result<(), Broken> {
        let at = usize::from(worker);
        self.restarts[at] = NEVER;
        let plan = self.scene.build();
        let first = worker * self.plan.executors;
        let spouts = 0..self.plan.spouts.len();
        let share = Share {
            worker: WorkerId(worker.into()),
            executors: first..first + self.plan.executors,
            sources: spouts
                .filter(|spout| self.plan.reader_of(*spout) == worker)
                .collect(),
        };
        let sources = share.sources.len();
        let settings = WorkerSettings {
            executors: self.plan.tasks(),
            limits: limits(&self.plan),
            folds: FoldLimits {
                log_bytes: self.plan.log_bytes,
                overlay_bytes: 1 << 20,
            },
            dead_letters: Some(self.scene.dead_letters()),
        };
        let storage: Arc<dyn Storage> = Arc::new(self.disks[at].clone());
        let opened = Worker::new(plan, &share, settings, &storage);
        self.hear_disk(worker)?;
        match opened {
            Ok(cores) => {
                self.oracle.started(worker);
                let again = self.now + SAY_AGAIN;
                self.workers[at] = Some(Process {
                    cores,
                    polls: vec![NEVER; sources],
                    retry: NEVER,
                    say_again: again,
                    heard: false,
                    fatal: None,
                    published: TxId::ZERO,
                });
                if self.step > 1 {
                    self.say_restarted(worker);
                }
                Ok(())
            }
            Err(error) => {
                let (failed, _) = self.disks[at].state();
                self.disks[at].crash();
                self.restarts[at] = self.now + SAY_AGAIN;
                match failed {
                    true => Ok(()),
                    false => Err(format!("worker {worker} cannot start: {error}")),
                }
            }
        }
    }

    /// What a membership service would tell the coordinators.
    fn say_restarted(&mut self, worker: u16) {
        let cause = Cause::new(CauseKind::WorkerLost, "it has started again");
        let event = Event::Restarted {
            worker: WorkerId(worker.into()),
            cause,
        };
        self.report(Actor::Recorder(worker), worker, event);
    }

    /// From time to time a worker says again what may have been lost.
    pub(super) fn say_again(&mut self, worker: u16) -> Result<(), Broken> {
        let now = self.now;
        let Some(process) = &mut self.workers[usize::from(worker)] else {
            return Ok(());
        };
        process.say_again = now + SAY_AGAIN;
        if !process.heard {
            self.say_restarted(worker);
            return Ok(());
        }
        let alive = match process.cores.recorder.is_waiting() {
            true => process.cores.recorder.keep_alive(),
            false => Vec::new(),
        };
        let sources = process.cores.sources.iter_mut();
        let stands: Vec<_> = sources.map(|source| source.repeat()).collect();
        self.route(Actor::Recorder(worker), alive)?;
        let spouts = 0..self.plan.spouts.len();
        let hosted: Vec<usize> = spouts
            .filter(|spout| self.plan.reader_of(*spout) == worker)
            .collect();
        for (index, stands) in hosted.into_iter().zip(stands) {
            self.route(Actor::Source(index), stands)?;
        }
        Ok(())
    }

    /// A message reaches a part of a worker; nobody is there to take it if the process is away.
    pub(super) fn deliver_to_worker(&mut self, to: Actor, mail: Mail) -> Result<(), Broken> {
        let Some(worker) = self.host(to) else {
            return Ok(());
        };
        let at = usize::from(worker);
        self.break_rules(to, worker, &mail)?;
        let workers = self.plan.workers;
        let executors = self.plan.executors;
        let Some(process) = &mut self.workers[at] else {
            return Ok(());
        };
        let cores = &mut process.cores;
        let (mut wakes, mut idle) = (None, false);
        let mut made = std::mem::take(&mut self.made);
        match (to, mail) {
            (Actor::Executor(id), Mail::Executor(message)) => {
                idle = self.oracle.takes(id, &message);
                let lost = self.watch.takes(id, &message);
                cores.executors[usize::from(id % executors)].step_into(message, &mut made);
                self.watch.made(id, lost, &made)?;
            }
            (Actor::Source(index), Mail::Source(message)) => {
                wakes = Some(to);
                let own = index / usize::from(workers);
                process.polls[own] = NEVER;
                self.oracle.source_takes(index, &message);
                made = cores.sources[own].step(message);
            }
            (Actor::Recorder(_), Mail::Recorder(message)) => {
                wakes = Some(to);
                idle = self.oracle.recorder_takes(worker, &message);
                made = cores.recorder.step(message);
            }
            (Actor::Flusher(_), Mail::Flusher(job)) => {
                let done = job.run(&self.disks[at]);
                made.push(Envelope::Recorder(ToRecorder::Folded(done)));
            }
            (Actor::Publisher(_), Mail::Publisher(message)) => {
                wakes = Some(to);
                cores.publisher.step(message);
            }
            (to, mail) => return Err(format!("{to:?} was sent {}", mail.text())),
        }
        if idle && !made.is_empty() {
            return Err(format!(
                "I6: what {to:?} was sent of an attempt that is not live led to something"
            ));
        }
        if let Some(part) = wakes {
            self.links.wake(self.cast.index(part));
        }
        self.route(to, made.drain(..))?;
        self.made = made;
        self.hear_disk(worker)
    }

    /// A part does what it does by itself.
    pub(super) fn work(&mut self, part: Actor) -> Result<(), Broken> {
        let Some(worker) = self.host(part) else {
            return Ok(());
        };
        let (now, workers) = (self.now, usize::from(self.plan.workers));
        let Some(process) = &mut self.workers[usize::from(worker)] else {
            return Ok(());
        };
        let mut again = false;
        let envelopes = match part {
            Actor::Source(index) => {
                let (wait, envelopes) = process.cores.sources[index / workers].pump(Micros(now));
                again = wait == Wait::Now;
                process.polls[index / workers] = match wait {
                    Wait::Poll(Micros(wait)) => now + wait.max(1),
                    Wait::Now | Wait::Message => NEVER,
                };
                envelopes
            }
            Actor::Recorder(_) => process.cores.recorder.prepare(),
            Actor::Publisher(_) => match process.cores.publisher.publish_next() {
                Published::Nothing => Vec::new(),
                Published::Taken(envelope) => {
                    again = true;
                    envelope.into_iter().collect()
                }
                Published::Refused(sink, error) if error.permanent => {
                    vec![Envelope::Fatal(format!("sink {sink:?}: {error}"))]
                }
                Published::Refused(..) => {
                    process.retry = now + RETRY;
                    Vec::new()
                }
            },
            _ => Vec::new(),
        };
        if again {
            self.links.wake(self.cast.index(part));
        }
        self.route(part, envelopes)?;
        self.hear_disk(worker)
    }

    /// Workers that cannot go on are gone; without a fault of theirs that is one of the engine.
    pub(super) fn bury(&mut self) -> Result<(), Broken> {
        for worker in 0..self.plan.workers {
            let at = usize::from(worker);
            let Some(process) = &mut self.workers[at] else {
                continue;
            };
            let fatal = process.fatal.take();
            let (failed, deadly) = self.disks[at].state();
            if let Some(error) = fatal.as_ref().filter(|_| !failed) {
                return Err(format!("worker {worker} cannot go on: {error}"));
            }
            if deadly || fatal.is_some() {
                self.tell(|| format!("worker {worker} dies: {fatal:?}"));
                let down = 1 + self.random.below(100);
                self.crash_worker(worker, down)?;
            }
        }
        Ok(())
    }

    /// A worker's process is gone, with everything that was not durable.
    pub(super) fn crash_worker(&mut self, worker: u16, down_ms: u64) -> Result<(), Broken> {
        let at = usize::from(worker);
        if self.workers[at].take().is_none() {
            return Ok(());
        }
        self.figures.crashes += 1;
        let first = worker * self.plan.executors;
        self.watch.died(first..first + self.plan.executors);
        self.weather.died.insert(worker);
        self.restarts[at] = self.now + down_ms * 1000;
        self.disks[at].crash();
        self.hear_disk(worker)?;
        for to in 0..self.cast.count() {
            if !self.is_of(to, worker) {
                continue;
            }
            for from in 0..self.cast.count() {
                // What others have sent may still reach the next process.
                let kept = !self.is_of(from, worker) && self.random.percent(50);
                if !kept {
                    self.links.clear(from, to);
                }
            }
        }
        Ok(())
    }

    fn is_of(&self, index: usize, worker: u16) -> bool {
        index < self.cast.index(Actor::Reader) && self.host(self.cast.actor(index)) == Some(worker)
    }

    /// The shell around a worker's cores breaks a rule, if this world is to.
    fn break_rules(&mut self, to: Actor, worker: u16, mail: &Mail) -> Result<(), Broken> {
        let Some(bug) = self.plan.bug else {
            return Ok(());
        };
        let Mail::Recorder(ToRecorder::Part(part)) = mail else {
            return Ok(());
        };
        let txid = part.batch.attempt.txid;
        match bug {
            Bug::PublishesEarly => {
                let message = ToPublisher::Publish {
                    txid,
                    outbox: part.outbox.clone(),
                    dead: Vec::new(),
                };
                self.route(to, vec![Envelope::Publisher(message)])
            }
            Bug::ShowsEarly => {
                let show = Envelope::Executor(part.executor, ToExecutor::Seal { txid });
                self.route(to, vec![show])
            }
            Bug::AcksBeforePrepared => {
                self.ack_early(worker, part.batch.attempt, part.executor);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
