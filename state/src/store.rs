//! The worker's store: the batch log, what is folded, and how far everything has come.
//!
//! Every method makes at most one [`Storage`] write, so a crash between any two writes is a crash between two calls. A
//! write that failed is never tried again: the store answers every later call with the same error.

mod open;
mod record;
mod rewind;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use record::StoreIdentity;
pub use rewind::{Rewind, RewindOutcome};

use crate::attempt::{Attempt, Generation, Partition, StateId, TxId};
use crate::backend::{Durable, Family, Storage, WriteBatch};
use crate::base::Base;
use crate::error::{Result, StateError};
use crate::fold::{FoldDone, FoldJob, FoldPart};
use crate::log::{Entry, EntryRef, log_key};
use crate::schema::StateSchema;
use crate::section::sections;
use record::{HEAD, Head};

/// Takes one section of a sealed batch: what [`AnyShard::restore`](crate::AnyShard::restore) takes.
pub type RestoreVisitor<'a> = dyn FnMut(TxId, StateId, Partition, &[u8]) -> Result<()> + 'a;

/// One worker's log and states.
pub struct Store {
    storage: Arc<dyn Storage>,
    place: String,
    schemas: Vec<StateSchema>,
    /// The partitions of each state that are kept here.
    share: Vec<Range<u16>>,
    head: Head,
    /// Whether `head` differs from what is written.
    dirty: bool,
    /// What each state's data family is folded up to, by its own marker.
    markers: Vec<Option<Attempt>>,
    /// The fold that is under way.
    folding: Option<Attempt>,
    log: BTreeMap<TxId, Logged>,
    /// The last sealed batch; known from the first rewind on.
    sealed: Option<Option<Attempt>>,
    failed: Option<StateError>,
}

/// What is remembered of an entry in the log.
#[derive(Clone, Copy, Debug)]
struct Logged {
    attempt: Attempt,
    base: Option<Attempt>,
    bytes: usize,
}

/// What became of the notice that an attempt is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SealOutcome {
    /// It is sealed now, and with it every batch before it that was not yet.
    Shown,
    /// It was sealed before.
    Already,
    /// The durable entry of that batch, if there is one, is another attempt: this worker does not have the batch.
    NotMine,
}

impl Store {
    /// Keeps only these partitions of each state: those of the worker whose store it is. All of them, unless told.
    ///
    /// # Panics
    ///
    /// If it is not one range for each state, within its partitions.
    #[must_use]
    pub fn keeping(mut self, share: Vec<Range<u16>>) -> Store {
        assert_eq!(share.len(), self.schemas.len(), "a share of every state");
        let mut ranges = share.iter().zip(&self.schemas);
        assert!(
            ranges.all(|(share, schema)| share.end <= schema.partitions),
            "a state's share is of its own partitions"
        );
        self.share = share;
        self
    }

    /// The greatest generation ever carried out.
    #[must_use]
    pub fn highest(&self) -> Generation {
        self.head.highest
    }

    /// Every state is folded up to here, at least.
    #[must_use]
    pub fn folded(&self) -> TxId {
        self.head.folded.map_or(TxId::ZERO, |attempt| attempt.txid)
    }

    /// Every outbox is published up to here.
    #[must_use]
    pub fn published(&self) -> TxId {
        self.head.published
    }

    /// The newest batch that is durable here, sealed or not.
    #[must_use]
    pub fn newest(&self) -> TxId {
        self.log
            .last_key_value()
            .map_or(self.folded(), |(txid, _)| *txid)
    }

    /// The last sealed batch; `None` before the first rewind, or if nothing is sealed.
    #[must_use]
    pub fn sealed(&self) -> Option<Attempt> {
        self.sealed.flatten()
    }

    /// Bytes of log entries that are not folded: what a restart has to reload.
    #[must_use]
    pub fn unfolded_bytes(&self) -> usize {
        self.log
            .range(self.folded().next()..)
            .map(|(_, logged)| logged.bytes)
            .sum()
    }

