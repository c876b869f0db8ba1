//! The weather between processes: messages lost, repeated and late, and links that are cut one way.

use std::collections::VecDeque;

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
    pub(super) cuts: Vec<(Place, Place, u64)>,
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
            self.links.push_front(from, to, copy);
        }
        Some(mail)
    }
}
