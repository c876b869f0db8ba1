//! The reference: what is sealed, what is on the disk and what a process remembers, as counters on one line of batches.

use std::fmt;
use std::sync::Arc;

use fulmar_state::{Attempt, Generation, SealOutcome, TxId};
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use crate::step::{Crash, Misfit, Op, Step, To, changes, crash};
use crate::support::{Model, Moment};

/// So many batches are in flight at most.
const IN_FLIGHT: usize = 5;

/// A batch, and what the states hold as of it.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) attempt: Attempt,
    pub(crate) contents: Arc<Model>,
}

/// What survives a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Whether anything was ever written.
    pub(crate) begun: bool,
    pub(crate) highest: Generation,
    /// The newest batch in the log.
    pub(crate) newest: usize,
    /// What each state is folded up to.
    pub(crate) markers: [usize; 2],
    pub(crate) folded: usize,
    pub(crate) published: usize,
}

impl Disk {
    /// The batches whose entries are kept: all that are not both folded and published.
    pub(crate) fn kept(&self) -> std::ops::RangeInclusive<usize> {
        self.folded.min(self.published) + 1..=self.newest
    }
}

/// What a process remembers.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// What it knows to be sealed.
    pub(crate) told: usize,
    pub(crate) published: usize,
    /// The fold that is under way: up to which batch, and how many states are folded.
    pub(crate) fold: Option<(usize, usize)>,
    pub(crate) pins: usize,
}

#[derive(Clone)]
pub(crate) struct Reference {
    /// The greatest generation that the coordinator has made.
    pub(crate) generation: Generation,
    /// Batch 1 first: what is sealed, then what is prepared, then what is only processed.
    pub(crate) line: Vec<Batch>,
    /// What the ledger says is sealed.
    pub(crate) sealed: usize,
    /// What the coordinator knows to be prepared.
    acked: usize,
    /// What sinks have taken.
    pub(crate) sunk: usize,
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
    pub(crate) call: Call,
}

/// What the last step comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    /// How many writes it makes if nothing stops it.
    pub(crate) writes: usize,
    /// The write that fails.
    pub(crate) fault: Option<(usize, Moment)>,
    /// The process ends with it.
    pub(crate) dies: bool,
    /// The batch it is about.
    pub(crate) attempt: Option<Attempt>,
    /// The batch it builds on.
    pub(crate) base: Option<Attempt>,
    pub(crate) notice: Option<SealOutcome>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sealed, {:?}, {:?}",
            self.sealed, self.disk, self.process
        )
    }
}

impl Reference {
    pub(crate) fn attempt(&self, txid: usize) -> Option<Attempt> {
        let batch = self.line.get(txid.checked_sub(1)?);
        batch.map(|batch| batch.attempt)
    }

    pub(crate) fn contents(&self, txid: usize) -> Arc<Model> {
        let batch = txid.checked_sub(1).map(|at| &self.line[at]);
        batch.map_or_else(Arc::default, |batch| Arc::clone(&batch.contents))
    }

    /// The disk after each write of a step, and what else the step changes.
    fn plan(&mut self, op: &Op) -> Vec<Disk> {
        let mut disk = self.disk;
        disk.published = self
            .process
            .as_ref()
            .map_or(disk.published, |process| process.published);
        match op {
            Op::Start { .. } => {
                self.generation = Generation::new(self.generation.epoch.0 + 1, 0);
                self.acked = self.sealed;
                let rewound = Disk {
                    begun: true,
                    highest: self.generation,
                    newest: self.sealed,
                    ..disk
                };
                let begun = Disk {
                    begun: true,
                    ..disk
                };
                if disk.begun {
                    vec![rewound]
                } else {
                    vec![begun, rewound]
                }
            }
            Op::Prepare { count } => {
                disk.newest = (disk.newest + (*count).max(1)).min(self.line.len());
                vec![disk]
            }
            Op::Rewind(To::Sealed) => {
                self.generation =
                    Generation::new(self.generation.epoch.0, self.generation.number + 1);
                self.acked = self.sealed;
                vec![Disk {
                    highest: self.generation,
                    newest: self.sealed,
                    ..disk
                }]
            }
            Op::Ingest => {
                let (upto, state) = self
                    .process
                    .as_ref()
                    .and_then(|process| process.fold)
                    .unwrap();
                disk = self.disk;
                disk.markers[state] = upto;
                vec![disk]
            }
            Op::FinishFold => {
                disk.folded = self
                    .process
                    .as_ref()
                    .and_then(|process| process.fold)
                    .unwrap()
                    .0;
                vec![disk]
            }
            Op::RecordPublished if disk != self.disk => vec![disk],
            _ => vec![],
        }
    }

