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

/// What a stage has to do.
pub(super) enum Due {
    Nothing,
    /// Something came that it has not taken up.
    Item,
    /// Every sender's end marker was taken up.
    Finish,
}

pub(super) struct StageTask {
    operators: Vec<Option<Box<dyn Operator>>>,
    slots: Vec<Slot>,
    ordered: bool,
    task: u16,
    /// The links into the task, as (edge, sender), in the fixed order of a batch's records.
    senders: Vec<(usize, u16)>,
    working_on: TxId,
    /// What came for the batch at work, by sender.
    links: Vec<Link>,
    /// The same for batches after it.
    later: BTreeMap<TxId, Vec<Link>>,
    /// Links of finished batches, for those to come.
    spare: Vec<Vec<Link>>,
    started: bool,
    /// XOR of the markers that were taken up in the batch at work.
    held: u64,
    sent: Vec<Sent>,
    /// Chunks dealt out so far, by edge: whose turn it is.
    dealt: BTreeMap<usize, u64>,
}

impl StageTask {
    /// A task that has nothing to do until [`StageTask::renew`].
    pub(super) fn new(stage: &StagePlan, edges: &[EdgePlan], task: u16, tasks: u16) -> Self {
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
        let senders: Vec<_> = stage.inputs.iter().flat_map(senders).collect();
        StageTask {
            operators: Vec::new(),
            slots: stage.slots.clone(),
            ordered: stage.ordered,
            task,
            working_on: TxId::ZERO,
            links: new_links(senders.len()),
            later: BTreeMap::new(),
            spare: Vec::new(),
            senders,
            started: false,
            held: 0,
            sent: stage.outputs.iter().flat_map(receivers).collect(),
            dealt: BTreeMap::new(),
        }
    }

    /// Makes it new, with new operators: `first` is the next batch.
    pub(super) fn renew(&mut self, stage: &StagePlan, tasks: u16, first: TxId) {
        self.operators = operators(stage, tasks);
        while let Some((_, links)) = self.later.pop_first() {
            self.keep(links);
        }
        self.begin(first);
        self.held = 0;
    }

    fn keep(&mut self, mut links: Vec<Link>) {
        links.iter_mut().for_each(Link::clear);
        self.spare.push(links);
    }

    fn begin(&mut self, txid: TxId) {
        self.working_on = txid;
        match self.later.remove(&txid) {
            Some(links) => {
                let old = std::mem::replace(&mut self.links, links);
                self.keep(old);
            }
            None => self.links.iter_mut().for_each(Link::clear),
        }
        self.started = false;
        self.dealt.clear();
        for link in &mut self.sent {
            (link.chunks, link.records) = (0, 0);
        }
    }

    /// The batch whose records it takes: the first that is not finished.
    pub(super) fn working_on(&self) -> TxId {
        self.working_on
    }

    fn links(&mut self, txid: TxId) -> &mut [Link] {
        if txid == self.working_on {
            return &mut self.links;
        }
        let (count, spare) = (self.senders.len(), &mut self.spare);
        self.later
            .entry(txid)
            .or_insert_with(|| spare.pop().unwrap_or_else(|| new_links(count)))
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
        let turn = self.links.iter().position(|link| !link.ended);
        !self.ordered || turn.is_none_or(|turn| self.senders[turn] == (edge, from))
    }

    /// What there is to do for the batch at work.
    pub(super) fn due(&self) -> Due {
        let mut open = self.links.iter().filter(|link| !link.ended).peekable();
        let waits = match open.peek() {
            None => return Due::Finish,
            Some(first) if self.ordered => first.is_waiting(),
            Some(_) => open.any(|link| link.is_waiting()),
        };
        if waits { Due::Item } else { Due::Nothing }
    }

    /// The next item of the batch at work.
    pub(super) fn next(&mut self) -> Option<(usize, u16, Item)> {
        for (link, (edge, from)) in self.links.iter_mut().zip(&self.senders) {
            if let Some(item) = link.pop() {
                return Some((*edge, *from, item));
            }
            if self.ordered && !link.ended {
                return None;
            }
        }
        None
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

    /// Goes on to the next batch; says which markers were taken up in this one, and calls for what was sent over each link.
    pub(super) fn next_batch(&mut self, mut sent: impl FnMut(Sent)) -> u64 {
        self.sent.iter().copied().for_each(&mut sent);
        self.begin(self.working_on.next());
        std::mem::take(&mut self.held)
    }
}

fn new_links(count: usize) -> Vec<Link> {
    std::iter::repeat_with(Link::default).take(count).collect()
}

fn operators(stage: &StagePlan, tasks: u16) -> Vec<Option<Box<dyn Operator>>> {
    let makes = stage.slots.iter().zip(&stage.makes);
    let operators = makes.map(|(slot, make)| {
        Some(make(&TaskContext {
            tasks,
            emits: !slot.targets.is_empty(),
        }))
    });
    operators.collect()
}
