//! A stream of records, and the verbs that work on each record alone.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulmar_state::Value;

use super::{GroupedStream, Shared, StateHandle};
use crate::data::{Data, ExchangeData, Key};
use crate::operator::{
    Emitter, KeyBy, OperatorError, OperatorFactory, StateQuery, ToOutbox, Unary, keys_of,
};
use crate::plan::graph::{Input, Node, Role, Route, SinkDef};
use crate::sink::{Sink, SinkTask};

/// A stream of records of type `T`: a cheap handle to a node of the topology. Cloning it reads the stream twice.
pub struct Stream<T> {
    pub(crate) shared: Shared,
    pub(crate) node: usize,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Stream {
            shared: self.shared.clone(),
            node: self.node,
            types: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Stream<{}>(node {})",
            std::any::type_name::<T>(),
            self.node
        )
    }
}

impl<T: Data> Stream<T> {
    pub(crate) fn new(shared: Shared, node: usize) -> Self {
        Stream {
            shared,
            node,
            types: PhantomData,
        }
    }

    pub(crate) fn then<U: Data>(
        &self,
        verb: &'static str,
        route: Route,
        role: Role,
        make: OperatorFactory,
    ) -> Stream<U> {
        let mut node = Node::pass::<U>(
            verb,
            vec![Input {
                node: self.node,
                route,
            }],
        );
        node.role = role;
        node.make = make;
        let node = self.shared.graph().add(node);
        Stream::new(self.shared.clone(), node)
    }

