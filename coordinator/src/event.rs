//! What a coordinator hears.

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::ledger::{LedgerRecord, Version, WriteOutcome};
use crate::position::PartitionMove;
use crate::settings::{Limits, Micros, WorkerId};
use crate::{Attempt, Generation, TxId};

/// Whether a source has more to read at the position where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum More {
    /// There is something to read now.
    Ready,
    /// There is nothing now; the source says so when there is.
    Waiting,
    /// There is nothing and never will be.
    Exhausted,
}

/// What a source read for one attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadReport {
    /// The ranges read, of those partitions where the position moved.
    pub moves: Vec<PartitionMove>,
    /// Records read, over all partitions.
    pub records: u64,
    /// Bytes read, over all partitions.
    pub bytes: u64,
    /// Whether there is more behind this batch.
    pub more: More,
}

/// What a coordinator hears. Whatever carries an attempt or a generation that is not the live one is ignored (I6), so
/// events may be late, lost and (acknowledgements aside, which then count as lost) repeated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The time, before any event whose time matters, and every `retry_ms` or so when nothing else happens.
    Tick {
        /// The monotonic clock: deadlines and phases.
        now: Micros,
        /// The wall clock in milliseconds since 1970: the time a batch carries. It may jump; batch times never go back.
        wall_ms: u64,
    },
    /// The ledger was read and fenced for this term ([`crate::open_term`]); the coordinator rewinds to what is sealed.
    Fenced {
        /// The record as this term's fence wrote it.
        record: Box<LedgerRecord>,
        /// Its version.
        version: Version,
    },
    /// A worker has carried a rewind out, with its store, executors and sources; or cannot.
    Rewound {
        /// The worker.
        worker: WorkerId,
        /// The rewind.
        generation: Generation,
        /// `Err` with a clear text ends the term.
        outcome: Result<(), String>,
    },
    /// A worker has started again and knows nothing of what is in flight: everything unsealed is dropped and issued anew.
    Restarted {
        /// The worker.
        worker: WorkerId,
        /// What is known about it.
        cause: Cause,
    },
    /// The source of a spout has something to read. Each source says how it stands after every rewind, and
    /// whenever it changes other than by a [`Event::Read`]. Over a link that can lose messages it says so
    /// again from time to time; from an old generation it is told the rewind again.
    Ready {
        /// The spout's number.
        spout: usize,
        /// The last rewind that the source has carried out.
        generation: Generation,
    },
    /// The source has nothing to read now.
    Waiting {
        /// The spout's number.
        spout: usize,
        /// The last rewind that the source has carried out.
        generation: Generation,
    },
    /// The source has nothing to read and never will.
    Exhausted {
        /// The spout's number.
        spout: usize,
        /// The last rewind that the source has carried out.
        generation: Generation,
    },
    /// A source has read its share of an attempt and sent it on.
    Read {
        /// The attempt.
        attempt: Attempt,
        /// The spout's number.
        spout: usize,
        /// What it read.
        report: ReadReport,
        /// XOR of the edge ids of all it sent, markers included.
        xor: u64,
    },
    /// Part of an attempt has been processed or prepared. A zero `xor` is a sign of life from long work.
    ///
    /// What was consumed and what was sent because of it belong into one report ([`crate::acker`] says why).
    /// Besides the edges, each worker's [`crate::prepare_id`] must come once: when the attempt is durable in its log.
    Ack {
        /// The attempt.
        attempt: Attempt,
        /// XOR of the edge ids consumed and sent.
        xor: u64,
    },
    /// An attempt failed.
    Failed {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        cause: Cause,
    },
    /// How a ledger write ended. Each [`crate::Step::record`] is answered, one at a time.
    Ledger {
        /// The version the write was conditional on: it tells late answers apart.
        expected: Version,
        /// How it ended.
        outcome: WriteOutcome,
    },
    /// A worker has noted that everything up to `txid` is sealed.
    SealAcked {
        /// The worker.
        worker: WorkerId,
        /// The newest batch it knows to be sealed.
        txid: TxId,
    },
    /// End the term: with `drain` when everything readable is sealed, else when what is in flight is sealed or dropped.
    Stop {
        /// Whether to finish what is readable first.
        drain: bool,
    },
    /// Issue nothing more; what is in flight goes on.
    Pause,
    /// Issue again.
    Resume,
    /// Other limits, from the next batch on (replays of a spout that promises identical ones keep their ranges).
    SetLimits(Limits),
    /// Another bound on the batches in flight (at least 1), from now on.
    SetMaxPending(usize),
    /// Another time, in milliseconds, after which a batch that shows no progress has failed (at least 1); from the next
    /// [`Event::Tick`] on, for what is in flight too.
    SetTimeout {
        /// The time.
        timeout_ms: u64,
    },
}
