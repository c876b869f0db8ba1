//! What sources are told of a batch.

use serde::{Deserialize, Serialize};

use crate::Attempt;
use crate::cause::Skip;
use crate::position::PartitionMove;
use crate::settings::Limits;

/// The ranges that a lost attempt of the same batch read from a spout that promises identical replays: to be read again exactly.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// The ranges, with their digests.
    pub moves: Vec<PartitionMove>,
    /// Records in all of them.
    pub records: u64,
}

/// One attempt at a batch, for the sources to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// The attempt.
    pub attempt: Attempt,
    /// The attempt of the batch before, that this one builds on; `None` for the first batch of all.
    pub base: Option<Attempt>,
    /// The batch's time, in milliseconds since 1970: the only clock that operators see. Never earlier than the batch
    /// before, and the same for all attempts of one term.
    pub time_ms: u64,
    /// Where it ends, for each spout.
    pub limits: Limits,
    /// Whether records go one by one with their positions carried along, so that a failure can name its record.
    pub careful: bool,
    /// Records to leave out, which become dead letters of this batch. They count in what the source reports (moves, records, digest)
    /// as if they were not left out, so that a replay is compared with what it repeats.
    pub skip: Vec<Skip>,
    /// What to read again exactly, by spout.
    pub replay: Vec<Option<Replay>>,
}
