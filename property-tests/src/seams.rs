//! A world whose every call of storage, ledger and sinks has a number, and which crashes at a chosen one.
//!
//! The data outlives the crash: [`World::home`] on the same [`Disk`] is the next process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use fulmar::coordinator::{Error, Ledger, LedgerRecord, MemoryLedger, Version, WriteOutcome};
use fulmar::sink::{Part, Sink, SinkError};
use fulmar::state::backend::Write;
use fulmar::state::codec::Reader;
use fulmar::state::{
    Durable, Family, MemoryStorage, Snapshot, SortedSink, StateError, StateFamily, Storage, TxId,
    WriteBatch,
};
use fulmar::{ExchangeData, Home};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;

/// What a call is for, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The store's first records.
    Begin,
    /// The ledger is read.
    Load,
    /// The ledger is fenced.
    Fence,
    /// A rewind is made durable.
    Rewind,
    /// A record or a snapshot is read: at a start, for a query, for a base.
    Read,
    /// Batches are appended to the log.
    Prepare,
    /// Batches are sealed by the ledger.
    Seal,
    /// A part is given to a sink.
    Publish,
    /// It is written down what was published.
    Published,
    /// A state's fold is ingested.
    Flush,
    /// A fold is recorded, and entries removed.
    FinishFold,
}

/// What happens at the chosen call. Afterwards all is dead, but for [`Fault::Blip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone before the call has an effect.
    Before,
    /// The call has its effect, and nobody hears of it.
    After,
    /// The call says that the disk is full, and has no effect; later calls fail alike.
    Full,
    /// A ledger write has its effect, and its outcome is unknown; then all is dead.
    Unknown,
    /// A ledger write's outcome is unknown, whether it has its effect or not; all goes on.
    Blip {
        /// Whether it has.
        applied: bool,
    },
}

/// What survives.
#[derive(Clone, Default)]
pub struct Disk {
    storage: Arc<Mutex<Option<MemoryStorage>>>,
    /// What is sealed.
    pub ledger: MemoryLedger,
    sinks: Arc<Mutex<Outside>>,
}

/// What sinks have taken, encoded, by part.
#[derive(Default)]
struct Outside {
    parts: BTreeMap<(String, TxId, u16), Vec<u8>>,
    complaints: Vec<String>,
}

/// One process's life on a disk.
#[derive(Clone)]
pub struct World {
    disk: Disk,
    calls: Arc<Mutex<Calls>>,
    dead: Arc<AtomicBool>,
    died: Arc<Notify>,
}

struct Calls {
    made: Vec<Phase>,
    fault: Option<(usize, Fault)>,
    head: Vec<u64>,
}

/// What a call has to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Go,
    GoThenDie,
    Die,
    Unknown { applied: bool, dies: bool },
}

impl World {
    /// A process on this disk in which the `call`-th call (from 0) meets a fault.
    #[must_use]
    pub fn on(disk: &Disk, fault: Option<(usize, Fault)>) -> World {
        let calls = Calls {
            made: Vec::new(),
            fault,
            head: Vec::new(),
        };
        World {
            disk: disk.clone(),
            calls: Arc::new(Mutex::new(calls)),
            dead: Arc::default(),
            died: Arc::default(),
        }
    }

    /// What a topology with these states runs on.
    #[must_use]
    pub fn home(&self, states: &[StateFamily]) -> Home {
        let mut slot = lock(&self.disk.storage);
        let storage = slot
            .get_or_insert_with(|| MemoryStorage::new(states))
            .reopen(states);
        Home {
            ledger: Box::new(SeamLedger {
                world: self.clone(),
                inner: self.disk.ledger.clone(),
            }),
            storage: Arc::new(SeamStorage {
                world: self.clone(),
                inner: storage,
            }),
        }
    }

    /// A sink of this world, idempotent by part.
    #[must_use]
    pub fn sink(&self) -> SeamSink {
        SeamSink(self.clone())
    }

