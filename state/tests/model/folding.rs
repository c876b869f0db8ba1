//! A fold in parts: taken, run state by state, made known.

use std::sync::Arc;

use fulmar_state::{
    Durable, Family, FoldDone, FoldJob, Result, Snapshot, SortedSink, StateId, Storage, TxId,
    WriteBatch,
};

use crate::support::{Executor, Worker};

/// A fold that is under way.
pub(crate) struct Folding {
    job: FoldJob,
    done: Option<FoldDone>,
    states: u16,
}

impl Folding {
    /// Takes everything sealed.
    pub(crate) fn take(worker: &mut Worker) -> Result<Folding> {
        let sealed = worker.store.sealed();
        let upto = sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
        let parts = worker.fold_parts();
        let job = worker.store.fold(upto, &parts)?;
        Ok(Folding {
            job,
            done: None,
            states: 0,
        })
    }

    /// Folds the next state.
    pub(crate) fn ingest(&mut self, worker: &Worker) -> Result<()> {
        let family = Family::Data(StateId(self.states));
        let only = Only {
            inner: Arc::clone(worker.store.storage()),
            family,
        };
        self.states += 1;
        self.done = Some(self.job.run(&only)?);
        Ok(())
    }

    /// Makes the fold known, to the store and then to the shards.
    pub(crate) fn finish(self, worker: &mut Worker) -> Result<()> {
        let done = self.done.expect("the fold has run");
        worker.store.finish_fold(done)?;
        let base = worker.store.base()?;
        for shard in worker.executors.iter_mut().flat_map(Executor::shards) {
            shard.folded(done.upto.txid, base.clone());
        }
        Ok(())
    }
}

/// Lets one family be ingested and leaves the others out, so that a fold runs state by state.
struct Only {
    inner: Arc<dyn Storage>,
    family: Family,
}

impl Storage for Only {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<()> {
        self.inner.write(batch, durable)
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
        if family == self.family {
            self.inner.ingest(family, fill)
        } else {
            Ok(())
        }
    }
}
