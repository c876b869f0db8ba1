//! The mortal WordCount: the same counting on the real RocksDB, ledgers and file sink, through seams that kill the process by its own
//! hand (SIGKILL) at a named call.
//!
//! [`point`] names the calls, [`fuse`] dies at one, [`seams`] stand between the engine and what is real, [`fickle`] is a spout that
//! never reads the same batch twice, and [`run`] is the program. The product has none of this: it only has the seams.

pub mod fickle;
pub mod fuse;
pub mod point;
pub mod run;
pub mod seams;
