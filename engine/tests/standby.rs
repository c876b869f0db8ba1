//! The ledger in ZooKeeper, on a real server: one process leads, the others stand by, and nothing is counted twice or lost.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests on a real server, in real time"
)]
#![cfg(all(feature = "rocksdb", feature = "zookeeper"))]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fulmar::aggregate::Count;
use fulmar::coordinator::zookeeper::testing::{shared_chroot, wait_until};
use fulmar::coordinator::zookeeper::{
    Election, LiveConfig, Membership, Session, TopologyPaths, ZooKeeperConfig,
};
use fulmar::spout::Collection;
use fulmar::{Config, Error, Plan, Running, Standing, StateHandle, Topology, ZooKeeper};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "counting";

/// A state directory and a corner of the server's tree.
struct Place {
    dir: tempfile::TempDir,
    servers: String,
}

/// What a process was told about its standing.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn has(&self, part: &str) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .any(|said| said.contains(part))
    }

    async fn until(&self, part: &'static str) {
        let told = self.clone();
        let wait = move || wait_until(part, PATIENCE, || told.has(part));
        tokio::task::spawn_blocking(wait).await.unwrap();
    }
}

impl Place {
    fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
            servers: shared_chroot(),
        }
    }

    fn zookeeper(&self) -> ZooKeeperConfig {
        ZooKeeperConfig::parse(&self.servers)
            .unwrap()
            .session_timeout(Duration::from_secs(2))
    }

    async fn connect(&self) -> ZooKeeper {
        ZooKeeper::connect(self.zookeeper()).await.unwrap()
    }

    async fn session(&self) -> Session {
        Session::connect(self.zookeeper()).await.unwrap()
    }

    fn config(&self, zookeeper: &ZooKeeper, told: &Told) -> Config {
        let told = told.clone();
        at(self.dir.path())
            .zookeeper(zookeeper)
            .on_standing(move |standing| told.0.lock().unwrap().push(standing.to_string()))
    }
}

fn at(dir: &Path) -> Config {
    Config::at(dir)
        .executors(2)
        .batch_records(50)
        .memory(16 << 20)
}

fn counting(upto: u64) -> (Plan, StateHandle<u64, u64>) {
    let topology = Topology::new(NAME);
    let counts = topology
        .spout("numbers", Collection::of(0..upto))
        .group_by(|n| n % 10)
        .persistent_aggregate("counts", Count);
    (topology.build().unwrap(), counts)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes not so long")
}

async fn counted(running: &Running, counts: &StateHandle<u64, u64>) -> Vec<u64> {
    soon(running.drained()).await.unwrap();
    let view = running.read(counts).await.unwrap();
    view.scan().map(|record| record.unwrap().1).collect()
}

fn start(plan: Plan, config: Config) -> JoinHandle<fulmar::Result<Running>> {
    tokio::spawn(plan.start(config))
}

