//! Going back to what is sealed, and refusing a past that is not this store's.

use super::Store;
use crate::attempt::{Attempt, Generation, TxId};
use crate::backend::{Family, WriteBatch};
use crate::error::{Result, StateError};
use crate::log::log_key;

/// The order to drop everything above the sealed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewind {
    /// The rewind's generation; batches are taken of exactly this one afterwards.
    pub generation: Generation,
    /// The sealed batch, by the ledger; `None` if nothing is sealed.
    pub sealed: Option<Attempt>,
}

/// What became of a rewind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum RewindOutcome {
    /// It is durably carried out.
    Done,
    /// It was carried out before.
    Again,
    /// A later one was carried out before; this one is refused.
    Older {
        /// The greatest generation carried out.
        highest: Generation,
    },
}

impl Store {
    /// Carries out a rewind greater than all before it, in one write: the new highest generation, and the removal of
    /// all entries above the sealed batch.
    ///
    /// Before that it checks that this store's past is the ledger's: not folded beyond it, without gaps up to it, every
    /// attempt the one that was sealed.
    pub fn rewind(&mut self, to: Rewind) -> Result<RewindOutcome> {
        self.usable()?;
        let highest = self.head.highest;
        if to.generation < highest {
            return Ok(RewindOutcome::Older { highest });
        }
        if to.generation == highest && self.sealed.is_some() {
            return Ok(RewindOutcome::Again);
        }
        self.check_past(to.sealed)?;
        let outcome = if to.generation == highest {
            // Carried out before a restart: the entries above are of this generation, and stay.
            RewindOutcome::Again
        } else {
            self.drop_above(to)?;
            RewindOutcome::Done
        };
        self.sealed = Some(to.sealed);
        Ok(outcome)
    }

    fn drop_above(&mut self, to: Rewind) -> Result<()> {
        let above = to.sealed.map_or(TxId::ZERO, |sealed| sealed.txid).next();
        let mut batch = WriteBatch::new();
        for txid in self.log.range(above..).map(|(txid, _)| *txid) {
            batch.delete(Family::Log, log_key(txid));
        }
        self.head.highest = to.generation;
        self.dirty = true;
        self.commit(batch)?;
        self.log.split_off(&above);
        Ok(())
    }

    fn check_past(&self, sealed: Option<Attempt>) -> Result<()> {
        let upto = sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
        self.check_not_beyond(upto)?;
        self.check_no_gap(upto)?;
        self.check_attempts(sealed)
    }

    /// Nothing that cannot be taken back may be above the sealed batch.
    fn check_not_beyond(&self, sealed: TxId) -> Result<()> {
        let markers = self.markers.iter().flatten().map(|attempt| attempt.txid);
        let folded = markers.max().unwrap_or_default().max(self.folded());
        let known = self.sealed().map_or(TxId::ZERO, |attempt| attempt.txid);
        let final_upto = folded.max(self.head.published).max(known);
        if final_upto > sealed {
            return Err(StateError::FoldedBeyond {
                place: self.place.clone(),
                folded: final_upto,
                sealed,
            });
        }
        Ok(())
    }

    /// All that is not folded and published must be in the log, up to the sealed batch.
    fn check_no_gap(&self, sealed: TxId) -> Result<()> {
        let mut expected = self.folded().min(self.head.published).next();
        for txid in self
            .log
            .range(expected..=sealed.max(expected))
            .map(|(txid, _)| *txid)
        {
            if txid > expected {
                break;
            }
            expected = expected.next();
        }
        if expected > sealed {
            return Ok(());
        }
        let (place, missing, newest) = (self.place.clone(), expected, self.newest());
        Err(if newest < missing {
            StateError::LostData {
                place,
                newest,
                sealed,
            }
        } else {
            StateError::GapInLog {
                place,
                missing,
                newest,
                sealed,
            }
        })
    }

    /// The sealed attempt, and down from it every entry's base, must be what is here.
    fn check_attempts(&self, sealed: Option<Attempt>) -> Result<()> {
        let mut expected = sealed;
        while let Some(attempt) = expected {
            self.check_folded(attempt)?;
            let Some(logged) = self.log.get(&attempt.txid) else {
                return Ok(());
            };
            if logged.attempt != attempt {
                return Err(self.other_attempt(logged.attempt, attempt));
            }
            if logged.base.map(|base| base.txid)
                != attempt.txid.prev().filter(|prev| *prev != TxId::ZERO)
            {
                let what = format!("{attempt} builds on {:?}", logged.base);
                return Err(StateError::Corrupt {
                    place: self.entry_place(attempt.txid),
                    what,
                });
            }
            expected = logged.base;
        }
        Ok(())
    }

    fn check_folded(&self, sealed: Attempt) -> Result<()> {
        let other = |folded: &Attempt| folded.txid == sealed.txid && *folded != sealed;
        match self
            .head
            .folded
            .iter()
            .chain(self.markers.iter().flatten())
            .find(|folded| other(folded))
        {
            Some(found) => Err(self.other_attempt(*found, sealed)),
            None => Ok(()),
        }
    }

    fn other_attempt(&self, found: Attempt, expected: Attempt) -> StateError {
        StateError::OtherAttempt {
            place: self.place.clone(),
            found,
            expected,
        }
    }
}
