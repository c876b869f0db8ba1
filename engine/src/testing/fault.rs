//! What can go wrong in a world.

use serde::{Deserialize, Serialize};

/// A process of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// A worker.
    Worker(u16),
    /// The coordinator that was started last.
    Coordinator,
}

/// What a ledger write of unknown outcome comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is applied.
    Applied,
    /// It is not applied.
    Lost,
    /// It is on its way for so many steps, and is then applied or refused.
    Late(u32),
}

/// What a worker's disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFault {
    /// The next write is refused for want of space.
    Full,
    /// The next write fails without an effect.
    Fails,
    /// The next write has its effect and fails.
    FailsLate,
    /// The next write can be read, but could not be made durable: a power loss may still take it.
    SyncFails,
    /// The power is lost at the next write, before it is durable: of such writes only the oldest so many stay.
    LosesPower(u8),
    /// The next write takes so many milliseconds.
    Slow(u16),
    /// The process dies before the next write.
    DiesBefore,
    /// The process dies after the next write.
    DiesAfter,
    /// The next look at the data fails.
    Unreadable,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A process dies, and is started again after so many milliseconds.
    Crash {
        /// Which.
        process: Process,
        /// How long it is away.
        down_ms: u64,
    },
    /// A worker loses power: of the writes that were not made durable so many stay, the oldest, and the process starts again after so
    /// many milliseconds.
    PowerLoss {
        /// Which worker.
        worker: u16,
        /// How many writes the disk had carried out by itself.
        keeps: u8,
        /// How long it is away.
        down_ms: u64,
    },
    /// A worker dies, and once more so many steps after it has started again.
    CrashTwice {
        /// Which worker.
        worker: u16,
        /// How long it is away.
        down_ms: u64,
        /// How many steps.
        after: u32,
    },
    /// A worker and the coordinator die together.
    CrashBoth {
        /// Which worker.
        worker: u16,
        /// How long they are away.
        down_ms: u64,
    },
    /// Every process dies.
    CrashAll {
        /// Whether they lose power.
        power: bool,
        /// How long the first of them is away; the others follow one by one.
        down_ms: u64,
    },
    /// Another coordinator starts, while the one before goes on.
    TakeOver,
    /// The coordinator stands still for so long, and another takes over.
    Freeze {
        /// How long.
        ms: u64,
    },
    /// The coordinator's session with the ledger ends: it can write no more, another one is elected, and so much later it hears of it.
    Expire {
        /// How much later.
        ms: u64,
    },
    /// The coordinator and the ledger do not hear each other: what they say is lost or held up.
    LedgerCut {
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
    /// What a process and all others send to each other is lost for a while.
    Isolate {
        /// Which.
        process: Process,
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
    /// The same, but a fault of the next write strikes at the next write of a fold.
    Fold {
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
    /// A spout lists a partition from now on; before the first such fault of a partition it does not.
    Comes {
        /// Which spout.
        spout: u8,
        /// Which of its partitions.
        partition: u8,
    },
    /// A spout lists a partition no more, and nothing can be read of it.
    Goes {
        /// Which spout.
        spout: u8,
        /// Which of its partitions.
        partition: u8,
    },
    /// An executor gets its turn only now and then for a while.
    Slow {
        /// Which executor.
        executor: u16,
        /// How long.
        ms: u64,
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

/// The kinds of what goes wrong, as they are counted: when they strike, not when the plan arms them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A worker dies.
    WorkerCrash,
    /// A worker loses power.
    PowerLoss,
    /// A worker dies before it has recovered from its last death.
    CrashAgain,
    /// The coordinator dies.
    CoordinatorCrash,
    /// A worker and the coordinator die together.
    CrashBoth,
    /// Every process dies.
    CrashAll,
    /// Another coordinator starts.
    TakeOver,
    /// The coordinator stands still.
    Freeze,
    /// The coordinator loses its session with the ledger.
    Expire,
    /// What coordinator and ledger say to each other is lost or held up.
    LedgerCut,
    /// A ledger write's outcome is unknown.
    Unknown,
    /// The ledger shows an older record.
    Stale,
    /// What one process sends to another is lost.
    Cut,
    /// A process is cut off from all others.
    Isolate,
    /// A message is lost.
    Lose,
    /// A message comes twice.
    Repeat,
    /// A message comes later.
    Delay,
    /// A write is refused for want of space.
    DiskFull,
    /// A write fails, with its effect or without.
    DiskError,
    /// A write cannot be made durable.
    SyncError,
    /// A write takes long.
    SlowDisk,
    /// A worker dies right before or after a write.
    DeadlyWrite,
    /// The disk cannot be read.
    DiskRead,
    /// A spout cannot be read.
    SpoutError,
    /// A spout that promises nothing yields something else when it is read again.
    OtherReplay,
    /// A spout lists one more partition.
    PartitionComes,
    /// A spout lists one partition less.
    PartitionGoes,
    /// A sink refuses a part.
    SinkRefuses,
    /// The wall clock jumps.
    ClockJump,
    /// An executor gets its turn only now and then.
    SlowExecutor,
    /// User code fails on a record.
    PoisonError,
    /// User code panics on a record.
    PoisonPanic,
}

impl Kind {
    /// All of them, in their order.
    pub const ALL: [Kind; 32] = [
        Kind::WorkerCrash,
        Kind::PowerLoss,
        Kind::CrashAgain,
        Kind::CoordinatorCrash,
        Kind::CrashBoth,
        Kind::CrashAll,
        Kind::TakeOver,
        Kind::Freeze,
        Kind::Expire,
        Kind::LedgerCut,
        Kind::Unknown,
        Kind::Stale,
        Kind::Cut,
        Kind::Isolate,
        Kind::Lose,
        Kind::Repeat,
        Kind::Delay,
        Kind::DiskFull,
        Kind::DiskError,
        Kind::SyncError,
        Kind::SlowDisk,
        Kind::DeadlyWrite,
        Kind::DiskRead,
        Kind::SpoutError,
        Kind::OtherReplay,
        Kind::PartitionComes,
        Kind::PartitionGoes,
        Kind::SinkRefuses,
        Kind::ClockJump,
        Kind::SlowExecutor,
        Kind::PoisonError,
        Kind::PoisonPanic,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Fault::KINDS[self as usize]
    }
}

impl Fault {
    /// The names of the kinds, in the order of [`Kind::ALL`].
    pub const KINDS: [&'static str; Kind::ALL.len()] = [
        "crash of a worker",
        "power loss of a worker",
        "crash during recovery",
        "crash of the coordinator",
        "crash of both",
        "crash of everything",
        "take-over",
        "freeze",
        "session expiry",
        "ledger cut off",
        "unknown ledger write",
        "stale ledger",
        "one-way cut",
        "partition both ways",
        "lost message",
        "repeated message",
        "delayed message",
        "full disk",
        "failing write",
        "failing fsync",
        "slow fsync",
        "death at a write",
        "unreadable disk",
        "failing spout",
        "other records on replay",
        "spout partition comes",
        "spout partition goes",
        "refusing sink",
        "clock jump",
        "slow executor",
        "poison record",
        "panic",
    ];

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Crash {
                process: Process::Worker(_),
                ..
            } => Kind::WorkerCrash,
            Fault::Crash { .. } => Kind::CoordinatorCrash,
            Fault::PowerLoss { .. } => Kind::PowerLoss,
            Fault::CrashTwice { .. } => Kind::CrashAgain,
            Fault::CrashBoth { .. } => Kind::CrashBoth,
            Fault::CrashAll { .. } => Kind::CrashAll,
            Fault::TakeOver => Kind::TakeOver,
            Fault::Freeze { .. } => Kind::Freeze,
            Fault::Expire { .. } => Kind::Expire,
            Fault::LedgerCut { .. } => Kind::LedgerCut,
            Fault::Cut { .. } => Kind::Cut,
            Fault::Isolate { .. } => Kind::Isolate,
            Fault::Lose => Kind::Lose,
            Fault::Repeat => Kind::Repeat,
            Fault::Delay { .. } => Kind::Delay,
            Fault::Unknown(_) => Kind::Unknown,
            Fault::Stale(_) => Kind::Stale,
            Fault::Disk { fault, .. } | Fault::Fold { fault, .. } => fault.kind(),
            Fault::Spout { .. } => Kind::SpoutError,
            Fault::Comes { .. } => Kind::PartitionComes,
            Fault::Goes { .. } => Kind::PartitionGoes,
            Fault::Slow { .. } => Kind::SlowExecutor,
            Fault::Sinks { .. } => Kind::SinkRefuses,
            Fault::Clock { .. } => Kind::ClockJump,
        }
    }

    /// Whether processes die of it.
    pub(super) fn is_crash(&self) -> bool {
        self.kind() <= Kind::CrashAll
    }
}

impl DiskFault {
    pub(super) fn kind(self) -> Kind {
        match self {
            DiskFault::Full => Kind::DiskFull,
            DiskFault::Fails | DiskFault::FailsLate => Kind::DiskError,
            DiskFault::SyncFails => Kind::SyncError,
            DiskFault::LosesPower(_) => Kind::PowerLoss,
            DiskFault::Slow(_) => Kind::SlowDisk,
            DiskFault::DiesBefore | DiskFault::DiesAfter => Kind::DeadlyWrite,
            DiskFault::Unreadable => Kind::DiskRead,
        }
    }
}