    /// What a step that comes to its end changes beside the disk.
    fn finish(&mut self, op: &Op) {
        let (sealed, disk, generation) = (self.sealed, self.disk, self.generation);
        match op {
            Op::Start { .. } => {
                self.line.truncate(sealed);
                self.process = Some(Process {
                    told: sealed,
                    published: disk.published,
                    fold: None,
                    pins: 0,
                });
            }
            Op::Process(changes) => {
                let attempt = Attempt::new(TxId(self.line.len() as u64 + 1), generation);
                let mut contents = Model::clone(&self.contents(self.line.len()));
                contents.apply(changes);
                let contents = Arc::new(contents);
                self.line.push(Batch { attempt, contents });
            }
            Op::Prepare { .. } => self.acked = disk.newest,
            Op::Seal { but } => self.sealed = self.acked.saturating_sub(*but).max(sealed + 1),
            _ => self.finish_in_process(op),
        }
    }

    fn finish_in_process(&mut self, op: &Op) {
        let (sealed, Some(process)) = (self.sealed, &mut self.process) else {
            return;
        };
        match op {
            Op::Notice { txid, wrong: false } => process.told = process.told.max(*txid),
            Op::Rewind(To::Sealed) => {
                process.told = sealed;
                self.line.truncate(sealed);
            }
            Op::TakeFold => process.fold = Some((process.told, 0)),
            Op::Ingest => process.fold = process.fold.map(|(upto, states)| (upto, states + 1)),
            Op::FinishFold => process.fold = None,
            Op::Publish { but } => {
                process.published = process.told.saturating_sub(*but).max(process.published + 1);
                self.sunk = self.sunk.max(process.published);
            }
            Op::Pin => process.pins += 1,
            Op::Unpin(_) => process.pins -= 1,
            _ => {}
        }
    }

    /// The attempts that a step names, and what the store answers to a notice.
    fn call(&self, op: &Op) -> Call {
        let other = |attempt: Attempt| {
            Attempt::new(
                attempt.txid,
                Generation::new(attempt.generation.epoch.0, 77),
            )
        };
        let (mut attempt, mut base, mut notice) = (None, None, None);
        match (op, &self.process) {
            (Op::Notice { txid, wrong }, Some(process)) => {
                let right = self.attempt(*txid);
                attempt = if *wrong { right.map(other) } else { right };
                let shown = *txid <= process.told;
                let known = *txid == process.told || self.disk.kept().contains(txid);
                notice = Some(match (shown, wrong) {
                    (true, true) if known => SealOutcome::NotMine,
                    (true, _) => SealOutcome::Already,
                    (false, true) => SealOutcome::NotMine,
                    (false, false) => SealOutcome::Shown,
                });
            }
            (Op::Misfit(_), Some(_)) => {
                base = self.attempt(self.disk.newest);
                attempt = Some(Attempt::new(
                    TxId(self.disk.newest as u64 + 1),
                    self.generation,
                ));
            }
            (Op::Rewind(To::Ahead), _) => {
                attempt = Some(Attempt::new(
                    TxId(self.disk.newest as u64 + 1),
                    self.generation,
                ));
            }
            (Op::Rewind(To::Behind), Some(process)) => attempt = self.attempt(process.told - 1),
            (Op::Rewind(To::OtherAttempt), _) => attempt = self.attempt(self.sealed).map(other),
            (Op::Start { .. } | Op::Rewind(_), _) => attempt = self.attempt(self.sealed),
            _ => {}
        }
        Call {
            attempt,
            base,
            notice,
            ..Call::default()
        }
    }

