//! Method: crash, with the real file sink. Many executors make many parts of each batch; killed at a call of storage or ledger and run
//! again, the file holds every record of every sealed batch once, and the sink takes up where it was whatever is published again.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fulmar::aggregate::Count;
use fulmar::sink::FileSink;
use fulmar::spout::Collection;
use fulmar::{Config, Error, Plan, Topology};
use fulmar_property_tests::seams::{Disk, Fault, World};
use fulmar_property_tests::{is_full, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const RECORDS: u64 = 2_400;
const KEYS: u64 = 60;

fn build(world: &World, file: &Path) -> Plan {
    let topology = Topology::new("to a file");
    let numbers = topology.spout("numbers", Collection::of(0..RECORDS));
    numbers.sink("raw", world.sink());
    let sink = FileSink::new(file, |(key, count): &(u64, u64), out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{key} {count}\n").as_bytes());
    });
    numbers
        .group_by(|number| number % KEYS)
        .persistent_aggregate("counts", Count)
        .new_values()
        .sink("file", sink);
    topology.build().unwrap()
}

async fn run(
    disk: &Disk,
    file: &Path,
    executors: u16,
    fault: Option<(usize, Fault)>,
) -> Result<(), Error> {
    let world = World::on(disk, fault);
    let plan = build(&world, file);
    let home = world.home(&plan.states());
    let running = plan
        .start_on(
            home,
            Config::in_memory().executors(executors).batch_records(KEYS),
        )
        .await?;
    tokio::select! {
        () = world.died() => return Ok(()),
        drained = running.drained() => drained?,
    }
    running.stop().await
}

/// What the file must hold: the new counts of each sealed batch.
fn expected(disk: &Disk) -> Vec<String> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut lines = Vec::new();
    for records in disk.taken::<u64>("raw").into_values() {
        let mut new = BTreeMap::new();
        for number in records {
            let count = counts.entry(number % KEYS).or_default();
            *count += 1;
            new.insert(number % KEYS, *count);
        }
        lines.extend(new.into_iter().map(|(key, count)| format!("{key} {count}")));
    }
    lines.sort();
    lines
}

#[test]
fn a_file_takes_every_part_once_however_many_parts_a_batch_has() {
    let seed = seed();
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..if is_full() { 200 } else { 3 } {
        let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
        let file = folder.path().join("out");
        let (call, executors) = (rng.random_range(60..140), rng.random_range(12..24));
        let what =
            format!("crashed at call {call} with {executors} executors (FULMAR_SEED={seed})");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            drop(run(&disk, &file, executors, Some((call, Fault::Before))).await);
            for _ in 0..2 {
                run(&disk, &file, 2, None)
                    .await
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        });
        let mut found: Vec<String> = fs::read_to_string(&file)
            .unwrap()
            .lines()
            .map(String::from)
            .collect();
        found.sort();
        assert!(
            found == expected(&disk),
            "{what}: the file holds {} lines",
            found.len()
        );
        assert_eq!(
            found.len() as u64,
            RECORDS,
            "{what}: each batch has each key once"
        );
    }
}
