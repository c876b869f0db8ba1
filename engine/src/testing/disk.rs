//! A worker's disk: a storage in memory that outlives the process, fails when it is told to, and keeps a journal for the oracle.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fulmar_state::backend::Write;
use fulmar_state::codec::Reader;
use fulmar_state::{
    Attempt, Durable, Family, Generation, MemoryStorage, Snapshot, SortedSink, StateError,
    StateFamily, Storage, TxId, WriteBatch,
};

use super::fault::DiskFault;

/// What a write did to the batch log and the head, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// An entry was added.
    Put(Attempt, Option<Attempt>),
    /// An entry was removed.
    Delete(TxId),
    /// Highest generation, folded and published batch.
    Head(Generation, TxId, TxId),
    /// All of one write is told.
    Done,
}

/// A worker's disk.
#[derive(Clone)]
pub(super) struct Disk {
    storage: MemoryStorage,
    health: Arc<Mutex<Health>>,
}

#[derive(Default)]
struct Health {
    armed: VecDeque<DiskFault>,
    /// The process is to die of it.
    deadly: bool,
    /// Some call failed: the process may end with any error.
    failed: bool,
    journal: Vec<Note>,
    /// The last entry put, if a crash is to take it.
    unsynced: Option<Vec<u8>>,
    forgets: bool,
}

impl Disk {
    pub(super) fn new(states: &[StateFamily], forgets: bool) -> Self {
        let health = Health {
            forgets,
            ..Health::default()
        };
        Disk {
            storage: MemoryStorage::new(states),
            health: Arc::new(Mutex::new(health)),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, fault: DiskFault) {
        self.health().armed.push_back(fault);
    }

    /// No fault is waiting to strike any more.
    pub(super) fn mend(&self) {
        self.health().armed.clear();
    }

    /// Whether a call failed since the process started, and whether it is to die of it.
    pub(super) fn state(&self) -> (bool, bool) {
        let health = self.health();
        (health.failed, health.deadly)
    }

    /// What was written since the last look.
    pub(super) fn take_journal(&self, into: &mut Vec<Note>) {
        into.append(&mut self.health().journal);
    }

    /// The process is gone; the next one finds what was written.
    pub(super) fn crash(&self) {
        let mut health = self.health();
        (health.deadly, health.failed) = (false, false);
        if let Some(key) = health.unsynced.take() {
            let mut batch = WriteBatch::new();
            batch.delete(Family::Log, key);
            health.note(&batch);
            drop(self.storage.write(batch, Durable::Synced));
        }
    }

    /// Meets the fault that waits for a write, if there is one; says whether the call has its effect.
    fn strike(&self) -> Result<(), (bool, StateError)> {
        let mut health = self.health();
        if health.deadly {
            return Err((false, error("the process is dying")));
        }
        if health.armed.front() == Some(&DiskFault::Unreadable) {
            return Ok(());
        }
        let Some(fault) = health.armed.pop_front() else {
            return Ok(());
        };
        health.failed = true;
        health.deadly = matches!(fault, DiskFault::DiesBefore | DiskFault::DiesAfter);
        let applied = matches!(fault, DiskFault::FailsLate | DiskFault::DiesAfter);
        let full = StateError::DiskFull {
            path: "memory".into(),
            doing: "write".into(),
        };
        let error = if fault == DiskFault::Full {
            full
        } else {
            error("a fault of the world")
        };
        Err((applied, error))
    }

    fn look(&self) -> Result<(), StateError> {
        let mut health = self.health();
        if health.deadly {
            return Err(error("the process is dying"));
        }
        if health.armed.front() == Some(&DiskFault::Unreadable) {
            health.armed.pop_front();
            health.failed = true;
            return Err(error("a fault of the world"));
        }
        Ok(())
    }
}

fn error(message: &str) -> StateError {
    StateError::Io {
        path: "memory".into(),
        doing: "use the disk".into(),
        message: message.into(),
    }
}

impl Health {
    /// Writes down what a batch does to the log and the head.
    fn note(&mut self, batch: &WriteBatch) {
        const HEADER: usize = 9;
        for change in &batch.changes {
            match change {
                Write::Put(Family::Log, key, value) => {
                    let mut reader = Reader::new(&value[HEADER..]);
                    let attempt = reader.attempt().expect("an entry begins with its attempt");
                    let base = reader.attempt_option().expect("and then its base");
                    self.journal.push(Note::Put(attempt, base));
                    self.unsynced = self.forgets.then(|| key.clone());
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
                    let head = Note::Head(highest, folded, TxId(published));
                    self.journal.push(head);
                }
                Write::Delete(Family::Log, key) => {
                    let txid: [u8; 8] = key[..].try_into().expect("the log's keys are txids");
                    self.journal
                        .push(Note::Delete(TxId(u64::from_be_bytes(txid))));
                }
                Write::Put(..) | Write::Delete(..) => {}
            }
        }
        self.journal.push(Note::Done);
    }
}

impl Storage for Disk {
    fn place(&self) -> String {
        "memory".into()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<(), StateError> {
        let struck = self.strike();
        if matches!(struck, Ok(()) | Err((true, _))) {
            self.health().note(&batch);
            self.storage.write(batch, durable)?;
        }
        struck.map_err(|(_, error)| error)
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
        let struck = self.strike();
        if matches!(struck, Ok(()) | Err((true, _))) {
            self.storage.ingest(family, fill)?;
        }
        struck.map_err(|(_, error)| error)
    }
}
