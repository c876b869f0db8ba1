//! A process is asked to end (SIGTERM).

use std::time::{Duration, Instant};

use fulmar_property_tests::cluster::Said;
use fulmar_property_tests::seed;

use crate::cluster_at;
use fulmar_coordinator::zookeeper::testing;

#[test]
fn when_the_leader_ends_the_other_leads_at_once() {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    // Whoever waits for this session to expire has not heard of the end.
    let mut cluster = cluster_at(
        &testing::shared_chroot(),
        30_000,
        "--batch-time 20 --batch-lines 20",
    );
    cluster.feed(seed, 4_000);
    cluster.start().unwrap();
    let (mut longest, mut ending) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..4 {
        let (leader, epoch) = cluster.wait_for_leader().unwrap();
        cluster.wait_for_batches(leader, 5).unwrap();
        let other = cluster.start().unwrap();
        cluster.wait_for_standby(other).unwrap();
        cluster.member(leader).dismiss();
        let asked = Instant::now();
        cluster.member(leader).run().signal("TERM").unwrap();
        cluster.member(leader).run().succeed().unwrap();
        let ended = Instant::now();
        ending = ending.max(ended - asked);
        cluster
            .wait("the other counts", |cluster| {
                cluster.member(other).from(epoch + 1).is_some()
            })
            .unwrap();
        longest = longest.max(ended.elapsed());
        // All that the first one told, and no more, was sealed.
        let told = cluster
            .member(leader)
            .sealed()
            .unwrap()
            .last()
            .unwrap()
            .txid;
        assert_eq!(cluster.member(other).from(epoch + 1).unwrap().batch, told);
    }
    println!(
        "at most {ending:?} from SIGTERM to the end, and {longest:?} from that to the other's first batch"
    );
    assert!(
        longest < Duration::from_secs(5),
        "{longest:?}, and {ending:?} to end: {}",
        cluster.report()
    );
    let figures = cluster.finish().unwrap();
    assert_eq!(figures.terms, 6, "{figures:?}");
}

#[test]
fn one_that_stands_by_ends_at_once_when_asked() {
    let mut cluster = cluster_at(
        &testing::shared_chroot(),
        30_000,
        "--batch-time 20 --batch-lines 20",
    );
    cluster.feed(seed(), 2_000);
    let leader = cluster.start().unwrap();
    cluster.wait_for_batches(leader, 2).unwrap();
    for (options, code) in [("--follow", 0), ("", 3)] {
        let standby = cluster.start_with(options).unwrap();
        cluster.wait_for_standby(standby).unwrap();
        cluster.member(standby).dismiss();
        let asked = Instant::now();
        let run = cluster.member(standby).run();
        run.signal("TERM").unwrap();
        let status = run.wait().unwrap();
        let took = asked.elapsed();
        assert_eq!(status.code(), Some(code), "{}", run.said());
        assert!(took < Duration::from_secs(5), "{took:?}");
        let candidates = cluster.hand().list("leader").unwrap();
        assert_eq!(candidates.len(), 1, "it left its candidate: {candidates:?}");
        assert_eq!(cluster.hand().list("workers").unwrap().len(), 1);
    }
    assert_eq!(cluster.leader(), Some((leader, 1)));
    assert!(!cluster.member(leader).has_said(&Said::GivesUp));
    cluster.finish().unwrap();
}
