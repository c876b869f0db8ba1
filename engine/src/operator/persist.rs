//! Behind a keyed exchange: what a batch does to a state, and the new values it makes.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use fulmar_state::{ByteMap, Change, Merge, Partition, StateId, TxId, Value};

use super::{Cx, Deltas, KeyedRecords, Operator, OperatorError};
use crate::aggregate::{CombinerAggregator, ReducerAggregator};
use crate::chunk::Chunk;
use crate::data::Key;

/// So many new values make a chunk, and so many keys are asked for at once.
const RUN: usize = 1024;

/// How a state merges deltas, with the aggregator's type erased: one shard type for each value type.
pub struct Merging<V>(Option<Arc<MergeFn<V>>>);

type MergeFn<V> = dyn Fn(&mut V, V) + Send + Sync;

impl<V> Merging<V> {
    /// As this combiner does.
    pub(crate) fn with<T: 'static, A: CombinerAggregator<T, Value = V>>(
        aggregator: Arc<A>,
    ) -> Self {
        Merging(Some(Arc::new(move |into, delta| {
            aggregator.combine(into, delta)
        })))
    }

    /// Not at all: the state holds whole values.
    pub(crate) fn never() -> Self {
        Merging(None)
    }

    pub(crate) fn merges(&self) -> bool {
        self.0.is_some()
    }
}

impl<V> Clone for Merging<V> {
    fn clone(&self) -> Self {
        Merging(self.0.clone())
    }
}

impl<V: Value> Merge<V> for Merging<V> {
    #[inline]
    fn merge(&self, into: &mut V, delta: V) {
        match &self.0 {
            Some(merge) => merge(into, delta),
            None => *into = delta,
        }
    }
}

fn before(txid: TxId) -> TxId {
    txid.prev().expect("a batch's txid is at least 1")
}

/// Emits `(key, value)` pairs in chunks.
struct Pairs<K, V>(Vec<(K, V)>);

impl<K: Key, V: Value> Pairs<K, V> {
    fn new() -> Self {
        Pairs(Vec::new())
    }

    fn push(&mut self, key: &[u8], value: V, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let key = K::decode(key)
            .map_err(|error| OperatorError::user(format!("a key cannot be decoded: {error}")))?;
        self.0.push((key, value));
        if self.0.len() == RUN {
            self.flush(cx)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let pairs = std::mem::take(&mut self.0);
        if pairs.is_empty() {
            Ok(())
        } else {
            cx.emit(Chunk::of(pairs))
        }
    }
}

/// Puts a combiner's partial results into the state: as they are, unless somebody reads the new values.
pub(crate) struct CombinerState<K, T, A: CombinerAggregator<T>> {
    state: StateId,
    aggregator: Arc<A>,
    emits: bool,
    /// While new values are wanted: the batch's deltas, in order of partitions.
    waiting: BTreeMap<Partition, ByteMap<A::Value>>,
    types: PhantomData<fn(T) -> K>,
}

impl<K, T, A: CombinerAggregator<T>> CombinerState<K, T, A> {
    pub(crate) fn new(state: StateId, aggregator: Arc<A>, emits: bool) -> Self {
        CombinerState {
            state,
            aggregator,
            emits,
            waiting: BTreeMap::new(),
            types: PhantomData,
        }
    }
}

impl<K: Key, T: 'static, A: CombinerAggregator<T>> Operator for CombinerState<K, T, A> {
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let txid = cx.txid();
        let aggregator = &*self.aggregator;
        for (partition, map) in chunk.open::<Deltas<A::Value>>() {
            if self.emits {
                let waiting = self.waiting.entry(partition).or_default();
                waiting.absorb(map, |into, other| aggregator.combine(into, other));
            } else {
                cx.shard::<A::Value>(self.state)
                    .absorb(txid, partition, map);
            }
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let txid = cx.txid();
        let mut pairs = Pairs::<K, A::Value>::new();
        for (_, map) in std::mem::take(&mut self.waiting) {
            let entries: Vec<(u64, &[u8], &A::Value)> = map.iter().collect();
            for run in entries.chunks(RUN) {
                let keys: Vec<(u64, &[u8])> =
                    run.iter().map(|(hash, key, _)| (*hash, *key)).collect();
                let shard = cx.shard::<A::Value>(self.state);
                let old = shard.get_many(before(txid), &keys)?;
                let new = old
                    .into_iter()
                    .zip(run)
                    .map(|(old, (_, _, delta))| match old {
                        None => (*delta).clone(),
                        Some(mut value) => {
                            self.aggregator.combine(&mut value, (*delta).clone());
                            value
                        }
                    });
                let new: Vec<A::Value> = new.collect();
                for ((hash, key), value) in keys.iter().zip(&new) {
                    shard.change(txid, *hash, key, Change::Put(value.clone()));
                }
                for ((_, key), value) in keys.into_iter().zip(new) {
                    pairs.push(key, value, cx)?;
                }
            }
        }
        pairs.flush(cx)
    }
}

/// Reduces records one by one over the values of the batch before.
pub(crate) struct ReducerState<K, T, R: ReducerAggregator<T>> {
    state: StateId,
    reducer: Arc<R>,
    emits: bool,
    /// What the batch has made of its keys so far.
    values: ByteMap<Option<R::Value>>,
    types: PhantomData<fn(T) -> K>,
}

impl<K, T, R: ReducerAggregator<T>> ReducerState<K, T, R> {
    pub(crate) fn new(state: StateId, reducer: Arc<R>, emits: bool) -> Self {
        ReducerState {
            state,
            reducer,
            emits,
            values: ByteMap::new(),
            types: PhantomData,
        }
    }
}

impl<K: Key, T: 'static, R: ReducerAggregator<T>> Operator for ReducerState<K, T, R> {
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let KeyedRecords { keys, records } = chunk.open::<KeyedRecords<T>>();
        let upto = before(cx.txid());
        let unknown: Vec<(u64, &[u8])> = keys
            .iter()
            .filter(|(hash, key)| self.values.get(*hash, key).is_none())
            .collect();
        let found = cx.shard::<R::Value>(self.state).get_many(upto, &unknown)?;
        for ((hash, key), value) in unknown.into_iter().zip(found) {
            // A key that stands twice in the chunk was asked for twice, with one answer.
            self.values.upsert(hash, key, value, |_, _| {});
        }
        for ((hash, key), record) in keys.iter().zip(&records) {
            let value = self
                .values
                .get_mut(hash, key)
                .expect("every key of the chunk was looked up");
            *value = Some(self.reducer.reduce(value.take(), record));
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let txid = cx.txid();
        let values = std::mem::replace(&mut self.values, ByteMap::new());
        let mut pairs = Pairs::<K, R::Value>::new();
        for (hash, key, value) in values.iter() {
            let value = value
                .clone()
                .expect("every key that was looked up was reduced");
            if self.emits {
                pairs.push(key, value.clone(), cx)?;
            }
            cx.shard::<R::Value>(self.state)
                .change(txid, hash, key, Change::Put(value));
        }
        pairs.flush(cx)
    }
}
