//! What a coordinator wants done.

use crate::Attempt;
use crate::Generation;
use crate::batch::Batch;
use crate::cause::Failure;
use crate::halt::HaltReason;
use crate::ledger::{LedgerRecord, Version};
use crate::position::Positions;
use crate::report::BatchReport;

/// One conditional ledger write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// What to write.
    pub record: LedgerRecord,
    /// The version it must replace.
    pub expected: Version,
}

/// What one event led to.
///
/// Nothing in `actions` depends on `record`: what may only happen once a write is applied comes from the step that is
/// told so by [`crate::Event::Ledger`]. So both can be carried out at once; actions in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Step {
    /// The write to make; its outcome comes back as [`crate::Event::Ledger`]. There is never a second one before that.
    pub record: Option<Box<Write>>,
    /// What to do, in order.
    pub actions: Vec<Action>,
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// To every worker (store, executors) and source: drop everything after `sealed`, go on from `positions`. Repeated until every worker
    /// has answered and every source has spoken: whoever has carried it out only answers again.
    Rewind {
        /// Names this rewind; greater than all before it.
        generation: Generation,
        /// The newest sealed attempt; `None` if nothing is.
        sealed: Option<Attempt>,
        /// Where each partition goes on.
        positions: Positions,
    },
    /// To every source: read this batch. Executors learn of it by its markers.
    Issue(Batch),
    /// To every worker: this attempt is sealed, and so is all that it builds on. Repeated until each has acknowledged.
    Announce {
        /// The sealed attempt.
        attempt: Attempt,
    },
    /// To tell: a batch is sealed.
    Sealed(BatchReport),
    /// To tell: an attempt failed, or was dropped with one that failed. Every time; to be logged and counted.
    Replayed(Failure),
    /// Everything readable is sealed and every worker knows; once each time that becomes true.
    Drained,
    /// The term has ended as asked. Nothing follows.
    Stopped,
    /// The term has ended because it could not go on. Nothing follows.
    Halt(HaltReason),
}
