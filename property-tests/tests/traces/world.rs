//! Coordinators, two workers' stores and a ledger, and a hand that carries every message, when it likes and as often as it likes.

mod worker;

use std::collections::BTreeMap;

use fulmar::coordinator::{
    Action, Cause, CauseKind, Coordinator, Epoch, Event, Fingerprint, LedgerRecord, MemoryLedger,
    Micros, More, PartitionMove, Phase, ReadReport, Replays, Settings, SpoutInfo, Version,
    WorkerId, Write, WriteOutcome, WriterId, edge_id, prepare_id,
};
use fulmar::state::{
    Attempt, Entry, Generation, MemoryStorage, Rewind, RewindOutcome, SealOutcome, StateError,
    Store, TxId,
};

use worker::{Worker, copy, families, open};

const WORKERS: u32 = 2;

struct Core {
    coordinator: Coordinator,
    writer: WriterId,
    told: Vec<Action>,
    write: Option<Write>,
    writes: Vec<Write>,
    now_ms: u64,
}

/// What an attempt builds on, and what it holds: each has its own.
type Content = (Option<Attempt>, u64);

pub(crate) struct World {
    pub(crate) ledger: MemoryLedger,
    cores: Vec<Core>,
    workers: Vec<Worker>,
    issued: BTreeMap<Attempt, Content>,
    /// What the ledger sealed, in order, by the world's own account.
    sealed: Vec<(Attempt, u64)>,
}

fn settings() -> Settings {
    Settings {
        topology: "traces".into(),
        workers: (0..WORKERS).map(WorkerId).collect(),
        spouts: vec![SpoutInfo {
            name: "lines".into(),
            replays: Replays::Any,
        }],
        timeout_ms: 1000,
        retry_ms: 100,
        ..Settings::default()
    }
}

impl World {
    pub(crate) fn new() -> World {
        let worker = |_| Worker {
            storage: MemoryStorage::new(&families()),
            store: None,
            old: false,
        };
        World {
            ledger: MemoryLedger::new(),
            cores: vec![],
            workers: (0..WORKERS).map(worker).collect(),
            issued: BTreeMap::new(),
            sealed: vec![],
        }
    }

    pub(crate) fn core(&self, core: usize) -> &Coordinator {
        &self.cores[core].coordinator
    }

    /// All that the coordinator has wanted so far.
    pub(crate) fn told(&self, core: usize) -> &[Action] {
        &self.cores[core].told
    }

    pub(crate) fn sealed(&self) -> &[(Attempt, u64)] {
        &self.sealed
    }

    pub(crate) fn store(&mut self, worker: usize) -> &mut Store {
        let Worker { storage, store, .. } = &mut self.workers[worker];
        store.get_or_insert_with(|| open(storage, worker))
    }

    pub(crate) fn event(&mut self, core: usize, event: Event) {
        let core = &mut self.cores[core];
        let step = core.coordinator.step(event);
        if let Some(write) = step.record.map(|write| *write) {
            core.write = Some(write.clone());
            core.writes.push(write);
        }
        for action in &step.actions {
            if let Action::Issue(batch) = action {
                let content = self.issued.len() as u64 + 1;
                let before = self.issued.insert(batch.attempt, (batch.base, content));
                assert_eq!(before, None, "attempts are never reused");
            }
        }
        core.told.extend(step.actions);
        self.check();
    }

    pub(crate) fn tick(&mut self, core: usize, ms: u64) {
        self.cores[core].now_ms += ms;
        let (now, wall_ms) = (
            Micros::from_ms(self.cores[core].now_ms),
            self.cores[core].now_ms,
        );
        self.event(core, Event::Tick { now, wall_ms });
    }

    /// A candidate, and the fence it would write.
    pub(crate) fn candidate(&mut self) -> (usize, Write) {
        let writer = WriterId(self.cores.len() as u128 + 1);
        let (record, expected) = match self.ledger.peek() {
            Some((record, version)) => (record, version),
            None => (
                LedgerRecord::new("traces", Fingerprint::new()),
                Version::ABSENT,
            ),
        };
        let record = LedgerRecord {
            epoch: Epoch(record.epoch.0 + 1),
            writer,
            ..record
        };
        self.cores.push(Core {
            coordinator: Coordinator::new(settings()).unwrap(),
            writer,
            told: vec![],
            write: None,
            writes: vec![],
            now_ms: 0,
        });
        (self.cores.len() - 1, Write { record, expected })
    }

    /// The fence reaches the ledger; the coordinator hears of it only if it is its own that is there.
    pub(crate) fn try_fence(&mut self, core: usize, fence: &Write) -> WriteOutcome {
        let outcome = self.ledger.write_now(&fence.record, fence.expected);
        let settled = outcome.clone().settle(&fence.record, fence.expected);
        if let fulmar::coordinator::ledger::Settled::Applied(version) = settled {
            assert_eq!(
                self.ledger.peek().unwrap().0.writer,
                self.cores[core].writer
            );
            self.tick(core, 10);
            let record = fence.record.clone();
            self.event(
                core,
                Event::Fenced {
                    record: Box::new(record),
                    version,
                },
            );
        }
        outcome
    }

