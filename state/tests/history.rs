//! Method: model with history. Random batches, seals, rewinds, folds, restarts and crashes at any call of the storage;
//! after each, what can be read is what the model held at the sealed batch.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use std::sync::Arc;

use fulmar_state::{Attempt, Change, Generation, Result, Rewind, Storage, TxId};
use proptest::prelude::*;
use support::{Changes, Counts, Faulty, Medium, Model, Moment, Names, Worker, contents, route};

#[derive(Clone, Debug)]
enum Step {
    /// Process and prepare a batch.
    Batch(Changes),
    /// Seal all but so many of the prepared batches.
    Seal(usize),
    /// Fold, while one more batch is sealed.
    Fold(Changes),
    /// All sealed outboxes are published.
    Publish,
    /// Pin what is sealed, to be compared at the end.
    View,
    /// Drop what is not sealed.
    Rewind,
    /// Stop, and start with so many executors.
    Restart(u16),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-e]", 1 => "[a-c\0]{0,3}"]
}

fn changes() -> impl Strategy<Value = Changes> {
    let count = prop_oneof![
        6 => (1_u64..9).prop_map(Change::Delta),
        1 => (1_u64..9).prop_map(Change::Put),
        1 => Just(Change::Remove)
    ];
    let name = prop_oneof![3 => "[x-z]{0,3}".prop_map(Change::Put), 1 => Just(Change::Remove)];
    let counts = proptest::collection::vec((key(), count), 0..6);
    (counts, proptest::collection::vec((key(), name), 0..3))
        .prop_map(|(counts, names)| Changes { counts, names })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => changes().prop_map(Step::Batch),
        4 => (0_usize..2).prop_map(Step::Seal),
        3 => changes().prop_map(Step::Fold),
        2 => Just(Step::Publish),
        2 => Just(Step::View),
        1 => Just(Step::Rewind),
        1 => (1_u16..4).prop_map(Step::Restart),
    ]
}

/// The ledger, the history, and the worker that must agree with them.
struct World<'a> {
    medium: &'a dyn Medium,
    fault: Option<(usize, Moment)>,
    worker: Option<Worker>,
    epoch: u64,
    sealed: Option<Attempt>,
    /// What the states held as of each sealed batch, from batch 0 on.
    history: Vec<Model>,
    /// Prepared batches and what the states would hold.
    prepared: Vec<(Attempt, Model)>,
    pinned: Vec<((Counts, Names), Model)>,
    crashes: usize,
}

impl<'a> World<'a> {
    fn new(medium: &'a dyn Medium, fault: Option<(usize, Moment)>) -> World<'a> {
        World {
            medium,
            fault,
            worker: None,
            epoch: 0,
            sealed: None,
            history: vec![Model::default()],
            prepared: Vec::new(),
            pinned: Vec::new(),
            crashes: 0,
        }
    }

    fn run(mut self, steps: &[Step]) -> World<'a> {
        for step in steps {
            let mut executors = 2;
            if let Step::Restart(other) = step {
                executors = *other;
                self.stop();
            }
            let outcome = self.start(executors).and_then(|()| self.step(step));
            if outcome.is_err() {
                self.crashes += 1;
                self.stop();
                self.fault = None;
                self.start(executors).unwrap();
            }
            self.check();
        }
        for (views, model) in &self.pinned {
            assert_eq!(contents(views), *model, "a pinned view does not change");
        }
        self.stop();
        self
    }

    fn stop(&mut self) {
        self.prepared.clear();
        self.worker = None;
        // Snapshots hold the medium open.
        for (views, model) in self.pinned.drain(..) {
            assert_eq!(contents(&views), model, "a pinned view does not change");
        }
    }

    fn start(&mut self, executors: u16) -> Result<()> {
        if self.worker.is_some() {
            return Ok(());
        }
        self.epoch += 1;
        let mut storage = self.medium.open();
        if let Some((at, moment)) = self.fault {
            storage = Arc::new(Faulty::new(storage, at, moment)) as Arc<dyn Storage>;
        }
        self.worker = Some(Worker::start(storage, self.rewind(), executors)?);
        Ok(())
    }

    fn rewind(&self) -> Rewind {
        Rewind {
            generation: Generation::new(self.epoch, 0),
            sealed: self.sealed,
        }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let worker = self.worker.as_mut().unwrap();
        match step {
            Step::Batch(changes) => self.batch(changes)?,
            Step::Seal(but) => {
                let count = self.prepared.len().saturating_sub(*but);
                if let Some((attempt, _)) = self.prepared[..count].last() {
                    // The ledger first; only then does the worker learn of it.
                    self.sealed = Some(*attempt);
                    let sealed = *attempt;
                    self.history
                        .extend(self.prepared.drain(..count).map(|(_, model)| model));
                    worker.seal(sealed);
                }
            }
            Step::Fold(changes) => self.fold(changes)?,
            Step::Publish => {
                let sealed = self.sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
                worker.store.publish_done(sealed);
            }
            Step::View => self
                .pinned
                .push((worker.views(), self.history.last().unwrap().clone())),
            Step::Rewind => {
                self.epoch += 1;
                self.prepared.clear();
                let to = self.rewind();
                self.worker.as_mut().unwrap().rewind(to)?;
            }
            Step::Restart(_) => {}
        }
        Ok(())
    }

