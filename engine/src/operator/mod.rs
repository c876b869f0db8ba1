//! The one primitive: an operator takes a chunk and pushes chunks on; every verb is a few lines over it.

mod keyed;
mod persist;
mod query;
mod sink;
mod unary;

pub(crate) use keyed::{Deltas, KeyBy, KeyedRecords, KeysOf, PreAggregate, keys_of, owner_of};
pub(crate) use persist::{CombinerState, Merging, ReducerState};
pub(crate) use query::StateQuery;
pub(crate) use sink::ToOutbox;
pub use unary::Emitter;
pub(crate) use unary::{Pass, Unary};

use std::fmt;
use std::sync::Arc;

use fulmar_coordinator::Origin;
use fulmar_state::{AnyShard, Attempt, OutboxPart, Shard, StateError, StateId, TxId};

use crate::chunk::Chunk;

/// What an operator is told when a task makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskContext {
    /// How many tasks the stage has.
    pub(crate) tasks: u16,
    /// Whether anybody reads what the operator emits.
    pub(crate) emits: bool,
}

/// Makes one task's operator. Called again after every failure, so that no half-done state survives.
pub(crate) type OperatorFactory = Arc<dyn Fn(&TaskContext) -> Box<dyn Operator> + Send + Sync>;

/// The batch that is being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// The try at the batch.
    pub attempt: Attempt,
    /// The attempt of the batch before, on which this one builds; `None` for the first batch.
    pub base: Option<Attempt>,
    /// The batch's time in milliseconds since 1970, fixed when it was issued: the only clock that operators see.
    pub time_ms: u64,
}

/// One task's part of one verb.
pub(crate) trait Operator: Send {
    /// Takes records of the batch.
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError>;

    /// The batch has no more records for this task.
    fn finish(&mut self, _cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// What happened in an operator.
#[derive(Debug)]
pub(crate) struct OperatorError {
    pub(crate) message: String,
    /// Whether the state store failed, not the user's code.
    pub(crate) storage: bool,
}

impl OperatorError {
    pub(crate) fn user(message: impl fmt::Display) -> Self {
        OperatorError {
            message: message.to_string(),
            storage: false,
        }
    }
}

impl From<StateError> for OperatorError {
    fn from(error: StateError) -> Self {
        OperatorError {
            message: error.to_string(),
            storage: true,
        }
    }
}

/// What the operators of a task share while they work on a batch.
pub(crate) struct Env {
    pub(crate) batch: BatchInfo,
    pub(crate) shards: Vec<Box<dyn AnyShard>>,
    pub(crate) outbox: Vec<OutboxPart>,
    /// Chunks for other tasks, by edge.
    pub(crate) sent: Vec<(usize, Chunk)>,
    /// The operator that is at work, as a node of the plan, and the record it works on: for naming a failure.
    pub(crate) at: usize,
    pub(crate) origin: Option<Box<Origin>>,
}

/// Where a node's chunks go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To a node of the same stage.
    Local(usize),
    /// Over an exchange.
    Edge(usize),
}

/// One node's place in its stage.
#[derive(Clone)]
pub(crate) struct Slot {
    /// The node's number in the plan.
    pub(crate) node: usize,
    pub(crate) targets: Vec<Target>,
    pub(crate) duplicate: fn(&Chunk) -> Chunk,
}

/// What an operator sees: the batch, the shards, and a way to push chunks on.
pub(crate) struct Cx<'a> {
    pub(crate) operators: &'a mut [Option<Box<dyn Operator>>],
    pub(crate) slots: &'a [Slot],
    pub(crate) env: &'a mut Env,
    pub(crate) slot: usize,
    pub(crate) task: u16,
}

impl Cx<'_> {
    pub(crate) fn txid(&self) -> TxId {
        self.env.batch.attempt.txid
    }

    /// This executor's shard of a state.
    pub(crate) fn shard<V: fulmar_state::Value>(
        &mut self,
        state: StateId,
    ) -> &mut Shard<V, Merging<V>> {
        let shard = self.env.shards[usize::from(state.0)].as_any_mut();
        shard
            .downcast_mut()
            .expect("the plan gives each state one type")
    }

    /// Gives a chunk to every reader of this operator, and comes back when local readers are done with it.
    pub(crate) fn emit(&mut self, chunk: Chunk) -> Result<(), OperatorError> {
        let chunk = chunk.with_origin_or(&self.env.origin);
        let slot = &self.slots[self.slot];
        let Some((last, others)) = slot.targets.split_last() else {
            return Ok(());
        };
        for target in others {
            self.send(target, (slot.duplicate)(&chunk))?;
        }
        self.send(last, chunk)
    }

    fn send(&mut self, target: &Target, chunk: Chunk) -> Result<(), OperatorError> {
        match *target {
            Target::Edge(edge) => {
                self.env.sent.push((edge, chunk));
                Ok(())
            }
            Target::Local(slot) => self.at(slot).process(chunk),
        }
    }

    fn at(&mut self, slot: usize) -> Cx<'_> {
        Cx {
            operators: self.operators,
            slots: self.slots,
            env: self.env,
            slot,
            task: self.task,
        }
    }

    /// Runs this slot's operator over a chunk.
    pub(crate) fn process(mut self, chunk: Chunk) -> Result<(), OperatorError> {
        let outer = std::mem::replace(&mut self.env.origin, chunk.origin().clone());
        self.work(|operator, cx| operator.process(chunk, cx))?;
        self.env.origin = outer;
        Ok(())
    }

    /// Ends the batch for this slot's operator.
    pub(crate) fn finish(mut self) -> Result<(), OperatorError> {
        self.work(|operator, cx| operator.finish(cx))
    }

    fn work(
        &mut self,
        run: impl FnOnce(&mut dyn Operator, &mut Cx<'_>) -> Result<(), OperatorError>,
    ) -> Result<(), OperatorError> {
        let before = std::mem::replace(&mut self.env.at, self.slots[self.slot].node);
        let mut operator = self.operators[self.slot]
            .take()
            .expect("a plan has no cycles, so no operator is entered twice");
        run(operator.as_mut(), self)?;
        self.operators[self.slot] = Some(operator);
        self.env.at = before;
        Ok(())
    }
}
