//! Trident's own integration tests, for our types: of `TridentIntegrationTest` and `TestTridentTopology` those that are about graphs and
//! counts. Storm's sequences for the coordinator are in `coordinator/src/coordinator/tests/trident.rs`.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeMap;

use fulmar::aggregate::Count;
use fulmar::spout::Collection;
use fulmar::{Config, Plan, StateHandle, Topology};
use fulmar_property_tests::seams::{Disk, World};

type Counts<K> = BTreeMap<K, u64>;

async fn counted<K: fulmar::state::Key + Ord>(
    plan: Plan,
    disk: &Disk,
    state: &StateHandle<K, u64>,
) -> Counts<K> {
    let home = World::on(disk, None).home(&plan.states());
    let config = Config::in_memory().executors(3).batch_records(2);
    let running = plan.start_on(home, config).await.unwrap();
    running.drained().await.unwrap();
    let view = running.read(state).await.unwrap();
    let found = view.scan().map(Result::unwrap).collect();
    running.stop().await.unwrap();
    found
}

fn words(sentences: &[&str]) -> (Plan, StateHandle<String, u64>) {
    let topology = Topology::new("wordcount");
    let counts = topology
        .spout(
            "sentences",
            Collection::of(sentences.iter().map(|text| (*text).to_owned())),
        )
        .flat_map(|text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(String::clone)
        .persistent_aggregate("counts", Count);
    (topology.build().unwrap(), counts)
}

/// `testWordCount`: fed, asked, fed again and asked again, with a new process in between.
#[tokio::test]
async fn words_are_counted_on_over_feeds_and_asked_in_between() {
    let all = [
        "hello the man said",
        "the",
        "the foo bar the",
        "hello hello",
    ];
    let disk = Disk::default();
    let asked = |counts: &Counts<String>, words: &str| -> u64 {
        words
            .split(' ')
            .map(|word| counts.get(word).copied().unwrap_or_default())
            .sum()
    };
    let (plan, state) = words(&all[..2]);
    let counts = counted(plan, &disk, &state).await;
    assert_eq!(
        (
            asked(&counts, "the"),
            asked(&counts, "hello"),
            asked(&counts, "foo")
        ),
        (2, 1, 0)
    );
    let (plan, state) = words(&all);
    let counts = counted(plan, &disk, &state).await;
    assert_eq!(
        (
            asked(&counts, "the"),
            asked(&counts, "hello"),
            asked(&counts, "foo bar man said")
        ),
        (4, 3, 4)
    );
    assert_eq!(counts.values().sum::<u64>(), 11);
}

/// `testSplitMerge`: a stream that is split in two and merged again holds what both made.
#[tokio::test]
async fn a_stream_that_is_split_and_merged_holds_what_both_made() {
    let topology = Topology::new("split");
    let sentences = topology.spout(
        "sentences",
        Collection::of(["the man", "hello you all", ""].map(String::from)),
    );
    let lengths = sentences.map(|text: String| format!("length {}", text.len()));
    let parts = sentences.map(|text: String| format!("words {}", text.split_whitespace().count()));
    let state = lengths
        .merge(&parts)
        .group_by(String::clone)
        .persistent_aggregate("counts", Count);
    let found = counted(topology.build().unwrap(), &Disk::default(), &state).await;
    let expected = [
        "length 0",
        "length 13",
        "length 7",
        "words 0",
        "words 2",
        "words 3",
    ];
    assert_eq!(found, expected.map(|key| (key.to_owned(), 1)).into());
}

/// `testMultipleGroupingsSameStream`: one stream, grouped in two ways, and what comes of both merged.
#[tokio::test]
async fn one_stream_may_be_grouped_in_several_ways() {
    let topology = Topology::new("groupings");
    let numbers = topology.spout("numbers", Collection::of(0u64..60));
    let by_two = numbers
        .group_by(|n| n % 2)
        .persistent_aggregate("by two", Count);
    let by_three = numbers
        .group_by(|n| n % 3)
        .persistent_aggregate("by three", Count);
    let both = by_two.new_values().merge(&by_three.new_values());
    let newest = both
        .group_by(|(key, _)| *key)
        .persistent_aggregate("keys", Count);
    let found = counted(topology.build().unwrap(), &Disk::default(), &newest).await;
    // 30 batches of two records: each has both remainders by two, and two of the three by three.
    assert_eq!(found, [(0, 50), (1, 50), (2, 20)].into());
}

/// `testMultiRepartition`: dealt out anew again and again, every record is there once.
#[tokio::test]
async fn a_stream_that_is_dealt_out_again_and_again_loses_nothing() {
    let topology = Topology::new("repartitioned");
    let mut stream = topology.spout(
        "numbers",
        Collection::partitioned([(0u64..50).collect(), (50..101).collect()]),
    );
    for _ in 0..6 {
        stream = stream.shuffle().map(|n| n + 1).shuffle();
    }
    let state = stream
        .group_by(|n| *n)
        .persistent_aggregate("counts", Count);
    let found = counted(topology.build().unwrap(), &Disk::default(), &state).await;
    assert_eq!(found, (6..107).map(|n| (n, 1)).collect::<Counts<u64>>());
}

/// `TestTridentTopology`: built again, a topology is the same, so that it goes on with what it had.
#[test]
fn a_topology_that_is_built_again_is_the_same() {
    let explained = || words(&["a b", "c"]).0.explain().to_string();
    assert_eq!(explained(), explained());
}
