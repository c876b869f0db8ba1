//! Who speaks to whom: a queue for each pair, from which the world takes the heads in any order.

use std::collections::VecDeque;

use fulmar_coordinator::Event;
use fulmar_state::{Attempt, FoldJob};

use super::ledger::{Answer, Request};
use super::random::Random;
use crate::chunk::Chunk;
use crate::message::{ToExecutor, ToPublisher, ToRecorder, ToSource};

/// A part of the world that takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    Executor(u16),
    Source(usize),
    Recorder(u16),
    Flusher(u16),
    Publisher(u16),
    /// Whoever reads states from outside.
    Reader,
    Ledger,
    /// The coordinator's process in this place.
    Term(usize),
}

/// So many coordinators can be there at once, dead ones included whose last messages are under way.
pub(super) const TERMS: usize = 6;

/// What is on its way.
pub(super) enum Mail {
    Executor(ToExecutor),
    Source(ToSource),
    Recorder(ToRecorder),
    Flusher(FoldJob),
    Publisher(ToPublisher),
    Event(Event),
    Request(Request),
    Answer(Answer),
}

/// Numbers the actors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    pub(super) tasks: usize,
    pub(super) spouts: usize,
    pub(super) workers: usize,
}

impl Cast {
    pub(super) fn count(self) -> usize {
        self.index(Actor::Term(TERMS))
    }

    pub(super) fn index(self, actor: Actor) -> usize {
        let workers = self.tasks + self.spouts;
        let outside = workers + 3 * self.workers;
        match actor {
            Actor::Executor(id) => id.into(),
            Actor::Source(index) => self.tasks + index,
            Actor::Recorder(worker) => workers + usize::from(worker),
            Actor::Flusher(worker) => workers + self.workers + usize::from(worker),
            Actor::Publisher(worker) => workers + 2 * self.workers + usize::from(worker),
            Actor::Reader => outside,
            Actor::Ledger => outside + 1,
            Actor::Term(slot) => outside + 2 + slot,
        }
    }

    pub(super) fn actor(self, index: usize) -> Actor {
        let workers = self.tasks + self.spouts;
        let outside = workers + 3 * self.workers;
        let of_worker = |first: usize| (index - first) as u16;
        match index {
            index if index < self.tasks => Actor::Executor(index as u16),
            index if index < workers => Actor::Source(index - self.tasks),
            index if index < workers + self.workers => Actor::Recorder(of_worker(workers)),
            index if index < workers + 2 * self.workers => {
                Actor::Flusher(of_worker(workers + self.workers))
            }
            index if index < outside => Actor::Publisher(of_worker(workers + 2 * self.workers)),
            index if index == outside => Actor::Reader,
            index if index == outside + 1 => Actor::Ledger,
            index => Actor::Term(index - outside - 2),
        }
    }
}

/// Every link, by sender and receiver. A part's link to itself carries nothing: it means that the part has work to do.
pub(super) struct Links {
    actors: usize,
    queues: Vec<VecDeque<Box<Mail>>>,
    /// Links that have something, in no order that means anything.
    ready: Vec<usize>,
    /// Where each link stands in `ready`.
    places: Vec<usize>,
    /// Links that are held up, and until when.
    held: Vec<(u64, usize)>,
}

const NOWHERE: usize = usize::MAX;
const HELD: usize = usize::MAX - 1;

