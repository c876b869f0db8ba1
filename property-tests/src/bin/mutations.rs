//! Looks for every deliberate fault of the protocol in seeded worlds, and prints a table of what finds each, and how soon.
//!
//! `cargo run --release -p fulmar-property-tests --bin mutations -- [--seeds N] [--only NAME]… [--markdown] [--folder DIR]`: 10,000 seeds
//! unless told. The sources are copied to a temporary folder and broken there; `--folder` names one that is kept, so that the next run
//! compiles less. Fails if a fault is not found, if a patch does not fit any more, or if a rule is broken without a fault.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fulmar_property_tests::mutations::{Form, Mutation, Rule, SEEDS, SourceCopy, Table, all};

struct Options {
    seeds: u64,
    only: Vec<String>,
    form: Form,
    folder: Option<PathBuf>,
}

fn options() -> Result<Options> {
    let mut options = Options {
        seeds: SEEDS,
        only: Vec::new(),
        form: Form::Text,
        folder: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--seeds" => options.seeds = value()?.parse().context("--seeds needs a number")?,
            "--only" => options.only.push(value()?),
            "--folder" => options.folder = Some(value()?.into()),
            "--markdown" => options.form = Form::Markdown,
            other => bail!("{other}: there are --seeds N, --only NAME, --markdown, --folder DIR"),
        }
    }
    Ok(options)
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    let mut mutations = all()?;
    for name in &options.only {
        let known = mutations.iter().any(|mutation| mutation.name == *name);
        if !known {
            bail!("there is no fault {name:?} in property-tests/mutations, nor in the seams");
        }
    }
    if !options.only.is_empty() {
        mutations.retain(|mutation| options.only.contains(&mutation.name));
    }
    let mut copy = SourceCopy::new(options.folder)?;
    eprintln!("the sources as they are, {} seeds", options.seeds);
    if let Some(found) = copy.first(options.seeds)? {
        bail!(
            "seed {} breaks a rule without a fault: {}",
            found.seed,
            found.what
        );
    }
    let table = Table(options.form);
    println!("{}", table.head());
    let mut missed = Vec::new();
    for mutation in &mutations {
        let found = mutation.look(&mut copy, options.seeds)?;
        println!("{}", table.row(mutation, found.as_ref()));
        if found.is_none() {
            missed.push(mutation.name.as_str());
        }
    }
    let untold = untold(&mutations);
    if options.only.is_empty() && !untold.is_empty() {
        bail!("no fault stands for {}", untold.join(", "));
    }
    eprintln!(
        "{} of {} faults found within {} seeds, none in the sources as they are",
        mutations.len() - missed.len(),
        mutations.len(),
        options.seeds
    );
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("not found: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Rules for which no fault stands.
fn untold(mutations: &[Mutation]) -> Vec<String> {
    let told = |rule: &Rule| mutations.iter().any(|all| all.rules.contains(rule));
    let untold = Rule::all().filter(|rule| !told(rule));
    untold.map(|rule| rule.to_string()).collect()
}
