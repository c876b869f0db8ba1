//! The store itself, over a storage that outlives it, and what must hold after each step.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use fulmar_state::{
    Attempt, Entry, Generation, OutboxPart, Result, Rewind, RewindOutcome, SealOutcome, StateError,
    Store, TxId,
};
use proptest_state_machine::StateMachineTest;

use crate::checks::{check_disk, check_ranges, read};
use crate::folding::Folding;
use crate::reference::{Call, Reference};
use crate::step::{KEYS, Misfit, Op, Step, To};
use crate::support::faulty::Faults;
use crate::support::{
    Counts, Executor, Faulty, Medium, Model, Moment, Names, Worker, contents, identity, schemas,
};

/// A kind of storage to run on.
pub(crate) trait Kind: 'static {
    type Medium: Medium;
    fn make() -> Self::Medium;
}

struct Process {
    worker: Worker,
    faults: Arc<Faults>,
    /// Processed, and not yet prepared.
    waiting: Vec<Entry>,
    folding: Option<Folding>,
    pins: Vec<((Counts, Names), Arc<Model>)>,
    /// What it showed when it was looked at last.
    shown: Arc<Model>,
}

pub(crate) struct World<K: Kind> {
    process: Option<Process>,
    medium: K::Medium,
    /// What the sink outside has taken.
    sink: BTreeMap<usize, Attempt>,
    pub(crate) crashes: usize,
}

/// The store on a kind of storage, tested against the [`Reference`].
pub(crate) struct Tested<K>(PhantomData<K>);

impl<K: Kind> StateMachineTest for Tested<K> {
    type SystemUnderTest = World<K>;
    type Reference = Reference;

    fn init_test(_: &Reference) -> World<K> {
        World {
            process: None,
            medium: K::make(),
            sink: BTreeMap::new(),
            crashes: 0,
        }
    }

    fn apply(mut world: World<K>, model: &Reference, step: Step) -> World<K> {
        Tested::step(&mut world, model, &step);
        world
    }

    fn teardown(mut world: World<K>, _: Reference) {
        world.die();
    }
}

impl<K: Kind> Tested<K> {
    /// Carries a step out, which has led to this model.
    pub(crate) fn step(world: &mut World<K>, model: &Reference, step: &Step) {
        let outcome = world.carry_out(&step.op, model);
        if model.call.fault.is_none() {
            outcome.unwrap_or_else(|error| panic!("{step:?}: {error}"));
            world.check_writes(model);
        } else {
            outcome.expect_err("a write that failed is answered so");
            world.crashes += 1;
            world.check_failed(&step.op);
        }
        if model.call.dies {
            world.die();
        }
        world.check(model);
    }
}

fn rewind(generation: Generation, sealed: Option<Attempt>) -> Rewind {
    Rewind { generation, sealed }
}

fn outbox(attempt: Attempt) -> Vec<OutboxPart> {
    let bytes = attempt.to_string().into_bytes();
    vec![OutboxPart {
        sink: "out".to_owned(),
        partition: 0,
        records: 1,
        bytes,
    }]
}

impl<K: Kind> World<K> {
    fn carry_out(&mut self, op: &Op, model: &Reference) -> Result<()> {
        let call = &model.call;
        if let Op::Start { executors, again } = op {
            return self.start(*executors, *again, model);
        }
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        process.faults.arm(call.fault);
        match op {
            Op::Publish { .. } => publish(process, &mut self.sink, model),
            _ => process.carry_out(op, model),
        }
    }

    fn start(&mut self, executors: u16, again: bool, model: &Reference) -> Result<()> {
        let faulty = Faulty::new(self.medium.open(), usize::MAX, Moment::Before);
        let faults = faulty.faults();
        faults.arm(model.call.fault);
        let mut store = Store::open(Arc::new(faulty), &identity(), &schemas())?;
        let highest = store.highest();
        if again && highest > Generation::default() {
            let newest = store.newest();
            assert_eq!(
                store.rewind(rewind(highest, model.call.attempt)),
                Ok(RewindOutcome::Again)
            );
            assert_eq!(
                (store.newest(), store.sealed()),
                (newest, model.call.attempt),
                "an equal rewind drops nothing"
            );
        }
        let worker = Worker::begin(
            store,
            rewind(model.generation, model.call.attempt),
            executors,
        )?;
        self.process = Some(Process {
            worker,
            faults,
            waiting: vec![],
            folding: None,
            pins: vec![],
            shown: Arc::default(),
        });
        Ok(())
    }

