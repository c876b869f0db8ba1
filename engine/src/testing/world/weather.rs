//! The weather between processes: messages lost, repeated and late, and links that are cut.

use std::collections::{BTreeSet, VecDeque};

use super::super::fault::Kind;
use super::super::links::{Actor, Mail};
use super::World;

/// A place where processes are: workers from 0, coordinators from 100.
pub(super) type Place = usize;

#[derive(Default)]
pub(super) struct Weather {
    pub(super) lose: u32,
    pub(super) repeat: u32,
    /// Microseconds.
    pub(super) delays: VecDeque<u64>,
    pub(super) cuts: Vec<Cut>,
    /// Coordinators that the ledger does not hear.
    pub(super) ledger_cuts: Vec<Cut>,
    /// Executors that get their turn only now and then, until when, and whether that was noticed.
    pub(super) slow: Vec<(usize, u64, bool)>,
    /// Workers that die once more: so many steps after they have started.
    pub(super) twice: Vec<Twice>,
    /// Workers that have died before.
    pub(super) died: BTreeSet<u16>,
}

/// What cannot be said for a while.
pub(super) struct Cut {
    /// From here; from everywhere if there is no sender.
    pub(super) from: Option<Place>,
    /// To there; if there is no receiver, between the sender and everybody.
    pub(super) to: Option<Place>,
    pub(super) until: u64,
    pub(super) kind: Kind,
    /// Whether it has kept anything back.
    pub(super) struck: bool,
}

pub(super) struct Twice {
    pub(super) worker: u16,
    pub(super) down_ms: u64,
    pub(super) after: u32,
    /// The step at which it dies, once it has started.
    pub(super) at: Option<u32>,
}

impl Cut {
    fn parts(&self, from: Place, to: Place) -> bool {
        match (self.from, self.to) {
            (Some(one), Some(other)) => (one, other) == (from, to),
            (one, other) => {
                let alone = one.or(other);
                alone == Some(from) || alone == Some(to)
            }
        }
    }
}

impl Weather {
    pub(super) fn clear(&mut self) {
        *self = Weather::default();
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
    pub(super) fn weathered(&mut self, from: usize, to: usize) -> Option<Box<Mail>> {
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
            self.struck(Kind::Delay);
            self.links.hold(from, to, self.now + wait);
            return None;
        }
        if self.is_lost(places) {
            let lost = self.links.pop(from, to);
            lost.iter().for_each(|mail| self.watch.lost(mail, to));
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
            self.watch.repeated(&copy, to);
            self.struck(Kind::Repeat);
            self.links.push_front(from, to, copy);
        }
        Some(mail)
    }

    /// Whether a message between two places is lost, by a cut or by chance.
    fn is_lost(&mut self, (from, to): (Place, Place)) -> bool {
        if !self.weather.cuts.is_empty() {
            let now = self.now;
            self.weather.cuts.retain(|cut| cut.until > now);
            let mut cuts = self.weather.cuts.iter_mut();
            if let Some(cut) = cuts.find(|cut| cut.parts(from, to)) {
                let first = !std::mem::replace(&mut cut.struck, true);
                let kind = cut.kind;
                if first {
                    self.struck(kind);
                }
                return true;
            }
        }
        if self.weather.lose > 0 {
            self.weather.lose -= 1;
            self.struck(Kind::Lose);
            return true;
        }
        false
    }

    /// Whether an executor does not get its turn.
    pub(super) fn is_slow(&mut self, actor: usize) -> bool {
        let planned = !self.calm
            && self
                .plan
                .slow
                .is_some_and(|slow| usize::from(slow) == actor);
        let now = self.now;
        let mut slow = self.weather.slow.iter_mut();
        let slow = slow.find(|(executor, until, _)| *executor == actor && *until > now);
        let first = slow.as_ref().is_some_and(|(_, _, noticed)| !noticed);
        if !(planned || slow.is_some()) || !self.random.percent(90) {
            return false;
        }
        if let Some((_, _, noticed)) = slow {
            *noticed = true;
        }
        if first {
            self.struck(Kind::SlowExecutor);
        }
        true
    }
}
