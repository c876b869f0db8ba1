//! A ledger in memory, for tests and simulation: what it holds outlives each object, as a disk would.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{Ledger, LedgerRecord, Version, WriteOutcome};
use crate::error::Result;

type Held = Option<(LedgerRecord, Version)>;

/// A ledger in memory. Clones share one record, like several processes share one ensemble; faults are injected by wrapping it.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    held: Arc<Mutex<Held>>,
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        MemoryLedger::default()
    }

    /// What it holds.
    #[must_use]
    pub fn peek(&self) -> Option<(LedgerRecord, Version)> {
        self.with(|held| held.clone())
    }

    /// Replaces what it holds without any condition, like an administrator's hand.
    pub fn replace(&self, held: Option<(LedgerRecord, Version)>) {
        self.with(|slot| *slot = held);
    }

    /// The conditional write itself, for shells that are not async.
    pub fn write_now(&self, record: &LedgerRecord, expected: Version) -> WriteOutcome {
        self.with(|held| {
            let version = held
                .as_ref()
                .map_or(Version::ABSENT, |(_, version)| *version);
            if version != expected {
                return WriteOutcome::Refused {
                    current: held.clone().map(Box::new),
                };
            }
            *held = Some((record.clone(), expected.next()));
            WriteOutcome::Applied(expected.next())
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Held) -> T) -> T {
        // Nothing panics while the lock is held, and the record is replaced whole.
        f(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ledger for MemoryLedger {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>> {
        ready(Ok(self.peek())).boxed()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        ready(self.write_now(record, expected)).boxed()
    }
}
