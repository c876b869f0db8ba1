//! The one server dies at each side of a write, and comes back.

use std::time::{Duration, Instant};

use fulmar_coordinator::zookeeper::testing::{Moment, Proxy};
use fulmar_property_tests::{is_full, seed};

use crate::{cluster_at, server};

#[test]
fn a_server_that_dies_before_or_after_it_took_a_write_costs_nothing() {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let mut server = server();
    let proxy = Proxy::start(&server.address()).unwrap();
    let mut cluster = cluster_at(
        &proxy.address(),
        4_000,
        "--batch-time 20 --batch-lines 20 --max-pending 3",
    );
    cluster.feed(seed, 2_000);
    let only = cluster.start().unwrap();
    cluster.wait_for_batches(only, 3).unwrap();
    let rounds = if is_full() { 20 } else { 4 };
    for round in 0..2 * rounds {
        let moment = match round % 2 {
            0 => Moment::BeforeForwarding,
            _ => Moment::AfterForwarding,
        };
        let cuts = proxy.cuts();
        proxy.cut_at_next_write(moment);
        cluster
            .wait("a write is cut off", |_| proxy.cuts() > cuts)
            .unwrap();
        server.kill();
        // Some are away for longer than the session.
        let away = if round % 4 == 3 { 5_000 } else { 0 };
        std::thread::sleep(Duration::from_millis(away));
        server.restart().unwrap();
        cluster.wait_for_batches(only, 3).unwrap();
    }
    let figures = cluster.finish().unwrap();
    println!("{} deaths at a write's sides: {figures:?}", 2 * rounds);
}

#[test]
fn a_server_killed_at_any_time_costs_nothing() {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let mut server = server();
    let mut cluster = cluster_at(
        &server.address(),
        1_000,
        "--batch-time 20 --batch-lines 10 --max-pending 4",
    );
    cluster.feed(seed, 2_000);
    for _ in 0..2 {
        cluster.start().unwrap();
        cluster.wait_for_leader().unwrap();
    }
    let (rounds, began) = (if is_full() { 30 } else { 5 }, Instant::now());
    for round in 0..rounds {
        cluster.wait_for_more(1 + round % 3).unwrap();
        server.kill();
        server.restart().unwrap();
        cluster
            .wait("one of them counts again", |cluster| {
                let leader = cluster.leader();
                leader.is_some_and(|(leader, epoch)| {
                    let newest = cluster
                        .member(leader)
                        .sealed()
                        .map(|all| all.last().copied());
                    newest.is_ok_and(|newest| newest.is_some_and(|newest| newest.epoch == epoch))
                })
            })
            .unwrap();
    }
    assert_eq!(cluster.living().len(), 2, "{}", cluster.report());
    let figures = cluster.finish().unwrap();
    println!("{rounds} restarts in {:?}: {figures:?}", began.elapsed());
}
