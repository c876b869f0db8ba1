//! What Storm gets wrong, where it would show only in a whole topology; the numbers are those of the design's list. The table of all of
//! them and their tests is in the book, under "Guarantees".
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use fulmar::aggregate::{Count, Sum};
use fulmar::spout::{Collection, Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};
use fulmar::{Config, Running, StateHandle, StateView, Topology};
use fulmar_property_tests::seams::{Disk, Fault, Phase, World};

type Counts = BTreeMap<u64, u64>;

fn config() -> Config {
    Config::in_memory()
        .executors(3)
        .batch_records(10)
        .max_pending(3)
        .max_attempts(50)
}

async fn all(running: &Running, state: &StateHandle<u64, u64>) -> Counts {
    whole(&running.read(state).await.unwrap())
}

fn whole(view: &StateView<u64, u64>) -> Counts {
    view.scan().map(Result::unwrap).collect()
}

/// So many records, each time other ones: the position says how many there were, and the reading which.
struct Opaque {
    readings: Arc<AtomicU64>,
    records: u64,
}

struct OpaqueReader {
    at: u64,
    reading: u64,
    records: u64,
}

impl Spout for Opaque {
    type Record = u64;
    type Reader = OpaqueReader;

    fn replays(&self) -> Replays {
        Replays::Any
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        Ok(vec!["all".into()])
    }

    fn open(&mut self, _: &str, from: Option<&[u8]>) -> Result<OpaqueReader, SpoutError> {
        let at = from.map_or(0, |from| u64::from_le_bytes(from.try_into().unwrap()));
        Ok(OpaqueReader {
            at,
            reading: self.readings.fetch_add(1, SeqCst),
            records: self.records,
        })
    }
}

impl Reader for OpaqueReader {
    type Record = u64;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<u64>) -> Result<Progress, SpoutError> {
        let end = (self.at + limit.records).min(self.records);
        out.extend((self.at..end).map(|n| self.reading * 1000 + n));
        self.at = end;
        let status = if end == self.records {
            Status::Ended
        } else {
            Status::More
        };
        Ok(Progress { bytes: 8, status })
    }

    fn position(&self) -> Vec<u8> {
        self.at.to_le_bytes().to_vec()
    }
}

/// Flaw 2: a replay that omits a key that the lost attempt had touched leaves the lost attempt's value there.
#[tokio::test]
async fn storm_flaw_2_a_replay_that_omits_a_key_leaves_nothing_of_it() {
    let disk = Disk::default();
    let world = World::on(&disk, None);
    let (failed, touched) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(Mutex::new(BTreeSet::new())),
    );
    let seen = touched.clone();
    let topology = Topology::new("omits");
    let spout = Opaque {
        readings: Arc::default(),
        records: 100,
    };
    let records = topology.spout("opaque", spout);
    records.sink("raw", world.sink());
    let counts = records
        .map(move |key| {
            seen.lock().unwrap().insert(key);
            // Of each ten places one fails, once: everything unsealed is read again, and is other records.
            let place = key % 1000;
            if place % 10 == 9 && failed.fetch_max(place, SeqCst) < place {
                panic!("once, at {place}");
            }
            key
        })
        .group_by(|key| *key)
        .persistent_aggregate("counts", Count);
    let plan = topology.build().unwrap();
    let home = world.home(&plan.states());
    let running = plan.start_on(home, config()).await.unwrap();
    running.drained().await.unwrap();
    let found = all(&running, &counts).await;
    running.stop().await.unwrap();
    let sealed: Counts = disk
        .taken::<u64>("raw")
        .values()
        .flatten()
        .map(|key| (*key, 1))
        .collect();
    assert_eq!(found, sealed, "what was sealed, and nothing else");
    assert_eq!(sealed.len(), 100);
    let omitted = touched
        .lock()
        .unwrap()
        .iter()
        .filter(|key| !sealed.contains_key(key))
        .count();
    assert!(
        omitted >= 10,
        "only {omitted} keys were touched by lost attempts alone"
    );
}

/// Flaw 3: begin and commit are skipped for a partition that a batch does not touch, and its state falls behind.
#[tokio::test]
async fn storm_flaw_3_partitions_that_a_batch_does_not_touch_go_along() {
    let disk = Disk::default();
    // Fifty batches: ten touch one key, ten the next, ten none at all.
    let build = |upto: u64| {
        let topology = Topology::new("untouched");
        let counts = topology
            .spout(
                "numbers",
                Collection::partitioned([(0..upto).collect(), vec![]]),
            )
            .filter(|n| n / 100 != 2)
            .group_by(|n| n / 100)
            .persistent_aggregate("counts", Count);
        (topology.build().unwrap(), counts)
    };
    // How many records there are by then, in how many batches, and what they come to.
    let legs = [
        (150, 15, vec![(0, 100), (1, 50)]),
        (300, 30, vec![(0, 100), (1, 100)]),
        (500, 50, vec![(0, 100), (1, 100), (3, 100), (4, 100)]),
    ];
    for (upto, batches, expected) in legs {
        let (plan, counts) = build(upto);
        let home = World::on(&disk, None).home(&plan.states());
        let running = plan
            .start_on(home, config().executors(1 + (upto % 4) as u16))
            .await
            .unwrap();
        running.drained().await.unwrap();
        let view = running.read(&counts).await.unwrap();
        assert_eq!(
            view.txid().0,
            batches,
            "every partition is as of the newest batch"
        );
        assert_eq!(whole(&view), expected.into_iter().collect::<Counts>());
        assert_eq!(running.progress().replays, 0);
        running.stop().await.unwrap();
    }
}

