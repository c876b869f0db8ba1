//! Fencing, with ledgers that lose answers, delay writes and show stale records.

use std::collections::VecDeque;

use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt as _, ready};

use super::*;
use crate::ledger::{MemoryLedger, WriteOutcome};

fn term(writer: u128) -> Term {
    let fingerprint = Fingerprint::new()
        .line("spout lines", "text")
        .line("state counts", "u64 v1");
    Term {
        topology: "wordcount".into(),
        fingerprint,
        writer: WriterId(writer),
    }
}

fn open(ledger: &mut dyn Ledger, term: &Term) -> Result<(LedgerRecord, Version)> {
    block_on(open_term(ledger, term, &mut |sent, _| {
        ready(if sent < 10 {
            Retry::Again
        } else {
            Retry::GiveUp
        })
        .boxed()
    }))
}

/// What becomes of the next writes.
enum Fate {
    /// Applied, but the answer is lost.
    AnswerLost,
    /// Lost on its way.
    Lost,
    /// Applied only after the next write has been answered.
    Delayed,
}

struct Faulty {
    inner: MemoryLedger,
    fates: VecDeque<Fate>,
    delayed: Vec<(LedgerRecord, Version)>,
    sent: Vec<(LedgerRecord, Version)>,
}

impl Faulty {
    fn new(inner: &MemoryLedger, fates: impl IntoIterator<Item = Fate>) -> Faulty {
        Faulty {
            inner: inner.clone(),
            fates: fates.into_iter().collect(),
            delayed: Vec::new(),
            sent: Vec::new(),
        }
    }
}

impl Ledger for Faulty {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>> {
        self.inner.load()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        self.sent.push((record.clone(), expected));
        let unknown = WriteOutcome::Unknown("connection lost".into());
        let outcome = match self.fates.pop_front() {
            Some(Fate::AnswerLost) => {
                self.inner.write_now(record, expected);
                unknown
            }
            Some(Fate::Lost) => unknown,
            Some(Fate::Delayed) => {
                self.delayed.push((record.clone(), expected));
                unknown
            }
            None => {
                let outcome = self.inner.write_now(record, expected);
                for (record, expected) in self.delayed.drain(..) {
                    assert!(
                        matches!(
                            self.inner.write_now(&record, expected),
                            WriteOutcome::Refused { .. }
                        ),
                        "a late duplicate is refused"
                    );
                }
                outcome
            }
        };
        ready(outcome).boxed()
    }
}

#[test]
fn the_first_term_of_all_is_epoch_1_of_nothing_sealed() {
    let (record, version) = open(&mut MemoryLedger::new(), &term(1)).unwrap();
    assert_eq!(
        (record.epoch, record.sealed, version),
        (Epoch(1), None, Version(1))
    );
}

#[test]
fn i3_a_fence_refuses_every_write_of_the_older_term() {
    let mut ledger = MemoryLedger::new();
    let (old, version) = open(&mut ledger, &term(1)).unwrap();
    let (new, _) = open(&mut ledger, &term(2)).unwrap();
    assert_eq!((new.epoch, new.writer), (Epoch(2), WriterId(2)));
    assert!(matches!(
        ledger.write_now(&old, version).settle(&old, version),
        crate::ledger::Settled::Fenced(_)
    ));
}

#[test]
fn two_candidates_for_the_same_epoch_never_both_win() {
    let shared = MemoryLedger::new();
    open(&mut shared.clone(), &term(1)).unwrap();
    // Both have read the same record; the other's fence for the very same epoch gets there first.
    struct Slow(MemoryLedger);
    impl Ledger for Slow {
        fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>> {
            let stale = self.0.peek();
            let (mut other, version) = stale.clone().unwrap();
            (other.epoch, other.writer) = (Epoch(2), WriterId(2));
            self.0.write_now(&other, version);
            ready(Ok(stale)).boxed()
        }
        fn write<'a>(
            &'a mut self,
            record: &'a LedgerRecord,
            expected: Version,
        ) -> BoxFuture<'a, WriteOutcome> {
            self.0.write(record, expected)
        }
    }
    let lost = open(&mut Slow(shared.clone()), &term(3)).unwrap_err();
    assert_eq!(
        lost,
        Error::Fenced {
            epoch: Epoch(2),
            writer: WriterId(2),
            version: Version(2)
        }
    );
    assert_eq!(shared.peek().unwrap().0.writer, WriterId(2));
}

#[test]
fn an_unknown_fence_is_settled_by_the_identical_write() {
    for fates in [
        vec![Fate::AnswerLost],
        vec![Fate::Lost],
        vec![Fate::Delayed],
        vec![Fate::Delayed, Fate::Lost, Fate::AnswerLost, Fate::Lost],
    ] {
        let shared = MemoryLedger::new();
        let mut ledger = Faulty::new(&shared, fates);
        let opened = open(&mut ledger, &term(1)).unwrap();
        assert_eq!(shared.peek(), Some(opened));
        assert!(
            ledger.sent.len() > 1 && ledger.sent.windows(2).all(|pair| pair[0] == pair[1]),
            "identical each time"
        );
    }
}

#[test]
fn giving_up_is_an_error_and_harmless() {
    let shared = MemoryLedger::new();
    let mut ledger = Faulty::new(&shared, (0..20).map(|_| Fate::Lost));
    let error = open(&mut ledger, &term(1)).unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { what } if what == "connection lost"),
        "{error}"
    );
    assert_eq!(shared.peek(), None);
}

/// Storm flaw 10: two topologies with one name share metadata.
#[test]
fn storm_flaw_10_another_topology_is_refused_with_the_difference_shown() {
    let mut ledger = MemoryLedger::new();
    let (record, version) = open(&mut ledger, &term(1)).unwrap();
    let other = Term {
        fingerprint: Fingerprint::new()
            .line("spout lines", "text")
            .line("state counts", "u64 v2"),
        ..term(2)
    };
    let error = open(&mut ledger, &other).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(r#"state counts: recorded "u64 v1", program has "u64 v2""#),
        "{error}"
    );
    let renamed = Term {
        topology: "other".into(),
        ..term(2)
    };
    let error = open(&mut ledger, &renamed).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(r#"topology: recorded "wordcount", program has "other""#),
        "{error}"
    );
    assert_eq!(
        ledger.peek(),
        Some((record, version)),
        "whoever is refused has fenced nobody"
    );
}
