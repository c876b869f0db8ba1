//! Method: differential. Small topologies on random data, cut into random batches, run by random numbers of threads, ended at random
//! moments and started again on what survived, against a plain evaluation of the same data.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fulmar::aggregate::{Count, First, Max, Min, Sum};
use fulmar::coordinator::MemoryLedger;
use fulmar::spout::Collection;
use fulmar::state::MemoryStorage;
use fulmar::{Config, Home, Plan, Running, StateHandle, Stream, Topology};
use fulmar_property_tests::is_full;
use fulmar_property_tests::oracle::judge;
use fulmar_property_tests::scripted::{Script, Setting};
use fulmar_property_tests::seams::{Disk, World};
use proptest::prelude::*;

type Table = BTreeMap<u64, Vec<u64>>;

/// A topology of two spouts with one state, whose values are read as lists of numbers.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Count,
    FilterThenSum,
    FlatMapThenBounds,
    MergeThenShuffle,
    First,
    Scripted,
}

/// How one run is set, and after how many more batches it ends.
#[derive(Clone, Copy, Debug)]
struct Leg {
    setting: Setting,
    batches: u64,
}

fn leg() -> impl Strategy<Value = Leg> {
    (1u16..5, 1u64..25, 1usize..6, 0u64..8).prop_map(
        |(executors, batch_records, max_pending, batches)| Leg {
            setting: Setting {
                executors,
                batch_records,
                max_pending,
            },
            batches,
        },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Count),
        Just(Shape::FilterThenSum),
        Just(Shape::FlatMapThenBounds),
        Just(Shape::MergeThenShuffle),
        Just(Shape::First),
        Just(Shape::Scripted),
    ]
}

enum Handle {
    One(StateHandle<u64, u64>),
    Pair(StateHandle<u64, (u64, u64)>),
}

fn build(shape: Shape, script: &Script) -> (Plan, Handle) {
    let topology = Topology::new("random");
    let left = topology.spout("left", Collection::partitioned(script.left.clone()));
    let right = topology.spout("right", Collection::of(script.right.clone()).opaque());
    let by_seven = |stream: &Stream<u64>| stream.group_by(|n| n % 7);
    let all = left.merge(&right);
    let handle = match shape {
        Shape::Count | Shape::Scripted => {
            Handle::One(by_seven(&all).persistent_aggregate("state", Count))
        }
        Shape::FilterThenSum => {
            let even = all.filter(|n| n % 2 == 0);
            Handle::One(by_seven(&even).persistent_aggregate("state", Sum::by(|n: &u64| *n)))
        }
        Shape::FlatMapThenBounds => {
            let twice = all.flat_map(|n| [n, n / 2]);
            let bounds = (Min::by(|n: &u64| *n), Max::by(|n: &u64| *n));
            Handle::Pair(by_seven(&twice).persistent_aggregate("state", bounds))
        }
        Shape::MergeThenShuffle => {
            let dealt = left
                .map(|n| n + 1)
                .merge(&right)
                .shuffle()
                .each(|n, out| (0..n % 3).for_each(|_| out.emit(n)));
            Handle::One(by_seven(&dealt).persistent_aggregate("state", Count))
        }
        // In the order of one partition, whoever processes it.
        Shape::First => Handle::One(by_seven(&right).persistent_aggregate("state", First)),
    };
    (topology.build().unwrap(), handle)
}

