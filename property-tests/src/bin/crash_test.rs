//! `./fulmar crash-test`: kills real WordCounts, at drawn moments and at every named point, until it is enough, and compares what each
//! state directory has come to with a plain recount.
#![allow(clippy::disallowed_methods, reason = "it runs real processes")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use fulmar_property_tests::campaign::board::{Board, Figures, Quota};
use fulmar_property_tests::campaign::call;
use fulmar_property_tests::campaign::lanes::{Campaign, Ledgers};
use fulmar_property_tests::campaign::life::{Programs, Spouts};
use fulmar_property_tests::{program, seed};

const EXIT_CODES: &str = "\
Exit codes:
  0    every count was exact, nothing sealed was lost, and, with --points, each named point was hit
  1    something did not hold: told with the seed, and with the folder that is kept
  2    wrong usage
  130  ended by Ctrl-C; what was found until then held";

/// Kills real WordCounts (SIGKILL), at drawn moments and at named points, and starts them again on what they left, until all is
/// counted; every state directory's counts, and what its sink took, are compared with a plain recount.
#[derive(Debug, Parser)]
#[command(name = "crash-test", after_help = EXIT_CODES, max_term_width = 120)]
struct Options {
    /// So many kills
    #[arg(long, default_value_t = 1_000)]
    kills: u64,
    /// At most so long, however many kills that are
    #[arg(long)]
    minutes: Option<f64>,
    /// Where ledgers are
    #[arg(long, value_enum, default_value_t = Ledger::Both)]
    ledger: Ledger,
    /// How texts are read
    #[arg(long, value_enum, default_value_t = Spout::Both)]
    spout: Spout,
    /// Hit each named point and system call once at least, and show how often each was
    #[arg(long)]
    points: bool,
    /// What texts, moments and points are drawn from [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ledger {
    Embedded,
    Zookeeper,
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spout {
    Transactional,
    Opaque,
    Both,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(130),
        Err(error) => {
            eprintln!("crash-test: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether it came to its end, rather than to the user's.
fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let minutes = options.minutes.map(|minutes| minutes * 60.0);
    let until = minutes.map(Duration::try_from_secs_f64);
    let until = until.transpose().context("--minutes")?;
    let campaign = Campaign {
        programs: Programs {
            real: program::wordcount()?,
            mortal: beside()?,
        },
        seed: options.seed.unwrap_or_else(seed),
        quota: Quota {
            kills: options.kills,
            until: until.map(|until| began + until),
        },
        ledgers: match options.ledger {
            Ledger::Embedded => Ledgers::Embedded,
            Ledger::Zookeeper => Ledgers::ZooKeeper,
            Ledger::Both => Ledgers::Both,
        },
        spouts: match options.spout {
            Spout::Transactional => Spouts::Transactional,
            Spout::Opaque => Spouts::Opaque,
            Spout::Both => Spouts::Both,
        },
        points: options.points,
    };
    println!(
        "crash-test: {} kills, seed {}",
        options.kills, campaign.seed
    );
    if options.points && !call::is_possible() {
        println!(
            "no program can be killed at its system calls here: install strace; those are left out"
        );
    }
    let board = Board::new(campaign.quota, campaign.aims());
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, board.stop())?;
    }
    let figures = campaign
        .run(&board, progress)
        .with_context(|| format!("with --seed {}", campaign.seed))?;
    let seconds = began.elapsed().as_secs_f64();
    let rate = figures.kills as f64 / seconds;
    println!("\n{figures}\n{seconds:.1} s, {rate:.1} kills a second");
    if board.is_stopped() {
        println!("ended early; all that came to its end was exact");
        return Ok(false);
    }
    let missed = figures.missed();
    ensure!(
        missed.is_empty() || until.is_some_and(|until| began.elapsed() >= until),
        "never hit: {}",
        missed.join(", ")
    );
    println!("all counts exact");
    Ok(true)
}

/// The mortal program, which is built with this one.
fn beside() -> Result<PathBuf> {
    let mortal = std::env::current_exe()?.with_file_name("mortal_wordcount");
    ensure!(
        mortal.is_file(),
        "{} is missing: build it with this program (./fulmar crash-test does)",
        mortal.display()
    );
    Ok(mortal)
}

fn progress(figures: &Figures, took: Duration) {
    let seconds = took.as_secs_f64();
    let hit = figures.aims.values().filter(|shots| shots.hit > 0).count();
    let points = match figures.aims.len() {
        0 => String::new(),
        all => format!(", {hit} of {all} points hit"),
    };
    println!(
        "{seconds:6.1} s: {} kills ({:.1}/s) in {} starts, {} directories done{points}",
        figures.kills,
        figures.kills as f64 / seconds,
        figures.runs,
        figures.states
    );
}
