//! Fulmar's WordCount, through its public API, as a user writes it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fulmar::aggregate::Count;
use fulmar::spout::TextFiles;
use fulmar::{Config, Line, StateHandle, Topology, Word, ZooKeeper};

use super::contender::{Contender, Counts, Input, Measured, peak_kib};

/// The contender whose ledger is a file.
pub(super) const EMBEDDED: &str = "fulmar";
/// The contender whose ledger is in ZooKeeper.
pub(super) const WITH_ZOOKEEPER: &str = "fulmar-zookeeper";

/// The topology of `./fulmar wordcount`, on a new state directory.
pub(super) struct Fulmar {
    /// Whether the ledger is in ZooKeeper.
    zookeeper: bool,
}

impl Fulmar {
    pub(super) const EMBEDDED: Fulmar = Fulmar { zookeeper: false };
    pub(super) const ZOOKEEPER: Fulmar = Fulmar { zookeeper: true };
}

impl Contender for Fulmar {
    fn name(&self) -> &'static str {
        if self.zookeeper {
            WITH_ZOOKEEPER
        } else {
            EMBEDDED
        }
    }

    fn what(&self) -> &'static str {
        if self.zookeeper {
            "the same with its ledger in ZooKeeper; timed from before it connects"
        } else {
            "the WordCount topology, exactly-once, fsync; timed from before it opens its state to the last seal"
        }
    }

    fn needs_zookeeper(&self) -> bool {
        self.zookeeper
    }

    fn run(&self, input: &Input, dir: &Path) -> Result<Measured> {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?
            .block_on(run(input, dir, self.zookeeper))
    }
}

async fn run(input: &Input, dir: &Path, in_zookeeper: bool) -> Result<Measured> {
    let servers = match &input.zookeeper {
        Some(servers) if in_zookeeper => Some(servers.clone().with_env()?),
        None if in_zookeeper => bail!("{WITH_ZOOKEEPER} needs --zookeeper"),
        _ => None,
    };
    // The folder's name is new, and so is the ledger that is kept under it.
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    let topology = Topology::new(format!("wordcount-{folder}"));
    let counts: StateHandle<Word, u64> = topology
        .spout("lines", TextFiles::new([&input.file])?)
        .each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
        .group_by(|word: &Word| word.clone())
        .persistent_aggregate("counts", Count);
    let plan = topology.build()?;
    let mut config = Config::at(dir.join("state"))
        .batch_records(input.batch_lines as u64)
        .executors(u16::try_from(input.executors).context("too many executors")?)
        .memory(usize::try_from(input.memory).context("too much memory")?);

    let started = Instant::now();
    if let Some(servers) = servers {
        config = config.zookeeper(&ZooKeeper::connect(servers).await?);
    }
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
