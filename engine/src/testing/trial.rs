//! A topology run by hand, batch by batch, with nothing that goes wrong.

use std::fmt;
use std::time::Duration;

use fulmar_state::{DeadLetter, TxId, Value, codec};

use super::calm::Calm;
use super::rig::{DeadSink, Props, Shelf, Stand};
use crate::data::{ExchangeData, Key};
use crate::error::{Error, Result};
use crate::message::ToExecutor;
use crate::plan::Plan;
use crate::stream::StateHandle;

/// When the first batch is, in milliseconds since 1970, and how long after that each next one.
const BEGIN_MS: u64 = 1_700_000_000_000;
const BATCH_MS: u64 = 1_000;

/// A topology that a test runs by hand: what it feeds becomes a batch when it says so, and everything can be looked at in between.
///
/// Made by [`Rig::trial`](super::Rig::trial). It has no threads, no disk, no faults, and its own time: the first batch is of
/// 1,700,000,000,000 ms since 1970, each next one of a second later, unless
/// more is to [pass](Trial::pass). What a test asks wrongly (a spout, a sink or a type
/// that is not there) panics and says what is.
pub struct Trial {
    calm: Calm,
    props: Props,
    shelf: Shelf,
    /// The next batch's time.
    time_ms: u64,
}

impl Trial {
    pub(super) fn new(stand: &Stand, plan: Plan, executors: u16) -> Result<Self> {
        let props = stand.props(&plan)?;
        let shelf = stand.shelf.clone();
        let dead_letters = Box::new(DeadSink(shelf.clone()));
        let calm = Calm::new(plan, executors, dead_letters);
        let calm = calm.map_err(|reason| Error::Halted { reason })?;
        let time_ms = BEGIN_MS;
        Ok(Trial {
            calm,
            props,
            shelf,
            time_ms,
        })
    }

    /// Gives a spout records, which the next batch will hold.
    ///
    /// # Panics
    ///
    /// If the topology has no spout of that name, or it is one of other records.
    #[track_caller]
    pub fn feed<T: ExchangeData>(&mut self, spout: &str, records: impl IntoIterator<Item = T>) {
        if let Err(mistake) = self.props.feed(spout, records) {
            panic!("{mistake}");
        }
    }

    /// Makes one batch of everything that was fed and not read yet, be it nothing: processed, sealed, shown and published when this
    /// returns. A record that cannot be processed becomes a dead letter.
    ///
    /// # Panics
    ///
    /// If the batch fails and no single record is to blame.
    #[track_caller]
    pub fn advance(&mut self) -> TxId {
        match self.try_advance() {
            Ok(txid) => txid,
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn try_advance(&mut self) -> Result<TxId, String> {
        let time_ms = self.time_ms;
        let (mut careful, mut skip) = (false, Vec::new());
        while let Some(cause) = self.calm.read(time_ms, careful, &skip)? {
            match cause.origin.clone() {
                Some(origin) => skip.push(fulmar_coordinator::Skip {
                    origin: *origin,
                    cause: cause.to_string(),
                }),
                None if careful => {
                    let txid = self.calm.txid().next();
                    return Err(format!(
                        "batch {txid} cannot be processed, and no single record is to blame: {cause}"
                    ));
                }
                None => {}
            }
            careful = true;
            self.calm.rewind()?;
        }
        self.calm.seal()?;
        self.time_ms += BATCH_MS;
        Ok(self.calm.txid())
    }

    /// Lets time pass: the next batch is so much later, in whole milliseconds.
    pub fn pass(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.time_ms = self.time_ms.saturating_add(ms);
    }

    /// Processes what sources have sent elsewhere as the next batch; answers what user code failed with, if it did.
    pub(super) fn repeat(
        &mut self,
        time_ms: u64,
        sent: impl IntoIterator<Item = (u16, ToExecutor)>,
    ) -> Result<Option<String>, String> {
        let cause = self.calm.process(time_ms, sent)?;
        Ok(cause.map(|cause| cause.to_string()))
    }

    pub(super) fn calm(&mut self) -> &mut Calm {
        &mut self.calm
    }

    pub(super) fn props(&self) -> &Props {
        &self.props
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The last batch that was made; zero before the first.
    #[must_use]
    pub fn sealed(&self) -> TxId {
        self.calm.txid()
    }

    /// A state's value of one key.
    ///
    /// # Panics
    ///
    /// If the state belongs to another topology.
    #[track_caller]
    pub fn get<K: Key, V: Value>(&mut self, state: &StateHandle<K, V>, key: &K) -> Option<V> {
        let entries = self.entries(state).into_iter();
        let mut own = entries.filter(|(other, _)| other == key);
        own.next().map(|(_, value)| value)
    }

    /// All keys and values of a state, in the order of the keys.
    ///
    /// # Panics
    ///
    /// If the state belongs to another topology.
    #[track_caller]
    pub fn entries<K: Key, V: Value>(&mut self, state: &StateHandle<K, V>) -> Vec<(K, V)> {
        let index = usize::from(state.id().0);
        let asked = [std::any::type_name::<K>(), std::any::type_name::<V>()];
        let own = self.props.states.get(index);
        let own = own.filter(|(name, look)| name == state.name() && look.types == asked);
        let Some((_, look)) = own else {
            panic!(
                "state {:?} is not one of this topology {:?}",
                state.name(),
                self.props.topology
            );
        };
        let entries = self.calm.entries(index, *look).into_iter();
        let decoded = entries.map(|(key, value)| {
            let (key, value) = (K::decode(&key).ok(), codec::decode::<V>(&value).ok());
            key.zip(value)
                .expect("what was encoded as these types can be decoded")
        });
        decoded.collect()
    }

    /// What a sink was given so far: batch by batch, in each the records of one task after those of another.
    ///
    /// # Panics
    ///
    /// If the topology has no sink of that name, or it is one for other records.
    #[track_caller]
    pub fn published<T: ExchangeData>(&self, sink: &str) -> Vec<T> {
        let all = self.parts(sink).into_iter();
        all.map(|(_, record)| record).collect()
    }

    /// What a sink was given of one batch.
    ///
    /// # Panics
    ///
    /// If the topology has no sink of that name, or it is one for other records.
    #[track_caller]
    pub fn published_by<T: ExchangeData>(&self, txid: TxId, sink: &str) -> Vec<T> {
        let all = self.parts(sink).into_iter();
        let own = all.filter(|(by, _)| *by == txid);
        own.map(|(_, record)| record).collect()
    }

    #[track_caller]
    fn parts<T: ExchangeData>(&self, sink: &str) -> Vec<(TxId, T)> {
        let sinks = &self.props.sinks;
        let Some((_, taken)) = sinks.iter().find(|(name, _)| name == sink) else {
            let names: Vec<&str> = sinks.iter().map(|(name, _)| name.as_str()).collect();
            panic!(
                "topology {:?} has no sink {sink:?}; it has {names:?}",
                self.props.topology
            );
        };
        let asked = std::any::type_name::<T>();
        assert!(
            *taken == asked,
            "sink {sink:?} takes records of type {taken}, not {asked}"
        );
        let mut all = Vec::new();
        for (txid, records) in self.shelf.parts(sink) {
            for record in records {
                let record = codec::decode(&record);
                let record = record.expect("what was encoded as this type can be decoded");
                all.push((txid, record));
            }
        }
        all
    }

    /// Records that could not be processed, with the batches they were left out of.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<(TxId, DeadLetter)> {
        self.shelf.dead()
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Trial({:?} at batch {})",
            self.props.topology,
            self.sealed()
        )
    }
}
