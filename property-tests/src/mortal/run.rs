//! The mortal program: WordCount's topology and a file sink, told what to do and telling what it does as WordCount is and does.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use fulmar::aggregate::Count;
use fulmar::coordinator::{BatchReport, Error as CoordinatorError, FileLedger, Ledger};
use fulmar::sink::FileSink;
use fulmar::spout::{Spout, TextFiles};
use fulmar::state::RocksOptions;
use fulmar::{Config, Durability, Home, Line, Plan, Running, StateHandle, Topology, Word};
use fulmar_coordinator::zookeeper::{
    Election, Identity, Leadership, Session, TopologyPaths, ZooKeeperConfig, ZooKeeperLedger,
};

use super::fickle::Fickle;
use super::fuse::Fuse;
use super::point::{Death, Place};
use super::seams::{MortalLedger, MortalSink, MortalSpout, MortalStorage, Opening};

/// How long nothing is tried after the servers did not answer.
const AGAIN: Duration = Duration::from_millis(50);
/// The least that the engine would take, so that it folds often.
const LOG_BUFFERS: usize = 8 << 20;

/// WordCount's options, as far as campaigns use them, and how to die.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Text files
    pub files: Vec<PathBuf>,
    /// Where state and ledger live
    #[arg(long)]
    pub state: PathBuf,
    /// Keep the ledger in ZooKeeper
    #[arg(long, value_parser = zookeeper)]
    pub zookeeper: Option<ZooKeeperConfig>,
    /// The name of the topology
    #[arg(long, default_value = "wordcount")]
    pub name: String,
    /// The session timeout in milliseconds
    #[arg(long, default_value_t = 4_000)]
    pub session_timeout: u64,
    /// Write the counts here at the end
    #[arg(long)]
    pub output: PathBuf,
    /// Append each word of each sealed batch to this file
    #[arg(long)]
    pub sink: PathBuf,
    /// Write one JSON line for each sealed batch here
    #[arg(long)]
    pub stats: PathBuf,
    /// Lines of a batch
    #[arg(long, default_value_t = 10_000)]
    pub batch_lines: u64,
    /// A batch ends after so many milliseconds
    #[arg(long, default_value_t = 1_000)]
    pub batch_time: u64,
    /// Batches in flight
    #[arg(long, default_value_t = 4)]
    pub max_pending: u16,
    /// Threads that count
    #[arg(long, default_value_t = 1)]
    pub executors: u16,
    /// How the files are read
    #[arg(long, value_enum, default_value_t = Reading::Transactional)]
    pub spout: Reading,
    /// PLACE:MOMENT@CALL+MICROSECONDS: kill this process there
    #[arg(long)]
    pub die: Option<Death>,
}

/// How the files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reading {
    /// The same again.
    Transactional,
    /// Other batches each time.
    Opaque,
}

fn zookeeper(servers: &str) -> Result<ZooKeeperConfig, String> {
    ZooKeeperConfig::parse(servers).map_err(|error| error.to_string())
}

fn say(what: &str) {
    drop(writeln!(std::io::stderr(), "wordcount: {what}"));
}

fn leads(epoch: u64) {
    say(&format!("leads, epoch {epoch}"));
}

fn quiet(_: u64) {}

/// Counts as told, unless it dies.
///
/// # Errors
///
/// The engine's, and those of files.
pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let fuse = Fuse::new(options.die);
    let stats = Arc::new(Mutex::new(File::create(&options.stats)?));
    loop {
        match runtime.block_on(term(options, &fuse, &stats)) {
            Err(error) if is_passing(&error) => say(&format!("{error:#}; stands by")),
            ended => return ended,
        }
        std::thread::sleep(AGAIN);
    }
}

/// Whether another term may do what this one could not.
fn is_passing(error: &anyhow::Error) -> bool {
    let of_engine = match error.downcast_ref() {
        Some(fulmar::Error::Coordinator(error)) => Some(error),
        _ => None,
    };
    let error = of_engine.or_else(|| error.downcast_ref());
    error.is_some_and(|error| {
        matches!(
            error,
            CoordinatorError::SessionLost { .. }
                | CoordinatorError::Deposed { .. }
                | CoordinatorError::Fenced { .. }
                | CoordinatorError::Unreachable { .. }
                | CoordinatorError::NoServer { .. }
        )
    })
}

