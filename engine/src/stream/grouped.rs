//! A stream grouped by key: what can be kept for each group.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulmar_state::{AnyShard, Shard, StateFamily, StateId, StateSchema, Value};

use super::{StateHandle, StateSpec, Stream};
use crate::aggregate::{CombinerAggregator, PersistentAggregator, ReducerAggregator};
use crate::data::{ExchangeData, Key};
use crate::operator::{
    CombinerState, KeyBy, KeysOf, Merging, OperatorFactory, PreAggregate, ReducerState,
};
use crate::plan::graph::{Role, Route, StateDef};
use crate::plan::short_type_name;

/// Records of type `T`, grouped by a key of type `K`. Nothing moves until the groups are aggregated.
pub struct GroupedStream<K, T> {
    stream: Stream<T>,
    keys_of: KeysOf<T>,
    types: PhantomData<fn() -> K>,
}

impl<K, T> fmt::Debug for GroupedStream<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GroupedStream<{}>({:?})",
            std::any::type_name::<K>(),
            self.stream
        )
    }
}

impl<K: Key, T: ExchangeData> GroupedStream<K, T> {
    pub(crate) fn new(stream: Stream<T>, keys_of: KeysOf<T>) -> Self {
        GroupedStream {
            stream,
            keys_of,
            types: PhantomData,
        }
    }

    /// Keeps one value for each group, for ever, and changes it with every batch, exactly once.
    ///
    /// A [combiner](CombinerAggregator) is run on every executor before the records cross the exchange, and the state is not read
    /// unless somebody asks for its new values. A [reducer](ReducerAggregator) sees the records one by one, in
    /// the batch's fixed order.
    ///
    /// ```
    /// # use fulmar::{Topology, aggregate::{Count, Max}, spout::Collection};
    /// # let topology = Topology::new("words");
    /// topology
    ///     .spout("words", Collection::of(["tea", "time"].map(String::from)))
    ///     .group_by(|word| word.chars().next())
    ///     .persistent_aggregate("words", (Count, Max::by(|word: &String| word.clone())));
    /// ```
    pub fn persistent_aggregate<A, Kind>(
        self,
        state: impl Into<StateSpec>,
        aggregator: A,
    ) -> StateHandle<K, A::Value>
    where
        A: PersistentAggregator<T, Kind>,
    {
        aggregator.persist(self, state.into())
    }

    pub(crate) fn combine_into<A: CombinerAggregator<T>>(
        self,
        spec: StateSpec,
        aggregator: A,
    ) -> StateHandle<K, A::Value> {
        let aggregator = Arc::new(aggregator);
        let (keys_of, partitions) = (self.keys_of.clone(), spec.partitions);
        let ahead = aggregator.clone();
        let ahead: OperatorFactory = Arc::new(move |cx| {
            Box::new(PreAggregate::new(
                keys_of.clone(),
                ahead.clone(),
                partitions,
                cx,
            ))
        });
        let parts = Parts {
            verb: "combine",
            ahead,
            merging: Merging::with(aggregator.clone()),
            spec: &spec,
        };
        let make = |id: StateId| -> OperatorFactory {
            Arc::new(move |cx| {
                Box::new(CombinerState::<K, T, A>::new(
                    id,
                    aggregator.clone(),
                    cx.emits,
                ))
            })
        };
        self.persist(parts, make)
    }

    pub(crate) fn reduce_into<R: ReducerAggregator<T>>(
        self,
        spec: StateSpec,
        reducer: R,
    ) -> StateHandle<K, R::Value> {
        let reducer = Arc::new(reducer);
        let (keys_of, partitions) = (self.keys_of.clone(), spec.partitions);
        let ahead: OperatorFactory =
            Arc::new(move |cx| Box::new(KeyBy::new(keys_of.clone(), partitions, cx)));
        let make = |id: StateId| -> OperatorFactory {
            Arc::new(move |cx| {
                Box::new(ReducerState::<K, T, R>::new(id, reducer.clone(), cx.emits))
            })
        };
        self.persist(
            Parts {
                verb: "key",
                ahead,
                merging: Merging::never(),
                spec: &spec,
            },
            make,
        )
    }

    /// Adds the two nodes of a state (before and behind its exchange) and the state itself.
    fn persist<V: Value>(
        self,
        parts: Parts<'_, V>,
        make: impl FnOnce(StateId) -> OperatorFactory,
    ) -> StateHandle<K, V> {
        let Parts {
            verb,
            ahead,
            merging,
            spec,
        } = parts;
        let schema = StateSchema {
            name: spec.name.clone(),
            partitions: spec.partitions,
            key_type: short_type_name::<K>(),
            key_version: spec.key_version,
            value_type: short_type_name::<V>(),
            value_version: spec.value_version,
            ..StateSchema::default()
        };
        let combined = merging.merges();
        let family = if combined {
            StateFamily::combined(schema, merging.clone())
        } else {
            StateFamily::stored(schema)
        };
        let shards = Arc::new(move |id, owned, total, base| -> Box<dyn AnyShard> {
            Box::new(Shard::<V, _>::new(id, owned, total, merging.clone(), base))
        });
        let id = {
            let mut graph = self.stream.shared.graph();
            graph.states.push(StateDef {
                family,
                make: shards,
                #[cfg(feature = "testing")]
                look: crate::testing::Look::of::<K, V>(),
            });
            StateId((graph.states.len() - 1) as u16)
        };
        let ahead: Stream<T> = self.stream.then(verb, Route::Local, Role::Plain, ahead);
        let stream = ahead.then::<(K, V)>(
            "persistent_aggregate",
            Route::Keyed,
            Role::Updates(id),
            make(id),
        );
        if let Some(node) = stream.shared.graph().nodes.get_mut(stream.node) {
            node.name = Some(spec.name.clone());
            node.ordered = !combined;
        }
        StateHandle::new(stream, id, spec.clone())
    }
}

/// What combiner and reducer states differ in.
struct Parts<'a, V> {
    verb: &'static str,
    ahead: OperatorFactory,
    merging: Merging<V>,
    spec: &'a StateSpec,
}
