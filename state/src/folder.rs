//! Folders that are still there after a power loss.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes the names of a folder and of all folders above it durable: a folder is only as durable as its name in the one above.
///
/// It goes all the way up, since whoever made them may have been killed before it came to sync them. Folders that may not be
/// opened, and file systems that cannot sync a folder or be written to, are passed over. Does nothing where folders cannot be opened at all.
///
/// # Errors
///
/// A sync that failed.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let deep = folder.path().join("a/b/c");
/// std::fs::create_dir_all(&deep)?;
/// fulmar_state::sync_ancestors(&deep)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn sync_ancestors(dir: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    // A path that is not absolute ends before the folders that it is relative to.
    let dir = dir.canonicalize()?;
    for above in dir.ancestors().skip(1) {
        let synced = match File::open(above) {
            Ok(folder) => folder.sync_all(),
            Err(error) => Err(error),
        };
        match synced.map_err(|error| (error.kind(), error)) {
            Err((
                ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::InvalidInput
                | ErrorKind::Unsupported,
                _,
            ))
            | Ok(()) => {}
            Err((_, error)) => return Err(error),
        }
    }
    Ok(())
}
