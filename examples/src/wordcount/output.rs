//! `--output`: the counts, sorted bytewise, in a file that is replaced atomically.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fulmar::{StateView, Word};
use tempfile::NamedTempFile;

use super::table::Totals;

/// A file that will be replaced at the end.
pub(super) struct Output {
    path: PathBuf,
    folder: PathBuf,
    permissions: Permissions,
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
            Ok(metadata) => metadata.permissions(),
            Err(_) => Permissions::from_mode(0o666),
        };
        if path.file_name().is_none() {
            bail!("{shown}: names no file (--output)");
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let output = Output {
            folder: folder.to_path_buf(),
            permissions,
            path,
        };
        drop(output.temporary()?);
        Ok(output)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file beside the one that it will replace: only within a folder is a renaming atomic.
    fn temporary(&self) -> Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder
            .prefix(".wordcount-")
            .suffix(".tmp")
            .permissions(self.permissions.clone());
        builder
            .tempfile_in(&self.folder)
            .with_context(|| format!("{}: cannot be written (--output)", self.path.display()))
    }

    /// Writes all counts of a pinned view, one by one as they come, and replaces the file when all are durable.
    pub(super) fn write(&self, counts: &StateView<Word, u64>) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut temporary = BufWriter::with_capacity(256 << 10, self.temporary()?);
        let shown = self.path.display();
        let failed = || format!("{shown}: cannot be written (--output)");
        for record in counts.scan() {
            let (word, count) = record?;
            totals.add(count);
            write_count(&mut temporary, &word, count).with_context(failed)?;
        }
        let temporary = temporary
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .with_context(failed)?;
        temporary.as_file().sync_all().with_context(failed)?;
        temporary
            .persist(&self.path)
            .map_err(|error| error.error)
            .with_context(failed)?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(failed)?;
        Ok(totals)
    }
}

fn write_count(out: &mut impl Write, word: &Word, count: u64) -> io::Result<()> {
    out.write_all(word.as_bytes())?;
    writeln!(out, "\t{count}")
}
