//! A text that grows while it is counted, and the count by hand of what it has become.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::text::{Vocabulary, count};

/// How often the text grows.
const EVERY: Duration = Duration::from_millis(5);

/// Appends lines to a file until it is stopped; dropped, it stops, too.
pub struct Feeder {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Feeder {
    /// Begins to append about so many lines a second, drawn by `seed`. Lines are torn apart wherever it happens.
    #[must_use]
    pub fn start(path: &Path, seed: u64, lines_a_second: usize) -> Feeder {
        let (at, stop) = (path.to_path_buf(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || feed(&at, seed, lines_a_second, &stopped));
        Feeder {
            path: path.to_path_buf(),
            stop,
            thread: Some(thread),
        }
    }

    /// Stops, and counts the words of the whole file by hand, as WordCount must write them.
    ///
    /// # Errors
    ///
    /// The file could not be written or read.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| anyhow!("the thread that feeds the text panicked"))??;
        }
        Ok(count([fs::read(&self.path)?.as_slice()]))
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn feed(
    path: &Path,
    seed: u64,
    lines_a_second: usize,
    stopped: &AtomicBool,
) -> std::io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let words = Vocabulary::new(&mut rng, 2_000, 1..10);
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let lines = (lines_a_second * EVERY.as_millis() as usize).div_ceil(1_000);
    let mut torn = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        torn.extend_from_slice(words.lines(&mut rng, lines, 1..8).as_bytes());
        let keep = rng.random_range(0..torn.len().min(12));
        let rest = torn.split_off(torn.len() - keep);
        file.write_all(&torn)?;
        torn = rest;
        std::thread::sleep(EVERY);
    }
    file.write_all(&torn)
}
