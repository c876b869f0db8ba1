//! Method: model-based, all ledgers alike. Several writers write on right, stale and future versions, send again, load and restart, while
//! connections break and processes die around their writes. Everything that is heard must fit a linearizable [register](register).
//!
//! `FULMAR_FULL=1` runs twenty times as many cases.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests are shells; and a panic is how they fail"
)]

mod local;
mod register;
mod step;
mod tested;
#[cfg(all(feature = "zookeeper", feature = "testing"))]
mod zookeeper;

use proptest::test_runner::{Config, FileFailurePersistence};
use proptest_state_machine::prop_state_machine;

use local::{File, Memory};
use tested::Tested;
#[cfg(all(feature = "zookeeper", feature = "testing"))]
use zookeeper::ZooKeeper;

fn config(cases: u32, shrinks: u32) -> Config {
    let full = std::env::var_os("FULMAR_FULL").is_some_and(|full| full == "1");
    Config {
        cases: if full { 20 * cases } else { cases },
        max_shrink_iters: shrinks,
        // Of all cases together: steps that cannot happen at their time are drawn again.
        max_local_rejects: 1 << 24,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

prop_state_machine! {
    #![proptest_config(config(1_000, 20_000))]
    #[test]
    fn the_memory_ledger_is_a_linearizable_register(sequential 1..60 => Tested<Memory>);
}

prop_state_machine! {
    #![proptest_config(config(200, 4_000))]
    #[test]
    fn the_file_ledger_is_a_linearizable_register(sequential 1..40 => Tested<File>);
}

#[cfg(all(feature = "zookeeper", feature = "testing"))]
prop_state_machine! {
    #![proptest_config(config(25, 200))]
    #[test]
    fn the_zookeeper_ledger_is_a_linearizable_register(sequential 1..30 => Tested<ZooKeeper>);
}
