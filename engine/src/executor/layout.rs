//! The plan as it is shared by the parts of a worker.

use std::collections::BTreeMap;

use fulmar_coordinator::edge_id;
use fulmar_state::{Attempt, StateId};

use crate::plan::graph::{Role, ShardFactory};
use crate::plan::{EdgePlan, Plan, StagePlan, labels};

/// The plan as executors, sources and the recorder need it: read-only and shared.
pub(crate) struct Layout {
    pub(crate) stages: Vec<StagePlan>,
    pub(crate) edges: Vec<EdgePlan>,
    pub(crate) labels: Vec<String>,
    pub(crate) states: Vec<(u16, ShardFactory)>,
    /// The stage that begins a state's layers.
    pub(super) writers: BTreeMap<usize, Vec<StateId>>,
    pub(crate) executors: u16,
}

impl Layout {
    pub(crate) fn new(plan: &mut Plan, executors: u16) -> Self {
        let mut writers: BTreeMap<usize, Vec<StateId>> = BTreeMap::new();
        for (index, stage) in plan.stages.iter().enumerate() {
            for slot in &stage.slots {
                if let Role::Updates(state) = plan.graph.nodes[slot.node].role {
                    writers.entry(index).or_default().push(state);
                }
            }
        }
        let states = plan
            .graph
            .states
            .iter()
            .map(|state| (state.family.schema().partitions, state.make.clone()));
        Layout {
            states: states.collect(),
            stages: std::mem::take(&mut plan.stages),
            edges: std::mem::take(&mut plan.edges),
            labels: labels(&plan.graph.nodes),
            writers,
            executors,
        }
    }

    /// The edge id under which an executor's part of an attempt travels to the recorder.
    pub(crate) fn part_id(&self, attempt: Attempt, executor: u16) -> u64 {
        edge_id(attempt, self.edges.len() as u32, executor.into(), 0, 0)
    }
}
