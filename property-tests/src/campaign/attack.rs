//! One state directory, killed and started again until all is counted.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use signal_hook::consts::SIGKILL;

use super::board::{Board, Figures, Target};
use super::strike::{LATEST, Strike};
use crate::member::Member;
use crate::mortal::point::Place;
use crate::program::Run;
use crate::terms::History;
use crate::text::{count, lines_in};

/// What is counted, by whom, and how.
pub struct Variant {
    /// What it is called in figures and failures.
    pub name: &'static str,
    /// The program that counts.
    pub program: PathBuf,
    /// It is the mortal one: it can die by its own hand, and writes words to a sink.
    pub mortal: bool,
    /// Where its ledger is in ZooKeeper, if it is: a connection string that no other life has.
    pub zookeeper: Option<String>,
    /// The texts, by file name.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Options that stay from run to run.
    pub fixed: String,
    /// Lines of a batch are drawn from these.
    pub batch_lines: &'static [u64],
    /// About how many kills one state directory takes before it is done.
    pub kills: u64,
    /// The files grow while the program follows them.
    pub grows: bool,
}

/// So many runs may be given their time and seal nothing.
const PATIENCE: u64 = 6;
/// The shorter, the sooner a killed leader is succeeded; on a busy machine much shorter ones are lost without a kill.
const SESSION_MS: u64 = 500;
const UNANSWERED: &str = "wordcount: no ZooKeeper server answered";
const SINK: &str = "words";

/// A state directory under attack.
struct Attack<'a> {
    folder: &'a Path,
    variant: &'a Variant,
    board: &'a Board,
    total: u64,
    /// Bytes of each text that are in its file so far.
    written: Vec<usize>,
    /// What was done and is not on the board yet.
    done: Figures,
    /// What all runs have told of batches.
    history: History,
    runs: usize,
    /// Runs one after the other that had all the time and sealed nothing.
    stuck: u64,
    /// Runs one after the other that were not answered by a ZooKeeper server in time.
    unanswered: u64,
    /// All runs so far were killed when the store's first records were due.
    is_new: bool,
    /// The last run was killed before it had said from where it goes on.
    at_start: bool,
    /// Kills whose place is known once the next run says from where it goes on.
    unplaced: u64,
}

/// Kills the program on one new state directory again and again until it is done, and compares what it has counted with a count by hand.
///
/// # Errors
///
/// What did not hold: a run that failed or hung, progress that was lost, statistics that have a gap, counts that differ.
pub fn attack(folder: &Path, variant: &Variant, board: &Board, rng: &mut ChaCha8Rng) -> Result<()> {
    let mut attack = Attack {
        folder,
        variant,
        board,
        total: variant.texts.iter().map(|(_, text)| lines_in(text)).sum(),
        written: vec![0; variant.texts.len()],
        done: Figures::default(),
        history: History::default(),
        runs: 0,
        stuck: 0,
        unanswered: 0,
        is_new: true,
        at_start: false,
        unplaced: 0,
    };
    for (name, _) in &variant.texts {
        fs::write(folder.join(name), "")?;
    }
    if !variant.grows {
        attack.grow(1.0, rng)?;
    }
    loop {
        let ended = attack.strike(rng);
        board.add(&std::mem::take(&mut attack.done));
        if ended? {
            return Ok(());
        }
    }
}

/// The output of one run that is not interrupted.
///
/// # Errors
///
/// The run failed.
pub fn undisturbed(folder: &Path, variant: &Variant) -> Result<Vec<u8>> {
    for (name, text) in &variant.texts {
        fs::write(folder.join(name), text)?;
    }
    let mut arguments: Vec<String> = variant.fixed.split_whitespace().map(String::from).collect();
    arguments.extend(variant.texts.iter().map(|(name, _)| name.clone()));
    Run::start(&variant.program, folder, &arguments)?.succeed()?;
    Ok(fs::read(folder.join("counts.tsv"))?)
}

