//! What stands between the engine and the real ledgers, RocksDB and sinks, and knows what each call is for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fulmar::coordinator::{
    Directory, Durability, Error, Keeper, Ledger, LedgerRecord, Version, WriteOutcome,
};
use fulmar::sink::{Part, Sink, SinkError};
use fulmar::spout::{Position, Progress, ReadLimit, Reader, Replays, Spout, SpoutError};
use fulmar::state::{
    Durable, Family, RocksOptions, RocksStorage, Snapshot, SortedSink, StateError, StateFamily,
    Storage, WriteBatch,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use xxhash_rust::xxh3::Xxh3;

use super::fuse::Fuse;
use super::point::Place;
use crate::seams::{Phase, phase_of};

/// A ledger whose calls may be the last; the first write of its life is the term's fence.
pub struct MortalLedger<L> {
    inner: L,
    fuse: Fuse,
    fenced: bool,
    /// Told the epoch once it is fenced.
    on_fence: fn(u64),
}

impl<L> MortalLedger<L> {
    /// In front of this one.
    pub fn new(inner: L, fuse: Fuse, on_fence: fn(u64)) -> MortalLedger<L> {
        MortalLedger {
            inner,
            fuse,
            fenced: false,
            on_fence,
        }
    }
}

impl<L: Ledger> Ledger for MortalLedger<L> {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>, Error>> {
        let call = self.inner.load();
        self.fuse.around_async(Place::Load, call).boxed()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        let place = if self.fenced {
            Place::Seal
        } else {
            Place::Fence
        };
        async move {
            let call = self.inner.write(record, expected);
            let outcome = self.fuse.around_async(place, call).await;
            if !self.fenced && matches!(outcome, WriteOutcome::Applied(_)) {
                self.fenced = true;
                (self.on_fence)(record.epoch.0);
            }
            outcome
        }
        .boxed()
    }
}

/// How a store is opened.
pub struct Opening {
    /// The state directory.
    pub dir: PathBuf,
    /// What its states are.
    pub families: Vec<StateFamily>,
    /// How RocksDB is tuned.
    pub options: RocksOptions,
    /// Whether the directory is to be taken first, since its ledger is in ZooKeeper.
    pub claims: bool,
}

/// A RocksDB whose calls may be the last. It is opened by the first of them, so that, as in the product, the fence comes before.
pub struct MortalStorage {
    opening: Opening,
    fuse: Fuse,
    opened: OnceLock<Result<Opened, StateError>>,
    last_head: Mutex<Vec<u64>>,
}

/// The store goes before the directory's lock does.
struct Opened {
    rocks: RocksStorage,
    _directory: Option<Directory>,
}

impl MortalStorage {
    /// Not opened yet.
    #[must_use]
    pub fn new(opening: Opening, fuse: Fuse) -> MortalStorage {
        MortalStorage {
            opening,
            fuse,
            opened: OnceLock::new(),
            last_head: Mutex::default(),
        }
    }

    fn rocks(&self) -> Result<&RocksStorage, StateError> {
        let opened = self.opened.get_or_init(|| self.open());
        match opened {
            Ok(opened) => Ok(&opened.rocks),
            Err(error) => Err(error.clone()),
        }
    }

    fn open(&self) -> Result<Opened, StateError> {
        let Opening {
            dir,
            families,
            options,
            claims,
        } = &self.opening;
        let directory = match claims {
            true => Some(self.fuse.around(Place::Claim, || self.claim())?),
            false => None,
        };
        let state = dir.join("state");
        let open = || RocksStorage::open(&state, families, *options);
        Ok(Opened {
            rocks: self.fuse.around(Place::Open, open)?,
            _directory: directory,
        })
    }

    /// Waits until the process before is gone; whoever waits for this one knows how long that may take.
    fn claim(&self) -> Result<Directory, StateError> {
        loop {
            match Directory::claim(&self.opening.dir, Durability::Fsync, Keeper::ZooKeeper) {
                Err(Error::Locked { .. }) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                claimed => {
                    return claimed.map_err(|error| StateError::Io {
                        path: self.opening.dir.clone(),
                        doing: "taking the directory".into(),
                        message: error.to_string(),
                    });
                }
            }
        }
    }
}

impl Storage for MortalStorage {
    fn place(&self) -> String {
        self.opening.dir.join("state").display().to_string()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<(), StateError> {
        let rocks = self.rocks()?;
        let phase = {
            let mut last = self
                .last_head
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            phase_of(&batch, &mut last)
        };
        let place = match phase {
            Phase::Begin => Place::Begin,
            Phase::Rewind => Place::Rewind,
            Phase::Prepare => Place::Prepare,
            Phase::FinishFold => Place::Folded,
            _ => Place::Published,
        };
        self.fuse.around(place, || rocks.write(batch, durable))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.rocks()?.get(family, key)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StateError> {
        self.rocks()?.snapshot()
    }

    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let rocks = self.rocks()?;
        self.fuse.around(Place::Fold, || rocks.ingest(family, fill))
    }
}

/// A sink whose parts may be the last.
pub struct MortalSink<S> {
    inner: S,
    fuse: Fuse,
}

impl<S> MortalSink<S> {
    /// In front of this one.
    pub fn new(inner: S, fuse: Fuse) -> MortalSink<S> {
        MortalSink { inner, fuse }
    }
}

impl<T, S: Sink<T>> Sink<T> for MortalSink<S> {
    fn publish(&mut self, part: &Part, records: Vec<T>) -> Result<(), SinkError> {
        let publish = || self.inner.publish(part, records);
        self.fuse.around(Place::Publish, publish)
    }
}

/// A spout whose reads may be the last.
pub struct MortalSpout<S> {
    inner: S,
    fuse: Fuse,
}

/// A reader whose reads may be the last.
pub struct MortalReader<R> {
    inner: R,
    fuse: Fuse,
}

impl<S> MortalSpout<S> {
    /// In front of this one.
    pub fn new(inner: S, fuse: Fuse) -> MortalSpout<S> {
        MortalSpout { inner, fuse }
    }
}

impl<S: Spout> Spout for MortalSpout<S> {
    type Record = S::Record;
    type Reader = MortalReader<S::Reader>;

    fn replays(&self) -> Replays {
        self.inner.replays()
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        self.inner.partitions()
    }

    fn resume(&mut self, recorded: &BTreeMap<String, Position>) -> Result<(), SpoutError> {
        self.inner.resume(recorded)
    }

    fn open(&mut self, partition: &str, from: Option<&[u8]>) -> Result<Self::Reader, SpoutError> {
        Ok(MortalReader {
            inner: self.inner.open(partition, from)?,
            fuse: self.fuse.clone(),
        })
    }

    fn digest(&self, record: &S::Record, digest: &mut Xxh3) {
        self.inner.digest(record, digest);
    }

    fn describe(&self, partition: &str, position: Option<&[u8]>) -> String {
        self.inner.describe(partition, position)
    }
}

impl<R: Reader> Reader for MortalReader<R> {
    type Record = R::Record;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<R::Record>) -> Result<Progress, SpoutError> {
        self.fuse
            .around(Place::Read, || self.inner.read(limit, out))
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn lag(&self) -> Option<u64> {
        self.inner.lag()
    }
}
