//! Sources that can be read again from a position: the trait, and the spouts that come with the engine.

mod collection;
mod generator;
pub(crate) mod task;
mod text;

pub use collection::Collection;
pub use generator::{Draw, Generator};
pub use text::{TextFiles, TextReader};

pub use fulmar_coordinator::Replays;

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use crate::data::ExchangeData;

/// Where a partition is read on: opaque, versioned bytes that only its spout understands.
pub type Position = Vec<u8>;

/// A source of records, split into partitions, each of which can be read again from a recorded position.
///
/// Contract: after [`Spout::open`] at a position, a reader yields what followed that position when it was
/// recorded. A spout whose [`Replays`] are `Identical` yields exactly the same records again; the engine
/// compares a digest of them and halts when they differ. A spout with `Replays::Any` may yield more, fewer or
/// other records, and the results are just as exactly-once: what is read is sealed together with its positions.
///
/// The engine calls a spout from one thread, which may block. An error of [`SpoutError::retry`] fails the attempt,
/// and the batch is read again; one of [`SpoutError::permanent`] halts the topology after everything before
/// it was sealed.
///
/// ```
/// use fulmar::spout::{Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};
///
/// /// The numbers from 0 to 9.
/// struct Digits;
/// struct From(u8);
///
/// impl Spout for Digits {
///     type Record = u8;
///     type Reader = From;
///     fn replays(&self) -> Replays { Replays::Identical }
///     fn partitions(&mut self) -> Result<Vec<String>, SpoutError> { Ok(vec!["digits".into()]) }
///     fn open(&mut self, _partition: &str, from: Option<&[u8]>) -> Result<From, SpoutError> {
///         Ok(From(from.map_or(0, |position| position[0])))
///     }
/// }
///
/// impl Reader for From {
///     type Record = u8;
///     fn read(&mut self, limit: ReadLimit, out: &mut Vec<u8>) -> Result<Progress, SpoutError> {
///         let end = u64::from(self.0).saturating_add(limit.records).min(10) as u8;
///         out.extend(self.0..end);
///         let bytes = u64::from(end - self.0);
///         self.0 = end;
///         Ok(Progress { bytes, status: if end == 10 { Status::Ended } else { Status::More } })
///     }
///     fn position(&self) -> Vec<u8> { vec![self.0] }
/// }
/// ```
pub trait Spout: Send + 'static {
    /// What it yields.
    type Record: ExchangeData;
    /// Reads one partition.
    type Reader: Reader<Record = Self::Record>;

    /// What it promises of a second reading from the same position.
    fn replays(&self) -> Replays;

    /// The partitions that there are now, by names that are stable between runs; asked for after every rewind.
    fn partitions(&mut self) -> Result<Vec<String>, SpoutError>;

    /// Told all recorded positions before any partition is opened, also of partitions that are gone.
    fn resume(&mut self, _recorded: &BTreeMap<String, Position>) -> Result<(), SpoutError> {
        Ok(())
    }

    /// Opens a partition at a recorded position, or at its beginning.
    fn open(&mut self, partition: &str, from: Option<&[u8]>) -> Result<Self::Reader, SpoutError>;

    /// Adds a record to the digest that holds identical replays to their promise.
    fn digest(&self, record: &Self::Record, digest: &mut Xxh3) {
        let mut bytes = Vec::new();
        if fulmar_state::codec::encode(record, &mut bytes).is_ok() {
            digest.update(&bytes);
        }
    }

    /// A position in words, for error messages.
    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        match position {
            None => format!("the beginning of {partition}"),
            Some(position) => format!("position {position:02x?} of {partition}"),
        }
    }
}

/// Reads one partition of a spout, onwards from where it was opened.
pub trait Reader: Send + 'static {
    /// What it yields.
    type Record;

    /// Appends at most `limit.records` records to `out`, about `limit.bytes` bytes of them. Never waits for data
    /// that is not there yet: it answers [`Status::Waiting`].
    fn read(
        &mut self,
        limit: ReadLimit,
        out: &mut Vec<Self::Record>,
    ) -> Result<Progress, SpoutError>;

    /// The position after the last record that `read` yielded.
    fn position(&self) -> Position;

    /// About how many bytes are still to be read, where that is known.
    fn lag(&self) -> Option<u64> {
        None
    }
}

/// How much one `read` may yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records at most; never 0.
    pub records: u64,
    /// Bytes after which no further record is begun; never 0.
    pub bytes: u64,
}

/// What one `read` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that the yielded records took at the source.
    pub bytes: u64,
    /// What is to be expected of the next `read`.
    pub status: Status,
}

/// What is to be expected of the next `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There may be more at once.
    More,
    /// Nothing for now; later perhaps.
    Waiting,
    /// Nothing, ever again.
    Ended,
}

/// Why a spout cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SpoutError {
    /// What, where, and what to do.
    pub message: String,
    /// Whether reading again cannot help.
    pub permanent: bool,
}

impl SpoutError {
    /// An error that reading again may cure: the attempt fails, and the batch is read again.
    pub fn retry(message: impl Into<String>) -> Self {
        SpoutError {
            message: message.into(),
            permanent: false,
        }
    }

    /// An error that stays: the topology halts with it after everything before it was sealed.
    pub fn permanent(message: impl Into<String>) -> Self {
        SpoutError {
            message: message.into(),
            permanent: true,
        }
    }
}
