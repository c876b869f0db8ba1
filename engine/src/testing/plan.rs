//! A world's plan: everything that happens in it but for the order in which its parts take turns, which follows from the seed.

use serde::{Deserialize, Serialize};

use super::bug::Bug;
use super::draw;
use super::fault::Fault;
use super::graph::Graph;

/// What a world is made of. Drawn from a seed by [`Plan::of`]; may be printed, changed, read again and run as it is: the same plan gives
/// the same trace.
///
/// ```
/// use fulmar::testing::{Fault, Plan, World};
///
/// let text = Plan::of(7).to_string();
/// let mut plan: Plan = text.parse()?;
/// assert_eq!(plan, Plan::of(7));
/// plan.faults = vec![(40, Fault::TakeOver)];
/// assert_eq!(World::run(&plan).violation, None);
/// # Ok::<(), fulmar::testing::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Whose turn it is, and how long things take.
    pub seed: u64,
    /// The topology.
    pub graph: Graph,
    /// Worker processes.
    pub workers: u16,
    /// Executors of each worker.
    pub executors: u16,
    /// Partitions of each state.
    pub partitions: u16,
    /// What there is to read, for each spout of the graph.
    pub spouts: Vec<SpoutPlan>,
    /// Records that no attempt can process: spout, partition and offset.
    #[serde(default)]
    pub poison: Vec<((u8, u8, u32), Poison)>,
    /// Batches in flight.
    pub max_pending: usize,
    /// Records of one spout in a batch.
    pub batch_records: u64,
    /// How often a batch may fail before it is tried record by record.
    pub max_attempts: u32,
    /// Bytes of log entries after which a worker folds.
    pub log_bytes: usize,
    /// A step takes up to so many microseconds, until the faults end.
    pub pace_us: u64,
    /// An executor that gets its turn only now and then.
    #[serde(default)]
    pub slow: Option<u16>,
    /// At which step what goes wrong, in the order of the steps.
    #[serde(default)]
    pub faults: Vec<(u32, Fault)>,
    /// The step from which on nothing goes wrong any more.
    pub calm: u32,
    /// A deliberate fault of the world itself, to see that it is found.
    #[serde(default)]
    pub bug: Option<Bug>,
}

/// One spout's data and promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoutPlan {
    /// What it makes of a second reading.
    pub promise: Promise,
    /// The values of each partition.
    pub partitions: Vec<Vec<u8>>,
    /// Whether they come by and by.
    pub trickles: bool,
}

/// What a spout makes of a second reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promise {
    /// Promises the same, and keeps it.
    Identical,
    /// Promises nothing, and yields other records, more or fewer.
    Any,
    /// Promises the same, and yields other records.
    Cheats,
}

/// How a record fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Poison {
    /// User code returns an error.
    Fails,
    /// User code panics.
    Panics,
}

impl Plan {
    /// The plan that a seed stands for.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        draw::plan(seed)
    }

    /// The same plan in a world with a deliberate fault of its own.
    #[must_use]
    pub fn with_bug(mut self, bug: Bug) -> Plan {
        self.bug = Some(bug);
        if bug == Bug::SpoutCheats {
            let honest = |spout: &&mut SpoutPlan| spout.promise == Promise::Identical;
            let spouts = self.spouts.iter_mut().filter(honest);
            spouts.for_each(|spout| spout.promise = Promise::Cheats);
        }
        self
    }

    /// Executors of all workers.
    pub(super) fn tasks(&self) -> u16 {
        self.workers * self.executors
    }

    /// Who reads a spout.
    pub(super) fn reader_of(&self, spout: usize) -> u16 {
        spout as u16 % self.workers
    }
}
