//! `./fulmar sim`: runs seeded worlds of the whole engine, many of them, or one step by step.

#[allow(
    clippy::disallowed_methods,
    reason = "it tells how many worlds a second are run"
)]
mod many;
mod one;

use std::num::NonZero;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Parser;
use fulmar::testing::{Bug, Plan};

/// Worlds make and drop many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs seeded worlds: the engine's own cores under simulated time, network, disks and ledger, with crashes and every other fault, each
/// world's outcome compared with a direct recount. Exits with 1 if a rule was broken, and says how to see it again.
#[derive(Parser)]
#[command(name = "fulmar sim")]
struct Cli {
    /// The seeds to run: all from A, below B [default: 0..100000; with --minutes, from 0 on]
    #[arg(long, value_name = "A..B", conflicts_with_all = ["seed", "plan"])]
    seeds: Option<Seeds>,
    /// One seed: its plan and its figures are printed
    #[arg(long, value_name = "S", conflicts_with = "plan")]
    seed: Option<u64>,
    /// One plan, from a file as `--seed` prints it, perhaps edited
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Every step of the one world is told
    #[arg(long)]
    trace: bool,
    /// After so many minutes no further world is begun
    #[arg(long, value_name = "M", conflicts_with_all = ["seed", "plan"])]
    minutes: Option<f64>,
    /// Worlds run at the same time [default: the processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// A rule that the worlds break on purpose, to see that it is found
    #[arg(long, value_name = "NAME", value_parser = bug)]
    bug: Option<Bug>,
    /// Goes on after a broken rule, and counts them
    #[arg(long)]
    keep_going: bool,
    /// A broken world is not made smaller
    #[arg(long)]
    no_shrink: bool,
}

/// Seeds from A, below B.
#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once("..")
            .and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
        match numbers {
            Some(seeds) if !Range::is_empty(&seeds) => Ok(Seeds(seeds)),
            Some(_) => Err("there is no seed from A below B".into()),
            None => Err("seeds are two numbers, as 0..1000".into()),
        }
    }
}

fn bug(name: &str) -> Result<Bug, String> {
    let mut known = Bug::ALL.into_iter();
    let named = known.find(|bug| format!("{bug:?}") == name);
    named.ok_or_else(|| format!("the bugs are {:?}", Bug::ALL))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let broken = |plan: Plan| cli.bug.map_or(plan.clone(), |bug| plan.with_bug(bug));
    let outcome = match (&cli.plan, cli.seed) {
        (Some(file), _) => one::from_file(file).map(|plan| one::run(&broken(plan), cli.trace)),
        (None, Some(seed)) => Ok(one::run(&broken(Plan::of(seed)), cli.trace)),
        (None, None) if cli.trace => {
            Err("--trace tells of one world: give --seed or --plan".into())
        }
        (None, None) => many::run(&cli.campaign()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fulmar sim: {error}");
            ExitCode::from(64)
        }
    }
}

impl Cli {
    fn campaign(&self) -> many::Campaign {
        let seeds = match (&self.seeds, self.minutes) {
            (Some(Seeds(seeds)), _) => seeds.clone(),
            (None, Some(_)) => 0..u64::MAX,
            (None, None) => 0..100_000,
        };
        let processors = || std::thread::available_parallelism().map_or(1, NonZero::get);
        many::Campaign {
            seeds,
            minutes: self.minutes,
            threads: self.threads.map_or_else(processors, NonZero::get),
            bug: self.bug,
            keep_going: self.keep_going,
            shrinks: !self.no_shrink,
        }
    }
}
