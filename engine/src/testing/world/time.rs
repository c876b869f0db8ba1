//! What happens at its time: ticks, polls, retries, restarts.

use super::super::links::{Actor, TERMS};
use super::super::oracle::Broken;
use super::World;
use super::process::NEVER;

/// How often more can be read of spouts whose records come by and by, in microseconds.
const TRICKLE: u64 = 15_000;

#[derive(Clone, Copy, Debug)]
enum Due {
    Release,
    More,
    Election,
    Tick(usize),
    Deposed(usize),
    Restart(u16),
    Say(u16),
    Publish(u16),
    Poll(usize),
}

impl World {
    /// When the next thing is due.
    pub(super) fn next_due(&self) -> u64 {
        self.due().0
    }

    fn due(&self) -> (u64, Due) {
        let mut first = (self.links.next_release(), Due::Release);
        let mut add = |at: u64, due: Due| {
            if at < first.0 {
                first = (at, due);
            }
        };
        add(self.release, Due::More);
        add(self.election, Due::Election);
        for (slot, term) in self.terms.iter().enumerate() {
            if let Some(term) = term {
                add(term.next_tick.max(term.frozen), Due::Tick(slot));
                add(term.deposed.max(term.frozen), Due::Deposed(slot));
            }
        }
        for (worker, process) in (0u16..).zip(&self.workers) {
            let Some(process) = process else {
                add(self.restarts[usize::from(worker)], Due::Restart(worker));
                continue;
            };
            add(process.say_again, Due::Say(worker));
            add(process.retry, Due::Publish(worker));
            for (own, at) in process.polls.iter().enumerate() {
                let source = own * usize::from(self.plan.workers) + usize::from(worker);
                add(*at, Due::Poll(source));
            }
        }
        first
    }

    /// What is due happens.
    pub(super) fn strike_the_hour(&mut self) -> Result<(), Broken> {
        let (_, due) = self.due();
        self.note(0xd0e);
        self.tell(|| format!("{due:?}"));
        match due {
            Due::Release => self.links.release(self.now),
            Due::More => {
                let left = self.scene.release(1 + self.random.below(3));
                self.release = if left { self.now + TRICKLE } else { NEVER };
            }
            Due::Election => return self.start_term(),
            Due::Tick(slot) => return self.tick(slot),
            // Whoever hears that it leads no more does nothing more, whatever is under way.
            Due::Deposed(slot) => self.end_term(slot, 0),
            Due::Restart(worker) => return self.start_worker(worker),
            Due::Say(worker) => return self.say_again(worker),
            Due::Publish(worker) => {
                if let Some(process) = &mut self.workers[usize::from(worker)] {
                    process.retry = NEVER;
                }
                self.links.wake(self.cast.index(Actor::Publisher(worker)));
            }
            Due::Poll(source) => {
                let worker = usize::from(self.plan.reader_of(source));
                let own = source / usize::from(self.plan.workers);
                if let Some(process) = &mut self.workers[worker] {
                    process.polls[own] = NEVER;
                }
                self.links.wake(self.cast.index(Actor::Source(source)));
            }
        }
        Ok(())
    }

    /// Nothing goes wrong from now on: everything gets what it needs.
    pub(super) fn calm_down(&mut self) -> Result<(), Broken> {
        self.calm = true;
        self.tell(|| "calm".into());
        self.ledger.mend();
        let relisted = self.scene.mend();
        self.disks.iter().for_each(super::super::disk::Disk::mend);
        self.weather.clear();
        for slot in 0..TERMS {
            if let Some(term) = &mut self.terms[slot] {
                term.frozen = 0;
            }
        }
        // Partitions are listed anew with each rewind, and only then.
        match relisted {
            true => self.start_term(),
            false => Ok(()),
        }
    }
}
