//! Deliberate faults of the world itself: each breaks a rule of the protocol at a seam, to show that the oracles see it.

use serde::{Deserialize, Serialize};

/// A rule that the world breaks. None of this is in the engine's code: a seam, or the shell around a core, is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bug {
    /// The ledger applies every write, whatever version it expects.
    LedgerIgnoresVersion,
    /// A crash takes the newest synced log entry with it.
    StorageForgetsSync,
    /// Spouts that promise identical replays yield other records.
    SpoutCheats,
    /// A coordinator's shell announces a seal before its write is applied.
    AnnouncesEarly,
    /// A worker's shell acknowledges that a batch is prepared before it is.
    AcksBeforePrepared,
    /// A link loses a chunk, and covers it up.
    LosesChunk,
    /// A link delivers a chunk twice, and covers it up.
    RepeatsChunk,
    /// A coordinator's shell starts a term without fencing the ledger.
    SkipsFence,
    /// A worker's shell publishes a batch when it is prepared.
    PublishesEarly,
    /// A coordinator's shell rewinds workers to the batch before the sealed one.
    RewindsTooFar,
    /// A sink says that it has taken a part which it refuses.
    SinkLies,
    /// A worker's shell shows a batch to readers when it is prepared.
    ShowsEarly,
    /// An executor is not told of rewinds, and somebody answers for it.
    SwallowsRewind,
    /// A link delivers a chunk of an old attempt as one of the new, and drops the new one.
    RevivesOldChunk,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 14] = [
        Bug::LedgerIgnoresVersion,
        Bug::StorageForgetsSync,
        Bug::SpoutCheats,
        Bug::AnnouncesEarly,
        Bug::AcksBeforePrepared,
        Bug::LosesChunk,
        Bug::RepeatsChunk,
        Bug::SkipsFence,
        Bug::PublishesEarly,
        Bug::RewindsTooFar,
        Bug::SinkLies,
        Bug::ShowsEarly,
        Bug::SwallowsRewind,
        Bug::RevivesOldChunk,
    ];
}
