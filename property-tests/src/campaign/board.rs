//! What all lives of a campaign together have done, whether that is enough, and what to aim at next.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::call::SystemCall;
use crate::mortal::point::{Place, Point};

/// Something with a name to be killed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A call of the mortal program.
    Point(Point),
    /// A system call of the real one.
    Call(SystemCall),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Point(point) => point.fmt(f),
            Target::Call(call) => f.pad(call.name),
        }
    }
}

/// How often something was aimed at, and how often that killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shots {
    /// Runs that were to die of it.
    pub aimed: u64,
    /// Those that did.
    pub hit: u64,
}

/// A target, and whether the ledger is in ZooKeeper.
pub type Aim = (Target, bool);

/// What campaigns have done.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Processes started.
    pub runs: u64,
    /// Processes killed before they ended by themselves.
    pub kills: u64,
    /// Of these by `kill -9` from outside, at a drawn moment.
    pub by_moment: u64,
    /// Of all kills those of a program whose ledger is in ZooKeeper.
    pub zookeeper: u64,
    /// Of all kills those of a program that reads as an opaque spout.
    pub opaque: u64,
    /// Kills before the first batch was sealed.
    pub before_first: u64,
    /// Kills after the first batch was sealed and before the last.
    pub in_window: u64,
    /// Kills after the last batch was sealed.
    pub after_last: u64,
    /// Of all kills those before the program had said from where it goes on.
    pub at_start: u64,
    /// Of these the ones that came right after another.
    pub twice: u64,
    /// State directories counted to the end.
    pub states: u64,
    /// Batches sealed in them.
    pub batches: u64,
    /// Attempts that failed and were made again by the same process.
    pub replays: u64,
    /// Table files seen: folds that were under way beneath the kills.
    pub tables: u64,
    /// What was aimed at.
    pub aims: BTreeMap<Aim, Shots>,
}

impl std::ops::AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        for (sum, more) in [
            (&mut self.runs, other.runs),
            (&mut self.kills, other.kills),
            (&mut self.by_moment, other.by_moment),
            (&mut self.zookeeper, other.zookeeper),
            (&mut self.opaque, other.opaque),
            (&mut self.before_first, other.before_first),
            (&mut self.in_window, other.in_window),
            (&mut self.after_last, other.after_last),
            (&mut self.at_start, other.at_start),
            (&mut self.twice, other.twice),
            (&mut self.states, other.states),
            (&mut self.batches, other.batches),
            (&mut self.replays, other.replays),
            (&mut self.tables, other.tables),
        ] {
            *sum += more;
        }
        for (aim, shots) in &other.aims {
            let sum = self.aims.entry(*aim).or_default();
            sum.aimed += shots.aimed;
            sum.hit += shots.hit;
        }
    }
}

impl Figures {
    /// The names of what was to be hit and was not.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let missed = self.aims.iter().filter(|(_, shots)| shots.hit == 0);
        let name = |((target, zookeeper), _): (&Aim, _)| {
            let ledger = if *zookeeper { "ZooKeeper" } else { "embedded" };
            format!("{target} ({ledger})")
        };
        missed.map(name).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64| 100.0 * part as f64 / self.kills.max(1) as f64;
        let named = self.kills - self.by_moment;
        for (what, part) in [
            ("kills", self.kills),
            ("  by kill -9 at a drawn moment", self.by_moment),
            ("  at a named point or system call", named),
            ("  before the first batch was sealed", self.before_first),
            ("  between the first batch and the last", self.in_window),
            ("  after the last batch was sealed", self.after_last),
            ("  in a start, before it had gone on", self.at_start),
            ("  in a start right after such a kill", self.twice),
            ("  with the ledger in ZooKeeper", self.zookeeper),
            ("  with an opaque spout", self.opaque),
        ] {
            writeln!(f, "{what:<44} {part:>8} {:>6.1} %", share(part))?;
        }
        for (what, number) in [
            ("starts", self.runs),
            ("state directories counted to the end", self.states),
            ("batches sealed in them", self.batches),
            ("tables in them, which folds have written", self.tables),
            ("attempts that a process made again", self.replays),
        ] {
            writeln!(f, "{what:<44} {number:>8}")?;
        }
        if self.aims.is_empty() {
            return Ok(());
        }
        let head = ("killed at", "embedded", "ZooKeeper");
        writeln!(f, "\n{:<44} {:>8} {:>10}", head.0, head.1, head.2)?;
        let mut targets: Vec<_> = self.aims.keys().map(|(target, _)| *target).collect();
        targets.dedup();
        for target in targets {
            let of = |zookeeper| match self.aims.get(&(target, zookeeper)) {
                Some(shots) => shots.hit.to_string(),
                None => "-".to_owned(),
            };
            writeln!(f, "{target:<44} {:>8} {:>10}", of(false), of(true))?;
        }
        Ok(())
    }
}

/// When a campaign has done enough.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Kills.
    pub kills: u64,
    /// Whatever was done by then.
    pub until: Option<Instant>,
}

/// Shared by all lives.
pub struct Board {
    quota: Quota,
    stop: Arc<AtomicBool>,
    figures: Mutex<Figures>,
}

/// How many kills are aimed, if there is something that was never hit, and if there is not.
const NEW: f64 = 0.8;
const KNOWN: f64 = 0.3;
/// How often the quota, or a thousand kills, may be done over and over to hit what is still missed.
const OVER: u64 = 3;

impl Board {
    /// Nothing is done yet; each of the aims is to be hit.
    #[must_use]
    pub fn new(quota: Quota, aims: impl IntoIterator<Item = Aim>) -> Board {
        let aims = aims.into_iter().map(|aim| (aim, Shots::default()));
        Board {
            quota,
            stop: Arc::default(),
            figures: Mutex::new(Figures {
                aims: aims.collect(),
                ..Figures::default()
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// Notes what was done.
    pub fn add(&self, more: &Figures) {
        *self.lock() += more;
    }

    /// What ends everything as soon as it is set.
    #[must_use]
    pub fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether everything is to end at once.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// Whether nothing more has to be killed: what runs comes to its end.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        let Quota { kills, until } = self.quota;
        if self.is_stopped() || until.is_some_and(|until| Instant::now() >= until) {
            return true;
        }
        let figures = self.lock();
        let all = figures.kills >= kills && figures.aims.values().all(|shots| shots.hit > 0);
        all || figures.kills >= OVER * kills.max(1_000)
    }

    /// The one of these that was hit least often: mostly if one was never hit, now and then otherwise.
    pub fn aim(
        &self,
        zookeeper: bool,
        fits: impl Fn(&Target) -> bool,
        rng: &mut ChaCha8Rng,
    ) -> Option<Target> {
        let share = rng.random_range(0.0..1.0);
        let mut figures = self.lock();
        let fitting = figures
            .aims
            .iter_mut()
            .filter(|((target, at), _)| *at == zookeeper && fits(target));
        let ((target, _), shots) =
            fitting.min_by_key(|(_, shots)| (shots.hit, shots.aimed, rng.random::<u32>()))?;
        let (new, rare) = (
            shots.hit == 0,
            matches!(target, Target::Point(point) if point.place == Place::Begin),
        );
        if share > if new { NEW } else { KNOWN } && !(new && rare) {
            return None;
        }
        shots.aimed += 1;
        Some(*target)
    }
}
