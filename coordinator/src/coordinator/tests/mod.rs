//! The core by hand: a rig that plays one source per spout, two workers and the ledger, one event at a time.

mod ending;
mod poison;
mod rules;
mod sources;
mod storm;
mod trident;
mod world;

use super::*;
use crate::acker::{edge_id, prepare_id};
use crate::action::Write;
use crate::batch::Batch;
use crate::cause::CauseKind;
use crate::event::ReadReport;
use crate::fingerprint::Fingerprint;
use crate::halt::HaltReason;
use crate::ledger::{WriteOutcome, WriterId};
use crate::position::PartitionMove;
use crate::report::BatchReport;
use crate::settings::{Limits, OnPoison, Replays, SpoutInfo};
use crate::{Epoch, Origin, Skip};

const WORKERS: [WorkerId; 2] = [WorkerId(0), WorkerId(1)];

fn settings() -> Settings {
    let spout = SpoutInfo {
        name: "lines".into(),
        replays: Replays::Identical,
    };
    Settings {
        topology: "test".into(),
        workers: WORKERS.to_vec(),
        spouts: vec![spout],
        timeout_ms: 1000,
        retry_ms: 100,
        ..Settings::default()
    }
}

fn fence(epoch: u64) -> LedgerRecord {
    let record = LedgerRecord::new("test", Fingerprint::new());
    LedgerRecord {
        epoch: Epoch(epoch),
        writer: WriterId(epoch.into()),
        ..record
    }
}

fn cause(kind: CauseKind) -> Cause {
    Cause::new(kind, "it went wrong")
}

fn origin(position: u64) -> Origin {
    Origin {
        spout: "lines".into(),
        partition: "0".into(),
        position: position.to_be_bytes().to_vec(),
        end: (position + 1).to_be_bytes().to_vec(),
        shown: String::new(),
    }
}

fn skip(position: u64) -> Skip {
    Skip {
        origin: origin(position),
        cause: cause(CauseKind::User).message,
    }
}

struct Rig {
    core: Coordinator,
    /// Actions not looked at yet.
    actions: Vec<Action>,
    /// Writes not answered yet; all ever made are in `writes`.
    write: Option<Write>,
    writes: Vec<Write>,
    now_ms: u64,
}

impl Rig {
    /// A term that waits for readiness: fenced, rewound.
    fn new(settings: Settings) -> Rig {
        Rig::resume(settings, fence(1), Version(1))
    }

    fn resume(settings: Settings, record: LedgerRecord, version: Version) -> Rig {
        let mut rig = Rig {
            core: Coordinator::new(settings).unwrap(),
            actions: vec![],
            write: None,
            writes: vec![],
            now_ms: 0,
        };
        rig.tick(10);
        rig.on(Event::Fenced {
            record: Box::new(record),
            version,
        });
        rig.rewound();
        rig
    }

    fn on(&mut self, event: Event) -> &mut Rig {
        let step = self.core.step(event);
        if let Some(write) = step.record.map(|write| *write) {
            if let Some(before) = &self.write {
                assert_eq!(
                    before, &write,
                    "there is never a second write, only the same again"
                );
            }
            self.write = Some(write.clone());
            self.writes.push(write);
        }
        self.actions.extend(step.actions);
        self
    }

    fn tick(&mut self, ms: u64) -> &mut Rig {
        self.now_ms += ms;
        self.on(Event::Tick {
            now: Micros::from_ms(self.now_ms),
            wall_ms: 1_000_000 + self.now_ms,
        })
    }

    /// Every worker answers the newest rewind.
    fn rewound(&mut self) -> &mut Rig {
        let generation = self.core.generation();
        for worker in WORKERS {
            self.on(Event::Rewound {
                worker,
                generation,
                outcome: Ok(()),
            });
        }
        self
    }

    fn ready(&mut self) -> &mut Rig {
        let generation = self.core.generation();
        self.on(Event::Ready {
            spout: 0,
            generation,
        })
    }

    /// Ready, and as many batches read as may be in flight.
    fn fill(&mut self) -> &mut Rig {
        self.ready().read_all(10)
    }

    fn read_all(&mut self, records: u64) -> &mut Rig {
        while let Some(batch) = self.core.live.back().filter(|batch| !batch.is_read()) {
            let attempt = batch.attempt;
            self.read(attempt, records, More::Ready);
        }
        self
    }

    fn report(&self, records: u64, more: More) -> ReadReport {
        let from = self.core.tip.get("lines", "0").map(<[u8]>::to_vec);
        let at = from.as_ref().map_or(0, |from| {
            u64::from_be_bytes(from.as_slice().try_into().unwrap())
        });
        let to = (at + records).to_be_bytes().to_vec();
        let moves = vec![PartitionMove {
            partition: "0".into(),
            from,
            to,
            records,
            digest: Some(at ^ records),
        }];
        ReadReport {
            moves: if records == 0 { vec![] } else { moves },
            records,
            bytes: records * 10,
            more,
        }
    }

    fn read(&mut self, attempt: Attempt, records: u64, more: More) -> &mut Rig {
        let report = self.report(records, more);
        let xor = WORKERS
            .iter()
            .fold(0, |xor, worker| xor ^ edge_id(attempt, 0, 0, worker.0, 0));
        self.on(Event::Read {
            attempt,
            spout: 0,
            report,
            xor,
        })
    }

