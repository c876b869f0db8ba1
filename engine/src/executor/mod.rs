//! An executor: one task of each stage and a share of every state, as a pure step from message to messages.
//!
//! A stage takes batches in the order of their txids, and works on the next while others wait for their markers.
//! Nothing here owns a thread, a clock or a socket.

mod layout;
mod link;
mod task;
mod work;

pub(crate) use layout::Layout;

use std::collections::BTreeMap;
use std::sync::Arc;

use fulmar_coordinator::{Cause, CauseKind};
use fulmar_state::{
    AnyShard, Attempt, Base, DeadLetter, Generation, OutboxPart, Partition, StateId, TxId,
};

use self::link::Item;
use self::task::StageTask;
use crate::message::{Envelope, Party, ToExecutor, ToRecorder, ToSource};
use crate::operator::{BatchInfo, Env, owner_of};
use crate::plan::Endpoint;

/// So many chunks may be under way from one task to another over an exchange before the sender waits.
pub(crate) const WINDOW: usize = 16;

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
        let shards: Vec<Box<dyn AnyShard>> = (0u16..)
            .zip(&layout.states)
            .map(|(state, (partitions, make))| {
                let owned = (0..*partitions)
                    .map(Partition)
                    .filter(|p| owner_of(*p, *partitions, layout.executors) == id);
                make(StateId(state), owned.collect(), *partitions, base.clone())
            })
            .collect();
        let nothing = BatchInfo {
            attempt: Attempt::default(),
            base: None,
            time_ms: 0,
        };
        let env = Env {
            batch: nothing,
            shards,
            outbox: Vec::new(),
            sent: Vec::new(),
            at: 0,
            origin: None,
        };
        let under_way = layout
            .edges
            .iter()
            .map(|_| vec![0; layout.executors.into()])
            .collect();
        let stages = layout.stages.iter();
        let tasks = stages
            .map(|stage| StageTask::new(stage, &layout.edges, id, layout.executors))
            .collect();
        Executor {
            id,
            layout,
            tasks,
            env,
            generation: Generation::ZERO,
            sealed: None,
            failed: None,
            batches: BTreeMap::new(),
            under_way,
            out: Vec::new(),
        }
    }

    /// As [`Executor::step_into`]; what is to be sent comes back.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn step(&mut self, message: ToExecutor) -> Vec<Envelope> {
        let mut out = Vec::new();
        self.step_into(message, &mut out);
        out
    }

    /// Takes one message; `out`, a buffer that serves many steps, gets what is to be sent, in order.
    pub(crate) fn step_into(&mut self, message: ToExecutor, out: &mut Vec<Envelope>) {
        std::mem::swap(&mut self.out, out);
        self.take_message(message);
        self.run();
        std::mem::swap(&mut self.out, out);
    }

    fn take_message(&mut self, message: ToExecutor) {
        match message {
            ToExecutor::Data {
                edge,
                from,
                batch,
                seq,
                chunk,
            } => {
                let held =
                    self.is_live(batch.attempt) && self.is_held(edge, from, batch.attempt.txid);
                self.take(
                    edge,
                    from,
                    batch,
                    Item::Data {
                        seq,
                        chunk,
                        credited: held,
                    },
                );
                if held {
                    // What waits for another batch or another sender does not hold its sender up, or both would wait for ever.
                    self.credit(edge, from);
                }
            }
            ToExecutor::End {
                edge,
                from,
                batch,
                chunks,
                records,
                dead,
            } => {
                self.take(edge, from, batch, Item::End { chunks, records });
                // I6: those of an attempt that is not live are that attempt's, whichever is at work now.
                let progress = self.batches.get_mut(&batch.attempt.txid);
                if let Some(progress) = progress.filter(|live| live.info.attempt == batch.attempt) {
                    progress.dead.extend(dead);
                }
            }
            ToExecutor::Credit {
                edge,
                to,
                generation,
            } => {
                if generation == self.generation {
                    // One that comes twice only widens the window.
                    let under_way = &mut self.under_way[edge][usize::from(to)];
                    *under_way = under_way.saturating_sub(1);
                }
            }
            ToExecutor::Restore { txid, sections } => self.restore(txid, &sections),
            ToExecutor::Rewind { generation, sealed } => self.rewind(generation, sealed),
            ToExecutor::Seal { txid } => self
                .env
                .shards
                .iter_mut()
                .for_each(|shard| shard.seal(txid)),
            ToExecutor::Freeze => self.freeze(),
            ToExecutor::Folded { upto, base } => {
                self.env
                    .shards
                    .iter_mut()
                    .for_each(|shard| shard.folded(upto, base.clone()));
            }
            ToExecutor::Read { state, read } => {
                read(self.env.shards[usize::from(state.0)].as_mut())
            }
        }
    }

    fn is_live(&self, attempt: Attempt) -> bool {
        attempt.generation == self.generation
            && self.failed.is_none_or(|failed| attempt.txid < failed)
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
            let what = format!(
                "attempt {} builds on another past than this executor has",
                batch.attempt
            );
            return self.fail(batch.attempt, Cause::new(CauseKind::Link, what));
        }
        self.batches
            .entry(batch.attempt.txid)
            .or_insert_with(|| Progress {
                info: batch,
                stages_done: 0,
                xor: 0,
                processed: 0,
                dead: Vec::new(),
                outbox: Vec::new(),
            });
        let stage = self.layout.edges[edge].to;
        if let Err(gap) = self.tasks[stage].take(batch.attempt.txid, edge, from, item) {
            self.fail(batch.attempt, Cause::new(CauseKind::Link, gap));
        }
    }

    /// The attempt that a batch of this generation builds on.
    fn base_of(&self, txid: TxId) -> Option<Attempt> {
        let sealed = self.sealed.map_or(TxId::ZERO, |attempt| attempt.txid);
        if txid == sealed.next() {
            self.sealed
        } else {
            Some(Attempt::new(txid.prev()?, self.generation))
        }
    }

    fn credit(&mut self, edge: usize, from: u16) {
        let (to, generation) = (self.id, self.generation);
        self.out.push(match self.layout.edges[edge].from {
            Endpoint::Spout(spout) => Envelope::Source(spout, ToSource::Credit { to, generation }),
            Endpoint::Stage(_) => Envelope::Executor(
                from,
                ToExecutor::Credit {
                    edge,
                    to,
                    generation,
                },
            ),
        });
    }

    fn restore(&mut self, txid: TxId, sections: &[(StateId, Partition, Vec<u8>)]) {
        for (state, partition, section) in sections {
            if let Err(error) =
                self.env.shards[usize::from(state.0)].restore(txid, *partition, section)
            {
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
            self.env
                .shards
                .iter_mut()
                .for_each(|shard| shard.rewind(txid));
            self.env.outbox.clear();
            self.env.sent.clear();
            self.under_way
                .iter_mut()
                .flatten()
                .for_each(|count| *count = 0);
            let (stages, tasks) = (&self.layout.stages, self.layout.executors);
            for (task, stage) in self.tasks.iter_mut().zip(stages) {
                task.renew(stage, tasks, txid.next());
            }
        }
        let party = Party::Executor(self.id);
        self.out.push(Envelope::Recorder(ToRecorder::Rewound {
            party,
            generation,
            outcome: Ok(()),
        }));
    }

    fn freeze(&mut self) {
        let parts = self
            .env
            .shards
            .iter_mut()
            .map(|shard| (shard.state(), shard.fold_part()))
            .collect();
        self.out.push(Envelope::Recorder(ToRecorder::Frozen {
            executor: self.id,
            parts,
        }));
    }
}

#[cfg(test)]
mod tests;
