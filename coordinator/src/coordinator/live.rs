//! What the coordinator remembers of a batch: of the attempt in flight, and of all its attempts.

use crate::Attempt;
use crate::batch::Replay;
use crate::cause::{Failure, Skip};
use crate::event::ReadReport;
use crate::report::{BatchReport, Phases};
use crate::settings::Micros;

/// An attempt in flight.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) attempt: Attempt,
    pub(super) base: Option<Attempt>,
    pub(super) time_ms: u64,
    /// How long reading it may take by the limits it was issued with, in milliseconds.
    pub(super) filling_ms: u64,
    pub(super) careful: bool,
    /// What each spout read; `None` until it has said.
    pub(super) reads: Vec<Option<ReadReport>>,
    pub(super) issued: Micros,
    pub(super) read: Option<Micros>,
    pub(super) acked: Option<Micros>,
    /// The newest sign of life.
    pub(super) progress: Micros,
}

impl Live {
    pub(super) fn is_read(&self) -> bool {
        self.reads.iter().all(Option::is_some)
    }

    /// Whether all of it is read, processed and prepared everywhere (I2).
    pub(super) fn is_ready(&self) -> bool {
        self.acked.is_some() && self.is_read()
    }

    /// Whether it took anything from the spout, or may have.
    pub(super) fn took_from(&self, spout: usize) -> bool {
        self.reads[spout]
            .as_ref()
            .is_none_or(|read| read.records > 0 || !read.moves.is_empty())
    }

    /// The report of its seal.
    pub(super) fn into_report(
        self,
        tries: Tries,
        now: Micros,
        sealed_together: u32,
    ) -> BatchReport {
        let read_at = self.read.unwrap_or(self.issued);
        let acked_at = self.acked.unwrap_or(read_at);
        let reads: Vec<_> = self.reads.into_iter().flatten().collect();
        BatchReport {
            txid: self.attempt.txid,
            attempt: self.attempt,
            attempts: tries.attempts,
            records: reads.iter().map(|read| read.records).sum(),
            bytes: reads.iter().map(|read| read.bytes).sum(),
            time_ms: self.time_ms,
            phases: Phases {
                read: read_at.since(self.issued),
                process: acked_at.since(read_at),
                seal: now.since(acked_at),
            },
            sealed_together,
            reads,
            skipped: tries.skip,
            failures: tries.failures.into(),
        }
    }
}

/// An unsealed batch over its attempts of this term.
#[derive(Clone, Debug, Default)]
pub(super) struct Tries {
    /// Attempts issued.
    pub(super) attempts: u32,
    /// Failures that count towards `max_attempts`.
    pub(super) strikes: u32,
    /// Whether from now on records go one by one.
    pub(super) careful: bool,
    /// Records left out.
    pub(super) skip: Vec<Skip>,
    /// The batch's time, fixed by its first attempt.
    pub(super) time_ms: u64,
    /// What each spout that promises identical replays read first.
    pub(super) first: Vec<Option<Replay>>,
    pub(super) failures: std::collections::VecDeque<Failure>,
}

impl Tries {
    pub(super) fn note(&mut self, failure: Failure) {
        if self.failures.len() == BatchReport::MAX_FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(failure);
    }
}
