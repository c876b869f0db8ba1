//! A world's plan: everything that happens in it but for the order in which its parts take turns, which follows from the seed.

use std::fmt;

use super::bug::Bug;
use super::draw;
use super::fault::Fault;

/// What a world is made of. Drawn from a seed by [`Plan::of`]; may be printed, changed and run as it is: the same plan gives the same
/// trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whose turn it is, and how long things take.
    pub seed: u64,
    /// The topology.
    pub shape: Shape,
    /// Worker processes.
    pub workers: u16,
    /// Executors of each worker.
    pub executors: u16,
    /// Partitions of each state.
    pub partitions: u16,
    /// As many as the shape has.
    pub spouts: Vec<SpoutPlan>,
    /// Records that no attempt can process: spout, partition and offset.
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
    pub slow: Option<u16>,
    /// At which step what goes wrong, in the order of the steps.
    pub faults: Vec<(u32, Fault)>,
    /// The step from which on nothing goes wrong any more.
    pub calm: u32,
    /// A deliberate fault of the world itself, to see that it is found.
    pub bug: Option<Bug>,
}

/// The topologies that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Words of lines, counted with a combiner; the new counts go to a sink.
    Words,
    /// Two merged spouts, a combiner's and a reducer's state, a state fed by new values, a query, two sinks.
    Merged,
    /// The records that can be processed go to a sink as they are, and are counted.
    Letters,
}

/// One spout's data and promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoutPlan {
    /// What it makes of a second reading.
    pub promise: Promise,
    /// The values of each partition.
    pub partitions: Vec<Vec<u8>>,
    /// Whether they come by and by.
    pub trickles: bool,
}

/// What a spout makes of a second reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Promises the same, and keeps it.
    Identical,
    /// Promises nothing, and yields other records, more or fewer.
    Any,
    /// Promises the same, and yields other records.
    Cheats,
}

/// How a record fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            seed,
            shape,
            workers,
            executors,
            partitions,
            max_pending,
            batch_records,
            max_attempts,
            log_bytes,
            pace_us,
            calm,
            ..
        } = self;
        writeln!(
            f,
            "seed {seed}: {shape:?} on {workers} workers of {executors} executors, {partitions} partitions a state"
        )?;
        writeln!(
            f,
            "  {max_pending} batches in flight, {batch_records} records a batch and spout, careful after {max_attempts} failures"
        )?;
        writeln!(
            f,
            "  folds after {log_bytes} bytes, steps of up to {pace_us} us, slow executor {:?}, bug {:?}",
            self.slow, self.bug
        )?;
        for (index, spout) in self.spouts.iter().enumerate() {
            let (promise, trickles) = (spout.promise, spout.trickles);
            writeln!(
                f,
                "  spout {index}: {promise:?}, trickles {trickles}, {:?}",
                spout.partitions
            )?;
        }
        writeln!(f, "  poison {:?}", self.poison)?;
        for (step, fault) in &self.faults {
            writeln!(f, "  step {step}: {fault:?}")?;
        }
        write!(f, "  step {calm}: calm")
    }
}
