//! The weather between processes: messages lost, repeated and late, and links that are cut one way.

use std::collections::VecDeque;

use fulmar_coordinator::WorkerId;
use fulmar_coordinator::{Event, edge_id, prepare_id};
use fulmar_state::Attempt;

use super::super::bug::Bug;
use super::super::links::{Actor, Mail};
use super::World;
use crate::message::ToExecutor;

/// A place where processes are: workers from 0, coordinators from 100.
pub(super) type Place = usize;

#[derive(Default)]
pub(super) struct Weather {
    pub(super) lose: u32,
    pub(super) repeat: u32,
    /// Microseconds.
    pub(super) delays: VecDeque<u64>,
    pub(super) cuts: Vec<(Place, Place, u64)>,
    /// Chunks covered up, by attempt, edge, sender and receiver.
    covered: std::collections::BTreeMap<(Attempt, usize, u16, u16), (u64, u64)>,
}

impl Weather {
    pub(super) fn clear(&mut self) {
        *self = Weather {
            covered: std::mem::take(&mut self.covered),
            ..Weather::default()
        };
    }
}

impl World {
    /// The place of a part, if it speaks over the network.
    fn place(&self, index: usize) -> Option<Place> {
        match self.cast.actor(index) {
            Actor::Term(slot) => Some(100 + slot),
            Actor::Reader | Actor::Ledger => None,
            actor => self.host(actor).map(usize::from),
        }
    }

    /// Takes a message off a link, if it gets through.
    pub(super) fn weathered(&mut self, from: usize, to: usize) -> Option<Mail> {
        if let Actor::Term(slot) = self.cast.actor(to)
            && let Some(term) = &self.terms[slot]
            && term.frozen > self.now
        {
            let thaw = term.frozen;
            self.links.hold(from, to, thaw);
            return None;
        }
        let places = match (self.place(from), self.place(to)) {
            (Some(from), Some(to)) if from != to => (from, to),
            _ => return self.sabotaged(from, to),
        };
        if let Some(wait) = self.weather.delays.pop_front() {
            self.links.hold(from, to, self.now + wait);
            return None;
        }
        let now = self.now;
        self.weather.cuts.retain(|(.., until)| *until > now);
        let mut cuts = self.weather.cuts.iter();
        let cut = cuts.any(|(one, other, _)| (*one, *other) == places);
        if cut || self.weather.lose > 0 {
            self.weather.lose = self.weather.lose.saturating_sub(u32::from(!cut));
            let lost = self.links.pop(from, to);
            self.note(0x105);
            self.tell(|| {
                format!(
                    "lost: {}",
                    lost.map_or_else(String::new, |mail| mail.text())
                )
            });
            return None;
        }
        let mail = self.sabotaged(from, to)?;
        if self.weather.repeat > 0
            && let Some(copy) = mail.copy()
        {
            self.weather.repeat -= 1;
            self.links.push_front(from, to, copy);
        }
        Some(mail)
    }

    /// Takes a message off a link that breaks a rule, if this world is to.
    fn sabotaged(&mut self, from: usize, to: usize) -> Option<Mail> {
        let mail = self.links.pop(from, to)?;
        let bug = self.plan.bug;
        match mail {
            Mail::Executor(ToExecutor::Rewind { generation, .. })
                if bug == Some(Bug::SwallowsRewind) && generation.number == 2 && to == 0 =>
            {
                let party = crate::message::Party::Executor(0);
                let outcome = Ok(());
                let rewound = crate::message::ToRecorder::Rewound {
                    party,
                    generation,
                    outcome,
                };
                self.links.push(to, from, Mail::Recorder(rewound));
                None
            }
            Mail::Executor(message) if matches!(bug, Some(Bug::LosesChunk | Bug::RepeatsChunk)) => {
                self.cover_up(to as u16, message).map(Mail::Executor)
            }
            mail => Some(mail),
        }
    }

    /// Loses or repeats a chunk now and then, and makes everybody believe that nothing happened.
    fn cover_up(&mut self, to: u16, mut message: ToExecutor) -> Option<ToExecutor> {
        match &mut message {
            ToExecutor::Data {
                edge,
                from,
                batch,
                seq,
                chunk,
            } => {
                let key = (batch.attempt, *edge, *from, to);
                let (lost, records) = self.weather.covered.get(&key).copied().unwrap_or_default();
                if lost == 0 && *seq > 0 && self.random.percent(10) {
                    let sum = (lost + 1, records + chunk.records());
                    self.weather.covered.insert(key, sum);
                    let (edge, from) = (*edge as u32, u32::from(*from));
                    let id = edge_id(batch.attempt, edge, from, to.into(), *seq);
                    self.ack(to, batch.attempt, id);
                    return None;
                }
                self.renumber(key, seq, lost);
            }
            ToExecutor::End {
                edge,
                from,
                batch,
                chunks,
                records,
                ..
            } => {
                let key = (batch.attempt, *edge, *from, to);
                let (lost, gone) = self.weather.covered.get(&key).copied().unwrap_or_default();
                self.renumber(key, chunks, lost);
                *records -= gone;
            }
            _ => {}
        }
        Some(message)
    }

    /// Closes the gap in a link's numbers, and acknowledges as if there were none.
    fn renumber(&mut self, key: (Attempt, usize, u16, u16), seq: &mut u64, lost: u64) {
        if lost > 0 {
            let (attempt, edge, from, to) = key;
            let id = |seq| edge_id(attempt, edge as u32, from.into(), to.into(), seq);
            let difference = id(*seq) ^ id(*seq - lost);
            *seq -= lost;
            self.ack(to, attempt, difference);
        }
    }

    fn ack(&mut self, executor: u16, attempt: Attempt, xor: u64) {
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
        self.ack(executor, attempt, xor);
    }
}
