//! User code, spouts and sinks that fail: what is retried, what halts, what is left out; and that every result is exact.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fulmar::aggregate::Count;
use fulmar::sink::{Callback, Part, Sink, SinkError};
use fulmar::spout::{Collection, Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};
use fulmar::state::DeadLetter;
use fulmar::{Config, Topology};

fn config() -> Config {
    Config::in_memory()
        .executors(2)
        .batch_records(10)
        .timeout(Duration::from_secs(10))
}

#[tokio::test]
async fn a_passing_panic_is_replayed_and_counted_with_its_cause() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let told = failures.clone();
    let panics = Arc::new(AtomicU64::new(2));
    let topology = Topology::new("panics");
    let counts = topology
        .spout("numbers", Collection::of(0u64..100))
        .map(move |number| {
            if number == 55
                && panics
                    .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                    .is_ok()
            {
                panic!("cannot take {number}");
            }
            number % 10
        })
        .named("digits")
        .group_by(|digit| *digit)
        .persistent_aggregate("digits", Count);
    let config = config().on_failure(move |failure| told.lock().unwrap().push(failure.to_string()));
    let running = topology.build().unwrap().start(config).await.unwrap();
    running.drained().await.unwrap();
    let found: BTreeMap<u64, u64> = running
        .read(&counts)
        .await
        .unwrap()
        .scan()
        .map(Result::unwrap)
        .collect();
    assert_eq!(found, (0..10).map(|digit| (digit, 10)).collect());
    let failures = failures.lock().unwrap().clone();
    let named = failures.iter().filter(|failure| {
        failure.starts_with("attempt 6@")
            && failure.ends_with("panic in map \"digits\": cannot take 55")
    });
    assert_eq!(named.count(), 2, "{failures:?}");
    assert!(running.progress().replays >= 2);
    running.stop().await.unwrap();
}

fn poison(name: &str) -> (Topology, fulmar::StateHandle<u64, u64>) {
    let topology = Topology::new(name);
    let counts = topology
        .spout(
            "texts",
            Collection::partitioned([
                (0..40).map(|n| n.to_string()).collect(),
                vec!["seven".to_string(), "8".into()],
            ]),
        )
        .try_each(|text: String, out| {
            out.emit(text.parse::<u64>()?);
            Ok::<(), std::num::ParseIntError>(())
        })
        .named("parse")
        .group_by(|number| number % 2)
        .persistent_aggregate("parity", Count);
    (topology, counts)
}

#[tokio::test]
async fn a_poison_record_halts_with_its_position() {
    let (topology, _) = poison("poison");
    let running = topology.build().unwrap().start(config()).await.unwrap();
    let error = running.drained().await.unwrap_err().to_string();
    for part in [
        "try_each \"parse\"",
        "invalid digit",
        "record 0 of partition 1",
        "batch 5",
    ] {
        assert!(error.contains(part), "{part} is not named in: {error}");
    }
    assert_eq!(running.progress().sealed.0, 4, "what came before is sealed");
}

#[tokio::test]
async fn a_poison_record_becomes_a_dead_letter_exactly_once() {
    let (topology, counts) = poison("dead");
    let letters = Arc::new(Mutex::new(Vec::new()));
    let take = letters.clone();
    let config = config().dead_letters(Callback::new(move |part: &Part, dead: Vec<DeadLetter>| {
        take.lock()
            .unwrap()
            .extend(dead.into_iter().map(|letter| (part.txid.0, letter)));
    }));
    let running = topology.build().unwrap().start(config).await.unwrap();
    running.drained().await.unwrap();
    assert_eq!(running.get(&counts, &0).await.unwrap(), Some(21));
    assert_eq!(running.get(&counts, &1).await.unwrap(), Some(20));
    running.stop().await.unwrap();
    let letters = letters.lock().unwrap();
    let [(5, letter)] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!(
        (letter.spout.as_str(), letter.partition.as_str()),
        ("texts", "1")
    );
    assert_eq!(
        fulmar::state::codec::decode::<String>(&letter.record).unwrap(),
        "seven"
    );
    assert!(letter.cause.contains("invalid digit"), "{}", letter.cause);
}

/// Yields 0, 1, 2, … but something else at every other reading, while it promises not to; and up to where it was read.
struct Cheat(Arc<AtomicU64>, Arc<AtomicU64>);
struct CheatReader(u64, u64, Arc<AtomicU64>);

impl Spout for Cheat {
    type Record = u64;
    type Reader = CheatReader;
    fn replays(&self) -> Replays {
        Replays::Identical
    }
    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        Ok(vec!["all".into()])
    }
    fn open(&mut self, _: &str, from: Option<&[u8]>) -> Result<CheatReader, SpoutError> {
        let next = from.map_or(0, |from| u64::from_le_bytes(from.try_into().unwrap()));
        let readings = self.0.fetch_add(1, SeqCst);
        Ok(CheatReader(next, readings, self.1.clone()))
    }
}

