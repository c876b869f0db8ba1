//! Method: real processes of WordCount on real ZooKeeper servers, disturbed in every way that the coordinator is built for. What they
//! wrote is compared with a count made by hand, and what they said of each batch with what every other one said of it.
//! `FULMAR_SEED` repeats texts and drawn moments; `FULMAR_FULL=1` makes the campaigns long.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, which wait for real processes"
)]

mod cost;
mod ensemble;
mod hands;
mod kills;
mod live;
mod refusals;
mod restarts;
mod stops;
mod zombies;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use fulmar_coordinator::zookeeper::testing::{self, Server};
use fulmar_property_tests::cluster::Cluster;
use fulmar_property_tests::program;

/// A server that takes short sessions: two ticks are the shortest.
fn server() -> Server {
    Server::builder()
        .tick(Duration::from_millis(100))
        .start()
        .unwrap()
}

/// The program, built once if need be.
fn wordcount() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM
        .get_or_init(|| program::wordcount().unwrap())
        .clone()
}

/// Processes with small batches and a session of so many milliseconds; with these options more.
fn cluster_at(connection: &str, session_ms: u64, options: &str) -> Cluster {
    let options = format!("--session-timeout {session_ms} --executors 1 --memory 32MiB {options}");
    Cluster::new(&wordcount(), connection, &options).unwrap()
}

/// Processes at the server that all tests share.
fn cluster(options: &str) -> Cluster {
    cluster_at(&testing::shared_chroot(), 4_000, options)
}