    fn unary<U: Data, F>(&self, verb: &'static str, function: F) -> Stream<U>
    where
        F: Fn(T, &mut Emitter<'_, U>) -> std::result::Result<(), OperatorError>
            + Send
            + Sync
            + 'static,
    {
        let function = Arc::new(function);
        self.then(
            verb,
            Route::Local,
            Role::Plain,
            Arc::new(move |_| Box::new(Unary::new(function.clone()))),
        )
    }

    /// Emits any number of records for each record.
    ///
    /// ```
    /// use fulmar::spout::Collection;
    /// use fulmar::{Line, Topology};
    ///
    /// let topology = Topology::new("words");
    /// topology
    ///     .spout("lines", Collection::of([Line::from("to be or not to be")]))
    ///     .each(|line: Line, out| line.words().for_each(|word| out.emit(word)));
    /// ```
    pub fn each<U: Data>(
        &self,
        function: impl Fn(T, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Stream<U> {
        self.unary("each", move |record, out| {
            function(record, out);
            Ok(())
        })
    }

    /// Like [`Stream::each`], for functions that can fail. A failure fails the attempt; the batch is tried again,
    /// at last record by record, and the topology's policy decides what becomes of the record that fails.
    ///
    /// ```
    /// use fulmar::spout::Collection;
    /// use fulmar::Topology;
    ///
    /// let topology = Topology::new("numbers");
    /// topology.spout("texts", Collection::of(["1", "2"].map(String::from))).try_each(|text: String, out| {
    ///     out.emit(text.parse::<u64>()?);
    ///     Ok::<(), std::num::ParseIntError>(())
    /// });
    /// ```
    pub fn try_each<U: Data, E: fmt::Display>(
        &self,
        function: impl Fn(T, &mut Emitter<'_, U>) -> std::result::Result<(), E> + Send + Sync + 'static,
    ) -> Stream<U> {
        self.unary("try_each", move |record, out| {
            function(record, out).map_err(OperatorError::user)
        })
    }

    /// One record for each record.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// # let topology = Topology::new("lengths");
    /// topology.spout("words", Collection::of(["a", "bc"].map(String::from))).map(|word| word.len() as u64);
    /// ```
    pub fn map<U: Data>(&self, function: impl Fn(T) -> U + Send + Sync + 'static) -> Stream<U> {
        self.unary("map", move |record, out| {
            out.emit(function(record));
            Ok(())
        })
    }

    /// All records of an iterator for each record.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// # let topology = Topology::new("ranges");
    /// topology.spout("ends", Collection::of([2u64, 3])).flat_map(|end| 0..end);
    /// ```
    pub fn flat_map<I>(&self, function: impl Fn(T) -> I + Send + Sync + 'static) -> Stream<I::Item>
    where
        I: IntoIterator,
        I::Item: Data,
    {
        self.unary("flat_map", move |record, out| {
            function(record).into_iter().for_each(|item| out.emit(item));
            Ok(())
        })
    }

    /// Keeps the records for which the function is true.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// # let topology = Topology::new("long");
    /// topology.spout("words", Collection::of(["a", "bc"].map(String::from))).filter(|word| word.len() > 1);
    /// ```
    pub fn filter(&self, keep: impl Fn(&T) -> bool + Send + Sync + 'static) -> Stream<T> {
        self.unary("filter", move |record, out| {
            if keep(&record) {
                out.emit(record);
            }
            Ok(())
        })
    }

    /// Looks at each record. It runs again for every attempt: do nothing in it that must happen once.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// # let topology = Topology::new("seen");
    /// topology.spout("words", Collection::of(["a".to_string()])).peek(|word| println!("{word}"));
    /// ```
    pub fn peek(&self, look: impl Fn(&T) + Send + Sync + 'static) -> Stream<T> {
        self.unary("peek", move |record, out| {
            look(&record);
            out.emit(record);
            Ok(())
        })
    }

    /// Gives the verb before a name, for messages, pictures, and the fingerprint that tells programs apart.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// # let topology = Topology::new("labels");
    /// topology.spout("words", Collection::of(["a".to_string()])).map(|word| word.to_lowercase()).named("fold case");
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Stream<T> {
        if let Some(node) = self.shared.graph().nodes.get_mut(self.node) {
            node.name = Some(name.into());
        }
        self
    }

    /// Both streams' records in one stream, in the same batches.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// let topology = Topology::new("both");
    /// let left = topology.spout("left", Collection::of([1u64]));
    /// let right = topology.spout("right", Collection::of([2u64]));
    /// left.merge(&right);
    /// ```
    pub fn merge(&self, other: &Stream<T>) -> Stream<T> {
        let mut graph = self.shared.graph();
        if !self.shared.same(&other.shared) {
            graph
                .mistakes
                .push("merge: the two streams belong to different topologies".into());
        }
        let inputs = [self.node, other.node].map(|node| Input {
            node,
            route: Route::Forward,
        });
        let node = graph.add(Node::pass::<T>("merge", inputs.into()));
        drop(graph);
        Stream::new(self.shared.clone(), node)
    }
}

impl<T: ExchangeData> Stream<T> {
    /// Deals the records out to all executors, chunk by chunk, in turn.
    ///
    /// ```
    /// # use fulmar::{Topology, spout::Collection};
    /// # let topology = Topology::new("even");
    /// topology.spout("ends", Collection::of([1_000u64])).flat_map(|end| 0..end).shuffle().map(|number| number * number);
    /// ```
    pub fn shuffle(&self) -> Stream<T> {
        let node = Node::pass::<T>(
            "shuffle",
            vec![Input {
                node: self.node,
                route: Route::Shuffle,
            }],
        );
        let node = self.shared.graph().add(node);
        Stream::new(self.shared.clone(), node)
    }

    /// Groups the records by a key.
    ///
    /// ```
    /// # use fulmar::{Topology, aggregate::Count, spout::Collection};
    /// # let topology = Topology::new("lengths");
    /// topology
    ///     .spout("words", Collection::of(["a", "bc"].map(String::from)))
    ///     .group_by(|word| word.len() as u64)
    ///     .persistent_aggregate("lengths", Count);
    /// ```
    pub fn group_by<K: Key>(
        &self,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> GroupedStream<K, T> {
        GroupedStream::new(self.clone(), keys_of(key))
    }

    /// Asks a state for the key of each record and emits any number of records. The state answers as of the batch
    /// before, the same for every attempt; the look-ups of a chunk are one.
    ///
    /// ```
    /// # use fulmar::{Topology, aggregate::Count, spout::Collection};
    /// let topology = Topology::new("seen-before");
    /// let words = topology.spout("words", Collection::of(["a", "a"].map(String::from)));
    /// let counts = words.group_by(|word| word.clone()).persistent_aggregate("counts", Count);
    /// words.state_query(&counts, |word| word.clone(), |word, count, out| {
    ///     if count.is_none() {
    ///         out.emit(format!("{word} is new"));
    ///     }
    /// });
    /// ```
    pub fn state_query<K: Key, V: Value, U: Data>(
        &self,
        state: &StateHandle<K, V>,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        function: impl Fn(T, Option<V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Stream<U> {
        if !self.shared.same(&state.shared) {
            self.shared.graph().mistakes.push(format!(
                "state_query: state {:?} belongs to another topology",
                state.name()
            ));
        }
        let keys_of = keys_of(key);
        let partitions = state.partitions();
        let keyed: Stream<T> = self.then(
            "key",
            Route::Local,
            Role::Plain,
            Arc::new(move |cx| Box::new(KeyBy::new(keys_of.clone(), partitions, cx))),
        );
        let id = state.id();
        let function = Arc::new(function);
        let make: OperatorFactory =
            Arc::new(move |_| Box::new(StateQuery::<T, V, U, _>::new(id, function.clone())));
        keyed.then("state_query", Route::Keyed, Role::Queries(id), make)
    }

    /// Publishes the records after their batch is sealed. The name stands in the outbox and is the sink's own key.
    ///
    /// ```
    /// # use fulmar::{Topology, sink::Callback, spout::Collection};
    /// # let topology = Topology::new("prints");
    /// topology
    ///     .spout("words", Collection::of(["a".to_string()]))
    ///     .sink("out", Callback::new(|part, words: Vec<String>| println!("{}: {words:?}", part.txid)));
    /// ```
    pub fn sink<S: Sink<T>>(&self, name: impl Into<String>, sink: S) {
        let name = name.into();
        let outbox = name.clone();
        let make: OperatorFactory = Arc::new(move |_| Box::new(ToOutbox::<T>::new(outbox.clone())));
        let node = self.then::<()>("sink", Route::Local, Role::Sink, make).node;
        let mut graph = self.shared.graph();
        if let Some(node) = graph.nodes.get_mut(node) {
            node.name = Some(name.clone());
            node.output = std::any::type_name::<T>();
        }
        graph.sinks.push(SinkDef {
            name,
            sink: Box::new(SinkTask::new(sink)),
        });
    }
}