    /// A new term, of which the workers have not heard.
    pub(crate) fn take_over_unanswered(&mut self) -> usize {
        let (core, fence) = self.candidate();
        assert!(matches!(
            self.try_fence(core, &fence),
            WriteOutcome::Applied(_)
        ));
        core
    }

    pub(crate) fn take_over(&mut self) -> usize {
        let core = self.take_over_unanswered();
        self.rewind_all(core);
        core
    }

    /// The newest rewind of a coordinator.
    pub(crate) fn rewind_of(&self, core: usize) -> Rewind {
        let rewind = |action: &Action| match action {
            Action::Rewind {
                generation, sealed, ..
            } => Some(Rewind {
                generation: *generation,
                sealed: *sealed,
            }),
            _ => None,
        };
        self.told(core)
            .iter()
            .rev()
            .find_map(rewind)
            .expect("it has rewound")
    }

    /// A worker gets a rewind, and its answer arrives.
    pub(crate) fn rewind(
        &mut self,
        core: usize,
        worker: usize,
        to: Rewind,
    ) -> Result<RewindOutcome, StateError> {
        let outcome = self.store(worker).rewind(to);
        let answer = match &outcome {
            Ok(RewindOutcome::Older { .. }) => None,
            Ok(_) => Some(Ok(())),
            Err(error) => Some(Err(error.to_string())),
        };
        if let Some(answer) = answer {
            let event = Event::Rewound {
                worker: WorkerId(worker as u32),
                generation: to.generation,
                outcome: answer,
            };
            self.event(core, event);
        }
        outcome
    }

    pub(crate) fn rewind_all(&mut self, core: usize) {
        let to = self.rewind_of(core);
        for worker in 0..WORKERS as usize {
            let outcome = self.rewind(core, worker, to).unwrap();
            assert!(
                !matches!(outcome, RewindOutcome::Older { .. }),
                "{outcome:?}"
            );
        }
    }

    /// The oldest attempt in flight.
    pub(crate) fn live(&self, core: usize) -> Option<Attempt> {
        self.core(core).in_flight().next()
    }

    /// A batch is issued and read.
    pub(crate) fn issue(&mut self, core: usize) -> Attempt {
        if self.core(core).in_flight().next().is_none() {
            let generation = self.core(core).generation();
            self.event(
                core,
                Event::Ready {
                    spout: 0,
                    generation,
                },
            );
        }
        let attempt = self.live(core).expect("a batch is issued");
        let position = |txid: u64| txid.to_be_bytes().to_vec();
        let before = attempt.txid.0 - 1;
        let step = PartitionMove {
            partition: "0".into(),
            from: (before > 0).then(|| position(before)),
            to: position(attempt.txid.0),
            records: 1,
            digest: None,
        };
        let report = ReadReport {
            moves: vec![step],
            records: 1,
            bytes: 1,
            more: More::Waiting,
        };
        let xor = (0..WORKERS).fold(0, |xor, worker| xor ^ edge_id(attempt, 0, 0, worker, 0));
        self.event(
            core,
            Event::Read {
                attempt,
                spout: 0,
                report,
                xor,
            },
        );
        attempt
    }

    /// A worker gets a batch that no coordinator has issued yet.
    pub(crate) fn append(
        &mut self,
        worker: usize,
        txid: TxId,
        generation: Generation,
        base: Attempt,
    ) -> Result<(), StateError> {
        let entry = Entry {
            attempt: Attempt::new(txid, generation),
            base: Some(base),
            ..Entry::default()
        };
        self.store(worker).append(&[entry])
    }

    /// A worker has processed its share, and appends it to its log.
    pub(crate) fn prepare(&mut self, worker: usize, attempt: Attempt) -> Result<(), StateError> {
        let (base, content) = self.issued[&attempt];
        let entry = Entry {
            attempt,
            base,
            time_ms: content,
            ..Entry::default()
        };
        let outcome = self.store(worker).append(&[entry]);
        self.check();
        outcome
    }

    /// A worker's acknowledgement arrives.
    pub(crate) fn ack(&mut self, core: usize, worker: u32, attempt: Attempt) {
        let xor = edge_id(attempt, 0, 0, worker, 0) ^ prepare_id(attempt, WorkerId(worker));
        self.event(core, Event::Ack { attempt, xor });
    }

    pub(crate) fn fail(&mut self, core: usize, attempt: Attempt) {
        let cause = Cause::new(CauseKind::Timeout, "it took too long");
        self.event(core, Event::Failed { attempt, cause });
    }

