//! The real program, run as users run it: counts against an oracle, exit codes, and every wrong input there is.
//!
//! Method: each test has a folder of its own; expected counts come from a hand-written count in `support`, which
//! shares no code with the engine.
#![allow(
    clippy::disallowed_methods,
    reason = "a test of real processes waits in real time"
)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod counting;
mod damage;
mod files;
mod following;
mod full_disk;
mod lines;
mod output;
mod refusals;
mod support;
