//! The lease: until when the servers cannot have given a session away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Until when the servers cannot have given the session away.
///
/// It is three quarters of the session's timeout, from the moment at which the last request that was answered had been sent. The last
/// quarter is for an ensemble: the server that a client is connected to tells the servers' leader, who is the one to give sessions away, of the clients
/// it has heard from only every half tick, which is at most a quarter of the timeout; if it dies before, the leader has not heard of the last request.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    until: Arc<Mutex<Instant>>,
    /// The session's timeout.
    pub(super) timeout: Duration,
}

impl Lease {
    /// Begins with a request that was sent then, and answered.
    pub(super) fn begin(sent: Instant, timeout: Duration) -> Lease {
        let lease = Lease {
            until: Arc::new(Mutex::new(sent)),
            timeout,
        };
        lease.confirm(sent);
        lease
    }

    /// A request that was sent then was answered.
    pub(super) fn confirm(&self, sent: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(sent + self.timeout * 3 / 4);
    }

    pub(super) fn holds(&self) -> bool {
        now() < *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a session is a shell: its lease and deadlines are real time"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
