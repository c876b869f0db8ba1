//! One world.

use std::fs;
use std::path::Path;

use fulmar::testing::{Plan, World};

/// The plan that a file holds.
pub(super) fn from_file(file: &Path) -> Result<Plan, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("reading {}: {error}", file.display()))?;
    text.parse()
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Runs a plan and prints what came of it; says whether all rules were kept.
pub(super) fn run(plan: &Plan, trace: bool) -> bool {
    println!("{plan}\n");
    let report = match trace {
        true => World::trace(plan, |step| println!("{step}")),
        false => World::run(plan),
    };
    println!("{}", report.figures);
    println!("digest {:016x}", report.digest);
    match &report.violation {
        None => println!("no rule was broken"),
        Some(violation) => println!("step {}: {}", violation.step, violation.what),
    }
    report.violation.is_none()
}
