//! The handle to a running topology: wait, watch, read, stop.

use std::thread::JoinHandle;

use fulmar_coordinator::{BatchReport, Event};
use fulmar_state::{AnyShard, Shard, StateId, TxId, Value, hash_key, partition_of};
use tokio::sync::{oneshot, watch};

use super::mailbox::{Mailboxes, ToDriver};
use super::open::Seat;
use crate::data::Key;
use crate::error::{Error, Result};
use crate::message::{Envelope, ReadState, ToRecorder, Transport};
use crate::operator::{Merging, owner_of};
use crate::stream::StateHandle;

/// A pinned view of a state as of one batch: `get` and ordered `scan` over all partitions. Later batches do not change
/// it, and it holds nothing up.
pub type StateView<K, V> = fulmar_state::StateView<K, V, Merging<V>>;

/// From where a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The last batch that was sealed before; zero if none was.
    pub txid: TxId,
    /// Records in all batches sealed before.
    pub records: u64,
}

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The last sealed batch.
    pub sealed: TxId,
    /// Records sealed in the life of the topology, earlier runs included.
    pub records: u64,
    /// Bytes sealed in this run.
    pub bytes: u64,
    /// Batches in flight.
    pub in_flight: usize,
    /// Attempts that failed in this run, and were made again.
    pub replays: u64,
    /// About how many bytes are left to read.
    pub lag_bytes: u64,
    /// The last batch whose records all sinks have taken.
    pub published: TxId,
    /// Everything that there is to read is sealed and shown.
    pub drained: bool,
    /// How the run has ended, once it has.
    pub ended: Option<Result<()>>,
}

impl Progress {
    /// Everything that there is to read is sealed, shown and published.
    pub fn is_done(&self) -> bool {
        self.drained && self.published >= self.sealed
    }

    pub(super) fn add(&mut self, report: &BatchReport, in_flight: usize) {
        self.sealed = report.txid;
        self.records += report.records;
        self.bytes += report.bytes;
        self.in_flight = in_flight;
    }
}

/// A running topology. Dropping the handle ends the run at once, as a crash would, and loses nothing sealed.
pub struct Running {
    pub(super) resumed: Resumed,
    pub(super) executors: u16,
    pub(super) mailboxes: Mailboxes,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) driver: Option<JoinHandle<()>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) recorder: Option<JoinHandle<()>>,
    pub(super) name: String,
    /// What the run stands on: let go last, when no thread needs it any more.
    pub(super) seat: Option<Seat>,
}

impl Running {
    /// From where the run went on.
    pub fn resumed(&self) -> Resumed {
        self.resumed
    }

    /// How far it is, now.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Follows how far it is: each change wakes the receiver.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until everything that there is to read is sealed and published; an error says why that will not happen.
    pub async fn drained(&self) -> Result<()> {
        let mut progress = self.progress.clone();
        let state = progress
            .wait_for(|progress| progress.is_done() || progress.ended.is_some())
            .await
            .map_err(|_| Error::Ended)?;
        state.ended.clone().unwrap_or(Ok(()))
    }

    /// Waits until the run has ended by itself: on a halt, with its reason.
    pub async fn ended(&self) -> Result<()> {
        let mut progress = self.progress.clone();
        let state = progress
            .wait_for(|progress| progress.ended.is_some())
            .await
            .map_err(|_| Error::Ended)?;
        state.ended.clone().unwrap_or(Ok(()))
    }

    /// Ends reading: what is in flight is sealed, and nothing new is read. States can still be read, as of the last batch.
    pub async fn finish(&self) -> Result<()> {
        drop(
            self.mailboxes
                .driver
                .send(ToDriver::Event(Event::Stop { drain: false })),
        );
        self.ended().await
    }

    /// Ends the run: what is in flight is sealed, nothing new is read, and sinks that are at work finish their part.
    pub async fn stop(mut self) -> Result<()> {
        let outcome = self.finish().await;
        self.join();
        outcome
    }

    /// The value of one key as of the last sealed batch that is shown.
    pub async fn get<K: Key, V: Value>(
        &self,
        state: &StateHandle<K, V>,
        key: &K,
    ) -> Result<Option<V>> {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        let hash = hash_key(&bytes);
        let owner = owner_of(
            partition_of(hash, state.partitions()),
            state.partitions(),
            self.executors,
        );
        let (answer, answered) = oneshot::channel();
        let read = Box::new(move |shard: &mut dyn AnyShard| {
            let shard = typed::<V>(shard);
            drop(answer.send(shard.get(shard.sealed(), hash, &bytes)));
        });
        self.mailboxes
            .deliver(Envelope::Recorder(ToRecorder::ReadOne {
                executor: owner,
                state: state.id(),
                read,
            }));
        Ok(self.answer(answered).await??)
    }

    /// A pinned view of a whole state, over all partitions as of the last sealed batch that is shown.
    pub async fn read<K: Key, V: Value>(
        &self,
        state: &StateHandle<K, V>,
    ) -> Result<StateView<K, V>> {
        let mut reads: Vec<ReadState> = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..self.executors {
            let (answer, answered) = oneshot::channel();
            reads.push(Box::new(move |shard| {
                drop(answer.send(typed::<V>(shard).view()))
            }));
            answers.push(answered);
        }
        let state: StateId = state.id();
        self.mailboxes
            .deliver(Envelope::Recorder(ToRecorder::Read { state, reads }));
        let mut views = Vec::new();
        for answered in answers {
            views.push(self.answer(answered).await?);
        }
        Ok(StateView::new(views)?)
    }

    /// Waits for an answer, or for the run to halt. One that was only finished still answers.
    async fn answer<T>(&self, answered: oneshot::Receiver<T>) -> Result<T> {
        let mut progress = self.progress.clone();
        let halted = async {
            match progress
                .wait_for(|progress| matches!(progress.ended, Some(Err(_))))
                .await
            {
                Ok(state) => state
                    .ended
                    .clone()
                    .and_then(Result::err)
                    .unwrap_or(Error::Ended),
                // The driver has gone; whether an answer comes is with those who were asked.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = answered => answer.map_err(|_| Error::Ended),
            error = halted => Err(error),
        }
    }

    /// Ends every thread, and waits for each. Those that panicked have told so by then.
    fn join(&mut self) {
        if let Some(driver) = self.driver.take() {
            drop(self.mailboxes.driver.send(ToDriver::Abandon));
            drop(driver.join());
        }
        self.mailboxes.stop();
        self.threads
            .drain(..)
            .for_each(|thread| drop(thread.join()));
        self.mailboxes.stop_recorder();
        drop(self.recorder.take().map(JoinHandle::join));
        drop(self.seat.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.join();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({:?}, {:?})", self.name, self.progress())
    }
}

fn typed<V: Value>(shard: &mut dyn AnyShard) -> &mut Shard<V, Merging<V>> {
    shard
        .as_any_mut()
        .downcast_mut()
        .expect("a handle has the types of its state")
}
