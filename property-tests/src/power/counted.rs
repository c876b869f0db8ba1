//! The topology that loses its power: two states and a file, on a real directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fulmar::aggregate::{Count, ReducerAggregator};
use fulmar::sink::FileSink;
use fulmar::spout::Collection;
use fulmar::state::Durability;
use fulmar::{Config, Plan, Running, StateHandle, Topology};

/// Records of one partition; there are three.
pub const THIRD: u64 = 80;
const LEFT_KEYS: u64 = 11;
const PADS: u64 = 4;
/// So long that some batches fill the log's buffers, and fold.
const PAD: usize = 70_000;

/// What a run says that neither comes to its end nor says why.
pub const HANGS: &str = "the run hangs";
/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Records by their remainder.
    pub counts: BTreeMap<u64, u64>,
    /// Number, sum and length of padding, by remainder.
    pub pads: BTreeMap<u64, (u64, u64, usize)>,
    /// The file's lines, sorted.
    pub lines: Vec<String>,
}

/// Number and sum, with a padding that makes log entries long.
struct Padded;

impl ReducerAggregator<u64> for Padded {
    type Value = (u64, u64, String);

    fn reduce(&self, value: Option<Self::Value>, id: &u64) -> Self::Value {
        let (count, sum, _) = value.unwrap_or_default();
        let letter = char::from(b'a' + (sum % 26) as u8).to_string();
        (count + 1, sum + id, letter.repeat(PAD))
    }
}

/// Where state and ledger are, several folders deep: all of them are made by the run.
#[must_use]
pub fn state(root: &Path) -> PathBuf {
    root.join("deep/er/state")
}

fn file(root: &Path) -> PathBuf {
    root.join("lines")
}

/// All records.
#[must_use]
pub fn input() -> Vec<u64> {
    (0..3 * THIRD).collect()
}

/// What every run must come to in the end: a plain recount.
#[must_use]
pub fn expected() -> Outcome {
    let mut all = Outcome {
        counts: BTreeMap::new(),
        pads: BTreeMap::new(),
        lines: sorted(input().iter().map(u64::to_string)),
    };
    for id in input() {
        *all.counts.entry(id % LEFT_KEYS).or_default() += 1;
        let pad = all.pads.entry(id % PADS).or_insert((0, 0, PAD));
        (pad.0, pad.1) = (pad.0 + 1, pad.1 + id);
    }
    all
}

pub(super) type Handles = (StateHandle<u64, u64>, StateHandle<u64, (u64, u64, String)>);

pub(super) fn build(root: &Path, third: u64) -> Result<(Plan, Handles)> {
    let topology = Topology::new("powerless");
    let partition = |at: u64| (at * THIRD..at * THIRD + third).collect::<Vec<u64>>();
    let left = Collection::partitioned([partition(0), partition(1)]);
    let right = Collection::of(partition(2)).opaque();
    let all = topology
        .spout("left", left)
        .merge(&topology.spout("right", right));
    let line = |id: &u64, out: &mut Vec<u8>| out.extend_from_slice(format!("{id}\n").as_bytes());
    all.sink("lines", FileSink::new(file(root), line));
    let counts = all
        .group_by(|id| id % LEFT_KEYS)
        .persistent_aggregate("counts", Count);
    let pads = all
        .group_by(|id| id % PADS)
        .persistent_aggregate("pads", Padded);
    Ok((topology.build()?, (counts, pads)))
}

/// Runs on what is in the folder, to the end of the first `third` records of each partition. Answers the batch it went on from, and
/// what it came to; tells each batch that is sealed.
///
/// # Errors
///
/// The engine's; a state that cannot be gone on with above all. And [`HANGS`].
pub async fn run(
    root: &Path,
    third: u64,
    durability: Durability,
    tell: fn(u64),
) -> Result<(u64, Outcome)> {
    let (plan, handles) = build(root, third)?;
    let config = settings(Config::at(state(root)), tell).durability(durability);
    to_the_end(plan.start(config).await?, handles, root).await
}

/// Small batches, and folds as often as can be; tells each batch that is sealed.
pub(super) fn settings(config: Config, tell: fn(u64)) -> Config {
    config
        .executors(2)
        .batch_records(8)
        .max_pending(2)
        .memory(16 << 20)
        .on_batch(move |batch| tell(batch.attempt.txid.0))
}

/// Answers the batch that the run went on from, and what it came to.
pub(super) async fn to_the_end(
    running: Running,
    (counts, pads): Handles,
    root: &Path,
) -> Result<(u64, Outcome)> {
    let from = running.resumed().txid.0;
    let drained = tokio::time::timeout(PATIENCE, running.drained()).await;
    drained.with_context(|| format!("{HANGS} in batch {}", running.progress().sealed.next()))??;
    let outcome = Outcome {
        counts: running
            .read(&counts)
            .await?
            .scan()
            .collect::<Result<_, _>>()?,
        pads: running
            .read(&pads)
            .await?
            .scan()
            .map(|pad| pad.map(|(key, (count, sum, text))| (key, (count, sum, text.len()))))
            .collect::<Result<_, _>>()?,
        lines: Vec::new(),
    };
    running.stop().await?;
    let text = fs::read_to_string(file(root)).unwrap_or_default();
    let lines = sorted(text.lines().map(str::to_owned));
    Ok((from, Outcome { lines, ..outcome }))
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    lines
}