fn evaluate(shape: Shape, script: &Script) -> Table {
    let left = script.left.iter().flatten().copied();
    let all: Vec<u64> = left.clone().chain(script.right.iter().copied()).collect();
    let records: Vec<u64> = match shape {
        Shape::Count | Shape::Scripted => all,
        Shape::FilterThenSum => all.into_iter().filter(|n| n % 2 == 0).collect(),
        Shape::FlatMapThenBounds => all.into_iter().flat_map(|n| [n, n / 2]).collect(),
        Shape::MergeThenShuffle => {
            let merged = left.map(|n| n + 1).chain(script.right.iter().copied());
            merged.flat_map(|n| (0..n % 3).map(move |_| n)).collect()
        }
        Shape::First => script.right.clone(),
    };
    let mut groups = Table::new();
    records
        .into_iter()
        .for_each(|n| groups.entry(n % 7).or_default().push(n));
    let value = |group: &Vec<u64>| match shape {
        Shape::Count | Shape::MergeThenShuffle | Shape::Scripted => vec![group.len() as u64],
        Shape::FilterThenSum => vec![group.iter().sum()],
        Shape::FlatMapThenBounds => {
            vec![*group.iter().min().unwrap(), *group.iter().max().unwrap()]
        }
        Shape::First => vec![group[0]],
    };
    groups
        .iter()
        .map(|(key, group)| (*key, value(group)))
        .collect()
}

async fn read(running: &Running, handle: &Handle) -> Table {
    match handle {
        Handle::One(state) => {
            let view = running.read(state).await.unwrap();
            view.scan()
                .map(|pair| pair.map(|(key, value)| (key, vec![value])).unwrap())
                .collect()
        }
        Handle::Pair(state) => {
            let view = running.read(state).await.unwrap();
            view.scan()
                .map(|pair| pair.map(|(key, (a, b))| (key, vec![a, b])).unwrap())
                .collect()
        }
    }
}

/// Runs on until some batches more are sealed, and ends as abruptly as a dropped handle does.
async fn run_for(running: &Running, batches: u64) {
    let enough = running.resumed().txid.0 + batches;
    let mut progress = running.watch();
    let there = progress.wait_for(|progress| {
        progress.drained || progress.ended.is_some() || progress.sealed.0 >= enough
    });
    assert!(there.await.unwrap().ended.is_none());
}

async fn plain(shape: Shape, script: &Script, legs: &[Leg]) -> Table {
    let ledger = MemoryLedger::new();
    let storage = MemoryStorage::new(&build(shape, script).0.states());
    for (index, leg) in legs.iter().enumerate() {
        let (plan, handle) = build(shape, script);
        let Setting {
            executors,
            batch_records,
            max_pending,
        } = leg.setting;
        let config = Config::in_memory()
            .executors(executors)
            .batch_records(batch_records)
            .max_pending(max_pending);
        let home = Home {
            ledger: Box::new(ledger.clone()),
            storage: Arc::new(storage.clone()),
        };
        let running = plan.start_on(home, config).await.unwrap();
        if index + 1 < legs.len() {
            run_for(&running, leg.batches).await;
            continue;
        }
        running.drained().await.unwrap();
        let table = read(&running, &handle).await;
        running.stop().await.unwrap();
        return table;
    }
    unreachable!("the last leg runs to the end")
}

async fn scripted(script: &Script, legs: &[Leg]) {
    let disk = Disk::default();
    for (index, leg) in legs.iter().enumerate() {
        let live = script
            .start(&World::on(&disk, None), leg.setting)
            .await
            .unwrap();
        if index + 1 < legs.len() {
            run_for(&live.running, leg.batches).await;
            continue;
        }
        let found = live.finish(&disk, &script.input()).await.unwrap();
        judge(&script.input(), found, "scripted");
    }
}

fn run(shape: Shape, script: &Script, legs: &[Leg]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match shape {
            Shape::Scripted => scripted(script, legs).await,
            shape => assert_eq!(plain(shape, script, legs).await, evaluate(shape, script)),
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_full() { 20_000 } else { 500 }, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_data_in_any_batches_over_any_restarts_comes_to_the_same(
        shape in shape(),
        left in prop::collection::vec(prop::collection::vec(0u64..400, 0..60), 0..4),
        right in prop::collection::vec(0u64..400, 0..60),
        legs in prop::collection::vec(leg(), 1..5),
    ) {
        run(shape, &Script { left, right }, &legs);
    }
}
