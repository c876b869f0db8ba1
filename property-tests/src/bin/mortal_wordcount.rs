//! WordCount on the real store, ledgers and file sink, which kills itself at a named call: run by the crash campaigns.

use std::process::ExitCode;

use clap::Parser;
use fulmar_property_tests::mortal::run::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error:#}");
            ExitCode::FAILURE
        }
    }
}
