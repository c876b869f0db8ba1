//! The whole bench: makes the data, runs the contenders in turn for several rounds, checks the results, prints the tables.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::child::run_child;
use super::contender::{Counts, Input, Measured, contenders};
use super::generate::{Recipe, generate};
use super::report::{Row, print};

/// A text to count.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for the table's head.
    pub what: String,
    /// The contender whose time is 1 in the table.
    pub baseline: &'static str,
    /// How the text is made.
    pub recipe: Recipe,
}

impl Workload {
    /// The two workloads that the project's promises name, or a tenth of each.
    pub fn all(quick: bool) -> [Self; 2] {
        let part = if quick { 10 } else { 1 };
        let (lines, distinct) = (4_000_000 / part, 10_000_000 / part);
        let uniform = 2_000_000 / part;
        [
            Self {
                name: "zipf",
                what: format!("{lines} lines of 5 to 15 words, Zipf over 100000 distinct"),
                baseline: "loop-cache",
                recipe: Recipe {
                    lines,
                    words: 5..=15,
                    distinct: 100_000,
                    zipf: 1.0,
                    seed: 1,
                },
            },
            Self {
                name: "uniform",
                what: format!("{} words uniform over {distinct}, ten a line", uniform * 10),
                baseline: "loop-merge",
                recipe: Recipe {
                    lines: uniform,
                    words: 10..=10,
                    distinct,
                    zipf: 0.0,
                    seed: 1,
                },
            },
        ]
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Where generated texts are kept and stores are made for a run.
    pub folder: PathBuf,
    /// How often each contender runs; the median counts.
    pub rounds: usize,
    /// Which contenders; all if empty. The one that only counts always runs.
    pub only: Vec<String>,
    /// What every contender is told; the file is each workload's.
    pub input: Input,
}

impl Suite {
    /// Runs one workload and prints its table.
    pub fn run(&self, workload: &Workload) -> Result<()> {
        let input = Input {
            file: self.data(&workload.recipe)?,
            ..self.input.clone()
        };
        let mut rows: Vec<Row> = contenders()
            .iter()
            .zip(0..)
            .filter(|(contender, index)| {
                let wanted =
                    self.only.is_empty() || self.only.iter().any(|n| n == contender.name());
                let can = self.input.zookeeper.is_some() || !contender.needs_zookeeper();
                *index == 0 || wanted && can
            })
            .map(|(contender, _)| Row {
                name: contender.name(),
                what: contender.what(),
                runs: Vec::new(),
            })
            .collect();
        // In turn, not one after the other: what else the machine does meanwhile meets all of them.
        let mut expected: Option<Counts> = None;
        for round in 1..=self.rounds {
            // Every second round from the other end: what one leaves to be written does not always meet the same one.
            let mut order: Vec<&mut Row> = rows.iter_mut().collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for row in order {
                eprintln!(
                    "bench: {}, round {round} of {}: {}",
                    workload.name, self.rounds, row.name
                );
                let measured = self.run_one(row.name, &input)?;
                let counts = *expected.get_or_insert(measured.counts);
                ensure!(
                    counts == measured.counts,
                    "{} counted {:?}, not {counts:?}",
                    row.name,
                    measured.counts
                );
                row.runs.push(measured);
            }
        }
        print(workload, &input, &rows);
        Ok(())
    }

    fn run_one(&self, name: &str, input: &Input) -> Result<Measured> {
        let dir = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&self.folder)?;
        run_child(name, input, dir.path())
    }

    /// The text of `recipe`: made if it is not there, and read once so that no contender waits for the disk.
    fn data(&self, recipe: &Recipe) -> Result<PathBuf> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let file = self.folder.join(recipe.file_name());
        if !file.exists() {
            eprintln!("bench: making {}", file.display());
            generate(recipe, &file)?;
        }
        warm(&file)?;
        Ok(file)
    }
}

fn warm(file: &Path) -> Result<()> {
    io::copy(&mut File::open(file)?, &mut io::sink())?;
    Ok(())
}
