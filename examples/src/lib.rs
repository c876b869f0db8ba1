//! Runnable Fulmar programs, and the bench that compares them with hand-written loops.

pub mod bench;
pub mod wordcount;
