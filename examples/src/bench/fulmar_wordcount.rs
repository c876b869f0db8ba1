//! Fulmar's WordCount, through its public API, as a user writes it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use fulmar::aggregate::Count;
use fulmar::spout::TextFiles;
use fulmar::{Config, Line, StateHandle, Topology, Word};

use super::contender::{Contender, Counts, Input, Measured, peak_kib};

/// The topology of `./fulmar wordcount`, on a new state directory.
pub(super) struct Fulmar;

impl Contender for Fulmar {
    fn name(&self) -> &'static str {
        "fulmar"
    }

    fn what(&self) -> &'static str {
        "the WordCount topology, exactly-once, fsync; timed from before it opens its state to the last seal"
    }

    fn run(&self, input: &Input, dir: &Path) -> Result<Measured> {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?
            .block_on(run(input, dir))
    }
}

async fn run(input: &Input, dir: &Path) -> Result<Measured> {
    let topology = Topology::new("wordcount");
    let counts: StateHandle<Word, u64> = topology
        .spout("lines", TextFiles::new([&input.file])?)
        .each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    let plan = topology.build()?;
    let config = Config::at(dir.join("state"))
        .batch_records(input.batch_lines as u64)
        .executors(u16::try_from(input.executors).context("too many executors")?)
        .memory(usize::try_from(input.memory).context("too much memory")?);

    let started = Instant::now();
    let running = plan.start(config).await?;
    running.drained().await?;
    let seconds = started.elapsed().as_secs_f64();
    let peak_kib = peak_kib();

    let mut found = Counts::default();
    for entry in running.read(&counts).await?.scan() {
        let (word, count) = entry?;
        found.add(word.as_bytes(), count);
    }
    running.stop().await?;
    Ok(Measured {
        counts: found,
        seconds,
        peak_kib,
    })
}
