//! The verbs, end to end in memory, each compared with what the same program gives by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fulmar::aggregate::{Count, First, Max, Min, Reduced, ReducerAggregator, Sum};
use fulmar::sink::Callback;
use fulmar::spout::{Collection, Generator};
use fulmar::{Config, Error, Line, Topology, Word};

fn config() -> Config {
    Config::in_memory().executors(3).batch_records(7)
}

fn texts(records: &[&str]) -> Vec<String> {
    records.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn counts_words_over_many_batches() {
    let lines: Vec<Line> = (0..1000)
        .map(|n| Line::from(format!("w{} w{} x", n % 10, n % 7)))
        .collect();
    let mut expected = BTreeMap::new();
    for line in &lines {
        for word in line.words() {
            *expected.entry(word).or_insert(0u64) += 1;
        }
    }
    let topology = Topology::new("wordcount");
    let counts = topology
        .spout("lines", Collection::of(lines))
        .each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    let view = running.read(&counts).await.unwrap();
    let found: BTreeMap<Word, u64> = view.scan().map(Result::unwrap).collect();
    assert_eq!(found, expected);
    assert_eq!(view.txid().0, 1000u64.div_ceil(7));
    assert_eq!(running.progress().records, 1000);
    assert_eq!(
        running.get(&counts, &Word::from("x")).await.unwrap(),
        Some(1000)
    );
    assert_eq!(
        running.get(&counts, &Word::from("absent")).await.unwrap(),
        None
    );
    running.stop().await.unwrap();
}

#[tokio::test]
async fn stateless_verbs_do_what_their_names_say() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let published = Arc::new(Mutex::new(Vec::new()));
    let topology = Topology::new("verbs");
    let (look, take) = (seen.clone(), published.clone());
    topology
        .spout("numbers", Collection::of(0u64..100))
        .map(|number| number + 1)
        .filter(|number| number % 2 == 0)
        .flat_map(|number| [number, number * 1000])
        .peek(move |number| look.lock().unwrap().push(*number))
        .shuffle()
        .each(|number: u64, out| {
            out.emit((number, out.batch().attempt.txid.0));
        })
        .sink(
            "out",
            Callback::new(move |part, pairs: Vec<(u64, u64)>| {
                assert!(pairs.iter().all(|(_, txid)| *txid == part.txid.0));
                take.lock()
                    .unwrap()
                    .extend(pairs.into_iter().map(|(number, _)| number));
            }),
        );
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    running.stop().await.unwrap();
    let mut expected: Vec<u64> = (1..=100)
        .filter(|n| n % 2 == 0)
        .flat_map(|n| [n, n * 1000])
        .collect();
    expected.sort_unstable();
    for found in [seen, published] {
        let mut found = found.lock().unwrap().clone();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn aggregators_and_tuples_of_them() {
    let sales: Vec<(String, u64)> = (0..200u64)
        .map(|n| (format!("shop{}", n % 5), (n * 37) % 101))
        .collect();
    let mut expected: BTreeMap<String, (u64, u64, u64, u64)> = BTreeMap::new();
    for (shop, cents) in &sales {
        let value = expected.entry(shop.clone()).or_insert((0, 0, u64::MAX, 0));
        *value = (
            value.0 + 1,
            value.1 + cents,
            value.2.min(*cents),
            value.3.max(*cents),
        );
    }
    let topology = Topology::new("sales");
    let shops = topology
        .spout("sales", Collection::of(sales))
        .group_by(|sale| sale.0.clone())
        .persistent_aggregate(
            "shops",
            (
                Count,
                Sum::by(|sale: &(String, u64)| sale.1),
                Min::by(|sale: &(String, u64)| sale.1),
                Max::by(|sale: &(String, u64)| sale.1),
            ),
        );
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    let found: BTreeMap<_, _> = running
        .read(&shops)
        .await
        .unwrap()
        .scan()
        .map(Result::unwrap)
        .collect();
    assert_eq!(found, expected);
    running.stop().await.unwrap();
}

/// Remembers every record in order.
struct Journal;

impl ReducerAggregator<(u64, u64)> for Journal {
    type Value = Vec<u64>;
    fn reduce(&self, value: Option<Vec<u64>>, record: &(u64, u64)) -> Vec<u64> {
        let mut value = value.unwrap_or_default();
        value.push(record.1);
        value
    }
}

#[tokio::test]
async fn reducers_see_records_in_a_fixed_order() {
    let mut journals = Vec::new();
    for _ in 0..3 {
        let topology = Topology::new("journal");
        let records: Vec<(u64, u64)> = (0..5000).map(|n| (n % 3, n)).collect();
        let grouped = topology
            .spout("records", Collection::of(records))
            .shuffle()
            .group_by(|record| record.0);
        let journal = grouped.persistent_aggregate("journal", Journal);
        let config = Config::in_memory().executors(2).batch_records(3000);
        let running = topology.build().unwrap().start(config).await.unwrap();
        running.drained().await.unwrap();
        let found: Vec<(u64, Vec<u64>)> = running
            .read(&journal)
            .await
            .unwrap()
            .scan()
            .map(Result::unwrap)
            .collect();
        assert_eq!(found.iter().map(|(_, all)| all.len()).sum::<usize>(), 5000);
        running.stop().await.unwrap();
        journals.push(found);
    }
    assert!(
        journals.iter().all(|journal| *journal == journals[0]),
        "equal runs reduce in equal order"
    );
}

#[tokio::test]
async fn first_keeps_the_first_of_all_batches() {
    let topology = Topology::new("first");
    let records: Vec<(String, u64)> = (0..50u64).map(|n| (format!("k{}", n % 4), n)).collect();
    let first = topology
        .spout("records", Collection::of(records))
        .group_by(|record| record.0.clone())
        .persistent_aggregate("first", (Reduced(Count), First));
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    for n in 0..4u64 {
        let (count, (_, value)) = running
            .get(&first, &format!("k{n}"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((count, value), (if n < 2 { 13 } else { 12 }, n));
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn new_values_and_queries_see_exactly_their_batch() {
    let news = Arc::new(Mutex::new(Vec::new()));
    let before = Arc::new(Mutex::new(Vec::new()));
    let topology = Topology::new("news");
    let words = topology.spout("words", Collection::of(vec!["a".to_string(); 25]));
    let counts = words
        .group_by(|word| word.clone())
        .persistent_aggregate("counts", Count);
    let take = news.clone();
    counts.new_values().sink(
        "news",
        Callback::new(move |part, values: Vec<(String, u64)>| {
            take.lock()
                .unwrap()
                .extend(values.into_iter().map(|(_, count)| (part.txid.0, count)));
        }),
    );
    let take = before.clone();
    words
        .state_query(
            &counts,
            |word| word.clone(),
            |_, count: Option<u64>, out| {
                out.emit(count);
            },
        )
        .sink(
            "before",
            Callback::new(move |part, values: Vec<Option<u64>>| {
                take.lock()
                    .unwrap()
                    .extend(values.into_iter().map(|count| (part.txid.0, count)));
            }),
        );
    let running = topology
        .build()
        .unwrap()
        .start(Config::in_memory().executors(2).batch_records(10))
        .await
        .unwrap();
    running.drained().await.unwrap();
    running.stop().await.unwrap();
    assert_eq!(*news.lock().unwrap(), [(1, 10), (2, 20), (3, 25)]);
    let before = before.lock().unwrap();
    assert_eq!(before.len(), 25);
    for (txid, count) in before.iter() {
        let expected = if *txid == 1 {
            None
        } else {
            Some((txid - 1) * 10)
        };
        assert_eq!(
            *count, expected,
            "batch {txid} reads the state as of the batch before"
        );
    }
}

#[tokio::test]
async fn merged_streams_share_batches_and_a_diamond_commits() {
    let topology = Topology::new("diamond");
    let left = topology.spout("left", Collection::of(texts(&["a", "b", "a"])));
    let right = topology.spout(
        "right",
        Collection::partitioned([texts(&["a"]), texts(&["c"]), vec![]]),
    );
    let all = left.merge(&right);
    let twice = all.merge(&all.shuffle().map(|word| format!("{word}{word}")));
    let first = twice
        .group_by(|word| word.clone())
        .persistent_aggregate("words", Count);
    let second = first
        .new_values()
        .merge(&first.new_values().shuffle())
        .group_by(|(word, _)| word.len() as u64)
        .persistent_aggregate("lengths", Count);
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    let words: BTreeMap<String, u64> = running
        .read(&first)
        .await
        .unwrap()
        .scan()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        words,
        BTreeMap::from([
            ("a".into(), 3),
            ("aa".into(), 3),
            ("b".into(), 1),
            ("bb".into(), 1),
            ("c".into(), 1),
            ("cc".into(), 1),
        ])
    );
    assert!(running.get(&second, &1).await.unwrap().unwrap() >= 6);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_generator_gives_the_same_records_at_every_batch_size() {
    let mut totals = Vec::new();
    for records in [3, 100, 10_000] {
        let topology = Topology::new("dice");
        let dice = Generator::new(42, 2000, |draw| draw.below(6) + 1).partitions(3);
        let rolls = topology
            .spout("dice", dice)
            .group_by(|roll| *roll)
            .persistent_aggregate("rolls", Count);
        let running = topology
            .build()
            .unwrap()
            .start(Config::in_memory().batch_records(records))
            .await
            .unwrap();
        running.drained().await.unwrap();
        let found: Vec<(u64, u64)> = running
            .read(&rolls)
            .await
            .unwrap()
            .scan()
            .map(Result::unwrap)
            .collect();
        assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 6000);
        assert_eq!(found.len(), 6);
        totals.push(found);
        running.stop().await.unwrap();
    }
    assert!(totals.iter().all(|found| *found == totals[0]));
}

#[tokio::test]
async fn an_empty_source_seals_nothing() {
    let topology = Topology::new("empty");
    let counts = topology
        .spout("none", Collection::of(Vec::<String>::new()))
        .group_by(|word| word.clone())
        .persistent_aggregate("counts", Count);
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    assert_eq!(running.progress().sealed.0, 0);
    assert_eq!(running.read(&counts).await.unwrap().count().unwrap(), 0);
    running.stop().await.unwrap();
}

#[test]
fn build_names_everything_that_is_wrong() {
    let topology = Topology::new("wrong/name");
    let stream = topology.spout("same", Collection::of([1u64]));
    topology.spout("same", Collection::of([1u64]));
    let other = Topology::new("other");
    let foreign = other.spout("foreign", Collection::of([1u64]));
    stream.merge(&foreign);
    stream
        .group_by(|n| *n)
        .persistent_aggregate(fulmar::StateSpec::named("none").partitions(0), Count);
    stream.group_by(|n| *n).persistent_aggregate("none", Count);
    let Err(Error::InvalidTopology { mistakes, .. }) = topology.build() else {
        panic!("built")
    };
    let all = mistakes.join("\n");
    for part in [
        "without slashes",
        "two spouts are named \"same\"",
        "two states are named \"none\"",
        "different topologies",
        "number of partitions",
    ] {
        assert!(all.contains(part), "{part} is not named in\n{all}");
    }
    let Err(Error::InvalidTopology { mistakes, .. }) = Topology::new("empty").build() else {
        panic!("built")
    };
    assert!(mistakes[0].contains("no spout"));
}

#[test]
fn explains_itself_in_words_and_in_mermaid() {
    let topology = Topology::new("wordcount");
    topology
        .spout("lines", Collection::of([Line::from("a")]))
        .each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
        .named("split")
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    let plan = topology.build().unwrap();
    assert_eq!(
        plan.explain(),
        "topology \"wordcount\"\n  spout \"lines\": replays Identical\n  stage 0, shuffled from spout \"lines\"\n    \
         spread: Line\n    each \"split\": Word\n    combine: Word\n  stage 1, by key from stage 0\n    \
         persistent_aggregate \"counts\": (Word, u64), combined in 64 partitions\n"
    );
    let picture = plan.explain_mermaid();
    assert!(picture.starts_with("flowchart LR\n"));
    assert!(picture.contains("n3 == by key ==> n4"), "{picture}");
}
