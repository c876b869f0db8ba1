//! Before a keyed exchange: records get their key's bytes, or are aggregated ahead of it.

use std::sync::Arc;

use fulmar_state::{ByteMap, Partition, hash_key, partition_of};

use super::{Cx, Operator, OperatorError, TaskContext};
use crate::aggregate::CombinerAggregator;
use crate::chunk::Chunk;
use crate::data::{Data, ExchangeData, Key};

/// The task that owns a partition: partitions are dealt out in even, contiguous runs.
pub(crate) fn owner_of(partition: Partition, partitions: u16, tasks: u16) -> u16 {
    (u32::from(partition.0) * u32::from(tasks) / u32::from(partitions)) as u16
}

/// Encoded keys with their hashes, in one arena.
#[derive(Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<(u64, usize)>,
}

impl Keys {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn push(&mut self, hash: u64, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push((hash, self.bytes.len()));
    }

    /// Hash and bytes of each key, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(hash, end)| {
            (
                *hash,
                &self.bytes[std::mem::replace(&mut start, *end)..*end],
            )
        })
    }
}

/// Encodes the keys of a run of records: `dyn` once a run, generic for each record.
pub(crate) type KeysOf<T> = Arc<dyn Fn(&[T], &mut Keys) + Send + Sync>;

/// A user's key function, made ready for runs of records.
pub(crate) fn keys_of<T: Data, K: Key>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> KeysOf<T> {
    Arc::new(move |records, keys| {
        for record in records {
            let start = keys.bytes.len();
            key(record).encode(&mut keys.bytes);
            keys.ends
                .push((hash_key(&keys.bytes[start..]), keys.bytes.len()));
        }
    })
}

/// Records with the bytes of their keys.
pub(crate) struct KeyedRecords<T> {
    pub(crate) keys: Keys,
    pub(crate) records: Vec<T>,
}

/// Sends each record to the task that owns its key.
pub(crate) struct KeyBy<T> {
    keys_of: KeysOf<T>,
    partitions: u16,
    tasks: u16,
    keys: Keys,
}

impl<T> KeyBy<T> {
    pub(crate) fn new(keys_of: KeysOf<T>, partitions: u16, cx: &TaskContext) -> Self {
        KeyBy {
            keys_of,
            partitions,
            tasks: cx.tasks,
            keys: Keys::default(),
        }
    }
}

impl<T: ExchangeData> Operator for KeyBy<T> {
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let records = chunk.open::<Vec<T>>();
        self.keys.clear();
        (self.keys_of)(&records, &mut self.keys);
        let empty = || KeyedRecords {
            keys: Keys::default(),
            records: Vec::new(),
        };
        let mut to: Vec<KeyedRecords<T>> = (0..self.tasks).map(|_| empty()).collect();
        for ((hash, key), record) in self.keys.iter().zip(records) {
            let owner = owner_of(
                partition_of(hash, self.partitions),
                self.partitions,
                self.tasks,
            );
            let keyed = &mut to[usize::from(owner)];
            keyed.keys.push(hash, key);
            keyed.records.push(record);
        }
        for (task, keyed) in to
            .into_iter()
            .enumerate()
            .filter(|(_, keyed)| !keyed.records.is_empty())
        {
            let count = keyed.records.len() as u64;
            cx.emit(Chunk::new(keyed, count).to(task as u16))?;
        }
        Ok(())
    }
}

/// Partial results for one task, by partition.
pub(crate) type Deltas<V> = Vec<(Partition, ByteMap<V>)>;

/// Aggregates a batch's records before the exchange, so that each key crosses it once.
pub(crate) struct PreAggregate<T, A: CombinerAggregator<T>> {
    keys_of: KeysOf<T>,
    aggregator: Arc<A>,
    tasks: u16,
    maps: Vec<ByteMap<A::Value>>,
    keys: Keys,
}

impl<T, A: CombinerAggregator<T>> PreAggregate<T, A> {
    pub(crate) fn new(
        keys_of: KeysOf<T>,
        aggregator: Arc<A>,
        partitions: u16,
        cx: &TaskContext,
    ) -> Self {
        let maps = (0..partitions).map(|_| ByteMap::new()).collect();
        PreAggregate {
            keys_of,
            aggregator,
            tasks: cx.tasks,
            maps,
            keys: Keys::default(),
        }
    }
}

impl<T: ExchangeData, A: CombinerAggregator<T>> Operator for PreAggregate<T, A> {
    fn process(&mut self, chunk: Chunk, _cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let partitions = self.maps.len() as u16;
        let aggregator = &*self.aggregator;
        let records = chunk.open::<Vec<T>>();
        self.keys.clear();
        (self.keys_of)(&records, &mut self.keys);
        for ((hash, key), record) in self.keys.iter().zip(&records) {
            let map = &mut self.maps[usize::from(partition_of(hash, partitions).0)];
            map.upsert(hash, key, aggregator.init(record), |into, one| {
                aggregator.combine(into, one)
            });
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let partitions = self.maps.len() as u16;
        let mut to: Vec<(u64, Deltas<A::Value>)> =
            (0..self.tasks).map(|_| (0, Vec::new())).collect();
        for (index, map) in self
            .maps
            .iter_mut()
            .enumerate()
            .filter(|(_, map)| !map.is_empty())
        {
            // The next batch will have about as many keys.
            let fresh = ByteMap::with_capacity(map.len(), map.key_bytes());
            let partition = Partition(index as u16);
            let (records, deltas) =
                &mut to[usize::from(owner_of(partition, partitions, self.tasks))];
            *records += map.len() as u64;
            deltas.push((partition, std::mem::replace(map, fresh)));
        }
        for (task, (records, deltas)) in to
            .into_iter()
            .enumerate()
            .filter(|(_, (_, deltas))| !deltas.is_empty())
        {
            cx.emit(Chunk::new(deltas, records).to(task as u16))?;
        }
        Ok(())
    }
}
