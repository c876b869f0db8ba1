//! What the plan says goes wrong, at its step, and what is counted of it when it strikes.

use fulmar_coordinator::Event;

use super::super::disk::{News, Waits};
use super::super::fault::{Fault, Kind, Process};
use super::super::links::Actor;
use super::super::oracle::Broken;
use super::super::report::Phase;
use super::World;
use super::weather::{Cut, Place, Twice};

impl World {
    /// What goes wrong at this step, and what arrives late.
    pub(super) fn go_wrong(&mut self) -> Result<(), Broken> {
        let mut applied = Vec::new();
        self.ledger.arrive(self.step, &mut applied);
        self.sealed(&applied)?;
        if !self.calm && self.step >= self.plan.calm {
            self.calm_down()?;
        }
        self.die_again()?;
        while let Some((step, fault)) = self.plan.faults.get(self.next_fault).copied() {
            if step > self.step || self.calm || !self.can_strike(fault) {
                break;
            }
            self.next_fault += 1;
            self.tell(|| format!("fault: {fault:?}"));
            self.note(fault.kind() as u64 | 0xfa << 8);
            self.strike(fault)?;
        }
        Ok(())
    }

    /// A coordinator can crash only where one is; if none is, the next one starts at once.
    fn can_strike(&mut self, fault: Fault) -> bool {
        let crash =
            matches!(fault, Fault::Crash { process, .. } if process == Process::Coordinator);
        let held_up = crash && self.leader.is_none();
        if held_up {
            self.election = self.election.min(self.now);
        }
        !held_up
    }

    /// Counts a fault that strikes now.
    pub(super) fn struck(&mut self, kind: Kind) {
        let leader = self.leader.and_then(|slot| self.terms[slot].as_ref());
        let phase = leader.map_or(Phase::Opening, super::Term::phase);
        let sealed = self.oracle.txid();
        let folding = (0..self.plan.workers)
            .any(|worker| self.links.load(self.cast.index(Actor::Flusher(worker))) > 0);
        let publishing = self
            .workers
            .iter()
            .flatten()
            .any(|process| process.heard && process.published < sealed);
        let row = &mut self.figures.struck[kind as usize];
        row[phase as usize] += 1;
        row[Phase::Prepared as usize] += u64::from(self.oracle.has_prepared());
        row[Phase::Folding as usize] += u64::from(folding);
        row[Phase::Publishing as usize] += u64::from(publishing);
    }

    fn strike(&mut self, fault: Fault) -> Result<(), Broken> {
        match fault {
            Fault::Crash { .. }
            | Fault::PowerLoss { .. }
            | Fault::CrashTwice { .. }
            | Fault::CrashBoth { .. }
            | Fault::CrashAll { .. } => return self.kill(fault),
            Fault::TakeOver => {
                self.struck(Kind::TakeOver);
                return self.start_term();
            }
            Fault::Freeze { ms } => {
                let until = self.now + ms * 1000;
                let leader = self.leader.and_then(|slot| self.terms[slot].as_mut());
                if let Some(term) = leader {
                    term.frozen = until;
                    self.struck(Kind::Freeze);
                }
                return self.start_term();
            }
            Fault::Expire { ms } => return self.expire(ms),
            Fault::LedgerCut { ms } => self.cut_ledger(ms),
            Fault::Cut { from, to, ms } => {
                if let (Some(from), Some(to)) = (self.place_of(from), self.place_of(to)) {
                    self.cut(Kind::Cut, Some(from), Some(to), ms);
                }
            }
            Fault::Isolate { process, ms } => {
                if let Some(place) = self.place_of(process) {
                    self.cut(Kind::Isolate, Some(place), None, ms);
                }
                if process == Process::Coordinator {
                    self.cut_ledger(ms);
                }
            }
            Fault::Lose => self.weather.lose += 1,
            Fault::Repeat => self.weather.repeat += 1,
            Fault::Delay { ms } => self.weather.delays.push_back(ms * 1000),
            Fault::Unknown(fate) => self.ledger.doom(fate),
            Fault::Stale(by) => self.ledger.grow_stale(by),
            Fault::Disk {
                worker,
                fault: of_disk,
            }
            | Fault::Fold {
                worker,
                fault: of_disk,
            } => {
                let in_fold = matches!(fault, Fault::Fold { .. });
                self.disks[usize::from(worker % self.plan.workers)].arm(of_disk, in_fold);
            }
            Fault::Spout { spout, times } => {
                let spout = usize::from(spout) % self.plan.spouts.len();
                self.scene.fail_reads(spout, times.into());
            }
            Fault::Comes { spout, partition } => self.list(spout, partition, true),
            Fault::Goes { spout, partition } => self.list(spout, partition, false),
            Fault::Slow { executor, ms } => {
                let executor = usize::from(executor % self.plan.tasks());
                let until = self.now + ms * 1000;
                self.weather.slow.push((executor, until, false));
            }
            Fault::Sinks { times } => self.scene.refuse_parts(times),
            Fault::Clock { ms } => {
                self.struck(Kind::ClockJump);
                self.wall_ms += ms;
            }
        }
        Ok(())
    }

