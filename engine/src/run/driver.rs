//! The driver: a tokio task around the coordinator. Events in, ledger writes and actions out.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fulmar_coordinator::{
    Action, Coordinator, Event, Ledger, LedgerRecord, Settings, Step, Tuning, Version, Write,
};
use fulmar_state::TxId;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::config::{OnBatch, OnFailure};
use super::handle::{Progress, Resumed};
use super::mailbox::{Mailboxes, ToDriver};
use super::threads::now;
use crate::error::{Error, Result};
use crate::message::{Envelope, ToRecorder, ToSource, Transport};

/// How often the coordinator hears the time when nothing else happens.
const TICK: Duration = Duration::from_millis(20);

pub(super) struct Driver {
    coordinator: Coordinator,
    mailboxes: Mailboxes,
    /// Ledger writes go to the thread that owns the ledger; their outcomes come back as events.
    ledger: mpsc::Sender<Write>,
    progress: watch::Sender<Progress>,
    started: Option<(oneshot::Sender<Result<Resumed>>, Resumed)>,
    lags: Vec<u64>,
    on_batch: Option<OnBatch>,
    on_failure: Option<OnFailure>,
}

/// What the handle gives the driver to begin with.
pub(super) struct Setup {
    pub(super) settings: Settings,
    /// Where it begins otherwise than the settings say.
    pub(super) tuning: Option<Tuning>,
    pub(super) ledger: Box<dyn Ledger>,
    /// The ledger's record as the term's fence wrote it, and its version.
    pub(super) fenced: (LedgerRecord, Version),
    pub(super) mailboxes: Mailboxes,
    pub(super) inbox: UnboundedReceiver<ToDriver>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) started: oneshot::Sender<Result<Resumed>>,
    pub(super) on_batch: Option<OnBatch>,
    pub(super) on_failure: Option<OnFailure>,
}

/// Runs a term from its fence to its end, and tells how it ended.
pub(super) fn run(setup: Setup) {
    let Setup {
        settings,
        tuning,
        ledger,
        fenced: (record, version),
        mailboxes,
        mut inbox,
        progress,
        started,
        on_batch,
        on_failure,
    } = setup;
    let opened = open(settings, ledger, &mailboxes);
    let (runtime, coordinator, (writes, keeper)) = match opened {
        Ok(opened) => opened,
        Err(error) => return drop(started.send(Err(error))),
    };
    let resumed = Resumed {
        txid: record.sealed.map_or(TxId::ZERO, |attempt| attempt.txid),
        records: record.records,
    };
    progress.send_modify(|progress| {
        (progress.sealed, progress.records) = (resumed.txid, record.records)
    });
    let lags = vec![0; coordinator.settings().spouts.len()];
    let mut driver = Driver {
        coordinator,
        mailboxes,
        ledger: writes,
        progress,
        started: Some((started, resumed)),
        lags,
        on_batch,
        on_failure,
    };
    let outcome = runtime.block_on(driver.serve(&mut inbox, tuning, record, version));
    driver.end(outcome);
    // With the driver went the last sender of writes: the ledger is let go before this thread is.
    drop(keeper.join());
}

type LedgerThread = (mpsc::Sender<Write>, JoinHandle<()>);
type Opened = (tokio::runtime::Runtime, Coordinator, LedgerThread);

fn open(settings: Settings, ledger: Box<dyn Ledger>, mailboxes: &Mailboxes) -> Result<Opened> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime
        .map_err(|error| Error::config(format!("no asynchronous runtime can be made: {error}")))?;
    let coordinator = Coordinator::new(settings)?;
    let writes = spawn_ledger(ledger, mailboxes)
        .map_err(|error| Error::config(format!("no thread can be started: {error}")))?;
    Ok((runtime, coordinator, writes))
}