    /// The calls made so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Phase> {
        lock(&self.calls).made.clone()
    }

    /// Whether the fault has struck and all is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(SeqCst)
    }

    /// Waits until all is dead.
    pub async fn died(&self) {
        loop {
            let died = self.died.notified();
            if self.is_dead() {
                return;
            }
            died.await;
        }
    }

    fn die(&self) {
        self.dead.store(true, SeqCst);
        self.died.notify_waiters();
    }

    /// Numbers a call.
    fn call(&self, phase: Phase) -> Verdict {
        if self.is_dead() {
            return Verdict::Die;
        }
        let mut calls = lock(&self.calls);
        let number = calls.made.len();
        calls.made.push(phase);
        let struck = calls.fault.filter(|(at, _)| *at == number);
        drop(calls);
        match struck.map(|(_, fault)| fault) {
            None => Verdict::Go,
            Some(Fault::Before | Fault::Full) => {
                self.die();
                Verdict::Die
            }
            Some(Fault::After) => Verdict::GoThenDie,
            Some(Fault::Unknown) => Verdict::Unknown {
                applied: true,
                dies: true,
            },
            Some(Fault::Blip { applied }) => Verdict::Unknown {
                applied,
                dies: false,
            },
        }
    }

    /// Numbers a call and makes it; `None` if nobody hears of its outcome.
    fn make<T>(&self, phase: Phase, call: impl FnOnce() -> T) -> Option<T> {
        match self.call(phase) {
            Verdict::Go => Some(call()),
            Verdict::Die => None,
            Verdict::GoThenDie | Verdict::Unknown { .. } => {
                // The effect first, so that nothing that is done in its knowledge can come before it.
                drop(call());
                self.die();
                None
            }
        }
    }

    fn gone(&self) -> StateError {
        let full = matches!(lock(&self.calls).fault, Some((_, Fault::Full)));
        let (path, doing) = ("memory".into(), "it was crashed by a test".to_owned());
        if full {
            StateError::DiskFull { path, doing }
        } else {
            StateError::Io {
                path,
                doing,
                message: "all is dead".into(),
            }
        }
    }

    fn phase_of(&self, batch: &WriteBatch) -> Phase {
        phase_of(batch, &mut lock(&self.calls).head)
    }
}

/// What a write to the store is for: told by what it holds, and by the head that was written before.
pub(crate) fn phase_of(batch: &WriteBatch, last_head: &mut Vec<u64>) -> Phase {
    let put = |wanted: Family, name: &[u8]| {
        batch.changes.iter().find_map(|change| match change {
            Write::Put(family, key, value)
                if *family == wanted && (name.is_empty() || key == name) =>
            {
                Some(value)
            }
            _ => None,
        })
    };
    let head = put(Family::Meta, b"head").map(|head| head_of(head));
    let old = head
        .clone()
        .map_or_else(Vec::new, |head| std::mem::replace(last_head, head));
    if put(Family::Log, b"").is_some() {
        return Phase::Prepare;
    }
    match (put(Family::Meta, b"format"), head) {
        (Some(_), _) => Phase::Begin,
        // Generation (two numbers), then what is folded, then what is published.
        (None, Some(head)) if old.get(..2) != head.get(..2) => Phase::Rewind,
        (None, Some(head)) if old.get(2) != head.get(2) => Phase::FinishFold,
        (None, _) => Phase::Published,
    }
}

