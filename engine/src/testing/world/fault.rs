//! What the plan says goes wrong, at its step.

use super::super::fault::{Fault, Process};
use super::super::links::Actor;
use super::super::oracle::Broken;
use super::super::report::Phase;
use super::World;
use super::weather::Place;

impl World {
    /// What goes wrong at this step, and what arrives late.
    pub(super) fn go_wrong(&mut self) -> Result<(), Broken> {
        let mut applied = Vec::new();
        self.ledger.arrive(self.step, &mut applied);
        self.sealed(&applied)?;
        if !self.calm && self.step >= self.plan.calm {
            self.calm_down();
        }
        while let Some((step, fault)) = self.plan.faults.get(self.next_fault).copied() {
            if step > self.step || self.calm || !self.can_strike(fault) {
                break;
            }
            self.next_fault += 1;
            self.tell(|| format!("fault: {fault:?}"));
            self.note(fault.kind() as u64 | 0xfa << 8);
            let leader = self.leader.and_then(|slot| self.terms[slot].as_ref());
            let phase = leader.map_or(Phase::Opening, super::Term::phase);
            self.figures.struck[fault.kind()][phase as usize] += 1;
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

    fn strike(&mut self, fault: Fault) -> Result<(), Broken> {
        match fault {
            Fault::Crash {
                process: Process::Worker(worker),
                down_ms,
            } => return self.crash_worker(worker % self.plan.workers, down_ms),
            Fault::Crash { down_ms, .. } => {
                if let Some(slot) = self.leader {
                    self.figures.crashes += 1;
                    self.end_term(slot, down_ms * 1000);
                }
            }
            Fault::TakeOver => return self.start_term(),
            Fault::Freeze { ms } => {
                let until = self.now + ms * 1000;
                let leader = self.leader.and_then(|slot| self.terms[slot].as_mut());
                if let Some(term) = leader {
                    term.frozen = until;
                }
                return self.start_term();
            }
            Fault::Cut { from, to, ms } => {
                if let (Some(from), Some(to)) = (self.place_of(from), self.place_of(to)) {
                    let until = self.now + ms * 1000;
                    self.weather.cuts.push((from, to, until));
                }
            }
            Fault::Lose => self.weather.lose += 1,
            Fault::Repeat => self.weather.repeat += 1,
            Fault::Delay { ms } => self.weather.delays.push_back(ms * 1000),
            Fault::Unknown(fate) => self.ledger.doom(fate),
            Fault::Stale(by) => self.ledger.grow_stale(by),
            Fault::Disk { worker, fault } => {
                self.disks[usize::from(worker % self.plan.workers)].arm(fault);
            }
            Fault::Spout { spout, times } => {
                let spout = usize::from(spout) % self.plan.spouts.len();
                self.scene.fail_reads(spout, times.into());
            }
            Fault::Sinks { times } => self.scene.refuse_parts(times),
            Fault::Clock { ms } => self.wall_ms += ms,
        }
        Ok(())
    }

    fn place_of(&self, process: Process) -> Option<Place> {
        match process {
            Process::Worker(worker) => Some((worker % self.plan.workers).into()),
            Process::Coordinator => self.leader.map(|slot| 100 + slot),
        }
    }

    /// A message reaches the ledger.
    pub(super) fn deliver_to_ledger(
        &mut self,
        from: usize,
        mail: super::Mail,
    ) -> Result<(), Broken> {
        match (self.cast.actor(from), mail) {
            (Actor::Term(slot), super::Mail::Request(request)) => self.answer(slot, request),
            _ => Ok(()),
        }
    }
}