    pub(crate) fn allows(&self, op: &Op) -> bool {
        let Some(process) = &self.process else {
            return matches!(op, Op::Start { .. })
                || (matches!(op, Op::Seal { .. }) && self.acked > self.sealed);
        };
        match op {
            Op::Start { .. } => false,
            Op::Process(_) => self.line.len() < self.sealed + IN_FLIGHT,
            Op::Prepare { .. } => self.line.len() > self.disk.newest,
            Op::Seal { .. } => self.acked > self.sealed,
            Op::Notice { txid, wrong } => {
                let sent = if *wrong { self.line.len() } else { self.sealed };
                (1..=sent).contains(txid)
            }
            Op::Rewind(To::Behind) => process.told > 0,
            Op::Rewind(To::OtherAttempt) => self.sealed > 0,
            Op::TakeFold => process.fold.is_none() && process.told > 0,
            Op::Ingest => process.fold.is_some_and(|(_, states)| states < 2),
            Op::FinishFold => process.fold.is_some_and(|(_, states)| states == 2),
            Op::Publish { .. } => process.published < process.told,
            Op::Pin => process.pins < 4,
            Op::Unpin(at) => *at < process.pins,
            Op::Misfit(_) | Op::Rewind(_) | Op::RecordPublished | Op::Freeze | Op::Rest => true,
        }
    }

    fn ops(&self) -> Vec<(u32, BoxedStrategy<Op>)> {
        let batches = self.line.len().max(1);
        let start =
            (1_u16..5, any::<bool>()).prop_map(|(executors, again)| Op::Start { executors, again });
        let misfits = [
            Misfit::OlderGeneration,
            Misfit::Gap,
            Misfit::OtherBase,
            Misfit::SecondOfTwo,
        ];
        let others = [
            To::Again,
            To::Older,
            To::Ahead,
            To::Behind,
            To::OtherAttempt,
        ];
        let told = self.process.as_ref().map_or(0, |process| process.told);
        // Mostly the newest or the next one, by the right attempt.
        let notice = (0_usize..4, 1..batches + 1, proptest::bool::weighted(0.1)).prop_map(
            move |(which, any, wrong)| {
                let txid = if which == 0 { any } else { told + which };
                Op::Notice { txid, wrong }
            },
        );
        vec![
            (20, start.boxed()),
            (24, changes().prop_map(Op::Process).boxed()),
            (
                16,
                (1_usize..4).prop_map(|count| Op::Prepare { count }).boxed(),
            ),
            (12, (0_usize..3).prop_map(|but| Op::Seal { but }).boxed()),
            (16, notice.boxed()),
            (4, Just(Op::Rewind(To::Sealed)).boxed()),
            (
                2,
                proptest::sample::select(others.to_vec())
                    .prop_map(Op::Rewind)
                    .boxed(),
            ),
            (
                2,
                proptest::sample::select(misfits.to_vec())
                    .prop_map(Op::Misfit)
                    .boxed(),
            ),
            (8, Just(Op::TakeFold).boxed()),
            (16, Just(Op::Ingest).boxed()),
            (12, Just(Op::FinishFold).boxed()),
            (8, (0_usize..3).prop_map(|but| Op::Publish { but }).boxed()),
            (2, Just(Op::RecordPublished).boxed()),
            (6, Just(Op::Pin).boxed()),
            (4, (0_usize..4).prop_map(Op::Unpin).boxed()),
            (2, Just(Op::Freeze).boxed()),
            (2, Just(Op::Rest).boxed()),
        ]
    }
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Reference> {
        Just(Reference::new()).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        let possible = state.clone();
        let ops = Union::new_weighted(state.ops());
        let possible_op = ops.prop_filter("it can happen now", move |op| possible.allows(op));
        (possible_op, crash())
            .prop_map(|(op, crash)| Step { op, crash })
            .boxed()
    }

    fn preconditions(state: &Reference, step: &Step) -> bool {
        state.allows(&step.op)
    }

    fn apply(mut state: Reference, step: &Step) -> Reference {
        state.call = state.call(&step.op);
        let writes = state.plan(&step.op);
        state.call.writes = writes.len();
        state.call.dies = step.crash.is_some();
        match step.crash {
            Some(Crash { write, moment }) if write < writes.len() => {
                state.call.fault = Some((write, moment));
                let done = write + usize::from(moment == Moment::After);
                state.disk = done.checked_sub(1).map_or(state.disk, |last| writes[last]);
            }
            _ => {
                state.disk = writes.last().copied().unwrap_or(state.disk);
                state.finish(&step.op);
            }
        }
        if step.crash.is_some() {
            state.process = None;
            state.line.truncate(state.disk.newest.max(state.sealed));
        }
        state
    }
}

impl Reference {
    pub(crate) fn new() -> Reference {
        Reference {
            generation: Generation::default(),
            line: Vec::new(),
            sealed: 0,
            acked: 0,
            sunk: 0,
            disk: Disk::default(),
            process: None,
            call: Call::default(),
        }
    }
}
