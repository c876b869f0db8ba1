//! Somebody deletes or changes nodes by hand while the program runs.

use fulmar_property_tests::cluster::{Cluster, Said};
use fulmar_property_tests::seed;

use crate::cluster;

/// One process that counts, and one that stands by.
fn two(options: &str) -> (Cluster, usize, usize) {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let mut cluster = cluster(options);
    cluster.feed(seed, 2_000);
    let first = cluster.start().unwrap();
    cluster.wait_for_batches(first, 3).unwrap();
    let second = cluster.start().unwrap();
    cluster.wait_for_standby(second).unwrap();
    (cluster, first, second)
}

/// Waits until each of these has ended with an error that says all this.
fn end_with(cluster: &mut Cluster, members: &[usize], says: &[&str]) {
    for &number in members {
        cluster.member(number).dismiss();
    }
    for &number in members {
        let run = cluster.member(number).run();
        let status = run.wait().unwrap();
        let said = run.said();
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        for word in says {
            assert!(last.contains(word), "it does not say {word:?}: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_ledger_deleted_by_hand_ends_all_with_an_error_and_is_not_begun_anew() {
    let (mut cluster, first, second) = two("--batch-time 20 --batch-lines 20");
    let hand = cluster.hand();
    let ledger = hand.path("ledger");
    hand.delete("ledger").unwrap();
    cluster.member(second).dismiss();
    end_with(&mut cluster, &[first], &["the ledger's record was deleted"]);
    end_with(&mut cluster, &[second], &[&ledger]);
    let third = cluster.start().unwrap();
    end_with(&mut cluster, &[third], &[&ledger]);
    assert_eq!(hand.get("ledger").unwrap(), None);
    cluster.judge().unwrap();
}

#[test]
fn a_ledger_changed_by_hand_ends_all_with_an_error_and_stays_as_it_is() {
    let (mut cluster, first, second) = two("--batch-time 20 --batch-lines 20");
    let hand = cluster.hand();
    let (ledger, marker) = (hand.path("ledger"), hand.get("").unwrap());
    let version = hand.put("ledger", "what is this?").unwrap();
    end_with(&mut cluster, &[first, second], &[&ledger]);
    let third = cluster.start().unwrap();
    end_with(&mut cluster, &[third], &[&ledger]);
    let found = hand.get("ledger").unwrap();
    assert_eq!(found, Some(("what is this?".to_owned(), version)));
    assert_eq!(hand.get("").unwrap(), marker);
    cluster.judge().unwrap();
}

#[test]
fn a_ledger_set_back_by_hand_is_noticed() {
    let (mut cluster, first, second) = two("--batch-time 20 --batch-lines 20");
    let hand = cluster.hand();
    let (old, _) = hand.get("ledger").unwrap().unwrap();
    cluster.wait_for_batches(first, 10).unwrap();
    hand.put("ledger", &old).unwrap();
    end_with(&mut cluster, &[first, second], &[&hand.path("ledger")]);
    cluster.judge().unwrap();
}

#[test]
fn a_leader_whose_candidate_node_is_deleted_stands_by_and_the_other_takes_over() {
    let (mut cluster, first, second) = two("--batch-time 20 --batch-lines 20");
    let hand = cluster.hand();
    for (leader, other) in [(first, second), (second, first)] {
        let (leads, epoch) = cluster.wait_for_leader().unwrap();
        assert_eq!(leads, leader);
        cluster.wait_for_batches(leader, 2).unwrap();
        let candidates = hand.list("leader").unwrap();
        assert_eq!(candidates.len(), 2, "{candidates:?}");
        // The number at the end orders them.
        let lowest = candidates
            .iter()
            .min_by_key(|name| name.rsplit('-').next().unwrap().to_owned());
        hand.delete(&format!("leader/{}", lowest.unwrap())).unwrap();
        cluster
            .wait(
                "the leader gives up and stands by, the other counts",
                |cluster| {
                    let heard = cluster.member(leader).heard();
                    heard.contains(&Said::GivesUp)
                        && heard.last() == Some(&Said::StandsBy)
                        && cluster.member(other).from(epoch + 1).is_some()
                },
            )
            .unwrap();
    }
    cluster.wait_for_batches(first, 3).unwrap();
    let figures = cluster.finish().unwrap();
    assert!(figures.terms >= 3, "{figures:?}");
}