#[tokio::test]
async fn the_second_stands_by_and_goes_on_where_the_first_stopped() {
    let place = Place::new();
    let (one, other) = (place.connect().await, place.connect().await);
    let (told_one, told_other) = (Told::default(), Told::default());

    let (plan, counts) = counting(1_000);
    let first = soon(plan.start(place.config(&one, &told_one)))
        .await
        .unwrap();
    assert_eq!(counted(&first, &counts).await, [100; 10]);
    assert!(told_one.has("leads, epoch 1"));

    let second = start(counting(2_000).0, place.config(&other, &told_other));
    told_other.until("stands by; pid").await;
    assert!(!second.is_finished() && !told_other.has("epoch"));
    first.stop().await.unwrap();

    let second = soon(second).await.unwrap().unwrap();
    assert!(told_other.has("leads, epoch 2"));
    assert_eq!(second.resumed().records, 1_000);
    assert_eq!(counted(&second, &counts).await, [200; 10]);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_candidate_is_deleted_gives_up_and_may_lead_again() {
    let place = Place::new();
    let zookeeper = place.connect().await;
    let told = Told::default();
    let (plan, counts) = counting(500);
    let running = soon(plan.start(place.config(&zookeeper, &told)))
        .await
        .unwrap();
    assert_eq!(counted(&running, &counts).await, [50; 10]);

    // It no longer leads, although its session lives.
    delete_candidates(&place).await;
    let error = soon(running.ended()).await.unwrap_err();
    assert!(error.is_lost_leadership(), "{error}");
    assert!(error.to_string().contains("leadership is lost"), "{error}");
    drop(running);

    let (plan, counts) = counting(800);
    let running = soon(plan.start(place.config(&zookeeper, &told)))
        .await
        .unwrap();
    assert!(told.has("leads, epoch 2"));
    assert_eq!(counted(&running, &counts).await, [80; 10]);
    running.stop().await.unwrap();
}

/// As somebody does it in ZooKeeper's own shell.
async fn delete_candidates(place: &Place) {
    let client = zookeeper_client::Client::connect(&place.servers)
        .await
        .unwrap();
    let dir = TopologyPaths::new(NAME).leader();
    for name in client.list_children(&dir).await.unwrap() {
        client.delete(&format!("{dir}/{name}"), None).await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_is_still_held_is_waited_for_and_never_taken() {
    let place = Place::new();
    let zookeeper = place.connect().await;
    let told = Told::default();
    let held = fulmar::coordinator::Directory::claim(
        place.dir.path(),
        fulmar::Durability::Fsync,
        fulmar::coordinator::Keeper::ZooKeeper,
    );
    let held = held.unwrap();
    let (plan, counts) = counting(100);
    let running = start(plan, place.config(&zookeeper, &told));
    told.until("waits for the state directory, which pid").await;
    assert!(told.has("leads, epoch 1") && !running.is_finished());
    drop(held);
    let running = soon(running).await.unwrap().unwrap();
    assert_eq!(counted(&running, &counts).await, [10; 10]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn another_topology_of_the_name_is_refused_before_it_leads() {
    let place = Place::new();
    let (one, other) = (place.connect().await, place.connect().await);
    let (plan, _) = counting(100);
    let leader = soon(plan.start(place.config(&one, &Told::default())))
        .await
        .unwrap();
    soon(leader.drained()).await.unwrap();

    let topology = Topology::new(NAME);
    topology
        .spout("words", Collection::of(0..9u64))
        .group_by(|n| n % 3)
        .persistent_aggregate("counts", Count);
    let plan = topology.build().unwrap();
    let refused = soon(plan.start(place.config(&other, &Told::default()))).await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("another topology") && error.contains("words"),
        "{error}"
    );
    leader.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_the_one_ledger_is_refused_by_the_other() {
    let place = Place::new();
    let zookeeper = place.connect().await;
    let (plan, _) = counting(100);
    plan.start(at(place.dir.path()))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let refused = soon(
        counting(100)
            .0
            .start(place.config(&zookeeper, &Told::default())),
    )
    .await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("LEDGER"), "{error}");

    let elsewhere = Place::new();
    let zookeeper = elsewhere.connect().await;
    let (plan, _) = counting(100);
    let running = soon(plan.start(elsewhere.config(&zookeeper, &Told::default())))
        .await
        .unwrap();
    running.stop().await.unwrap();
    let error = counting(100)
        .0
        .start(at(elsewhere.dir.path()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ZooKeeper"), "{error}");
}

#[tokio::test]
async fn a_directory_that_knows_more_than_the_ledger_is_refused() {
    let place = Place::new();
    let zookeeper = place.connect().await;
    let (plan, _) = counting(1_000);
    let running = soon(plan.start(place.config(&zookeeper, &Told::default())))
        .await
        .unwrap();
    soon(running.drained()).await.unwrap();
    running.stop().await.unwrap();

    // The same directory with a ledger that begins anew, as after a restored ensemble.
    let anew = Place {
        dir: place.dir,
        servers: shared_chroot(),
    };
    let zookeeper = anew.connect().await;
    let refused = soon(
        counting(1_000)
            .0
            .start(anew.config(&zookeeper, &Told::default())),
    )
    .await;
    let error = refused.unwrap_err();
    assert!(
        !error.is_lost_leadership() && matches!(error, Error::Coordinator(_)),
        "{error:?}"
    );
    assert!(error.to_string().contains("ledger"), "{error}");
}

#[tokio::test]
async fn live_settings_pause_and_go_on_and_bad_ones_change_nothing() {
    let place = Place::new();
    let (zookeeper, session) = (place.connect().await, place.session().await);
    let paths = TopologyPaths::new(NAME);
    LiveConfig::set(&session, &paths, "paused=true batch_records=20")
        .await
        .unwrap();

    let told = Told::default();
    let (plan, counts) = counting(1_000);
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = sizes.clone();
    let config = place
        .config(&zookeeper, &told)
        .on_batch(move |report| seen.lock().unwrap().push(report.records))
        .on_log(|log| match log {
            Some("loud") => Err("log: it is never loud here".into()),
            _ => Ok(()),
        });
    let running = soon(plan.start(config)).await.unwrap();
    assert!(
        told.has("version 1: batch_records=20 paused=true"),
        "{:?}",
        told.0
    );

    // A change that the program itself refuses: nothing of it counts.
    LiveConfig::set(&session, &paths, "paused=false log=loud")
        .await
        .unwrap();
    told.until("never loud").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sizes.lock().unwrap().len(), 0, "it is still paused");

    let version = LiveConfig::set(&session, &paths, "batch_records=100")
        .await
        .unwrap();
    assert_eq!(counted(&running, &counts).await, [100; 10]);
    assert!(
        sizes
            .lock()
            .unwrap()
            .iter()
            .all(|size| (21..=100).contains(size)),
        "{sizes:?}"
    );
    let members = Membership::members(&session, &paths).await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].1.who.pid, std::process::id());
    assert_eq!(version, 3);
    running.stop().await.unwrap();
    nobody_leads(&session).await;
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_candidate() {
    let place = Place::new();
    let (one, other, session) = (
        place.connect().await,
        place.connect().await,
        place.session().await,
    );
    let (plan, _) = counting(100);
    let leader = soon(plan.start(place.config(&one, &Told::default())))
        .await
        .unwrap();
    let told = Told::default();
    let waiting = start(counting(100).0, place.config(&other, &told));
    told.until("stands by").await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    leader.stop().await.unwrap();
    nobody_leads(&session).await;
}

/// All sessions still live: the nodes were taken away, not left to expire.
async fn nobody_leads(session: &Session) {
    let dir = TopologyPaths::new(NAME).leader();
    let gone = async {
        while Election::leader(session, &dir).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_millis(1_500), gone).await.unwrap();
}

#[tokio::test]
async fn a_ledger_in_zookeeper_is_refused_for_a_state_in_memory() {
    let zookeeper = Place::new().connect().await;
    let (plan, _) = counting(10);
    let refused = plan.start(Config::in_memory().zookeeper(&zookeeper)).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("state directory"), "{error}");
}

#[test]
fn standings_are_said_in_words() {
    let standing = Standing::Waiting {
        leader: "pid 1 on here".into(),
    };
    assert_eq!(standing.to_string(), "stands by; pid 1 on here leads");
}