    /// The steps are as small as they claim, so that a crash can fall between any two writes.
    fn check_writes(&self, model: &Reference) {
        if let Some(process) = &self.process {
            assert_eq!(
                process.faults.calls(),
                model.call.writes,
                "writes of one step"
            );
        }
    }

    /// A store whose write failed takes nothing more, and what it showed it still shows.
    fn check_failed(&mut self, op: &Op) {
        let Some(process) = &mut self.process else {
            return;
        };
        // A fold runs beside the store, on another thread; its failure is no write of the store's.
        if !matches!(op, Op::Ingest) {
            let store = &mut process.worker.store;
            assert!(store.record_published().is_err() && store.append(&[]).is_err());
        }
        assert_eq!(
            process.worker.contents(),
            *process.shown,
            "shown after a write that failed"
        );
        process.check_pins();
    }

    fn die(&mut self) {
        if let Some(process) = self.process.take() {
            process.check_pins();
        }
    }

    fn check(&mut self, model: &Reference) {
        let storage = match &self.process {
            Some(process) => Arc::clone(process.worker.store.storage()),
            None => self.medium.open(),
        };
        check_disk(&*storage, model);
        drop(storage);
        if let (Some(process), Some(expected)) = (&mut self.process, &model.process) {
            process.check(expected.told, model);
            process.check_pins();
        }
        let taken: Vec<_> = self
            .sink
            .iter()
            .map(|(txid, attempt)| (*txid, Some(*attempt)))
            .collect();
        let sealed: Vec<_> = (1..=model.sunk)
            .map(|txid| (txid, model.attempt(txid)))
            .collect();
        assert_eq!(
            taken, sealed,
            "I5: sinks have each sealed batch, and nothing else"
        );
    }
}

/// Hands outboxes to the sink, which knows a repetition, up to where the model is now.
fn publish(
    process: &mut Process,
    sink: &mut BTreeMap<usize, Attempt>,
    model: &Reference,
) -> Result<()> {
    let upto = match &model.process {
        Some(process) => process.published,
        // The process ended after it.
        None => model.sunk,
    };
    for txid in process.worker.store.published().0 as usize + 1..=upto {
        let entry = process
            .worker
            .store
            .entry(TxId(txid as u64))?
            .expect("I7: an entry stays until it is published");
        assert_eq!(entry.outbox, outbox(entry.attempt));
        let taken = *sink.entry(txid).or_insert(entry.attempt);
        assert_eq!(taken, entry.attempt, "a repetition is the same");
    }
    process.worker.store.publish_done(TxId(upto as u64));
    Ok(())
}

impl Process {
    fn carry_out(&mut self, op: &Op, model: &Reference) -> Result<()> {
        let call = &model.call;
        match op {
            Op::Process(changes) => {
                let mut entry = self.worker.process(changes)?;
                entry.outbox = outbox(entry.attempt);
                self.waiting.push(entry);
            }
            Op::Prepare { count } => {
                let count = (*count).clamp(1, self.waiting.len());
                self.worker.store.append(&self.waiting[..count])?;
                self.waiting.drain(..count);
            }
            Op::Misfit(misfit) => self.misfit(*misfit, call),
            Op::Notice { .. } => {
                let attempt = call.attempt.expect("a notice is of an attempt");
                let outcome = self.worker.store.seal(attempt);
                assert_eq!(Some(outcome), call.notice, "notice of {attempt}");
                if outcome == SealOutcome::Shown {
                    self.worker.show(attempt.txid);
                }
            }
            Op::Rewind(to) => self.rewind(*to, model)?,
            Op::Pin => {
                let views = self.worker.views();
                check_ranges(&views, &self.shown);
                self.pins.push((views, Arc::clone(&self.shown)));
            }
            Op::Unpin(at) => drop(self.pins.remove(*at)),
            Op::Freeze => {
                for shard in self.worker.executors.iter_mut().flat_map(Executor::shards) {
                    shard.freeze();
                }
            }
            Op::RecordPublished => self.worker.store.record_published()?,
            Op::TakeFold => self.folding = Some(Folding::take(&mut self.worker)?),
            Op::Ingest => {
                let folding = self.folding.as_mut().expect("a fold was taken");
                folding.ingest(&self.worker)?;
            }
            Op::FinishFold => {
                let folding = self.folding.take().expect("a fold was taken");
                folding.finish(&mut self.worker)?;
            }
            Op::Start { .. } | Op::Seal { .. } | Op::Publish { .. } | Op::Rest => {}
        }
        Ok(())
    }

