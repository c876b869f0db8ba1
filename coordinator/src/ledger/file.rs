//! The embedded ledger: one small file, replaced whole.
//!
//! `LEDGER` is replaced by writing `LEDGER.tmp`, syncing it, renaming it over `LEDGER` and syncing the directory. Two slots in one preallocated
//! file would save a sync, but could not tell a torn newest slot, which is an ordinary crash, from a newest slot that rotted
//! on the disk: both would silently fall back to the record before, and a batch that was sealed and published would be
//! run again. With the rename a damaged byte is always noticed, since a crash leaves either the old file or the new one, whole.
//!
//! `LOCK` is held by a kernel lock for as long as the object lives; its text only says who holds it. `FORMAT` names the program and format of
//! the directory: when it is first opened it says `begun`, so that what others then make beside it is no stranger's after a crash, and
//! once the first record is durable it says so no more, and so also tells a ledger that was lost from one that never was.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::record::{FORMAT, MAX_RECORD};
use super::{Ledger, LedgerRecord, Version, WriteOutcome};
use crate::Durability;
use crate::error::{Error, Result};

const LEDGER: &str = "LEDGER";
const TEMP: &str = "LEDGER.tmp";
const LOCK: &str = "LOCK";
const MARKER: &str = "FORMAT";
const MARKER_TEMP: &str = "FORMAT.tmp";
const OURS: [&str; 5] = [LEDGER, TEMP, LOCK, MARKER, MARKER_TEMP];
const PROGRAM: &str = "fulmar-ledger";
/// Ends the marker of a ledger that has no record yet.
const BEGUN: &str = " begun";

/// What a directory's marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    /// There is none.
    Absent,
    /// The directory is ours, and had no record yet.
    Begun,
    /// A record was durable once.
    Written,
}

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
    dir: PathBuf,
    durability: Durability,
    /// The file's bytes as last read or written, and their version: a file changed by another hand is noticed.
    seen: Option<(Vec<u8>, Version)>,
    /// After a failed write nothing is tried again: what a failed sync has left on the disk is not known.
    failed: Option<Error>,
    /// Released by the system when this is dropped, however the process ends.
    _lock: File,
}

impl FileLedger {
    /// Opens the ledger in `dir`, which is made if it does not exist, and holds it until dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::OtherProgram`], [`Error::OtherFormat`], [`Error::Corrupt`], [`Error::DiskFull`], [`Error::Io`]; nothing is changed then.
    pub fn open(dir: impl AsRef<Path>, durability: Durability) -> Result<FileLedger> {
        let dir = dir.as_ref().to_owned();
        make_dir(&dir, durability)?;
        // Looked at before anything is made in it: another program's directory is left as it was.
        check_program(&dir)?;
        let lock = lock(&dir)?;
        let marked = check_program(&dir)?;
        let mut ledger = FileLedger {
            dir,
            durability,
            seen: None,
            failed: None,
            _lock: lock,
        };
        let found = ledger.read()?.is_some();
        match (found, marked) {
            (true, Marker::Absent | Marker::Begun) => ledger.mark("")?,
            (false, Marker::Absent) => ledger.mark(BEGUN)?,
            (false, Marker::Written) => {
                let what = "it is missing, although there was one once".to_owned();
                return Err(Error::Corrupt {
                    path: ledger.path(LEDGER),
                    what,
                });
            }
            (true, Marker::Written) | (false, Marker::Begun) => {}
        }
        match fs::remove_file(ledger.path(TEMP)) {
            Ok(()) => {
                tracing::debug!(dir = %ledger.dir.display(), "removed a ledger write that a crash left unfinished")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("removing", &ledger.path(TEMP), error)),
        }
        Ok(ledger)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Reads and decodes the file, and remembers its bytes.
    fn read(&mut self) -> Result<Option<(LedgerRecord, Version)>> {
        let path = self.path(LEDGER);
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
        let found = read_bounded(&self.path(LEDGER))?;
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
        self.put(TEMP, LEDGER, &bytes)?;
        self.seen = Some((bytes, expected.next()));
        if expected == Version::ABSENT {
            self.mark("")?;
        }
        Ok(WriteOutcome::Applied(expected.next()))
    }

    fn mark(&self, more: &str) -> Result<()> {
        let text = format!("{PROGRAM} {FORMAT}{more}\n");
        self.put(MARKER_TEMP, MARKER, text.as_bytes())
    }

    /// Replaces one file atomically and durably.
    fn put(&self, temp: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let (temp, path) = (self.path(temp), self.path(name));
        let durable = self.durability == Durability::Fsync;
        let mut file = private()
            .create(true)
            .truncate(true)
            .open(&temp)
            .map_err(|error| Error::io("creating", &temp, error))?;
        file.write_all(bytes)
            .map_err(|error| Error::io("writing", &temp, error))?;
        if durable {
            file.sync_data()
                .map_err(|error| Error::io("syncing", &temp, error))?;
        }
        drop(file);
        fs::rename(&temp, &path).map_err(|error| Error::io("replacing", &path, error))?;
        if durable { sync_dir(&self.dir) } else { Ok(()) }
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

/// Files are the owner's alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_dir(dir: &Path, durability: Durability) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .map_err(|error| Error::io("creating", dir, error))?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if durability == Durability::Fsync => sync_dir(parent),
        _ => Ok(()),
    }
}

/// A rename or a new file is durable only once its directory is.
fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| Error::io("syncing", dir, error))?;
    }
    Ok(())
}

