//! The table: every contender's median beside the others', with the spread of its runs.

use super::contender::{Input, Measured};
use super::fulmar_wordcount::{EMBEDDED, WITH_ZOOKEEPER};
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
        "  {:<16} {:>9} {:>15} {:>9} {:>9}  {}",
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
            "  {:<16} {rate:>9.2} {spread:>15} {:>9.2} {peak:>9}  {ratio}",
            row.name,
            row.median()
        );
    }
    println!();
    print_share(rows);
    for row in rows {
        println!("  {:<16} {}", row.name, row.what);
    }
}

/// What the ledger in ZooKeeper costs: both ran in the same rounds, so that each round gives a ratio.
fn print_share(rows: &[Row]) {
    let runs = |name| {
        rows.iter()
            .find(|row| row.name == name)
            .map(|row| &row.runs)
    };
    let (Some(embedded), Some(zookeeper)) = (runs(EMBEDDED), runs(WITH_ZOOKEEPER)) else {
        return;
    };
    let rounds = embedded.iter().zip(zookeeper);
    let mut ratios: Vec<f64> = rounds
        .map(|(embedded, zookeeper)| 100.0 * embedded.seconds / zookeeper.seconds)
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "  {WITH_ZOOKEEPER} keeps {:.1} % of {EMBEDDED}'s speed (median of the rounds' ratios, {:.1} to {:.1} %)",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1]
    );
    println!();
}
