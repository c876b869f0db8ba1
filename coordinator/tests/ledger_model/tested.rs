//! Any ledger beside the register.

use std::marker::PhantomData;

use fulmar_coordinator::ledger::Settled;
use fulmar_coordinator::{
    Attempt, Epoch, Fingerprint, Generation, LedgerRecord, TxId, Version, WriteOutcome, WriterId,
};
use proptest_state_machine::StateMachineTest;

use crate::register::{Id, Register, Sent};
use crate::step::{Fault, On, Reference, Step, WRITERS};

/// A record and its version, if there is one.
pub(crate) type Held = Option<(LedgerRecord, Version)>;

/// What came of sending a write.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The writer was told.
    Answer(WriteOutcome),
    /// It was carried out, and the writer does not know.
    Untold(WriteOutcome),
    /// It was not carried out, and never will be; the writer does not know.
    Never,
}

/// Where ledgers are kept, with the writers that have one, and what can go wrong there.
pub(crate) trait Medium: 'static {
    /// Whether a write may be refused, once, because its ledger has not looked for long.
    const LOOKS_MAY_BE_STALE: bool = false;
    /// A new one; a crash while it was made has left so much of it, in percent.
    fn make(debris: usize) -> Self;
    fn load(&mut self, writer: usize) -> Held;
    fn write(
        &mut self,
        writer: usize,
        record: &LedgerRecord,
        expected: Version,
        fault: Option<Fault>,
    ) -> Heard;
    /// What is late arrives; what came of it, as far as known.
    fn arrive(&mut self) -> Vec<(LedgerRecord, Version, WriteOutcome)>;
    fn restart(&mut self, writer: usize);
}

#[derive(Default)]
struct Writer {
    /// The newest version it has heard of.
    heard: u64,
    last: Option<Sent>,
}

pub(crate) struct World<M> {
    medium: M,
    register: Register,
    /// All records that were ever made, by their numbers.
    records: Vec<LedgerRecord>,
    writers: [Writer; WRITERS],
}

pub(crate) struct Tested<M>(PhantomData<M>);

impl<M: Medium> StateMachineTest for Tested<M> {
    type SystemUnderTest = World<M>;
    type Reference = Reference;

    fn init_test(model: &Reference) -> World<M> {
        World {
            medium: M::make(model.debris),
            register: Register::new(),
            records: Vec::new(),
            writers: std::array::from_fn(|_| Writer::default()),
        }
    }

    fn apply(mut world: World<M>, _: &Reference, step: Step) -> World<M> {
        match step {
            Step::Write {
                writer,
                on,
                large,
                fault,
            } => {
                let expected = world.expected(writer, on);
                let sent = world.new_record(expected, large);
                world.send(writer, sent, fault);
            }
            Step::Again { writer, fault } => {
                let sent = world.writers[writer].last.expect("it has sent something");
                world.send(writer, sent, fault);
            }
            Step::Load { writer } => world.load(writer),
            Step::Restart { writer } => world.medium.restart(writer),
            Step::Arrive => {
                for (record, expected, outcome) in world.medium.arrive() {
                    let sent = Sent {
                        id: record.time_ms,
                        expected: expected.0,
                    };
                    world.carried_out(sent, &outcome);
                }
            }
        }
        world
    }

    fn teardown(mut world: World<M>, _: Reference) {
        for writer in 0..WRITERS {
            world.medium.restart(writer);
            world.load(writer);
        }
    }
}

/// Whether a refusal shows the very version that the write expects: it settles nothing.
fn is_stale(outcome: &WriteOutcome, sent: Sent) -> bool {
    matches!(outcome, WriteOutcome::Refused { current: Some(current) } if current.1.0 == sent.expected)
}

impl<M: Medium> World<M> {
    fn expected(&self, writer: usize, on: On) -> u64 {
        let (_, newest) = self.register.versions();
        match on {
            On::Newest => newest,
            On::Heard => self.writers[writer].heard,
            On::Older(by) => newest.saturating_sub(by),
            On::Ahead(by) => newest + by,
        }
    }

