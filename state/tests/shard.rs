//! Method: differential against one map per batch. Layers are read at every depth, one key or many at a time.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use std::collections::BTreeMap;

use fulmar_state::{
    AnyShard, Base, Change, Partition, Shard, ShardMemory, StateError, StateView, TxId, hash_key,
};
use proptest::prelude::*;
use support::{Add, COUNTS, Medium, Worker, add, delta, memory, rewind};

fn shard() -> Shard<u64, Add> {
    let base = Base::read(&*memory().open(), 2).unwrap();
    Shard::new(COUNTS, (0..4).map(Partition).collect(), 4, add as Add, base)
}

fn change(shard: &mut Shard<u64, Add>, txid: u64, key: u8, change: Change<u64>) {
    shard.change(TxId(txid), hash_key(&[key]), &[key], change);
}

fn changes() -> impl Strategy<Value = Vec<(u8, Change<u64>)>> {
    let change = prop_oneof![
        4 => (0_u64..9).prop_map(Change::Delta),
        1 => (0_u64..9).prop_map(Change::Put),
        1 => Just(Change::Remove)
    ];
    proptest::collection::vec((0_u8..12, change), 0..12)
}

type Model = BTreeMap<u8, u64>;

fn apply(model: &Model, changes: &[(u8, Change<u64>)]) -> Model {
    let mut model = model.clone();
    for (key, change) in changes {
        match change.clone().apply(model.remove(key), &(add as Add)) {
            Some(value) => model.insert(*key, value),
            None => None,
        };
    }
    model
}

fn read(shard: &Shard<u64, Add>, upto: u64) -> Model {
    let keys: Vec<[u8; 1]> = (0..12).map(|key| [key]).collect();
    let asked: Vec<(u64, &[u8])> = keys.iter().map(|key| (hash_key(key), &key[..])).collect();
    let many = shard.get_many(TxId(upto), &asked).unwrap();
    for ((hash, key), value) in asked.iter().zip(&many) {
        assert_eq!(shard.get(TxId(upto), *hash, key).unwrap(), *value);
    }
    (0..12)
        .zip(many)
        .filter_map(|(key, value)| value.map(|value| (key, value)))
        .collect()
}

proptest! {
    #[test]
    fn every_depth_reads_as_of_its_batch(
        batches in proptest::collection::vec(changes(), 1..8), sealed in 0_usize..8, back in 0_usize..8,
    ) {
        let mut shard = shard();
        let mut models = vec![Model::new()];
        for (txid, changes) in (1..).zip(&batches) {
            shard.begin(TxId(txid));
            for (key, one) in changes {
                change(&mut shard, txid, *key, one.clone());
            }
            models.push(apply(models.last().unwrap(), changes));
        }
        let sealed = sealed.min(batches.len());
        (1..=sealed as u64).for_each(|txid| shard.seal(TxId(txid)));
        for (txid, model) in (0..).zip(&models).skip(sealed) {
            prop_assert_eq!(&read(&shard, txid), model);
        }
        // Taken back, and done differently: what only the dropped layers touched is as it was.
        let back = back.clamp(sealed, batches.len());
        shard.rewind(TxId(back as u64));
        prop_assert_eq!(&read(&shard, back as u64), &models[back]);
        let again = back as u64 + 1;
        shard.begin(TxId(again));
        change(&mut shard, again, 3, Change::Delta(1));
        prop_assert_eq!(read(&shard, again), apply(&models[back], &[(3, Change::Delta(1))]));
    }

    #[test]
    fn held_views_stay_and_their_parts_stay_few(batches in proptest::collection::vec(changes(), 1..40)) {
        let mut shard = shard();
        let (mut model, mut held) = (Model::new(), Vec::new());
        for (txid, changes) in (1..).zip(&batches) {
            shard.begin(TxId(txid));
            for (key, one) in changes {
                change(&mut shard, txid, *key, one.clone());
            }
            shard.seal(TxId(txid));
            model = apply(&model, changes);
            held.push((shard.view(), model.clone()));
        }
        for (view, model) in &held {
            for key in 0..12_u8 {
                prop_assert_eq!(view.get(hash_key(&[key]), &[key])?, model.get(&key).copied());
            }
        }
        for (view, model) in held {
            let view: StateView<u8, u64, Add> = StateView::new(vec![view])?;
            let scanned: Model = view.scan().collect::<Result<_, _>>()?;
            prop_assert_eq!(scanned, model);
        }
    }
}

#[test]
fn an_empty_batch_is_encoded_for_every_partition() {
    let mut shard = shard();
    shard.begin(TxId(1));
    let mut out = Vec::new();
    shard.encode(TxId(1), &mut out).unwrap();
    let sections: Vec<_> = fulmar_state::section::sections(&out)
        .collect::<Result<_, _>>()
        .unwrap();
    let partitions: Vec<u16> = sections.iter().map(|section| section.partition.0).collect();
    assert_eq!(partitions, [0, 1, 2, 3]);
    assert!(matches!(
        shard.encode(TxId(2), &mut out),
        Err(StateError::OutOfOrder { .. })
    ));
}

#[test]
fn memory_grows_with_layers_and_overlay_and_goes_with_the_fold() {
    let mut worker = Worker::start(memory().open(), rewind(1, None), 1).unwrap();
    let memory = |worker: &Worker| worker.executors[0].counts.memory();
    assert_eq!(memory(&worker), ShardMemory::default());
    let attempt = worker.prepare(&delta("key", 1)).unwrap();
    let prepared = memory(&worker);
    assert!(prepared.layers > 0 && prepared.overlay == 0);
    worker.seal(attempt);
    let sealed = memory(&worker);
    assert!(sealed.layers == 0 && sealed.overlay > 0);
    worker.fold(|_| Ok(())).unwrap();
    assert_eq!(memory(&worker), ShardMemory::default());
}

#[test]
#[should_panic(expected = "batches begin in order")]
fn a_batch_is_not_left_out() {
    shard().begin(TxId(2));
}

#[test]
#[should_panic(expected = "cannot rewind to 0")]
fn what_is_sealed_is_not_taken_back() {
    let mut shard = shard();
    shard.begin(TxId(1));
    shard.seal(TxId(1));
    shard.rewind(TxId(0));
}

#[test]
#[should_panic(expected = "not owned")]
fn a_partition_of_another_executor_is_refused() {
    let base = Base::read(&*memory().open(), 2).unwrap();
    let mut shard = Shard::new(COUNTS, vec![Partition(1)], 4, add as Add, base);
    shard.begin(TxId(1));
    shard.absorb(TxId(1), Partition(2), fulmar_state::ByteMap::new());
}

#[test]
fn views_that_do_not_fit_are_refused() {
    let base = Base::read(&*memory().open(), 2).unwrap();
    let part = |owned: &[u16]| {
        let owned = owned.iter().copied().map(Partition).collect();
        Shard::new(COUNTS, owned, 4, add as Add, base.clone())
    };
    let whole = |views| StateView::<String, u64, Add>::new(views).err();
    assert_eq!(
        whole(vec![part(&[0, 2]).view(), part(&[3, 1]).view()]),
        None
    );
    let mut ahead = part(&[1, 3]);
    ahead.begin(TxId(1));
    ahead.seal(TxId(1));
    for views in [
        vec![],
        vec![part(&[0, 2]).view()],
        vec![part(&[0, 1, 2]).view(), part(&[2, 3]).view()],
        vec![part(&[0, 2]).view(), ahead.view()],
    ] {
        assert!(matches!(whole(views), Some(StateError::Mismatch { .. })));
    }
}
