//! A worker in small: a store and two executors' shards over any storage, with faults on demand.
#![allow(dead_code, reason = "every test file uses another part")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

pub(crate) mod examples;
pub(crate) mod faulty;

use std::collections::BTreeMap;
use std::sync::Arc;

use fulmar_state::{
    AnyShard, Attempt, ByteMap, Change, Entry, FoldPart, Generation, MemoryStorage, Partition,
    Result, Rewind, RewindOutcome, SealOutcome, Shard, ShardView, StateFamily, StateId,
    StateSchema, StateView, Storage, Store, StoreIdentity, TxId, hash_key, partition_of,
};

#[allow(unused_imports, reason = "every test file uses another part")]
pub(crate) use faulty::{Faulty, Moment};

pub(crate) const COUNTS: StateId = StateId(0);
pub(crate) const NAMES: StateId = StateId(1);
const PARTITIONS: [u16; 2] = [8, 3];

pub(crate) type Add = fn(&mut u64, u64);
pub(crate) type Keep = fn(&mut String, String);
pub(crate) type Counts = StateView<String, u64, Add>;
pub(crate) type Names = StateView<String, String, Keep>;

pub(crate) fn add(into: &mut u64, delta: u64) {
    *into = into.wrapping_add(delta);
}

pub(crate) fn keep(into: &mut String, newer: String) {
    *into = newer;
}

pub(crate) fn schema(name: &str, partitions: u16) -> StateSchema {
    StateSchema {
        name: name.to_owned(),
        partitions,
        key_type: "text".to_owned(),
        key_version: 1,
        value_type: format!("value of {name}"),
        value_version: 1,
        ..StateSchema::default()
    }
}

/// Counts, combined, and names, stored.
pub(crate) fn families() -> Vec<StateFamily> {
    let counts = StateFamily::combined::<u64, Add>(schema("counts", PARTITIONS[0]), add);
    vec![counts, StateFamily::stored(schema("names", PARTITIONS[1]))]
}

pub(crate) fn schemas() -> Vec<StateSchema> {
    families()
        .iter()
        .map(|family| family.schema().clone())
        .collect()
}

pub(crate) fn identity() -> StoreIdentity {
    StoreIdentity {
        topology: "test".to_owned(),
        worker: "w0".to_owned(),
    }
}

/// What outlives a worker.
pub(crate) trait Medium {
    fn open(&self) -> Arc<dyn Storage>;
}

impl Medium for MemoryStorage {
    fn open(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }
}

pub(crate) fn memory() -> MemoryStorage {
    MemoryStorage::new(&families())
}

#[cfg(feature = "rocksdb")]
pub(crate) struct RocksMedium(pub(crate) tempfile::TempDir);

#[cfg(feature = "rocksdb")]
impl Medium for RocksMedium {
    fn open(&self) -> Arc<dyn Storage> {
        let options = fulmar_state::RocksOptions::within(32 << 20);
        Arc::new(
            fulmar_state::RocksStorage::open(&self.0.path().join("db"), &families(), options)
                .unwrap(),
        )
    }
}

#[cfg(feature = "rocksdb")]
pub(crate) fn rocks() -> RocksMedium {
    RocksMedium(tempfile::tempdir().unwrap())
}

/// What one batch does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) counts: Vec<(String, Change<u64>)>,
    pub(crate) names: Vec<(String, Change<String>)>,
}

/// What the states should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) names: BTreeMap<String, String>,
}

impl Model {
    pub(crate) fn apply(&mut self, changes: &Changes) {
        apply(&mut self.counts, &changes.counts, add as Add);
        apply(&mut self.names, &changes.names, keep as Keep);
    }
}

fn apply<V: Clone + 'static>(
    map: &mut BTreeMap<String, V>,
    changes: &[(String, Change<V>)],
    merge: fn(&mut V, V),
) {
    for (key, change) in changes {
        match change.clone().apply(map.remove(key), &merge) {
            Some(value) => map.insert(key.clone(), value),
            None => None,
        };
    }
}

pub(crate) struct Executor {
    pub(crate) counts: Shard<u64, Add>,
    pub(crate) names: Shard<String, Keep>,
}

impl Executor {
    pub(crate) fn shards(&mut self) -> [&mut dyn AnyShard; 2] {
        [&mut self.counts, &mut self.names]
    }
}

