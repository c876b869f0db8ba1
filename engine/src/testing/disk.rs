//! A worker's disk: a storage in memory that outlives the process, fails when it is told to, forgets what was not made durable when it
//! loses power, and keeps a journal for the oracle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fulmar_state::backend::Write;
use fulmar_state::codec::Reader;
use fulmar_state::{
    Attempt, Durable, Family, Generation, MemoryStorage, Snapshot, SortedSink, StateError,
    StateFamily, StateId, Storage, TxId, WriteBatch,
};

use super::fault::{DiskFault, Kind};

/// What a write that is durable did to the batch log, the head and the folded data, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// An entry was added.
    Put(Attempt, Option<Attempt>),
    /// An entry was removed.
    Delete(TxId),
    /// Highest generation, folded and published batch.
    Head(Generation, TxId, TxId),
    /// A state's data holds everything up to this batch.
    Folded(StateId, TxId),
    /// All of one write is told.
    Done,
}

/// Who waits for a write that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Recorder,
    Flusher,
}

/// What happened since the last look.
#[derive(Default)]
pub(super) struct News {
    pub(super) notes: Vec<Note>,
    /// Faults that have struck.
    pub(super) struck: Vec<Kind>,
    /// Somebody waits for so many milliseconds.
    pub(super) stall: Option<(Waits, u16)>,
    /// So many writes are gone with the power.
    pub(super) lost: u64,
}

/// A worker's disk.
#[derive(Clone)]
pub(super) struct Disk {
    storage: MemoryStorage,
    health: Arc<Mutex<Health>>,
    /// Whether anything happened since the last look.
    stirred: Arc<AtomicBool>,
}

#[derive(Default)]
struct Health {
    /// What waits for a write, for a write of a fold, and for a look.
    writes: VecDeque<DiskFault>,
    folds: VecDeque<DiskFault>,
    looks: VecDeque<DiskFault>,
    /// The process is to die of it.
    deadly: bool,
    /// With the process the power goes: so many writes stay that are not durable.
    dark: Option<usize>,
    /// Some call failed: the process may end with any error.
    failed: bool,
    news: News,
    /// Writes that a loss of power takes away, oldest first.
    unsynced: Vec<Unsynced>,
    forgets: bool,
}

/// A write that can be read, but is not durable.
struct Unsynced {
    notes: Vec<Note>,
    /// What puts everything back as it was.
    undo: WriteBatch,
}

/// What becomes of a write.
struct Outcome {
    applied: bool,
    synced: bool,
    error: Option<StateError>,
}

impl Disk {
    /// A disk for these states. One that `forgets` makes nothing durable, whatever it is asked for.
    pub(super) fn new(states: &[StateFamily], forgets: bool) -> Self {
        let health = Health {
            forgets,
            ..Health::default()
        };
        Disk {
            storage: MemoryStorage::new(states),
            health: Arc::new(Mutex::new(health)),
            stirred: Arc::default(),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, fault: DiskFault, in_fold: bool) {
        let mut health = self.health();
        match fault {
            DiskFault::Unreadable => health.looks.push_back(fault),
            _ if in_fold => health.folds.push_back(fault),
            _ => health.writes.push_back(fault),
        }
    }

    /// No fault is waiting to strike any more.
    pub(super) fn mend(&self) {
        let mut health = self.health();
        health.writes.clear();
        health.folds.clear();
        health.looks.clear();
    }

    /// Whether a call failed since the process started, and whether it is to die of it.
    pub(super) fn state(&self) -> (bool, bool) {
        let health = self.health();
        (health.failed, health.deadly)
    }

    /// What happened since the last look.
    pub(super) fn take_news(&self) -> Option<News> {
        let stirred = self.stirred.swap(false, Relaxed);
        stirred.then(|| std::mem::take(&mut self.health().news))
    }

    /// The process is gone; the next one finds what was written, durable or not.
    pub(super) fn crash(&self) {
        let mut health = self.health();
        (health.deadly, health.failed) = (false, false);
        let dark = health.dark.take();
        drop(health);
        if let Some(keeps) = dark {
            self.lose_power(keeps);
        }
    }

    /// The power is gone: of what was not durable only the oldest so many writes stay.
    pub(super) fn lose_power(&self, keeps: usize) {
        let mut health = self.health();
        let keeps = keeps.min(health.unsynced.len());
        let lost = health.unsynced.split_off(keeps);
        health.news.lost += lost.len() as u64;
        for write in lost.into_iter().rev() {
            drop(self.storage.write(write.undo, Durable::Synced));
        }
        health.sync();
        self.stirred.store(true, Relaxed);
    }

    /// Meets the fault that waits for a write, if there is one.
    fn strike(&self, waits: Waits) -> Outcome {
        let mut health = self.health();
        let fine = |error| Outcome {
            applied: true,
            synced: true,
            error,
        };
        if health.deadly {
            return Outcome {
                applied: false,
                ..fine(Some(error("the process is dying")))
            };
        }
        let in_fold = match waits {
            Waits::Flusher => health.folds.pop_front(),
            Waits::Recorder => None,
        };
        let Some(fault) = in_fold.or_else(|| health.writes.pop_front()) else {
            return fine(None);
        };
        health.news.struck.push(fault.kind());
        self.stirred.store(true, Relaxed);
        if let DiskFault::Slow(ms) = fault {
            health.news.stall = Some((waits, ms));
            return fine(None);
        }
        health.failed = true;
        health.deadly = matches!(
            fault,
            DiskFault::DiesBefore | DiskFault::DiesAfter | DiskFault::LosesPower(_)
        );
        let synced = match fault {
            DiskFault::LosesPower(keeps) => {
                health.dark = Some(keeps.into());
                false
            }
            fault => fault != DiskFault::SyncFails,
        };
        let applied = match fault {
            DiskFault::FailsLate | DiskFault::DiesAfter => true,
            // Tables that could not be made durable are never taken over.
            DiskFault::SyncFails | DiskFault::LosesPower(_) => waits == Waits::Recorder,
            _ => false,
        };
        let full = StateError::DiskFull {
            path: "memory".into(),
            doing: "write".into(),
        };
        let error = if fault == DiskFault::Full {
            full
        } else {
            error("a fault of the world")
        };
        Outcome {
            applied,
            synced,
            error: Some(error),
        }
    }

    fn look(&self) -> Result<(), StateError> {
        let mut health = self.health();
        if health.deadly {
            return Err(error("the process is dying"));
        }
        let Some(fault) = health.looks.pop_front() else {
            return Ok(());
        };
        health.failed = true;
        health.news.struck.push(fault.kind());
        self.stirred.store(true, Relaxed);
        Err(error("a fault of the world"))
    }

    /// What puts back everything that a batch changes.
    fn undo(&self, batch: &WriteBatch) -> Result<WriteBatch, StateError> {
        let mut undo = WriteBatch::new();
        for change in &batch.changes {
            let (Write::Put(family, key, _) | Write::Delete(family, key)) = change;
            match self.storage.get(*family, key)? {
                Some(before) => undo.put(*family, key.clone(), before),
                None => undo.delete(*family, key.clone()),
            }
        }
        Ok(undo)
    }
}

fn error(message: &str) -> StateError {
    StateError::Io {
        path: "memory".into(),
        doing: "use the disk".into(),
        message: message.into(),
    }
}

/// The bytes of a frame before what it holds: a version and a checksum.
const HEADER: usize = 9;

/// A fold's marker lies where no partition does.
const NO_PARTITION: &[u8] = &[0xff, 0xff];

impl Health {
    /// Everything that was written is durable from now on.
    fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            self.news.notes.extend(write.notes);
        }
    }
}

