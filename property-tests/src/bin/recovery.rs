//! Prints how long the real WordCount takes from its start after a `kill -9` to its first new seal, on a state of many keys.
//!
//! `cargo run --release -p fulmar-property-tests --bin recovery [KEYS [KILLS [OPTION…]]]`: 10,000,000 keys and 10 kills unless told; the
//! options are WordCount's. The text holds every key once, in no order, and then drawn ones for as long again as a fifth of that; the
//! kills fall into the second part, where the state is whole. The program is FULMAR_WORDCOUNT, or built.
#![allow(clippy::disallowed_methods, reason = "it measures a real process")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fulmar_property_tests::program::{self, Run};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WORDS_A_LINE: u64 = 10;
/// Longer than any run takes to seal its first batch.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise| {
        arguments
            .get(at)
            .map_or(Ok(otherwise), |text| text.replace('_', "").parse())
    };
    let (keys, kills): (u64, u64) = (number(0, 10_000_000)?, number(1, 10)?);
    let options: Vec<String> = arguments
        .iter()
        .skip(2)
        .cloned()
        .chain(["text".to_owned()])
        .collect();
    let program = program::wordcount()?;
    let folder = tempfile::tempdir()?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let lines = write(&folder.path().join("text"), keys, &mut rng)?;
    let whole = keys / WORDS_A_LINE;
    println!(
        "{keys} keys, {lines} lines, of which {whole} build the state; {program}",
        program = program.display()
    );

    let mut run = Run::start(&program, folder.path(), &options)?;
    let began = Instant::now();
    until(&mut run, |lines| lines >= whole, Duration::from_secs(1_800))?;
    println!("state built in {:.1} s", began.elapsed().as_secs_f64());
    run.kill()?;
    drop(run);
    println!(
        "{:>4} {:>14} {:>14} {:>10} {:>12}",
        "kill", "goes on after", "log and tables", "ready s", "new seal s"
    );
    let mut worst = Duration::ZERO;
    for kill in 1..=kills {
        let size = size(&folder.path().join("state"))?;
        let mut run = Run::start(&program, folder.path(), &options)?;
        let began = Instant::now();
        let mut ready = None;
        let sealed = loop {
            let elapsed = began.elapsed();
            if ready.is_none() && run.from().is_some() {
                ready = Some(elapsed);
            }
            if fs::metadata(&run.stats).is_ok_and(|stats| stats.len() > 0) {
                break elapsed;
            }
            if let Some(status) = run.ended()? {
                println!(
                    "the text is counted to its end ({status}): fewer kills fit, or give more keys"
                );
                return Ok(());
            }
            ensure!(
                elapsed < PATIENCE,
                "no batch was sealed in {PATIENCE:?}: {}",
                run.said()
            );
            std::thread::sleep(Duration::from_micros(500));
        };
        let from = run.from().context("a run says from where it goes on")?;
        let ready = ready.unwrap_or(sealed);
        println!(
            "{kill:>4} {:>14} {:>10} MiB {:>10.3} {:>12.3}",
            from.batch,
            size >> 20,
            ready.as_secs_f64(),
            sealed.as_secs_f64()
        );
        worst = worst.max(sealed);
        let more = rng.random_range(1..4) + run.batches().len();
        until(&mut run, |_| false, Duration::from_millis(50 * more as u64))?;
        run.kill()?;
    }
    println!(
        "longest time from start to the first new seal: {:.3} s; asked: 2 s",
        worst.as_secs_f64()
    );
    Ok(())
}

/// Waits until so many lines are sealed in this run, or so long.
fn until(run: &mut Run, enough: impl Fn(u64) -> bool, longest: Duration) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < longest && run.ended()?.is_none() {
        if enough(run.batches().iter().map(|(_, records)| records).sum()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Writes the text, and answers how many lines it has.
fn write(path: &Path, keys: u64, rng: &mut ChaCha8Rng) -> Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (all, drawn) = (keys / WORDS_A_LINE, keys / WORDS_A_LINE / 5);
    // An odd factor permutes the numbers below a power of two; those past the last key are passed over.
    let range = keys.next_power_of_two();
    let mut permuted = (0..range)
        .map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) & (range - 1))
        .filter(|n| *n < keys);
    for line in 0..all + drawn {
        for at in 0..WORDS_A_LINE {
            let key = if line < all {
                permuted.next().context("as many as there are keys")?
            } else {
                rng.random_range(0..keys)
            };
            write!(file, "{}k{key:x}", if at == 0 { "" } else { " " })?;
        }
        writeln!(file)?;
    }
    file.flush()?;
    Ok(all + drawn)
}

fn size(dir: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        size += if meta.is_dir() {
            self::size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(size)
}