pub(crate) struct Worker {
    pub(crate) store: Store,
    pub(crate) executors: Vec<Executor>,
    pub(crate) generation: Generation,
    /// The newest batch that was processed: what the next one builds on.
    pub(crate) tail: Option<Attempt>,
}

fn shard_sealed(shard: &dyn AnyShard) -> TxId {
    let any = shard.as_any();
    let counts = any.downcast_ref::<Shard<u64, Add>>().map(Shard::sealed);
    let names = || any.downcast_ref::<Shard<String, Keep>>().map(Shard::sealed);
    counts.or_else(names).unwrap()
}

fn owned(state: StateId, executor: u16, executors: u16) -> Vec<Partition> {
    let all = (0..PARTITIONS[usize::from(state.0)]).map(Partition);
    all.filter(|partition| partition.0 % executors == executor)
        .collect()
}

impl Worker {
    /// Opens the store, rewinds it and reloads the log.
    pub(crate) fn start(storage: Arc<dyn Storage>, to: Rewind, executors: u16) -> Result<Worker> {
        Worker::begin(
            Store::open(storage, &identity(), &schemas())?,
            to,
            executors,
        )
    }

    /// Rewinds a store that was opened, and reloads the log.
    pub(crate) fn begin(mut store: Store, to: Rewind, executors: u16) -> Result<Worker> {
        assert_eq!(store.rewind(to)?, RewindOutcome::Done);
        let base = store.base()?;
        let executor = |at| Executor {
            counts: Shard::new(
                COUNTS,
                owned(COUNTS, at, executors),
                PARTITIONS[0],
                add as Add,
                base.clone(),
            ),
            names: Shard::new(
                NAMES,
                owned(NAMES, at, executors),
                PARTITIONS[1],
                keep as Keep,
                base.clone(),
            ),
        };
        let mut list: Vec<Executor> = (0..executors).map(executor).collect();
        store.restore(&mut |txid, state, partition, section| {
            let executor = &mut list[usize::from(partition.0 % executors)];
            executor.shards()[usize::from(state.0)].restore(txid, partition, section)
        })?;
        let mut worker = Worker {
            store,
            executors: list,
            generation: to.generation,
            tail: to.sealed,
        };
        worker.drop_layers(to.sealed);
        Ok(worker)
    }

    /// Processes and prepares the next batch.
    pub(crate) fn prepare(&mut self, changes: &Changes) -> Result<Attempt> {
        let entry = self.process(changes)?;
        self.store.append(std::slice::from_ref(&entry))?;
        Ok(entry.attempt)
    }

    /// Processes the next batch, in memory.
    pub(crate) fn process(&mut self, changes: &Changes) -> Result<Entry> {
        let base = self.tail;
        let txid = base.map_or(TxId::ZERO, |base| base.txid).next();
        for executor in &mut self.executors {
            executor
                .shards()
                .into_iter()
                .for_each(|shard| shard.begin(txid));
        }
        self.change(txid, changes);
        let mut parts = Vec::new();
        for executor in &mut self.executors {
            let mut part = Vec::new();
            for shard in executor.shards() {
                shard.encode(txid, &mut part)?;
            }
            parts.push(part);
        }
        let attempt = Attempt::new(txid, self.generation);
        self.tail = Some(attempt);
        Ok(Entry {
            attempt,
            base,
            time_ms: 1000 + txid.0,
            parts,
            ..Entry::default()
        })
    }

    fn change(&mut self, txid: TxId, changes: &Changes) {
        let executors = self.executors.len();
        // Runs of deltas go in as whole maps, as the engine hands them over; the rest one by one.
        let mut deltas: BTreeMap<Partition, ByteMap<u64>> = BTreeMap::new();
        for (key, change) in &changes.counts {
            let (hash, partition) = route(key, PARTITIONS[0]);
            if let Change::Delta(delta) = change {
                deltas
                    .entry(partition)
                    .or_default()
                    .upsert(hash, key.as_bytes(), *delta, add);
                continue;
            }
            let executor = &mut self.executors[usize::from(partition.0) % executors];
            if let Some(map) = deltas.remove(&partition) {
                executor.counts.absorb(txid, partition, map);
            }
            executor
                .counts
                .change(txid, hash, key.as_bytes(), change.clone());
        }
        for (partition, map) in deltas {
            self.executors[usize::from(partition.0) % executors]
                .counts
                .absorb(txid, partition, map);
        }
        for (key, change) in &changes.names {
            let (hash, partition) = route(key, PARTITIONS[1]);
            let executor = &mut self.executors[usize::from(partition.0) % executors];
            executor
                .names
                .change(txid, hash, key.as_bytes(), change.clone());
        }
    }