    fn misfit(&mut self, misfit: Misfit, call: &Call) {
        let attempt = call.attempt.expect("there is always a next batch");
        let entry = |attempt, base| Entry {
            attempt,
            base,
            ..Entry::default()
        };
        let beyond = Attempt::new(attempt.txid.next(), attempt.generation);
        let generation = Generation::new(attempt.generation.epoch.0 - 1, 99);
        let older = Attempt::new(attempt.txid, generation);
        let entries = match misfit {
            Misfit::OlderGeneration => vec![entry(older, call.base)],
            Misfit::Gap => vec![entry(beyond, Some(attempt))],
            Misfit::OtherBase => vec![entry(attempt, Some(older))],
            Misfit::SecondOfTwo => vec![entry(attempt, call.base), entry(beyond, call.base)],
        };
        let refused = self.worker.store.append(&entries);
        let expected = match misfit {
            Misfit::OlderGeneration => matches!(refused, Err(StateError::Fenced { .. })),
            _ => matches!(refused, Err(StateError::OutOfOrder { .. })),
        };
        assert!(expected, "{refused:?}");
    }

    fn rewind(&mut self, to: To, model: &Reference) -> Result<()> {
        let (attempt, highest) = (model.call.attempt, model.generation);
        let newer = Generation::new(highest.epoch.0, highest.number + 1);
        let store = &mut self.worker.store;
        match to {
            To::Sealed => {
                self.worker.rewind(rewind(highest, attempt))?;
                self.waiting.clear();
            }
            To::Again => assert_eq!(
                store.rewind(rewind(highest, attempt)),
                Ok(RewindOutcome::Again)
            ),
            To::Older => {
                let older = Generation::new(highest.epoch.0 - 1, 99);
                assert_eq!(
                    store.rewind(rewind(older, attempt)),
                    Ok(RewindOutcome::Older { highest })
                );
            }
            To::Ahead => {
                let outcome = store.rewind(rewind(newer, attempt));
                assert!(
                    matches!(outcome, Err(StateError::LostData { .. })),
                    "{outcome:?}"
                );
            }
            To::Behind => {
                let outcome = store.rewind(rewind(newer, attempt));
                assert!(
                    matches!(outcome, Err(StateError::FoldedBeyond { .. })),
                    "{outcome:?}"
                );
            }
            To::OtherAttempt => {
                let outcome = store.rewind(rewind(newer, attempt));
                assert!(
                    matches!(outcome, Err(StateError::OtherAttempt { .. })),
                    "{outcome:?}"
                );
            }
        }
        Ok(())
    }

    fn check_pins(&self) {
        for (views, model) in &self.pins {
            assert_eq!(contents(views), **model, "a pinned view does not change");
            for key in KEYS.map(str::to_owned) {
                assert_eq!(
                    views.0.get(&key),
                    Ok(model.counts.get(&key).copied()),
                    "pinned {key:?}"
                );
                assert_eq!(
                    views.1.get(&key),
                    Ok(model.names.get(&key).cloned()),
                    "pinned {key:?}"
                );
            }
        }
    }

    /// What the process says of itself, and every batch it can be read as of. Takes no view: that would freeze the overlay.
    fn check(&mut self, told: usize, model: &Reference) {
        let (store, disk) = (&self.worker.store, &model.disk);
        let published = model
            .process
            .as_ref()
            .map(|process| process.published as u64);
        assert_eq!(Some(store.published().0), published);
        let found = (
            store.highest(),
            store.folded().0,
            store.newest().0,
            store.sealed(),
        );
        assert_eq!(
            found,
            (
                disk.highest,
                disk.folded as u64,
                disk.newest as u64,
                model.attempt(told)
            )
        );
        self.shown = model.contents(told);
        for txid in told..=model.line.len() {
            let contents = read(&self.worker, TxId(txid as u64));
            assert_eq!(
                contents,
                *model.contents(txid),
                "as of batch {txid}; {told} is sealed"
            );
        }
    }
}
