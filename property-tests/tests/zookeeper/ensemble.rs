//! Three servers: one after the other dies, and their quorum is lost for a while.

use std::time::{Duration, Instant};

use fulmar_coordinator::zookeeper::testing::Ensemble;
use fulmar_property_tests::cluster::Cluster;
use fulmar_property_tests::{is_full, seed};

use crate::cluster_at;

const SESSION_MS: u64 = 2_000;

/// Two processes that count at three servers.
fn counting(ensemble: &Ensemble) -> Cluster {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let connection = format!("{}/deep/chroot", ensemble.connection_string());
    let mut cluster = cluster_at(&connection, SESSION_MS, "--batch-time 20 --batch-lines 20");
    cluster.feed(seed, 2_000);
    for _ in 0..2 {
        cluster.start().unwrap();
        cluster.wait_for_leader().unwrap();
    }
    goes_on(&mut cluster);
    cluster
}

fn goes_on(cluster: &mut Cluster) {
    cluster.wait_for_more(10).unwrap();
}

#[test]
fn each_server_of_three_dies_the_leading_one_first_and_counting_goes_on() {
    let mut ensemble = Ensemble::start(3).unwrap();
    let mut cluster = counting(&ensemble);
    let leader = ensemble.leader().unwrap();
    for server in [leader, (leader + 1) % 3, (leader + 2) % 3] {
        ensemble.kill(server);
        goes_on(&mut cluster);
        ensemble.restart(server).unwrap();
        ensemble.wait_for_all();
        goes_on(&mut cluster);
    }
    let figures = cluster.finish().unwrap();
    println!("three servers killed in turn: {figures:?}");
}

#[test]
fn without_a_quorum_nothing_is_sealed_and_with_it_all_goes_on_by_itself() {
    let mut ensemble = Ensemble::start(3).unwrap();
    let mut cluster = counting(&ensemble);
    let lost = Duration::from_secs(if is_full() { 30 } else { 8 });
    let leader = ensemble.leader().unwrap();
    ensemble.kill(leader);
    ensemble.kill((leader + 1) % 3);
    let began = Instant::now();
    // Without a majority no write is taken. What was taken before may still be told.
    std::thread::sleep(Duration::from_millis(SESSION_MS));
    let before = cluster.told();
    while began.elapsed() < lost {
        assert_eq!(cluster.living().len(), 2, "{}", cluster.report());
        assert_eq!(cluster.told(), before, "{}", cluster.report());
        std::thread::sleep(Duration::from_millis(50));
    }
    for server in [leader, (leader + 1) % 3] {
        ensemble.restart(server).unwrap();
    }
    ensemble.wait_for_all();
    goes_on(&mut cluster);
    assert_eq!(cluster.living().len(), 2, "{}", cluster.report());
    let figures = cluster.finish().unwrap();
    println!("{lost:?} without a quorum: {figures:?}");
}
