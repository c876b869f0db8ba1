//! What one write of a ledger costs: `cargo bench -p fulmar-coordinator --bench ledger`; with `--features zookeeper,testing` also on
//! ZooKeeper, one server and three.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "it measures real files and servers"
)]

use std::time::{Duration, Instant};

use fulmar_coordinator::{
    Durability, FileLedger, Fingerprint, Ledger, LedgerRecord, Version, WriteOutcome,
};
use futures::executor::block_on;

const WRITES: u64 = 1000;

fn main() {
    // Beside the sources, where a real disk is; temporary folders may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    for durability in [Durability::Fsync, Durability::ProcessCrash] {
        let path = dir.path().join(format!("{durability:?}"));
        let mut ledger = FileLedger::open(path, durability).unwrap();
        measure(&format!("{durability:?}"), &mut ledger);
    }
    #[cfg(all(feature = "zookeeper", feature = "testing"))]
    zookeeper::measure_servers();
}

/// Writes one record after the other, each when the one before is applied.
fn measure(name: &str, ledger: &mut impl Ledger) {
    let record = LedgerRecord::new("bench", Fingerprint::new().line("version", "1"));
    let mut times = Vec::new();
    for version in 0..WRITES {
        let start = Instant::now();
        let outcome = block_on(ledger.write(&record, Version(version)));
        assert!(matches!(outcome, WriteOutcome::Applied(_)), "{outcome:?}");
        times.push(start.elapsed());
    }
    let mean = times.iter().sum::<Duration>() / WRITES as u32;
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100];
    println!(
        "{name}: {mean:?} a write; half within {:?}, 99 % within {:?}",
        at(50),
        at(99)
    );
}

#[cfg(all(feature = "zookeeper", feature = "testing"))]
mod zookeeper {
    use fulmar_coordinator::zookeeper::testing::{Ensemble, Server};
    use fulmar_coordinator::zookeeper::{Session, ZooKeeperConfig, ZooKeeperLedger};
    use futures::executor::block_on;

    pub(super) fn measure_servers() {
        let server = Server::start().unwrap();
        measure("ZooKeeper, one server", &server.address());
        drop(server);
        let ensemble = Ensemble::start(3).unwrap();
        measure("ZooKeeper, three servers", &ensemble.connection_string());
    }

    fn measure(name: &str, to: &str) {
        let session = block_on(Session::connect(ZooKeeperConfig::parse(to).unwrap())).unwrap();
        let mut ledger = block_on(ZooKeeperLedger::open(&session, "bench")).unwrap();
        super::measure(name, &mut ledger);
    }
}
