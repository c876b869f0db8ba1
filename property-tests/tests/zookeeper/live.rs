//! Settings that are changed by hand while the program runs.

use std::time::Duration;

use fulmar_property_tests::cluster::{Cluster, Said, Sealed};
use fulmar_property_tests::seed;

use crate::cluster;

/// Writes the settings and waits until this process has answered so; answers with their version.
fn set(cluster: &mut Cluster, number: usize, text: &str, answer: &str) -> i32 {
    let hand = cluster.hand();
    let version = hand.put("config", text).unwrap();
    let said = match answer {
        "refused" => Said::Refused(version.into()),
        _ => Said::Settings(version.into()),
    };
    cluster
        .wait(&format!("{text:?} is told as {said:?}"), |cluster| {
            cluster.member(number).has_said(&said)
        })
        .unwrap();
    let wanted = format!("{version} {answer}");
    cluster
        .wait(&format!("somebody acknowledges {wanted:?}"), |_| {
            answers(&hand)
                .iter()
                .any(|answer| answer.starts_with(&wanted))
        })
        .unwrap();
    version
}

/// All processes' answers to the newest settings.
fn answers(hand: &fulmar_property_tests::hand::Hand) -> Vec<String> {
    let names = hand.list("config").unwrap();
    let acks = names.iter().filter(|name| name.starts_with("ack-"));
    acks.filter_map(|name| Some(hand.get(&format!("config/{name}")).unwrap()?.0))
        .collect()
}

/// Batches that were cut after all that were in flight by now.
fn later(cluster: &mut Cluster, number: usize, many: usize) -> Vec<Sealed> {
    cluster.wait_for_batches(number, 10).unwrap();
    let before = cluster.member(number).told();
    cluster.wait_for_batches(number, many).unwrap();
    cluster.member(number).sealed().unwrap()[before..].to_vec()
}

/// Waits until nothing more is sealed for half a second.
fn quiet(cluster: &mut Cluster, number: usize) {
    let (mut told, mut since) = (cluster.member(number).told(), std::time::Instant::now());
    cluster
        .wait("nothing more is sealed", |cluster| {
            let now = cluster.member(number).told();
            if now != told {
                (told, since) = (now, std::time::Instant::now());
            }
            since.elapsed() > Duration::from_millis(500)
        })
        .unwrap();
}

fn started() -> (Cluster, usize) {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let mut cluster = cluster("--batch-time 20 --batch-lines 20 --max-pending 4");
    cluster.feed(seed, 3_000);
    let first = cluster.start().unwrap();
    cluster.wait_for_batches(first, 3).unwrap();
    (cluster, first)
}

#[test]
fn a_paused_topology_seals_nothing_until_it_is_resumed() {
    let (mut cluster, first) = started();
    for _ in 0..2 {
        set(&mut cluster, first, "paused=true", "applied");
        quiet(&mut cluster, first);
        let (told, sealed) = (
            cluster.member(first).told(),
            cluster.hand().sealed().unwrap(),
        );
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(cluster.member(first).told(), told);
        assert_eq!(cluster.hand().sealed().unwrap(), sealed);
        set(&mut cluster, first, "paused=false", "applied");
        cluster.wait_for_batches(first, 5).unwrap();
    }
    cluster.finish().unwrap();
}

#[test]
fn limits_hold_from_the_next_batch_on_and_a_mistake_changes_nothing() {
    let (mut cluster, first) = started();
    // A long batch time, so that batches are cut by their lines alone.
    let seven = "# fewer\nbatch_records=7 max_pending=1\nbatch_time_ms=60000";
    set(&mut cluster, first, seven, "applied");
    let batches = later(&mut cluster, first, 20);
    assert!(
        batches
            .iter()
            .all(|batch| (batch.records, batch.together) == (7, 1)),
        "{batches:?}"
    );
    let version = set(
        &mut cluster,
        first,
        "batch_records=9 max_pendign=2",
        "refused",
    );
    let answers = answers(&cluster.hand());
    assert!(
        answers.iter().any(|answer| answer.contains("max_pending")),
        "{version}: {answers:?}"
    );
    let batches = later(&mut cluster, first, 20);
    assert!(
        batches.iter().all(|batch| batch.records == 7),
        "{batches:?}"
    );
    let wide = "batch_records=11 max_pending=4 batch_time_ms=60000";
    set(&mut cluster, first, wide, "applied");
    let batches = later(&mut cluster, first, 20);
    assert!(
        batches.iter().all(|batch| batch.records == 11),
        "{batches:?}"
    );
    // Nothing set: the program's own settings again.
    set(&mut cluster, first, "batch_time_ms=60000", "applied");
    let batches = later(&mut cluster, first, 20);
    assert!(
        batches.iter().all(|batch| batch.records == 20),
        "{batches:?}"
    );
    // Nothing waits for lines that never come.
    set(&mut cluster, first, "", "applied");
    cluster.finish().unwrap();
}

#[test]
fn settings_survive_a_take_over_and_so_does_what_was_applied_before_a_mistake() {
    let (mut cluster, first) = started();
    let second = cluster.start().unwrap();
    cluster.wait_for_standby(second).unwrap();
    let five = "batch_records=5 batch_time_ms=60000";
    set(&mut cluster, first, five, "applied");
    set(&mut cluster, first, "batch_records=none", "refused");
    cluster.kill(first).unwrap();
    cluster.wait_for_batches(second, 20).unwrap();
    let batches = cluster.member(second).sealed().unwrap();
    assert!(
        batches.iter().all(|batch| batch.records == 5),
        "{batches:?}"
    );

    // One that starts later has it from the node alone.
    let third = cluster.start().unwrap();
    cluster.wait_for_standby(third).unwrap();
    set(
        &mut cluster,
        second,
        "batch_records=6 batch_time_ms=60000",
        "applied",
    );
    later(&mut cluster, second, 5);
    cluster.kill(second).unwrap();
    cluster.wait_for_batches(third, 20).unwrap();
    let batches = cluster.member(third).sealed().unwrap();
    assert!(
        batches.iter().all(|batch| batch.records == 6),
        "{batches:?}"
    );
    set(&mut cluster, third, "", "applied");
    cluster.finish().unwrap();
}
