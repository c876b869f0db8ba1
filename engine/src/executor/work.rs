//! What an executor does with what it took: run operators, send what they push on, finish batches, fail attempts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fulmar_coordinator::{Cause, CauseKind, Event, edge_id};
use fulmar_state::{Attempt, TxId};

use super::link::Item;
use super::task::{Due, Sent, StageTask};
use super::{Executor, Progress, WINDOW};
use crate::message::{BatchPart, Envelope, ToExecutor, ToRecorder};
use crate::operator::{Env, OperatorError};
use crate::plan::Endpoint;

/// So many chunks are processed before their acknowledgements are sent: they are signs of life, too.
const ACK_EVERY: u64 = 64;

impl Executor {
    /// Works until nothing more can be done without another message; the last stages first, so that what is under way
    /// leaves before more comes in.
    pub(super) fn run(&mut self) {
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
    pub(super) fn may_work(&self, stage: usize) -> bool {
        let after = self.layout.stages[stage].after;
        after.is_none_or(|writer| {
            writer == stage || self.tasks[writer].working_on() >= self.tasks[stage].working_on()
        })
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
        match self.tasks[stage].due() {
            Due::Nothing => return false,
            Due::Finish => {
                self.finish(stage);
                return true;
            }
            Due::Item => {}
        }
        if self.is_blocked(stage) {
            return false;
        }
        let Some((edge, from, item)) = self.tasks[stage].next() else {
            return false;
        };
        let attempt = Attempt::new(txid, self.generation);
        let id = |seq| edge_id(attempt, edge as u32, from.into(), self.id.into(), seq);
        match item {
            Item::Data {
                seq,
                chunk,
                credited,
            } => {
                let id = id(seq);
                if self.guarded(stage, txid, |task, cx| task.process(cx, chunk)) {
                    self.processed(attempt, id);
                }
                if !credited {
                    self.credit(edge, from);
                }
            }
            // What a marker leads to is sent when the stage finishes, and told together with it: else the tree could
            // look complete in between.
            Item::End { chunks, .. } => {
                let id = id(chunks);
                self.tasks[stage].hold(id);
            }
        }
        true
    }

    fn processed(&mut self, attempt: Attempt, id: u64) {
        let progress = self
            .batches
            .get_mut(&attempt.txid)
            .expect("what is processed was taken");
        progress.xor ^= id;
        progress.processed += 1;
        if progress.processed.is_multiple_of(ACK_EVERY) {
            self.ack(attempt);
        }
    }

    fn ack(&mut self, attempt: Attempt) {
        if let Some(progress) = self.batches.get_mut(&attempt.txid) {
            let xor = std::mem::take(&mut progress.xor);
            self.out
                .push(Envelope::Coordinator(Event::Ack { attempt, xor }));
        }
    }

    /// Runs user code: what it panics with, or fails with, fails the attempt and nothing else.
    fn guarded(
        &mut self,
        stage: usize,
        txid: TxId,
        run: impl FnOnce(&mut StageTask, &mut Env) -> Result<(), OperatorError>,
    ) -> bool {
        let progress = self
            .batches
            .get_mut(&txid)
            .expect("a batch at work was taken");
        let attempt = progress.info.attempt;
        self.env.batch = progress.info;
        self.env.origin = None;
        if self.tasks[stage].start() {
            for state in self.layout.writers.get(&stage).into_iter().flatten() {
                self.env.shards[usize::from(state.0)].begin(txid);
            }
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run(&mut self.tasks[stage], &mut self.env)
        }));
        let (kind, message) = match outcome {
            Ok(Ok(())) => {
                self.batches
                    .entry(txid)
                    .and_modify(|progress| progress.outbox.append(&mut self.env.outbox));
                self.send(attempt);
                return true;
            }
            Ok(Err(error)) if error.storage => (CauseKind::Storage, error.message),
            Ok(Err(error)) => (CauseKind::User, error.message),
            Err(panic) => (CauseKind::Panic, panic_message(panic.as_ref())),
        };
        let operator = Some(self.layout.labels[self.env.at].clone());
        let origin = self.env.origin.take();
        self.fail(
            attempt,
            Cause {
                kind,
                operator,
                message,
                origin,
                permanent: false,
            },
        );
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
            let progress = self
                .batches
                .get_mut(&attempt.txid)
                .expect("a batch at work was taken");
            progress.xor ^= edge_id(attempt, edge as u32, self.id.into(), to.into(), seq);
            let batch = progress.info;
            self.out.push(Envelope::Executor(
                to,
                ToExecutor::Data {
                    edge,
                    from: self.id,
                    batch,
                    seq,
                    chunk,
                },
            ));
        }
    }

    /// Ends a batch in one stage: its operators finish, and those behind it are told how much there was.
    fn finish(&mut self, stage: usize) {
        let txid = self.tasks[stage].working_on();
        if !self.guarded(stage, txid, StageTask::finish) {
            return;
        }
        let progress = self
            .batches
            .get_mut(&txid)
            .expect("a batch at work was taken");
        let (batch, from) = (progress.info, self.id);
        let held = self.tasks[stage].next_batch(|link| {
            let Sent {
                edge,
                to,
                chunks,
                records,
            } = link;
            let (sender, receiver) = (from.into(), to.into());
            progress.xor ^= edge_id(batch.attempt, edge as u32, sender, receiver, chunks);
            let end = ToExecutor::End {
                edge,
                from,
                batch,
                chunks,
                records,
                dead: Vec::new(),
            };
            self.out.push(Envelope::Executor(to, end));
        });
        progress.xor ^= held;
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
        let mut progress = self
            .batches
            .remove(&txid)
            .expect("a batch at work was taken");
        let attempt = progress.info.attempt;
        let mut sections = Vec::new();
        for shard in &self.env.shards {
            if let Err(error) = shard.encode(txid, &mut sections) {
                return self.fail(attempt, Cause::new(CauseKind::Storage, error.to_string()));
            }
        }
        progress
            .outbox
            .sort_by(|a, b| (&a.sink, a.partition).cmp(&(&b.sink, b.partition)));
        let xor = progress.xor ^ self.layout.part_id(attempt, self.id);
        self.out
            .push(Envelope::Coordinator(Event::Ack { attempt, xor }));
        let overlay = self
            .env
            .shards
            .iter()
            .map(|shard| shard.memory().overlay)
            .sum();
        let Progress {
            info: batch,
            dead,
            outbox,
            ..
        } = progress;
        let part = BatchPart {
            executor: self.id,
            batch,
            sections,
            outbox,
            dead,
            overlay,
        };
        self.out
            .push(Envelope::Recorder(ToRecorder::Part(Box::new(part))));
    }

    pub(super) fn fail(&mut self, attempt: Attempt, cause: Cause) {
        self.failed = Some(
            self.failed
                .map_or(attempt.txid, |failed| failed.min(attempt.txid)),
        );
        self.env.outbox.clear();
        self.env.sent.clear();
        self.out
            .push(Envelope::Coordinator(Event::Failed { attempt, cause }));
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
