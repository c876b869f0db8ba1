//! Method: model-based. Trees of messages grow, and their reports are delivered in any order, gathered, lost, delivered twice and
//! after their attempt has failed. The reference keeps, for every root, the explicit set of ids it has seen an odd number of times; and apart from
//! the acker's rules it knows the truth: which messages there are, who has processed them, and what is still on its way.
//!
//! `FULMAR_FULL=1` runs twenty times as many cases.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use fulmar_coordinator::{
    AckOutcome, Acker, Attempt, Epoch, Generation, TxId, WorkerId, edge_id, prepare_id,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::Union;
use proptest::test_runner::{Config, FileFailurePersistence};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// A message of a tree, by number; or the entry of a worker's log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Message(u32),
    Prepare(u32),
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Message(n) => write!(f, "{n}"),
            Id::Prepare(worker) => write!(f, "prepare{worker}"),
        }
    }
}

/// A report on its way: the ids in it, each once.
#[derive(Clone)]
struct Report {
    root: Attempt,
    ids: BTreeSet<Id>,
    /// It announces its root.
    init: bool,
}

/// What is true of a tree, whatever the acker has heard.
#[derive(Clone, Default)]
struct Truth {
    /// How many messages it has had.
    messages: u32,
    /// Sent, and not processed.
    open: BTreeSet<Id>,
    /// Reports that were made and never delivered.
    undelivered: usize,
    /// A report was lost, came twice, or came when there was no room for it.
    spoilt: bool,
}

/// What an acker that keeps whole sets knows of a root.
#[derive(Clone, Default)]
struct Tree {
    odd: BTreeSet<Id>,
    known: bool,
    reports: u64,
}

#[derive(Clone)]
struct Reference {
    early_limit: usize,
    truths: BTreeMap<Attempt, Truth>,
    /// By their numbers.
    network: BTreeMap<u32, Report>,
    trees: BTreeMap<Attempt, Tree>,
    /// Roots of which only reports have come, oldest first.
    early: Vec<Attempt>,
    /// How many reports there were.
    reports: u32,
    /// The last step's report and what is answered to it.
    call: Option<(Report, AckOutcome)>,
    /// The root that the last step has forgotten, and whether it was there.
    forgotten: Option<(Attempt, bool)>,
}

/// Steps name what they are about, so that a failing case keeps its meaning when others are left out.
#[derive(Clone)]
enum Step {
    /// A new attempt of a batch begins with messages, and with workers that have to prepare it; a report announces it.
    Issue {
        root: Attempt,
        ids: Vec<Id>,
        report: u32,
    },
    /// A task processes open messages of one tree and sends others, all in one report.
    Work {
        root: Attempt,
        takes: BTreeSet<Id>,
        sends: Vec<Id>,
        report: u32,
    },
    Deliver(u32),
    DeliverTwice(u32),
    Lose(u32),
    /// The attempt has failed.
    Forget(Attempt),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Issue { root, ids, report } => {
                write!(
                    f,
                    "<issue {root} with {ids:?}, to be announced by report {report}>"
                )
            }
            Step::Work {
                root,
                takes,
                sends,
                report,
            } => {
                write!(
                    f,
                    "<in {root} {takes:?} processed, {sends:?} sent: report {report}>"
                )
            }
            Step::Deliver(report) => write!(f, "<report {report} arrives>"),
            Step::DeliverTwice(report) => write!(f, "<report {report} arrives, and is kept>"),
            Step::Lose(report) => write!(f, "<report {report} is lost>"),
            Step::Forget(root) => write!(f, "<{root} has failed>"),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an acker that keeps {} early roots", self.early_limit)
    }
}

/// What stands for an id in the acker.
fn hash(root: Attempt, id: Id) -> u64 {
    match id {
        // Two links, with numbered messages on each.
        Id::Message(n) => edge_id(root, 0, 0, n % 2, u64::from(n / 2)),
        Id::Prepare(worker) => prepare_id(root, WorkerId(worker)),
    }
}

impl Report {
    fn xor(&self) -> u64 {
        self.ids
            .iter()
            .fold(0, |xor, id| xor ^ hash(self.root, *id))
    }
}

impl Truth {
    fn send(&mut self, sent: &[Id]) {
        self.open.extend(sent);
        let numbers = sent.iter().filter_map(|id| match id {
            Id::Message(n) => Some(n + 1),
            Id::Prepare(_) => None,
        });
        self.messages = numbers.fold(self.messages, u32::max);
    }

    /// Nothing is under way, neither a message nor a report.
    fn is_done(&self) -> bool {
        self.open.is_empty() && self.undelivered == 0
    }
}

