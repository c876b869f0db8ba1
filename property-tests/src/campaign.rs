//! Kills of the real program: one state directory, killed and started again until all is counted.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::program::{From, Run};
use crate::text::lines_in;

/// What is counted, and how.
pub struct Variant {
    /// What it is called in figures and failures.
    pub name: &'static str,
    /// The texts, by file name.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Options that stay from run to run.
    pub fixed: &'static str,
    /// Lines of a batch are drawn from these.
    pub batch_lines: &'static [u64],
    /// About how many kills one state directory takes before it is done.
    pub kills: u64,
    /// The files grow while the program follows them.
    pub grows: bool,
}

/// What campaigns have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Processes started.
    pub runs: u64,
    /// Processes killed before they ended by themselves.
    pub kills: u64,
    /// Kills after the first batch was sealed and before the last.
    pub in_window: u64,
    /// Kills before the program had said from where it goes on.
    pub at_start: u64,
    /// State directories counted to the end.
    pub states: u64,
    /// Table files seen: folds that were under way beneath the kills.
    pub tables: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.runs += other.runs;
        self.kills += other.kills;
        self.in_window += other.in_window;
        self.at_start += other.at_start;
        self.states += other.states;
        self.tables += other.tables;
    }
}

/// A state directory under attack.
struct Attack<'a> {
    program: &'a Path,
    folder: &'a Path,
    variant: &'a Variant,
    total: u64,
    /// Bytes of each text that are in its file so far.
    written: Vec<usize>,
    figures: Figures,
    /// The greatest batch that any run told of.
    told: u64,
    /// From where the last run went on that said so.
    last: From,
    /// Kills whose place is known once the next run says from where it goes on.
    unplaced: u64,
}

/// Kills the program on one new state directory again and again until it is done; answers with the output and the figures.
///
/// # Errors
///
/// What did not hold: a run that failed, progress that was lost, statistics that have a gap.
pub fn attack(
    program: &Path,
    folder: &Path,
    variant: &Variant,
    rng: &mut ChaCha8Rng,
) -> Result<(Vec<u8>, Figures)> {
    let mut attack = Attack {
        program,
        folder,
        variant,
        total: variant.texts.iter().map(|(_, text)| lines_in(text)).sum(),
        written: vec![0; variant.texts.len()],
        figures: Figures::default(),
        told: 0,
        last: From { batch: 0, lines: 0 },
        unplaced: 0,
    };
    for (name, _) in &variant.texts {
        fs::write(folder.join(name), "")?;
    }
    if !variant.grows {
        attack.grow(1.0, rng)?;
    }
    while !attack.strike(rng)? {}
    let output = fs::read(folder.join("counts.tsv")).context("the counts were not written")?;
    attack.figures.states = 1;
    attack.figures.tables = tables(&folder.join("state"));
    Ok((output, attack.figures))
}

/// The output of one run that is not interrupted.
///
/// # Errors
///
/// The run failed.
pub fn undisturbed(program: &Path, folder: &Path, variant: &Variant) -> Result<Vec<u8>> {
    for (name, text) in &variant.texts {
        fs::write(folder.join(name), text)?;
    }
    let mut arguments: Vec<String> = variant.fixed.split_whitespace().map(String::from).collect();
    arguments.extend(variant.texts.iter().map(|(name, _)| name.clone()));
    Run::start(program, folder, &arguments)?.succeed()?;
    Ok(fs::read(folder.join("counts.tsv"))?)
}

