//! From acknowledged batches to one ledger write, and from its outcome to what everyone is told.

use std::collections::{BTreeMap, VecDeque};

use super::{Coordinator, Phase};
use crate::action::{Action, Step, Write};
use crate::halt::HaltReason;
use crate::ledger::{LedgerRecord, Settled, Version, WriteOutcome};
use crate::settings::{Micros, WorkerId};
use crate::{Attempt, TxId};

/// A ledger write that is not settled.
#[derive(Clone, Debug)]
pub(super) struct Outstanding {
    write: Write,
    /// How many live batches it seals.
    pub(super) batches: usize,
    /// When it is sent again; `None` while an answer to the last sending is awaited.
    again: Option<Micros>,
}

/// Which seals every worker has noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Seals {
    /// Sealed in this term, and not noted by every worker.
    untold: VecDeque<Attempt>,
    /// The newest seal each worker has noted.
    noted: BTreeMap<WorkerId, TxId>,
    /// When those not noted are told again.
    again: Micros,
}

impl Seals {
    pub(super) fn untold(&self) -> usize {
        self.untold.len()
    }

    /// A worker has noted all seals up to `txid`.
    pub(super) fn note(&mut self, worker: WorkerId, txid: TxId, workers: &[WorkerId]) {
        let noted = self.noted.entry(worker).or_default();
        *noted = txid.max(*noted);
        let all = workers
            .iter()
            .map(|worker| self.noted.get(worker).copied().unwrap_or_default())
            .min();
        while let (Some(first), Some(all)) = (self.untold.front(), all)
            && first.txid <= all
        {
            self.untold.pop_front();
        }
    }
}

impl Coordinator {
    /// Seals every consecutive batch that is ready, by one write, unless one is outstanding.
    pub(super) fn seal_ready(&mut self, step: &mut Step) {
        if self.outstanding.is_some() || self.phase != Phase::Running {
            return;
        }
        let failed = self.failed.keys().next().copied();
        let fine = |txid| failed.is_none_or(|failed| txid < failed);
        let batches = self
            .live
            .iter()
            .take_while(|batch| batch.is_ready() && fine(batch.attempt.txid))
            .count();
        if batches == 0 {
            return;
        }
        let mut record: LedgerRecord = self.record.clone();
        for batch in self.live.iter().take(batches) {
            assert!(
                batch.is_ready(),
                "I2: only what is acknowledged everywhere is sealed"
            );
            assert_eq!(
                batch.attempt.generation, self.generation,
                "I2: only a live attempt is sealed"
            );
            let names = self.settings.spouts.iter().map(|spout| spout.name.as_str());
            record.seal(
                batch.attempt,
                batch.base,
                batch.time_ms,
                names.zip(batch.reads.iter().flatten()),
            );
        }
        let write = Write {
            record,
            expected: self.version,
        };
        step.record = Some(Box::new(write.clone()));
        self.outstanding = Some(Outstanding {
            write,
            batches,
            again: None,
        });
    }

    pub(super) fn on_ledger(&mut self, expected: Version, outcome: WriteOutcome, step: &mut Step) {
        // An answer to an earlier write that was sent more than once says nothing about this one.
        let Some(outstanding) = &mut self.outstanding else {
            return;
        };
        if outstanding.write.expected != expected {
            return;
        }
        match outcome.settle(&outstanding.write.record, expected) {
            Settled::Applied(version) => self.on_applied(version, step),
            Settled::Again(_) => {
                outstanding.again = Some(self.now.after(Micros::from_ms(self.settings.retry_ms)));
            }
            Settled::Fenced(other) => {
                let (LedgerRecord { epoch, writer, .. }, version) = *other;
                self.halt(
                    HaltReason::Fenced {
                        epoch,
                        writer,
                        version,
                    },
                    step,
                );
            }
            Settled::Gone => self.halt(HaltReason::LedgerGone, step),
            Settled::Failed(error) => self.halt(HaltReason::Ledger(error), step),
        }
    }

    /// The outstanding write is known to be applied: only now is anybody told.
    fn on_applied(&mut self, version: Version, step: &mut Step) {
        let Some(Outstanding { write, batches, .. }) = self.outstanding.take() else {
            return;
        };
        assert!(
            version == write.expected.next(),
            "I3: nobody else has written the ledger between"
        );
        if self.seals.untold.is_empty() {
            self.seals.again = self.now.after(self.retry());
        }
        let together = u32::try_from(batches).unwrap_or(u32::MAX);
        for batch in self.live.drain(..batches) {
            let attempt = batch.attempt;
            let tries = self.tries.remove(&attempt.txid).unwrap_or_default();
            self.seals.untold.push_back(attempt);
            step.actions.push(Action::Announce { attempt });
            step.actions
                .push(Action::Sealed(batch.into_report(tries, self.now, together)));
        }
        self.record = write.record;
        self.version = version;
        self.head_since = self.now;
        self.extend_stop();
        let sealed = self.record.txid();
        // After the seal nothing can fail any more: what was said against a sealed attempt meanwhile is void.
        self.failed.retain(|txid, _| *txid > sealed);
    }

    pub(super) fn on_seal_acked(&mut self, worker: WorkerId, txid: TxId) {
        if self.settings.workers.contains(&worker) {
            self.seals
                .note(worker, txid.min(self.record.txid()), &self.settings.workers);
        }
    }

    /// Tells again what was not noted, and sends a write of unknown outcome again, identically.
    pub(super) fn seal_again(&mut self, step: &mut Step) {
        if let Some(outstanding) = &mut self.outstanding
            && outstanding.again.is_some_and(|again| self.now >= again)
        {
            outstanding.again = None;
            step.record = Some(Box::new(outstanding.write.clone()));
        }
        if self.phase == Phase::Running
            && !self.seals.untold.is_empty()
            && self.now >= self.seals.again
        {
            self.seals.again = self.now.after(self.retry());
            step.actions.extend(
                self.seals
                    .untold
                    .iter()
                    .map(|attempt| Action::Announce { attempt: *attempt }),
            );
        }
    }
}
