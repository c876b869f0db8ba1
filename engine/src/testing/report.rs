//! What a world came to.

use std::fmt;

use super::fault::{Fault, Kind};

/// What was going on when something went wrong: one of the first five, by the newest coordinator, and any of the others.
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
    /// A worker had a batch durably that was not sealed.
    Prepared,
    /// A worker's fold was being written.
    Folding,
    /// A worker had not published all that was sealed.
    Publishing,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Phase; 8] = [
        Phase::Opening,
        Phase::Rewinding,
        Phase::Idle,
        Phase::Flying,
        Phase::Sealing,
        Phase::Prepared,
        Phase::Folding,
        Phase::Publishing,
    ];

    /// How many there are of the newest coordinator: it is in one of them at any time.
    const OF_COORDINATOR: usize = 5;
}

/// When nothing is in flight, every worker has rewound to the newest generation, of which nothing was issued: nothing is read or worked
/// on that could go wrong.
const NOTHING_TO_DO: &str = "nothing is in flight anywhere";

/// Why a kind of fault cannot strike in a phase.
const IMPOSSIBLE: [(Kind, Phase, &str); 3] = [
    (Kind::OtherReplay, Phase::Idle, NOTHING_TO_DO),
    (Kind::PoisonError, Phase::Idle, NOTHING_TO_DO),
    (Kind::PoisonPanic, Phase::Idle, NOTHING_TO_DO),
];

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
    /// Sealed batches without a record.
    pub empty: u64,
    /// Writes that a loss of power took away.
    pub lost_writes: u64,
    /// The most steps that a world took to its end once nothing went wrong any more.
    pub longest_calm: u64,
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
            (&mut self.empty, other.empty),
            (&mut self.lost_writes, other.lost_writes),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        self.longest_calm = self.longest_calm.max(other.longest_calm);
        let cells = self.struck.iter_mut().flatten();
        cells
            .zip(other.struck.iter().flatten())
            .for_each(|(sum, more)| *sum += more);
    }

    /// How often a kind of fault struck.
    #[must_use]
    pub fn strikes(&self, kind: Kind) -> u64 {
        self.struck[kind as usize][..Phase::OF_COORDINATOR]
            .iter()
            .sum()
    }

    /// The kinds and phases that were not met together, though they can be.
    #[must_use]
    pub fn missing(&self) -> Vec<(Kind, Phase)> {
        let cells = Kind::ALL
            .into_iter()
            .flat_map(|kind| Phase::ALL.map(|phase| (kind, phase)));
        let met = |(kind, phase): &(Kind, Phase)| {
            self.struck[*kind as usize][*phase as usize] > 0
                || IMPOSSIBLE
                    .iter()
                    .any(|(one, other, _)| (one, other) == (kind, phase))
        };
        cells.filter(|cell| !met(cell)).collect()
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
        writeln!(
            f,
            "{} empty batches, {} writes lost with the power, {} steps to the end at most",
            self.empty, self.lost_writes, self.longest_calm
        )?;
        write!(f, "{:<26}{:>9}", "fault", "all")?;
        for phase in Phase::ALL {
            write!(f, "{:>10}", format!("{phase:?}"))?;
        }
        for (kind, row) in Kind::ALL.into_iter().zip(&self.struck) {
            write!(f, "\n{:<26}{:>9}", kind.name(), self.strikes(kind))?;
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