    /// Processes die.
    fn kill(&mut self, fault: Fault) -> Result<(), Broken> {
        let kind = fault.kind();
        let at = |worker: u16| worker % self.plan.workers;
        match fault {
            Fault::Crash {
                process: Process::Worker(worker),
                down_ms,
            } => self.crash_by(kind, at(worker), down_ms),
            Fault::Crash { down_ms, .. } => {
                if self.leader.is_some() {
                    self.struck(kind);
                }
                self.crash_leader(down_ms);
                Ok(())
            }
            Fault::PowerLoss {
                worker,
                keeps,
                down_ms,
            } => {
                let worker = at(worker);
                if self.workers[usize::from(worker)].is_some() {
                    self.struck(kind);
                }
                self.lose_power(worker, keeps)?;
                self.crash_worker(worker, down_ms)
            }
            Fault::CrashTwice {
                worker,
                down_ms,
                after,
            } => {
                let worker = at(worker);
                self.weather.twice.push(Twice {
                    worker,
                    down_ms,
                    after,
                    at: None,
                });
                self.crash_by(Kind::WorkerCrash, worker, down_ms)
            }
            Fault::CrashBoth { worker, down_ms } => {
                let worker = at(worker);
                if self.leader.is_some() && self.workers[usize::from(worker)].is_some() {
                    self.struck(kind);
                }
                self.crash_leader(down_ms / 2);
                self.crash_worker(worker, down_ms)
            }
            Fault::CrashAll { power, down_ms } => {
                self.struck(kind);
                for slot in 0..self.terms.len() {
                    if self.terms[slot].is_some() && self.leader != Some(slot) {
                        self.end_term(slot, 0);
                    }
                }
                self.crash_leader(down_ms / 2);
                for worker in 0..self.plan.workers {
                    if power {
                        self.lose_power(worker, 0)?;
                    }
                    self.crash_worker(worker, down_ms * u64::from(1 + worker))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A worker dies, if it is there.
    fn crash_by(&mut self, kind: Kind, worker: u16, down_ms: u64) -> Result<(), Broken> {
        let Some(process) = &self.workers[usize::from(worker)] else {
            return Ok(());
        };
        let again = self.weather.died.contains(&worker) && !process.heard;
        self.struck(if again { Kind::CrashAgain } else { kind });
        self.crash_worker(worker, down_ms)
    }

    fn crash_leader(&mut self, down_ms: u64) {
        if let Some(slot) = self.leader {
            self.figures.crashes += 1;
            self.end_term(slot, down_ms * 1000);
        }
    }

    /// Whoever is to die twice dies the second time.
    fn die_again(&mut self) -> Result<(), Broken> {
        let mut next = 0;
        while next < self.weather.twice.len() {
            let Twice {
                worker,
                down_ms,
                after,
                at,
            } = self.weather.twice[next];
            if self.workers[usize::from(worker)].is_none() {
                next += 1;
                continue;
            }
            let due = at.unwrap_or(self.step + after);
            if self.step < due {
                self.weather.twice[next].at = Some(due);
                next += 1;
                continue;
            }
            self.weather.twice.swap_remove(next);
            self.crash_by(Kind::WorkerCrash, worker, down_ms)?;
        }
        Ok(())
    }

    /// A worker's machine is without power for a moment.
    fn lose_power(&mut self, worker: u16, keeps: u8) -> Result<(), Broken> {
        self.disks[usize::from(worker)].lose_power(keeps.into());
        self.hear_disk(worker)
    }

    fn cut(&mut self, kind: Kind, from: Option<Place>, to: Option<Place>, ms: u64) {
        self.weather.cuts.push(Cut {
            from,
            to,
            until: self.now + ms * 1000,
            kind,
            struck: false,
        });
    }

    fn cut_ledger(&mut self, ms: u64) {
        if let Some(slot) = self.leader {
            self.weather.ledger_cuts.push(Cut {
                from: Some(100 + slot),
                to: None,
                until: self.now + ms * 1000,
                kind: Kind::LedgerCut,
                struck: false,
            });
        }
    }

    /// A spout's list of partitions changes.
    fn list(&mut self, spout: u8, partition: u8, listed: bool) {
        let spout = usize::from(spout) % self.plan.spouts.len();
        if self.scene.list(spout, partition.into(), listed) {
            self.struck(match listed {
                true => Kind::PartitionComes,
                false => Kind::PartitionGoes,
            });
        }
    }

    fn place_of(&self, process: Process) -> Option<Place> {
        match process {
            Process::Worker(worker) => Some((worker % self.plan.workers).into()),
            Process::Coordinator => self.leader.map(|slot| 100 + slot),
        }
    }

    /// What became of a worker's disk: the oracle reads what is durable, and whoever waits for it waits.
    pub(super) fn hear_disk(&mut self, worker: u16) -> Result<(), Broken> {
        let Some(news) = self.disks[usize::from(worker)].take_news() else {
            return Ok(());
        };
        let News {
            notes,
            struck,
            stall,
            lost,
        } = news;
        self.figures.lost_writes += lost;
        struck.into_iter().for_each(|kind| self.struck(kind));
        if let Some((waits, ms)) = stall {
            let part = match waits {
                Waits::Recorder => Actor::Recorder(worker),
                Waits::Flusher => Actor::Flusher(worker),
            };
            let until = self.now + u64::from(ms) * 1000;
            self.links.hold_actor(self.cast.index(part), until);
        }
        self.oracle.written(worker, &notes)
    }

    /// What parts tell coordinators is of the rewind that they know, and durable.
    pub(super) fn check_report(
        &self,
        from: Actor,
        worker: u16,
        event: &Event,
    ) -> Result<(), Broken> {
        match event {
            Event::Read { attempt, .. } | Event::Failed { attempt, .. } => {
                self.oracle.is_live(from, attempt.generation, "reports")
            }
            Event::Ack { attempt, .. } => self.oracle.is_live(from, attempt.generation, "acks"),
            Event::Rewound {
                generation,
                outcome: Ok(()),
                ..
            } => self.oracle.has_rewound(worker, *generation),
            _ => Ok(()),
        }
    }

    /// Counts what spouts, sinks and the ledger have met.
    pub(super) fn count_strikes(&mut self) {
        let (failed, refused) = self.scene.strikes();
        for _ in 0..failed {
            self.struck(Kind::SpoutError);
        }
        for _ in 0..refused {
            self.struck(Kind::SinkRefuses);
        }
    }
}
