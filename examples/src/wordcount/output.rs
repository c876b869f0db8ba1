//! `--output`: the counts, sorted bytewise, in a file that is replaced atomically.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fulmar::{StateView, Word};

use super::table::Totals;

/// A file that will be replaced at the end.
pub(super) struct Output {
    path: PathBuf,
    /// Those of the file that is replaced, if there is one.
    permissions: Option<Permissions>,
}

impl Output {
    /// Looks whether the file can be written at the end: better told now than after an hour.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let shown = path.display();
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let permissions = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                bail!("{shown}: is a directory, the counts need a file (--output)")
            }
            Ok(metadata) if !metadata.is_file() => {
                bail!("{shown}: is not a regular file and cannot be replaced (--output)")
            }
            Ok(metadata) => Some(metadata.permissions()),
            Err(_) => None,
        };
        if path.file_name().is_none() {
            bail!("{shown}: names no file (--output)");
        }
        let output = Output { path, permissions };
        drop(output.beside()?);
        Ok(output)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn beside(&self) -> Result<Beside> {
        Beside::open(&self.path, self.permissions.as_ref())
            .with_context(|| format!("{}: cannot be written (--output)", self.path.display()))
    }

    /// Writes all counts of a pinned view, one by one as they come, and replaces the file when all are durable.
    pub(super) fn write(&self, counts: &StateView<Word, u64>) -> Result<Totals> {
        let mut totals = Totals::default();
        let beside = self.beside()?;
        let failed = || format!("{}: cannot be written (--output)", self.path.display());
        let mut out = BufWriter::with_capacity(256 << 10, &beside.file);
        for record in counts.scan() {
            let (word, count) = record?;
            totals.add(count);
            write_count(&mut out, &word, count).with_context(failed)?;
        }
        out.flush().with_context(failed)?;
        drop(out);
        beside.replace(&self.path).with_context(failed)?;
        Ok(totals)
    }
}

/// A file beside the one that it will replace: only within a folder is a renaming atomic.
///
/// Its name is always the same, so that what a killed run left is taken over by the next; a lock keeps others out.
struct Beside {
    file: File,
    path: PathBuf,
    replaced: bool,
}

impl Beside {
    fn open(target: &Path, permissions: Option<&Permissions>) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".wordcount-tmp");
        let path = target.with_file_name(name);
        loop {
            if path.is_symlink() {
                return Err(io::Error::other(format!(
                    "{} is a link: remove it",
                    path.display()
                )));
            }
            // Not cut before it is known to be nobody else's.
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another process is writing it"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had the lock before may have renamed or removed the file meanwhile.
            let locked = file.metadata()?;
            match fs::symlink_metadata(&path) {
                Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => {}
                _ => continue,
            }
            file.set_len(0)?;
            if let Some(permissions) = permissions {
                file.set_permissions(permissions.clone())?;
            }
            return Ok(Beside {
                file,
                path,
                replaced: false,
            });
        }
    }

    fn replace(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.replaced = true;
        let folder = target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After the renaming, what has this name is another's.
        if !self.replaced {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn write_count(out: &mut impl Write, word: &Word, count: u64) -> io::Result<()> {
    out.write_all(word.as_bytes())?;
    writeln!(out, "\t{count}")
}
