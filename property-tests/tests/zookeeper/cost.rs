//! What a batch costs ZooKeeper: one transaction, or less.

use std::collections::BTreeMap;
use std::fs;

use fulmar_coordinator::zookeeper::testing::Server;
use fulmar_property_tests::cluster::{Cluster, Sealed};

use crate::cluster_at;

/// Fewer than so many transactions begin and end a run: sessions, nodes that are made, a fence, acknowledgements. How many exactly
/// depends on what still comes through before the end.
const REST: u64 = 30;

/// The number of the server's last transaction.
fn zxid(server: &Server) -> u64 {
    let said = server.four_letter("srvr");
    let zxid = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    u64::from_str_radix(zxid.expect("srvr says Zxid"), 16).unwrap()
}

/// Counts so many lines at a server of its own: how many transactions that took, and the batches.
fn transactions(server: &Server, lines: usize, options: &str) -> (u64, Vec<Sealed>) {
    let chroot = format!("{}/run{}", server.address(), zxid(server));
    let mut cluster: Cluster = cluster_at(&chroot, 4_000, "");
    fs::write(cluster.text(), "a few words\n".repeat(lines)).unwrap();
    let before = zxid(server);
    let only = cluster.start_with(options).unwrap();
    cluster.member(only).run().succeed().unwrap();
    let after = zxid(server);
    let sealed = cluster.member(only).sealed().unwrap().to_vec();
    assert_eq!(
        sealed.iter().map(|batch| batch.records).sum::<u64>(),
        lines as u64
    );
    (after - before, sealed)
}

/// The ledger writes that sealed these: batches that were sealed together follow each other.
fn writes(sealed: &[Sealed]) -> u64 {
    let mut of_size = BTreeMap::new();
    for batch in sealed {
        *of_size.entry(batch.together).or_insert(0) += 1;
    }
    of_size
        .iter()
        .map(|(together, batches)| {
            assert_eq!(batches % together, 0, "{of_size:?}");
            batches / together
        })
        .sum()
}

#[test]
fn a_batch_costs_one_transaction_and_batches_sealed_together_cost_one_for_all() {
    // Its own: others' transactions would be counted, too.
    let server = Server::start().unwrap();
    let alone = "--batch-lines 10 --batch-time 60000 --max-pending 1";
    let (few, some) = transactions(&server, 500, alone);
    let (many, more) = transactions(&server, 5_000, alone);
    assert_eq!((some.len(), more.len()), (50, 500));
    println!("50 batches: {few} transactions, 500 batches: {many}");
    for (all, batches) in [(few, 50), (many, 500)] {
        assert!(
            (batches..batches + REST).contains(&all),
            "{all} for {batches}"
        );
    }
    let together = "--batch-lines 2 --batch-time 60000 --max-pending 16";
    let (all, batches) = transactions(&server, 4_000, together);
    let writes = writes(&batches);
    println!(
        "{} batches, 16 in flight, sealed by {writes} writes: {all} transactions",
        batches.len()
    );
    assert_eq!(batches.len(), 2_000);
    assert!((writes..writes + REST).contains(&all));
    assert!(
        all < 2_000,
        "none of {} were sealed together",
        batches.len()
    );
}
