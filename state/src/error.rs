//! The one error of this crate: what went wrong, where, and what to do about it.

use std::path::PathBuf;

use crate::attempt::{Attempt, Generation, Partition, StateId, TxId};
use crate::key::KeyError;

/// A result with this crate's error.
pub type Result<T, E = StateError> = std::result::Result<T, E>;

/// Everything that can go wrong with state. Cloned, because a failed write is answered to every later call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file system has no space left.
    #[error("the disk is full while {doing} in {}: free space there and start again; nothing sealed is lost", path.display())]
    DiskFull {
        /// The store's directory.
        path: PathBuf,
        /// What was being done.
        doing: String,
    },
    /// The store's directory cannot be written to.
    #[error("cannot write to {}: {message}; give this user write access to it", path.display())]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// Another process has the store open.
    #[error("{} is held by another process: {message}; stop that process first", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The disk or the file system failed.
    #[error("i/o error while {doing} in {}: {message}; the worker stops, check the disk and start again", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What was being done.
        doing: String,
        /// What the system said.
        message: String,
    },
    /// What was read back is not what was written.
    #[error(
        "corrupt data in {place}: {what}; restore this directory from a copy, or delete it and build the state anew"
    )]
    Corrupt {
        /// Where it was found.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Bytes that do not decode, before it is known where they came from.
    #[error("malformed bytes: {what}")]
    Malformed {
        /// What is wrong with them.
        what: String,
    },
    /// Something is larger than the format allows.
    #[error("{what} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A value's `Serialize` implementation failed.
    #[error("a value cannot be encoded: {message}; check its Serialize implementation")]
    Unencodable {
        /// What the codec said.
        message: String,
    },
    /// The directory or store belongs to something else.
    #[error("{place} is not a fulmar state directory: {found}; choose another directory")]
    OtherProgram {
        /// The place.
        place: String,
        /// What was found there.
        found: String,
    },
    /// The store was written by another version of the format.
    #[error(
        "{place} has format version {found}, this program reads up to {supported}; run the version that wrote it"
    )]
    OtherVersion {
        /// The place.
        place: String,
        /// The version found.
        found: u32,
        /// The newest version understood.
        supported: u32,
    },
    /// The store belongs to another topology or worker.
    #[error("{place} belongs to {what} {stored:?}, not to {given:?}; choose another directory")]
    OtherOwner {
        /// The place.
        place: String,
        /// Topology or worker.
        what: &'static str,
        /// The owner recorded in the store.
        stored: String,
        /// The one who opens it.
        given: String,
    },
    /// The states differ from those the store was made with.
    #[error(
        "state {state:?} differs in {place}: its {what} was {stored}, now it is {given}; run the program that wrote it, or choose another directory"
    )]
    SchemaDiffers {
        /// The place.
        place: String,
        /// The state.
        state: String,
        /// Which property.
        what: &'static str,
        /// Its value in the store.
        stored: String,
        /// Its value in the program.
        given: String,
    },
    /// A schema that no store can hold.
    #[error("state {state:?} cannot be kept: {why}")]
    BadSchema {
        /// The state.
        state: String,
        /// Why not.
        why: String,
    },
    /// The store has folded batches that the ledger does not know to be sealed.
    #[error(
        "the store in {place} has folded up to batch {folded}, but the ledger says {sealed} is the last sealed: the ledger is older than the store; put the ledger that belongs to it back"
    )]
    FoldedBeyond {
        /// The place.
        place: String,
        /// Folded (or published) up to here.
        folded: TxId,
        /// Sealed up to here, by the ledger.
        sealed: TxId,
    },
    /// A log entry between the folded and the sealed batch is missing.
    #[error(
        "batch {missing} is missing in the log in {place}, though {newest} is there and {sealed} is sealed; restore this directory from a copy, or delete it and build the state anew"
    )]
    GapInLog {
        /// The place.
        place: String,
        /// The first batch that is missing.
        missing: TxId,
        /// The newest batch in the log.
        newest: TxId,
        /// The sealed batch.
        sealed: TxId,
    },
    /// The log ends before the sealed batch.
    #[error("the store in {place} ends at batch {newest}, but {sealed} is sealed: batches {} to {sealed} are lost (an old copy, another disk, or a power loss without fsync); restore a newer copy, or delete it and build the state anew", newest.next())]
    LostData {
        /// The place.
        place: String,
        /// The newest batch in the store.
        newest: TxId,
        /// The sealed batch.
        sealed: TxId,
    },
    /// The store holds another attempt of a sealed batch.
    #[error(
        "the store in {place} holds attempt {found} of a sealed batch, but {expected} was sealed: it is an old copy or belongs to another ledger; put the right one back"
    )]
    OtherAttempt {
        /// The place.
        place: String,
        /// The attempt in the store.
        found: Attempt,
        /// The attempt that was sealed, or that a later entry builds on.
        expected: Attempt,
    },
    /// An attempt of another generation than the highest one carried out: it is to be ignored.
    #[error("attempt {attempt} is fenced: the store takes attempts of generation {highest} only")]
    Fenced {
        /// The attempt.
        attempt: Attempt,
        /// The only generation accepted.
        highest: Generation,
    },
    /// A call that breaks the order of batches: a mistake in the caller.
    #[error("batch out of order: {what}")]
    OutOfOrder {
        /// What was expected and what came.
        what: String,
    },
    /// The store has not been told where to begin.
    #[error("the store in {place} takes no batches before its first rewind")]
    NotRewound {
        /// The place.
        place: String,
    },
    /// Views or fold parts that do not make up one whole state at one batch.
    #[error("the parts of state {state} do not fit: {what}")]
    Mismatch {
        /// The state.
        state: StateId,
        /// What does not fit.
        what: String,
    },
    /// A key does not decode as the key type it was written with.
    #[error("a key in partition {partition} of state {state} does not decode: {error}")]
    Key {
        /// The state.
        state: StateId,
        /// The partition.
        partition: Partition,
        /// Why it does not.
        error: KeyError,
    },
    /// A state's merge function failed on bytes it was given.
    #[error("merging values of state {state:?} failed: {what}")]
    Merge {
        /// The state.
        state: String,
        /// What failed.
        what: String,
    },
}

impl StateError {
    /// A decoding error that does not know its place yet.
    pub(crate) fn malformed(what: impl Into<String>) -> StateError {
        StateError::Malformed { what: what.into() }
    }

    /// Says where malformed bytes were found; other errors pass unchanged.
    #[must_use]
    pub(crate) fn at(self, place: impl FnOnce() -> String) -> StateError {
        match self {
            StateError::Malformed { what } => StateError::Corrupt {
                place: place(),
                what,
            },
            other => other,
        }
    }
}
