//! Lines of text files: one or many, followed as they grow, checked against what was read of them before.

mod position;
mod reader;

#[cfg(test)]
mod tests;

pub use reader::TextReader;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use self::position::TextPosition;
use super::{Position, Replays, Spout, SpoutError};
use crate::record::Line;

/// The longest line that is taken unless told otherwise: 16 MiB.
pub(crate) const DEFAULT_MAX_LINE: usize = 16 << 20;

/// A spout of the lines of text files; each file is a partition, named by its absolute path.
///
/// A line ends with LF or CR LF. The last line of a file without its end counts as a line, but waits for its end
/// while files are followed. A NUL byte is refused, with its offset: such a file is not text. What was read before
/// is checked when a file is opened again: a file that vanished, shrank, or differs in its first 16 MiB or in
/// the 4 KiB before the position is an error that names it.
///
/// ```no_run
/// use fulmar::spout::TextFiles;
///
/// let lines = TextFiles::new(["access.log"])?.follow();
/// # Ok::<(), fulmar::spout::SpoutError>(())
/// ```
#[derive(Debug)]
pub struct TextFiles {
    files: Vec<String>,
    follow: bool,
    max_line: usize,
    replays: Replays,
}

impl TextFiles {
    /// Reads these files, in this order. Each must be there, be a regular file, and be named once.
    pub fn new<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Self, SpoutError> {
        let mut names: Vec<String> = Vec::new();
        for file in files {
            let name = partition_name(file.as_ref())?;
            if names.contains(&name) {
                return Err(SpoutError::permanent(format!(
                    "{name} is named twice: name each file once"
                )));
            }
            names.push(name);
        }
        Ok(TextFiles {
            files: names,
            follow: false,
            max_line: DEFAULT_MAX_LINE,
            replays: Replays::Identical,
        })
    }

    /// Waits for the files to grow, instead of ending with them.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// The longest line that is taken, in bytes without its end.
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Promises nothing of a second reading, as an opaque spout does.
    #[must_use]
    pub fn opaque(mut self) -> Self {
        self.replays = Replays::Any;
        self
    }
}

fn partition_name(file: &Path) -> Result<String, SpoutError> {
    let refuse = |what: &str| Err(SpoutError::permanent(format!("{}: {what}", file.display())));
    let path = match fs::canonicalize(file) {
        Ok(path) => path,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return refuse("there is no such file");
        }
        Err(error) => return refuse(&format!("cannot be found: {error}")),
    };
    let kind = match fs::metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) => return refuse(&format!("cannot be looked at: {error}")),
    };
    if kind.is_dir() {
        return refuse("is a directory: name the files in it");
    }
    if !kind.is_file() {
        return refuse(
            "is not a regular file, and cannot be read again from a position: write it to a file first",
        );
    }
    match PathBuf::into_os_string(path).into_string() {
        Ok(name) => Ok(name),
        Err(_) => refuse("its path is not UTF-8: rename it"),
    }
}

impl Spout for TextFiles {
    type Record = Line;
    type Reader = TextReader;

    fn replays(&self) -> Replays {
        self.replays
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        Ok(self.files.clone())
    }

    fn resume(&mut self, recorded: &BTreeMap<String, Position>) -> Result<(), SpoutError> {
        for (name, position) in recorded {
            let position = TextPosition::decode(position)?;
            if let Err(error) = fs::metadata(name) {
                return Err(SpoutError::permanent(format!(
                    "{name} was read up to byte {} and is gone ({error}): put it back, or start with a new state directory",
                    position.offset
                )));
            }
        }
        Ok(())
    }

    fn open(&mut self, partition: &str, from: Option<&[u8]>) -> Result<TextReader, SpoutError> {
        let from = from.map(TextPosition::decode).transpose()?;
        TextReader::open(partition, from, self.follow, self.max_line)
    }

    fn digest(&self, line: &Line, digest: &mut Xxh3) {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        let offset = position.map_or(Ok(0), |position| {
            TextPosition::decode(position).map(|at| at.offset)
        });
        match offset {
            Ok(offset) => format!("the line at byte {offset} of {partition}"),
            Err(error) => format!("{partition} ({error})"),
        }
    }
}
