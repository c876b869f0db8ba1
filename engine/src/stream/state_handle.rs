//! A handle to a state: for streams of its new values, for queries, and for reading it while the topology runs.

use std::fmt;

use fulmar_state::StateId;

use super::{Shared, StateSpec, Stream};
use crate::data::{Data, Key};

/// A state of keys `K` and values `V`.
pub struct StateHandle<K, V> {
    pub(crate) shared: Shared,
    node: usize,
    id: StateId,
    spec: StateSpec,
    types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for StateHandle<K, V> {
    fn clone(&self) -> Self {
        StateHandle {
            shared: self.shared.clone(),
            node: self.node,
            id: self.id,
            spec: self.spec.clone(),
            types: self.types,
        }
    }
}

impl<K, V> fmt::Debug for StateHandle<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHandle({:?})", self.spec.name)
    }
}

impl<K: Key, V: Data> StateHandle<K, V> {
    pub(crate) fn new(stream: Stream<(K, V)>, id: StateId, spec: StateSpec) -> Self {
        StateHandle {
            shared: stream.shared.clone(),
            node: stream.node,
            id,
            spec,
            types: std::marker::PhantomData,
        }
    }

    /// The state's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn id(&self) -> StateId {
        self.id
    }

    pub(crate) fn partitions(&self) -> u16 {
        self.spec.partitions
    }

    /// For each batch, the keys it changed with their values after it, in the same batch.
    ///
    /// Reading new values costs a look-up of the old one for each changed key.
    ///
    /// ```
    /// # use fulmar::{Topology, aggregate::Count, spout::Collection};
    /// # let topology = Topology::new("milestones");
    /// topology
    ///     .spout("words", Collection::of(["a".to_string()]))
    ///     .group_by(|word| word.clone())
    ///     .persistent_aggregate("counts", Count)
    ///     .new_values()
    ///     .filter(|(_word, count)| count % 1000 == 0);
    /// ```
    pub fn new_values(&self) -> Stream<(K, V)> {
        Stream::new(self.shared.clone(), self.node)
    }
}
