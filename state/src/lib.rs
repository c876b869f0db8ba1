//! State that absorbs each batch exactly once: batch log, layers, overlay, and the store beneath them.
//!
//! A batch is a *layer* in memory; preparing it is one appended log entry; sealing it merges the layer into
//! the *overlay*; a background fold moves the overlay, sorted, into the data families. Taking a batch back is
//! dropping its layer and its log entry.

pub mod attempt;
pub mod backend;
pub mod codec;
pub mod error;
pub mod format;
pub mod key;
pub mod log;
pub mod outbox;
pub mod schema;
pub mod section;
pub mod shard;
pub mod store;
pub mod table;
pub mod value;
pub mod view;

mod base;
mod fold;
mod folder;
mod frozen;
mod part;

pub use attempt::{Attempt, Epoch, Generation, Partition, StateId, TxId};
pub use backend::{
    Durability, Durable, Family, MemoryStorage, MergeOperands, Snapshot, SortedSink, StateFamily,
    Storage, WriteBatch,
};
#[cfg(feature = "rocksdb")]
pub use backend::{RocksOptions, RocksStorage};
pub use base::Base;
pub use error::{Result, StateError};
pub use fold::{FoldDone, FoldJob, FoldOp, FoldPart, FoldVisitor};
pub use folder::sync_ancestors;
pub use key::{Key, KeyError, MAX_KEY, hash_key, partition_of};
pub use log::Entry;
pub use outbox::{DeadLetter, OutboxPart};
pub use schema::{StateKind, StateSchema};
pub use shard::{AnyShard, Shard, ShardMemory};
pub use store::{Rewind, RewindOutcome, SealOutcome, Store, StoreIdentity};
pub use table::ByteMap;
pub use value::{Change, Found, Merge, Value};
pub use view::{ShardView, StateView};
