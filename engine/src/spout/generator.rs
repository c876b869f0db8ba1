//! Records made from a seed, for load tests and simulations.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::collection::{describe_index, index_of, position_of};
use super::{Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};
use crate::data::ExchangeData;

/// A spout whose every record is a function of seed, partition and index, and so the same at every reading.
///
/// ```
/// use fulmar::spout::Generator;
///
/// // Two partitions of 1,000 dice each.
/// let dice = Generator::new(42, 1_000, |draw| draw.below(6) + 1).partitions(2);
/// ```
pub struct Generator<F> {
    seed: u64,
    records: u64,
    partitions: u64,
    make: Arc<F>,
}

impl<T, F> Generator<F>
where
    T: ExchangeData,
    F: Fn(&mut Draw) -> T + Send + Sync + 'static,
{
    /// `records` records a partition, each made by `make`.
    pub fn new(seed: u64, records: u64, make: F) -> Self {
        Generator {
            seed,
            records,
            partitions: 1,
            make: Arc::new(make),
        }
    }

    /// How many partitions there are; 1 unless told.
    #[must_use]
    pub fn partitions(mut self, partitions: u64) -> Self {
        self.partitions = partitions;
        self
    }
}

/// The random numbers of one record.
pub struct Draw {
    index: u64,
    seed: u64,
    drawn: u64,
}

impl Draw {
    /// The record's index in its partition, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The next number, uniform over all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.drawn += 1;
        xxh3_64_with_seed(&self.drawn.to_le_bytes(), self.seed)
    }

    /// The next number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

impl<T, F> Spout for Generator<F>
where
    T: ExchangeData,
    F: Fn(&mut Draw) -> T + Send + Sync + 'static,
{
    type Record = T;
    type Reader = GeneratorReader<F>;

    fn replays(&self) -> Replays {
        Replays::Identical
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        Ok((0..self.partitions)
            .map(|index| index.to_string())
            .collect())
    }

    fn open(
        &mut self,
        partition: &str,
        from: Option<&[u8]>,
    ) -> Result<GeneratorReader<F>, SpoutError> {
        let seed = xxh3_64_with_seed(partition.as_bytes(), self.seed);
        let next = from.map_or(Ok(0), index_of)?;
        Ok(GeneratorReader {
            make: self.make.clone(),
            seed,
            next,
            end: self.records.max(next),
        })
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        describe_index(partition, position)
    }
}

/// Reads one partition of a [`Generator`].
pub struct GeneratorReader<F> {
    make: Arc<F>,
    seed: u64,
    next: u64,
    end: u64,
}

impl<T, F> Reader for GeneratorReader<F>
where
    T: ExchangeData,
    F: Fn(&mut Draw) -> T + Send + Sync + 'static,
{
    type Record = T;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<T>) -> Result<Progress, SpoutError> {
        let end = self.next.saturating_add(limit.records).min(self.end);
        let bytes = (end - self.next) * size_of::<T>() as u64;
        for index in self.next..end {
            let seed = xxh3_64_with_seed(&index.to_le_bytes(), self.seed);
            out.push((self.make)(&mut Draw {
                index,
                seed,
                drawn: 0,
            }));
        }
        self.next = end;
        Ok(Progress {
            bytes,
            status: if end == self.end {
                Status::Ended
            } else {
                Status::More
            },
        })
    }

    fn position(&self) -> Vec<u8> {
        position_of(self.next)
    }

    fn lag(&self) -> Option<u64> {
        Some((self.end - self.next) * size_of::<T>() as u64)
    }
}
