//! Runs on one directory, one after another: nothing is counted twice, nothing is lost, and what differs is refused.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "rocksdb")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fulmar::aggregate::{Count, First};
use fulmar::sink::{Callback, FileSink, Part, Sink, SinkError};
use fulmar::spout::Collection;
use fulmar::state::DeadLetter;
use fulmar::{Config, Durability, Error, Plan, Running, StateHandle, StateSpec, Topology};

type Counts = BTreeMap<u64, u64>;

/// Counts numbers in a state of many partitions and in one of a single partition.
fn counting(upto: u64) -> (Plan, StateHandle<u64, u64>, StateHandle<u64, u64>) {
    let topology = Topology::new("counting");
    let numbers = topology.spout(
        "numbers",
        Collection::partitioned([(0..upto).collect(), (0..upto / 2).collect::<Vec<u64>>()]),
    );
    let many = numbers
        .group_by(|n| n % 101)
        .persistent_aggregate("many", Count);
    let one = numbers
        .group_by(|n| n % 7)
        .persistent_aggregate(StateSpec::named("one").partitions(1), Count);
    (topology.build().unwrap(), many, one)
}

fn expected(upto: u64, modulus: u64) -> Counts {
    let mut counts = Counts::new();
    (0..upto)
        .chain(0..upto / 2)
        .for_each(|n| *counts.entry(n % modulus).or_default() += 1);
    counts
}

async fn all(running: &Running, state: &StateHandle<u64, u64>) -> Counts {
    running
        .read(state)
        .await
        .unwrap()
        .scan()
        .map(Result::unwrap)
        .collect()
}

fn at(dir: &Path) -> Config {
    Config::at(dir)
        .executors(2)
        .batch_records(50)
        .memory(16 << 20)
        .durability(Durability::ProcessCrash)
}

#[tokio::test]
async fn goes_on_where_it_stopped_with_any_number_of_executors() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for (upto, executors) in [(0, 1), (1000, 1), (1000, 3), (2500, 4), (4000, 2)] {
        let (plan, many, one) = counting(upto);
        let running = plan
            .start(at(dir.path()).executors(executors))
            .await
            .unwrap();
        assert_eq!(
            running.resumed().records,
            before,
            "reads only what was appended"
        );
        running.drained().await.unwrap();
        assert_eq!(all(&running, &many).await, expected(upto, 101));
        assert_eq!(all(&running, &one).await, expected(upto, 7));
        before = running.progress().records;
        assert_eq!(before, upto + upto / 2);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_at_any_moment_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..25u64 {
        let (plan, _, _) = counting(6000);
        let running = plan.start(at(dir.path()).batch_records(20)).await.unwrap();
        let mut progress = running.watch();
        let enough = running.resumed().txid.0 + round % 7;
        let _ = progress
            .wait_for(|progress| progress.drained || progress.sealed.0 >= enough)
            .await;
    }
    let (plan, many, one) = counting(6000);
    let running = plan.start(at(dir.path())).await.unwrap();
    running.drained().await.unwrap();
    assert_eq!(all(&running, &many).await, expected(6000, 101));
    assert_eq!(all(&running, &one).await, expected(6000, 7));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn another_program_is_refused_with_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, ..) = counting(10);
    let running = plan.start(at(dir.path())).await.unwrap();
    let (second, ..) = counting(10);
    let error = second.start(at(dir.path())).await.unwrap_err();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    running.stop().await.unwrap();

    let topology = Topology::new("counting").version(2);
    let numbers = topology.spout("numbers", Collection::of(0u64..10));
    numbers
        .group_by(|n| n.to_string())
        .persistent_aggregate("many", Count);
    let error = topology
        .build()
        .unwrap()
        .start(at(dir.path()))
        .await
        .unwrap_err()
        .to_string();
    for part in ["version", "many", "String"] {
        assert!(error.contains(part), "{part} is not named in: {error}");
    }
    let topology = Topology::new("another");
    topology
        .spout("numbers", Collection::of(0u64..10))
        .group_by(|n| *n)
        .persistent_aggregate("many", Count);
    let error = topology
        .build()
        .unwrap()
        .start(at(dir.path()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("counting") && error.contains("another"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_sink_takes_every_part_once_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.txt");
    let program = |upto: u64| {
        let topology = Topology::new("lines");
        let sink = FileSink::new(&out, |n: &u64, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{n}\n").as_bytes())
        });
        topology
            .spout("numbers", Collection::of(0..upto))
            .sink("file", sink);
        topology.build().unwrap()
    };
    for upto in [100u64, 100, 350, 600, 601] {
        let running = program(upto)
            .start(at(&dir.path().join("state")).batch_records(9))
            .await
            .unwrap();
        if upto == 350 {
            // Ends at once, with parts sealed that are not published.
            drop(running);
            continue;
        }
        running.drained().await.unwrap();
        running.stop().await.unwrap();
    }
    // What was sealed last is published by the next run at the latest.
    let running = program(601)
        .start(at(&dir.path().join("state")))
        .await
        .unwrap();
    running.drained().await.unwrap();
    running.stop().await.unwrap();
    let mut found: Vec<u64> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, (0..601).collect::<Vec<u64>>());
}

