//! A world's plan: everything that happens in it but for the order in which its parts take turns, which follows from the seed.

use std::fmt;

use super::bug::Bug;
use super::draw;

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

/// A process of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// A worker.
    Worker(u16),
    /// The coordinator that was started last.
    Coordinator,
}

/// What a ledger write of unknown outcome comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is applied.
    Applied,
    /// It is not applied.
    Lost,
    /// It is on its way for so many steps, and is then applied or refused.
    Late(u32),
}

/// What a worker's disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The next write is refused for want of space.
    Full,
    /// The next write fails without an effect.
    Fails,
    /// The next write has its effect and fails.
    FailsLate,
    /// The process dies before the next write.
    DiesBefore,
    /// The process dies after the next write.
    DiesAfter,
    /// The next look at the data fails.
    Unreadable,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process dies, and is started again after so many milliseconds.
    Crash {
        /// Which.
        process: Process,
        /// How long it is away.
        down_ms: u64,
    },
    /// Another coordinator starts, while the one before goes on.
    TakeOver,
    /// The coordinator stands still for so long, and another takes over.
    Freeze {
        /// How long.
        ms: u64,
    },
    /// What one process sends to another is lost for a while; the other way all is well.
    Cut {
        /// The sender.
        from: Process,
        /// The receiver.
        to: Process,
        /// How long.
        ms: u64,
    },
    /// The next message between two processes is lost.
    Lose,
    /// The next message between two processes comes twice.
    Repeat,
    /// The next message between two processes, and all behind it, come so much later.
    Delay {
        /// How much.
        ms: u64,
    },
    /// The outcome of the next ledger write is unknown.
    Unknown(Fate),
    /// The next look at the ledger, or the next refusal, shows the record that was there before so many writes.
    Stale(u8),
    /// A worker's disk fails.
    Disk {
        /// Whose.
        worker: u16,
        /// How.
        fault: DiskFault,
    },
    /// The next so many reads of a spout fail.
    Spout {
        /// Which spout.
        spout: u8,
        /// How many reads.
        times: u8,
    },
    /// The sinks refuse the next so many parts.
    Sinks {
        /// How many.
        times: u8,
    },
    /// The wall clock jumps by so many milliseconds.
    Clock {
        /// How far.
        ms: i64,
    },
}

impl Fault {
    /// The kinds of faults, in the order of [`Fault::kind`].
    pub const KINDS: [&'static str; 13] = [
        "crash of a worker",
        "crash of the coordinator",
        "take-over",
        "freeze",
        "cut",
        "lost message",
        "repeated message",
        "delayed message",
        "unknown ledger write",
        "stale ledger",
        "disk",
        "spout",
        "clock, sinks",
    ];

    /// Its kind, as an index into [`Fault::KINDS`].
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Fault::Crash {
                process: Process::Worker(_),
                ..
            } => 0,
            Fault::Crash { .. } => 1,
            Fault::TakeOver => 2,
            Fault::Freeze { .. } => 3,
            Fault::Cut { .. } => 4,
            Fault::Lose => 5,
            Fault::Repeat => 6,
            Fault::Delay { .. } => 7,
            Fault::Unknown(_) => 8,
            Fault::Stale(_) => 9,
            Fault::Disk { .. } => 10,
            Fault::Spout { .. } => 11,
            Fault::Sinks { .. } | Fault::Clock { .. } => 12,
        }
    }
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
