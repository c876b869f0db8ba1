//! An executor: one task of each stage and a share of every state, as a pure step from message to messages.
//!
//! A stage takes batches in the order of their txids, and works on the next while others wait for their markers.
//! Nothing here owns a thread, a clock or a socket.

mod link;
mod task;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fulmar_coordinator::{Cause, CauseKind, Event, edge_id};
use fulmar_state::{AnyShard, Attempt, Base, DeadLetter, Generation, OutboxPart, Partition, StateId, TxId};

use self::link::Item;
use self::task::StageTask;
use crate::chunk::Descent;
use crate::message::{BatchPart, Envelope, Party, ToExecutor, ToRecorder, ToSource};
use crate::operator::{BatchInfo, Env, OperatorError, owner_of};
use crate::plan::graph::{Role, ShardFactory};
use crate::plan::{EdgePlan, Endpoint, Plan, StagePlan, labels};

/// So many chunks may be under way from one task to another over an exchange before the sender waits.
pub(crate) const WINDOW: usize = 16;

/// So many chunks are processed before their acknowledgements are sent: they are signs of life, too.
const ACK_EVERY: u64 = 64;

/// The plan as executors, sources and the recorder need it: read-only and shared.
pub(crate) struct Layout {
    pub(crate) stages: Vec<StagePlan>,
    pub(crate) edges: Vec<EdgePlan>,
    pub(crate) labels: Vec<String>,
    pub(crate) states: Vec<(u16, ShardFactory)>,
    /// The stage that begins a state's layers.
    writers: BTreeMap<usize, Vec<StateId>>,
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
        let states = plan.graph.states.iter().map(|state| (state.family.schema().partitions, state.make.clone()));
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

/// What an executor knows of a batch under way.
struct Progress {
    info: BatchInfo,
    stages_done: usize,
    xor: u64,
    processed: u64,
    dead: Vec<DeadLetter>,
    outbox: Vec<OutboxPart>,
}

pub(crate) struct Executor {
    id: u16,
    layout: Arc<Layout>,
    tasks: Vec<StageTask>,
    env: Env,
    generation: Generation,
    sealed: Option<Attempt>,
    /// The first batch that failed here: it and all after it are dead until the rewind.
    failed: Option<TxId>,
    batches: BTreeMap<TxId, Progress>,
    /// Chunks under way from this executor, by edge and receiver.
    under_way: Vec<Vec<usize>>,
    out: Vec<Envelope>,
}

impl Executor {
    pub(crate) fn new(id: u16, layout: Arc<Layout>, base: &Base) -> Self {
        let shards: Vec<Box<dyn AnyShard>> = (0u16..).zip(&layout.states).map(|(state, (partitions, make))| {
            let owned = (0..*partitions).map(Partition).filter(|p| owner_of(*p, *partitions, layout.executors) == id);
            make(StateId(state), owned.collect(), *partitions, base.clone())
        }).collect();
        let nothing = BatchInfo { attempt: Attempt::default(), base: None, time_ms: 0 };
        let env = Env { batch: nothing, shards, outbox: Vec::new(), sent: Vec::new(), at: 0, origin: None };
        let under_way = layout.edges.iter().map(|_| vec![0; layout.executors.into()]).collect();
        Executor {
            id, layout, tasks: Vec::new(), env, generation: Generation::ZERO, sealed: None, failed: None,
            batches: BTreeMap::new(), under_way, out: Vec::new(),
        }
    }

