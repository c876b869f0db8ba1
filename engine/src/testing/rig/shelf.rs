//! Where everything that a rig's sinks are given is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fulmar_state::{DeadLetter, TxId, codec};

use super::super::look::show;
use super::super::scene::{Broken, DEAD, Key};
use super::well::lock;
use crate::data::ExchangeData;
use crate::sink::{Part, Sink, SinkError};

/// What all sinks of a rig have taken.
#[derive(Clone, Default)]
pub(in super::super) struct Shelf(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    /// Records of each part, encoded.
    parts: BTreeMap<Key, Vec<Vec<u8>>>,
    dead: BTreeMap<(TxId, u16), Vec<DeadLetter>>,
    /// How each sink's records are told.
    shows: BTreeMap<String, fn(&[u8]) -> String>,
    /// Parts taken since the last look, those that came again included.
    fresh: Vec<Key>,
    /// A part came again as something else.
    broken: Option<Broken>,
    /// So many parts are refused.
    refusing: u8,
}

impl Shelf {
    /// So many more parts are refused.
    pub(in super::super) fn refuse(&self, times: u8) {
        lock(&self.0).refusing += times;
    }

    /// No part is refused any more.
    pub(in super::super) fn relent(&self) {
        lock(&self.0).refusing = 0;
    }

    /// Parts taken since the last look.
    pub(in super::super) fn fresh(&self) -> Result<Vec<Key>, Broken> {
        let mut taken = lock(&self.0);
        match taken.broken.take() {
            Some(broken) => Err(broken),
            None => Ok(std::mem::take(&mut taken.fresh)),
        }
    }

    /// A sink's records by batch and partition, encoded.
    pub(in super::super) fn parts(&self, sink: &str) -> Vec<(TxId, Vec<Vec<u8>>)> {
        let taken = lock(&self.0);
        let own = taken.parts.iter().filter(|((of, ..), _)| of == sink);
        own.map(|((_, txid, _), records)| (*txid, records.clone()))
            .collect()
    }

    /// Every sink's records by batch: in an order that does not tell which task they came from.
    pub(in super::super) fn batches(&self) -> BTreeMap<(String, TxId), Vec<Vec<u8>>> {
        let mut all: BTreeMap<(String, TxId), Vec<Vec<u8>>> = BTreeMap::new();
        for ((sink, txid, _), records) in &lock(&self.0).parts {
            let batch = all.entry((sink.clone(), *txid)).or_default();
            batch.extend(records.iter().cloned());
        }
        all.values_mut().for_each(|records| records.sort_unstable());
        all
    }

    /// A sink's record in words.
    pub(in super::super) fn show(&self, sink: &str, record: &[u8]) -> String {
        let show = lock(&self.0).shows.get(sink).copied();
        show.map_or_else(|| format!("{record:02x?}"), |show| show(record))
    }

    /// Dead letters, with the batches they were left out of.
    pub(in super::super) fn dead(&self) -> Vec<(TxId, DeadLetter)> {
        let taken = lock(&self.0);
        let all = taken.dead.iter();
        all.flat_map(|((txid, _), letters)| letters.iter().map(|letter| (*txid, letter.clone())))
            .collect()
    }

    /// Takes a part, unless the world has it refused.
    fn take(
        &self,
        part: &Part,
        keep: impl FnOnce(&mut Taken, Key) -> bool,
    ) -> Result<(), SinkError> {
        let mut taken = lock(&self.0);
        if let Some(left) = taken.refusing.checked_sub(1) {
            taken.refusing = left;
            return Err(SinkError::retry("the world lets this sink refuse"));
        }
        let key = (part.sink.to_string(), part.txid, part.partition);
        if !keep(&mut taken, key.clone()) {
            let what = format!("{key:?} comes again as other records than before");
            taken.broken.get_or_insert(what);
        }
        taken.fresh.push(key);
        Ok(())
    }
}

/// A sink that keeps what it is given, for the test to look at; made by [`Rig::sink`](super::Rig::sink).
pub struct RigSink(pub(super) Shelf);

impl<T: ExchangeData> Sink<T> for RigSink {
    fn publish(&mut self, part: &Part, records: Vec<T>) -> Result<(), SinkError> {
        let mut encoded = Vec::with_capacity(records.len());
        for record in &records {
            let mut bytes = Vec::new();
            codec::encode(record, &mut bytes).map_err(SinkError::permanent)?;
            encoded.push(bytes);
        }
        self.0.take(part, |taken, key| {
            let shows = taken.shows.entry(key.0.clone());
            shows.or_insert(show::<T>);
            let before = taken.parts.entry(key).or_insert_with(|| encoded.clone());
            *before == encoded
        })
    }
}

/// Takes dead letters.
pub(in super::super) struct DeadSink(pub(in super::super) Shelf);

impl Sink<DeadLetter> for DeadSink {
    fn publish(&mut self, part: &Part, letters: Vec<DeadLetter>) -> Result<(), SinkError> {
        debug_assert_eq!(&*part.sink, DEAD, "the publisher names them so");
        self.0.take(part, |taken, (_, txid, worker)| {
            let before = taken.dead.entry((txid, worker));
            *before.or_insert_with(|| letters.clone()) == letters
        })
    }
}
