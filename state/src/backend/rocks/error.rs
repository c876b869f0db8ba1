//! RocksDB's errors in this crate's words. RocksDB tells the causes apart only in its text.

use std::io;
use std::path::Path;

use rocksdb::ErrorKind;

use crate::error::StateError;

const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
const READ_ONLY: [&str; 3] = [
    "Read-only file system",
    "Permission denied",
    "Operation not permitted",
];
const LOCKED: [&str; 2] = ["lock hold by current process", "While lock file"];
/// What RocksDB says when a merge operator gave up.
const MERGE: [&str; 2] = ["Could not perform merge", "Merge operator failed"];

pub(super) fn translate(dir: &Path, doing: &str, error: &rocksdb::Error) -> StateError {
    let message = error.to_string();
    if let Some(known) = by_text(dir, doing, &message) {
        return known;
    }
    let place = dir.display().to_string();
    match error.kind() {
        _ if contains(&message, &MERGE) => StateError::Merge {
            state: place,
            what: message,
        },
        ErrorKind::Corruption | ErrorKind::NotFound => StateError::Corrupt {
            place,
            what: message,
        },
        _ => StateError::Io {
            path: dir.to_owned(),
            doing: doing.to_owned(),
            message,
        },
    }
}

pub(super) fn translate_io(dir: &Path, doing: &str, error: &io::Error) -> StateError {
    let message = error.to_string();
    by_text(dir, doing, &message).unwrap_or_else(|| StateError::Io {
        path: dir.to_owned(),
        doing: doing.to_owned(),
        message,
    })
}

fn by_text(dir: &Path, doing: &str, message: &str) -> Option<StateError> {
    let path = dir.to_owned();
    if contains(message, &FULL) {
        Some(StateError::DiskFull {
            path,
            doing: doing.to_owned(),
        })
    } else if contains(message, &LOCKED) {
        Some(StateError::Locked {
            path,
            message: message.to_owned(),
        })
    } else if contains(message, &READ_ONLY) {
        Some(StateError::ReadOnly {
            path,
            message: message.to_owned(),
        })
    } else {
        None
    }
}

fn contains(message: &str, any: &[&str]) -> bool {
    any.iter().any(|text| message.contains(text))
}
