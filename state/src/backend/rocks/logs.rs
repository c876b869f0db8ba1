//! RocksDB's logs (the write-ahead logs and the manifest), looked through before RocksDB reads them.
//!
//! RocksDB marks records of a log file that is written for the second time with types of their own. Where it meets such a type in any
//! other log, as damaged bytes may look, its reader does not get past it and spins for ever (facebook/rocksdb#13333). No file of ours
//! is written twice, so such a record is damage, and is refused with an error instead.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::translate_io;
use crate::error::{Result, StateError};

/// Records lie in blocks of this size; none goes on in the next block.
const BLOCK: usize = 32 << 10;
/// Checksum, length and type of a record.
const HEADER: usize = 7;
/// Types of records in a file that is written again.
const AGAIN: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// An error if RocksDB would never come to an end with the logs in its directory.
pub(super) fn check(dir: &Path) -> Result<()> {
    for path in logs(dir).map_err(|error| translate_io(dir, "looking for its logs", &error))? {
        let found = find(&path).map_err(|error| translate_io(dir, "reading its logs", &error))?;
        if let Some(at) = found {
            return Err(StateError::Corrupt {
                place: path.display().to_string(),
                what: format!("at byte {at} is no record that was ever written here"),
            });
        }
    }
    Ok(())
}

/// The files that RocksDB will read: the manifest that is current, and every write-ahead log.
fn logs(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    let manifest = String::from_utf8_lossy(&fs::read(dir.join("CURRENT"))?).into_owned();
    let manifest = dir.join(manifest.trim_end());
    // If it is missing, RocksDB says so.
    if manifest.is_file() {
        logs.push(manifest);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    Ok(logs)
}

/// Where in a file the record is at which RocksDB would stay.
fn find(path: &Path) -> std::io::Result<Option<u64>> {
    let mut file = match File::open(path) {
        // Whoever has the database open has just deleted it; RocksDB says that it is locked.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let (mut start, mut block) = (0, Vec::with_capacity(BLOCK));
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        let found = find_in(&block).map(|at| start + at as u64);
        // A whole file of such records is what RocksDB can read: as one that was written again.
        if found.is_some_and(|at| at > 0) {
            return Ok(found);
        }
        if found.is_some() || block.len() < BLOCK {
            return Ok(None);
        }
        start += BLOCK as u64;
    }
}

fn find_in(block: &[u8]) -> Option<usize> {
    let (mut at, mut before) = (0, Vec::new());
    while let Some(header) = block.get(at..at + HEADER) {
        let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
        if AGAIN.contains(&header[6]) {
            // Behind a record that does not fit its checksum RocksDB leaves the block.
            return before.into_iter().all(is_whole).then_some(at);
        }
        let record = block.get(at..at + HEADER + length)?;
        if header[6] == 0 && length == 0 {
            return None;
        }
        before.push(record);
        at += record.len();
    }
    None
}

/// Whether a record fits its checksum.
fn is_whole(record: &[u8]) -> bool {
    const MASK: u32 = 0xa282_ead8;
    let masked = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    masked
        == crc32c::crc32c(&record[6..])
            .rotate_right(15)
            .wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as RocksDB writes it.
    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut checked = vec![kind];
        checked.extend_from_slice(bytes);
        let sum = crc32c::crc32c(&checked)
            .rotate_right(15)
            .wrapping_add(0xa282_ead8);
        let mut record = sum.to_le_bytes().to_vec();
        record.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        record.extend_from_slice(&checked);
        record
    }

    #[test]
    fn only_what_is_reached_by_whole_records_is_refused() {
        let good = record(1, b"first");
        let odd = record(6, b"odd");
        assert_eq!(find_in(&good), None);
        assert_eq!(
            find_in(&[good.clone(), odd.clone()].concat()),
            Some(good.len())
        );
        assert_eq!(
            find_in(&[good.clone(), vec![0; 40], odd.clone()].concat()),
            None
        );
        let mut spoilt = good.clone();
        spoilt[9] ^= 1;
        assert_eq!(find_in(&[spoilt, odd.clone()].concat()), None);
        assert_eq!(find_in(&odd[..HEADER - 1]), None, "a header that is cut");
        let mut long = good;
        long[5] = 0xff;
        assert_eq!(find_in(&[long, odd].concat()), None, "longer than the file");
    }
}
