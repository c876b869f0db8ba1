//! Real ZooKeeper servers for tests: one, a quorum of several, and a proxy that breaks connections at will.
//!
//! The servers listen on 127.0.0.1 only, on ports that were free, with a data directory of their own. They end with
//! their owner, however it ends: a guardian process kills the server when the test's end of a pipe closes, which also
//! happens when the test is killed by SIGKILL.
//!
//! Everything here blocks, and what makes a test senseless (a server that cannot be signalled) panics. Only what a user
//! can mend, such as a missing Java, is an error with a text that says how.
//!
//! ```
//! use fulmar_coordinator::zookeeper::testing;
//!
//! // One server for the whole test binary, and a name space of one's own on it.
//! let connection_string = testing::shared_chroot();
//! assert!(connection_string.starts_with("127.0.0.1:"));
//! assert_eq!(testing::shared().four_letter("ruok"), "imok");
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "helpers of tests are shells: they wait, watch the time and run threads"
)]

mod ensemble;
mod java;
mod link;
mod proxy;
mod server;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, process, thread};

pub use ensemble::Ensemble;
pub use proxy::{Moment, Proxy};
pub use server::{Builder, Server};

/// How long anything here waits for a server before it gives up: far longer than it takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one server of this test binary, started by the first call.
///
/// It must not be killed or stopped by a test, since others use it at the same time.
///
/// # Panics
///
/// When no server can be started; the message says what is missing.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start().unwrap_or_else(|error| panic!("{error}")))
}

/// A connection string to the [`shared`] server with a chroot that no other call returns, such as
/// `127.0.0.1:21810/t7-4711`. The node of the chroot does not exist yet.
///
/// # Panics
///
/// As [`shared`].
pub fn shared_chroot() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{}/t{call}-{}", shared().address(), process::id())
}

/// Waits until `holds` is true, looking every 5 ms.
///
/// # Panics
///
/// When it is not true within `limit`; the message names `what`.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    assert!(
        poll(limit, &mut holds),
        "waited {limit:?} in vain until {what}"
    );
}

/// As [`wait_until`], but says whether it came true.
fn poll(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Listens on a port of 127.0.0.1 that was free.
///
/// The ports are taken below the range that the system hands out by itself: from that range a client's outgoing
/// connection could be given the port of a server that is down for the moment, which then could not start again; the
/// client that tries to reconnect may even connect to itself.
fn listen() -> io::Result<TcpListener> {
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 17_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut last = io::Error::other("no port was tried");
    for _ in 0..1_000 {
        // Test binaries that run side by side start far from each other.
        let at = process::id()
            .wrapping_mul(7_919)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + at % COUNT).expect("15,000 + 17,000 is below 65,536");
        match TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A port that is free now. It may be taken before it is used, so whoever uses it must be ready to take another.
fn free_port() -> io::Result<u16> {
    Ok(listen()?.local_addr()?.port())
}
