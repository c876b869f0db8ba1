//! From a source that has something to read to what it read.

use super::live::{Live, Tries};
use super::{Coordinator, Phase};
use crate::acker::{hold_id, prepare_id};
use crate::action::{Action, Step};
use crate::batch::{Batch, Replay};
use crate::event::{More, ReadReport};
use crate::halt::HaltReason;
use crate::settings::Replays;
use crate::{Attempt, Generation};

/// So many seals may be unacknowledged by some worker before nothing more is issued: a bound on what is remembered of them.
const MAX_UNTOLD_SEALS: usize = 256;

impl Coordinator {
    /// Issues the next batch if it may be.
    ///
    /// Only after every source has reported what it read for the batch before: reading goes on where that one ended anyway, a read takes
    /// far less time than processing, and so the coordinator never issues on readiness that is used up already.
    pub(super) fn issue(&mut self, step: &mut Step) {
        if !self.may_issue() {
            return;
        }
        let txid = self.next_txid();
        let attempt = Attempt {
            txid,
            generation: self.generation,
        };
        let base = self
            .live
            .back()
            .map(|batch| batch.attempt)
            .or(self.record.sealed);
        let before_ms = self
            .live
            .back()
            .map_or(self.record.time_ms, |batch| batch.time_ms);
        let (wall_ms, spouts) = (self.wall_ms, self.settings.spouts.len());
        let tries = self.tries.entry(txid).or_insert_with(|| Tries {
            time_ms: wall_ms.max(before_ms),
            first: vec![None; spouts],
            ..Tries::default()
        });
        tries.attempts += 1;
        let batch = Batch {
            attempt,
            base,
            time_ms: tries.time_ms,
            limits: self.settings.limits,
            careful: tries.careful,
            skip: tries.skip.clone(),
            replay: tries.first.clone(),
        };
        self.live.push_back(Live {
            attempt,
            base,
            time_ms: batch.time_ms,
            filling_ms: batch.limits.time_ms,
            careful: batch.careful,
            reads: vec![None; spouts],
            issued: self.now,
            read: None,
            acked: None,
            progress: self.now,
        });
        if self.live.len() == 1 {
            self.head_since = self.now;
        }
        let tree = self
            .settings
            .workers
            .iter()
            .fold(hold_id(attempt), |tree, worker| {
                tree ^ prepare_id(attempt, *worker)
            });
        self.acker.init(attempt, tree);
        step.actions.push(Action::Issue(batch));
    }

    fn may_issue(&self) -> bool {
        let stopping = self.stop.as_ref().is_some_and(|stop| !stop.drain);
        let ended = self
            .end
            .as_ref()
            .is_some_and(|end| self.next_txid() >= end.txid);
        self.phase == Phase::Running
            && !(self.paused || stopping || ended)
            && self.failed.is_empty()
            && self.restarted.is_none()
            && self.live.len() < self.settings.max_pending
            && self.seals.untold() < MAX_UNTOLD_SEALS
            // A careful batch runs alone at the end, so that nothing else is lost when it fails again.
            && self.live.back().is_none_or(|batch| batch.is_read() && !batch.careful)
            && self.sources.contains(&Some(More::Ready))
    }

    pub(super) fn on_source(
        &mut self,
        spout: usize,
        generation: Generation,
        more: More,
        step: &mut Step,
    ) {
        if spout >= self.sources.len() {
            let what = format!("spout {spout} spoke, there are {}", self.sources.len());
            return self.halt(HaltReason::Protocol(what), step);
        }
        // What a source said before it heard of the newest rewind is about another position.
        if generation == self.generation && self.phase != Phase::Unfenced {
            self.sources[spout] = Some(more);
        } else if generation < self.generation && self.phase == Phase::Running {
            self.tell_rewind_again(step);
        }
    }

