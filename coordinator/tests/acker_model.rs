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

use fulmar_coordinator::{
    AckOutcome, Acker, Attempt, Epoch, Generation, TxId, WorkerId, edge_id, prepare_id,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::Union;
use proptest::test_runner::{Config, FileFailurePersistence};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// A message of a tree, by number; or the entry of a worker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Message(u32),
    Prepare(u32),
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
    network: Vec<Report>,
    trees: BTreeMap<Attempt, Tree>,
    /// Roots of which only reports have come, oldest first.
    early: Vec<Attempt>,
    /// The last step's report and what is answered to it.
    call: Option<(Report, AckOutcome)>,
    /// The root that the last step has forgotten, and whether it was there.
    forgotten: Option<(Attempt, bool)>,
}

#[derive(Clone)]
enum Step {
    /// A new attempt of a batch begins with so many messages, to be prepared by so many workers; it is announced by a report.
    Issue {
        txid: u64,
        messages: u32,
        workers: u32,
    },
    /// A task processes some open messages of one tree and sends others, all in one report.
    Work {
        root: Index,
        takes: Vec<Index>,
        sends: u32,
    },
    Deliver(Index),
    DeliverTwice(Index),
    Lose(Index),
    /// The attempt has failed.
    Forget(Index),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of what is there, the one at this share of it.
        let at = |index: &Index| index.index(100);
        match self {
            Step::Issue {
                txid,
                messages,
                workers,
            } => {
                write!(
                    f,
                    "<issue batch {txid}: {messages} messages, {workers} workers>"
                )
            }
            Step::Work { root, takes, sends } => {
                let takes: Vec<_> = takes.iter().map(at).collect();
                write!(
                    f,
                    "<tree at {} %: process messages at {takes:?} %, send {sends}>",
                    at(root)
                )
            }
            Step::Deliver(report) => write!(f, "<deliver the report at {} %>", at(report)),
            Step::DeliverTwice(report) => {
                write!(f, "<deliver the report at {} %, and keep it>", at(report))
            }
            Step::Lose(report) => write!(f, "<lose the report at {} %>", at(report)),
            Step::Forget(root) => write!(f, "<the attempt at {} % fails>", at(root)),
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
        Id::Message(n) => edge_id(root, n % 3, n % 2, n % 5, n.into()),
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
    fn send(&mut self, count: u32) -> Vec<Id> {
        let sent: Vec<Id> = (self.messages..self.messages + count)
            .map(Id::Message)
            .collect();
        self.messages += count;
        self.open.extend(&sent);
        sent
    }

    /// Nothing is under way, neither a message nor a report.
    fn is_done(&self) -> bool {
        self.open.is_empty() && self.undelivered == 0
    }
}

impl Reference {
    fn issue(&mut self, txid: u64, messages: u32, workers: u32) {
        let tries = self
            .truths
            .keys()
            .filter(|root| root.txid.0 == txid)
            .count() as u64;
        let generation = Generation {
            epoch: Epoch(1),
            number: tries,
        };
        let root = Attempt {
            txid: TxId(txid),
            generation,
        };
        let mut truth = Truth {
            undelivered: 1,
            ..Truth::default()
        };
        let mut ids: BTreeSet<Id> = truth.send(messages).into_iter().collect();
        ids.extend((0..workers).map(Id::Prepare));
        truth.open.extend(&ids);
        self.truths.insert(root, truth);
        self.network.push(Report {
            root,
            ids,
            init: true,
        });
    }

    fn work(&mut self, root: Index, takes: &[Index], sends: u32) {
        let open: Vec<Attempt> = self.open_roots();
        let root = *root.get(&open);
        let truth = self.truths.get_mut(&root).unwrap();
        let mut ids = BTreeSet::new();
        for take in takes {
            let open: Vec<Id> = truth.open.iter().copied().collect();
            if !open.is_empty() {
                let taken = *take.get(&open);
                truth.open.remove(&taken);
                ids.insert(taken);
            }
        }
        ids.extend(truth.send(sends));
        truth.undelivered += 1;
        self.network.push(Report {
            root,
            ids,
            init: false,
        });
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
            network: Vec::new(),
            trees: BTreeMap::new(),
            early: Vec::new(),
            call: None,
            forgotten: None,
        };
        prop_oneof![Just(0_usize), 1_usize..4, Just(100)]
            .prop_map(reference)
            .boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        let issue =
            (1_u64..4, 0_u32..4, 0_u32..3).prop_map(|(txid, messages, workers)| Step::Issue {
                txid,
                messages,
                workers,
            });
        let work = (
            any::<Index>(),
            prop::collection::vec(any::<Index>(), 1..3),
            0_u32..3,
        );
        // Trees must come to an end, too.
        let work = (work, any::<bool>()).prop_map(|((root, takes, sends), ends)| Step::Work {
            root,
            takes,
            sends: if ends { 0 } else { sends },
        });
        let mut steps = vec![(2, issue.boxed())];
        if !state.open_roots().is_empty() {
            steps.push((8, work.boxed()));
        }
        if !state.network.is_empty() {
            steps.push((8, any::<Index>().prop_map(Step::Deliver).boxed()));
            steps.push((1, any::<Index>().prop_map(Step::DeliverTwice).boxed()));
            steps.push((1, any::<Index>().prop_map(Step::Lose).boxed()));
        }
        if !state.truths.is_empty() {
            steps.push((1, any::<Index>().prop_map(Step::Forget).boxed()));
        }
        Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Reference, step: &Step) -> bool {
        match step {
            Step::Issue { .. } => true,
            Step::Work { .. } => !state.open_roots().is_empty(),
            Step::Deliver(_) | Step::Lose(_) => !state.network.is_empty(),
            // A root is announced once, by the coordinator itself.
            Step::DeliverTwice(at) => !state.network.is_empty() && !at.get(&state.network).init,
            Step::Forget(_) => !state.truths.is_empty(),
        }
    }

    fn apply(mut state: Reference, step: &Step) -> Reference {
        (state.call, state.forgotten) = (None, None);
        match step {
            Step::Issue {
                txid,
                messages,
                workers,
            } => state.issue(*txid, *messages, *workers),
            Step::Work { root, takes, sends } => state.work(*root, takes, *sends),
            Step::Deliver(at) => {
                let report = state.network.remove(at.index(state.network.len()));
                state.truths.get_mut(&report.root).unwrap().undelivered -= 1;
                state.hear(report);
            }
            Step::DeliverTwice(at) => {
                let report = at.get(&state.network).clone();
                state.truths.get_mut(&report.root).unwrap().spoilt = true;
                state.hear(report);
            }
            Step::Lose(at) => {
                let report = state.network.remove(at.index(state.network.len()));
                state.truths.get_mut(&report.root).unwrap().spoilt = true;
            }
            Step::Forget(at) => {
                let root = *at.get(&state.truths.keys().copied().collect::<Vec<_>>());
                state.early.retain(|early| *early != root);
                state.forgotten = Some((root, state.trees.remove(&root).is_some()));
                state.truths.get_mut(&root).unwrap().spoilt = true;
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
                    .iter()
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
        cases: if full { 160_000 } else { 8_000 },
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
