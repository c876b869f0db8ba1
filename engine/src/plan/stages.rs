//! Cuts the graph into stages: operators that run fused, one task an executor, between exchanges.

use std::collections::BTreeMap;

use super::graph::{Graph, Role, Route};
use crate::operator::{OperatorFactory, Slot, Target};

/// Where an edge begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Spout(usize),
    Stage(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct EdgePlan {
    pub(crate) from: Endpoint,
    pub(crate) to: usize,
    pub(crate) route: Route,
}

impl EdgePlan {
    /// How many tasks send to each task behind this edge.
    pub(crate) fn senders(&self, tasks: u16) -> u16 {
        match (self.from, self.route) {
            (Endpoint::Spout(_), _) | (_, Route::Forward) => 1,
            _ => tasks,
        }
    }
}

/// Operators that run as one. Its first slot alone takes from edges; every other has one input inside the stage, so
/// that stages can never form a cycle, whatever the graph.
pub(crate) struct StagePlan {
    pub(crate) slots: Vec<Slot>,
    pub(crate) makes: Vec<OperatorFactory>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
    pub(crate) ordered: bool,
    /// The stage that must have finished the batch before: that which writes the state that this one reads.
    pub(crate) after: Option<usize>,
}

pub(crate) struct Stages {
    pub(crate) stages: Vec<StagePlan>,
    pub(crate) edges: Vec<EdgePlan>,
}

impl Stages {
    pub(crate) fn cut(graph: &Graph) -> Self {
        let mut cut = Stages {
            stages: Vec::new(),
            edges: Vec::new(),
        };
        // Node to its stage and slot.
        let mut places: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            if matches!(node.role, Role::Spout(_)) {
                continue;
            }
            let slot = Slot {
                node: index,
                targets: Vec::new(),
                duplicate: node.duplicate,
            };
            match node.inputs.as_slice() {
                [input] if input.route == Route::Local => {
                    let (stage, reader) = places[&input.node];
                    places.insert(index, (stage, cut.stages[stage].slots.len()));
                    let target = Target::Local(cut.stages[stage].slots.len());
                    cut.stages[stage].slots[reader].targets.push(target);
                    cut.stages[stage].slots.push(slot);
                    cut.stages[stage].makes.push(node.make.clone());
                }
                _ => {
                    places.insert(index, (cut.stages.len(), 0));
                    cut.open_stage(graph, index, slot, &places);
                }
            }
        }
        cut.wait_for_states(graph, &places);
        cut.keep_order();
        cut
    }

    fn open_stage(
        &mut self,
        graph: &Graph,
        index: usize,
        slot: Slot,
        places: &BTreeMap<usize, (usize, usize)>,
    ) {
        let stage = self.stages.len();
        let node = &graph.nodes[index];
        let mut inputs = Vec::new();
        for input in &node.inputs {
            let edge = self.edges.len();
            let from = match graph.nodes[input.node].role {
                Role::Spout(spout) => Endpoint::Spout(spout),
                _ => {
                    let (from, sender) = places[&input.node];
                    self.stages[from].slots[sender]
                        .targets
                        .push(Target::Edge(edge));
                    self.stages[from].outputs.push(edge);
                    Endpoint::Stage(from)
                }
            };
            self.edges.push(EdgePlan {
                from,
                to: stage,
                route: input.route,
            });
            inputs.push(edge);
        }
        let makes = vec![node.make.clone()];
        self.stages.push(StagePlan {
            slots: vec![slot],
            makes,
            inputs,
            outputs: Vec::new(),
            ordered: node.ordered,
            after: None,
        });
    }

    /// Records come in a fixed order only if every stage before kept it, too. Stages come after those they read from.
    fn keep_order(&mut self) {
        for stage in (0..self.stages.len()).rev() {
            if !self.stages[stage].ordered {
                continue;
            }
            for edge in self.stages[stage].inputs.clone() {
                if let Endpoint::Stage(before) = self.edges[edge].from {
                    self.stages[before].ordered = true;
                }
            }
        }
    }

    fn wait_for_states(&mut self, graph: &Graph, places: &BTreeMap<usize, (usize, usize)>) {
        let mut writers = BTreeMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            if let Role::Updates(state) = node.role {
                writers.insert(state, places[&index].0);
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            if let Role::Queries(state) = node.role {
                self.stages[places[&index].0].after = writers.get(&state).copied();
            }
        }
    }
}