    pub(super) fn on_read(
        &mut self,
        attempt: Attempt,
        spout: usize,
        report: ReadReport,
        xor: u64,
        step: &mut Step,
    ) {
        let Some(index) = self.live_index(attempt) else {
            return;
        };
        if spout >= self.sources.len() {
            let what = format!(
                "spout {spout} read for {attempt}, there are {}",
                self.sources.len()
            );
            return self.halt(HaltReason::Protocol(what), step);
        }
        if self.live[index].reads[spout].is_some() {
            return;
        }
        assert_eq!(
            index + 1,
            self.live.len(),
            "a batch is issued only after the one before is read"
        );
        let first = self
            .tries
            .get(&attempt.txid)
            .and_then(|tries| tries.first[spout].as_ref());
        let (replayed, wrong) = (
            first.is_some(),
            self.wrong_read(attempt, spout, &report, first),
        );
        if let Some(reason) = wrong {
            return self.end_at(attempt.txid, reason);
        }
        let name = &self.settings.spouts[spout].name;
        self.tip.apply(name, &report.moves);
        // A source that says it has more but gives nothing when free to is not asked again until it says so anew.
        let idle = !replayed && report.records == 0 && report.moves.is_empty();
        self.sources[spout] = Some(if idle && report.more == More::Ready {
            More::Waiting
        } else {
            report.more
        });
        if self.settings.spouts[spout].replays == Replays::Identical
            && let Some(tries) = self.tries.get_mut(&attempt.txid)
        {
            tries.first[spout].get_or_insert_with(|| Replay {
                moves: report.moves.clone(),
                records: report.records,
            });
        }
        let batch = &mut self.live[index];
        batch.reads[spout] = Some(report);
        let mut xor = xor;
        if batch.is_read() {
            batch.read = Some(self.now);
            xor ^= hold_id(attempt);
        }
        self.on_ack(attempt, xor);
    }

    /// What is wrong with a read: it does not begin where the batch before ended, or is not what it was promised to be.
    fn wrong_read(
        &self,
        attempt: Attempt,
        spout: usize,
        report: &ReadReport,
        first: Option<&Replay>,
    ) -> Option<HaltReason> {
        let name = &self.settings.spouts[spout].name;
        for step in &report.moves {
            let expected = self.tip.get(name, &step.partition);
            if expected != step.from.as_deref() {
                return Some(HaltReason::PositionGap {
                    attempt,
                    spout: name.clone(),
                    partition: step.partition.clone(),
                    expected: expected.map(<[u8]>::to_vec),
                    found: step.from.clone(),
                });
            }
        }
        let (partition, what) = difference(first?, report)?;
        Some(HaltReason::NotIdentical {
            attempt,
            spout: name.clone(),
            partition,
            what,
        })
    }

    pub(super) fn on_ack(&mut self, attempt: Attempt, xor: u64) {
        let Some(index) = self.live_index(attempt) else {
            return;
        };
        self.extend_stop();
        let batch = &mut self.live[index];
        batch.progress = self.now;
        if batch.acked.is_some() {
            return;
        }
        if self.acker.ack(attempt, xor) == crate::AckOutcome::Complete {
            assert!(
                batch.is_read(),
                "I2: the tree is held open until every source has reported"
            );
            batch.acked = Some(self.now);
            self.head_since = self.now;
        }
    }
}

/// The first difference between a read and the one it must repeat: the partition and what differs.
fn difference(first: &Replay, again: &ReadReport) -> Option<(String, String)> {
    for step in &first.moves {
        let Some(other) = again
            .moves
            .iter()
            .find(|other| other.partition == step.partition)
        else {
            return Some((
                step.partition.clone(),
                format!("{} records the first time, nothing now", step.records),
            ));
        };
        if (other.records, &other.to) != (step.records, &step.to) || other.from != step.from {
            let what = format!(
                "{} records the first time, {} now, or other ends of the range",
                step.records, other.records
            );
            return Some((step.partition.clone(), what));
        }
        if other.digest != step.digest {
            return Some((
                step.partition.clone(),
                "the same range holds other records (their digest differs)".into(),
            ));
        }
    }
    let extra = again.moves.iter().find(|other| {
        first
            .moves
            .iter()
            .all(|step| step.partition != other.partition)
    })?;
    Some((
        extra.partition.clone(),
        format!("nothing the first time, {} records now", extra.records),
    ))
}
