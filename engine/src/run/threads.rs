//! The shells: each takes messages off its channel, steps its core, and delivers what comes of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fulmar_coordinator::Micros;
use fulmar_state::{FoldJob, Storage};

use super::mailbox::{Mail, Mailboxes, ToDriver};
use crate::executor::Executor;
use crate::message::{Envelope, ToExecutor, ToPublisher, ToRecorder, ToSource, Transport};
use crate::publisher::{Published, Publisher};
use crate::recorder::Recorder;
use crate::source::{Source, Wait};

/// How often batches that wait for a fold are said to be alive.
const SIGN_OF_LIFE: Duration = Duration::from_millis(100);

/// How long a sink that refused is left alone.
const SINK_RETRY: Duration = Duration::from_millis(200);

/// The monotonic clock of this process, in microseconds since its first reading.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell that reads the clock for the cores"
)]
pub(super) fn now() -> Micros {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    Micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Starts a named thread. A panic in it is a fault of the engine, and ends the topology with what it said.
pub(super) fn spawn(
    name: String,
    mailboxes: Mailboxes,
    body: impl FnOnce(&Mailboxes) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let told = name.clone();
    thread::Builder::new().name(name).spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&mailboxes)));
        if outcome.is_err() {
            mailboxes.deliver(Envelope::Fatal(format!("thread {told} panicked: this is a fault of the engine, please report it with the panic's message")));
        }
    })
}

fn deliver(mailboxes: &Mailboxes, envelopes: impl IntoIterator<Item = Envelope>) {
    envelopes
        .into_iter()
        .for_each(|envelope| mailboxes.deliver(envelope));
}

pub(super) fn run_executor(
    mut executor: Executor,
    inbox: &Receiver<Mail<ToExecutor>>,
    mailboxes: &Mailboxes,
) {
    let mut out = Vec::new();
    while let Ok(Mail::Message(message)) = inbox.recv() {
        executor.step_into(message, &mut out);
        deliver(mailboxes, out.drain(..));
    }
}

pub(super) fn run_source(
    mut source: Source,
    index: usize,
    inbox: &Receiver<Mail<ToSource>>,
    mailboxes: &Mailboxes,
) {
    let mut wait = Wait::Message;
    let mut lag = u64::MAX;
    loop {
        let mail = match wait {
            Wait::Now => match inbox.try_recv() {
                Ok(mail) => Some(mail),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            },
            Wait::Poll(Micros(wait)) => match inbox.recv_timeout(Duration::from_micros(wait)) {
                Ok(mail) => Some(mail),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            },
            Wait::Message => match inbox.recv() {
                Ok(mail) => Some(mail),
                Err(_) => return,
            },
        };
        match mail {
            Some(Mail::Stop) => return,
            Some(Mail::Message(message)) => deliver(mailboxes, source.step(message)),
            None => {}
        }
        let (next, envelopes) = source.pump(now());
        wait = next;
        deliver(mailboxes, envelopes);
        // Told when there is a pause, and then also if it changed before.
        if wait != Wait::Now && std::mem::replace(&mut lag, source.lag()) != lag {
            drop(mailboxes.driver.send(ToDriver::Lag(index, lag)));
        }
    }
}

pub(super) fn run_recorder(
    mut recorder: Recorder,
    inbox: &Receiver<Mail<ToRecorder>>,
    mailboxes: &Mailboxes,
) {
    loop {
        let mut mail = if recorder.is_waiting() {
            match inbox.recv_timeout(SIGN_OF_LIFE) {
                Ok(mail) => mail,
                Err(RecvTimeoutError::Timeout) => {
                    deliver(mailboxes, recorder.keep_alive());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        } else if let Ok(mail) = inbox.recv() {
            mail
        } else {
            return;
        };
        loop {
            match mail {
                Mail::Message(message) => deliver(mailboxes, recorder.step(message)),
                Mail::Stop => {
                    deliver(mailboxes, recorder.step(ToRecorder::Close));
                    return;
                }
            }
            match inbox.try_recv() {
                Ok(next) => mail = next,
                Err(_) => break,
            }
        }
        deliver(mailboxes, recorder.prepare());
    }
}

pub(super) fn run_flusher(
    storage: &Arc<dyn Storage>,
    inbox: &Receiver<Mail<FoldJob>>,
    mailboxes: &Mailboxes,
) {
    while let Ok(Mail::Message(job)) = inbox.recv() {
        let done = job.run(storage.as_ref());
        // The parts it has folded are many; they go before the next job comes.
        drop(job);
        mailboxes.deliver(Envelope::Recorder(ToRecorder::Folded(done)));
    }
}

pub(super) fn run_publisher(
    mut publisher: Publisher,
    inbox: &Receiver<Mail<ToPublisher>>,
    mailboxes: &Mailboxes,
) {
    let mut complained = false;
    while let Ok(Mail::Message(message)) = inbox.recv() {
        publisher.step(message);
        loop {
            match publisher.publish_next() {
                Published::Nothing => break,
                Published::Taken(envelope) => {
                    complained = false;
                    deliver(mailboxes, envelope);
                }
                Published::Refused(sink, error) if error.permanent => {
                    mailboxes.deliver(Envelope::Fatal(format!("sink {sink:?}: {error}")));
                    return;
                }
                Published::Refused(sink, error) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(sink, %error, "a sink refused a part, which it is offered again until it takes it");
                    }
                    match inbox.recv_timeout(SINK_RETRY) {
                        Ok(Mail::Message(message)) => publisher.step(message),
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            }
        }
    }
}