    /// Takes one message; what is to be sent comes back in order.
    pub(crate) fn step(&mut self, message: ToExecutor) -> Vec<Envelope> {
        match message {
            ToExecutor::Data { edge, from, batch, seq, chunk } => {
                let held = self.is_live(batch.attempt) && self.is_held(edge, from, batch.attempt.txid);
                self.take(edge, from, batch, Item::Data { seq, chunk, credited: held });
                if held {
                    // What waits for another batch or another sender does not hold its sender up, or both would wait for ever.
                    self.credit(edge, from);
                }
            }
            ToExecutor::End { edge, from, batch, chunks, records, dead } => {
                self.take(edge, from, batch, Item::End { chunks, records });
                if let Some(progress) = self.batches.get_mut(&batch.attempt.txid) {
                    progress.dead.extend(dead);
                }
            }
            ToExecutor::Credit { edge, to, generation } => {
                if generation == self.generation {
                    self.under_way[edge][usize::from(to)] -= 1;
                }
            }
            ToExecutor::Restore { txid, sections } => self.restore(txid, &sections),
            ToExecutor::Rewind { generation, sealed } => self.rewind(generation, sealed),
            ToExecutor::Seal { txid } => self.env.shards.iter_mut().for_each(|shard| shard.seal(txid)),
            ToExecutor::Freeze => self.freeze(),
            ToExecutor::Folded { upto, base } => {
                self.env.shards.iter_mut().for_each(|shard| shard.folded(upto, base.clone()));
            }
            ToExecutor::Read { state, read } => read(self.env.shards[usize::from(state.0)].as_mut()),
        }
        self.run();
        std::mem::take(&mut self.out)
    }

    fn is_live(&self, attempt: Attempt) -> bool {
        attempt.generation == self.generation && self.failed.is_none_or(|failed| attempt.txid < failed)
    }

    /// Whether a chunk has to wait for something other than this executor's own speed.
    fn is_held(&self, edge: usize, from: u16, txid: TxId) -> bool {
        let stage = self.layout.edges[edge].to;
        let task = &self.tasks[stage];
        txid != task.working_on() || !self.may_work(stage) || !task.is_turn(edge, from)
    }

    /// Puts an item of a live attempt where its stage finds it; a gap or a wrong count fails the attempt at once.
    fn take(&mut self, edge: usize, from: u16, batch: BatchInfo, item: Item) {
        if !self.is_live(batch.attempt) {
            return;
        }
        if batch.base != self.base_of(batch.attempt.txid) {
            let what = format!("attempt {} builds on another past than this executor has", batch.attempt);
            return self.fail(batch.attempt, Cause::new(CauseKind::Link, what));
        }
        self.batches.entry(batch.attempt.txid).or_insert_with(|| Progress {
            info: batch, stages_done: 0, xor: 0, processed: 0, dead: Vec::new(), outbox: Vec::new(),
        });
        let stage = self.layout.edges[edge].to;
        if let Err(gap) = self.tasks[stage].take(batch.attempt.txid, edge, from, item) {
            self.fail(batch.attempt, Cause::new(CauseKind::Link, gap));
        }
    }

    /// The attempt that a batch of this generation builds on.
    fn base_of(&self, txid: TxId) -> Option<Attempt> {
        let sealed = self.sealed.map_or(TxId::ZERO, |attempt| attempt.txid);
        if txid == sealed.next() { self.sealed } else { Some(Attempt::new(txid.prev()?, self.generation)) }
    }

    fn credit(&mut self, edge: usize, from: u16) {
        let (to, generation) = (self.id, self.generation);
        self.out.push(match self.layout.edges[edge].from {
            Endpoint::Spout(spout) => Envelope::Source(spout, ToSource::Credit { to, generation }),
            Endpoint::Stage(_) => Envelope::Executor(from, ToExecutor::Credit { edge, to, generation }),
        });
    }

    fn restore(&mut self, txid: TxId, sections: &[(StateId, Partition, Vec<u8>)]) {
        for (state, partition, section) in sections {
            if let Err(error) = self.env.shards[usize::from(state.0)].restore(txid, *partition, section) {
                self.out.push(Envelope::Fatal(error.to_string()));
                return;
            }
        }
    }

    fn rewind(&mut self, generation: Generation, sealed: Option<Attempt>) {
        if generation > self.generation {
            let txid = sealed.map_or(TxId::ZERO, |attempt| attempt.txid);
            self.generation = generation;
            self.sealed = sealed;
            self.failed = None;
            self.batches.clear();
            self.env.shards.iter_mut().for_each(|shard| shard.rewind(txid));
            self.env.outbox.clear();
            self.env.sent.clear();
            self.under_way.iter_mut().flatten().for_each(|count| *count = 0);
            let (id, executors) = (self.id, self.layout.executors);
            let layout = &self.layout;
            self.tasks = layout.stages.iter().map(|stage| StageTask::new(stage, &layout.edges, txid.next(), id, executors)).collect();
        }
        let party = Party::Executor(self.id);
        self.out.push(Envelope::Recorder(ToRecorder::Rewound { party, generation, outcome: Ok(()) }));
    }

