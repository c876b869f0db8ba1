//! Oracle: a small world of coordinators (the newest and its zombies), two workers, sources, a ledger and a network that loses,
//! repeats, delays and reorders. Its own record of who read, prepared and sealed what is compared after every step.

mod parts;
mod plan;

use std::collections::BTreeSet;

use proptest::prelude::*;

use plan::Plan;

use super::*;
use crate::ledger::{Ledger as _, MemoryLedger};
use crate::{Term, open_term};

type Content = Vec<(u64, u64)>;
/// What each source sent of one attempt, once it has come.
type Shares = Vec<Option<(Batch, (u64, u64))>>;

/// What is on its way.
#[derive(Clone, Debug)]
enum Mail {
    ToSource(usize, Action),
    ToWorker(usize, Action),
    /// A source's share of an attempt, markers included.
    Share {
        worker: usize,
        spout: usize,
        batch: Batch,
        range: (u64, u64),
    },
    /// To the coordinator of a term.
    Report(Epoch, Event),
    /// A ledger write, by the coordinator of a term.
    Write(Epoch, Write),
}

#[derive(Clone, Debug)]
struct Entry {
    attempt: Attempt,
    base: Option<Attempt>,
    content: Content,
    /// Records that were left out.
    dead: Vec<(usize, u64)>,
}

/// A worker: `highest` and `log` survive a crash.
#[derive(Default)]
struct Worker {
    highest: Generation,
    log: BTreeMap<TxId, Entry>,
    shares: BTreeMap<Attempt, Shares>,
}

#[derive(Default)]
struct Source {
    generation: Generation,
    at: u64,
    next: TxId,
}

struct World {
    settings: Settings,
    ends: Vec<u64>,
    poison: BTreeSet<(usize, u64)>,
    cores: Vec<Coordinator>,
    ledger: MemoryLedger,
    workers: Vec<Worker>,
    sources: Vec<Source>,
    mail: Vec<Mail>,
    now_ms: u64,
    random: u64,
    /// What each sealed batch is, by the world's own account; written when the ledger's record changes.
    sealed: Vec<Entry>,
    issued: BTreeSet<Attempt>,
    told: BTreeMap<TxId, Attempt>,
    drained: Option<Epoch>,
    halted: Option<(Epoch, HaltReason)>,
}

