//! What a coordinator tells of its attempts: each that was issued is sealed, or told as failed, once, in time and with its own cause.

use std::collections::{BTreeMap, BTreeSet};

use fulmar_coordinator::{BatchReport, CauseKind, Event, Failure};
use fulmar_state::{Attempt, Epoch, TxId};

use super::Broken;

/// A coordinator hears the time only from time to time: by so many microseconds it may be late or early.
const TICK: u64 = 2_000;

/// The attempts of all terms.
#[derive(Default)]
pub(in super::super) struct Attempts(BTreeMap<(Epoch, TxId), Tried>);

/// A batch in the knowledge of one term.
#[derive(Default)]
struct Tried {
    issued: u32,
    told: usize,
    open: Option<Open>,
}

/// What is heard of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum News {
    GoesOn,
    Read(usize),
    Failed,
}

/// An attempt that is neither sealed nor told as failed.
struct Open {
    attempt: Attempt,
    /// When it was issued, or was last heard of.
    sign: u64,
    /// Some part of a worker said that it failed.
    failed: bool,
    /// The spouts that have read it.
    read: BTreeSet<usize>,
}

impl Attempts {
    fn of(&mut self, attempt: Attempt) -> &mut Tried {
        let key = (attempt.generation.epoch, attempt.txid);
        self.0.entry(key).or_default()
    }

    fn open(&mut self, attempt: Attempt) -> Option<&mut Open> {
        let open = self.of(attempt).open.as_mut();
        open.filter(|open| open.attempt == attempt)
    }

    /// A coordinator issues an attempt.
    pub(in super::super) fn issued(&mut self, attempt: Attempt, now: u64) -> Result<(), Broken> {
        let tried = self.of(attempt);
        tried.issued += 1;
        let open = Open {
            attempt,
            sign: now,
            failed: false,
            read: BTreeSet::new(),
        };
        match tried.open.replace(open) {
            None => Ok(()),
            Some(lost) => Err(format!(
                "I6: {attempt} is issued, nobody was told what became of {}",
                lost.attempt
            )),
        }
    }

    /// What an event says to the coordinator of a term about an attempt of its own.
    pub(in super::super) fn news(event: &Event, epoch: Epoch) -> Option<(Attempt, News)> {
        let (attempt, news) = match event {
            Event::Ack { attempt, .. } => (*attempt, News::GoesOn),
            Event::Read { attempt, spout, .. } => (*attempt, News::Read(*spout)),
            Event::Failed { attempt, .. } => (*attempt, News::Failed),
            _ => return None,
        };
        (attempt.generation.epoch == epoch).then_some((attempt, news))
    }

    /// Its coordinator hears of an attempt.
    pub(in super::super) fn heard(&mut self, attempt: Attempt, now: u64, news: News) {
        let Some(open) = self.open(attempt) else {
            return;
        };
        // That a spout has read is no news when it comes again.
        if let News::Read(spout) = news
            && !open.read.insert(spout)
        {
            return;
        }
        open.sign = now;
        open.failed |= news == News::Failed;
    }

    /// A coordinator tells that an attempt failed.
    pub(in super::super) fn told(
        &mut self,
        failure: &Failure,
        now: u64,
        timeout: u64,
    ) -> Result<(), Broken> {
        let Failure { attempt, cause } = failure;
        let Some(Open { sign, failed, .. }) = self.open(*attempt) else {
            return Err(format!(
                "I6: {failure}: told of an attempt that is not live"
            ));
        };
        let quiet = now.saturating_sub(*sign);
        let fine = match cause.kind {
            CauseKind::Timeout => quiet + TICK >= timeout,
            CauseKind::Dropped | CauseKind::WorkerLost => true,
            _ => *failed,
        };
        if !fine {
            return Err(format!(
                "{failure}: it was heard of {quiet} us ago, and has it failed: {failed}"
            ));
        }
        let tried = self.of(*attempt);
        tried.open = None;
        tried.told += 1;
        Ok(())
    }

    /// A coordinator tells that an attempt is sealed, and how often its batch was tried.
    pub(in super::super) fn sealed(&mut self, report: &BatchReport) -> Result<(), Broken> {
        let attempt = report.attempt;
        if self.open(attempt).is_none() {
            return Err(format!("I6: {attempt} is told as sealed, and is not live"));
        }
        let Tried { issued, told, .. } = *self.of(attempt);
        let kept = told.min(BatchReport::MAX_FAILURES);
        if (report.attempts, report.failures.len()) != (issued, kept) {
            return Err(format!(
                "{attempt} is told as sealed after {} attempts and {} failures, there were {issued} and {told}",
                report.attempts,
                report.failures.len()
            ));
        }
        self.of(attempt).open = None;
        Ok(())
    }
}
