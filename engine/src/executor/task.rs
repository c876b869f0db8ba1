//! One executor's task of one stage: its operators, the links into it, and the numbers of what it sends.

use std::collections::BTreeMap;

use fulmar_state::TxId;

use super::link::{Item, Link};
use crate::chunk::Chunk;
use crate::operator::{Cx, Env, Operator, OperatorError, Slot, TaskContext};
use crate::plan::graph::Route;
use crate::plan::{EdgePlan, StagePlan};

/// How much was sent over one link in the batch at work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) edge: usize,
    pub(super) to: u16,
    pub(super) chunks: u64,
    pub(super) records: u64,
}

pub(super) struct StageTask {
    operators: Vec<Option<Box<dyn Operator>>>,
    slots: Vec<Slot>,
    ordered: bool,
    task: u16,
    /// The links into the task, as (edge, sender), in the fixed order of a batch's records.
    senders: Vec<(usize, u16)>,
    batches: BTreeMap<TxId, Vec<Link>>,
    working_on: TxId,
    started: bool,
    /// XOR of the markers that were taken up in the batch at work.
    held: u64,
    sent: Vec<Sent>,
    /// Chunks dealt out so far, by edge: whose turn it is.
    dealt: BTreeMap<usize, u64>,
}

impl StageTask {
    pub(super) fn new(
        stage: &StagePlan,
        edges: &[EdgePlan],
        first: TxId,
        task: u16,
        tasks: u16,
    ) -> Self {
        let make = |(slot, make): (&Slot, &crate::operator::OperatorFactory)| {
            Some(make(&TaskContext {
                tasks,
                emits: !slot.targets.is_empty(),
            }))
        };
        let senders = |edge: &usize| -> Vec<(usize, u16)> {
            match edges[*edge].route {
                Route::Forward => vec![(*edge, task)],
                _ => (0..edges[*edge].senders(tasks))
                    .map(|sender| (*edge, sender))
                    .collect(),
            }
        };
        let receivers = |edge: &usize| -> Vec<Sent> {
            let to = if edges[*edge].route == Route::Forward {
                task..task + 1
            } else {
                0..tasks
            };
            to.map(|to| Sent {
                edge: *edge,
                to,
                chunks: 0,
                records: 0,
            })
            .collect()
        };
        StageTask {
            operators: stage.slots.iter().zip(&stage.makes).map(make).collect(),
            slots: stage.slots.clone(),
            ordered: stage.ordered,
            task,
            senders: stage.inputs.iter().flat_map(senders).collect(),
            batches: BTreeMap::new(),
            working_on: first,
            started: false,
            held: 0,
            sent: stage.outputs.iter().flat_map(receivers).collect(),
            dealt: BTreeMap::new(),
        }
    }

    /// The batch whose records it takes: the first that is not finished.
    pub(super) fn working_on(&self) -> TxId {
        self.working_on
    }

    fn links(&mut self, txid: TxId) -> &mut Vec<Link> {
        let count = self.senders.len();
        self.batches
            .entry(txid)
            .or_insert_with(|| (0..count).map(|_| Link::default()).collect())
    }

    pub(super) fn take(
        &mut self,
        txid: TxId,
        edge: usize,
        from: u16,
        item: Item,
    ) -> Result<(), String> {
        if txid < self.working_on {
            return Err(format!(
                "something came for batch {txid}, which was finished"
            ));
        }
        let at = self
            .senders
            .iter()
            .position(|sender| *sender == (edge, from));
        let at = at
            .ok_or_else(|| format!("task {from} sent over edge {edge}, which it has no part in"))?;
        self.links(txid)[at].push(item)
    }

    /// Whether this sender's records may be taken now: all of them, unless the batch's order is asked for.
    pub(super) fn is_turn(&self, edge: usize, from: u16) -> bool {
        let Some(links) = self.batches.get(&self.working_on).filter(|_| self.ordered) else {
            return !self.ordered || self.senders.first() == Some(&(edge, from));
        };
        let turn = links.iter().position(|link| !link.ended);
        turn.is_none_or(|turn| self.senders[turn] == (edge, from))
    }

    /// The next thing to do for the batch at work.
    pub(super) fn next(&mut self) -> Option<(usize, u16, Item)> {
        let links = self.batches.get_mut(&self.working_on)?;
        for (link, (edge, from)) in links.iter_mut().zip(&self.senders) {
            if let Some(item) = link.pop() {
                return Some((*edge, *from, item));
            }
            if self.ordered && !link.ended {
                return None;
            }
        }
        None
    }

    /// Whether every sender's end marker was taken up.
    pub(super) fn is_complete(&self) -> bool {
        self.batches
            .get(&self.working_on)
            .is_some_and(|links| links.iter().all(|link| link.ended))
    }

    /// True once for each batch: before its first work.
    pub(super) fn start(&mut self) -> bool {
        !std::mem::replace(&mut self.started, true)
    }

    pub(super) fn process(&mut self, env: &mut Env, chunk: Chunk) -> Result<(), OperatorError> {
        self.cx(env, 0).process(chunk)
    }

    pub(super) fn finish(&mut self, env: &mut Env) -> Result<(), OperatorError> {
        (0..self.slots.len()).try_for_each(|slot| self.cx(env, slot).finish())
    }

    fn cx<'a>(&'a mut self, env: &'a mut Env, slot: usize) -> Cx<'a> {
        Cx {
            operators: &mut self.operators,
            slots: &self.slots,
            env,
            slot,
            task: self.task,
        }
    }

    /// Whom a chunk goes to over an edge, and its number there.
    pub(super) fn number(&mut self, edge: usize, route: Route, chunk: &Chunk) -> (u16, u64) {
        let receivers = self.sent.iter().filter(|sent| sent.edge == edge).count() as u64;
        let dealt = self.dealt.entry(edge).or_default();
        let to = match (route, chunk.task()) {
            (Route::Keyed, Some(task)) => task,
            (Route::Forward, _) => self.task,
            // Each task begins with itself, so that small batches do not all go to task 0.
            _ => ((u64::from(self.task) + *dealt) % receivers) as u16,
        };
        *dealt += 1;
        let sent = self
            .sent
            .iter_mut()
            .find(|sent| sent.edge == edge && sent.to == to);
        let sent = sent.expect("an edge has a link to each of its receivers");
        sent.chunks += 1;
        sent.records += chunk.records();
        (to, sent.chunks - 1)
    }

    /// Remembers a marker's edge until what it leads to is sent.
    pub(super) fn hold(&mut self, id: u64) {
        self.held ^= id;
    }

    /// Goes on to the next batch; says which markers were taken up in this one, and what was sent.
    pub(super) fn next_batch(&mut self) -> (u64, Vec<Sent>) {
        self.batches.remove(&self.working_on);
        self.working_on = self.working_on.next();
        self.started = false;
        self.dealt.clear();
        let sent = self.sent.clone();
        for link in &mut self.sent {
            (link.chunks, link.records) = (0, 0);
        }
        (std::mem::take(&mut self.held), sent)
    }
}