impl Attack<'_> {
    /// One run: killed, or, when little is left to do, left to end. Answers whether all is done.
    fn strike(&mut self, rng: &mut ChaCha8Rng) -> Result<bool> {
        let strike = self.choose(rng);
        if strike == Strike::None {
            self.grow(1.0, rng)?;
        }
        let follow = self.variant.grows && !self.is_grown();
        let arguments = self.arguments(&strike, follow, rng);
        self.is_new &= matches!(&strike, Strike::Own(death) if death.point.place == Place::Begin);
        let above = strike.above(self.folder);
        let run = Run::start_under(&above, &self.variant.program, self.folder, "", &arguments)?;
        let mut member = Member::new(run);
        self.runs += 1;
        self.done.runs += 1;
        let killed = match &strike {
            Strike::Moment {
                lines,
                latest,
                spare,
            } => self.disturb(&mut member, follow, (*lines, *latest, *spare), rng)?,
            // It dies by itself or comes to its end.
            _ => was_killed(member.run.wait()?)?,
        };
        if self.board.is_stopped() {
            return Ok(true);
        }
        let said = member.run().said();
        self.weigh(&strike, &mut member, killed, follow)
            .with_context(|| format!("run {} with {arguments:?}, {strike:?}: {said}", self.runs))
    }

    /// What a run has come to that is over. Answers whether all is done.
    fn weigh(
        &mut self,
        strike: &Strike,
        member: &mut Member,
        killed: bool,
        follow: bool,
    ) -> Result<bool> {
        let said = member.run().said();
        ensure!(!said.contains("panicked"), "a thread panicked");
        let told = self.history.all;
        let spoke = self.judge(member)?;
        if !killed && self.variant.zookeeper.is_some() && said.contains(UNANSWERED) {
            // Its time for the first connection is the session's: too short for a machine that is busy with kills.
            self.unanswered += 1;
            ensure!(
                self.unanswered < PATIENCE,
                "{PATIENCE} starts were not answered"
            );
            return Ok(false);
        }
        self.unanswered = 0;
        if !killed {
            member.run.succeed()?;
            ensure!(!follow, "wordcount ended although it follows");
            self.finish()?;
            return Ok(true);
        }
        if matches!(strike, Strike::Moment { latest, .. } if *latest == LATEST) {
            self.stuck = match self.history.all == told {
                true => self.stuck + 1,
                false => 0,
            };
        }
        ensure!(
            self.stuck < PATIENCE,
            "{PATIENCE} runs had {LATEST:?} each and sealed nothing"
        );
        self.tally(strike, spoke);
        Ok(false)
    }

    fn is_grown(&self) -> bool {
        let texts = self.variant.texts.iter();
        let mut pairs = self.written.iter().zip(texts);
        pairs.all(|(written, (_, text))| *written == text.len())
    }

    /// How the next run is killed.
    fn choose(&self, rng: &mut ChaCha8Rng) -> Strike {
        // When all is sealed there is little left to be killed at.
        let sealed = self.history.last.lines == self.total && !self.variant.grows;
        if self.board.is_enough() || (sealed && rng.random_range(0..4) > 0) {
            return Strike::None;
        }
        let (first, zookeeper) = (self.runs == 0, self.variant.zookeeper.is_some());
        let fits = |target: &Target| match target {
            // Only a new store has first records: not written yet, being written, written.
            Target::Point(point) if point.place == Place::Begin => {
                self.variant.mortal && self.is_new && point.moment as usize == self.runs
            }
            Target::Point(_) => self.variant.mortal && !self.is_new,
            Target::Call(_) => !self.variant.mortal && !self.variant.grows,
        };
        if let Some(target) = self.board.aim(zookeeper, fits, rng) {
            return Strike::at(target, rng);
        }
        let start = match zookeeper {
            true => Duration::from_millis(SESSION_MS + 150),
            false => Duration::from_millis(60),
        };
        let step = (2 * self.total / self.variant.kills).max(1);
        let strike = Strike::moment(step, start, rng);
        match strike {
            // A life that has just begun is let to its first batch more often than not.
            Strike::Moment { lines, spare, .. } if self.history.told == 0 && !first => {
                Strike::Moment {
                    lines: lines.max(1),
                    latest: LATEST,
                    spare,
                }
            }
            strike => strike,
        }
    }

    /// Nothing told is lost, nothing is sealed twice, and no batch is missing. Answers whether it had said from where it goes on.
    fn judge(&mut self, member: &mut Member) -> Result<bool> {
        let terms = match &self.variant.zookeeper {
            Some(_) => member.terms(self.runs)?,
            None => vec![member.term(self.runs)?],
        };
        let mut spoke = false;
        for term in terms {
            self.history.add(&term)?;
            let replays = term.sealed.iter().map(|batch| batch.attempts - 1);
            self.done.replays += replays.sum::<u64>();
            let Some(from) = term.from else { continue };
            ensure!(
                from.lines <= self.total,
                "{} lines of {} are counted",
                from.lines,
                self.total
            );
            spoke = true;
            // Now it is known how far the killed runs before had come.
            let unplaced = std::mem::take(&mut self.unplaced);
            let place = match from.lines {
                0 => &mut self.done.before_first,
                lines if lines < self.total => &mut self.done.in_window,
                _ => &mut self.done.after_last,
            };
            *place += unplaced;
        }
        Ok(spoke)
    }

    /// The run was killed.
    fn tally(&mut self, strike: &Strike, spoke: bool) {
        self.done.kills += 1;
        let twice = !spoke && self.at_start;
        self.done.at_start += u64::from(!spoke);
        self.done.twice += u64::from(twice);
        self.at_start = !spoke;
        self.unplaced += 1;
        let zookeeper = self.variant.zookeeper.is_some();
        self.done.zookeeper += u64::from(zookeeper);
        self.done.opaque += u64::from(self.variant.fixed.contains("opaque"));
        match strike.target() {
            Some(target) => self.done.aims.entry((target, zookeeper)).or_default().hit += 1,
            None => self.done.by_moment += 1,
        }
    }

    /// All is counted: exactly once, and so it is in the sink.
    fn finish(&mut self) -> Result<()> {
        let texts = self.variant.texts.iter();
        let expected = count(texts.map(|(_, text)| text.as_slice()));
        let read = |name: &str| fs::read(self.folder.join(name)).with_context(|| name.to_owned());
        ensure!(
            read("counts.tsv")? == expected,
            "after {} runs the counts differ",
            self.runs
        );
        if self.variant.mortal {
            let words = read(SINK)?;
            ensure!(
                count([words.as_slice()]) == expected,
                "after {} runs the words in the sink differ",
                self.runs
            );
        }
        self.done.after_last += std::mem::take(&mut self.unplaced);
        self.done.states = 1;
        self.done.batches = self.history.told;
        self.done.tables = tables(&self.folder.join("state"));
        Ok(())
    }

    /// Waits for the moment, lets the files grow meanwhile, and kills; false if the run ended before.
    fn disturb(
        &mut self,
        member: &mut Member,
        follow: bool,
        (lines, latest, spare): (u64, Duration, Duration),
        rng: &mut ChaCha8Rng,
    ) -> Result<bool> {
        let since = Instant::now();
        let mut seen = 0;
        while since.elapsed() < latest {
            if member.run.ended()?.is_some() {
                return Ok(false);
            }
            if follow && rng.random_range(0..3) == 0 {
                self.grow(1.0 / (self.variant.kills * 60) as f64, rng)?;
            }
            let size = fs::metadata(&member.run.stats).map_or(0, |stats| stats.len());
            if size != seen {
                seen = size;
                let sealed = member.sealed()?.iter().map(|batch| batch.records);
                if sealed.sum::<u64>() >= lines {
                    break;
                }
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(spare);
        if member.run.ended()?.is_some() {
            return Ok(false);
        }
        was_killed(member.run.kill()?)
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

    /// What differs from run to run: sizes, threads, batches in flight, and how to die.
    fn arguments(&self, strike: &Strike, follow: bool, rng: &mut ChaCha8Rng) -> Vec<String> {
        let batch_lines =
            self.variant.batch_lines[rng.random_range(0..self.variant.batch_lines.len())];
        let (executors, max_pending) = (rng.random_range(1..=4), rng.random_range(1..=8));
        let mut line = format!(
            "{} --batch-lines {batch_lines} --executors {executors} --max-pending {max_pending} --batch-time 20 {}",
            self.variant.fixed,
            strike.options()
        );
        if follow {
            line.push_str(" --follow");
        }
        if self.variant.mortal {
            line.push_str(&format!(" --sink {SINK}"));
        }
        if let Some(servers) = &self.variant.zookeeper {
            line.push_str(&format!(
                " --zookeeper {servers} --session-timeout {SESSION_MS}"
            ));
        }
        let texts = self.variant.texts.iter().map(|(name, _)| name.clone());
        line.split_whitespace()
            .map(String::from)
            .chain(texts)
            .collect()
    }
}

/// Whether it was a kill that ended the process; any other signal is a fault of it.
fn was_killed(status: ExitStatus) -> Result<bool> {
    match status.signal() {
        None => Ok(false),
        Some(SIGKILL) => Ok(true),
        Some(_) => bail!("wordcount ended with {status}"),
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
