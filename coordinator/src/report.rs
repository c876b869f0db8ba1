//! What is told about a batch once it is sealed.

use serde::{Deserialize, Serialize};

use crate::cause::{Failure, Skip};
use crate::event::ReadReport;
use crate::settings::Micros;
use crate::{Attempt, TxId};

/// How long the sealed attempt took, phase by phase; together they are the time from issue to seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Phases {
    /// From issue until every source had read.
    pub read: Micros,
    /// From there until all was processed and prepared.
    pub process: Micros,
    /// From there until the ledger write was known to be applied.
    pub seal: Micros,
}

/// A sealed batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchReport {
    /// The batch.
    pub txid: TxId,
    /// The attempt that was sealed.
    pub attempt: Attempt,
    /// How many attempts this term made at it, this one included.
    pub attempts: u32,
    /// Records read, over all spouts.
    pub records: u64,
    /// Bytes read, over all spouts.
    pub bytes: u64,
    /// The batch's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Time per phase of the sealed attempt.
    pub phases: Phases,
    /// How many batches the same ledger write sealed.
    pub sealed_together: u32,
    /// What was read, by spout.
    pub reads: Vec<ReadReport>,
    /// Records left out, now dead letters.
    pub skipped: Vec<Skip>,
    /// Why the other attempts failed, oldest first; of very many only the newest [`BatchReport::MAX_FAILURES`].
    pub failures: Vec<Failure>,
}

impl BatchReport {
    /// How many failures a report keeps; each was also told as it happened.
    pub const MAX_FAILURES: usize = 32;
}