    /// One worker has processed and prepared the attempt.
    fn prepared(&mut self, attempt: Attempt, worker: WorkerId) -> &mut Rig {
        self.on(Event::Ack {
            attempt,
            xor: edge_id(attempt, 0, 0, worker.0, 0) ^ prepare_id(attempt, worker),
        })
    }

    fn ack(&mut self, attempt: Attempt) -> &mut Rig {
        for worker in WORKERS {
            self.prepared(attempt, worker);
        }
        self
    }

    fn ack_all(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.ack(*attempt);
        }
    }

    fn fail(&mut self, attempt: Attempt, kind: CauseKind) -> &mut Rig {
        self.on(Event::Failed {
            attempt,
            cause: cause(kind),
        })
    }

    fn outcome(&mut self, outcome: WriteOutcome) -> &mut Rig {
        let expected = self.writes.last().unwrap().expected;
        self.write = None;
        self.on(Event::Ledger { expected, outcome })
    }

    /// The outstanding write is applied.
    fn apply(&mut self) -> &mut Rig {
        let expected = self
            .write
            .as_ref()
            .expect("a write is outstanding")
            .expected;
        self.outcome(WriteOutcome::Applied(expected.next()))
    }

    fn noted(&mut self) -> &mut Rig {
        let txid = self.core.record.txid();
        for worker in WORKERS {
            self.on(Event::SealAcked { worker, txid });
        }
        self
    }

    /// Reads, acknowledges and seals the batch in flight alone.
    fn seal_next(&mut self, records: u64, more: More) -> &mut Rig {
        let attempt = self.live(0);
        self.read(attempt, records, more).ack(attempt).apply()
    }

    fn live(&self, index: usize) -> Attempt {
        self.core.live[index].attempt
    }

    fn live_txids(&self) -> Vec<u64> {
        self.core
            .in_flight()
            .map(|attempt| attempt.txid.0)
            .collect()
    }

    fn sealed(&self) -> u64 {
        self.core.record.txid().0
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn issued(&mut self) -> Vec<Batch> {
        self.take()
            .into_iter()
            .filter_map(|action| {
                if let Action::Issue(batch) = action {
                    Some(batch)
                } else {
                    None
                }
            })
            .collect()
    }

    fn replayed(&mut self) -> Vec<Failure> {
        self.take()
            .into_iter()
            .filter_map(|action| {
                if let Action::Replayed(failure) = action {
                    Some(failure)
                } else {
                    None
                }
            })
            .collect()
    }

    fn reports(&mut self) -> Vec<BatchReport> {
        self.take()
            .into_iter()
            .filter_map(|action| {
                if let Action::Sealed(report) = action {
                    Some(report)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The reason the term has halted for.
    fn halted(&mut self) -> HaltReason {
        assert_eq!(self.core.phase(), Phase::Over);
        match self.take().pop() {
            Some(Action::Halt(reason)) => reason,
            other => panic!("not halted but {other:?}"),
        }
    }
}

#[test]
fn settings_that_nothing_can_run_with_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Settings)| {
        let mut wrong = settings();
        change(&mut wrong);
        Coordinator::new(wrong).unwrap_err().to_string()
    };
    assert!(refused(&|s| s.topology.clear()).contains("no name"));
    assert!(refused(&|s| s.max_pending = 0).contains("max_pending"));
    assert!(refused(&|s| s.limits.records = 0).contains("limits"));
    assert!(refused(&|s| s.spouts.push(s.spouts[0].clone())).contains("\"lines\""));
    assert!(refused(&|s| s.workers.push(WorkerId(1))).contains("worker 1"));
    assert!(refused(&|s| s.workers.clear()).contains("no worker"));
}

#[test]
fn a_batch_is_told_what_it_needs_and_reported_with_its_phases() {
    let mut rig = Rig::new(settings());
    rig.take();
    rig.ready();
    let batch = rig.issued().remove(0);
    let attempt = batch.attempt;
    assert_eq!(
        (
            attempt.to_string().as_str(),
            batch.base,
            batch.time_ms,
            batch.careful
        ),
        ("1@1.1", None, 1_000_010, false)
    );
    assert_eq!(
        (batch.limits, batch.skip, batch.replay),
        (Limits::default(), vec![], vec![None])
    );
    rig.tick(3)
        .read(attempt, 10, More::Waiting)
        .tick(5)
        .ack(attempt)
        .tick(7)
        .apply();
    let report = rig.reports().remove(0);
    let phases = (
        report.phases.read.ms(),
        report.phases.process.ms(),
        report.phases.seal.ms(),
    );
    assert_eq!(phases, (3, 5, 7));
    assert_eq!(
        (
            report.records,
            report.bytes,
            report.attempts,
            report.sealed_together
        ),
        (10, 100, 1, 1)
    );
    let (record, version) = rig.core.record();
    assert_eq!(
        (record.sealed, record.base, record.records, version),
        (Some(attempt), None, 10, Version(2))
    );
    assert_eq!(
        record.positions.get("lines", "0"),
        Some(10u64.to_be_bytes().as_slice())
    );
}