/// What a batch does to the log and the head.
fn notes(batch: &WriteBatch, notes: &mut Vec<Note>) {
    for change in &batch.changes {
        match change {
            Write::Put(Family::Log, _, value) => {
                let mut reader = Reader::new(&value[HEADER..]);
                let attempt = reader.attempt().expect("an entry begins with its attempt");
                let base = reader.attempt_option().expect("and then its base");
                notes.push(Note::Put(attempt, base));
            }
            Write::Put(Family::Meta, key, value) if key == b"head" => {
                let mut reader = Reader::new(&value[HEADER..]);
                let highest = reader
                    .generation()
                    .expect("a head begins with a generation");
                let folded = reader.attempt_option().expect("and then what is folded");
                let published = reader
                    .varint("published")
                    .expect("and then what is published");
                let folded = folded.map_or(TxId::ZERO, |attempt| attempt.txid);
                notes.push(Note::Head(highest, folded, TxId(published)));
            }
            Write::Delete(Family::Log, key) => {
                let txid: [u8; 8] = key[..].try_into().expect("the log's keys are txids");
                notes.push(Note::Delete(TxId(u64::from_be_bytes(txid))));
            }
            Write::Put(..) | Write::Delete(..) => {}
        }
    }
    notes.push(Note::Done);
}

impl Storage for Disk {
    fn place(&self) -> String {
        "memory".into()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<(), StateError> {
        let outcome = self.strike(Waits::Recorder);
        if outcome.applied {
            let mut health = self.health();
            if durable == Durable::Synced && outcome.synced && !health.forgets {
                health.sync();
                notes(&batch, &mut health.news.notes);
                self.stirred.store(true, Relaxed);
            } else {
                let mut write = Unsynced {
                    notes: Vec::new(),
                    undo: self.undo(&batch)?,
                };
                notes(&batch, &mut write.notes);
                health.unsynced.push(write);
            }
            drop(health);
            self.storage.write(batch, durable)?;
        }
        outcome.error.map_or(Ok(()), Err)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.look()?;
        self.storage.get(family, key)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StateError> {
        self.look()?;
        self.storage.snapshot()
    }

    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let outcome = self.strike(Waits::Flusher);
        if outcome.applied {
            let mut marker = None;
            self.storage.ingest(family, &mut |sink| {
                let mut watched = Watched {
                    sink,
                    marker: &mut marker,
                };
                fill(&mut watched)
            })?;
            if let (Family::Data(state), Some(upto)) = (family, marker) {
                self.health().news.notes.push(Note::Folded(state, upto));
                self.stirred.store(true, Relaxed);
            }
        }
        outcome.error.map_or(Ok(()), Err)
    }
}

/// Sees the marker of a fold among what is ingested.
struct Watched<'a> {
    sink: &'a mut dyn SortedSink,
    marker: &'a mut Option<TxId>,
}

impl SortedSink for Watched<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        if key.starts_with(NO_PARTITION) {
            let attempt = Reader::new(&value[HEADER..]).attempt();
            *self.marker = attempt.ok().map(|attempt| attempt.txid);
        }
        self.sink.put(key, value)
    }

    fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<(), StateError> {
        self.sink.merge(key, operand)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StateError> {
        self.sink.delete(key)
    }
}
