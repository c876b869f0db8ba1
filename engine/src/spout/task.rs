//! A spout with its record type erased, and its partitions read in turn.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use super::{Position, Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};
use crate::chunk::Chunk;

/// One chunk of one partition, with the positions at its two ends.
pub(crate) struct Fetched {
    pub(crate) partition: String,
    pub(crate) from: Option<Position>,
    pub(crate) to: Position,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) chunk: Chunk,
}

/// What all partitions together have to offer. Made once a chunk and moved at once.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every one is a chunk, and none is kept"
)]
pub(crate) enum Offer {
    /// A chunk with at least one record, or one that only moves a position.
    Chunk(Fetched),
    /// Nothing for now.
    Waiting,
    /// Nothing, ever again.
    Ended,
}

/// A spout as its source task sees it.
pub(crate) trait AnySpout: Send {
    fn replays(&self) -> Replays;
    /// Forgets all readers; partitions are read on from these positions.
    fn seek(&mut self, positions: &BTreeMap<String, Position>) -> Result<(), SpoutError>;
    /// The next chunk of any partition: in their order, each until it has no more.
    fn fetch(&mut self, limit: ReadLimit) -> Result<Offer, SpoutError>;
    /// The next chunk of this partition, to replay what was read of it.
    fn fetch_from(
        &mut self,
        partition: &str,
        limit: ReadLimit,
    ) -> Result<Option<Fetched>, SpoutError>;
    /// Adds a chunk that becomes part of the batch to the batch's digest.
    fn digest(&mut self, fetched: &Fetched);
    /// For each partition, the digest of all its chunks since the last call, the same however they were cut.
    fn take_digests(&mut self) -> BTreeMap<String, u64>;
    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String;
    /// The chunk's only record, encoded, for a dead letter.
    fn encode(&self, chunk: Chunk) -> Vec<u8>;
    /// About how many bytes are left in the partitions that are open.
    fn lag(&self) -> u64;
    /// The user's spout itself, to tell what it is.
    #[cfg(feature = "testing")]
    fn as_any(&self) -> &dyn std::any::Any;
}

struct Part<R> {
    name: String,
    reader: Option<R>,
    status: Status,
}

pub(crate) struct SpoutTask<S: Spout> {
    spout: S,
    parts: Vec<Part<S::Reader>>,
    positions: BTreeMap<String, Position>,
    /// The partition that is read next.
    turn: usize,
    digests: BTreeMap<String, Xxh3>,
}

impl<S: Spout> SpoutTask<S> {
    pub(crate) fn new(spout: S) -> Self {
        SpoutTask {
            spout,
            parts: Vec::new(),
            positions: BTreeMap::new(),
            turn: 0,
            digests: BTreeMap::new(),
        }
    }

    fn read(&mut self, index: usize, limit: ReadLimit) -> Result<Option<Fetched>, SpoutError> {
        let part = &mut self.parts[index];
        let from = self.positions.get(&part.name).cloned();
        let reader = match &mut part.reader {
            Some(reader) => reader,
            None => part
                .reader
                .insert(self.spout.open(&part.name, from.as_deref())?),
        };
        let mut records = Vec::with_capacity(limit.records.min(1024) as usize);
        let Progress { bytes, status } = reader.read(limit, &mut records)?;
        part.status = status;
        let to = reader.position();
        if from.as_ref() == Some(&to) || (records.is_empty() && bytes == 0) {
            return Ok(None);
        }
        self.positions.insert(part.name.clone(), to.clone());
        let count = records.len() as u64;
        Ok(Some(Fetched {
            partition: part.name.clone(),
            from,
            to,
            records: count,
            bytes,
            chunk: Chunk::of(records),
        }))
    }
}

impl<S: Spout> AnySpout for SpoutTask<S> {
    fn replays(&self) -> Replays {
        self.spout.replays()
    }

    fn seek(&mut self, positions: &BTreeMap<String, Position>) -> Result<(), SpoutError> {
        self.spout.resume(positions)?;
        self.positions = positions.clone();
        self.digests.clear();
        self.turn = 0;
        let names = self.spout.partitions()?;
        self.parts = names
            .into_iter()
            .map(|name| Part {
                name,
                reader: None,
                status: Status::More,
            })
            .collect();
        Ok(())
    }

    fn fetch(&mut self, limit: ReadLimit) -> Result<Offer, SpoutError> {
        for _ in 0..self.parts.len() {
            while self.parts[self.turn].status != Status::Ended {
                if let Some(fetched) = self.read(self.turn, limit)? {
                    return Ok(Offer::Chunk(fetched));
                }
                if self.parts[self.turn].status != Status::More {
                    break;
                }
            }
            self.turn = (self.turn + 1) % self.parts.len();
        }
        let ended = self.parts.iter().all(|part| part.status == Status::Ended);
        Ok(if ended { Offer::Ended } else { Offer::Waiting })
    }

    fn fetch_from(
        &mut self,
        partition: &str,
        limit: ReadLimit,
    ) -> Result<Option<Fetched>, SpoutError> {
        match self.parts.iter().position(|part| part.name == partition) {
            Some(index) => self.read(index, limit),
            None => Err(SpoutError::permanent(format!(
                "partition {partition} is gone, but the batch that is read again has records of it"
            ))),
        }
    }

    fn digest(&mut self, fetched: &Fetched) {
        let digest = self.digests.entry(fetched.partition.clone()).or_default();
        for record in fetched.chunk.peek::<S::Record>() {
            self.spout.digest(record, digest);
        }
    }

    fn take_digests(&mut self) -> BTreeMap<String, u64> {
        let digests = std::mem::take(&mut self.digests);
        digests
            .into_iter()
            .map(|(partition, digest)| (partition, digest.digest()))
            .collect()
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        self.spout.describe(partition, position)
    }

    fn encode(&self, chunk: Chunk) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in chunk.open::<Vec<S::Record>>() {
            if fulmar_state::codec::encode(&record, &mut bytes).is_err() {
                // The letter then names the position alone, from which the record can be read again.
                bytes.clear();
            }
        }
        bytes
    }

    fn lag(&self) -> u64 {
        self.parts
            .iter()
            .filter_map(|part| part.reader.as_ref()?.lag())
            .sum()
    }

    #[cfg(feature = "testing")]
    fn as_any(&self) -> &dyn std::any::Any {
        &self.spout
    }
}