    /// A record that nobody has sent before. Like records of terms that follow each other, later versions have later epochs; candidates
    /// for one version differ in the writer alone.
    fn new_record(&mut self, expected: u64, large: bool) -> Sent {
        let id = self.records.len() as Id;
        let mut record = LedgerRecord::new("a topology", Fingerprint::new().line("version", "1 %"));
        let generation = Generation {
            epoch: Epoch(expected + 1),
            number: 0,
        };
        record.epoch = generation.epoch;
        record.writer = WriterId(id.into());
        record.sealed = Some(Attempt {
            txid: TxId(expected + 1),
            generation,
        });
        record.time_ms = id;
        for partition in 0..if large { 20_u8 } else { 2 } {
            record
                .positions
                .set("lines", &format!("p {partition}"), vec![partition; 200]);
        }
        self.records.push(record);
        Sent { id, expected }
    }

    fn send(&mut self, writer: usize, sent: Sent, fault: Option<Fault>) {
        self.writers[writer].last = Some(sent);
        let (record, expected) = (&self.records[sent.id as usize], Version(sent.expected));
        match self.medium.write(writer, record, expected, fault) {
            Heard::Answer(outcome) if M::LOOKS_MAY_BE_STALE && is_stale(&outcome, sent) => {
                // The ledger knew its medium as it was. Now it knows it as it is.
                let record = &self.records[sent.id as usize];
                let heard = self.medium.write(writer, record, expected, None);
                let Heard::Answer(outcome) = heard else {
                    panic!("no fault was ordered: {heard:?}")
                };
                assert!(!is_stale(&outcome, sent), "refused without need, again");
                self.carried_out(sent, &outcome);
                self.settle(writer, sent, outcome);
            }
            Heard::Answer(outcome) => {
                self.carried_out(sent, &outcome);
                self.settle(writer, sent, outcome);
            }
            Heard::Untold(outcome) => self.carried_out(sent, &outcome),
            Heard::Never => {}
        }
    }

    /// Tells the register.
    fn carried_out(&mut self, sent: Sent, outcome: &WriteOutcome) {
        match outcome {
            WriteOutcome::Applied(version) => self.register.applied(sent, version.0),
            WriteOutcome::Refused { current } => {
                let current = self.identified(current.as_deref());
                self.register.refused(sent, current);
            }
            WriteOutcome::Unknown(_) => self.register.unknown(sent),
            WriteOutcome::Failed(error) => panic!("the ledger failed: {error}"),
        }
    }

    /// What the writer makes of the outcome must be so in every history.
    fn settle(&mut self, writer: usize, sent: Sent, outcome: WriteOutcome) {
        let heard = match &outcome {
            WriteOutcome::Applied(version) => version.0,
            WriteOutcome::Refused {
                current: Some(current),
            } => current.1.0,
            _ => self.writers[writer].heard,
        };
        self.writers[writer].heard = heard;
        let unknown = matches!(outcome, WriteOutcome::Unknown(_));
        let next = sent.expected + 1;
        let (least, _) = self.register.versions();
        match outcome.settle(&self.records[sent.id as usize], Version(sent.expected)) {
            Settled::Applied(version) => {
                assert_eq!(version.0, next);
                assert!(
                    self.register.always(next, sent.id),
                    "{sent:?} is taken for applied"
                );
            }
            Settled::Fenced(_) => {
                assert!(least >= next, "{sent:?} is taken for fenced");
                assert!(
                    least > next || !self.register.always(next, sent.id),
                    "{sent:?} is taken for fenced"
                );
            }
            Settled::Again(_) => assert!(
                unknown || heard <= sent.expected,
                "{sent:?} is sent again without need"
            ),
            Settled::Gone => assert_eq!(least, 0, "the record is gone"),
            Settled::Failed(error) => panic!("{sent:?}: {error}"),
        }
    }

    fn load(&mut self, writer: usize) {
        let held = self.medium.load(writer);
        let held = self.identified(held.as_ref());
        self.register.shows(held);
        self.writers[writer].heard = held.map_or(0, |(_, version)| version);
    }

    /// The number of a record that was shown: one that was sent, in every detail.
    fn identified(&self, held: Option<&(LedgerRecord, Version)>) -> Option<(Id, u64)> {
        held.map(|(record, version)| {
            assert_eq!(
                Some(record),
                self.records.get(record.time_ms as usize),
                "nothing is invented"
            );
            (record.time_ms, version.0)
        })
    }
}