#[tokio::test]
async fn views_are_pinned_while_batches_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, many, one) = counting(20_000);
    let running = plan.start(at(dir.path()).batch_records(10)).await.unwrap();
    let mut views = Vec::new();
    while !running.progress().drained {
        views.push((
            running.read(&many).await.unwrap(),
            running.read(&one).await.unwrap(),
        ));
        tokio::task::yield_now().await;
    }
    assert!(views.len() > 3);
    for (many, one) in views {
        for view in [many, one] {
            let total: u64 = view.scan().map(|pair| pair.unwrap().1).sum();
            // A batch of 10 records is whole in every partition, or not there at all.
            assert_eq!(total, (view.txid().0 * 10).min(30_000));
        }
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn reducers_and_new_values_go_on_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let news = Arc::new(Mutex::new(BTreeMap::new()));
    for upto in [500u64, 1200, 1200] {
        let topology = Topology::new("reducing");
        let numbers = topology.spout("numbers", Collection::of(0..upto));
        let first = numbers
            .group_by(|n| n % 10)
            .persistent_aggregate("first", First);
        let counts = numbers
            .group_by(|n| n % 3)
            .persistent_aggregate("counts", Count);
        let take = news.clone();
        counts.new_values().sink(
            "news",
            Callback::new(move |_, values: Vec<(u64, u64)>| take.lock().unwrap().extend(values)),
        );
        let running = topology
            .build()
            .unwrap()
            .start(at(dir.path()))
            .await
            .unwrap();
        running.drained().await.unwrap();
        assert_eq!(
            all(&running, &first).await,
            (0..10).map(|n| (n, n)).collect()
        );
        assert_eq!(
            all(&running, &counts).await,
            (0..3)
                .map(|n| (
                    n,
                    upto.div_ceil(3) - u64::from(n >= upto % 3 && upto % 3 != 0)
                ))
                .collect()
        );
        running.stop().await.unwrap();
    }
    let news = news.lock().unwrap();
    assert_eq!(*news, BTreeMap::from([(0, 400), (1, 400), (2, 400)]));
}

/// Takes no letter, ever.
struct Never;

impl Sink<DeadLetter> for Never {
    fn publish(&mut self, _: &Part, _: Vec<DeadLetter>) -> Result<(), SinkError> {
        Err(SinkError::retry("not now"))
    }
}

#[tokio::test]
async fn dead_letters_wait_for_a_run_that_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let plan = || {
        let topology = Topology::new("letters");
        topology
            .spout("texts", Collection::of(["1", "two", "3"].map(String::from)))
            .try_each(|text: String, out| text.parse().map(|number: u64| out.emit(number)))
            .group_by(|number| *number)
            .persistent_aggregate("numbers", Count);
        topology.build().unwrap()
    };
    let running = plan()
        .start(at(dir.path()).dead_letters(Never))
        .await
        .unwrap();
    let mut progress = running.watch();
    progress
        .wait_for(|progress| progress.drained)
        .await
        .unwrap();
    assert!(!running.progress().is_done(), "a letter waits");
    drop(running);

    let error = match plan().start(at(dir.path())).await {
        Err(error) => error,
        Ok(running) => running.ended().await.unwrap_err(),
    };
    assert!(error.to_string().contains("no sink takes them"), "{error}");

    let letters = Arc::new(Mutex::new(Vec::new()));
    let take = letters.clone();
    let sink = Callback::new(move |_, dead: Vec<DeadLetter>| take.lock().unwrap().extend(dead));
    let running = plan()
        .start(at(dir.path()).dead_letters(sink))
        .await
        .unwrap();
    running.drained().await.unwrap();
    running.stop().await.unwrap();
    assert_eq!(letters.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let (plan, ..) = counting(1);
    let error = plan
        .start(Config::in_memory().executors(0))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Config { what } if what.contains("executors")),
        "{error}"
    );
    let (plan, ..) = counting(1);
    let error = plan
        .start(Config::in_memory().max_pending(0))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("max_pending"), "{error}");
}
