//! What can be seen of a store: by its readers, and by whoever opens the disk after a crash.

use fulmar_state::{
    Durable, Family, Generation, Result, Rewind, StateId, Storage, Store, TxId, WriteBatch,
};

use crate::reference::Reference;
use crate::step::KEYS;
use crate::support::{Counts, Medium as _, Model, Names, Worker, identity, memory, route, schemas};

/// All keys as of a batch, through the executors that own them, all at once and each by itself.
pub(crate) fn read(worker: &Worker, upto: TxId) -> Model {
    let mut model = Model::default();
    let executors = worker.executors.len();
    for (at, executor) in worker.executors.iter().enumerate() {
        let mine = |partitions| {
            let routed = KEYS.map(|key| (route(key, partitions), key));
            let mine = routed
                .into_iter()
                .filter(|((_, partition), _)| usize::from(partition.0) % executors == at);
            mine.map(|((hash, _), key)| (hash, key.as_bytes()))
                .collect::<Vec<_>>()
        };
        let name = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        let keys = mine(8);
        for (value, (hash, key)) in executor
            .counts
            .get_many(upto, &keys)
            .unwrap()
            .into_iter()
            .zip(&keys)
        {
            assert_eq!(executor.counts.get(upto, *hash, key).unwrap(), value);
            value.map(|value| model.counts.insert(name(key), value));
        }
        let keys = mine(3);
        for (value, (_, key)) in executor
            .names
            .get_many(upto, &keys)
            .unwrap()
            .into_iter()
            .zip(&keys)
        {
            value.map(|value| model.names.insert(name(key), value));
        }
    }
    model
}

/// Scans from every key to every other.
pub(crate) fn check_ranges((counts, names): &(Counts, Names), model: &Model) {
    assert_eq!(counts.count(), Ok(model.counts.len() as u64));
    for from in KEYS.map(str::to_owned) {
        for to in KEYS.map(str::to_owned) {
            let scanned: Vec<_> = counts
                .scan_range(from.clone()..=to.clone())
                .collect::<Result<_>>()
                .unwrap();
            let all = model
                .counts
                .iter()
                .filter(|(key, _)| **key >= from && **key <= to);
            assert_eq!(
                scanned,
                all.map(|(key, count)| (key.clone(), *count))
                    .collect::<Vec<_>>()
            );
            let scanned: Vec<_> = names
                .scan_range(from.clone()..to.clone())
                .collect::<Result<_>>()
                .unwrap();
            let all = model
                .names
                .iter()
                .filter(|(key, _)| **key >= from && **key < to);
            assert_eq!(
                scanned,
                all.map(|(key, name)| (key.clone(), name.clone()))
                    .collect::<Vec<_>>()
            );
        }
    }
}

/// I4 and I7: what is on the disk now is what a crash now would leave: opened elsewhere, it is everything sealed, and the
/// log is neither longer nor shorter than it must be.
pub(crate) fn check_disk(storage: &dyn Storage, model: &Reference) {
    let copy = memory();
    let (mut all, snapshot) = (WriteBatch::new(), storage.snapshot().unwrap());
    let data = [Family::Data(StateId(0)), Family::Data(StateId(1))];
    let mut log = Vec::new();
    for family in [Family::Meta, Family::Log].into_iter().chain(data) {
        for record in snapshot.scan(family, &[], &[0xff; 40]) {
            let (key, value) = record.unwrap();
            if family == Family::Log {
                log.push(u64::from_be_bytes(key[..].try_into().unwrap()) as usize);
            }
            all.put(family, key, value);
        }
    }
    assert_eq!(all.is_empty(), !model.disk.begun);
    let kept: Vec<usize> = model.disk.kept().collect();
    assert_eq!(
        log, kept,
        "I4, I7: the entries in the log, with {:?}",
        model.disk
    );
    if all.is_empty() {
        return;
    }
    copy.write(all, Durable::Synced).unwrap();
    let store = Store::open(copy.open(), &identity(), &schemas()).unwrap();
    let disk = &model.disk;
    let found = (
        store.highest(),
        store.folded().0,
        store.published().0,
        store.newest().0,
    );
    assert_eq!(
        found,
        (
            disk.highest,
            disk.folded as u64,
            disk.published as u64,
            disk.newest as u64
        ),
        "durable"
    );
    for txid in kept {
        let attempt = store
            .entry(TxId(txid as u64))
            .unwrap()
            .map(|entry| entry.attempt);
        assert_eq!(attempt, model.attempt(txid), "entry {txid}");
    }
    let generation = Generation::new(model.generation.epoch.0 + 1, 0);
    let sealed = model.attempt(model.sealed);
    let mut worker = Worker::begin(store, Rewind { generation, sealed }, 2).unwrap();
    let sealed = model.contents(model.sealed);
    assert_eq!(
        worker.contents(),
        *sealed,
        "I4: after a crash now, with {disk:?}"
    );
}
