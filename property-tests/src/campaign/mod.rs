//! Kills of the real program: state directories, each killed and started again until all is counted.
//!
//! [`mod@attack`] is one directory's life, [`strike`] how a run of it is killed, [`call`] the system calls that it can be killed at,
//! [`board`] what all lives together have done and what they aim at next, [`life`] what is drawn for each, and [`lanes`] lives several of
//! them at a time.

pub mod attack;
pub mod board;
pub mod call;
pub mod lanes;
pub mod life;
pub mod strike;

pub use attack::{Variant, attack, undisturbed};
pub use board::{Board, Figures};