/// How the directory is marked as ours; an error if it is somebody else's.
fn check_program(dir: &Path) -> Result<Marker> {
    let marker = dir.join(MARKER);
    if let Some(text) = read_bounded(&marker)? {
        let text = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        let (said, marked) = match text.trim_end_matches('\n').strip_suffix(BEGUN) {
            Some(said) => (said, Marker::Begun),
            None => (text.trim_end_matches('\n'), Marker::Written),
        };
        let format = said
            .strip_prefix(PROGRAM)
            .and_then(|rest| rest.strip_prefix(' '));
        return match format.map(str::parse) {
            Some(Ok(FORMAT)) => Ok(marked),
            Some(Ok(found)) => Err(Error::OtherFormat {
                path: marker,
                found,
            }),
            _ => Err(Error::OtherProgram {
                path: marker,
                found: format!("it says {text:?}"),
            }),
        };
    }
    if dir.join(LEDGER).exists() {
        return Ok(Marker::Absent);
    }
    for entry in fs::read_dir(dir).map_err(|error| Error::io("listing", dir, error))? {
        let name = entry
            .map_err(|error| Error::io("listing", dir, error))?
            .file_name();
        if !OURS.iter().any(|ours| name == *ours) {
            let found = format!("there is {name:?} in it and no {MARKER}");
            return Err(Error::OtherProgram {
                path: dir.to_owned(),
                found,
            });
        }
    }
    Ok(Marker::Absent)
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let mut file = private()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| Error::io("opening", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut by = String::new();
            let read = file.take(256).read_to_string(&mut by).is_ok();
            let by = if read && !by.trim().is_empty() {
                by.trim().to_owned()
            } else {
                "which has not said who it is".to_owned()
            };
            return Err(Error::Locked {
                path: dir.to_owned(),
                by,
            });
        }
        Err(TryLockError::Error(error)) => return Err(Error::io("locking", &path, error)),
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"));
    let host = host.map_or_else(|_| "this host".to_owned(), |host| host.trim().to_owned());
    let holder = format!("pid {} on {host}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(holder.as_bytes()))
        .map_err(|error| Error::io("writing", &path, error))?;
    Ok(file)
}

/// The file's bytes; `None` if there is no such file.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("opening", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_RECORD as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io("reading", path, error))?;
    Ok(Some(bytes))
}

#[cfg(test)]
pub(super) mod tests;
