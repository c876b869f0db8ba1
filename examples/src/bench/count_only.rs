//! The ceiling: read, split and count, and keep nothing.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::contender::{Contender, Counts, Input, Measured, peak_kib};
use super::words::{Lines, WordTable, for_each_word};

/// Counts into one table in memory, on one thread; its result is what the others are checked against.
pub(super) struct CountOnly;

impl Contender for CountOnly {
    fn name(&self) -> &'static str {
        "count-only"
    }

    fn what(&self) -> &'static str {
        "one thread: read, split, count in memory; stores nothing"
    }

    fn run(&self, input: &Input, _dir: &Path) -> Result<Measured> {
        let mut lines = Lines::open(&input.file)?;
        let mut table = WordTable::default();
        let started = Instant::now();
        while let Some(line) = lines.next()? {
            for_each_word(line, |word| {
                let hash = table.hash(word);
                table.add(hash, word, 1);
            });
        }
        let seconds = started.elapsed().as_secs_f64();
        let peak_kib = peak_kib();
        let mut counts = Counts::default();
        table
            .iter()
            .for_each(|(word, count)| counts.add(word, count));
        Ok(Measured {
            counts,
            seconds,
            peak_kib,
        })
    }
}
