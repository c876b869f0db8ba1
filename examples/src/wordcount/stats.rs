//! `--stats`: one JSON line for each committed batch, written on a thread of its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use fulmar::{BatchReport, Failure};
use serde::Serialize;

/// A statistics file under way.
pub(super) struct Stats {
    path: PathBuf,
    writer: JoinHandle<io::Result<()>>,
}

impl Stats {
    /// Begins the file anew. Lines go to the sender; the file ends when that is dropped.
    pub(super) fn create(path: &Path) -> Result<(Stats, Sender<BatchReport>)> {
        let file = File::create(path)
            .with_context(|| format!("{}: cannot be written (--stats)", path.display()))?;
        let (reports, inbox) = channel();
        let writer = std::thread::Builder::new()
            .name("stats".into())
            .spawn(move || write(file, &inbox));
        let writer = writer.context("no thread can be started")?;
        Ok((
            Stats {
                path: path.to_path_buf(),
                writer,
            },
            reports,
        ))
    }

    /// Waits until all is written. The sender must be gone by then.
    pub(super) fn finish(self) -> Result<()> {
        let outcome = self
            .writer
            .join()
            .map_err(|_| anyhow!("the thread that writes statistics panicked"))?;
        outcome.with_context(|| {
            format!(
                "{}: cannot be written (--stats), its lines are not complete",
                self.path.display()
            )
        })
    }
}

/// Writes line by line; what waits together is written together, and nothing waits while there is nothing to do.
fn write(file: File, inbox: &Receiver<BatchReport>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(64 << 10, file);
    while let Ok(report) = inbox.recv() {
        line(&mut file, &report)?;
        while let Ok(report) = inbox.try_recv() {
            line(&mut file, &report)?;
        }
        file.flush()?;
    }
    Ok(())
}

/// A line of the file; its fields are kept stable.
#[derive(Serialize)]
struct Line {
    txid: u64,
    /// `txid@epoch.number`
    attempt: String,
    /// How many attempts this run made at the batch, this one included.
    attempts: u32,
    records: u64,
    bytes: u64,
    read_us: u64,
    process_us: u64,
    seal_us: u64,
    /// How many batches the same ledger write sealed.
    sealed_together: u32,
    /// The batch's time, in milliseconds since 1970.
    time_ms: u64,
    /// Why the other attempts failed, oldest first.
    failures: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    attempt: String,
    kind: &'static str,
    cause: String,
}

fn line(out: &mut impl Write, report: &BatchReport) -> io::Result<()> {
    let failed = |failure: &Failure| Failed {
        attempt: failure.attempt.to_string(),
        kind: failure.cause.kind.name(),
        cause: failure.cause.to_string(),
    };
    let line = Line {
        txid: report.txid.0,
        attempt: report.attempt.to_string(),
        attempts: report.attempts,
        records: report.records,
        bytes: report.bytes,
        read_us: report.phases.read.0,
        process_us: report.phases.process.0,
        seal_us: report.phases.seal.0,
        sealed_together: report.sealed_together,
        time_ms: report.time_ms,
        failures: report.failures.iter().map(failed).collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
