//! The small durable, linearizable record of what is sealed.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod directory;
mod file;
mod memory;
mod record;

use std::fmt;

use futures::future::BoxFuture;

use crate::error::{Error, Result};

pub use directory::{Directory, Keeper};
pub use file::FileLedger;
pub use memory::MemoryLedger;
#[cfg(feature = "zookeeper")]
pub(crate) use record::Elsewhere;
pub use record::{FORMAT, LedgerRecord, MAX_RECORD, RecordError};

/// Where the record of what is sealed lives: an embedded file, ZooKeeper, memory.
///
/// # Contract
///
/// - The ledger holds one record, or none. Each applied write replaces it whole and moves its [`Version`] on by one.
/// - [`Ledger::write`] is *conditional*: it is applied only if the version is the expected one at that moment; of any number of
///   writers, in this or another process, that expect the same version, exactly one is applied (linearizable).
/// - `Applied` means durable: whatever crashes now, every later [`Ledger::load`] that is not stale returns that record or a newer one.
/// - `Refused` means that *this* write has not been applied and never will be, unless the record it shows is the one that was
///   sent: an earlier sending of the identical write was applied then ([`WriteOutcome::settle`] tells). The record may be stale; that
///   there is none is said only of now.
/// - `Unknown` means that the write may have been applied, or may be applied later. It is settled only by sending the identical
///   write again until it is applied or refused; a read settles nothing.
/// - `Failed` means that this ledger object is of no more use. The write may or may not have been applied; the next term,
///   which begins by a load and a fence, finds out.
/// - [`Ledger::load`] may be stale (an older record), never invented: all decisions rest on conditional writes.
/// - One call at a time; futures may block their thread if the implementation says so.
pub trait Ledger: Send {
    /// The record and its version; `None` if there was never one.
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>>;

    /// Replaces the record if its version is `expected` ([`Version::ABSENT`] if there is none yet).
    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome>;
}

impl<L: Ledger + ?Sized> Ledger for Box<L> {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>> {
        (**self).load()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        (**self).write(record, expected)
    }
}

/// How often the ledger's record has been replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version(pub u64);

impl Version {
    /// There is no record.
    pub const ABSENT: Version = Version(0);

    /// The version that an applied write leads to.
    #[must_use]
    pub fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one start of one process: two candidates may try the same epoch, and must not take the other's record for theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WriterId(pub u128);

impl WriterId {
    /// A new one, random: 128 bits from the system's randomness by way of the standard library's hasher keys.
    #[expect(
        clippy::disallowed_types,
        reason = "the one place that wants randomness: called by shells, once per process"
    )]
    #[must_use]
    pub fn random() -> WriterId {
        use std::hash::{BuildHasher, RandomState};
        let half = |salt: u64| u128::from(RandomState::new().hash_one((salt, std::process::id())));
        WriterId(half(1) << 64 | half(2))
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// How a conditional write ended; see [`Ledger`]'s contract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    /// Applied and durable; this is the new version.
    Applied(Version),
    /// Not applied: the version was another.
    Refused {
        /// The record that was found (it may be stale); `None` if there is none.
        current: Option<Box<(LedgerRecord, Version)>>,
    },
    /// Perhaps applied, perhaps to be applied later; what was heard.
    Unknown(String),
    /// This ledger object cannot go on.
    Failed(Error),
}

/// What a write's outcome means for its writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled {
    /// The write, or an earlier sending of it, is applied; this is the new version.
    Applied(Version),
    /// Another writer was faster: this one's term is over.
    Fenced(Box<(LedgerRecord, Version)>),
    /// The record is gone.
    Gone,
    /// Nothing is known yet: send the identical write again.
    Again(String),
    /// The ledger cannot go on.
    Failed(Error),
}

impl WriteOutcome {
    /// Reads the outcome for whoever wanted `record` to replace version `expected`.
    ///
    /// A refusal that shows this very record one version on is an earlier sending's success: the record names its writer, and a
    /// writer never sends two different records for one version. One that shows a version not past the expected is a stale
    /// look and settles nothing.
    #[must_use]
    pub fn settle(self, record: &LedgerRecord, expected: Version) -> Settled {
        match self {
            WriteOutcome::Applied(version) if version == expected.next() => {
                Settled::Applied(version)
            }
            WriteOutcome::Applied(version) => {
                let what = format!(
                    "a write that expected version {expected} was applied as version {version}"
                );
                Settled::Failed(Error::Contract { what })
            }
            WriteOutcome::Refused { current: None } if expected == Version::ABSENT => {
                Settled::Again(
                    "refused although there is no record, as expected: a stale look".into(),
                )
            }
            WriteOutcome::Refused { current: None } => Settled::Gone,
            WriteOutcome::Refused {
                current: Some(current),
            } => match &*current {
                (found, version) if *version == expected.next() && found == record => {
                    Settled::Applied(*version)
                }
                (_, version) if *version <= expected => Settled::Again(format!(
                    "refused although the version is still {version}: a stale look"
                )),
                _ => Settled::Fenced(current),
            },
            WriteOutcome::Unknown(what) => Settled::Again(what),
            WriteOutcome::Failed(error) => Settled::Failed(error),
        }
    }
}
