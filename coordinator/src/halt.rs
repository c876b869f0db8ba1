//! Why a term could not go on.

use std::fmt;

use crate::cause::Failure;
use crate::error::Error;
use crate::ledger::{Version, WriterId};
use crate::settings::WorkerId;
use crate::{Attempt, Epoch};

/// Why a term could not go on: what, where, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HaltReason {
    /// Another coordinator has taken the ledger over; this one's writes are refused for good.
    Fenced {
        /// The term that holds the ledger now.
        epoch: Epoch,
        /// Who wrote it.
        writer: WriterId,
        /// Its version.
        version: Version,
    },
    /// The ledger's record was deleted while the topology ran.
    LedgerGone,
    /// The ledger can no longer be written.
    Ledger(Error),
    /// A worker cannot carry a rewind out.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// What it said.
        message: String,
    },
    /// A batch failed each time, in its careful attempt too.
    Poison {
        /// The last failure, with the record's position if one was to blame.
        failure: Failure,
        /// How many attempts were made.
        attempts: u32,
    },
    /// A batch failed in a way that another attempt cannot cure.
    Permanent(Failure),
    /// A spout that promises identical replays did not read the same again.
    NotIdentical {
        /// The attempt that read something else.
        attempt: Attempt,
        /// The spout.
        spout: String,
        /// Its partition.
        partition: String,
        /// What differs.
        what: String,
    },
    /// A source did not go on where the batch before ended.
    PositionGap {
        /// The attempt.
        attempt: Attempt,
        /// The spout.
        spout: String,
        /// Its partition.
        partition: String,
        /// Where the batch before ended.
        expected: Option<Vec<u8>>,
        /// Where the source began.
        found: Option<Vec<u8>>,
    },
    /// The shell around the coordinator broke its contract.
    Protocol(String),
}

fn hex(bytes: Option<&Vec<u8>>) -> String {
    match bytes {
        None => "the beginning".to_owned(),
        Some(bytes) => bytes
            .iter()
            .fold(String::from("0x"), |text, byte| format!("{text}{byte:02x}")),
    }
}

impl fmt::Display for HaltReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HaltReason::Fenced { epoch, writer, version } => write!(
                f,
                "another coordinator (writer {writer}, epoch {epoch}, ledger version {version}) has taken over; \
                 nothing is lost, it goes on from what is sealed"
            ),
            HaltReason::LedgerGone => f.write_str(
                "the ledger's record was deleted while the topology ran; put it back from a copy before starting again, \
                 or what is sealed will not be known",
            ),
            HaltReason::Ledger(error) => write!(f, "the ledger cannot be written: {error}"),
            HaltReason::Worker { worker, message } => write!(f, "{worker} cannot go on from what is sealed: {message}"),
            HaltReason::Poison { failure, attempts } => {
                write!(f, "batch {} failed in {attempts} attempts, the last one record by record: {}", failure.attempt.txid, failure.cause)?;
                match failure.cause.origin {
                    Some(_) => f.write_str("; correct the program or the record, or have such records made dead letters"),
                    None => f.write_str("; no single record could be blamed, so that none can be left out"),
                }
            }
            HaltReason::Permanent(failure) => {
                write!(f, "batch {} cannot be processed: {}", failure.attempt.txid, failure.cause)
            }
            HaltReason::NotIdentical { attempt, spout, partition, what } => write!(
                f,
                "spout {spout:?} promises identical replays but read partition {partition:?} differently for {attempt}: {what}; \
                 the source was changed, or the spout should not promise this"
            ),
            HaltReason::PositionGap { attempt, spout, partition, expected, found } => write!(
                f,
                "spout {spout:?} read partition {partition:?} for {attempt} from {} instead of {}, where the batch before ended; \
                 this is a fault of the spout",
                hex(found.as_ref()),
                hex(expected.as_ref())
            ),
            HaltReason::Protocol(what) => write!(f, "the coordinator was used wrongly: {what}; please report this"),
        }
    }
}
