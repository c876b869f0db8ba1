//! Which batch runs, and when it commits: the coordinator, the acker and the ledger.
//!
//! [`Coordinator`] is pure: it turns an [`Event`] into a [`Step`], which is at most one ledger write and some [`Action`]s. It has no
//! clock, no socket and no thread; a shell reads events, carries steps out and tells the outcomes. One coordinator object
//! lives for one term: [`open_term`] reads and fences the [`Ledger`], [`Event::Fenced`] starts it, [`Action::Stopped`] or
//! [`Action::Halt`] ends it. Dropping it at any moment loses nothing, for the ledger is all there is to know.
//!
//! Time is in [`Micros`] of a monotonic clock, except for the times that batches carry, which are milliseconds since 1970.

pub mod acker;
mod action;
mod batch;
mod cause;
mod coordinator;
mod error;
mod event;
mod fingerprint;
mod halt;
pub mod ledger;
mod live;
mod position;
mod report;
mod settings;
mod term;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;

pub use acker::{AckOutcome, Acker, edge_id, prepare_id};
pub use action::{Action, Step, Write};
pub use batch::{Batch, Replay};
pub use cause::{Cause, CauseKind, Failure, Origin, Skip};
pub use coordinator::{Coordinator, Phase};
pub use error::{Error, Result};
pub use event::{Event, More, ReadReport};
pub use fingerprint::{Difference, Fingerprint};
pub use fulmar_state::{Attempt, Durability, Epoch, Generation, TxId};
pub use halt::HaltReason;
pub use ledger::{
    Directory, FileLedger, Keeper, Ledger, LedgerRecord, MemoryLedger, Version, WriteOutcome,
    WriterId,
};
pub use live::{LiveSettings, Tuning};
pub use position::{PartitionMove, Positions};
pub use report::{BatchReport, Phases};
pub use settings::{Limits, Micros, OnPoison, Replays, Settings, SpoutInfo, WorkerId};
pub use term::{Retry, Term, check_term, open_term};
