//! A storage that fails at a call that was named before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fulmar_state::{
    Durable, Family, Result, Snapshot, SortedSink, StateError, Storage, WriteBatch,
};

/// Where in a call the fault falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing of the call is applied.
    Before,
    /// All of it is applied, but the caller does not learn of it.
    After,
}

/// A storage whose writing call number `at` fails, and all after it: the disk, or the process, is gone.
pub(crate) struct Faulty {
    inner: Arc<dyn Storage>,
    error: StateError,
    faults: Arc<Faults>,
    calls: Arc<AtomicUsize>,
}

/// Which writing call of a [`Faulty`] fails.
#[derive(Debug)]
pub(crate) struct Faults {
    at: AtomicUsize,
    after: AtomicBool,
    calls: Arc<AtomicUsize>,
}

impl Faults {
    /// Counts anew: the call number `at` from now on fails, or none.
    pub(crate) fn arm(&self, fault: Option<(usize, Moment)>) {
        let (at, moment) = fault.unwrap_or((usize::MAX, Moment::Before));
        self.at.store(at, Ordering::Relaxed);
        self.after.store(moment == Moment::After, Ordering::Relaxed);
        self.calls.store(0, Ordering::Relaxed);
    }

    /// How many writing calls were made since.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Storage>, at: usize, moment: Moment) -> Faulty {
        let error = StateError::Io {
            path: "test".into(),
            doing: "crashing".to_owned(),
            message: "the process is gone".to_owned(),
        };
        let calls = Arc::new(AtomicUsize::new(0));
        let faults = Faults {
            at: AtomicUsize::new(at),
            after: AtomicBool::new(moment == Moment::After),
            calls: Arc::clone(&calls),
        };
        Faulty {
            inner,
            error,
            faults: Arc::new(faults),
            calls,
        }
    }

    pub(crate) fn failing_with(self, error: StateError) -> Faulty {
        Faulty { error, ..self }
    }

    /// How many writing calls were made.
    pub(crate) fn calls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.calls)
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    fn call(&self, apply: impl FnOnce() -> Result<()>) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let at = self.faults.at.load(Ordering::Relaxed);
        let after = self.faults.after.load(Ordering::Relaxed);
        if call > at || (call == at && !after) {
            return Err(self.error.clone());
        }
        apply()?;
        if call == at {
            Err(self.error.clone())
        } else {
            Ok(())
        }
    }
}

impl Storage for Faulty {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<()> {
        self.call(|| self.inner.write(batch, durable))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.get(family, key)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        self.inner.snapshot()
    }

    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<()>,
    ) -> Result<()> {
        self.call(|| self.inner.ingest(family, fill))
    }
}
