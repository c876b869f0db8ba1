//! Runs seeded worlds: `worlds A..B` for many seeds, `worlds SEED` for one, told step by step; `bug=NAME` breaks a rule on purpose.

use std::time::Instant;

use fulmar::testing::{Bug, Figures, Plan, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(
    clippy::disallowed_methods,
    reason = "the figures tell how many worlds a second are run"
)]
fn main() {
    let mut bug = None;
    let mut seeds = None;
    for argument in std::env::args().skip(1) {
        if let Some(name) = argument.strip_prefix("bug=") {
            let mut bugs = Bug::ALL.into_iter();
            bug = bugs.find(|bug| format!("{bug:?}") == name);
        } else {
            seeds = Some(argument);
        }
    }
    let seeds = seeds.unwrap_or_else(|| "0..1000".into());
    let plan = |seed| {
        let plan = Plan::of(seed);
        bug.map_or(plan.clone(), |bug| plan.with_bug(bug))
    };
    let Some((from, to)) = seeds.split_once("..") else {
        let plan = plan(seeds.parse().expect("a seed, or A..B"));
        println!("{plan}");
        let report = World::trace(&plan, |step| println!("{step}"));
        println!("{}\n{:?}", report.figures, report.violation);
        return;
    };
    let numbers = "A..B, two numbers";
    let (from, to): (u64, u64) = (from.parse().expect(numbers), to.parse().expect(numbers));
    let (mut figures, mut broken) = (Figures::default(), 0);
    let since = Instant::now();
    for seed in from..to {
        let report = World::run(&plan(seed));
        figures.add(&report.figures);
        if let Some(violation) = report.violation {
            broken += 1;
            println!("seed {seed}, step {}: {}", violation.step, violation.what);
        }
    }
    println!("{figures}");
    let seconds = since.elapsed().as_secs_f64();
    println!(
        "{broken} broken, {:.0} worlds a second",
        (to - from) as f64 / seconds
    );
    std::process::exit(i32::from(broken > 0));
}
