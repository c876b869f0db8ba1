//! What a world came to.

use std::fmt;

use super::fault::Fault;

/// What the newest coordinator was doing when something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There was none, or it was fencing the ledger.
    Opening,
    /// It waited for its workers to rewind.
    Rewinding,
    /// Nothing was in flight.
    Idle,
    /// Batches were in flight.
    Flying,
    /// A seal was on its way to the ledger.
    Sealing,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Phase; 5] = [
        Phase::Opening,
        Phase::Rewinding,
        Phase::Idle,
        Phase::Flying,
        Phase::Sealing,
    ];
}

/// How often each kind of fault struck in each phase.
pub type Struck = [[u64; Phase::ALL.len()]; Fault::KINDS.len()];

/// What happened in a world, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Worlds.
    pub worlds: u64,
    /// Steps of their parts.
    pub steps: u64,
    /// Simulated microseconds.
    pub micros: u64,
    /// Batches that were sealed.
    pub sealed: u64,
    /// Terms that coordinators began.
    pub terms: u64,
    /// Processes that died, those included that could not go on.
    pub crashes: u64,
    /// Attempts that failed or were dropped.
    pub replays: u64,
    /// Terms that ended because another had taken over.
    pub fenced: u64,
    /// Folds that were recorded.
    pub folds: u64,
    /// Reads of states that were compared.
    pub reads: u64,
    /// Dead letters.
    pub dead: u64,
    /// Faults by kind and phase.
    pub struck: Struck,
}

impl Figures {
    /// Adds those of another world.
    pub fn add(&mut self, other: &Figures) {
        let pairs = [
            (&mut self.worlds, other.worlds),
            (&mut self.steps, other.steps),
            (&mut self.micros, other.micros),
            (&mut self.sealed, other.sealed),
            (&mut self.terms, other.terms),
            (&mut self.crashes, other.crashes),
            (&mut self.replays, other.replays),
            (&mut self.fenced, other.fenced),
            (&mut self.folds, other.folds),
            (&mut self.reads, other.reads),
            (&mut self.dead, other.dead),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        let cells = self.struck.iter_mut().flatten();
        cells
            .zip(other.struck.iter().flatten())
            .for_each(|(sum, more)| *sum += more);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.micros as f64 / 3.6e9;
        writeln!(
            f,
            "{} worlds, {} steps, {hours:.1} simulated hours",
            self.worlds, self.steps
        )?;
        writeln!(
            f,
            "{} batches sealed in {} terms, {} attempts replayed",
            self.sealed, self.terms, self.replays
        )?;
        writeln!(
            f,
            "{} crashes, {} terms fenced out, {} folds, {} reads, {} dead letters",
            self.crashes, self.fenced, self.folds, self.reads, self.dead
        )?;
        write!(f, "{:<26}", "fault")?;
        for phase in Phase::ALL {
            write!(f, "{:>10}", format!("{phase:?}"))?;
        }
        for (kind, row) in Fault::KINDS.iter().zip(&self.struck) {
            write!(f, "\n{kind:<26}")?;
            for count in row {
                write!(f, "{count:>10}")?;
            }
        }
        Ok(())
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The step at which it was seen.
    pub step: u32,
    /// What was seen.
    pub what: String,
}

/// What a world came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A digest of every step: the same plan has the same, on every machine.
    pub digest: u64,
    /// What happened.
    pub figures: Figures,
    /// The first broken rule, if one was.
    pub violation: Option<Violation>,
}
