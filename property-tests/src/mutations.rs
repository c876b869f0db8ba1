//! Deliberate faults of the protocol: patches of the real sources, and rules that the seeded world breaks at a seam. Each must be found.
//!
//! The patches lie in `property-tests/mutations`, each with two lines above it: what it breaks, and what of the design that stands for.
//! They are applied to a [`SourceCopy`] of the sources, never to the sources themselves.

mod copy;
mod rule;
mod seam;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fulmar::testing::{Bug, Plan, World};

pub use copy::SourceCopy;
pub use rule::Rule;
pub use table::{Form, Table};

/// Within so many seeds each must be found.
pub const SEEDS: u64 = 10_000;

/// One deliberate fault.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// What it is called.
    pub name: String,
    /// What it breaks, in a sentence.
    pub breaks: String,
    /// What of the design it breaks.
    pub rules: Vec<Rule>,
    /// How it is made.
    pub how: How,
}

/// How a fault is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By this patch of the sources.
    Patch(PathBuf),
    /// By a seam of the world, or by the shell around a core.
    Seam(Bug),
}

/// How a fault was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first seed whose world breaks a rule.
    pub seed: u64,
    /// What the oracle said.
    pub what: String,
}

/// Where the workspace is.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a workspace")
}

/// All of them: the patches by name, then the seams.
///
/// # Errors
///
/// A patch that cannot be read, or does not say what it stands for.
pub fn all() -> Result<Vec<Mutation>> {
    let folder = root().join("property-tests/mutations");
    let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let files: Vec<PathBuf> = files
        .map(|file| Ok(file?.path()))
        .collect::<Result<_>>()
        .with_context(|| folder.display().to_string())?;
    let patch = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "patch")
    };
    let mut patches: Vec<PathBuf> = files.into_iter().filter(patch).collect();
    patches.sort_unstable();
    let mut all: Vec<Mutation> = patches.into_iter().map(read).collect::<Result<_>>()?;
    all.extend(Bug::ALL.into_iter().map(seam::mutation));
    Ok(all)
}

fn read(path: PathBuf) -> Result<Mutation> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(&path).context(shown.clone())?;
    let line = |name: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.with_context(|| format!("{shown} has no line \"{name}: …\" above its changes"))
    };
    let rules = line("Stands for")?.split(", ").map(str::parse);
    let rules: Vec<Rule> = rules.collect::<Result<_>>().context(shown.clone())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    ensure!(!rules.is_empty(), "{shown} stands for nothing");
    Ok(Mutation {
        name: name.into_owned(),
        breaks: line("Breaks")?.to_owned(),
        rules,
        how: How::Patch(path),
    })
}

impl Mutation {
    /// Looks for it in the worlds of the seeds up to `seeds`.
    ///
    /// # Errors
    ///
    /// A patch that does not apply any more, or sources that do not compile with it.
    pub fn look(&self, copy: &mut SourceCopy, seeds: u64) -> Result<Option<Found>> {
        match &self.how {
            How::Patch(patch) => copy.with(patch, |copy| copy.first(seeds)),
            How::Seam(bug) => Ok((0..seeds).find_map(|seed| {
                let violation = World::run(&Plan::of(seed).with_bug(*bug)).violation?;
                let what = violation.what;
                Some(Found { seed, what })
            })),
        }
    }
}
