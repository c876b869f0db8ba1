//! How a term ends: drained, stopped, or halted after everything that can be sealed is.

use super::{Coordinator, Phase};
use crate::TxId;
use crate::action::{Action, Step};
use crate::cause::Failure;
use crate::event::More;
use crate::halt::HaltReason;
use crate::settings::Micros;

/// The batch that can never be sealed.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) txid: TxId,
    reason: HaltReason,
}

/// A stop that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Stopping {
    pub(super) drain: bool,
    /// A stop that need not drain waits no longer than this for a ledger or worker that does not answer.
    pub(super) by: Micros,
}

impl Coordinator {
    pub(super) fn on_stop(&mut self, drain: bool) {
        // A second stop may only be more urgent than the first.
        let drain = drain && self.stop.as_ref().is_none_or(|stop| stop.drain);
        self.stop = Some(Stopping {
            drain,
            by: self.now.after(self.timeout()),
        });
    }

    /// While there is progress, a stop waits on.
    pub(super) fn extend_stop(&mut self) {
        let by = self.now.after(self.timeout());
        if let Some(stop) = &mut self.stop {
            stop.by = by;
        }
    }

    /// The batch can never be sealed: it and all after it are dropped, all before it are sealed, then the term halts.
    pub(super) fn end_at(&mut self, txid: TxId, reason: HaltReason) {
        self.drop_from(txid);
        if self.end.as_ref().is_none_or(|end| txid < end.txid) {
            self.end = Some(End { txid, reason });
        }
    }

    /// While stopping, a failed batch is not issued anew: it and all after it are dropped, those before it go on.
    pub(super) fn give_up(&mut self, failure: Failure, step: &mut Step) {
        let first = failure.attempt.txid;
        let why = failure.to_string();
        self.failed.insert(first, failure);
        for attempt in self
            .in_flight()
            .filter(|attempt| attempt.txid >= first)
            .collect::<Vec<_>>()
        {
            self.tell_failed(attempt, &why, step);
        }
        self.drop_from(first);
    }

    fn drop_from(&mut self, txid: TxId) {
        let keep = self.live.partition_point(|batch| batch.attempt.txid < txid);
        for batch in self.live.drain(keep..) {
            self.acker.forget(&batch.attempt);
        }
        self.failed.retain(|failed, _| *failed < txid);
    }

    /// Ends the term if it is time to; true if it is over.
    pub(super) fn finish(&mut self, step: &mut Step) -> bool {
        let asked = self.stop.as_ref().is_some_and(|stop| !stop.drain);
        let late = asked && self.stop.as_ref().is_some_and(|stop| self.now >= stop.by);
        let busy = self.outstanding.is_some() || !self.live.is_empty();
        if busy && !late {
            return false;
        }
        if let Some(end) = &self.end {
            // Replays may cut batches differently, so that the one that failed is never reached again.
            let nothing_more =
                self.phase == Phase::Running && !self.sources.contains(&Some(More::Ready));
            if asked || nothing_more || self.next_txid() >= end.txid {
                let reason = end.reason.clone();
                self.halt(reason, step);
                return true;
            }
        }
        let told = self.seals.untold() == 0;
        let drained = self.stop.as_ref().is_some_and(|stop| stop.drain) && self.is_drained();
        if asked && (told || late) || drained {
            self.tell_drained(step);
            self.phase = Phase::Over;
            step.actions.push(Action::Stopped);
        }
        self.phase == Phase::Over
    }

    fn is_drained(&self) -> bool {
        self.phase == Phase::Running
            && self.live.is_empty()
            && self.outstanding.is_none()
            && self.end.is_none()
            && self.seals.untold() == 0
            && self
                .sources
                .iter()
                .all(|more| matches!(more, Some(More::Waiting | More::Exhausted)))
    }

    /// Says once, each time it becomes true, that everything readable is sealed and every worker knows.
    pub(super) fn tell_drained(&mut self, step: &mut Step) {
        let drained = self.is_drained();
        if drained && !self.drained {
            step.actions.push(Action::Drained);
        }
        self.drained = drained;
    }
}
