//! WordCount: the words of text files, counted exactly once, through any number of crashes.
//!
//! What Fulmar is for stands in `topology`; all the rest is what a command for daily use needs around it.

mod fold;
mod home;
mod log;
mod options;
mod output;
mod paths;
mod progress;
mod run;
mod signals;
mod size;
mod stats;
mod table;
mod text;
mod topology;

pub use options::{Durability, Options, SpoutKind};

use std::process::ExitCode;

use clap::Parser;

use self::run::Outcome;

/// Parses the command line, counts, and answers with the exit code that `--help` documents.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run::run(options) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(3),
        Err(error) => {
            say(&text::one_line(&error));
            ExitCode::from(1)
        }
    }
}

/// Tells the user something, on standard error.
fn say(what: &str) {
    use std::io::Write;
    // When nobody can read it any more there is nobody to tell either.
    drop(writeln!(std::io::stderr(), "wordcount: {what}"));
}
