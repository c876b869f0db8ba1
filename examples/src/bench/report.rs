//! The table: every contender's median beside the others', with the spread of its runs.

use super::contender::{Input, Measured};
use super::suite::Workload;

/// One contender's runs.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) runs: Vec<Measured>,
}

impl Row {
    /// Ascending.
    fn seconds(&self) -> Vec<f64> {
        let mut seconds: Vec<f64> = self.runs.iter().map(|run| run.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    fn median(&self) -> f64 {
        let seconds = self.seconds();
        seconds[seconds.len() / 2]
    }

    fn peak_mib(&self) -> Option<u64> {
        self.runs
            .iter()
            .filter_map(|run| run.peak_kib)
            .max()
            .map(|kib| kib / 1024)
    }
}

/// Prints the table of one workload.
pub(super) fn print(workload: &Workload, input: &Input, rows: &[Row]) {
    let Some(counts) = rows
        .first()
        .and_then(|row| row.runs.first())
        .map(|run| run.counts)
    else {
        return;
    };
    let millions = counts.words as f64 / 1e6;
    let baseline = rows
        .iter()
        .find(|row| row.name == workload.baseline)
        .map(Row::median);
    println!();
    println!("{}: {}", workload.name, workload.what);
    println!(
        "{} words, {} distinct; {} lines a batch; median of {} runs (slowest to fastest); all counts agree",
        counts.words,
        counts.distinct,
        input.batch_lines,
        rows[0].runs.len()
    );
    println!();
    println!(
        "  {:<12} {:>9} {:>15} {:>9} {:>9}  {}",
        "",
        "M words/s",
        "spread",
        "seconds",
        "peak MiB",
        format_args!("times {}", workload.baseline)
    );
    for row in rows {
        let seconds = row.seconds();
        let (fastest, slowest) = (seconds[0], seconds[seconds.len() - 1]);
        let spread = format!("{:.1} to {:.1}", millions / slowest, millions / fastest);
        let peak = row.peak_mib().map_or("?".to_owned(), |mib| mib.to_string());
        let ratio = baseline.map_or("?".to_owned(), |baseline| {
            format!("{:.2}", baseline / row.median())
        });
        let rate = millions / row.median();
        println!(
            "  {:<12} {rate:>9.2} {spread:>15} {:>9.2} {peak:>9}  {ratio}",
            row.name,
            row.median()
        );
    }
    println!();
    for row in rows {
        println!("  {:<12} {}", row.name, row.what);
    }
}
