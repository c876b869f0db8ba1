//! Stores to begin an example with.

use fulmar_state::{
    Attempt, Durable, Entry, Family, Generation, MemoryStorage, Result, RewindOutcome, Storage,
    Store, TxId, WriteBatch,
};

use super::{Medium, Worker, delta, identity, rewind, schemas};

pub(crate) fn attempt(txid: u64, epoch: u64) -> Attempt {
    Attempt::new(TxId(txid), Generation::new(epoch, 0))
}

pub(crate) fn entry(txid: u64, epoch: u64, base: Option<Attempt>) -> Entry {
    Entry {
        attempt: attempt(txid, epoch),
        base,
        ..Entry::default()
    }
}

pub(crate) fn open(storage: &MemoryStorage) -> Result<Store> {
    Store::open(storage.open(), &identity(), &schemas())
}

/// A store with batches 1 to `upto` of epoch 1, not sealed.
pub(crate) fn store_with(storage: &MemoryStorage, upto: u64) -> Store {
    let mut store = open(storage).unwrap();
    assert_eq!(store.rewind(rewind(1, None)), Ok(RewindOutcome::Done));
    for txid in 1..=upto {
        let base = (txid > 1).then(|| attempt(txid - 1, 1));
        store.append(&[entry(txid, 1, base)]).unwrap();
    }
    store
}

pub(crate) fn log_key(txid: u64) -> [u8; 8] {
    txid.to_be_bytes()
}

pub(crate) fn remove(storage: &MemoryStorage, family: Family, key: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.delete(family, key);
    storage.write(batch, Durable::Synced).unwrap();
}

pub(crate) fn put(storage: &MemoryStorage, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(family, key, value);
    storage.write(batch, Durable::Synced).unwrap();
}

/// A worker that has folded batch 1, and a later seal.
pub(crate) fn folded(storage: &MemoryStorage) -> Worker {
    let mut worker = Worker::start(storage.open(), rewind(1, None), 2).unwrap();
    let first = worker.prepare(&delta("a", 1)).unwrap();
    worker.seal(first);
    worker.fold(|_| Ok(())).unwrap();
    worker
}
