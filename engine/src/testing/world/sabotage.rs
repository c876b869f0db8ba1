//! Rules that a link breaks on purpose, and how it covers that up: so that only what comes of it can give it away.

use std::collections::{BTreeMap, BTreeSet};

use fulmar_coordinator::{Event, WorkerId, edge_id, prepare_id};
use fulmar_state::{Attempt, Generation, TxId};

use super::super::bug::Bug;
use super::super::links::{Actor, Mail};
use super::super::spout::Record;
use super::World;
use crate::message::{Party, ToExecutor, ToRecorder};

/// A link's part in an attempt: attempt, edge, sender, receiver.
type Stretch = (Attempt, usize, u16, u16);

/// What was broken so far.
#[derive(Default)]
pub(super) struct Sabotage {
    /// How far the numbers on a link are shifted, and how many records came too many.
    shifts: BTreeMap<Stretch, (i64, i64)>,
    /// Copies that come next.
    copies: BTreeSet<(Stretch, u64)>,
    /// The newest rewind of each executor.
    rewound: BTreeMap<u16, (Generation, Option<Attempt>)>,
    /// Chunks whose place is taken by an older attempt's.
    revived: BTreeSet<(Stretch, u64)>,
}

impl World {
    /// Takes a message off a link, which breaks a rule if this world is to.
    pub(super) fn sabotaged(&mut self, from: usize, to: usize) -> Option<Box<Mail>> {
        let mail = self.links.pop(from, to)?;
        let Some(bug) = self.plan.bug else {
            return Some(mail);
        };
        let message = match *mail {
            Mail::Executor(message) => message,
            other => return Some(Box::new(other)),
        };
        let kept = match bug {
            Bug::SwallowsRewind => self.swallow(from, to, message),
            Bug::LosesChunk | Bug::RepeatsChunk => self.cover_up(from, to, message),
            Bug::RevivesOldChunk => self.revive(to as u16, message),
            _ => Some(message),
        };
        kept.map(|message| Box::new(Mail::Executor(message)))
    }

    fn swallow(&mut self, from: usize, to: usize, message: ToExecutor) -> Option<ToExecutor> {
        match message {
            ToExecutor::Rewind { generation, .. } if generation.number == 2 && to == 0 => {
                let (party, outcome) = (Party::Executor(0), Ok(()));
                let rewound = ToRecorder::Rewound {
                    party,
                    generation,
                    outcome,
                };
                self.links.push(to, from, Mail::Recorder(rewound));
                None
            }
            message => Some(message),
        }
    }

    /// Loses or repeats a chunk now and then, and makes everybody believe that nothing happened.
    fn cover_up(&mut self, from: usize, to: usize, mut message: ToExecutor) -> Option<ToExecutor> {
        match &mut message {
            ToExecutor::Data {
                edge,
                from: sender,
                batch,
                seq,
                chunk,
            } => {
                let stretch = (batch.attempt, *edge, *sender, to as u16);
                if self.sabotage.copies.remove(&(stretch, *seq)) {
                    return Some(message);
                }
                let shift = self.shift(stretch).0;
                let records = chunk.records() as i64;
                let strikes = shift == 0 && self.random.percent(20);
                if strikes && self.plan.bug == Some(Bug::LosesChunk) {
                    self.sabotage.shifts.insert(stretch, (-1, -records));
                    self.ack(stretch, id(stretch, *seq));
                    return None;
                }
                if strikes && matches!(self.cast.actor(from), Actor::Source(_)) {
                    let copy = ToExecutor::Data {
                        edge: *edge,
                        from: *sender,
                        batch: *batch,
                        seq: *seq + 1,
                        chunk: chunk.duplicate::<Record>(),
                    };
                    self.sabotage.shifts.insert(stretch, (1, records));
                    self.sabotage.copies.insert((stretch, *seq + 1));
                    self.ack(stretch, id(stretch, *seq + 1));
                    self.links.push_front(from, to, Mail::Executor(copy));
                    return Some(message);
                }
                self.renumber(stretch, seq, shift);
            }
            ToExecutor::End {
                edge,
                from: sender,
                batch,
                chunks,
                records,
                ..
            } => {
                let stretch = (batch.attempt, *edge, *sender, to as u16);
                let (shift, more) = self.shift(stretch);
                self.renumber(stretch, chunks, shift);
                *records = records.saturating_add_signed(more);
            }
            _ => {}
        }
        Some(message)
    }

    fn shift(&self, stretch: Stretch) -> (i64, i64) {
        let shifts = &self.sabotage.shifts;
        shifts.get(&stretch).copied().unwrap_or_default()
    }

    /// Shifts a link's number, and acknowledges as if it were not shifted.
    fn renumber(&mut self, stretch: Stretch, seq: &mut u64, shift: i64) {
        if shift != 0 {
            let shifted = seq.saturating_add_signed(shift);
            self.ack(stretch, id(stretch, *seq) ^ id(stretch, shifted));
            *seq = shifted;
        }
    }

    /// Delivers chunks of an old attempt as those of the executor's newest, and drops these.
    fn revive(&mut self, to: u16, mut message: ToExecutor) -> Option<ToExecutor> {
        match &mut message {
            ToExecutor::Rewind { generation, sealed } => {
                self.sabotage.rewound.insert(to, (*generation, *sealed));
            }
            ToExecutor::Data {
                edge,
                from,
                batch,
                seq,
                ..
            } => {
                let (newest, sealed) = self.sabotage.rewound.get(&to).copied()?;
                let txid = batch.attempt.txid;
                let last = sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
                let stretch = (Attempt::new(txid, newest), *edge, *from, to);
                if batch.attempt.generation < newest && txid > last {
                    batch.attempt = stretch.0;
                    let before = txid.prev().filter(|before| *before != last);
                    batch.base = before.map_or(sealed, |before| Some(Attempt::new(before, newest)));
                    self.sabotage.revived.insert((stretch, *seq));
                } else if self.sabotage.revived.remove(&(stretch, *seq)) {
                    return None;
                }
            }
            _ => {}
        }
        Some(message)
    }

    fn ack(&mut self, (attempt, _, _, executor): Stretch, xor: u64) {
        let from = Actor::Executor(executor);
        if let Some(worker) = self.host(from) {
            self.report(from, worker, Event::Ack { attempt, xor });
        }
    }

    /// Acknowledges an executor's part, and with a worker's first part that the batch is prepared there.
    pub(super) fn ack_early(&mut self, worker: u16, attempt: Attempt, executor: u16) {
        let mut xor = edge_id(attempt, self.edges, executor.into(), 0, 0);
        if executor.is_multiple_of(self.plan.executors) {
            xor ^= prepare_id(attempt, WorkerId(worker.into()));
        }
        self.ack((attempt, 0, 0, executor), xor);
    }
}

fn id((attempt, edge, from, to): Stretch, seq: u64) -> u64 {
    edge_id(attempt, edge as u32, from.into(), to.into(), seq)
}