    /// Bytes of all log entries, those included that only wait to be published.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.log.values().map(|logged| logged.bytes).sum()
    }

    /// The states' schemas, by their ids.
    #[must_use]
    pub fn schemas(&self) -> &[StateSchema] {
        &self.schemas
    }

    /// The storage beneath, for a [`FoldJob`].
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Makes entries durable, in one write. They continue the log, each on the one before, in the highest generation.
    pub fn append(&mut self, entries: &[Entry]) -> Result<()> {
        self.usable()?;
        let mut previous = self.last_attempt()?;
        let mut batch = WriteBatch::new();
        let mut added = Vec::with_capacity(entries.len());
        for entry in entries {
            self.check_entry(entry, previous)?;
            let bytes = entry.encode()?;
            added.push(Logged {
                attempt: entry.attempt,
                base: entry.base,
                bytes: bytes.len(),
            });
            batch.put(Family::Log, log_key(entry.attempt.txid), bytes);
            previous = Some(entry.attempt);
        }
        if added.is_empty() {
            return Ok(());
        }
        self.commit(batch)?;
        self.log.extend(
            added
                .into_iter()
                .map(|logged| (logged.attempt.txid, logged)),
        );
        Ok(())
    }

    /// Marks an attempt, and all before it, as sealed, if its durable entry and theirs are what was sealed.
    pub fn seal(&mut self, attempt: Attempt) -> SealOutcome {
        let Some(sealed) = self.sealed else {
            return SealOutcome::NotMine;
        };
        let upto = sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
        let entry = self.log.get(&attempt.txid).map(|logged| logged.attempt);
        if attempt.txid <= upto {
            // A folded entry may be gone; a sealed batch is sealed only once, so the notice can only be a repetition.
            let known = if attempt.txid == upto { sealed } else { entry };
            return if known.is_none_or(|known| known == attempt) {
                SealOutcome::Already
            } else {
                SealOutcome::NotMine
            };
        }
        // The entries between are chained by their bases, which `append` has checked.
        if entry != Some(attempt) {
            return SealOutcome::NotMine;
        }
        self.sealed = Some(Some(attempt));
        SealOutcome::Shown
    }

    /// A batch's log entry, while it is kept.
    pub fn entry(&self, txid: TxId) -> Result<Option<Entry>> {
        self.usable()?;
        let Some(logged) = self.log.get(&txid) else {
            return Ok(None);
        };
        let bytes = self.read(txid)?;
        let entry = Entry::decode(&bytes, || self.entry_place(txid))?;
        self.check_read(logged, entry.attempt)?;
        Ok(Some(entry))
    }

    /// Hands out the sections of all batches that are sealed and not folded, in the order of the batches.
    pub fn restore(&self, each: &mut RestoreVisitor<'_>) -> Result<()> {
        self.usable()?;
        let Some(sealed) = self.sealed else {
            return Err(self.not_rewound());
        };
        let Some(upto) = sealed
            .map(|sealed| sealed.txid)
            .filter(|upto| *upto > self.folded())
        else {
            return Ok(());
        };
        let base = self.base()?;
        for (txid, logged) in self.log.range(self.folded().next()..=upto) {
            let bytes = self.read(*txid)?;
            let entry = EntryRef::decode(&bytes, || self.entry_place(*txid))?;
            self.check_read(logged, entry.attempt)?;
            for section in entry.parts.iter().flat_map(|part| sections(part)) {
                let section = section.map_err(|error| error.at(|| self.entry_place(*txid)))?;
                self.check_section(*txid, section.state, section.partition)?;
                if *txid > base.folded(section.state) {
                    each(*txid, section.state, section.partition, section.body)?;
                }
            }
        }
        Ok(())
    }

    /// A fold of everything up to the sealed batch `upto`, from all shards' [`FoldPart`]s as of exactly that batch.
    ///
    /// There is one at a time, until [`Store::finish_fold`]. One that failed may have been applied in part: there is no
    /// other before the store is opened again.
    pub fn fold(
        &mut self,
        upto: TxId,
        parts: &[(StateId, Vec<Arc<dyn FoldPart>>)],
    ) -> Result<FoldJob> {
        self.usable()?;
        let sealed = self
            .sealed()
            .filter(|sealed| upto <= sealed.txid && upto >= self.folded());
        let attempt = match self.log.get(&upto) {
            Some(logged) => Some(logged.attempt),
            None => self.head.folded.filter(|folded| folded.txid == upto),
        };
        let Some(attempt) = attempt.filter(|_| sealed.is_some() && self.folding.is_none()) else {
            let (folded, sealed, under_way) = (self.folded(), self.sealed(), self.folding);
            let what = format!(
                "cannot fold up to {upto}: folded is {folded}, sealed {sealed:?}, under way {under_way:?}"
            );
            return Err(StateError::OutOfOrder { what });
        };
        let families = self.share.iter().zip(&self.markers);
        let families: Vec<_> = families
            .map(|(share, marker)| (share.clone(), marker.is_none()))
            .collect();
        let job = FoldJob::new(attempt, &families, parts)?;
        self.folding = Some(attempt);
        Ok(job)
    }

    /// Records a fold and removes the log entries that are folded and published, in one write.
    pub fn finish_fold(&mut self, done: FoldDone) -> Result<()> {
        self.usable()?;
        if self.folding != Some(done.upto) {
            let what = format!(
                "folded up to {}, but under way is {:?}",
                done.upto, self.folding
            );
            return Err(StateError::OutOfOrder { what });
        }
        self.folding = None;
        self.head.folded = Some(done.upto);
        self.markers.fill(Some(done.upto));
        self.dirty = true;
        self.commit(WriteBatch::new())
    }

    /// Remembers that all outboxes up to a sealed batch are published. Durable with the next write of another call;
    /// until then a crash makes sinks see them again. A topology without sinks says so as soon as a batch is sealed.
    pub fn publish_done(&mut self, upto: TxId) {
        let sealed = self.sealed().map_or(TxId::ZERO, |sealed| sealed.txid);
        assert!(
            upto <= sealed,
            "batch {upto} was published, but only {sealed} is sealed"
        );
        if upto > self.head.published {
            self.head.published = upto;
            self.dirty = true;
        }
    }

    /// Writes down now how far outboxes are published, if that is only remembered: before a clean end, and where a
    /// long run without other writes would have sinks see too much again.
    pub fn record_published(&mut self) -> Result<()> {
        self.usable()?;
        if self.dirty {
            self.commit(WriteBatch::new())
        } else {
            Ok(())
        }
    }

    /// The folded data as it is now.
    pub fn base(&self) -> Result<Base> {
        self.usable()?;
        Base::read(&*self.storage, self.schemas.len())
    }

    /// Writes a batch, the head if it has changed, and the removal of entries that are no longer needed.
    fn commit(&mut self, mut batch: WriteBatch) -> Result<()> {
        let needless = self.folded().min(self.head.published);
        for txid in self.log.range(..=needless).map(|(txid, _)| *txid) {
            batch.delete(Family::Log, log_key(txid));
        }
        if self.dirty {
            batch.put(Family::Meta, HEAD, self.head.encode());
        }
        if let Err(error) = self.storage.write(batch, Durable::Synced) {
            tracing::error!(place = %self.place, %error, "a write to the store failed; it takes nothing more");
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.dirty = false;
        self.log = self.log.split_off(&needless.next());
        Ok(())
    }

    fn check_entry(&self, entry: &Entry, previous: Option<Attempt>) -> Result<()> {
        let (attempt, highest) = (entry.attempt, self.head.highest);
        if attempt.generation != highest {
            return Err(StateError::Fenced { attempt, highest });
        }
        let next = previous.map_or(TxId::ZERO, |previous| previous.txid).next();
        if attempt.txid != next || entry.base != previous {
            let what = format!(
                "{attempt} on {:?} cannot follow {previous:?} in the log",
                entry.base
            );
            return Err(StateError::OutOfOrder { what });
        }
        Ok(())
    }

    fn check_section(&self, txid: TxId, state: StateId, partition: Partition) -> Result<()> {
        let share = self.share.get(usize::from(state.0));
        if share.is_some_and(|share| share.contains(&partition.0)) {
            return Ok(());
        }
        let what =
            format!("a section of partition {partition} of state {state}, which has no place here");
        Err(StateError::Corrupt {
            place: self.entry_place(txid),
            what,
        })
    }

    /// The attempt that the next entry builds on.
    fn last_attempt(&self) -> Result<Option<Attempt>> {
        if self.sealed.is_none() {
            return Err(self.not_rewound());
        }
        Ok(self
            .log
            .last_key_value()
            .map(|(_, logged)| logged.attempt)
            .or(self.head.folded))
    }

    fn read(&self, txid: TxId) -> Result<Vec<u8>> {
        let bytes = self.storage.get(Family::Log, &log_key(txid))?;
        bytes.ok_or_else(|| {
            let what =
                "the entry was there when the store was opened, and now it is not".to_owned();
            StateError::Corrupt {
                place: self.entry_place(txid),
                what,
            }
        })
    }

    fn check_read(&self, logged: &Logged, found: Attempt) -> Result<()> {
        if logged.attempt == found {
            return Ok(());
        }
        let what = format!("it holds {found} instead of {}", logged.attempt);
        Err(StateError::Corrupt {
            place: self.entry_place(logged.attempt.txid),
            what,
        })
    }

    fn entry_place(&self, txid: TxId) -> String {
        format!("log entry {txid} in {}", self.place)
    }

    fn not_rewound(&self) -> StateError {
        StateError::NotRewound {
            place: self.place.clone(),
        }
    }

    /// The error that has ended the store, if one has: it takes nothing more until it is opened again.
    pub fn usable(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut store = f.debug_struct("Store");
        store
            .field("place", &self.place)
            .field("head", &self.head)
            .field("sealed", &self.sealed);
        store
            .field("newest", &self.newest())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
