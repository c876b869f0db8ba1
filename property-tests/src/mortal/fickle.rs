//! An opaque spout over text files that reads other batches each time: more records, fewer, from other files first.

use std::collections::BTreeMap;

use fulmar::Line;
use fulmar::spout::{
    Position, Progress, ReadLimit, Reader, Replays, Spout, SpoutError, TextFiles, TextReader,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Reads all lines once, in batches that no second reading yields again.
pub struct Fickle {
    files: TextFiles,
    rng: ChaCha8Rng,
}

/// One file's reader.
pub struct FickleReader {
    inner: TextReader,
    rng: ChaCha8Rng,
}

impl Fickle {
    /// Over these files; another salt reads otherwise.
    #[must_use]
    pub fn new(files: TextFiles, salt: u64) -> Fickle {
        Fickle {
            files: files.opaque(),
            rng: ChaCha8Rng::seed_from_u64(salt),
        }
    }
}

impl Spout for Fickle {
    type Record = Line;
    type Reader = FickleReader;

    fn replays(&self) -> Replays {
        Replays::Any
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        let mut files = self.files.partitions()?;
        files.shuffle(&mut self.rng);
        Ok(files)
    }

    fn resume(&mut self, recorded: &BTreeMap<String, Position>) -> Result<(), SpoutError> {
        self.files.resume(recorded)
    }

    fn open(&mut self, partition: &str, from: Option<&[u8]>) -> Result<FickleReader, SpoutError> {
        Ok(FickleReader {
            inner: self.files.open(partition, from)?,
            rng: ChaCha8Rng::seed_from_u64(self.rng.random()),
        })
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        self.files.describe(partition, position)
    }
}

impl Reader for FickleReader {
    type Record = Line;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<Line>) -> Result<Progress, SpoutError> {
        let limit = ReadLimit {
            records: self.rng.random_range(1..=limit.records),
            ..limit
        };
        self.inner.read(limit, out)
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn lag(&self) -> Option<u64> {
        self.inner.lag()
    }
}
