//! A worker: the cores that one process hosts of a topology, before a shell gives them messages.

use std::ops::Range;
use std::sync::Arc;

use fulmar_coordinator::{Limits, Replays, SpoutInfo, WorkerId};
use fulmar_state::{DeadLetter, StateSchema, Storage, Store, StoreIdentity};

use crate::error::Result;
use crate::executor::{Executor, Layout};
use crate::operator::owner_of;
use crate::plan::{Endpoint, Plan};
use crate::publisher::Publisher;
use crate::recorder::{FoldLimits, Recorder};
use crate::sink::Sink;
use crate::source::Source;

/// What one worker hosts. Executors are numbered over the whole topology, and so are the partitions that they own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) worker: WorkerId,
    pub(crate) executors: Range<u16>,
    /// The spouts that are read here.
    pub(crate) sources: Vec<usize>,
}

impl Share {
    /// Everything, at the one worker that there is.
    pub(crate) fn whole(executors: u16, spouts: usize) -> Self {
        Share {
            worker: WorkerId(0),
            executors: 0..executors,
            sources: (0..spouts).collect(),
        }
    }

    /// The partitions of a state that this worker's executors own, of so many that all executors have.
    fn partitions(&self, partitions: u16, executors: u16) -> Range<u16> {
        let hosted = |partition: &u16| {
            let owner = owner_of(fulmar_state::Partition(*partition), partitions, executors);
            self.executors.contains(&owner)
        };
        // Owners ascend with the partitions, so that a run of executors owns a run of partitions.
        let first = (0..partitions).find(hosted).unwrap_or_default();
        let count = (first..partitions).take_while(hosted).count();
        first..first + count as u16
    }
}

/// How a worker is run; none of it changes what the state means.
pub(crate) struct WorkerSettings {
    /// Over all workers.
    pub(crate) executors: u16,
    /// For what sources read ahead of their first batch.
    pub(crate) limits: Limits,
    pub(crate) folds: FoldLimits,
    pub(crate) dead_letters: Option<Box<dyn Sink<DeadLetter>>>,
}

/// The cores of a worker.
pub(crate) struct Worker {
    /// In the order of their numbers.
    pub(crate) executors: Vec<Executor>,
    /// In the order of their numbers.
    pub(crate) sources: Vec<Source>,
    pub(crate) recorder: Recorder,
    pub(crate) publisher: Publisher,
}

impl Worker {
    /// Opens the worker's store, and makes what it hosts of the plan.
    pub(crate) fn new(
        mut plan: Plan,
        share: &Share,
        settings: WorkerSettings,
        storage: &Arc<dyn Storage>,
    ) -> Result<Self> {
        let states = plan.graph.states.iter();
        let schemas: Vec<StateSchema> = states.map(|state| state.family.schema().clone()).collect();
        let identity = StoreIdentity {
            topology: plan.name.clone(),
            worker: share.worker.0.to_string(),
        };
        let kept = schemas
            .iter()
            .map(|schema| share.partitions(schema.partitions, settings.executors));
        let store = Store::open(storage.clone(), &identity, &schemas)?.keeping(kept.collect());
        let base = store.base()?;
        let layout = Arc::new(Layout::new(&mut plan, settings.executors));
        let spouts = plan.graph.spouts.iter();
        let names = spouts.map(|spout| spout.name.clone()).collect();
        let sources = sources(&mut plan, share, &layout, settings.limits);
        let sinks = plan.graph.sinks.drain(..);
        let sinks = sinks.map(|sink| (sink.name, sink.sink)).collect();
        let executors = share.executors.clone();
        Ok(Worker {
            executors: executors
                .map(|id| Executor::new(id, layout.clone(), &base))
                .collect(),
            sources,
            recorder: Recorder::new(share.clone(), layout, store, names, settings.folds),
            publisher: Publisher::new(&plan.name, share.worker, sinks, settings.dead_letters),
        })
    }
}

fn sources(plan: &mut Plan, share: &Share, layout: &Layout, limits: Limits) -> Vec<Source> {
    let edge_of = |spout: usize| {
        let mut edges = layout.edges.iter();
        edges.position(|edge| edge.from == Endpoint::Spout(spout))
    };
    let spouts = plan.graph.spouts.drain(..).enumerate();
    let hosted = spouts.filter(|(index, _)| share.sources.contains(index));
    let source = |(index, spout): (usize, crate::plan::graph::SpoutDef)| {
        let edge = edge_of(index).expect("every spout is spread over one edge");
        let tasks = layout.executors;
        Source::new(index, spout.name, spout.spout, edge, tasks, limits)
    };
    hosted.map(source).collect()
}

/// A plan's spouts as the coordinator knows them.
pub(crate) fn spouts_of(plan: &Plan) -> Vec<SpoutInfo> {
    let spout = |spout: &crate::plan::graph::SpoutDef| -> SpoutInfo {
        let replays: Replays = spout.spout.replays();
        SpoutInfo {
            name: spout.name.clone(),
            replays,
        }
    };
    plan.graph.spouts.iter().map(spout).collect()
}