impl World {
    fn new(
        settings: Settings,
        ends: Vec<u64>,
        poison: BTreeSet<(usize, u64)>,
        random: u64,
    ) -> World {
        let sources = ends.iter().map(|_| Source::default()).collect();
        let workers = WORKERS.iter().map(|_| Worker::default()).collect();
        let mut world = World {
            settings,
            ends,
            poison,
            cores: vec![],
            ledger: MemoryLedger::new(),
            workers,
            sources,
            mail: vec![],
            now_ms: 0,
            random,
            sealed: vec![],
            issued: BTreeSet::new(),
            told: BTreeMap::new(),
            drained: None,
            halted: None,
        };
        world.take_over();
        world
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    /// A new term, while the old ones go on as zombies.
    fn take_over(&mut self) {
        let writer = WriterId(self.cores.len() as u128 + 1);
        let term = Term {
            topology: "test".into(),
            fingerprint: Fingerprint::new(),
            writer,
        };
        let mut sure = |_: u32, _: &str| unreachable!("memory is never unsure");
        let opened = open_term(&mut self.ledger, &term, &mut sure);
        let (record, version) = futures::executor::block_on(opened).unwrap();
        self.cores
            .push(Coordinator::new(self.settings.clone()).unwrap());
        assert_eq!(record.epoch.0 as usize, self.cores.len());
        self.step(
            record.epoch,
            Event::Tick {
                now: Micros::from_ms(self.now_ms),
                wall_ms: self.now_ms,
            },
        );
        self.step(
            record.epoch,
            Event::Fenced {
                record: Box::new(record),
                version,
            },
        );
    }

    fn newest(&self) -> Epoch {
        Epoch(self.cores.len() as u64)
    }

    fn step(&mut self, epoch: Epoch, event: Event) {
        let step = self.cores[epoch.0 as usize - 1].step(event);
        if let Some(write) = step.record {
            self.mail.push(Mail::Write(epoch, *write));
        }
        for action in step.actions {
            self.act(epoch, action);
        }
    }

    fn act(&mut self, epoch: Epoch, action: Action) {
        match &action {
            Action::Rewind { generation, .. } => {
                assert_eq!(generation.epoch, epoch);
                self.mail.extend(
                    (0..self.sources.len()).map(|source| Mail::ToSource(source, action.clone())),
                );
                self.mail.extend(
                    (0..self.workers.len()).map(|worker| Mail::ToWorker(worker, action.clone())),
                );
            }
            Action::Issue(batch) => {
                assert!(
                    self.issued.insert(batch.attempt),
                    "attempts are never reused: {}",
                    batch.attempt
                );
                assert_eq!(batch.attempt.generation.epoch, epoch);
                self.mail.extend(
                    (0..self.sources.len()).map(|source| Mail::ToSource(source, action.clone())),
                );
            }
            Action::Announce { attempt } => {
                let told = *self.told.entry(attempt.txid).or_insert(*attempt);
                assert_eq!(told, *attempt, "I1: a sealed batch is never sealed again");
                let sealed = self
                    .sealed
                    .get(attempt.txid.0 as usize - 1)
                    .map(|entry| entry.attempt);
                assert_eq!(
                    sealed,
                    Some(*attempt),
                    "only what the ledger has sealed is announced"
                );
                self.mail.extend(
                    (0..self.workers.len()).map(|worker| Mail::ToWorker(worker, action.clone())),
                );
            }
            Action::Drained if epoch == self.newest() => self.drained = Some(epoch),
            Action::Halt(reason) => self.halted = Some((epoch, reason.clone())),
            _ => {}
        }
    }

    /// Carries one message out. What it leads to goes on its way.
    fn deliver(&mut self, mail: Mail) {
        match mail {
            Mail::ToSource(
                source,
                Action::Rewind {
                    generation,
                    positions,
                    ..
                },
            ) => self.rewind_source(source, generation, &positions),
            Mail::ToSource(source, Action::Issue(batch)) => self.read(source, batch),
            Mail::ToSource(..) => {}
            Mail::ToWorker(
                worker,
                Action::Rewind {
                    generation, sealed, ..
                },
            ) => self.rewind_worker(worker, generation, sealed),
            Mail::ToWorker(worker, Action::Announce { attempt }) => {
                let entry = self.workers[worker]
                    .log
                    .get(&attempt.txid)
                    .map(|entry| entry.attempt);
                assert_eq!(entry, Some(attempt), "I4: every worker has what is sealed");
                let report = Event::SealAcked {
                    worker: WORKERS[worker],
                    txid: attempt.txid,
                };
                self.mail
                    .push(Mail::Report(attempt.generation.epoch, report));
            }
            Mail::ToWorker(..) => {}
            Mail::Share {
                worker,
                spout,
                batch,
                range,
            } => self.share(worker, spout, batch, range),
            Mail::Report(epoch, event) => self.step(epoch, event),
            Mail::Write(epoch, write) => {
                let outcome = self.write(&write);
                self.mail.push(Mail::Report(
                    epoch,
                    Event::Ledger {
                        expected: write.expected,
                        outcome,
                    },
                ));
            }
        }
    }

    /// A write reaches the ledger. If it is applied, what it seals is checked against what workers hold durably (I1 to I4).
    fn write(&mut self, write: &Write) -> WriteOutcome {
        let (before, _) = self.ledger.peek().expect("the ledger is fenced");
        let outcome = self.ledger.write_now(&write.record, write.expected);
        if let WriteOutcome::Applied(_) = outcome {
            let record = &write.record;
            assert_eq!(
                record.epoch,
                self.newest(),
                "I3: only the holder of the newest epoch can write"
            );
            assert_eq!(before.txid().0 as usize, self.sealed.len());
            let mut chain = vec![];
            let mut attempt = record.sealed;
            while let Some(link) = attempt.filter(|link| link.txid > before.txid()) {
                let entries: Vec<_> = self
                    .workers
                    .iter()
                    .map(|worker| worker.log.get(&link.txid))
                    .collect();
                for entry in &entries {
                    let entry =
                        entry.unwrap_or_else(|| panic!("I2: {link} is prepared on every worker"));
                    assert_eq!(
                        entry.attempt, link,
                        "I2: it is this attempt that is prepared"
                    );
                }
                let entry = entries[0].expect("looked at above").clone();
                attempt = entry.base;
                chain.push(entry);
            }
            assert_eq!(
                attempt, before.sealed,
                "I1: what is sealed builds on what was, without gaps"
            );
            self.sealed.extend(chain.into_iter().rev());
        }
        outcome
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        // A source says again how it stands, since what it said may be lost.
        (0..self.sources.len()).for_each(|source| self.stand(source));
        for epoch in 1..=self.cores.len() as u64 {
            self.step(
                Epoch(epoch),
                Event::Tick {
                    now: Micros::from_ms(self.now_ms),
                    wall_ms: self.now_ms,
                },
            );
        }
    }

    /// One random happening.
    fn happen(&mut self, choice: u64) {
        let (what, which) = (choice % 100, (choice / 100) as usize);
        let at = if self.mail.is_empty() {
            None
        } else {
            Some(which % self.mail.len())
        };
        match (what, at) {
            (0..70, Some(at)) => {
                // Mostly in order, as a link would be.
                let at = if what < 45 { 0 } else { at };
                let mail = self.mail.remove(at);
                self.deliver(mail);
            }
            (70..76, Some(at)) => {
                let mail = self.mail[at].clone();
                self.deliver(mail);
            }
            (76..80, Some(at)) => match self.mail.remove(at) {
                // A lost write is one of unknown outcome; the shell always answers.
                Mail::Write(epoch, write) => self.unsure(epoch, &write, which.is_multiple_of(2)),
                Mail::Report(epoch, Event::Ledger { expected, .. }) => {
                    self.mail.push(Mail::Report(
                        epoch,
                        Event::Ledger {
                            expected,
                            outcome: WriteOutcome::Unknown("lost".into()),
                        },
                    ));
                }
                _ => {}
            },
            (80..83, _) => self.crash(which % 2, which % 4 < 2),
            (83..84, _) if self.cores.len() < 4 => self.take_over(),
            (84..86, _) => {
                let batch = self.cores[self.cores.len() - 1].in_flight().nth(which % 3);
                if let Some(attempt) = batch {
                    self.mail.push(Mail::Report(
                        self.newest(),
                        Event::Failed {
                            attempt,
                            cause: cause(CauseKind::Link),
                        },
                    ));
                }
            }
            (86..98, _) => self.tick(150),
            (98.., _) => self.tick(1200),
            _ => {}
        }
    }

    /// The answer to a write is lost; the write itself perhaps later arrives, perhaps never.
    fn unsure(&mut self, epoch: Epoch, write: &Write, later: bool) {
        if later {
            self.mail.push(Mail::Write(epoch, write.clone()));
        }
        let outcome = WriteOutcome::Unknown("lost".into());
        self.mail.push(Mail::Report(
            epoch,
            Event::Ledger {
                expected: write.expected,
                outcome,
            },
        ));
    }

    fn check(&mut self) {
        let (record, _) = futures::executor::block_on(self.ledger.load())
            .unwrap()
            .expect("the ledger is fenced");
        assert_eq!(record.sealed, self.sealed.last().map(|entry| entry.attempt));
        let mut at = vec![0; self.ends.len()];
        for entry in &self.sealed {
            for (at, (from, to)) in at.iter_mut().zip(&entry.content) {
                assert_eq!(
                    at, from,
                    "sealed batches follow each other, record by record"
                );
                *at = *to;
            }
        }
        for ((spout, end), at) in self.settings.spouts.iter().zip(&self.ends).zip(&at) {
            let position = record
                .positions
                .get(&spout.name, "0")
                .map_or(0, |at| u64::from_be_bytes(at.try_into().unwrap()));
            assert!(
                position == *at && at <= end,
                "the ledger's positions are those of the sealed batches"
            );
        }
        assert_eq!(record.records, at.iter().sum::<u64>());
        for worker in &self.workers {
            for (entry, own) in self.sealed.iter().zip(worker.log.values()) {
                assert_eq!(
                    (entry.attempt, entry.base),
                    (own.attempt, own.base),
                    "I4: nothing sealed is lost or changed"
                );
            }
            assert!(
                worker.log.len() >= self.sealed.len(),
                "I4: every worker has what is sealed"
            );
        }
    }

    /// Whether the sealed batches hold everything there is.
    fn is_whole(&self) -> bool {
        let sealed = |spout: usize| self.sealed.last().map_or(0, |entry| entry.content[spout].1);
        self.ends
            .iter()
            .enumerate()
            .all(|(spout, end)| sealed(spout) == *end)
    }

    /// No further fault: everything gets delivered, and within a bounded number of steps all is sealed and drained. A
    /// new term begins only if the newest has ended: what was lost before is for its deadlines and repetitions to mend.
    fn settle(&mut self) {
        if self.cores[self.cores.len() - 1].phase() == Phase::Over {
            self.take_over();
        }
        for _ in 0..4000 {
            let newest = &self.cores[self.cores.len() - 1];
            let drained =
                self.drained == Some(self.newest()) && newest.in_flight().next().is_none();
            if newest.phase() == Phase::Over || drained && self.is_whole() {
                return;
            }
            if self.mail.is_empty() {
                self.tick(200);
                continue;
            }
            let mail = self.mail.remove(0);
            self.deliver(mail);
            self.check();
        }
        panic!(
            "not drained: {} sealed, {:?}",
            self.sealed.len(),
            self.cores[self.cores.len() - 1]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// I1, I2, I3, I4 and I6 after every step; once faults stop, everything is sealed and drained.
    #[test]
    fn whatever_is_lost_late_repeated_or_reordered_nothing_is_sealed_wrongly_and_all_is_in_the_end(
        plan in Plan::any(),
        choices in prop::collection::vec(any::<u32>(), 0..600),
    ) {
        let mut world = plan.world();
        for choice in choices {
            world.happen(choice.into());
            world.check();
        }
        world.settle();
        world.check();
        let whole = world.is_whole();
        if world.poison.is_empty() {
            prop_assert!(whole, "{:?}", world.halted);
        } else if whole {
            // Every poison record is left out, once: in the batch that holds it.
            let dead = world.sealed.iter().flat_map(|entry| entry.dead.iter().copied());
            prop_assert_eq!(dead.collect::<Vec<_>>().len(), world.poison.len());
        } else {
            // Faults may make a careful attempt fail without anyone to blame: that halts, and says so.
            let halted = matches!(&world.halted, Some((epoch, HaltReason::Poison { failure, .. }))
                if *epoch == world.newest() && failure.cause.origin.is_none());
            prop_assert!(halted, "{:?}", world.halted);
        }
    }
}