impl Links {
    pub(super) fn new(actors: usize) -> Self {
        Links {
            actors,
            queues: std::iter::repeat_with(VecDeque::new)
                .take(actors * actors)
                .collect(),
            ready: Vec::new(),
            places: vec![NOWHERE; actors * actors],
            held: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, from: usize, to: usize, mail: Mail) {
        let link = from * self.actors + to;
        self.queues[link].push_back(Box::new(mail));
        self.make_ready(link);
    }

    pub(super) fn push_front(&mut self, from: usize, to: usize, mail: Mail) {
        let link = from * self.actors + to;
        self.queues[link].push_front(Box::new(mail));
        self.make_ready(link);
    }

    /// The part has work to do.
    pub(super) fn wake(&mut self, actor: usize) {
        self.make_ready(actor * self.actors + actor);
    }

    fn make_ready(&mut self, link: usize) {
        if self.places[link] == NOWHERE {
            self.places[link] = self.ready.len();
            self.ready.push(link);
        }
    }

    fn unready(&mut self, link: usize) {
        let place = std::mem::replace(&mut self.places[link], NOWHERE);
        if place < HELD {
            self.ready.swap_remove(place);
            if let Some(moved) = self.ready.get(place) {
                self.places[*moved] = place;
            }
        }
    }

    /// A link that has something, from sender to receiver.
    pub(super) fn pick(&self, random: &mut Random) -> Option<(usize, usize)> {
        if self.ready.is_empty() {
            return None;
        }
        let link = *random.pick(&self.ready);
        Some((link / self.actors, link % self.actors))
    }

    /// Takes what comes first over a link; nothing from a part's link to itself.
    pub(super) fn pop(&mut self, from: usize, to: usize) -> Option<Box<Mail>> {
        let link = from * self.actors + to;
        let mail = self.queues[link].pop_front();
        if self.queues[link].is_empty() {
            self.unready(link);
        }
        mail
    }

    /// Holds a link up.
    pub(super) fn hold(&mut self, from: usize, to: usize, until: u64) {
        let link = from * self.actors + to;
        if self.places[link] != HELD {
            self.unready(link);
            self.places[link] = HELD;
            self.held.push((until, link));
        }
    }

    /// Holds everything up that goes to an actor, comes from it, or is for it to do.
    pub(super) fn hold_actor(&mut self, actor: usize, until: u64) {
        for other in 0..self.actors {
            self.hold(other, actor, until);
            self.hold(actor, other, until);
        }
    }

    /// When the next link is let go.
    pub(super) fn next_release(&self) -> u64 {
        self.held
            .iter()
            .map(|(until, _)| *until)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Lets go of links that were held up long enough.
    pub(super) fn release(&mut self, now: u64) {
        while let Some(at) = self.held.iter().position(|(until, _)| *until <= now) {
            let (_, link) = self.held.swap_remove(at);
            self.places[link] = NOWHERE;
            // Whether a part has work to do is not asked while it is held up.
            let own = link % (self.actors + 1) == 0;
            if own || !self.queues[link].is_empty() {
                self.make_ready(link);
            }
        }
    }

    /// Drops what is on a link.
    pub(super) fn clear(&mut self, from: usize, to: usize) {
        let link = from * self.actors + to;
        self.queues[link].clear();
        if self.places[link] != HELD {
            self.unready(link);
        }
    }

    /// How much is on its way to or from an actor.
    pub(super) fn load(&self, actor: usize) -> usize {
        let links = (0..self.actors).map(|other| {
            self.queues[actor * self.actors + other].len()
                + self.queues[other * self.actors + actor].len()
        });
        links.sum()
    }
}

impl Mail {
    /// The same once more, as a network would repeat it. A repeated chunk's records are never looked at.
    pub(super) fn copy(&self) -> Option<Mail> {
        Some(match self {
            Mail::Event(event) => Mail::Event(event.clone()),
            Mail::Source(ToSource::Issue(batch)) => Mail::Source(ToSource::Issue(batch.clone())),
            Mail::Source(ToSource::Credit { to, generation }) => Mail::Source(ToSource::Credit {
                to: *to,
                generation: *generation,
            }),
            Mail::Recorder(ToRecorder::Announce { attempt }) => {
                Mail::Recorder(ToRecorder::Announce { attempt: *attempt })
            }
            Mail::Recorder(ToRecorder::Rewind {
                generation,
                sealed,
                positions,
            }) => Mail::Recorder(ToRecorder::Rewind {
                generation: *generation,
                sealed: *sealed,
                positions: positions.clone(),
            }),
            Mail::Executor(message) => {
                Mail::Executor(copied(message, |chunk| Chunk::new((), chunk.records()))?)
            }
            _ => return None,
        })
    }

    /// A number for the trace's digest.
    pub(super) fn code(&self) -> u64 {
        let of = |tag: u64, attempt: &Attempt| {
            let Attempt { txid, generation } = attempt;
            tag << 56 ^ txid.0 << 32 ^ generation.epoch.0 << 16 ^ generation.number
        };
        match self {
            Mail::Executor(ToExecutor::Data {
                batch, seq, chunk, ..
            }) => of(1, &batch.attempt) ^ seq << 24 ^ chunk.records(),
            Mail::Executor(ToExecutor::End { batch, records, .. }) => {
                of(2, &batch.attempt) ^ records
            }
            Mail::Executor(_) => 3,
            Mail::Source(ToSource::Issue(batch)) => of(4, &batch.attempt),
            Mail::Source(_) => 5,
            Mail::Recorder(ToRecorder::Part(part)) => of(6, &part.batch.attempt),
            Mail::Recorder(ToRecorder::Announce { attempt }) => of(7, attempt),
            Mail::Recorder(_) => 8,
            Mail::Flusher(_) => 9,
            Mail::Publisher(_) => 10,
            Mail::Event(Event::Ack { attempt, xor }) => of(11, attempt) ^ xor,
            Mail::Event(Event::Failed { attempt, .. }) => of(12, attempt),
            Mail::Event(_) => 13,
            Mail::Request(_) => 14,
            Mail::Answer(_) => 15,
        }
    }

    /// What it is, for a trace that is read.
    pub(super) fn text(&self) -> String {
        match self {
            Mail::Executor(ToExecutor::Data {
                batch,
                seq,
                chunk,
                edge,
                ..
            }) => format!(
                "chunk {seq} of {} over edge {edge}: {chunk:?}",
                batch.attempt
            ),
            Mail::Executor(ToExecutor::End {
                batch,
                chunks,
                records,
                edge,
                ..
            }) => format!(
                "end of {} over edge {edge}: {chunks} chunks, {records} records",
                batch.attempt
            ),
            Mail::Executor(ToExecutor::Credit { generation, .. }) => {
                format!("credit of {generation}")
            }
            Mail::Executor(ToExecutor::Restore { txid, .. }) => format!("restore {txid}"),
            Mail::Executor(ToExecutor::Rewind { generation, sealed }) => {
                format!("rewind {generation} to {sealed:?}")
            }
            Mail::Executor(ToExecutor::Seal { txid }) => format!("show {txid}"),
            Mail::Executor(ToExecutor::Freeze) => "freeze".into(),
            Mail::Executor(ToExecutor::Folded { upto, .. }) => format!("folded {upto}"),
            Mail::Executor(ToExecutor::Read { .. }) => "read".into(),
            Mail::Source(ToSource::Issue(batch)) => {
                format!(
                    "issue {} on {:?}, careful {}",
                    batch.attempt, batch.base, batch.careful
                )
            }
            Mail::Source(ToSource::Rewind { generation, .. }) => format!("rewind {generation}"),
            Mail::Source(_) => "credit".into(),
            Mail::Recorder(ToRecorder::Part(part)) => format!("part of {}", part.batch.attempt),
            Mail::Recorder(ToRecorder::Rewind {
                generation, sealed, ..
            }) => format!("rewind {generation} to {sealed:?}"),
            Mail::Recorder(ToRecorder::Rewound {
                party, generation, ..
            }) => format!("{party:?} has rewound to {generation}"),
            Mail::Recorder(ToRecorder::Announce { attempt }) => format!("announce {attempt}"),
            Mail::Recorder(ToRecorder::Published { txid }) => format!("published {txid}"),
            Mail::Recorder(_) => "frozen, folded or read".into(),
            Mail::Flusher(job) => format!("{job:?}"),
            Mail::Publisher(ToPublisher::Publish { txid, .. }) => format!("publish {txid}"),
            Mail::Event(event) => format!("{event:?}"),
            Mail::Request(Request::Load) => "load".into(),
            Mail::Request(Request::Write(record, expected)) => {
                format!(
                    "write {:?} by {} over {expected}",
                    record.sealed, record.epoch
                )
            }
            Mail::Answer(answer) => format!("{answer:?}"),
        }
    }
}

/// The same message, with a copy of its chunk as somebody makes it; none of what cannot be copied.
pub(super) fn copied(
    message: &ToExecutor,
    duplicate: impl Fn(&Chunk) -> Chunk,
) -> Option<ToExecutor> {
    Some(match message {
        ToExecutor::Data {
            edge,
            from,
            batch,
            seq,
            chunk,
        } => ToExecutor::Data {
            edge: *edge,
            from: *from,
            batch: *batch,
            seq: *seq,
            chunk: duplicate(chunk),
        },
        ToExecutor::End {
            edge,
            from,
            batch,
            chunks,
            records,
            dead,
        } => ToExecutor::End {
            edge: *edge,
            from: *from,
            batch: *batch,
            chunks: *chunks,
            records: *records,
            dead: dead.clone(),
        },
        ToExecutor::Credit {
            edge,
            to,
            generation,
        } => ToExecutor::Credit {
            edge: *edge,
            to: *to,
            generation: *generation,
        },
        _ => return None,
    })
}