/// From the election, where there is one, to the end of the text.
async fn term(options: &Options, fuse: &Fuse, stats: &Arc<Mutex<File>>) -> Result<()> {
    let (ledger, leadership) = ledger(options, fuse).await?;
    let (plan, counts) = build(options, fuse)?;
    let storage = MortalStorage::new(
        Opening {
            dir: options.state.clone(),
            families: plan.states(),
            options: RocksOptions {
                cache_bytes: 4 << 20,
                log_buffer_bytes: LOG_BUFFERS,
                ..RocksOptions::default()
            },
            claims: options.zookeeper.is_some(),
        },
        fuse.clone(),
    );
    let home = Home {
        ledger,
        storage: Arc::new(storage),
    };
    let running = plan.start_on(home, config(options, fuse, stats)).await?;
    let resumed = running.resumed();
    let from = match resumed.txid.0 {
        0 => "begins".to_owned(),
        batch => format!("goes on after batch {batch} and {} lines", resumed.records),
    };
    say(&format!("{from} (state in {})", options.state.display()));
    let lost = async {
        match &leadership {
            Some(leadership) => leadership.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        drained = running.drained() => drained?,
        lost = lost => return Err(lost.into()),
    }
    write_counts(options, &running, &counts).await?;
    running.stop().await?;
    Ok(())
}

async fn ledger(
    options: &Options,
    fuse: &Fuse,
) -> Result<(Box<dyn Ledger>, Option<Arc<Leadership>>)> {
    let Some(servers) = options.zookeeper.clone() else {
        let file = FileLedger::open(&options.state, Durability::Fsync)?;
        return Ok((Box::new(MortalLedger::new(file, fuse.clone(), quiet)), None));
    };
    let timeout = Duration::from_millis(options.session_timeout);
    let session = Session::connect(servers.session_timeout(timeout)).await?;
    let ledger = ZooKeeperLedger::open(&session, &options.name).await?;
    let (queue, who) = (
        TopologyPaths::new(&options.name).leader(),
        Identity::of_this_process("mortal"),
    );
    let elected = async {
        let candidate = Election::join(&session, &queue, &who).await?;
        candidate.elected().await
    };
    let leadership = fuse.around_async(Place::Elect, elected).await?;
    let ledger = MortalLedger::new(ledger, fuse.clone(), leads);
    Ok((Box::new(ledger), Some(Arc::new(leadership))))
}

fn build(options: &Options, fuse: &Fuse) -> Result<(Plan, StateHandle<Word, u64>)> {
    let files = TextFiles::new(&options.files)?;
    match options.spout {
        Reading::Transactional => topology(options, fuse, files),
        Reading::Opaque => topology(
            options,
            fuse,
            Fickle::new(files, u64::from(std::process::id())),
        ),
    }
}

fn topology(
    options: &Options,
    fuse: &Fuse,
    lines: impl Spout<Record = Line>,
) -> Result<(Plan, StateHandle<Word, u64>)> {
    let topology = Topology::new(&options.name);
    let work = fuse.clone();
    let split = move |line: Line, out: &mut fulmar::Emitter<'_, Word>| {
        work.around(Place::Work, || line.words().for_each(|word| out.emit(word)));
    };
    let lines = MortalSpout::new(lines, fuse.clone());
    let words = topology.spout("lines", lines).each(split);
    let line = |word: &Word, out: &mut Vec<u8>| {
        out.extend_from_slice(word.as_bytes());
        out.push(b'\n');
    };
    let file = FileSink::new(&options.sink, line);
    words.sink("words", MortalSink::new(file, fuse.clone()));
    let counts = words
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    Ok((topology.build()?, counts))
}

fn config(options: &Options, fuse: &Fuse, stats: &Arc<Mutex<File>>) -> Config {
    let (fuse, stats) = (fuse.clone(), stats.clone());
    let tell = move |report: &BatchReport| {
        fuse.around(Place::Announce, || {
            let mut stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
            // Should the file fail, the campaign sees that lines are missing.
            drop(stats.write_all(line(report).as_bytes()));
        });
    };
    // The least memory that there is, so that it folds as often as it can.
    Config::in_memory()
        .batch_records(options.batch_lines)
        .batch_time(Duration::from_millis(options.batch_time))
        .max_pending(options.max_pending.into())
        .executors(options.executors)
        .memory(16 << 20)
        .on_batch(tell)
}

fn line(report: &BatchReport) -> String {
    let line = serde_json::json!({
        "txid": report.txid.0,
        "attempt": report.attempt.to_string(),
        "attempts": report.attempts,
        "records": report.records,
        "sealed_together": report.sealed_together,
    });
    format!("{line}\n")
}

async fn write_counts(
    options: &Options,
    running: &Running,
    counts: &StateHandle<Word, u64>,
) -> Result<()> {
    let view = running.read(counts).await?;
    let mut out = Vec::new();
    for record in view.scan() {
        let (word, count) = record?;
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(format!("\t{count}\n").as_bytes());
    }
    let beside = options.output.with_extension("tmp");
    fs::write(&beside, out)?;
    fs::rename(&beside, &options.output).context("the counts cannot be put in their place")
}
