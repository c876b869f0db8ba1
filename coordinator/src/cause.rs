//! Why an attempt failed, and which record is to blame.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Attempt;

/// What kind of thing went wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CauseKind {
    /// User code returned an error.
    User,
    /// User code panicked.
    Panic,
    /// A spout could not read.
    Spout,
    /// A link lost a message or delivered a wrong count.
    Link,
    /// No progress for the whole timeout.
    Timeout,
    /// The state store or the batch log could not be read or written.
    Storage,
    /// A worker restarted or left. Nobody's record is to blame, so it does not count towards `max_attempts`.
    WorkerLost,
    /// The attempt itself was fine: it was dropped with another batch that failed. Does not count either.
    Dropped,
}

impl CauseKind {
    /// Whether a record of the batch may be to blame, so that the failure counts towards `max_attempts`.
    #[must_use]
    pub fn counts(self) -> bool {
        !matches!(self, CauseKind::WorkerLost | CauseKind::Dropped)
    }

    /// The name used in texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CauseKind::User => "error",
            CauseKind::Panic => "panic",
            CauseKind::Spout => "spout error",
            CauseKind::Link => "link error",
            CauseKind::Timeout => "timeout",
            CauseKind::Storage => "storage error",
            CauseKind::WorkerLost => "worker lost",
            CauseKind::Dropped => "dropped",
        }
    }
}

/// Where a record came from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The spout's name.
    pub spout: String,
    /// Its partition.
    pub partition: String,
    /// The record's position there, in the spout's own bytes.
    pub position: Vec<u8>,
    /// The position behind it. Where a spout yields other records when it is read again, both ends together tell which one it was.
    pub end: Vec<u8>,
    /// The position in the spout's own words, for messages; may be empty.
    pub shown: String,
}

/// A record that is left out of its batch, and why: a dead letter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Skip {
    /// The record.
    pub origin: Origin,
    /// What it failed with.
    pub cause: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.shown.is_empty() {
            return write!(f, "{}, spout {:?}", self.shown, self.spout);
        }
        write!(
            f,
            "spout {:?}, partition {:?}, position 0x",
            self.spout, self.partition
        )?;
        self.position
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why an attempt failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// What kind of thing went wrong.
    pub kind: CauseKind,
    /// The operator it went wrong in, if one did.
    pub operator: Option<String>,
    /// What it said.
    pub message: String,
    /// The record it was at, if that is known (in a careful attempt it is).
    pub origin: Option<Box<Origin>>,
    /// Whether another attempt cannot help: everything before the batch is sealed, then the topology halts.
    pub permanent: bool,
}

impl Cause {
    /// A cause of which only its kind and message are known, and that another attempt may cure.
    #[must_use]
    pub fn new(kind: CauseKind, message: impl Into<String>) -> Cause {
        Cause {
            kind,
            operator: None,
            message: message.into(),
            origin: None,
            permanent: false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(operator) = &self.operator {
            write!(f, " in {operator}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " (at {origin})"),
            None => Ok(()),
        }
    }
}

/// An attempt that failed, with its cause.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The attempt.
    pub attempt: Attempt,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} failed: {}", self.attempt, self.cause)
    }
}
