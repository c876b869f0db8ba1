//! The DSL: verbs live with their noun.

mod grouped;
mod spec;
mod state_handle;
#[allow(clippy::module_inception, reason = "verbs live with their noun")]
mod stream;
mod topology;

pub use grouped::GroupedStream;
pub use spec::StateSpec;
pub use state_handle::StateHandle;
pub use stream::Stream;
pub use topology::Topology;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::graph::Graph;

/// The graph under construction, shared by the topology and all its streams.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Graph>>);

impl Shared {
    pub(crate) fn graph(&self) -> MutexGuard<'_, Graph> {
        // A panic while a node was added leaves a graph that is still whole: nodes are pushed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn same(&self, other: &Shared) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
