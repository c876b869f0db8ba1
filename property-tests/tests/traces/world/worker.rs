//! A worker's disk and store, and the check of what it holds.

use std::sync::Arc;

use fulmar::state::{
    Durable, Family, Generation, MemoryStorage, StateFamily, StateSchema, Storage, Store,
    StoreIdentity, WriteBatch,
};

use super::World;

pub(super) struct Worker {
    pub(super) storage: MemoryStorage,
    pub(super) store: Option<Store>,
    /// Its disk was exchanged for an old one.
    pub(super) old: bool,
}

pub(super) fn families() -> Vec<StateFamily> {
    vec![StateFamily::stored(schema())]
}

fn schema() -> StateSchema {
    StateSchema {
        name: "state".to_owned(),
        partitions: 1,
        key_type: "number".to_owned(),
        key_version: 1,
        value_type: "number".to_owned(),
        value_version: 1,
        ..StateSchema::default()
    }
}

pub(super) fn open(storage: &MemoryStorage, worker: usize) -> Store {
    let identity = StoreIdentity {
        topology: "traces".to_owned(),
        worker: worker.to_string(),
    };
    Store::open(Arc::new(storage.clone()), &identity, &[schema()]).unwrap()
}

pub(super) fn copy(storage: &MemoryStorage) -> MemoryStorage {
    let (copy, snapshot) = (MemoryStorage::new(&families()), storage.snapshot().unwrap());
    for family in [Family::Meta, Family::Log] {
        for record in snapshot.scan(family, &[], &[0xff; 16]) {
            let (key, value) = record.unwrap();
            let mut batch = WriteBatch::new();
            batch.put(family, key, value);
            copy.write(batch, Durable::Synced).unwrap();
        }
    }
    copy
}

impl World {
    /// I4: every worker holds durably what is sealed, the very attempt and what it holds, unless its disk was exchanged.
    pub(super) fn check(&self) {
        let record = self.ledger.peek().map(|(record, _)| record);
        let newest = record.and_then(|record| record.sealed);
        assert_eq!(newest, self.sealed.last().map(|sealed| sealed.0));
        for (worker, held) in self.workers.iter().enumerate() {
            let store = open(&held.storage, worker);
            if held.old || store.highest() == Generation::ZERO {
                continue;
            }
            for (attempt, content) in &self.sealed {
                let Some(entry) = store.entry(attempt.txid).unwrap() else {
                    panic!("worker {worker} has lost {attempt}");
                };
                assert_eq!(
                    (entry.attempt, entry.time_ms),
                    (*attempt, *content),
                    "worker {worker}"
                );
            }
        }
    }
}
