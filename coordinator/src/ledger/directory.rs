//! The directory that a process keeps its state in: whose it is, and who has it.
//!
//! `LOCK` is held by a kernel lock for as long as the object lives; its text only says who holds it. A process that was stopped keeps it,
//! one that died has lost it. `FORMAT` names the program and where the ledger is kept. When an embedded ledger's directory is first
//! opened it says `begun`, so that what others then make beside it is no stranger's after a crash, and once the
//! first record is durable it says so no more, and so also tells a ledger that was lost from one that never was.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::record::{FORMAT, MAX_RECORD};
use crate::Durability;
use crate::error::{Error, Result};

/// The record of an embedded ledger.
pub(super) const LEDGER: &str = "LEDGER";
pub(super) const LEDGER_TEMP: &str = "LEDGER.tmp";
pub(super) const LOCK: &str = "LOCK";
pub(super) const MARKER: &str = "FORMAT";
const MARKER_TEMP: &str = "FORMAT.tmp";
const OURS: [&str; 5] = [LEDGER, LEDGER_TEMP, LOCK, MARKER, MARKER_TEMP];
const PROGRAM: &str = "fulmar-ledger";
/// Ends the marker of an embedded ledger that has no record yet.
const BEGUN: &str = " begun";
/// Ends the marker of a directory whose ledger is in ZooKeeper.
const ELSEWHERE: &str = " zookeeper";

/// Where the ledger of a directory is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// In the directory itself ([`crate::FileLedger`]).
    Embedded,
    /// In ZooKeeper.
    ZooKeeper,
}

/// What a directory's marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// There is none.
    Absent,
    /// The directory is an embedded ledger's, and had no record yet.
    Begun,
    /// A record was durable once.
    Written,
    /// The ledger is in ZooKeeper.
    Elsewhere,
}

/// A directory that is this process's alone for as long as this lives.
///
/// ```
/// use fulmar_coordinator::{Directory, Durability, Error, Keeper};
///
/// let dir = tempfile::tempdir()?;
/// let claim = Directory::claim(dir.path(), Durability::Fsync, Keeper::ZooKeeper)?;
/// // Nobody else gets it meanwhile, and a directory whose ledger is in ZooKeeper is not taken for another.
/// assert!(matches!(Directory::claim(dir.path(), Durability::Fsync, Keeper::ZooKeeper), Err(Error::Locked { .. })));
/// drop(claim);
/// let other = Directory::claim(dir.path(), Durability::Fsync, Keeper::Embedded);
/// assert!(matches!(other, Err(Error::OtherKeeper { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Directory {
    dir: PathBuf,
    durability: Durability,
    pub(super) marker: Marker,
    /// Released by the system when this is dropped, however the process ends.
    _lock: File,
}

impl Directory {
    /// Takes the directory, which is made if it does not exist, and marks it as one whose ledger is kept by `keeper`.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has it: to be tried again by who may wait. [`Error::OtherKeeper`], [`Error::OtherProgram`],
    /// [`Error::OtherFormat`], [`Error::DiskFull`], [`Error::Io`]; nothing is changed then.
    pub fn claim(
        dir: impl AsRef<Path>,
        durability: Durability,
        keeper: Keeper,
    ) -> Result<Directory> {
        let dir = dir.as_ref().to_owned();
        make_dir(&dir)?;
        // Looked at before anything is made in it: another program's directory is left as it was.
        check_keeper(&dir, check_program(&dir)?, keeper)?;
        let lock = lock(&dir)?;
        let marker = check_program(&dir)?;
        check_keeper(&dir, marker, keeper)?;
        if marker == Marker::Absent && durability == Durability::Fsync {
            fulmar_state::sync_ancestors(&dir)
                .map_err(|error| Error::io("syncing the folders above", &dir, error))?;
        }
        let claim = Directory {
            dir,
            durability,
            marker,
            _lock: lock,
        };
        if keeper == Keeper::ZooKeeper && marker == Marker::Absent {
            claim.mark(Marker::Elsewhere)?;
        }
        Ok(claim)
    }

    /// Its path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Says durably whose the directory is.
    pub(super) fn mark(&self, marker: Marker) -> Result<()> {
        let more = match marker {
            Marker::Absent | Marker::Written => "",
            Marker::Begun => BEGUN,
            Marker::Elsewhere => ELSEWHERE,
        };
        let text = format!("{PROGRAM} {FORMAT}{more}\n");
        self.put(MARKER_TEMP, MARKER, text.as_bytes())
    }

    /// Replaces one file atomically and durably.
    pub(super) fn put(&self, temp: &str, name: &str, bytes: &[u8]) -> Result<()> {
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

/// Refuses a directory whose ledger is kept elsewhere: what is sealed would be looked for in the wrong place.
fn check_keeper(dir: &Path, marker: Marker, keeper: Keeper) -> Result<()> {
    let has_file = dir.join(LEDGER).exists();
    let refused = match keeper {
        Keeper::Embedded => marker == Marker::Elsewhere,
        Keeper::ZooKeeper => has_file || matches!(marker, Marker::Begun | Marker::Written),
    };
    if !refused {
        return Ok(());
    }
    Err(Error::OtherKeeper {
        path: dir.to_owned(),
        keeper: match keeper {
            Keeper::Embedded => Keeper::ZooKeeper,
            Keeper::ZooKeeper => Keeper::Embedded,
        },
    })
}

/// Files are the owner's alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// That it exists becomes durable before it is marked.
fn make_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .map_err(|error| Error::io("creating", dir, error))
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
        if is_torn(&text) {
            let what = format!("it says {text:?}, as a write that a power loss has cut off");
            return Err(Error::Corrupt { path: marker, what });
        }
        let text = text.trim_end_matches('\n');
        let (said, marked) = match (text.strip_suffix(BEGUN), text.strip_suffix(ELSEWHERE)) {
            (Some(said), _) => (said, Marker::Begun),
            (None, Some(said)) => (said, Marker::Elsewhere),
            (None, None) => (text, Marker::Written),
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

/// Whether it is what is left of a marker whose write was not synced: its beginning, or zeros.
fn is_torn(text: &str) -> bool {
    let written = text.trim_end_matches('\0');
    let ours = written.starts_with(PROGRAM) || PROGRAM.starts_with(written);
    ours && (written.len() < text.len() || !written.ends_with('\n'))
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
pub(super) fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
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