impl Attack<'_> {
    /// One run: killed, or, when little is left to do, left to end. Answers whether all is done.
    fn strike(&mut self, rng: &mut ChaCha8Rng) -> Result<bool> {
        let grown = self
            .written
            .iter()
            .zip(&self.variant.texts)
            .all(|(written, (_, text))| *written == text.len());
        let follow = self.variant.grows && !grown;
        let arguments = self.arguments(follow, rng);
        let mut run = Run::start(self.program, self.folder, &arguments)?;
        self.figures.runs += 1;
        let killed = self.disturb(&mut run, follow, rng)?;
        let said = run.said();
        ensure!(!said.contains("panicked"), "a thread panicked: {said}");
        let from = run.from();
        self.judge(&run, from)
            .with_context(|| format!("run {} with {arguments:?}: {said}", self.figures.runs))?;
        if !killed {
            run.succeed()?;
            ensure!(!follow, "wordcount ended although it follows: {said}");
            return Ok(true);
        }
        self.figures.kills += 1;
        self.figures.at_start += u64::from(from.is_none());
        self.unplaced += 1;
        Ok(false)
    }

    /// Nothing told is lost, nothing is sealed twice, and no batch is missing.
    fn judge(&mut self, run: &Run, from: Option<From>) -> Result<()> {
        let batches = run.batches();
        if let Some(from) = from {
            let (told, last) = (self.told, self.last);
            ensure!(
                from.batch >= told,
                "it goes on after batch {}, but batch {told} was told as sealed",
                from.batch
            );
            ensure!(
                from.batch >= last.batch && from.lines >= last.lines,
                "it goes back from {last:?} to {from:?}"
            );
            ensure!(
                from.lines <= self.total,
                "{} lines of {} are counted",
                from.lines,
                self.total
            );
            self.last = from;
            // Now it is known how far the killed runs before had come.
            let unplaced = std::mem::take(&mut self.unplaced);
            self.figures.in_window += if from.lines > 0 && from.lines < self.total {
                unplaced
            } else {
                0
            };
        }
        for ((txid, _), expected) in batches.iter().zip(self.last.batch + 1..) {
            ensure!(
                *txid == expected,
                "batch {txid} was sealed where {expected} was next"
            );
        }
        self.told = batches.last().map_or(self.told, |(txid, _)| *txid);
        Ok(())
    }

    /// Waits for the moment, lets the files grow meanwhile, and kills; false if the run ended before.
    fn disturb(&mut self, run: &mut Run, follow: bool, rng: &mut ChaCha8Rng) -> Result<bool> {
        let since = Instant::now();
        let step = 2 * self.total / self.variant.kills;
        let goal = rng.random_range(0..=step);
        // A quarter of the kills are by the clock alone: they hit starts, too.
        let deadline = Duration::from_micros(if rng.random_range(0..4) == 0 {
            rng.random_range(0..60_000)
        } else {
            5_000_000
        });
        let spare = Duration::from_micros(rng.random_range(0..3_000));
        let mut seen = 0;
        while since.elapsed() < deadline {
            if run.ended()?.is_some() {
                return Ok(false);
            }
            if follow && rng.random_range(0..3) == 0 {
                self.grow(1.0 / (self.variant.kills * 60) as f64, rng)?;
            }
            let size = fs::metadata(&run.stats).map_or(0, |stats| stats.len());
            if size != seen {
                seen = size;
                if run
                    .batches()
                    .iter()
                    .map(|(_, records)| records)
                    .sum::<u64>()
                    >= goal
                {
                    break;
                }
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(spare);
        if run.ended()?.is_some() {
            return Ok(false);
        }
        Ok(!run.kill()?.success())
    }

    /// Appends the next part of each text, wherever that ends: within a line, a word, a character.
    fn grow(&mut self, share: f64, rng: &mut ChaCha8Rng) -> Result<()> {
        for ((name, text), written) in self.variant.texts.iter().zip(&mut self.written) {
            let most = (text.len() as f64 * share).ceil() as usize;
            let more = if share >= 1.0 {
                text.len()
            } else {
                rng.random_range(0..=most)
            };
            let to = (*written + more).min(text.len());
            let mut file = OpenOptions::new()
                .append(true)
                .open(self.folder.join(name))?;
            file.write_all(&text[*written..to])?;
            *written = to;
        }
        Ok(())
    }

    /// What differs from run to run: sizes, threads, batches in flight.
    fn arguments(&self, follow: bool, rng: &mut ChaCha8Rng) -> Vec<String> {
        let batch_lines =
            self.variant.batch_lines[rng.random_range(0..self.variant.batch_lines.len())];
        let (executors, max_pending) = (rng.random_range(1..=4), rng.random_range(1..=8));
        let mut line = format!(
            "{} --batch-lines {batch_lines} --executors {executors} --max-pending {max_pending} --batch-time 20",
            self.variant.fixed
        );
        if follow {
            line.push_str(" --follow");
        }
        let texts = self.variant.texts.iter().map(|(name, _)| name.clone());
        line.split_whitespace()
            .map(String::from)
            .chain(texts)
            .collect()
    }
}

fn tables(dir: &Path) -> u64 {
    let entries = |dir: &PathBuf| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let mut waiting = vec![dir.to_path_buf()];
    let mut tables = 0;
    while let Some(dir) = waiting.pop() {
        for path in entries(&dir) {
            tables += u64::from(path.extension().is_some_and(|extension| extension == "sst"));
            if path.is_dir() {
                waiting.push(path);
            }
        }
    }
    tables
}
