//! What is compared: one way of counting words, and what is measured of it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fulmar::coordinator::zookeeper::ZooKeeperConfig;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::count_only::CountOnly;
use super::fulmar_wordcount::Fulmar;
use super::rocks_loop::{CacheLoop, MergeLoop};

/// What every contender is given.
#[derive(Clone, Debug)]
pub struct Input {
    /// The text, one record a line.
    pub file: PathBuf,
    /// Lines in a batch; the loops commit durably after each.
    pub batch_lines: usize,
    /// Threads, for a contender that can use more than one.
    pub executors: usize,
    /// What a contender may keep of its state in memory, in bytes, if it has such a bound.
    pub memory: u64,
    /// The ZooKeeper servers for the contender that keeps its ledger there, which runs only if there are any.
    pub zookeeper: Option<ZooKeeperConfig>,
}

/// The final counts, summed up so that two contenders can be compared in whatever order they hold their words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All words.
    pub words: u64,
    /// Distinct words.
    pub distinct: u64,
    /// The sum of a hash of every word and its count.
    pub checksum: u64,
}

impl Counts {
    /// Adds one word with its final count.
    pub fn add(&mut self, word: &[u8], count: u64) {
        self.words += count;
        self.distinct += 1;
        self.checksum = self.checksum.wrapping_add(xxh3_64_with_seed(word, count));
    }
}

/// One run of one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// What it counted, read back from where it stored it.
    pub counts: Counts,
    /// From before the first record is read to after the last commit; opening, closing and reading back are not in it.
    pub seconds: f64,
    /// The process's peak resident memory at the last commit, in KiB; `None` where the system does not tell.
    pub peak_kib: Option<u64>,
}

/// One way of counting words.
pub trait Contender {
    /// How it is called in the table and on the command line.
    fn name(&self) -> &'static str;
    /// One line on what it does.
    fn what(&self) -> &'static str;
    /// Whether it keeps something in ZooKeeper.
    fn needs_zookeeper(&self) -> bool {
        false
    }
    /// Counts the words of `input`, keeping what it stores under the empty folder `dir`.
    fn run(&self, input: &Input, dir: &Path) -> Result<Measured>;
}

/// All contenders, in the order of the table. The first counts only; the others' results are checked against its.
pub fn contenders() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(CountOnly),
        Box::new(CacheLoop),
        Box::new(MergeLoop),
        Box::new(Fulmar::EMBEDDED),
        Box::new(Fulmar::ZOOKEEPER),
    ]
}

/// The peak resident memory of this process so far, in KiB.
pub(super) fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