impl Reader for CheatReader {
    type Record = u64;
    fn read(&mut self, limit: ReadLimit, out: &mut Vec<u64>) -> Result<Progress, SpoutError> {
        let end = (self.0 + limit.records).min(50);
        out.extend((self.0..end).map(|n| n + self.1 * 1000));
        self.0 = end;
        self.2.fetch_max(end, SeqCst);
        Ok(Progress {
            bytes: 8,
            status: if end == 50 {
                Status::Ended
            } else {
                Status::More
            },
        })
    }
    fn position(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "user code that waits for another thread"
)]
fn wait_for(condition: impl Fn() -> bool) {
    let mut patience = 5_000;
    while !condition() && patience > 0 {
        std::thread::sleep(Duration::from_millis(1));
        patience -= 1;
    }
}

#[tokio::test]
async fn a_spout_that_promises_identical_replays_is_held_to_it() {
    let (failed, read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let topology = Topology::new("cheat");
    topology
        .spout("cheat", Cheat(Arc::default(), read.clone()))
        .map(move |number| {
            if number == 25 && failed.fetch_add(1, SeqCst) == 0 {
                // What the coordinator does not know of it cannot compare. It knows of this batch when it has issued the next one, which
                // is known when the one behind that is read ahead.
                wait_for(|| read.load(SeqCst) > 40);
                panic!("once")
            } else {
                number
            }
        })
        .group_by(|number| *number)
        .persistent_aggregate("numbers", Count);
    let running = topology.build().unwrap().start(config()).await.unwrap();
    let error = running.drained().await.unwrap_err().to_string();
    assert!(
        error.contains("\"cheat\" promises identical replays") && error.contains("\"all\""),
        "{error}"
    );
}

/// Storm flaw 7: refuses every part twice, and must be offered the same records until it takes them.
struct Reluctant(BTreeMap<Part, u32>, Arc<Mutex<Vec<Taken>>>);

/// Batch, partition and records.
type Taken = (u64, u16, Vec<u64>);

impl Sink<u64> for Reluctant {
    fn publish(&mut self, part: &Part, mut records: Vec<u64>) -> Result<(), SinkError> {
        let tries = self.0.entry(part.clone()).or_default();
        *tries += 1;
        if *tries == 1 {
            return Err(SinkError::retry("not now"));
        }
        records.sort_unstable();
        self.1
            .lock()
            .unwrap()
            .push((part.txid.0, part.partition, records));
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_is_offered_a_part_until_it_takes_it() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let topology = Topology::new("reluctant");
    topology
        .spout("numbers", Collection::of(0u64..25))
        .sink("out", Reluctant(BTreeMap::new(), taken.clone()));
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while taken
            .lock()
            .unwrap()
            .iter()
            .map(|(_, _, records)| records.len())
            .sum::<usize>()
            < 25
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all is published");
    running.stop().await.unwrap();
    let taken = taken.lock().unwrap();
    let mut all: Vec<u64> = taken
        .iter()
        .flat_map(|(_, _, records)| records.clone())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..25).collect::<Vec<u64>>());
    assert!(
        taken.is_sorted_by_key(|(txid, partition, _)| (*txid, *partition)),
        "in the order of txids"
    );
}

#[tokio::test]
async fn a_hanging_operator_times_out_and_a_slow_one_does_not() {
    let hangs = Arc::new(AtomicU64::new(1));
    let causes = Arc::new(Mutex::new(Vec::new()));
    let told = causes.clone();
    let topology = Topology::new("slow");
    let counts = topology
        .spout("numbers", Collection::of(0u64..30))
        .map(move |number| {
            let hang = number == 15
                && hangs
                    .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                    .is_ok();
            #[allow(clippy::disallowed_methods, reason = "a slow operator")]
            std::thread::sleep(Duration::from_millis(if hang { 1500 } else { 5 }));
            number
        })
        .group_by(|number| number % 3)
        .persistent_aggregate("thirds", Count);
    let config = config()
        .timeout(Duration::from_millis(500))
        .on_failure(move |failure| told.lock().unwrap().push(failure.to_string()));
    let running = topology.build().unwrap().start(config).await.unwrap();
    running.drained().await.unwrap();
    let found: BTreeMap<u64, u64> = running
        .read(&counts)
        .await
        .unwrap()
        .scan()
        .map(Result::unwrap)
        .collect();
    assert_eq!(found, (0..3).map(|third| (third, 10)).collect());
    assert!(
        causes
            .lock()
            .unwrap()
            .iter()
            .any(|cause| cause.contains("timeout")),
        "{:?}",
        causes.lock().unwrap()
    );
    running.stop().await.unwrap();
}