/// The ledger has a thread of its own, since a file's fsync blocks.
fn spawn_ledger(
    mut ledger: Box<dyn Ledger>,
    mailboxes: &Mailboxes,
) -> std::io::Result<LedgerThread> {
    let (writes, inbox) = mpsc::channel::<Write>();
    let driver = mailboxes.driver.clone();
    let body = move || {
        while let Ok(Write { record, expected }) = inbox.recv() {
            let outcome = futures::executor::block_on(ledger.write(&record, expected));
            if driver
                .send(ToDriver::Event(Event::Ledger { expected, outcome }))
                .is_err()
            {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("fulmar-ledger".into())
        .spawn(body)?;
    Ok((writes, thread))
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell that reads the clock for the coordinator"
)]
fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Driver {
    /// Answers when the term is over: stopped, or with what halted it.
    async fn serve(
        &mut self,
        inbox: &mut UnboundedReceiver<ToDriver>,
        tuning: Option<Tuning>,
        record: LedgerRecord,
        version: Version,
    ) -> Result<()> {
        if let Some(over) = tuning.and_then(|tuning| self.tune(tuning)) {
            return over;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Some(Event::Fenced {
            record: Box::new(record),
            version,
        });
        loop {
            if let Some(over) = self.step(Event::Tick {
                now: now(),
                wall_ms: wall_ms(),
            }) {
                return over;
            }
            if let Some(event) = next.take()
                && let Some(over) = self.take(event)
            {
                return over;
            }
            let mail = tokio::select! {
                biased;
                mail = inbox.recv() => mail,
                _ = ticks.tick() => continue,
            };
            match mail {
                Some(ToDriver::Event(event)) => {
                    if matches!(event, Event::Stop { drain: false }) {
                        self.finish_reading();
                    }
                    next = Some(event);
                }
                Some(ToDriver::Fatal(reason)) => return Err(Error::Halted { reason }),
                Some(ToDriver::Lost(error)) => return Err(error.into()),
                Some(ToDriver::Tune(tuning, done)) => {
                    if let Some(over) = self.tune(tuning) {
                        return over;
                    }
                    // Whoever waits for it may have gone with its term.
                    let _ = done.send(());
                }
                Some(ToDriver::Published(txid)) => {
                    self.progress
                        .send_modify(|progress| progress.published = txid);
                }
                Some(ToDriver::Lag(source, lag)) => {
                    self.lags[source] = lag;
                    self.progress
                        .send_modify(|progress| progress.lag_bytes = self.lags.iter().sum());
                }
                Some(ToDriver::Abandon) | None => return Err(Error::Ended),
            }
        }
    }

    /// Settings that changed: they count from the next batch on.
    fn tune(&mut self, tuning: Tuning) -> Option<Result<()>> {
        tuning
            .events()
            .into_iter()
            .find_map(|event| self.step(event))
    }

    /// A batch that waits for its limit of time must not hold up a stop.
    fn finish_reading(&self) {
        for source in 0..self.mailboxes.sources.len() {
            self.mailboxes
                .deliver(Envelope::Source(source, ToSource::Finish));
        }
    }

    fn take(&mut self, event: Event) -> Option<Result<()>> {
        let rewound = matches!(
            &event,
            Event::Rewound {
                outcome: Ok(()),
                ..
            }
        );
        let over = self.step(event);
        if rewound && let Some((started, resumed)) = self.started.take() {
            drop(started.send(Ok(resumed)));
        }
        over
    }

    fn step(&mut self, event: Event) -> Option<Result<()>> {
        let Step { record, actions } = self.coordinator.step(event);
        if let Some(write) = record {
            // The ledger's thread lives as long as this sender.
            drop(self.ledger.send(*write));
        }
        actions.into_iter().find_map(|action| self.act(action))
    }

    fn act(&mut self, action: Action) -> Option<Result<()>> {
        match action {
            Action::Rewind {
                generation,
                sealed,
                positions,
            } => {
                self.mailboxes
                    .deliver(Envelope::Recorder(ToRecorder::Rewind {
                        generation,
                        sealed,
                        positions,
                    }));
            }
            Action::Issue(batch) => {
                let batch = Arc::new(batch);
                self.progress
                    .send_if_modified(|progress| std::mem::take(&mut progress.drained));
                for source in 0..self.mailboxes.sources.len() {
                    self.mailboxes
                        .deliver(Envelope::Source(source, ToSource::Issue(batch.clone())));
                }
            }
            Action::Announce { attempt } => self
                .mailboxes
                .deliver(Envelope::Recorder(ToRecorder::Announce { attempt })),
            Action::Sealed(report) => {
                self.progress.send_modify(|progress| {
                    progress.add(&report, self.coordinator.in_flight().count())
                });
                tracing::debug!(txid = %report.txid, attempt = %report.attempt, records = report.records, "sealed");
                self.on_batch.iter().for_each(|tell| tell(&report));
            }
            Action::Replayed(failure) => {
                tracing::warn!(attempt = %failure.attempt, cause = %failure.cause, "an attempt failed; its batch is tried again");
                self.progress.send_modify(|progress| progress.replays += 1);
                self.on_failure.iter().for_each(|tell| tell(&failure));
            }
            Action::Drained => self
                .progress
                .send_modify(|progress| progress.drained = true),
            Action::Stopped => return Some(Ok(())),
            Action::Halt(reason) => {
                return Some(Err(fulmar_coordinator::Error::from(reason).into()));
            }
            // The coordinator may learn to ask for more; a shell that does not know it must not go on as if it had.
            action => {
                return Some(Err(Error::Halted {
                    reason: format!("the engine cannot carry out {action:?}"),
                }));
            }
        }
        None
    }

    fn end(mut self, outcome: Result<()>) {
        if let Some((started, _)) = self.started.take() {
            let error = outcome.clone().err().unwrap_or(Error::Ended);
            drop(started.send(Err(error)));
        }
        self.progress.send_modify(|progress| {
            progress.in_flight = 0;
            progress.ended = Some(outcome);
        });
    }
}
