//! A storage on RocksDB: one database per worker, one column family per [`Family`].

mod error;
mod ingest;
mod logs;
mod open;
mod options;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rocksdb::{
    ColumnFamily, DB, Direction, IteratorMode, Options, ReadOptions, SnapshotWithThreadMode,
    WriteOptions,
};
use self_cell::self_cell;

pub use options::RocksOptions;

use super::{
    Durability, Durable, Family, Record, Scan, Snapshot, SortedSink, Storage, Write, WriteBatch,
};
use crate::error::Result;

/// A database in a directory that belongs to it alone. The directory is locked until the storage and all its snapshots
/// are dropped.
pub struct RocksStorage {
    inner: Arc<Inner>,
    durability: Durability,
    /// Names the temporary files of ingestions.
    ingested: AtomicU64,
    /// How tables are written, per family.
    tables: BTreeMap<Family, Options>,
}

struct Inner {
    db: DB,
    dir: PathBuf,
    /// The column families' names.
    names: BTreeMap<Family, String>,
}

impl Inner {
    fn handle(&self, family: Family) -> &ColumnFamily {
        let handle = self
            .names
            .get(&family)
            .and_then(|name| self.db.cf_handle(name));
        handle.expect("every family of the states it was opened with has its column family")
    }

    fn failed(&self, doing: &str, error: rocksdb::Error) -> crate::StateError {
        error::translate(&self.dir, doing, &error)
    }
}

impl Storage for RocksStorage {
    fn place(&self) -> String {
        self.inner.dir.display().to_string()
    }

    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<()> {
        let mut changes = rocksdb::WriteBatch::default();
        for change in &batch.changes {
            match change {
                Write::Put(family, key, value) => {
                    changes.put_cf(self.inner.handle(*family), key, value)
                }
                Write::Delete(family, key) => changes.delete_cf(self.inner.handle(*family), key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durable == Durable::Synced && self.durability == Durability::Fsync);
        let written = self.inner.db.write_opt(changes, &options);
        written.map_err(|error| self.inner.failed("writing", error))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.inner.db.get_cf(self.inner.handle(family), key);
        found.map_err(|error| self.inner.failed("reading", error))
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let cell = SnapshotCell::new(Arc::clone(&self.inner), |inner| inner.db.snapshot());
        Ok(Arc::new(RocksSnapshot { cell }))
    }

    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<()>,
    ) -> Result<()> {
        self.ingest_sorted(family, fill)
    }
}

impl fmt::Debug for RocksStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStorage")
            .field("dir", &self.inner.dir)
            .finish_non_exhaustive()
    }
}

type Held<'a> = SnapshotWithThreadMode<'a, DB>;

self_cell!(
    struct SnapshotCell {
        owner: Arc<Inner>,
        #[covariant]
        dependent: Held,
    }
);

struct RocksSnapshot {
    cell: SnapshotCell,
}

impl RocksSnapshot {
    fn failed(&self, error: rocksdb::Error) -> crate::StateError {
        self.cell.borrow_owner().failed("reading", error)
    }
}

impl Snapshot for RocksSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let handle = self.cell.borrow_owner().handle(family);
        self.cell
            .borrow_dependent()
            .get_cf(handle, key)
            .map_err(|error| self.failed(error))
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let inner = self.cell.borrow_owner();
        let mut options = ReadOptions::default();
        options.set_snapshot(self.cell.borrow_dependent());
        let keys = keys.iter().copied();
        let found = inner
            .db
            .batched_multi_get_cf_opt(inner.handle(family), keys, true, &options);
        let value =
            |found: Result<Option<rocksdb::DBPinnableSlice<'_>>, rocksdb::Error>| match found {
                Ok(value) => Ok(value.map(|value| value.to_vec())),
                Err(error) => Err(self.failed(error)),
            };
        found.into_iter().map(value).collect()
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8]) -> Scan<'_> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let mut options = ReadOptions::default();
        // A scan over everything must not push out what single reads need.
        options.fill_cache(false);
        options.set_iterate_upper_bound(to);
        let handle = self.cell.borrow_owner().handle(family);
        let mode = IteratorMode::From(from, Direction::Forward);
        let records = self
            .cell
            .borrow_dependent()
            .iterator_cf_opt(handle, options, mode);
        Box::new(
            records.map(|record| -> Result<Record> { record.map_err(|error| self.failed(error)) }),
        )
    }
}