    fn freeze(&mut self) {
        let parts = self.env.shards.iter_mut().map(|shard| (shard.state(), shard.fold_part())).collect();
        self.out.push(Envelope::Recorder(ToRecorder::Frozen { executor: self.id, parts }));
    }

    /// Works until nothing more can be done without another message; the last stages first, so that what is under way
    /// leaves before more comes in.
    fn run(&mut self) {
        loop {
            let mut worked = false;
            for stage in (0..self.tasks.len()).rev() {
                while self.work_on(stage) {
                    worked = true;
                }
            }
            if !worked {
                return;
            }
        }
    }

    /// Whether the stages that this one reads state from have finished the batch before.
    fn may_work(&self, stage: usize) -> bool {
        let after = self.layout.stages[stage].after;
        after.is_none_or(|writer| writer == stage || self.tasks[writer].working_on() >= self.tasks[stage].working_on())
    }

    /// Whether a receiver of this stage's records has as many unread as it may.
    fn is_blocked(&self, stage: usize) -> bool {
        let mut edges = self.layout.stages[stage].outputs.iter();
        edges.any(|edge| self.under_way[*edge].iter().any(|count| *count >= WINDOW))
    }

    /// Does one thing for this stage, if there is one to do.
    fn work_on(&mut self, stage: usize) -> bool {
        let txid = self.tasks[stage].working_on();
        if self.failed.is_some_and(|failed| txid >= failed) || !self.may_work(stage) {
            return false;
        }
        if self.tasks[stage].is_complete() {
            self.finish(stage);
            return true;
        }
        if self.is_blocked(stage) {
            return false;
        }
        let Some((edge, from, item)) = self.tasks[stage].next() else { return false };
        let attempt = Attempt::new(txid, self.generation);
        let id = |seq| edge_id(attempt, edge as u32, from.into(), self.id.into(), seq);
        match item {
            Item::Data { seq, chunk, credited } => {
                let id = id(seq);
                if self.guarded(stage, txid, |task, cx| task.process(cx, chunk)) {
                    self.processed(attempt, id);
                }
                if !credited {
                    self.credit(edge, from);
                }
            }
            Item::End { chunks, .. } => {
                let id = id(chunks);
                self.processed(attempt, id);
            }
        }
        true
    }

    fn processed(&mut self, attempt: Attempt, id: u64) {
        let progress = self.batches.get_mut(&attempt.txid).expect("what is processed was taken");
        progress.xor ^= id;
        progress.processed += 1;
        if progress.processed.is_multiple_of(ACK_EVERY) {
            self.ack(attempt);
        }
    }

    fn ack(&mut self, attempt: Attempt) {
        if let Some(progress) = self.batches.get_mut(&attempt.txid) {
            let xor = std::mem::take(&mut progress.xor);
            self.out.push(Envelope::Coordinator(Event::Ack { attempt, xor }));
        }
    }

