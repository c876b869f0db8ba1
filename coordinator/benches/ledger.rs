//! What one write of the file ledger costs: `cargo bench -p fulmar-coordinator --bench ledger`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "it measures a real file"
)]

use std::time::Instant;

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
        let record = LedgerRecord::new("bench", Fingerprint::new().line("version", "1"));
        let start = Instant::now();
        for version in 0..WRITES {
            let outcome = block_on(ledger.write(&record, Version(version)));
            assert!(matches!(outcome, WriteOutcome::Applied(_)), "{outcome:?}");
        }
        println!(
            "{durability:?}: {:?} a write",
            start.elapsed() / WRITES as u32
        );
    }
}
