//! The reference: a versioned register, as the set of all histories that fit what was heard.

use std::collections::BTreeSet;

/// The number of a record: no two writes send the same one, except that a write is sent again.
pub(crate) type Id = u64;

/// The record of version 1 first.
type History = Vec<Id>;

/// A write as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) id: Id,
    pub(crate) expected: u64,
}

/// A register that is written only by conditional writes, one at a time.
///
/// As long as every outcome is known there is one history. A write of unknown outcome may take its effect at any later moment, or
/// never, so there are several; what is heard rules some out. That none is left is a broken promise.
#[derive(Debug)]
pub(crate) struct Register {
    histories: BTreeSet<History>,
    /// Writes that may be on their way.
    open: Vec<Sent>,
}

impl Register {
    pub(crate) fn new() -> Register {
        Register {
            histories: BTreeSet::from([History::new()]),
            open: Vec::new(),
        }
    }

    /// A write was answered as applied.
    pub(crate) fn applied(&mut self, sent: Sent, version: u64) {
        assert_eq!(
            version,
            sent.expected + 1,
            "a write moves the version by one"
        );
        self.arrivals();
        let histories = std::mem::take(&mut self.histories).into_iter();
        let fit = histories.filter(|history| history.len() as u64 == sent.expected);
        self.histories = fit.map(|history| appended(history, sent.id)).collect();
        self.check(&format!("{sent:?} was answered as applied"));
    }

    /// A write was refused, and this was shown then.
    pub(crate) fn refused(&mut self, sent: Sent, current: Option<(Id, u64)>) {
        self.arrivals();
        self.histories
            .retain(|history| history.len() as u64 != sent.expected);
        self.check(&format!("{sent:?} was refused"));
        self.shows(current);
    }

    /// A write may take effect later, or have done so.
    pub(crate) fn unknown(&mut self, sent: Sent) {
        self.open.push(sent);
    }

    /// A load showed this.
    pub(crate) fn shows(&mut self, current: Option<(Id, u64)>) {
        self.arrivals();
        self.histories.retain(|history| {
            let last = history.last().map(|id| (*id, history.len() as u64));
            last == current
        });
        self.check(&format!("{current:?} was shown"));
    }

    /// The version in all histories that are possible, if it is the same.
    pub(crate) fn versions(&self) -> (u64, u64) {
        let lengths = self.histories.iter().map(|history| history.len() as u64);
        (
            lengths.clone().min().unwrap_or(0),
            lengths.max().unwrap_or(0),
        )
    }

    /// The record of a version is this one, in every possible history; or in none.
    pub(crate) fn always(&self, version: u64, id: Id) -> bool {
        let at = version as usize - 1;
        self.histories
            .iter()
            .all(|history| history.get(at) == Some(&id))
    }

    /// Whatever is on its way may have arrived.
    fn arrivals(&mut self) {
        let mut new: Vec<History> = self.histories.iter().cloned().collect();
        while let Some(history) = new.pop() {
            for sent in &self.open {
                if sent.expected == history.len() as u64 {
                    let next = appended(history.clone(), sent.id);
                    if self.histories.insert(next.clone()) {
                        new.push(next);
                    }
                }
            }
        }
    }

    fn check(&self, heard: &str) {
        assert!(
            !self.histories.is_empty(),
            "no history of a linearizable register fits: {heard}"
        );
        for history in &self.histories {
            let ids: BTreeSet<Id> = history.iter().copied().collect();
            assert_eq!(
                ids.len(),
                history.len(),
                "a write was applied twice: {history:?}"
            );
        }
    }
}

fn appended(mut history: History, id: Id) -> History {
    history.push(id);
    history
}
