//! The leader is killed again and again.

use std::time::{Duration, Instant};

use fulmar_property_tests::cluster::Cluster;
use fulmar_property_tests::{is_full, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{cluster_at, server};

/// So long an ordinary run kills.
const ORDINARY: Duration = Duration::from_secs(40);

/// Drawn options, which may differ from process to process.
fn options(rng: &mut ChaCha8Rng) -> String {
    let (lines, pending) = (
        [10, 20, 50][rng.random_range(0..3)],
        rng.random_range(1..=6),
    );
    format!("--follow --batch-time 20 --batch-lines {lines} --max-pending {pending}")
}

/// Waits for a drawn moment of the leader's term; answers how many batches it has sealed by then.
fn moment(cluster: &mut Cluster, leader: usize, rng: &mut ChaCha8Rng) -> usize {
    // A quarter is by the clock alone: those hit the fence, the opening of the state, the first batch.
    if rng.random_range(0..4) == 0 {
        std::thread::sleep(Duration::from_micros(rng.random_range(0..150_000)));
        return cluster.member(leader).told();
    }
    let goal = rng.random_range(1..12);
    let what = format!("{leader} has sealed {goal}, or leads no more");
    cluster
        .wait(&what, |cluster| {
            let leads = cluster.member(leader).epoch().is_some();
            !leads || cluster.member(leader).told() >= goal
        })
        .unwrap();
    std::thread::sleep(Duration::from_micros(rng.random_range(0..5_000)));
    cluster.member(leader).told()
}

#[test]
fn a_hundred_leaders_killed_and_every_word_is_counted_once() {
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let server = server();
    let mut cluster = cluster_at(&format!("{}/kills", server.address()), 500, "");
    cluster.feed(seed, 4_000);
    for _ in 0..2 {
        cluster.start_with(&options(&mut rng)).unwrap();
    }
    let (mut kills, mut in_term, mut both) = (0, 0, 0);
    let goes_on = |kills: u32| match is_full() {
        true => kills < 100,
        false => kills < 20 || (kills < 100 && began.elapsed() < ORDINARY),
    };
    while goes_on(kills) {
        let (leader, _) = cluster.wait_for_leader().unwrap();
        let sealed = moment(&mut cluster, leader, &mut rng);
        in_term += u32::from(sealed > 0);
        kills += 1;
        cluster.kill(leader).unwrap();
        // Now and then the one that stands by dies, too: nobody is left.
        let mut dead = 1;
        if rng.random_range(0..10) == 0 {
            let other = cluster.living()[0];
            cluster.kill(other).unwrap();
            (dead, both) = (2, both + 1);
        }
        for _ in 0..dead {
            cluster.start_with(&options(&mut rng)).unwrap();
        }
    }
    let killing = began.elapsed();
    let figures = cluster
        .finish()
        .unwrap_or_else(|error| panic!("FULMAR_SEED={seed}: {error:?}"));
    println!(
        "{kills} leaders killed in {:.1} s, {in_term} of them after a batch of their own and before the last, {both} with the one that \
         stood by; {figures:?}; all counts exact; {:.1} s",
        killing.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    assert!(
        in_term * 2 > kills,
        "{in_term} of {kills} leaders were killed while they sealed"
    );
}