/// Epoch and number of the highest generation, the folded txid, the published one.
fn head_of(framed: &[u8]) -> Vec<u64> {
    const HEADER: usize = 9;
    let mut reader = Reader::new(&framed[HEADER..]);
    let highest = reader.generation().unwrap();
    let folded = reader
        .attempt_option()
        .unwrap()
        .map_or(0, |attempt| attempt.txid.0);
    vec![
        highest.epoch.0,
        highest.number,
        folded,
        reader.varint("published").unwrap(),
    ]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct SeamStorage {
    world: World,
    inner: MemoryStorage,
}

impl Storage for SeamStorage {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<(), StateError> {
        let phase = self.world.phase_of(&batch);
        let made = self.world.make(phase, || self.inner.write(batch, durable));
        made.unwrap_or_else(|| Err(self.world.gone()))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let made = self.world.make(Phase::Read, || self.inner.get(family, key));
        made.unwrap_or_else(|| Err(self.world.gone()))
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StateError> {
        let made = self.world.make(Phase::Read, || self.inner.snapshot());
        made.unwrap_or_else(|| Err(self.world.gone()))
    }

    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let made = self
            .world
            .make(Phase::Flush, || self.inner.ingest(family, fill));
        made.unwrap_or_else(|| Err(self.world.gone()))
    }
}

struct SeamLedger {
    world: World,
    inner: MemoryLedger,
}

fn dead() -> Error {
    Error::Unreachable {
        what: "the ledger was crashed by a test".into(),
    }
}

impl Ledger for SeamLedger {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>, Error>> {
        let held = self
            .world
            .make(Phase::Load, || self.inner.peek())
            .ok_or_else(dead);
        async move { held }.boxed()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        let old = self.inner.peek().map(|(record, _)| record.epoch);
        let phase = if old == Some(record.epoch) {
            Phase::Seal
        } else {
            Phase::Fence
        };
        let outcome = match self.world.call(phase) {
            Verdict::Go => self.inner.write_now(record, expected),
            Verdict::Die => WriteOutcome::Failed(dead()),
            Verdict::GoThenDie => {
                self.inner.write_now(record, expected);
                self.world.die();
                WriteOutcome::Failed(dead())
            }
            Verdict::Unknown { applied, dies } => {
                if applied {
                    self.inner.write_now(record, expected);
                }
                if dies {
                    self.world.die();
                }
                WriteOutcome::Unknown("lost by a test".into())
            }
        };
        async move { outcome }.boxed()
    }
}

/// Takes each part once, and complains of a repetition that is not the same, or that comes out of order.
pub struct SeamSink(World);

impl<T: ExchangeData> Sink<T> for SeamSink {
    fn publish(&mut self, part: &Part, records: Vec<T>) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        fulmar::state::codec::encode(&records, &mut bytes).map_err(SinkError::permanent)?;
        let made = self.0.make(Phase::Publish, || {
            lock(&self.0.disk.sinks).take(part, bytes)
        });
        made.ok_or_else(|| SinkError::retry("crashed by a test"))
    }
}

impl Outside {
    fn take(&mut self, part: &Part, bytes: Vec<u8>) {
        let key = (part.sink.to_string(), part.txid, part.partition);
        match self.parts.get(&key) {
            Some(taken) if *taken != bytes => self
                .complaints
                .push(format!("{part:?} came again with other records")),
            Some(_) => {}
            None => {
                let newest = self
                    .parts
                    .keys()
                    .filter(|(sink, ..)| *sink == key.0)
                    .map(|(_, txid, _)| *txid)
                    .max();
                if newest > Some(part.txid) {
                    self.complaints
                        .push(format!("{part:?} came first after {newest:?}"));
                }
                self.parts.insert(key, bytes);
            }
        }
    }
}

impl Disk {
    /// What a sink has taken, by batch; the parts of a batch in their order.
    #[must_use]
    pub fn taken<T: ExchangeData>(&self, sink: &str) -> BTreeMap<u64, Vec<T>> {
        let mut taken: BTreeMap<u64, Vec<T>> = BTreeMap::new();
        for ((_, txid, _), bytes) in lock(&self.sinks)
            .parts
            .iter()
            .filter(|((name, ..), _)| name == sink)
        {
            let records: Vec<T> = fulmar::state::codec::decode(bytes).unwrap();
            taken.entry(txid.0).or_default().extend(records);
        }
        taken
    }

    /// What sinks were given that they must not be given.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.sinks).complaints.clone()
    }
}