    /// Runs user code: what it panics with, or fails with, fails the attempt and nothing else.
    fn guarded(&mut self, stage: usize, txid: TxId, run: impl FnOnce(&mut StageTask, &mut Env) -> Result<(), OperatorError>) -> bool {
        let progress = self.batches.get_mut(&txid).expect("a batch at work was taken");
        let attempt = progress.info.attempt;
        self.env.batch = progress.info;
        self.env.origin = None;
        if self.tasks[stage].start() {
            for state in self.layout.writers.get(&stage).into_iter().flatten() {
                self.env.shards[usize::from(state.0)].begin(txid);
            }
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut self.tasks[stage], &mut self.env)));
        let (kind, message) = match outcome {
            Ok(Ok(())) => {
                self.batches.entry(txid).and_modify(|progress| progress.outbox.append(&mut self.env.outbox));
                self.send(attempt);
                return true;
            }
            Ok(Err(error)) if error.storage => (CauseKind::Storage, error.message),
            Ok(Err(error)) => (CauseKind::User, error.message),
            Err(panic) => (CauseKind::Panic, panic_message(panic.as_ref())),
        };
        let operator = Some(self.layout.labels[self.env.at].clone());
        let (message, origin) = match self.env.origin.take() {
            Some(Descent { origin, shown }) => (format!("{message}, at {shown}"), Some(origin)),
            None => (message, None),
        };
        self.fail(attempt, Cause { kind, operator, message, origin, permanent: false });
        false
    }

    /// Sends the chunks that the stage pushed over its edges.
    fn send(&mut self, attempt: Attempt) {
        for (edge, chunk) in std::mem::take(&mut self.env.sent) {
            let stage = match self.layout.edges[edge].from {
                Endpoint::Stage(stage) => stage,
                Endpoint::Spout(_) => unreachable!("executors send over edges between stages only"),
            };
            let route = self.layout.edges[edge].route;
            let (to, seq) = self.tasks[stage].number(edge, route, &chunk);
            self.under_way[edge][usize::from(to)] += 1;
            let progress = self.batches.get_mut(&attempt.txid).expect("a batch at work was taken");
            progress.xor ^= edge_id(attempt, edge as u32, self.id.into(), to.into(), seq);
            let batch = progress.info;
            self.out.push(Envelope::Executor(to, ToExecutor::Data { edge, from: self.id, batch, seq, chunk }));
        }
    }

    /// Ends a batch in one stage: its operators finish, and those behind it are told how much there was.
    fn finish(&mut self, stage: usize) {
        let txid = self.tasks[stage].working_on();
        if !self.guarded(stage, txid, StageTask::finish) {
            return;
        }
        let sent = self.tasks[stage].next_batch();
        let progress = self.batches.get_mut(&txid).expect("a batch at work was taken");
        let (batch, id) = (progress.info, u32::from(self.id));
        for link in sent {
            progress.xor ^= edge_id(batch.attempt, link.edge as u32, id, link.to.into(), link.chunks);
            let (edge, from, chunks, records) = (link.edge, self.id, link.chunks, link.records);
            let end = ToExecutor::End { edge, from, batch, chunks, records, dead: Vec::new() };
            self.out.push(Envelope::Executor(link.to, end));
        }
        progress.stages_done += 1;
        let done = progress.stages_done == self.layout.stages.len();
        if done {
            self.hand_over(txid);
        } else {
            self.ack(batch.attempt);
        }
    }

    /// The batch is whole in all stages: its changes go to the recorder, which prepares it.
    fn hand_over(&mut self, txid: TxId) {
        let mut progress = self.batches.remove(&txid).expect("a batch at work was taken");
        let attempt = progress.info.attempt;
        let mut sections = Vec::new();
        for shard in &self.env.shards {
            if let Err(error) = shard.encode(txid, &mut sections) {
                return self.fail(attempt, Cause::new(CauseKind::Storage, error.to_string()));
            }
        }
        progress.outbox.sort_by(|a, b| (&a.sink, a.partition).cmp(&(&b.sink, b.partition)));
        let xor = progress.xor ^ self.layout.part_id(attempt, self.id);
        self.out.push(Envelope::Coordinator(Event::Ack { attempt, xor }));
        let overlay = self.env.shards.iter().map(|shard| shard.memory().overlay).sum();
        let Progress { info: batch, dead, outbox, .. } = progress;
        let part = BatchPart { executor: self.id, batch, sections, outbox, dead, overlay };
        self.out.push(Envelope::Recorder(ToRecorder::Part(part)));
    }

    fn fail(&mut self, attempt: Attempt, cause: Cause) {
        self.failed = Some(self.failed.map_or(attempt.txid, |failed| failed.min(attempt.txid)));
        self.env.outbox.clear();
        self.env.sent.clear();
        self.out.push(Envelope::Coordinator(Event::Failed { attempt, cause }));
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}
