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
