//! What a rig's spout has to yield, and how it yields it.

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fulmar_state::codec;

use super::super::look::show;
use super::super::random::mixed;
use super::super::spout::offset_of;
use crate::chunk::Chunk;
use crate::data::ExchangeData;
use crate::spout::{Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records of a spout, dealt out to its partitions in turn.
pub(super) struct Well<T>(Mutex<Records<T>>);

struct Records<T> {
    partitions: usize,
    /// Each with its encoding.
    all: Vec<(T, Vec<u8>)>,
}

impl<T> Records<T> {
    fn length(&self, partition: usize) -> usize {
        (self.all.len() + self.partitions - 1 - partition) / self.partitions
    }

    fn at(&self, partition: usize, offset: usize) -> &(T, Vec<u8>) {
        &self.all[offset * self.partitions + partition]
    }
}

impl<T: ExchangeData> Well<T> {
    pub(super) fn new() -> Self {
        Well(Mutex::new(Records {
            partitions: 1,
            all: Vec::new(),
        }))
    }

    pub(super) fn add(&self, records: impl IntoIterator<Item = T>) {
        let mut own = lock(&self.0);
        for record in records {
            let mut bytes = Vec::new();
            if let Err(error) = codec::encode(&record, &mut bytes) {
                let name = std::any::type_name::<T>();
                panic!("a record of type {name} cannot be encoded: {error}");
            }
            own.all.push((record, bytes));
        }
    }

    fn split(&self, partitions: usize) {
        lock(&self.0).partitions = partitions.max(1);
    }
}

/// A well whose type is forgotten.
pub(in super::super) trait AnyWell: Any + Send + Sync {
    fn record_type(&self) -> &'static str;
    /// How many records each partition has.
    fn lengths(&self) -> Vec<usize>;
    /// Some records of a partition, encoded.
    fn encoded(&self, partition: usize, range: Range<usize>) -> Vec<Vec<u8>>;
    fn encode(&self, chunk: &Chunk) -> Vec<Vec<u8>>;
    fn copy(&self, chunk: &Chunk) -> Chunk;
    /// A chunk of one record, from its encoding.
    fn chunk_of(&self, record: &[u8]) -> Option<Chunk>;
    fn show(&self, record: &[u8]) -> String;
    /// Whether a topology's spout yields these records.
    fn feeds(&self, spout: &dyn Any) -> bool;
}

impl<T: ExchangeData> AnyWell for Well<T> {
    fn record_type(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn lengths(&self) -> Vec<usize> {
        let own = lock(&self.0);
        (0..own.partitions).map(|at| own.length(at)).collect()
    }

    fn encoded(&self, partition: usize, range: Range<usize>) -> Vec<Vec<u8>> {
        let own = lock(&self.0);
        range
            .map(|offset| own.at(partition, offset).1.clone())
            .collect()
    }

    fn encode(&self, chunk: &Chunk) -> Vec<Vec<u8>> {
        let encoded = |record: &T| {
            let mut bytes = Vec::new();
            codec::encode(record, &mut bytes).map_or_else(|_| Vec::new(), |()| bytes)
        };
        chunk.peek::<T>().iter().map(encoded).collect()
    }

    fn copy(&self, chunk: &Chunk) -> Chunk {
        chunk.duplicate::<T>()
    }

    fn chunk_of(&self, record: &[u8]) -> Option<Chunk> {
        let record: T = codec::decode(record).ok()?;
        Some(Chunk::of(vec![record]))
    }

    fn show(&self, record: &[u8]) -> String {
        show::<T>(record)
    }

    fn feeds(&self, spout: &dyn Any) -> bool {
        let spout = spout.downcast_ref::<RigSpout<T>>();
        spout.is_some_and(|spout| std::ptr::eq(&raw const *spout.well, self))
    }
}

/// What the world does to a spout.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tap {
    pub(in super::super) opaque: bool,
    /// So many records of each partition can be read by now; all, and more to come, if there is none.
    pub(in super::super) released: Option<Vec<usize>>,
    /// Whether a spout that may leave records out does so.
    pub(in super::super) forgetful: bool,
    /// So many reads fail.
    pub(in super::super) failing: u64,
    openings: u32,
    /// The newest reading of each partition.
    pub(in super::super) salts: Vec<u32>,
}

impl Tap {
    /// Whether a reading leaves a record out: the first reads everything, and only opaque spouts have others.
    pub(in super::super) fn omits(salt: u32, offset: usize) -> bool {
        salt > 0 && mixed((offset as u64) << 32 | u64::from(salt)).is_multiple_of(5)
    }
}

/// A spout that yields what a test gives it; made by [`Rig::spout`](super::Rig::spout).
pub struct RigSpout<T> {
    pub(super) well: Arc<Well<T>>,
    pub(super) tap: Arc<Mutex<Tap>>,
    /// The first of its kind: what it is given is kept.
    pub(super) first: bool,
}

impl<T: ExchangeData> RigSpout<T> {
    /// Gives it records to yield, dealt out to its partitions in turn.
    #[must_use]
    pub fn records(self, records: impl IntoIterator<Item = T>) -> Self {
        if self.first {
            self.well.add(records);
        }
        self
    }

    /// Splits it into so many partitions; one, unless told.
    #[must_use]
    pub fn partitions(self, partitions: u16) -> Self {
        if self.first {
            self.well.split(partitions.into());
        }
        self
    }

    /// Makes it a spout that promises nothing of a second reading: whenever the world has it read again, it leaves some of its records
    /// out, and they are gone. Without this it promises identical replays, and keeps the promise.
    #[must_use]
    pub fn opaque(self) -> Self {
        lock(&self.tap).opaque = true;
        self
    }
}

impl<T: ExchangeData> Spout for RigSpout<T> {
    type Record = T;
    type Reader = RigReader<T>;

    fn replays(&self) -> Replays {
        match lock(&self.tap).opaque {
            true => Replays::Any,
            false => Replays::Identical,
        }
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        let partitions = lock(&self.well.0).partitions;
        Ok((0..partitions).map(|at| at.to_string()).collect())
    }

    fn open(&mut self, partition: &str, from: Option<&[u8]>) -> Result<RigReader<T>, SpoutError> {
        let wrong = || SpoutError::permanent("not a position of this rig");
        let partition: usize = partition.parse().map_err(|_| wrong())?;
        let offset = from.map_or(Some(0), offset_of).ok_or_else(wrong)?;
        let mut tap = lock(&self.tap);
        let salt = if tap.opaque { tap.openings } else { 0 };
        if tap.forgetful {
            tap.openings += 1;
        }
        if tap.salts.len() <= partition {
            tap.salts.resize(partition + 1, 0);
        }
        tap.salts[partition] = salt;
        Ok(RigReader {
            well: self.well.clone(),
            tap: self.tap.clone(),
            partition,
            offset: offset as usize,
            salt,
        })
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        let offset = position.and_then(offset_of).unwrap_or_default();
        format!("record {offset} of partition {partition}")
    }
}

/// Reads one partition of a [`RigSpout`].
pub struct RigReader<T> {
    well: Arc<Well<T>>,
    tap: Arc<Mutex<Tap>>,
    partition: usize,
    offset: usize,
    salt: u32,
}

impl<T: ExchangeData> Reader for RigReader<T> {
    type Record = T;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<T>) -> Result<Progress, SpoutError> {
        let mut tap = lock(&self.tap);
        if let Some(left) = tap.failing.checked_sub(1) {
            tap.failing = left;
            return Err(SpoutError::retry("the world lets this read fail"));
        }
        let well = lock(&self.well.0);
        let length = well.length(self.partition);
        let released = tap.released.as_ref().map(|all| all[self.partition]);
        let end = released.unwrap_or(length);
        let (mut records, mut bytes) = (0, 0);
        while self.offset < end && records < limit.records && bytes < limit.bytes {
            let (record, encoded) = well.at(self.partition, self.offset);
            // Something, even for a record without content: a range of no bytes would not be read.
            bytes += 1 + encoded.len() as u64;
            if !Tap::omits(self.salt, self.offset) {
                out.push(record.clone());
                records += 1;
            }
            self.offset += 1;
        }
        let status = if self.offset < end {
            Status::More
        } else if released == Some(length) {
            Status::Ended
        } else {
            Status::Waiting
        };
        Ok(Progress { bytes, status })
    }

    fn position(&self) -> Vec<u8> {
        (self.offset as u32).to_be_bytes().to_vec()
    }
}
