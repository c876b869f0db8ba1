//! Campaigns and oracles: what a crash at any moment must not change, counted by code that shares nothing with the engine.
//!
//! [`program`], [`text`] and [`campaign`] kill the real WordCount, [`mortal`] is one that kills itself at named points, [`cluster`] runs
//! several that share a ledger in ZooKeeper, where [`hand`] changes nodes as a person would; [`seams`] wraps what a topology stands on, to
//! crash at a numbered call; [`scripted`] is a topology of many parts, and [`oracle`] its plain evaluation; [`power`] is what a power loss leaves;
//! [`worlds`] draws seeded worlds for proptest; [`mutations`] breaks the protocol on purpose, to see that the seeded worlds notice.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests' helpers: what fails ends the test, and they wait for real processes"
)]

pub mod campaign;
pub mod cluster;
pub mod feeder;
pub mod hand;
mod member;
pub mod mortal;
pub mod mutations;
pub mod oracle;
pub mod power;
pub mod program;
pub mod scripted;
pub mod seams;
mod terms;
pub mod text;
pub mod worlds;

/// Whether long campaigns run whole (`./fulmar test --full`).
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("FULMAR_FULL").is_some_and(|full| full == "1")
}

/// A place where syncs cost nothing, if there is one: what is killed loses nothing that it has written, synced or not.
///
/// # Panics
///
/// There is no room for it.
#[must_use]
pub fn quick_folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(folder) = tempfile::tempdir_in(memory)
    {
        return folder;
    }
    tempfile::tempdir().unwrap()
}

/// The seed of this run: `FULMAR_SEED`, or one of the day's chance; a failure prints it.
#[must_use]
pub fn seed() -> u64 {
    if let Some(seed) = std::env::var("FULMAR_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return seed;
    }
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    since.as_nanos() as u64 % 1_000_000_000
}