impl Reference {
    fn issue(&mut self, root: Attempt, ids: &[Id], report: u32) {
        let mut truth = Truth {
            undelivered: 1,
            ..Truth::default()
        };
        truth.send(ids);
        self.truths.insert(root, truth);
        let ids = ids.iter().copied().collect();
        self.network.insert(
            report,
            Report {
                root,
                ids,
                init: true,
            },
        );
    }

    fn work(&mut self, root: Attempt, takes: &BTreeSet<Id>, sends: &[Id], report: u32) {
        let truth = self.truths.get_mut(&root).unwrap();
        truth.open.retain(|id| !takes.contains(id));
        truth.send(sends);
        truth.undelivered += 1;
        let ids = takes.iter().chain(sends).copied().collect();
        self.network.insert(
            report,
            Report {
                root,
                ids,
                init: false,
            },
        );
    }

    /// A step that issues a new attempt.
    fn to_issue(&self, txid: u64, messages: u32, workers: u32) -> Step {
        let tries = self.truths.keys().filter(|root| root.txid.0 == txid);
        let number = tries
            .map(|root| root.generation.number + 1)
            .max()
            .unwrap_or(0);
        let generation = Generation {
            epoch: Epoch(1),
            number,
        };
        let messages = (0..messages).map(Id::Message);
        Step::Issue {
            root: Attempt {
                txid: TxId(txid),
                generation,
            },
            ids: messages.chain((0..workers).map(Id::Prepare)).collect(),
            report: self.reports,
        }
    }

    /// A step that works on one of the open trees.
    fn to_work(&self, root: Index, takes: &[Index], sends: u32) -> Step {
        let root = *root.get(&self.open_roots());
        let truth = &self.truths[&root];
        let open: Vec<Id> = truth.open.iter().copied().collect();
        Step::Work {
            root,
            takes: takes.iter().map(|take| *take.get(&open)).collect(),
            sends: (truth.messages..truth.messages + sends)
                .map(Id::Message)
                .collect(),
            report: self.reports,
        }
    }

    fn open_roots(&self) -> Vec<Attempt> {
        let open = self
            .truths
            .iter()
            .filter(|(_, truth)| !truth.open.is_empty());
        open.map(|(root, _)| *root).collect()
    }

    fn hear(&mut self, report: Report) {
        let root = report.root;
        if !self.trees.contains_key(&root) && !report.init {
            if self.early_limit == 0 {
                self.truths.get_mut(&root).unwrap().spoilt = true;
                self.call = Some((report, AckOutcome::Unknown));
                return;
            }
            if self.early.len() == self.early_limit {
                let oldest = self.early.remove(0);
                self.trees.remove(&oldest);
                self.truths.get_mut(&oldest).unwrap().spoilt = true;
            }
            self.early.push(root);
        }
        let tree = self.trees.entry(root).or_default();
        if report.init {
            tree.known = true;
            self.early.retain(|early| *early != root);
        }
        tree.reports += 1;
        tree.odd = tree
            .odd
            .symmetric_difference(&report.ids)
            .copied()
            .collect();
        let outcome = if tree.known && tree.odd.is_empty() {
            self.trees.remove(&root);
            AckOutcome::Complete
        } else {
            AckOutcome::Pending
        };
        self.call = Some((report, outcome));
    }
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Reference> {
        let reference = |early_limit| Reference {
            early_limit,
            truths: BTreeMap::new(),
            network: BTreeMap::new(),
            trees: BTreeMap::new(),
            early: Vec::new(),
            reports: 0,
            call: None,
            forgotten: None,
        };
        prop_oneof![Just(0_usize), 1_usize..4, Just(100)]
            .prop_map(reference)
            .boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        let now = Arc::new(state.clone());
        let then = Arc::clone(&now);
        let issue = (1_u64..4, 0_u32..4, 0_u32..3)
            .prop_map(move |(txid, messages, workers)| then.to_issue(txid, messages, workers));
        let mut steps = vec![(2, issue.boxed())];
        if !state.open_roots().is_empty() {
            // Trees must come to an end, too.
            let sends = prop_oneof![Just(0_u32), 0_u32..3];
            let work = (
                any::<Index>(),
                prop::collection::vec(any::<Index>(), 1..3),
                sends,
            )
                .prop_map(move |(root, takes, sends)| now.to_work(root, &takes, sends));
            steps.push((8, work.boxed()));
        }
        if !state.network.is_empty() {
            let reports: Vec<u32> = state.network.keys().copied().collect();
            let report = prop::sample::select(reports);
            steps.push((8, report.clone().prop_map(Step::Deliver).boxed()));
            steps.push((1, report.clone().prop_map(Step::DeliverTwice).boxed()));
            steps.push((1, report.prop_map(Step::Lose).boxed()));
        }
        if !state.truths.is_empty() {
            let roots: Vec<Attempt> = state.truths.keys().copied().collect();
            steps.push((
                1,
                prop::sample::select(roots).prop_map(Step::Forget).boxed(),
            ));
        }
        Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Reference, step: &Step) -> bool {
        match step {
            Step::Issue { root, .. } => !state.truths.contains_key(root),
            Step::Work { root, takes, .. } => {
                let truth = state.truths.get(root);
                truth.is_some_and(|truth| takes.is_subset(&truth.open))
            }
            Step::Deliver(report) | Step::Lose(report) => state.network.contains_key(report),
            // A root is announced once, by the coordinator itself.
            Step::DeliverTwice(report) => {
                state.network.get(report).is_some_and(|report| !report.init)
            }
            Step::Forget(root) => state.truths.contains_key(root),
        }
    }

