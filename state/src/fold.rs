//! Folding: what is sealed goes, sorted, into the data families, and its log entries become needless.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::attempt::{Attempt, Partition, StateId, TxId};
use crate::backend::{Family, SortedSink, Storage};
use crate::base::{data_key, marker};
use crate::codec;
use crate::error::{Result, StateError};
use crate::frozen::{Frozen, Merged};
use crate::value::{Found, Merge, Value};

/// What a fold does to a key, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldOp<'a> {
    /// Sets its value.
    Put(&'a [u8]),
    /// Adds a delta to its value.
    Merge(&'a [u8]),
    /// Takes it out.
    Delete,
}

/// Takes one key and what is done to it.
pub type FoldVisitor<'a> = dyn FnMut(&[u8], FoldOp<'_>) -> Result<()> + 'a;

/// Sealed changes of one shard, immutable, to be folded on another thread.
pub trait FoldPart: Send + Sync {
    /// The state.
    fn state(&self) -> StateId;

    /// The last sealed batch it holds.
    fn upto(&self) -> TxId;

    /// The partitions it holds, ascending.
    fn partitions(&self) -> &[Partition];

    /// Visits a partition's changed keys, ascending, each once.
    fn visit(&self, partition: Partition, each: &mut FoldVisitor<'_>) -> Result<()>;
}

pub(crate) struct Fold<V, M> {
    pub(crate) state: StateId,
    pub(crate) upto: TxId,
    pub(crate) owned: Arc<[Partition]>,
    pub(crate) parts: Vec<Arc<Frozen<V>>>,
    pub(crate) merge: M,
}

impl<V: Value, M: Merge<V>> FoldPart for Fold<V, M> {
    fn state(&self) -> StateId {
        self.state
    }

    fn upto(&self) -> TxId {
        self.upto
    }

    fn partitions(&self) -> &[Partition] {
        &self.owned
    }

    fn visit(&self, partition: Partition, each: &mut FoldVisitor<'_>) -> Result<()> {
        let Ok(slot) = self.owned.binary_search(&partition) else {
            return Ok(());
        };
        let parts = self.parts.iter().map(|frozen| frozen.part(slot));
        let mut bytes = Vec::new();
        for (key, combined) in Merged::new(parts, b"", None, &self.merge) {
            bytes.clear();
            match combined.found() {
                Found::Delta(value) => {
                    codec::encode(value, &mut bytes)?;
                    each(key, FoldOp::Merge(&bytes))?;
                }
                Found::Put(value) => {
                    codec::encode(value, &mut bytes)?;
                    each(key, FoldOp::Put(&bytes))?;
                }
                Found::Remove => each(key, FoldOp::Delete)?,
            }
        }
        Ok(())
    }
}

/// Who holds which partition.
type Owners = BTreeMap<Partition, Arc<dyn FoldPart>>;

struct StateFold {
    state: StateId,
    owners: Owners,
    /// Whether nothing was ever folded: deltas are whole values then, and reading them takes no merge.
    fresh: bool,
}

/// A fold that is ready to run, on any thread, while batches go on.
pub struct FoldJob {
    upto: Attempt,
    states: Vec<StateFold>,
}

/// A fold that has run; the store makes it known with [`Store::finish_fold`](crate::Store::finish_fold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the log is kept until the store knows of the fold"]
pub struct FoldDone {
    /// Everything up to here is folded.
    pub upto: Attempt,
    /// How many records were written.
    pub records: u64,
}

impl FoldJob {
    /// Checks that the parts are all of the kept partitions as of `upto`. Of a family these partitions are kept, and
    /// something was folded into it before, or not.
    pub(crate) fn new(
        upto: Attempt,
        families: &[(Range<u16>, bool)],
        parts: &[(StateId, Vec<Arc<dyn FoldPart>>)],
    ) -> Result<FoldJob> {
        let mut states = Vec::with_capacity(families.len());
        for (state, (kept, fresh)) in (0..).map(StateId).zip(families) {
            let mismatch = |what: String| StateError::Mismatch { state, what };
            let mut owners = Owners::new();
            for part in parts
                .iter()
                .filter(|(of, _)| *of == state)
                .flat_map(|(_, parts)| parts)
            {
                if (part.state(), part.upto()) != (state, upto.txid) {
                    let what = format!(
                        "a part of state {} at batch {} for {upto}",
                        part.state(),
                        part.upto()
                    );
                    return Err(mismatch(what));
                }
                for partition in part.partitions() {
                    if owners.insert(*partition, Arc::clone(part)).is_some() {
                        return Err(mismatch(format!("partition {partition} is given twice")));
                    }
                }
            }
            if let Some(missing) = kept
                .clone()
                .map(Partition)
                .find(|partition| !owners.contains_key(partition))
            {
                return Err(mismatch(format!("partition {missing} is missing")));
            }
            states.push(StateFold {
                state,
                owners,
                fresh: *fresh,
            });
        }
        Ok(FoldJob { upto, states })
    }

    /// Up to where it folds.
    #[must_use]
    pub fn upto(&self) -> Attempt {
        self.upto
    }

    /// Writes each state's changes and its marker in one ingestion. A crash between two states is harmless: what the
    /// marker covers is not brought in again.
    pub fn run(&self, storage: &dyn Storage) -> Result<FoldDone> {
        let mut records = 0;
        for fold in &self.states {
            let mut written = 0;
            storage.ingest(Family::Data(fold.state), &mut |sink| {
                written = fold.fill(self.upto, sink)?;
                Ok(())
            })?;
            records += written;
        }
        Ok(FoldDone {
            upto: self.upto,
            records,
        })
    }
}

impl fmt::Debug for FoldJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldJob")
            .field("upto", &self.upto)
            .finish_non_exhaustive()
    }
}

impl StateFold {
    fn fill(&self, upto: Attempt, sink: &mut dyn SortedSink) -> Result<u64> {
        let mut records = 0;
        let mut full = Vec::new();
        for (partition, owner) in &self.owners {
            owner.visit(*partition, &mut |key, op| {
                records += 1;
                data_key(*partition, key, &mut full);
                match op {
                    FoldOp::Merge(delta) if !self.fresh => sink.merge(&full, delta),
                    FoldOp::Merge(value) | FoldOp::Put(value) => sink.put(&full, value),
                    FoldOp::Delete => sink.delete(&full),
                }
            })?;
        }
        let (key, value) = marker(upto);
        sink.put(key, &value)?;
        Ok(records)
    }
}
