//! The embedded ledger: one small file, replaced whole.
//!
//! `LEDGER` is replaced by writing `LEDGER.tmp`, syncing it, renaming it over `LEDGER` and syncing the directory. Two slots in one preallocated
//! file would save a sync, but could not tell a torn newest slot, which is an ordinary crash, from a newest slot that rotted
//! on the disk: both would silently fall back to the record before, and a batch that was sealed and published would be
//! run again. With the rename a damaged byte is always noticed, since a crash leaves either the old file or the new one, whole.
//!
//! Whose the directory is, and who has it, is [`Directory`]'s.

use std::fs;
use std::io;
use std::path::Path;

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::directory::{Directory, Keeper, LEDGER, LEDGER_TEMP, Marker, read_bounded};
use super::record::MAX_RECORD;
use super::{Ledger, LedgerRecord, Version, WriteOutcome};
use crate::Durability;
use crate::error::{Error, Result};

/// A ledger in a directory of its own. Its futures are ready at once and block on the disk: call it where that is allowed.
///
/// ```
/// use fulmar_coordinator::{Durability, Error, FileLedger};
///
/// let dir = tempfile::tempdir()?;
/// let ledger = FileLedger::open(dir.path(), Durability::Fsync)?;
/// // A second one, in this or another process, is refused and told who has the first.
/// assert!(matches!(FileLedger::open(dir.path(), Durability::Fsync), Err(Error::Locked { .. })));
/// drop(ledger);
/// assert!(FileLedger::open(dir.path(), Durability::Fsync).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileLedger {
    directory: Directory,
    /// The file's bytes as last read or written, and their version: a file changed by another hand is noticed.
    seen: Option<(Vec<u8>, Version)>,
    /// After a failed write nothing is tried again: what a failed sync has left on the disk is not known.
    failed: Option<Error>,
}

impl FileLedger {
    /// Opens the ledger in `dir`, which is made if it does not exist, and holds it until dropped.
    ///
    /// # Errors
    ///
    /// Those of [`Directory::claim`], and [`Error::Corrupt`]; nothing is changed then.
    pub fn open(dir: impl AsRef<Path>, durability: Durability) -> Result<FileLedger> {
        let directory = Directory::claim(dir, durability, Keeper::Embedded)?;
        let mut ledger = FileLedger {
            directory,
            seen: None,
            failed: None,
        };
        let found = ledger.read()?.is_some();
        match (found, ledger.directory.marker) {
            (false, Marker::Absent) => ledger.directory.mark(Marker::Begun)?,
            (false, Marker::Written) => {
                let what = "it is missing, although there was one once".to_owned();
                return Err(Error::Corrupt {
                    path: ledger.directory.path(LEDGER),
                    what,
                });
            }
            (true, Marker::Absent | Marker::Begun) => ledger.directory.mark(Marker::Written)?,
            (true, _) | (false, Marker::Begun | Marker::Elsewhere) => {}
        }
        let temp = ledger.directory.path(LEDGER_TEMP);
        match fs::remove_file(&temp) {
            Ok(()) => {
                tracing::debug!(dir = %ledger.dir().display(), "removed a ledger write that a crash left unfinished")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("removing", &temp, error)),
        }
        Ok(ledger)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.dir()
    }

    /// Reads and decodes the file, and remembers its bytes.
    fn read(&mut self) -> Result<Option<(LedgerRecord, Version)>> {
        let path = self.directory.path(LEDGER);
        let Some(bytes) = read_bounded(&path)? else {
            self.seen = None;
            return Ok(None);
        };
        let (record, version) = LedgerRecord::decode(&bytes).map_err(|error| error.at(&path))?;
        self.seen = Some((bytes, version));
        Ok(Some((record, version)))
    }

    fn replace(&mut self, record: &LedgerRecord, expected: Version) -> WriteOutcome {
        if let Some(error) = &self.failed {
            return WriteOutcome::Failed(error.clone());
        }
        match self.try_replace(record, expected) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed = Some(error.clone());
                WriteOutcome::Failed(error)
            }
        }
    }

    fn try_replace(&mut self, record: &LedgerRecord, expected: Version) -> Result<WriteOutcome> {
        // The lock keeps other programs' hands off, not people's: what is there is compared before it is replaced.
        let found = read_bounded(&self.directory.path(LEDGER))?;
        if found.as_ref() != self.seen.as_ref().map(|(bytes, _)| bytes) {
            let current = self.read()?.map(Box::new);
            return Ok(WriteOutcome::Refused { current });
        }
        let version = self
            .seen
            .as_ref()
            .map_or(Version::ABSENT, |(_, version)| *version);
        if version != expected {
            return Ok(WriteOutcome::Refused {
                current: self.read()?.map(Box::new),
            });
        }
        let bytes = record.encode(expected.next());
        if bytes.len() > MAX_RECORD {
            return Err(Error::TooLarge {
                bytes: bytes.len(),
                limit: MAX_RECORD,
            });
        }
        self.directory.put(LEDGER_TEMP, LEDGER, &bytes)?;
        self.seen = Some((bytes, expected.next()));
        if expected == Version::ABSENT {
            self.directory.mark(Marker::Written)?;
        }
        Ok(WriteOutcome::Applied(expected.next()))
    }
}

impl Ledger for FileLedger {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>> {
        ready(self.read()).boxed()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        ready(self.replace(record, expected)).boxed()
    }
}

#[cfg(test)]
pub(super) mod tests;