    fn apply(mut state: Reference, step: &Step) -> Reference {
        (state.call, state.forgotten) = (None, None);
        match step {
            Step::Issue { root, ids, report } => {
                state.issue(*root, ids, *report);
                state.reports = report + 1;
            }
            Step::Work {
                root,
                takes,
                sends,
                report,
            } => {
                state.work(*root, takes, sends, *report);
                state.reports = report + 1;
            }
            Step::Deliver(report) => {
                let report = state.network.remove(report).unwrap();
                state.truths.get_mut(&report.root).unwrap().undelivered -= 1;
                state.hear(report);
            }
            Step::DeliverTwice(report) => {
                let report = state.network[report].clone();
                state.truths.get_mut(&report.root).unwrap().spoilt = true;
                state.hear(report);
            }
            Step::Lose(report) => {
                let report = state.network.remove(report).unwrap();
                state.truths.get_mut(&report.root).unwrap().spoilt = true;
            }
            Step::Forget(root) => {
                state.early.retain(|early| early != root);
                state.forgotten = Some((*root, state.trees.remove(root).is_some()));
                state.truths.get_mut(root).unwrap().spoilt = true;
            }
        }
        state
    }
}

struct Tested;

impl StateMachineTest for Tested {
    type SystemUnderTest = Acker<Attempt>;
    type Reference = Reference;

    fn init_test(model: &Reference) -> Acker<Attempt> {
        Acker::new(model.early_limit)
    }

    fn apply(mut acker: Acker<Attempt>, model: &Reference, _: Step) -> Acker<Attempt> {
        if let Some((root, was_there)) = model.forgotten {
            assert_eq!(acker.forget(&root), was_there, "forgetting {root}");
        }
        if let Some((report, expected)) = &model.call {
            let (root, truth) = (report.root, &model.truths[&report.root]);
            let outcome = if report.init {
                acker.init(root, report.xor())
            } else {
                acker.ack(root, report.xor())
            };
            assert_eq!(outcome, *expected, "a report of {root}: {:?}", report.ids);
            if outcome == AckOutcome::Complete {
                assert!(
                    truth.open.is_empty(),
                    "{root} is complete, but under way is {:?}",
                    truth.open
                );
                // What is on its way yet says nothing: it was delivered before, or has nothing in it.
                let news = model
                    .network
                    .values()
                    .filter(|other| other.root == root && !truth.spoilt);
                assert!(
                    news.clone().all(|other| other.ids.is_empty()),
                    "{root} is complete, but not all is heard"
                );
            } else if !truth.spoilt && truth.is_done() && !report.ids.is_empty() {
                panic!("nothing of {root} is under way, and it is not complete");
            }
        }
        acker
    }

    fn check_invariants(acker: &Acker<Attempt>, model: &Reference) {
        assert_eq!(
            (acker.len(), acker.is_empty()),
            (model.trees.len(), model.trees.is_empty())
        );
        for root in model.truths.keys() {
            assert_eq!(
                acker.touched(root),
                model.trees.get(root).map(|tree| tree.reports),
                "reports of {root}"
            );
        }
    }
}

fn config() -> Config {
    let full = std::env::var_os("FULMAR_FULL").is_some_and(|full| full == "1");
    Config {
        cases: if full { 50_000 } else { 2_500 },
        max_shrink_iters: 50_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

prop_state_machine! {
    #![proptest_config(config())]
    #[test]
    fn a_root_is_complete_exactly_when_nothing_of_it_is_under_way(sequential 1..80 => Tested);
}
