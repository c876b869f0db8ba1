//! What a coordinator is told once, at its start, and the small words its events and actions use.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A worker's number: one worker is the whole system when embedded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

/// Microseconds of the shell's monotonic clock (whose zero means nothing), or between two of its readings.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Micros(pub u64);

impl Micros {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Micros {
        Micros(ms.saturating_mul(1000))
    }

    /// This much later.
    #[must_use]
    pub const fn after(self, wait: Micros) -> Micros {
        Micros(self.0.saturating_add(wait.0))
    }

    /// The time since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Micros) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 / 1000
    }
}

/// Where a batch ends at the latest. Each spout gets the whole limit: a batch over two spouts may hold twice as much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Records of one spout, over all its partitions.
    pub records: u64,
    /// Bytes of one spout, over all its partitions.
    pub bytes: u64,
    /// Milliseconds that reading may take, however few records there are by then.
    pub time_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            records: 10_000,
            bytes: 16 << 20,
            time_ms: 1_000,
        }
    }
}

/// What a spout promises about reading a batch again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Replays {
    /// The same records in the same ranges; held to it by digest (Trident's transactional spout).
    Identical,
    /// Any records from the same position on (Trident's opaque spout).
    Any,
}

/// A spout as the coordinator knows it; its number is its place in [`Settings::spouts`]. One source reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpoutInfo {
    /// The name that the ledger keeps its positions under.
    pub name: String,
    /// What it promises about replays.
    pub replays: Replays,
}

/// What becomes of a record that fails its batch every time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum OnPoison {
    /// The topology halts and names the record's position.
    #[default]
    Halt,
    /// The record is left out, becomes a dead letter in the same seal, and the topology goes on.
    DeadLetter,
}

/// What a coordinator is told at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The topology's name; the ledger's record must carry the same.
    pub topology: String,
    /// How many batches may be in flight.
    pub max_pending: usize,
    /// How often a batch may fail before it is run carefully, record by record.
    pub max_attempts: u32,
    /// A batch that shows no progress for so long, in milliseconds, has failed.
    pub timeout_ms: u64,
    /// After so many milliseconds a rewind or a seal that is not acknowledged is told again, and a ledger write of unknown
    /// outcome is sent again.
    pub retry_ms: u64,
    /// Where a batch ends.
    pub limits: Limits,
    /// The spouts, in the order their numbers follow.
    pub spouts: Vec<SpoutInfo>,
    /// Every worker: a batch is sealed only when it is prepared on each.
    pub workers: Vec<WorkerId>,
    /// What becomes of a poison record.
    pub on_poison: OnPoison,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            topology: String::new(),
            max_pending: 4,
            max_attempts: 3,
            timeout_ms: 30_000,
            retry_ms: 500,
            limits: Limits::default(),
            spouts: Vec::new(),
            workers: vec![WorkerId(0)],
            on_poison: OnPoison::default(),
        }
    }
}

impl Settings {
    /// Refuses what no topology can run with, naming it.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Settings { what });
        if self.topology.is_empty() {
            return refuse("the topology has no name; give it one".into());
        }
        if self.max_pending == 0
            || self.max_attempts == 0
            || self.timeout_ms == 0
            || self.retry_ms == 0
        {
            return refuse(
                "max_pending, max_attempts, timeout_ms and retry_ms must be at least 1".into(),
            );
        }
        if self.limits.records == 0 || self.limits.bytes == 0 || self.limits.time_ms == 0 {
            return refuse(
                "the limits of a batch (records, bytes, time_ms) must be at least 1".into(),
            );
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.spouts.iter().find(|spout| !names.insert(&spout.name)) {
            return refuse(format!(
                "two spouts are named {:?}; positions are kept by name, rename one",
                twice.name
            ));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = self.workers.iter().find(|worker| !ids.insert(**worker)) {
            return refuse(format!("{twice} is listed twice"));
        }
        if self.workers.is_empty() {
            return refuse("there is no worker".into());
        }
        Ok(())
    }
}
