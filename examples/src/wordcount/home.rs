//! Where state and ledger live: in a directory that stays, or in one that goes away with the run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::signals::Interrupt;

/// Where state and ledger live.
pub(super) enum Home {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Home {
    pub(super) fn new(dir: Option<&Path>, interrupt: &Interrupt) -> Result<Self> {
        match dir {
            Some(dir) => Ok(Home::Kept(dir.to_path_buf())),
            None => {
                let dir = tempfile::Builder::new()
                    .prefix("fulmar-wordcount-")
                    .tempdir();
                let dir = dir.context("no temporary directory can be made for the state: name one with --state, or another place with TMPDIR")?;
                interrupt.remove_at_exit(dir.path().to_path_buf());
                Ok(Home::Temporary(dir))
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        match self {
            Home::Kept(dir) => dir,
            Home::Temporary(dir) => dir.path(),
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Home::Kept(_))
    }

    /// In words, for the line that a run begins with.
    pub(super) fn described(&self) -> String {
        match self {
            Home::Kept(dir) => format!("state in {}", dir.display()),
            Home::Temporary(dir) => format!(
                "state in {}, which goes away at the end; --state DIR keeps it",
                dir.path().display()
            ),
        }
    }

    pub(super) fn close(self) -> Result<()> {
        match self {
            Home::Kept(_) => Ok(()),
            Home::Temporary(dir) => {
                let shown = dir.path().display().to_string();
                dir.close()
                    .with_context(|| format!("{shown}: the temporary directory cannot be removed"))
            }
        }
    }
}
