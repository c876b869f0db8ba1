//! The bench: Fulmar's WordCount beside hand-written loops, on the same data, in one run.
//!
//! Every contender runs in a process of its own, so that its peak memory is its own, and its final counts are compared
//! with those of the loop that only counts.

// Measuring is a shell's work: it reads the clock.
#![allow(clippy::disallowed_methods)]

mod child;
mod contender;
mod count_only;
mod fulmar_wordcount;
mod generate;
mod report;
mod rocks_loop;
mod suite;
mod words;

pub use child::{run_child, serve};
pub use contender::{Contender, Counts, Input, Measured, contenders};
pub use generate::{Recipe, generate};
pub use suite::{Suite, Workload};
