//! The storage seam: ordered families of bytes, atomic writes, snapshots, sorted ingestion.

mod memory;
mod operands;
#[cfg(feature = "rocksdb")]
mod rocks;

use std::sync::Arc;

pub use memory::MemoryStorage;
pub use operands::{MergeOperands, StateFamily};
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksOptions, RocksStorage};

use crate::attempt::StateId;
use crate::error::Result;

/// One ordered space of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Small records about the store itself.
    Meta,
    /// The batch log, keyed by txid.
    Log,
    /// A state's folded values, keyed by partition and key.
    Data(StateId),
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// When it survives what the store's [`Durability`] promises to survive.
    Synced,
    /// When it survives the crash of the process.
    Buffered,
}

/// What a store survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The crash of the process, of the system, and the loss of power.
    #[default]
    Fsync,
    /// The crash of the process only; after a power loss the state may have to be built anew.
    ProcessCrash,
}

/// A record as a scan yields it: key and value.
pub type Record = (Box<[u8]>, Box<[u8]>);

/// A scan's records in ascending order of their keys.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<Record>> + 'a>;

/// Ordered families of bytes on some medium.
///
/// # Contract
///
/// - [`write`](Storage::write) and [`ingest`](Storage::ingest) are atomic: after a crash all of a call is there, or
///   nothing. What a call that returned `Ok` wrote is seen by every later read and snapshot.
/// - A call that returned an error may have been applied or not. The caller stops using the storage for writing; no
///   call is ever tried again.
/// - Only one process has a medium open. Within it any thread may call; there is one writer of `Meta` and `Log`, and
///   one ingesting thread.
/// - Merge records ask for the family's [`MergeOperands`]; reads see merged values.
pub trait Storage: Send + Sync + 'static {
    /// Where the data lies, for messages.
    fn place(&self) -> String;

    /// Applies all of a batch, in its order.
    fn write(&self, batch: WriteBatch, durable: Durable) -> Result<()>;

    /// The value of a key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// All families as they are now, for as long as the snapshot lives. Blocks no writer.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;

    /// Adds the strictly ascending records that `fill` hands to its sink, in one atomic and durable step, however
    /// many they are. An error of `fill` is returned, and nothing was added.
    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<()>,
    ) -> Result<()>;
}

/// All families as of one moment.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The values of ascending keys, in their order.
    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;

    /// The records from `from` up to but without `to`.
    fn scan(&self, family: Family, from: &[u8], to: &[u8]) -> Scan<'_>;
}

/// Takes strictly ascending records.
pub trait SortedSink {
    /// Sets a key's value.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Adds an operand to a key's value.
    fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<()>;

    /// Takes a key out.
    fn delete(&mut self, key: &[u8]) -> Result<()>;
}

/// Changes that are written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// The changes in their order.
    pub changes: Vec<Write>,
}

/// One change of a [`WriteBatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key's value.
    Put(Family, Vec<u8>, Vec<u8>),
    /// Takes a key out.
    Delete(Family, Vec<u8>),
}

impl WriteBatch {
    /// Nothing to write yet.
    #[must_use]
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets a key's value.
    pub fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes
            .push(Write::Put(family, key.into(), value.into()));
    }

    /// Takes a key out.
    pub fn delete(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        self.changes.push(Write::Delete(family, key.into()));
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
