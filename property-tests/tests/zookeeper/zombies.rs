//! The leader is stopped and goes on later: as one whose session is over, or before that.

use std::time::Duration;

use fulmar_property_tests::cluster::{Cluster, Said};
use fulmar_property_tests::{is_full, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{cluster_at, server};

/// Stops the one that leads for longer than its session lasts, and checks that it has sealed nothing since the other fenced it.
fn stop_long(cluster: &mut Cluster, rng: &mut ChaCha8Rng) {
    // On a busy machine a session may end without being stopped: then another one leads by now.
    let (mut zombie, mut epoch) = (0, 0);
    cluster
        .wait("one leads and has sealed, the other stands by", |cluster| {
            (zombie, epoch) = cluster.leader().unwrap_or_default();
            cluster.member(1 - zombie).heard().last() == Some(&Said::StandsBy)
                && cluster.member(zombie).from(epoch).is_some()
        })
        .unwrap();
    let other = 1 - zombie;
    cluster.wait_for_more(3).unwrap();
    cluster.member(zombie).run().signal("STOP").unwrap();
    let mut won = 0;
    cluster
        .wait("the other leads and waits for the directory", |cluster| {
            let member = cluster.member(other);
            won = member.epoch().unwrap_or(0);
            won > epoch && member.heard().last() == Some(&Said::Waits)
        })
        .unwrap();
    let pid = cluster.member(zombie).run().pid().to_string();
    let said = cluster.member(other).run().said();
    let line = said.lines().last().unwrap_or_default();
    assert!(line.contains(&pid), "it does not name {pid}: {line}");
    let hand = cluster.hand();
    let (fenced, now) = (hand.get("ledger").unwrap().unwrap(), hand.sealed().unwrap());
    assert_eq!(now.1, won, "{fenced:?}");

    std::thread::sleep(Duration::from_millis(rng.random_range(0..800)));
    assert_eq!(hand.get("ledger").unwrap().unwrap(), fenced);
    assert_eq!(cluster.member(other).from(won), None);
    let gave_up = |cluster: &mut Cluster| {
        let heard = cluster.member(zombie).heard();
        heard.iter().filter(|said| **said == Said::GivesUp).count()
    };
    let before = gave_up(cluster);
    cluster.member(zombie).run().signal("CONT").unwrap();
    cluster
        .wait(
            "the zombie gives up and stands by, the other counts",
            |cluster| {
                gave_up(cluster) > before
                    && cluster.member(zombie).heard().last() == Some(&Said::StandsBy)
                    && cluster.member(other).from(won).is_some()
            },
        )
        .unwrap();
    // Between the fence and the other's first batch nothing was sealed, so it goes on where the fence found the ledger.
    let from = cluster.member(other).from(won).unwrap();
    assert_eq!(
        fenced
            .0
            .lines()
            .find_map(|line| line.strip_prefix("sealed ")),
        Some(now.0.as_str())
    );
    let (sealed, _) = now.0.split_once('@').unwrap();
    assert_eq!(from.batch.to_string(), sealed);
    let newest = cluster.member(zombie).sealed().unwrap().last().copied();
    assert!(newest.is_some_and(|newest| newest.txid <= from.batch && newest.epoch == epoch));
    cluster.wait_for_batches(other, 3).unwrap();
    let told = cluster.member(zombie).told();
    assert_eq!(
        cluster.member(zombie).sealed().unwrap().last().copied(),
        newest,
        "{told} batches, and more since it was fenced"
    );
}

#[test]
fn a_leader_stopped_beyond_its_session_seals_nothing_more_gives_the_directory_up_and_stands_by() {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let server = server();
    let mut cluster = cluster_at(&server.address(), 2_000, "--batch-time 20 --batch-lines 20");
    cluster.feed(seed, 4_000);
    cluster.start().unwrap();
    cluster.wait_for_leader().unwrap();
    let second = cluster.start().unwrap();
    cluster.wait_for_standby(second).unwrap();
    let rounds = if is_full() { 20 } else { 4 };
    for _ in 0..rounds {
        stop_long(&mut cluster, &mut rng);
    }
    let figures = cluster.finish().unwrap();
    println!("{rounds} zombies, {figures:?}");
    assert!(figures.terms > rounds);
}

#[test]
fn a_leader_stopped_for_less_than_its_session_goes_on() {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let server = server();
    let mut cluster = cluster_at(&server.address(), 4_000, "--batch-time 20 --batch-lines 20");
    cluster.feed(seed, 4_000);
    let first = cluster.start().unwrap();
    cluster.wait_for_leader().unwrap();
    let second = cluster.start().unwrap();
    cluster.wait_for_standby(second).unwrap();
    for _ in 0..3 {
        cluster.wait_for_batches(first, 3).unwrap();
        cluster.member(first).run().signal("STOP").unwrap();
        std::thread::sleep(Duration::from_millis(700));
        cluster.member(first).run().signal("CONT").unwrap();
    }
    cluster.wait_for_batches(first, 10).unwrap();
    assert_eq!(cluster.leader(), Some((first, 1)), "{}", cluster.report());
    let heard = cluster.member(first).heard();
    assert!(!heard.contains(&Said::GivesUp), "{}", cluster.report());
    let heard = cluster.member(second).heard();
    assert_eq!(heard.last(), Some(&Said::StandsBy), "{}", cluster.report());
    cluster.finish().unwrap();
}
