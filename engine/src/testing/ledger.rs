//! The world's ledger, and the desk at which a candidate waits for its answers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use fulmar_coordinator::{
    Error, Ledger, LedgerRecord, MemoryLedger, Result, Version, WriteOutcome,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::fault::{Fate, Kind};

/// What is asked of the ledger.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Load,
    Write(Box<LedgerRecord>, Version),
}

/// What it answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Loaded(Result<Held>),
    Written(Version, WriteOutcome),
}

impl Request {
    /// What a client answers itself when it hears nothing.
    pub(super) fn unanswered(&self) -> Answer {
        let what = "the world keeps the ledger's answer back".to_string();
        match self {
            Request::Load => Answer::Loaded(Err(Error::Unreachable { what })),
            Request::Write(_, expected) => Answer::Written(*expected, WriteOutcome::Unknown(what)),
        }
    }

    /// What is answered to whoever's session has ended.
    pub(super) fn expired(&self) -> Answer {
        let what = "the world has ended it".to_string();
        let error = Error::SessionLost { what };
        match self {
            Request::Load => Answer::Loaded(Err(error)),
            Request::Write(_, expected) => Answer::Written(*expected, WriteOutcome::Failed(error)),
        }
    }
}

type Held = Option<(LedgerRecord, Version)>;

/// The one ledger of a world.
#[derive(Default)]
pub(super) struct SimLedger {
    held: MemoryLedger,
    /// What it held before, oldest first.
    past: Vec<Held>,
    fates: VecDeque<Fate>,
    stale: VecDeque<u8>,
    /// Writes on their way, by the step at which they arrive.
    late: Vec<(u32, LedgerRecord, Version)>,
    /// Faults that have struck since the world last looked.
    pub(super) struck: Vec<Kind>,
    /// Whether it applies every write.
    pub(super) careless: bool,
}

impl SimLedger {
    pub(super) fn peek(&self) -> Held {
        self.held.peek()
    }

    /// A ledger of its own that holds the same.
    pub(super) fn copy(&self) -> MemoryLedger {
        let ledger = MemoryLedger::new();
        ledger.replace(self.held.peek());
        ledger
    }

    pub(super) fn doom(&mut self, fate: Fate) {
        self.fates.push_back(fate);
    }

    pub(super) fn grow_stale(&mut self, by: u8) {
        self.stale.push_back(by);
    }

    /// Nothing goes wrong any more.
    pub(super) fn mend(&mut self) {
        self.fates.clear();
        self.stale.clear();
    }

    /// Answers a request; applied writes are pushed to `applied`.
    pub(super) fn answer(
        &mut self,
        request: Request,
        step: u32,
        applied: &mut Vec<LedgerRecord>,
    ) -> Answer {
        let (record, expected) = match request {
            Request::Load => return Answer::Loaded(Ok(self.look())),
            Request::Write(record, expected) => (*record, expected),
        };
        let unknown = |what: &str| Answer::Written(expected, WriteOutcome::Unknown(what.into()));
        let fate = self.fates.pop_front();
        self.struck.extend(fate.map(|_| Kind::Unknown));
        match fate {
            Some(Fate::Lost) => unknown("lost on its way there"),
            Some(Fate::Applied) => {
                drop(self.write(&record, expected, applied));
                unknown("its answer is lost")
            }
            Some(Fate::Late(steps)) => {
                self.late.push((step + steps, record, expected));
                unknown("it is late")
            }
            None => {
                let outcome = self.write(&record, expected, applied);
                Answer::Written(expected, outcome)
            }
        }
    }

    /// Late writes arrive.
    pub(super) fn arrive(&mut self, step: u32, applied: &mut Vec<LedgerRecord>) {
        while let Some(at) = self.late.iter().position(|(due, ..)| *due <= step) {
            let (_, record, expected) = self.late.swap_remove(at);
            drop(self.write(&record, expected, applied));
        }
    }

    fn write(
        &mut self,
        record: &LedgerRecord,
        expected: Version,
        applied: &mut Vec<LedgerRecord>,
    ) -> WriteOutcome {
        let before = self.held.peek();
        if self.careless {
            let version = before
                .as_ref()
                .map_or(Version::ABSENT, |(_, version)| *version);
            let forced = Version(version.0.max(expected.0)).next();
            self.held.replace(Some((record.clone(), forced)));
            self.past.push(before);
            applied.push(record.clone());
            return WriteOutcome::Applied(expected.next());
        }
        match self.held.write_now(record, expected) {
            WriteOutcome::Applied(version) => {
                self.past.push(before);
                applied.push(record.clone());
                WriteOutcome::Applied(version)
            }
            WriteOutcome::Refused { .. } => WriteOutcome::Refused {
                // A stale look shows an older record, but never that there is none.
                current: self.look().or(before).map(Box::new),
            },
            other => other,
        }
    }

    /// The record, or one that was there before.
    fn look(&mut self) -> Held {
        match self.stale.pop_front().map(usize::from) {
            Some(by) if by <= self.past.len() => {
                self.struck.push(Kind::Stale);
                self.past[self.past.len() - by].clone()
            }
            _ => self.held.peek(),
        }
    }
}

/// Where a candidate hands in requests and finds answers.
#[derive(Clone, Default)]
pub(super) struct Counter(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    request: Option<Request>,
    answer: Option<Answer>,
}

impl Counter {
    fn with<T>(&self, look: impl FnOnce(&mut Slot) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take_request(&self) -> Option<Request> {
        self.with(|slot| slot.request.take())
    }

    pub(super) fn put_answer(&self, answer: Answer) {
        self.with(|slot| slot.answer = Some(answer));
    }

    fn ask(&self, request: Request) -> impl Future<Output = Answer> + Send {
        self.with(|slot| (slot.request, slot.answer) = (Some(request), None));
        let counter = self.clone();
        poll_fn(move |_| match counter.with(|slot| slot.answer.take()) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
    }
}

/// The ledger as a candidate sees it: each call is a message there and one back.
impl Ledger for Counter {
    fn load(&mut self) -> BoxFuture<'_, Result<Held>> {
        let answer = self.ask(Request::Load);
        let loaded = async move {
            match answer.await {
                Answer::Loaded(held) => held,
                Answer::Written(..) => unreachable!("one call at a time"),
            }
        };
        loaded.boxed()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        let answer = self.ask(Request::Write(Box::new(record.clone()), expected));
        let written = async move {
            match answer.await {
                Answer::Written(_, outcome) => outcome,
                Answer::Loaded(_) => unreachable!("one call at a time"),
            }
        };
        written.boxed()
    }
}
