//! Counts what passes the links, message by message: a batch is sealed only when all of it has arrived in time (I2), and what carries
//! an attempt that is not the live one leads to nothing (I6).

use fulmar_state::{Attempt, Generation};

use super::super::links::Actor;
use super::{Broken, Oracle};
use crate::message::{ToExecutor, ToRecorder, ToSource};

/// What was sent and taken of one attempt.
#[derive(Debug, Default)]
struct Flow {
    /// By edge, sender and receiver.
    lanes: Vec<Lane>,
    /// End markers that sources have sent.
    markers: usize,
    /// The executors that have handed their part over, as bits.
    handed: u64,
    /// An executor was given something of it after it had handed its part over.
    late: bool,
}

/// One link's share of an attempt.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    sent: u32,
    taken: u32,
    ended: bool,
    end_taken: bool,
}

/// What is known of the links, and of how far each part was told to rewind.
#[derive(Debug, Default)]
pub(super) struct Flows {
    edges: usize,
    tasks: usize,
    spouts: usize,
    flows: Vec<(Attempt, Flow)>,
    /// The newest generation that each executor and source was told, since its process has started.
    executors: Vec<Generation>,
    sources: Vec<Generation>,
}

impl Flows {
    pub(super) fn new(edges: usize, tasks: usize, spouts: usize) -> Self {
        Flows {
            edges,
            tasks,
            spouts,
            flows: Vec::new(),
            executors: vec![Generation::ZERO; tasks],
            sources: vec![Generation::ZERO; spouts],
        }
    }

    fn flow(&mut self, attempt: Attempt) -> &mut Flow {
        let known = self.flows.iter().rposition(|(known, _)| *known == attempt);
        let at = known.unwrap_or_else(|| {
            let lanes = vec![Lane::default(); self.edges * self.tasks * self.tasks];
            let flow = Flow {
                lanes,
                ..Flow::default()
            };
            self.flows.push((attempt, flow));
            self.flows.len() - 1
        });
        &mut self.flows[at].1
    }

    fn lane(&self, edge: usize, from: u16, to: u16) -> usize {
        (edge * self.tasks + usize::from(from)) * self.tasks + usize::from(to)
    }

    fn told(&self, part: Actor) -> Option<Generation> {
        match part {
            Actor::Executor(id) => Some(self.executors[usize::from(id)]),
            Actor::Source(index) => Some(self.sources[index]),
            _ => None,
        }
    }

    /// What is wrong with an attempt that is sealed; it is not looked at again.
    fn settle(&mut self, attempt: Attempt) -> Option<String> {
        let (tasks, markers) = (self.tasks, self.spouts * self.tasks);
        let known = self.flows.iter().rposition(|(known, _)| *known == attempt);
        let Some(at) = known else {
            return Some("nothing of it was sent".into());
        };
        let (_, flow) = self.flows.remove(at);
        if flow.markers != markers {
            let ended = flow.markers;
            return Some(format!(
                "sources have told {ended} of {markers} executors that it ends"
            ));
        }
        let missing = |lane: &Lane| lane.sent != lane.taken || lane.ended != lane.end_taken;
        if let Some(at) = flow.lanes.iter().position(missing) {
            let (edge, from, to) = (at / tasks / tasks, at / tasks % tasks, at % tasks);
            let lane = flow.lanes[at];
            return Some(format!(
                "from {from} to {to} over edge {edge} came {lane:?}"
            ));
        }
        if flow.handed.count_ones() as usize != tasks {
            let handed = flow.handed;
            return Some(format!(
                "only the executors {handed:b} have handed their parts over"
            ));
        }
        flow.late
            .then(|| "an executor was given more of it after it had handed its part over".into())
    }
}

impl Oracle {
    /// A worker's process has started: its parts know of no rewind.
    pub(in super::super) fn started(&mut self, worker: u16) {
        let executors = usize::from(self.plan.executors);
        let first = usize::from(worker) * executors;
        self.flows.executors[first..first + executors].fill(Generation::ZERO);
        for (spout, generation) in self.flows.sources.iter_mut().enumerate() {
            if self.plan.reader_of(spout) == worker {
                *generation = Generation::ZERO;
            }
        }
    }

