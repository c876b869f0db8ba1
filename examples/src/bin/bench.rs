//! `./fulmar bench`: Fulmar beside hand-written loops on the same data, and the generator of that data.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use fulmar::coordinator::zookeeper::ZooKeeperConfig;
use fulmar_examples::bench::{Input, Recipe, Suite, Workload, contenders, generate, serve};

/// Counts the same words by Fulmar and by hand-written loops, checks that the counts agree, and prints the speeds.
#[derive(Parser)]
#[command(name = "fulmar bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// A tenth of the data, one round
    #[arg(long)]
    quick: bool,
    /// How often each contender runs; the median counts [default: 3, with --quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Only this workload: zipf or uniform
    #[arg(long)]
    workload: Option<String>,
    /// Only this contender (may be repeated), beside the one that only counts
    #[arg(long = "contender")]
    contenders: Vec<String>,
    /// Where generated data are kept and stores are made [default: bench/ in the cache folder]
    #[arg(long)]
    folder: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct Settings {
    /// Lines in a batch
    #[arg(long, default_value_t = 10_000)]
    batch_lines: usize,
    /// Threads, for contenders that use more than one
    #[arg(long, default_value_t = 2)]
    executors: usize,
    /// Bytes of state kept in memory, for contenders that have such a bound
    #[arg(long, default_value_t = 512 << 20)]
    memory: u64,
    /// Also run Fulmar with its ledger in ZooKeeper, at one or more HOST:PORT with commas between, and perhaps a /CHROOT at the end; without a value at the server that
    /// `./fulmar zookeeper start` starts. Each run leaves a ledger of its own there
    #[arg(long, value_name = "SERVERS", num_args = 0..=1, default_missing_value = "127.0.0.1:2181/fulmar-bench",
          value_parser = ZooKeeperConfig::parse)]
    zookeeper: Option<ZooKeeperConfig>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a text and ends
    Generate(Generate),
    /// Runs one contender once and prints one JSON line (how the bench starts its own children)
    #[command(hide = true)]
    RunOne {
        contender: String,
        file: PathBuf,
        dir: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args)]
struct Generate {
    /// How many lines
    #[arg(long, default_value_t = 4_000_000)]
    lines: u64,
    /// Words a line: N or LEAST..MOST, both included
    #[arg(long, default_value = "5..15")]
    words: String,
    /// How many distinct words there are
    #[arg(long, default_value_t = 100_000)]
    distinct: u64,
    /// Zipf's exponent; 0 draws uniformly
    #[arg(long, default_value_t = 1.0)]
    zipf: f64,
    /// Another seed, another text
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write
    file: PathBuf,
}

impl Settings {
    fn input(self, file: PathBuf) -> Input {
        let Self {
            batch_lines,
            executors,
            memory,
            zookeeper,
        } = self;
        Input {
            file,
            batch_lines,
            executors,
            memory,
            zookeeper,
        }
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => suite(cli),
        Some(Command::RunOne {
            contender,
            file,
            dir,
            settings,
        }) => serve(&contender, &settings.input(file), &dir),
        Some(Command::Generate(wanted)) => {
            let (least, most) = wanted
                .words
                .split_once("..")
                .unwrap_or((&wanted.words, &wanted.words));
            let number = |text: &str| {
                text.parse()
                    .with_context(|| format!("--words: {text:?} is not a number"))
            };
            let Generate {
                lines,
                distinct,
                zipf,
                seed,
                ..
            } = wanted;
            let words = number(least)?..=number(most)?;
            generate(
                &Recipe {
                    lines,
                    words,
                    distinct,
                    zipf,
                    seed,
                },
                &wanted.file,
            )
        }
    }
}

fn suite(cli: Cli) -> Result<()> {
    ensure!(
        cli.settings.batch_lines > 0,
        "--batch-lines must be at least 1"
    );
    let rounds = cli.rounds.unwrap_or(if cli.quick { 1 } else { 3 });
    ensure!(rounds > 0, "--rounds must be at least 1");
    let wants = |name: &str| cli.contenders.iter().any(|wanted| wanted == name);
    for contender in contenders().iter().filter(|one| one.needs_zookeeper()) {
        ensure!(
            !wants(contender.name()) || cli.settings.zookeeper.is_some(),
            "{} needs --zookeeper",
            contender.name()
        );
    }
    let suite = Suite {
        folder: cli.folder.map_or_else(default_folder, Ok)?,
        rounds,
        only: cli.contenders,
        input: cli.settings.input(PathBuf::new()),
    };
    let workloads = Workload::all(cli.quick);
    if let Some(name) = &cli.workload {
        ensure!(
            workloads.iter().any(|workload| workload.name == name),
            "--workload: {name:?} is not zipf or uniform"
        );
    }
    for workload in workloads {
        if cli
            .workload
            .as_deref()
            .is_none_or(|name| name == workload.name)
        {
            suite.run(&workload)?;
        }
    }
    Ok(())
}

fn default_folder() -> Result<PathBuf> {
    let cache = std::env::var_os("FULMAR_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            Some(
                base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?
                    .join("fulmar"),
            )
        });
    Ok(cache
        .context("neither FULMAR_CACHE nor HOME is set: give --folder")?
        .join("bench"))
}
