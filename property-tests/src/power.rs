//! What a power loss leaves: a real run's calls of the file system are traced, and its disk is made anew as of any of them, without what
//! was not synced.
//!
//! [`trace`] runs a program under `strace` and reads what it did to one folder; [`disk`] is a file system that knows what is synced;
//! [`counted`] is the topology that loses its power, and what it must have come to; [`elsewhere`] keeps its ledger in ZooKeeper, which
//! loses nothing.

pub mod counted;
pub mod disk;
pub mod elsewhere;
pub mod trace;