    /// Seals a prepared batch and all before it.
    pub(crate) fn seal(&mut self, attempt: Attempt) {
        assert_eq!(self.store.seal(attempt), SealOutcome::Shown);
        self.show(attempt.txid);
    }

    /// Brings the layers of all batches up to a sealed one into the overlays.
    pub(crate) fn show(&mut self, upto: TxId) {
        for shard in self.executors.iter_mut().flat_map(Executor::shards) {
            (shard_sealed(shard).0 + 1..=upto.0).for_each(|txid| shard.seal(TxId(txid)));
        }
    }

    pub(crate) fn rewind(&mut self, to: Rewind) -> Result<()> {
        assert_eq!(self.store.rewind(to)?, RewindOutcome::Done);
        self.generation = to.generation;
        self.tail = to.sealed;
        self.show(to.sealed.map_or(TxId::ZERO, |sealed| sealed.txid));
        self.drop_layers(to.sealed);
        Ok(())
    }

    fn drop_layers(&mut self, sealed: Option<Attempt>) {
        let txid = sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
        for shard in self.executors.iter_mut().flat_map(Executor::shards) {
            shard.rewind(txid);
        }
    }

    pub(crate) fn fold_parts(&mut self) -> Vec<(StateId, Vec<Arc<dyn FoldPart>>)> {
        let mut parts: Vec<(StateId, Vec<Arc<dyn FoldPart>>)> =
            vec![(COUNTS, vec![]), (NAMES, vec![])];
        for executor in &mut self.executors {
            for (shard, (_, parts)) in executor.shards().into_iter().zip(&mut parts) {
                parts.push(shard.fold_part());
            }
        }
        parts
    }

    /// Folds all that is sealed; the batches of `meanwhile` are sealed while the fold is under way.
    pub(crate) fn fold(&mut self, meanwhile: impl FnOnce(&mut Worker) -> Result<()>) -> Result<()> {
        let Some(sealed) = self.store.sealed() else {
            return Ok(());
        };
        let parts = self.fold_parts();
        let job = self.store.fold(sealed.txid, &parts)?;
        meanwhile(self)?;
        let done = job.run(&**self.store.storage())?;
        self.store.finish_fold(done)?;
        let base = self.store.base()?;
        for executor in &mut self.executors {
            executor
                .shards()
                .into_iter()
                .for_each(|shard| shard.folded(sealed.txid, base.clone()));
        }
        Ok(())
    }

    pub(crate) fn views(&mut self) -> (Counts, Names) {
        let counts: Vec<ShardView<u64, Add>> =
            self.executors.iter_mut().map(|e| e.counts.view()).collect();
        let names: Vec<ShardView<String, Keep>> =
            self.executors.iter_mut().map(|e| e.names.view()).collect();
        (
            StateView::new(counts).unwrap(),
            StateView::new(names).unwrap(),
        )
    }

    /// Everything sealed, read by scans.
    pub(crate) fn contents(&mut self) -> Model {
        contents(&self.views())
    }
}

pub(crate) fn contents((counts, names): &(Counts, Names)) -> Model {
    let counts: Vec<_> = counts.scan().collect::<Result<_>>().unwrap();
    assert!(
        counts.is_sorted_by(|a, b| a.0 < b.0),
        "scans are in key order"
    );
    Model {
        counts: counts.into_iter().collect(),
        names: names.scan().collect::<Result<_>>().unwrap(),
    }
}

pub(crate) fn route(key: &str, partitions: u16) -> (u64, Partition) {
    let hash = hash_key(key.as_bytes());
    (hash, partition_of(hash, partitions))
}

/// A rewind of an epoch to what is sealed.
pub(crate) fn rewind(epoch: u64, sealed: Option<Attempt>) -> Rewind {
    Rewind {
        generation: Generation::new(epoch, 0),
        sealed,
    }
}

pub(crate) fn delta(key: &str, delta: u64) -> Changes {
    Changes {
        counts: vec![(key.to_owned(), Change::Delta(delta))],
        ..Changes::default()
    }
}
