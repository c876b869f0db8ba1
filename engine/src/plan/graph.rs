//! The graph that the DSL's verbs build: nodes in the order they were written, so that inputs come first.

use std::sync::Arc;

use fulmar_state::{AnyShard, Base, Partition, StateFamily, StateId};

use crate::chunk::Chunk;
use crate::operator::OperatorFactory;
use crate::sink::AnySink;
use crate::spout::task::AnySpout;

/// How records get from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// In the same task, as a call.
    Local,
    /// To the task of the same number in another stage.
    Forward,
    /// Chunk by chunk to all tasks in turn.
    Shuffle,
    /// To the task that the chunk names, which owns its keys.
    Keyed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub(crate) node: usize,
    pub(crate) route: Route,
}

/// What a node is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Spout(usize),
    Plain,
    /// Writes the state.
    Updates(StateId),
    /// Reads the state as of the batch before.
    Queries(StateId),
    Sink,
}

pub(crate) struct Node {
    pub(crate) verb: &'static str,
    /// The name a user gave: of a spout, a state, a sink, or a label.
    pub(crate) name: Option<String>,
    pub(crate) output: &'static str,
    pub(crate) inputs: Vec<Input>,
    pub(crate) role: Role,
    /// Whether records must come in the batch's fixed order.
    pub(crate) ordered: bool,
    pub(crate) make: OperatorFactory,
    pub(crate) duplicate: fn(&Chunk) -> Chunk,
}

impl Node {
    /// What error messages and pictures call it.
    pub(crate) fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name:?}", self.verb),
            None => self.verb.to_string(),
        }
    }
}

pub(crate) struct SpoutDef {
    pub(crate) name: String,
    pub(crate) spout: Box<dyn AnySpout>,
}

/// Makes one executor's shard of a state.
pub(crate) type ShardFactory =
    Arc<dyn Fn(StateId, Vec<Partition>, u16, Base) -> Box<dyn AnyShard> + Send + Sync>;

pub(crate) struct StateDef {
    pub(crate) family: StateFamily,
    pub(crate) make: ShardFactory,
    /// For tests of topologies, which know no types.
    #[cfg(feature = "testing")]
    pub(crate) look: crate::testing::Look,
}

pub(crate) struct SinkDef {
    pub(crate) name: String,
    pub(crate) sink: Box<dyn AnySink>,
}

#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) spouts: Vec<SpoutDef>,
    pub(crate) states: Vec<StateDef>,
    pub(crate) sinks: Vec<SinkDef>,
    /// What is wrong, found while the graph was built and told by `build`.
    pub(crate) mistakes: Vec<String>,
    /// Set once the graph was taken by `build`.
    pub(crate) built: bool,
}

impl Graph {
    pub(crate) fn add(&mut self, node: Node) -> usize {
        if self.built {
            self.mistakes
                .push(format!("{} was added after build()", node.label()));
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}