/// Flaw 6: a cache is filled before the write that then fails, and readers are served from it.
#[tokio::test]
async fn storm_flaw_6_what_a_failed_write_should_have_made_durable_is_never_shown() {
    let build = || {
        let topology = Topology::new("unwritten");
        let counts = topology
            .spout("numbers", Collection::of(0u64..100))
            .group_by(|n| n % 7)
            .persistent_aggregate("counts", Count);
        (topology.build().unwrap(), counts)
    };
    let mut struck = 0;
    for call in 0..60 {
        let (disk, (plan, counts)) = (Disk::default(), build());
        let world = World::on(&disk, Some((call, Fault::Full)));
        let home = world.home(&plan.states());
        let Ok(running) = plan.start_on(home, config()).await else {
            continue;
        };
        let ended = running.drained().await;
        if world.calls().get(call) != Some(&Phase::Prepare) {
            continue;
        }
        struck += 1;
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("full"), "{error}");
        let sealed = disk.ledger.peek().unwrap().0.txid().0;
        if let Ok(view) = running.read(&counts).await {
            assert!(
                view.txid().0 <= sealed,
                "{} is shown, {sealed} is sealed",
                view.txid()
            );
            assert_eq!(whole(&view).values().sum::<u64>(), view.txid().0 * 10);
        }
        drop(running);
        let (plan, counts) = build();
        let home = World::on(&disk, None).home(&plan.states());
        let running = plan.start_on(home, config()).await.unwrap();
        assert_eq!(running.resumed().txid.0, sealed);
        running.drained().await.unwrap();
        let expected: Counts = (0..7)
            .map(|key| (key, 100 / 7 + u64::from(key < 2)))
            .collect();
        assert_eq!(all(&running, &counts).await, expected);
        running.stop().await.unwrap();
    }
    assert!(struck >= 3, "only {struck} preparations met a full disk");
}

/// Flaw 7: readers see what an attempt did that fails later.
#[tokio::test]
async fn storm_flaw_7_what_a_failed_attempt_did_is_never_read() {
    const WRONG: u64 = 1_000_000;
    let failed = Arc::new(AtomicU64::new(0));
    let topology = Topology::new("dirty");
    let sums = topology
        .spout("numbers", Collection::of(0u64..2_000))
        .each(move |n: u64, out| {
            // An attempt that fails leaves a key of its own in the state before it does.
            if n % 50 == 45 && failed.fetch_max(n, SeqCst) < n {
                out.emit(WRONG + n);
                panic!("once, at {n}");
            }
            out.emit(n);
        })
        .group_by(|n| if *n >= WRONG { *n } else { n % 5 })
        .persistent_aggregate("sums", Sum::by(|_: &u64| 1u64));
    let running = topology.build().unwrap().start(config()).await.unwrap();
    let mut views = 0;
    loop {
        let drained = running.progress().drained;
        let view = running.read(&sums).await.unwrap();
        let found = whole(&view);
        assert!(
            found.keys().all(|key| *key < 5),
            "batch {}: {found:?}",
            view.txid()
        );
        assert_eq!(
            found.values().sum::<u64>(),
            view.txid().0 * 10,
            "whole batches"
        );
        views += 1;
        if drained {
            break;
        }
        tokio::task::yield_now().await;
    }
    running.drained().await.unwrap();
    assert_eq!(
        all(&running, &sums).await,
        (0..5).map(|key| (key, 400)).collect::<Counts>()
    );
    let replays = running.progress().replays;
    assert!(
        views > 3 && replays >= 40,
        "{views} views, {replays} replays"
    );
    running.stop().await.unwrap();
}

/// Flaw 14: shapes that never commit. Two spouts of which one is long done, a diamond, a repartitioned stream of which nothing is left.
#[tokio::test]
async fn storm_flaw_14_spouts_that_are_done_and_streams_that_are_empty_hold_nothing_up() {
    let topology = Topology::new("shapes");
    let long = topology.spout("long", Collection::of(0u64..300));
    let short = topology.spout("short", Collection::of(0u64..7));
    let none = topology.spout("none", Collection::of(Vec::<u64>::new()));
    let merged = long.merge(&short).merge(&none.shuffle());
    let left = merged.filter(|n| n % 2 == 0).shuffle();
    let right = merged.filter(|n| *n > 1_000).shuffle().shuffle();
    let joined = left.merge(&right).merge(&merged);
    let counts = joined
        .group_by(|n| n % 3)
        .persistent_aggregate("counts", Count);
    let empty = right.group_by(|n| *n).persistent_aggregate("empty", Count);
    let running = topology.build().unwrap().start(config()).await.unwrap();
    running.drained().await.unwrap();
    let mut expected = Counts::new();
    for n in (0..300u64).chain(0..7) {
        *expected.entry(n % 3).or_default() += 1 + u64::from(n % 2 == 0);
    }
    assert_eq!(all(&running, &counts).await, expected);
    assert_eq!(all(&running, &empty).await, Counts::new());
    running.stop().await.unwrap();
}
