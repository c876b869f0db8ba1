//! Prints how long it takes until another WordCount has taken over from one that was killed, or that was asked to end.
//!
//! `cargo run --release -p fulmar-property-tests --bin takeover -- [--rounds N] [--session-timeout MS]`: 20 rounds and 2000 ms unless
//! told. It starts a ZooKeeper server of its own; the program is FULMAR_WORDCOUNT, or built. Times are from the signal that kills, and
//! from the end of the process that was asked; they end when the other says that it leads, when it says from where it counts, and with
//! its first batch in the statistics. Fails if one is beyond its bound.
#![allow(clippy::disallowed_methods, reason = "it measures real processes")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fulmar_coordinator::zookeeper::testing::Server;
use fulmar_property_tests::cluster::Cluster;
use fulmar_property_tests::{program, seed};

/// What a clean stop may take.
const CLEAN: Duration = Duration::from_millis(500);
/// What a kill may take beyond the session timeout.
const BEYOND: Duration = Duration::from_secs(1);

/// How the leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Asked,
}

/// One take-over.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    leads: Duration,
    counts: Duration,
    seals: Duration,
}

fn main() -> Result<()> {
    let (rounds, session) = arguments()?;
    let (program, server) = (
        program::wordcount()?,
        Server::builder().tick(Duration::from_millis(100)).start()?,
    );
    println!(
        "{}; {rounds} rounds of each kind, a session timeout of {} ms, two processes",
        program.display(),
        session.as_millis()
    );
    let options = format!(
        "--session-timeout {} --batch-lines 20 --batch-time 20 --executors 1",
        session.as_millis()
    );
    let mut cluster = Cluster::new(&program, &server.address(), &options)?;
    cluster.feed(seed(), 2_000);
    cluster.start()?;
    let mut within = true;
    for (end, bound) in [(End::Killed, session + BEYOND), (End::Asked, CLEAN)] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(take_over(&mut cluster, end)?);
        }
        within &= print(end, bound, &times);
    }
    let figures = cluster.finish()?;
    println!("{figures:?}; all counts exact");
    ensure!(within, "a take-over took longer than it may");
    Ok(())
}

fn arguments() -> Result<(usize, Duration)> {
    let (mut rounds, mut session) = (20, 2_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{option} needs a value"))
        };
        match option.as_str() {
            "--rounds" => rounds = value()?.parse().context("--rounds")?,
            "--session-timeout" => session = value()?.parse().context("--session-timeout")?,
            _ => bail!("{option} is not understood: [--rounds N] [--session-timeout MS]"),
        }
    }
    ensure!(rounds > 0, "--rounds must be at least 1");
    Ok((rounds, Duration::from_millis(session)))
}

/// Ends the leader and waits for the other.
fn take_over(cluster: &mut Cluster, end: End) -> Result<Times> {
    let (leader, epoch) = cluster.wait_for_leader()?;
    let other = cluster.start()?;
    cluster.wait_for_standby(other)?;
    cluster.wait_for_batches(leader, 5)?;
    let began = match end {
        End::Killed => {
            let began = Instant::now();
            cluster.kill(leader)?;
            began
        }
        End::Asked => {
            cluster.member(leader).dismiss();
            cluster.member(leader).run().signal("TERM")?;
            cluster.member(leader).run().succeed()?;
            Instant::now()
        }
    };
    let mut times = Times::default();
    let note = |time: &mut Duration, holds: bool| {
        if holds && time.is_zero() {
            *time = began.elapsed();
        }
    };
    cluster.wait("the other has sealed a batch", |cluster| {
        let member = cluster.member(other);
        let leads = member.epoch().filter(|new| *new > epoch);
        let counts = leads.and_then(|new| member.from(new)).is_some();
        let seals = member.told() > 0;
        note(&mut times.leads, leads.is_some());
        note(&mut times.counts, counts);
        note(&mut times.seals, seals);
        seals && counts
    })?;
    Ok(times)
}

/// Prints the times, and answers whether all are within the bound.
fn print(end: End, bound: Duration, times: &[Times]) -> bool {
    let what = match end {
        End::Killed => "kill -9 of the leader",
        End::Asked => "a clean end of the leader (SIGTERM)",
    };
    println!();
    println!("after {what}; bound {:.3} s", bound.as_secs_f64());
    println!(
        "  {:<26} {:>9} {:>9} {:>9}",
        "", "min s", "median s", "max s"
    );
    let mut within = true;
    let column = |of: fn(&Times) -> Duration| {
        let mut sorted: Vec<Duration> = times.iter().map(of).collect();
        sorted.sort();
        sorted
    };
    for (name, sorted) in [
        ("the other leads", column(|times| times.leads)),
        ("it counts", column(|times| times.counts)),
        ("its first batch is sealed", column(|times| times.seals)),
    ] {
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let median = sorted[sorted.len() / 2];
        within &= most <= bound;
        println!(
            "  {name:<26} {:>9.3} {:>9.3} {:>9.3}{}",
            least.as_secs_f64(),
            median.as_secs_f64(),
            most.as_secs_f64(),
            if most <= bound {
                ""
            } else {
                "  beyond the bound"
            }
        );
    }
    within
}
