//! The whole program: where streams begin, and what is built and run.

use std::fmt;

use super::{Shared, Stream};
use crate::error::Result;
use crate::operator::Pass;
use crate::plan::Plan;
use crate::plan::graph::{Input, Node, Role, Route, SpoutDef};
use crate::spout::Spout;
use crate::spout::task::SpoutTask;

/// A program under construction; [`Topology::build`] checks it and makes it ready to run.
///
/// ```
/// use fulmar::aggregate::Count;
/// use fulmar::spout::Collection;
/// use fulmar::Topology;
///
/// let topology = Topology::new("letters");
/// topology
///     .spout("words", Collection::of(["storm", "petrel"].map(String::from)))
///     .flat_map(|word| word.chars().collect::<Vec<_>>())
///     .group_by(|letter| *letter)
///     .persistent_aggregate("letters", Count);
/// let plan = topology.build()?;
/// println!("{}", plan.explain());
/// # Ok::<(), fulmar::Error>(())
/// ```
pub struct Topology {
    name: String,
    version: u32,
    shared: Shared,
}

impl Topology {
    /// An empty topology. The name stands in the ledger: a directory belongs to one topology.
    pub fn new(name: impl Into<String>) -> Self {
        Topology {
            name: name.into(),
            version: 1,
            shared: Shared::default(),
        }
    }

    /// Your own version number, 1 unless told. Raise it when the program's meaning changes in a way that its
    /// verbs, names and types do not show; state of another version is then refused, with the difference shown.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// A stream of what a spout yields. The name stands in the ledger, with the spout's positions.
    pub fn spout<S: Spout>(&self, name: impl Into<String>, spout: S) -> Stream<S::Record> {
        let name = name.into();
        let node = {
            let mut graph = self.shared.graph();
            let role = Role::Spout(graph.spouts.len());
            graph.spouts.push(SpoutDef {
                name: name.clone(),
                spout: Box::new(SpoutTask::new(spout)),
            });
            let mut node = Node::pass::<S::Record>("spout", Vec::new());
            node.name = Some(name);
            node.role = role;
            let spout = graph.add(node);
            // Chunks go to all executors in turn, so that one partition keeps every core busy.
            graph.add(Node::pass::<S::Record>(
                "spread",
                vec![Input {
                    node: spout,
                    route: Route::Shuffle,
                }],
            ))
        };
        Stream::new(self.shared.clone(), node)
    }

    /// Checks the graph and makes it ready to run; names everything that is wrong with it.
    pub fn build(self) -> Result<Plan> {
        let graph = {
            let mut shared = self.shared.graph();
            let graph = std::mem::take(&mut *shared);
            shared.built = true;
            graph
        };
        Plan::new(self.name, self.version, graph)
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Topology({:?}, {} nodes)",
            self.name,
            self.shared.graph().nodes.len()
        )
    }
}

impl Node {
    /// A node that passes records of type `T` on.
    pub(crate) fn pass<T: crate::data::Data>(verb: &'static str, inputs: Vec<Input>) -> Node {
        Node {
            verb,
            name: None,
            output: std::any::type_name::<T>(),
            inputs,
            role: Role::Plain,
            ordered: false,
            make: std::sync::Arc::new(|_| Box::new(Pass)),
            duplicate: |chunk| chunk.duplicate::<T>(),
        }
    }
}
