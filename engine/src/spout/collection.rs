//! Records held in memory, for tests and small inputs.

use std::sync::Arc;

use super::{Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};
use crate::data::ExchangeData;

/// A spout over records in memory; each list is one partition. Positions are indexes, so a later run may be given
/// the same lists with more at their ends.
///
/// ```
/// use fulmar::spout::Collection;
///
/// let one = Collection::of(["storm", "petrel"].map(String::from));
/// let two = Collection::partitioned([vec![1u64, 2, 3], vec![4, 5]]);
/// ```
pub struct Collection<T> {
    partitions: Vec<Arc<Vec<T>>>,
    replays: Replays,
}

impl<T: ExchangeData> Collection<T> {
    /// One partition.
    pub fn of(records: impl IntoIterator<Item = T>) -> Self {
        Collection::partitioned([records.into_iter().collect()])
    }

    /// A partition for each list.
    pub fn partitioned(partitions: impl IntoIterator<Item = Vec<T>>) -> Self {
        Collection {
            partitions: partitions.into_iter().map(Arc::new).collect(),
            replays: Replays::Identical,
        }
    }

    /// Promises nothing of a second reading, as an opaque spout does.
    #[must_use]
    pub fn opaque(mut self) -> Self {
        self.replays = Replays::Any;
        self
    }
}

impl<T: ExchangeData> Spout for Collection<T> {
    type Record = T;
    type Reader = CollectionReader<T>;

    fn replays(&self) -> Replays {
        self.replays
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        Ok((0..self.partitions.len())
            .map(|index| index.to_string())
            .collect())
    }

    fn open(
        &mut self,
        partition: &str,
        from: Option<&[u8]>,
    ) -> Result<CollectionReader<T>, SpoutError> {
        let index: usize = partition.parse().map_err(|_| unknown(partition))?;
        let records = self
            .partitions
            .get(index)
            .ok_or_else(|| unknown(partition))?
            .clone();
        let next = from.map_or(Ok(0), index_of)?;
        if next > records.len() as u64 {
            return Err(SpoutError::permanent(format!(
                "partition {partition} of the collection holds {} records and was read up to record {next}: give it the records it had before",
                records.len()
            )));
        }
        Ok(CollectionReader { records, next })
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        describe_index(partition, position)
    }
}

fn unknown(partition: &str) -> SpoutError {
    SpoutError::permanent(format!("the collection has no partition {partition}"))
}

/// Positions of this module: a version byte, then the index of the next record, big-endian.
pub(super) fn position_of(index: u64) -> Vec<u8> {
    let mut position = vec![1];
    position.extend(index.to_be_bytes());
    position
}

/// A position of this module in words.
pub(super) fn describe_index(partition: &str, position: Option<&[u8]>) -> String {
    let index = position.map_or(Ok(0), index_of);
    format!(
        "record {} of partition {partition}",
        index.map_or("?".to_string(), |index| index.to_string())
    )
}

pub(super) fn index_of(position: &[u8]) -> Result<u64, SpoutError> {
    match position {
        [1, index @ ..] if index.len() == 8 => Ok(index
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        _ => Err(SpoutError::permanent(format!(
            "the recorded position {position:02x?} is not an index of version 1"
        ))),
    }
}

/// Reads one list of a [`Collection`].
pub struct CollectionReader<T> {
    records: Arc<Vec<T>>,
    next: u64,
}

impl<T: ExchangeData> Reader for CollectionReader<T> {
    type Record = T;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<T>) -> Result<Progress, SpoutError> {
        let len = self.records.len() as u64;
        let end = self.next.saturating_add(limit.records).min(len);
        out.extend_from_slice(&self.records[self.next as usize..end as usize]);
        let bytes = (end - self.next) * size_of::<T>() as u64;
        self.next = end;
        Ok(Progress {
            bytes,
            status: if end == len {
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
        Some((self.records.len() as u64 - self.next) * size_of::<T>() as u64)
    }
}
