//! The coordinator on ZooKeeper: ledger, election, lock, membership and live settings.
//!
//! Everything lies under one chroot, and there under `/fulmar/<topology>` ([`TopologyPaths`]). A [`Session`] is one ZooKeeper session; whatever is
//! bound to it (leadership, a lock, membership) ends with it. Everything that matters is decided by conditional writes,
//! never by reads: reads may be stale, and a client may learn late that its session is over.

mod config;
mod credentials;
mod election;
mod environment;
mod identity;
mod ledger;
mod live;
mod lock;
mod marker;
mod member;
mod members;
mod nodes;
mod opening;
mod parts;
mod path;
mod probe;
mod queue;
mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;

pub use config::ZooKeeperConfig;
pub use election::{Candidate, Election, Leadership};
pub use identity::Identity;
pub use ledger::ZooKeeperLedger;
pub use live::{Change, LiveConfig};
pub use lock::{Lock, LockGuard};
pub use member::Member;
pub use members::Membership;
pub use path::TopologyPaths;
pub use queue::Ahead;
pub use session::Session;
pub use tls::Tls;
