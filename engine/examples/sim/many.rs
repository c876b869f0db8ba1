//! Many worlds, on all processors.

use std::io::{IsTerminal as _, Write as _};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use fulmar::testing::{Bug, Figures, Plan, Violation, World, shrink};

/// So many seeds are taken at once.
const SHARE: u64 = 32;
/// So many broken rules are told in words.
const SHOWN: usize = 10;
/// In so many worlds every kind of fault has to meet every phase in which it can strike.
const MANY: u64 = 200_000;
/// So many plans are tried when one is made smaller.
const TRIES: u32 = 3_000;

/// What to run.
pub(super) struct Campaign {
    pub(super) seeds: Range<u64>,
    pub(super) minutes: Option<f64>,
    pub(super) threads: usize,
    pub(super) bug: Option<Bug>,
    pub(super) keep_going: bool,
    pub(super) shrinks: bool,
}

/// What came of it so far.
#[derive(Default)]
struct Tally {
    figures: Figures,
    digest: u64,
    broken: Vec<(u64, Violation)>,
}

struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Campaign {
    fn plan(&self, seed: u64) -> Plan {
        let plan = Plan::of(seed);
        match self.bug {
            Some(bug) => plan.with_bug(bug),
            None => plan,
        }
    }

    /// One thread's work.
    fn work(&self, shared: &Shared) {
        while !shared.stop.load(Relaxed) {
            let first = shared.next.fetch_add(SHARE, Relaxed);
            let mut own = Tally::default();
            for seed in first..first.saturating_add(SHARE).min(self.seeds.end) {
                let report = World::run(&self.plan(seed));
                own.figures.add(&report.figures);
                own.digest = own.digest.wrapping_add(report.digest);
                own.broken
                    .extend(report.violation.map(|violation| (seed, violation)));
                shared.done.fetch_add(1, Relaxed);
            }
            if first >= self.seeds.end || !own.broken.is_empty() && !self.keep_going {
                shared.stop.store(true, Relaxed);
            }
            let mut tally = shared.tally();
            tally.figures.add(&own.figures);
            tally.digest = tally.digest.wrapping_add(own.digest);
            tally.broken.extend(own.broken);
        }
    }

    /// Tells how far it is until everything is done.
    fn watch(&self, shared: &Shared, since: Instant) {
        let tty = std::io::stderr().is_terminal();
        let every = Duration::from_secs(if tty { 1 } else { 10 });
        let end = self
            .minutes
            .map(|minutes| Duration::from_secs_f64(minutes * 60.0));
        let mut told = since;
        while !shared.stop.load(Relaxed) {
            thread::park_timeout(Duration::from_millis(50));
            if end.is_some_and(|end| since.elapsed() >= end) {
                shared.stop.store(true, Relaxed);
            }
            if told.elapsed() < every {
                continue;
            }
            told = Instant::now();
            let done = shared.done.load(Relaxed);
            let rate = done as f64 / since.elapsed().as_secs_f64();
            let broken = shared.tally().broken.len();
            let line = format!("{done} worlds, {rate:.0} a second, {broken} broken");
            if tty {
                eprint!("\r{line}   ");
                drop(std::io::stderr().flush());
            } else {
                eprintln!("{line}");
            }
        }
        if tty {
            eprint!("\r{:60}\r", "");
        }
    }
}

/// Runs the worlds and prints what came of them; says whether all rules were kept.
pub(super) fn run(campaign: &Campaign) -> Result<bool, String> {
    if campaign
        .minutes
        .is_some_and(|minutes| !(0.0..1e6).contains(&minutes))
    {
        return Err("--minutes is a number from 0 to a million".into());
    }
    let shared = Shared {
        next: AtomicU64::new(campaign.seeds.start),
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        tally: Mutex::default(),
    };
    let since = Instant::now();
    thread::scope(|scope| {
        for _ in 0..campaign.threads {
            scope.spawn(|| campaign.work(&shared));
        }
        campaign.watch(&shared, since);
    });
    let seconds = since.elapsed().as_secs_f64();
    let Tally {
        figures,
        digest,
        mut broken,
    } = std::mem::take(&mut *shared.tally());
    println!("{figures}");
    println!(
        "{seconds:.1} s, {:.0} worlds a second on {} threads, digest {digest:016x}",
        figures.worlds as f64 / seconds,
        campaign.threads
    );
    let missing = figures.missing();
    if !missing.is_empty() {
        println!("never met: {missing:?}");
    }
    println!("{} rules broken", broken.len());
    broken.sort_by_key(|(seed, _)| *seed);
    for (seed, violation) in broken.iter().take(SHOWN) {
        println!("seed {seed}, step {}: {}", violation.step, violation.what);
    }
    if let Some((seed, _)) = broken.first() {
        explain(campaign, *seed);
    }
    let blind = figures.worlds >= MANY && !missing.is_empty() && campaign.bug.is_none();
    Ok(broken.is_empty() && !blind)
}

/// Makes the plan of a broken world smaller, and says how to see it again.
fn explain(campaign: &Campaign, seed: u64) {
    let bug = campaign
        .bug
        .map_or_else(String::new, |bug| format!(" --bug {bug:?}"));
    println!("\nsee it again: ./fulmar sim --seed {seed} --trace{bug}");
    if !campaign.shrinks {
        return;
    }
    let breaks = |plan: &Plan| World::run(plan).violation.is_some();
    let small = shrink(&campaign.plan(seed), breaks, TRIES);
    let file = format!("sim-{seed}.plan");
    println!("\n{small}\n{:?}", World::run(&small).violation);
    match fs::write(&file, small.to_string()) {
        Ok(()) => println!("\nthis smaller world breaks, too: ./fulmar sim --plan {file} --trace"),
        Err(error) => println!("\nthis smaller world breaks, too; writing it to {file}: {error}"),
    }
}
