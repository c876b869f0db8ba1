//! Election, lock and membership against real servers: who leads, who is woken, and what a broken connection, a killed server, a session
//! ended by force or a person's hand does to it.
#![cfg(all(feature = "zookeeper", feature = "testing"))]
#![allow(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait, watch the time and run threads"
)]

mod breaks;
mod election;
mod hand;
mod lock;
mod members;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fulmar_coordinator::Error;
use fulmar_coordinator::zookeeper::testing::{Proxy, Server, wait_until};
use fulmar_coordinator::zookeeper::{Candidate, Election, Identity, Session, ZooKeeperConfig};
use futures::executor::block_on;

/// Longer than anything takes that happens at all.
const SOON: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(3);
const DIR: &str = "/leader";

fn connect(to: &str, timeout: Duration) -> Session {
    let config = ZooKeeperConfig::parse(to).unwrap().session_timeout(timeout);
    let session = block_on(Session::connect(config)).unwrap();
    assert_eq!(session.timeout(), timeout);
    session
}

/// Candidates are told from each other by their version.
fn who(name: &str) -> Identity {
    Identity::of_this_process(name)
}

fn join(session: &Session, name: &str) -> Candidate {
    block_on(Election::join(session, DIR, &who(name))).unwrap()
}

/// A proxy in front of the server of a connection string, and the string by way of it.
fn by_proxy(to: &str) -> (Proxy, String) {
    let (server, chroot) = to.split_once('/').unwrap();
    let proxy = Proxy::start(server).unwrap();
    let by = format!("{}/{chroot}", proxy.address());
    (proxy, by)
}

/// Ends in time or fails the test.
fn in_time<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let mut future = Box::pin(future);
    let mut done = None;
    wait_until(what, limit, || {
        done = futures::FutureExt::now_or_never(&mut future);
        done.is_some()
    });
    assert!(
        start.elapsed() <= limit,
        "{what} took {:?}",
        start.elapsed()
    );
    done.unwrap()
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::SessionLost { .. })
}

/// The requests that the server had from each session, by the session's name.
fn requests(server: &Server) -> BTreeMap<String, u64> {
    let cons = server.four_letter("cons");
    let word = |line: &str, key: &str| {
        let mut words = line.split(['(', ',', ')']);
        words
            .find_map(|word| word.strip_prefix(key))
            .map(str::to_owned)
    };
    let sessions = cons
        .lines()
        .filter_map(|line| Some((word(line, "sid=")?, word(line, "recved=")?.parse().ok()?)));
    sessions.collect()
}

/// The sessions that watch each node, by its path.
fn watches(server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut watches = BTreeMap::<String, Vec<String>>::new();
    let mut path = String::new();
    for line in server.four_letter("wchp").lines() {
        match line.strip_prefix('\t') {
            Some(session) => watches
                .entry(path.clone())
                .or_default()
                .push(session.to_owned()),
            None => line.clone_into(&mut path),
        }
    }
    watches
}