    pub(crate) fn prepared_everywhere(&mut self, core: usize) -> Attempt {
        let attempt = self.issue(core);
        for worker in 0..WORKERS {
            self.prepare(worker as usize, attempt).unwrap();
            self.ack(core, worker, attempt);
        }
        attempt
    }

    /// The write that waits for its outcome.
    pub(crate) fn write_of(&self, core: usize) -> Option<Write> {
        self.cores[core].write.clone()
    }

    pub(crate) fn outcome(&mut self, core: usize, outcome: WriteOutcome) {
        let write = self.cores[core]
            .writes
            .last()
            .expect("something was written");
        let expected = write.expected;
        self.cores[core].write = None;
        self.event(core, Event::Ledger { expected, outcome });
    }

    /// The outstanding write reaches the ledger, and the coordinator hears of it.
    pub(crate) fn apply(&mut self, core: usize) {
        let outcome = self.apply_unheard(core);
        self.outcome(core, outcome);
    }

    pub(crate) fn apply_unheard(&mut self, core: usize) -> WriteOutcome {
        let write = self.write_of(core).expect("a write is outstanding");
        self.reach(&write)
    }

    /// The first write of the coordinator reaches the ledger, again or at last.
    pub(crate) fn apply_late(&mut self, core: usize) -> WriteOutcome {
        let write = self.cores[core].writes[0].clone();
        self.reach(&write)
    }

    fn reach(&mut self, write: &Write) -> WriteOutcome {
        let outcome = self.ledger.write_now(&write.record, write.expected);
        if matches!(outcome, WriteOutcome::Applied(_)) {
            let before = self.sealed.last().map(|sealed| sealed.0);
            let (mut link, mut new) = (write.record.sealed, vec![]);
            while let Some(attempt) = link.filter(|_| link != before) {
                let (base, content) = self.issued[&attempt];
                new.push((attempt, content));
                link = base;
            }
            assert_eq!(link, before, "what is sealed builds on what was");
            self.sealed.extend(new.into_iter().rev());
        }
        self.check();
        outcome
    }

    /// A worker's process ends and another begins, which the coordinator hears.
    pub(crate) fn crash(&mut self, core: usize, worker: usize) {
        self.crash_unheard(worker);
        let cause = Cause::new(CauseKind::WorkerLost, "it crashed");
        let worker = WorkerId(worker as u32);
        self.event(core, Event::Restarted { worker, cause });
    }

    pub(crate) fn crash_unheard(&mut self, worker: usize) {
        self.workers[worker].store = None;
        self.check();
    }

    pub(crate) fn snapshot(&self, worker: usize) -> MemoryStorage {
        copy(&self.workers[worker].storage)
    }

    /// Another disk is put in the place of a worker's, which has ended.
    pub(crate) fn put_back(&mut self, worker: usize, disk: MemoryStorage, old: bool) {
        self.workers[worker] = Worker {
            storage: disk,
            store: None,
            old,
        };
    }

    /// An older ledger is put back; the world's own account begins anew.
    pub(crate) fn forget_sealed(&mut self, old: Option<(LedgerRecord, Version)>) {
        self.ledger.replace(old);
        self.sealed.clear();
    }

    /// Every worker gets the notice of what is sealed.
    pub(crate) fn note_all(&mut self, core: usize) {
        let Some((attempt, _)) = self.sealed.last().copied() else {
            return;
        };
        for worker in 0..WORKERS {
            let noted = self.store(worker as usize).seal(attempt);
            assert_ne!(noted, SealOutcome::NotMine);
            let worker = WorkerId(worker);
            self.event(
                core,
                Event::SealAcked {
                    worker,
                    txid: attempt.txid,
                },
            );
        }
    }

    /// No further fault: two more batches are sealed.
    pub(crate) fn finish(&mut self, core: usize) {
        let wanted = self.sealed.len() + 2;
        for _ in 0..50 {
            assert_ne!(self.core(core).phase(), Phase::Over);
            if self.write_of(core).is_some() {
                self.apply(core);
            }
            if self.sealed.len() >= wanted {
                self.note_all(core);
                return;
            }
            self.rewind_all(core);
            if self.write_of(core).is_some() {
                continue;
            }
            if self.core(core).phase() != Phase::Running {
                self.tick(core, 200);
                continue;
            }
            let attempt = self.issue(core);
            for worker in 0..WORKERS {
                if self.store(worker as usize).newest() < attempt.txid {
                    self.prepare(worker as usize, attempt).unwrap();
                }
                self.ack_once(core, worker, attempt);
            }
        }
        panic!("it does not come to its end: {:?}", self.core(core));
    }

    /// What was acknowledged before is not again: a second one would take the first back, and the attempt would time out.
    fn ack_once(&mut self, core: usize, worker: u32, attempt: Attempt) {
        if self.write_of(core).is_none() {
            self.ack(core, worker, attempt);
        }
        if worker + 1 == WORKERS && self.write_of(core).is_none() {
            self.fail(core, attempt);
        }
    }
}
