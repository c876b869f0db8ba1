//! What is written must not take the place of what is read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::options::Options;

/// Neither the counts nor the statistics may take the place of a text that is counted, or of one another.
pub(super) fn refuse_overwriting(options: &Options) -> Result<()> {
    let inputs: Vec<_> = options.inputs().iter().map(|input| real(input)).collect();
    let written = [("--output", &options.output), ("--stats", &options.stats)];
    for (option, path) in written {
        if let Some(path) = path.as_deref().filter(|path| inputs.contains(&real(path))) {
            bail!(
                "{}: is a text to be counted, and would be overwritten: give {option} another file",
                path.display()
            );
        }
    }
    match (&options.output, &options.stats) {
        (Some(output), Some(stats)) if real(output) == real(stats) => {
            bail!(
                "{}: is named by both --output and --stats: give each its own file",
                stats.display()
            )
        }
        _ => Ok(()),
    }
}

/// The path by which a file is the same file, whether it is there already or not.
fn real(path: &Path) -> PathBuf {
    let beside = || {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()?;
        Some(folder.join(path.file_name()?))
    };
    fs::canonicalize(path)
        .ok()
        .or_else(beside)
        .unwrap_or_else(|| path.to_path_buf())
}