    fn batch(&mut self, changes: &Changes) -> Result<()> {
        let worker = self.worker.as_mut().unwrap();
        let last = self
            .prepared
            .last()
            .map_or_else(|| self.history.last().unwrap(), |(_, model)| model);
        let mut model = last.clone();
        // A query in batch n sees n - 1, prepared or sealed.
        let newest = worker.executors[0].counts.newest();
        for key in changes.counts.iter().map(|(key, _)| key) {
            let (hash, partition) = route(key, 8);
            let owner = usize::from(partition.0) % worker.executors.len();
            let found = worker.executors[owner]
                .counts
                .get(newest, hash, key.as_bytes())?;
            assert_eq!(
                found.as_ref(),
                model.counts.get(key),
                "{key:?} as of {newest}"
            );
        }
        let attempt = worker.prepare(changes)?;
        model.apply(changes);
        self.prepared.push((attempt, model));
        Ok(())
    }

    /// Folds; while that is under way one more batch is prepared, sealed and looked at.
    fn fold(&mut self, changes: &Changes) -> Result<()> {
        let worker = self.worker.as_mut().unwrap();
        let (prepared, history) = (&mut self.prepared, &mut self.history);
        let (sealed, pinned) = (&mut self.sealed, &mut self.pinned);
        worker.fold(|worker| {
            let last = prepared
                .last()
                .map_or_else(|| history.last().unwrap(), |(_, model)| model);
            let mut model = last.clone();
            let attempt = worker.prepare(changes)?;
            model.apply(changes);
            *sealed = Some(attempt);
            history.extend(prepared.drain(..).map(|(_, model)| model));
            history.push(model.clone());
            worker.seal(attempt);
            pinned.push((worker.views(), model));
            Ok(())
        })
    }

    fn check(&mut self) {
        let worker = self.worker.as_mut().unwrap();
        let model = self.history.last().unwrap();
        assert_eq!(worker.contents(), *model, "sealed: {:?}", self.sealed);
        let (counts, names) = worker.views();
        for key in ["a", "b", "c", "d", "e", ""].map(str::to_owned) {
            assert_eq!(counts.get(&key).unwrap().as_ref(), model.counts.get(&key));
            assert_eq!(names.get(&key).unwrap().as_ref(), model.names.get(&key));
        }
        let range = "a".to_owned()..="c".to_owned();
        let scanned: Vec<_> = counts
            .scan_range(range.clone())
            .collect::<Result<_>>()
            .unwrap();
        let expected: Vec<_> = model
            .counts
            .range(range)
            .map(|(key, value)| (key.clone(), *value))
            .collect();
        assert_eq!(scanned, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn memory_agrees_with_history(steps in proptest::collection::vec(step(), 1..40)) {
        World::new(&support::memory(), None).run(&steps);
    }

    #[test]
    fn memory_survives_a_crash_anywhere(
        steps in proptest::collection::vec(step(), 1..30), at in 0_usize..20, before in any::<bool>(),
    ) {
        let moment = if before { Moment::Before } else { Moment::After };
        World::new(&support::memory(), Some((at, moment))).run(&steps);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn rocks_agrees_with_history(steps in proptest::collection::vec(step(), 1..30)) {
        World::new(&support::rocks(), None).run(&steps);
    }

    #[test]
    fn rocks_survives_a_crash_anywhere(
        steps in proptest::collection::vec(step(), 1..30), at in 0_usize..20, before in any::<bool>(),
    ) {
        let moment = if before { Moment::Before } else { Moment::After };
        World::new(&support::rocks(), Some((at, moment))).run(&steps);
    }
}

/// One long script, crashed at every single call, before and after it.
#[test]
fn every_call_of_a_script_may_be_the_last() {
    let batch = |key: &str, count| {
        let names = vec![(key.to_owned(), Change::Put(format!("{key}{count}")))];
        let counts = vec![
            (key.to_owned(), Change::Delta(count)),
            ("all".to_owned(), Change::Delta(count)),
        ];
        Changes { counts, names }
    };
    let remove = Changes {
        counts: vec![("a".to_owned(), Change::Remove)],
        ..Changes::default()
    };
    let script = [
        Step::Batch(batch("a", 1)),
        Step::Batch(batch("b", 2)),
        Step::Seal(1),
        Step::Publish,
        Step::Fold(batch("a", 4)),
        Step::Seal(0),
        Step::Rewind,
        Step::Batch(remove),
        Step::View,
        Step::Seal(0),
        Step::Fold(batch("c", 8)),
        Step::Publish,
        Step::Seal(0),
        Step::Fold(batch("a", 16)),
        Step::Restart(3),
        Step::Batch(batch("d", 32)),
        Step::Seal(0),
    ];
    let mut crashes = 0;
    for moment in [Moment::Before, Moment::After] {
        for at in 0.. {
            let medium = support::memory();
            let world = World::new(&medium, Some((at, moment))).run(&script);
            crashes += world.crashes;
            if world.crashes == 0 {
                break;
            }
        }
    }
    assert!(crashes > 30, "{crashes} crashes");
}