    /// A part sends something to an executor.
    pub(in super::super) fn passes(
        &mut self,
        from: Actor,
        to: u16,
        message: &ToExecutor,
    ) -> Result<(), Broken> {
        match message {
            ToExecutor::Data {
                edge,
                from: sender,
                batch,
                ..
            } => {
                self.is_live(from, batch.attempt.generation, "sends records")?;
                let lane = self.flows.lane(*edge, *sender, to);
                self.flows.flow(batch.attempt).lanes[lane].sent += 1;
            }
            ToExecutor::End {
                edge,
                from: sender,
                batch,
                ..
            } => {
                self.is_live(from, batch.attempt.generation, "ends a batch")?;
                let lane = self.flows.lane(*edge, *sender, to);
                let flow = self.flows.flow(batch.attempt);
                flow.lanes[lane].ended = true;
                flow.markers += usize::from(matches!(from, Actor::Source(_)));
            }
            _ => {}
        }
        Ok(())
    }

    /// An executor hands its part of an attempt over.
    pub(in super::super) fn hands_over(
        &mut self,
        executor: u16,
        attempt: Attempt,
    ) -> Result<(), Broken> {
        let part = Actor::Executor(executor);
        self.is_live(part, attempt.generation, "hands a part over")?;
        self.flows.flow(attempt).handed |= 1 << executor;
        Ok(())
    }

    /// A message reaches an executor whose process is there. Says whether it must lead to nothing.
    pub(in super::super) fn takes(&mut self, id: u16, message: &ToExecutor) -> bool {
        let told = self.flows.executors[usize::from(id)];
        match message {
            ToExecutor::Rewind { generation, .. } => {
                self.flows.executors[usize::from(id)] = told.max(*generation);
                false
            }
            ToExecutor::Data {
                edge,
                from,
                batch,
                seq,
                ..
            } => {
                let lane = self.flows.lane(*edge, *from, id);
                let flow = self.flows.flow(batch.attempt);
                let lane = &mut flow.lanes[lane];
                if u64::from(lane.taken) == *seq {
                    lane.taken += 1;
                    flow.late |= flow.handed >> id & 1 == 1;
                }
                batch.attempt.generation != told
            }
            ToExecutor::End {
                edge, from, batch, ..
            } => {
                let lane = self.flows.lane(*edge, *from, id);
                let flow = self.flows.flow(batch.attempt);
                let first = !std::mem::replace(&mut flow.lanes[lane].end_taken, true);
                flow.late |= first && flow.handed >> id & 1 == 1;
                batch.attempt.generation != told
            }
            ToExecutor::Credit { generation, .. } => *generation != told,
            _ => false,
        }
    }

    /// A message reaches a source whose process is there.
    pub(in super::super) fn source_takes(&mut self, index: usize, message: &ToSource) {
        if let ToSource::Rewind { generation, .. } = message {
            let told = &mut self.flows.sources[index];
            *told = (*told).max(*generation);
        }
    }

    /// A message reaches a recorder whose process is there. Says whether it must lead to nothing.
    pub(in super::super) fn recorder_takes(&self, worker: u16, message: &ToRecorder) -> bool {
        let highest = self.workers[usize::from(worker)].highest;
        matches!(message, ToRecorder::Part(part) if part.batch.attempt.generation != highest)
    }

    /// I6: what a part sends belongs to the newest rewind that it was told.
    pub(in super::super) fn is_live(
        &self,
        part: Actor,
        generation: Generation,
        does: &str,
    ) -> Result<(), Broken> {
        match self.flows.told(part) {
            Some(told) if told != generation => Err(format!(
                "I6: {part:?} {does} of generation {generation}, it was told to rewind to {told}"
            )),
            _ => Ok(()),
        }
    }

    /// I6: a worker has rewound when all of its parts have.
    pub(super) fn parts_have_rewound(
        &self,
        worker: u16,
        generation: Generation,
    ) -> Result<(), Broken> {
        let executors = worker * self.plan.executors..(worker + 1) * self.plan.executors;
        let sources = 0..self.plan.spouts.len();
        let sources = sources.filter(|spout| self.plan.reader_of(*spout) == worker);
        let mut parts = executors
            .map(Actor::Executor)
            .chain(sources.map(Actor::Source));
        match parts.find(|part| self.flows.told(*part) < Some(generation)) {
            Some(part) => Err(format!(
                "I6: worker {worker} says that it has rewound to {generation}, {part:?} was not told"
            )),
            None => Ok(()),
        }
    }

    /// I2: everything that was sent for an attempt has arrived and was worked on before it was sealed.
    pub(super) fn is_complete(&mut self, attempt: Attempt) -> Result<(), Broken> {
        match self.flows.settle(attempt) {
            None => Ok(()),
            Some(what) => Err(format!("I2: {attempt} is sealed, but {what}")),
        }
    }
}
