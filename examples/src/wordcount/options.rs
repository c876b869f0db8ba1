//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use fulmar::coordinator::zookeeper::ZooKeeperConfig;

use super::size;

const EXIT_CODES: &str = "\
Exit codes:
  0    all was counted; or, with --follow, ended by Ctrl-C or SIGTERM: everything in flight was counted and saved
  1    an error, told on standard error; what was counted and saved before it stays, run again after curing the cause
  2    wrong usage
  3    ended by Ctrl-C or SIGTERM before everything was counted: what was counted is saved in --state, --output is not written
  130, 143  ended at once by a second Ctrl-C or SIGTERM; nothing saved is lost

Sizes: a number and k, M, G, T or KiB, MiB, GiB, TiB (powers of 1024), or kB, MB, GB, TB (powers of 1000).
Log messages on standard error are chosen by RUST_LOG (default: warn).";

/// Counts the words of text files, exactly once: killed at any moment and run again, it counts nothing twice and
/// leaves nothing out. A word is a maximal run of bytes that are not ASCII white space.
#[derive(Clone, Debug, Parser)]
#[command(name = "wordcount", version, after_help = EXIT_CODES, max_term_width = 120)]
pub struct Options {
    /// Text files; without any, the book that is shipped
    #[arg(value_name = "FILE", value_parser = replayable)]
    pub files: Vec<PathBuf>,

    /// Where state and ledger live. Run again, it goes on where it stopped, and reads only what was appended or added.
    /// Without it the state lives in a temporary directory that goes away with the run
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Keep the ledger in ZooKeeper, at one or more HOST:PORT with commas between, and perhaps a /CHROOT at the end.
    /// Of all processes of one name one leads and counts; the others stand by and take over. They share --state. Credentials come from the environment (FULMAR_ZOOKEEPER_DIGEST_FILE and others, see the book)
    #[arg(long, value_name = "SERVERS", requires = "state", value_parser = zookeeper)]
    pub zookeeper: Option<ZooKeeperConfig>,

    /// The name of the topology: what the ledger is kept under
    #[arg(long, value_name = "NAME", default_value = "wordcount", value_parser = name)]
    pub name: String,

    /// How long the servers wait for a process that says nothing before another takes over
    #[arg(long, value_name = "MS", requires = "zookeeper", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub session_timeout: Option<u64>,

    /// Write the counts here at the end: word, tab, count, sorted bytewise; the file is replaced atomically. Without it
    /// the 20 most frequent words are shown
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Fold case and drop punctuation: letters are lower-cased, letters and digits are kept, apostrophes inside words
    /// as well; words that become empty vanish
    #[arg(long)]
    pub fold: bool,

    /// Wait for the files to grow, until Ctrl-C or SIGTERM. A last line is counted when its end has come
    #[arg(long)]
    pub follow: bool,

    /// Lines of a batch, over all files
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_lines: u64,

    /// A batch ends at the latest after so many milliseconds, however few lines it has
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub batch_time: u64,

    /// Batches in flight
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_pending: u16,

    /// Threads that count [default: as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub executors: Option<u16>,

    /// Bound on what the state keeps in memory, overlay and caches together
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    pub memory: usize,

    /// The longest line that is taken
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = max_line)]
    pub max_line: usize,

    /// Whether the files are held to identical replays, by digest, or not
    #[arg(long, value_enum, value_name = "KIND", default_value_t = SpoutKind::Transactional)]
    pub spout: SpoutKind,

    /// What a saved batch survives: a power loss, or only the death of the process
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Durability::Fsync)]
    pub durability: Durability,

    /// Write one JSON line for each committed batch of this run here; the file is begun anew
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,

    /// Show what would run, and end
    #[arg(long)]
    pub explain: bool,
}

/// Which kind of spout reads the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpoutKind {
    /// Held to identical replays, by digest.
    Transactional,
    /// Free to replay differently.
    Opaque,
}

/// What a committed batch survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// A power loss.
    Fsync,
    /// The death of the process.
    ProcessCrash,
}

impl Options {
    /// The files to count: those named, or the book that is shipped.
    pub(super) fn inputs(&self) -> Vec<PathBuf> {
        if self.files.is_empty() {
            vec![book()]
        } else {
            self.files.clone()
        }
    }

    pub(super) fn batch_time(&self) -> Duration {
        Duration::from_millis(self.batch_time)
    }
}

impl From<Durability> for fulmar::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Fsync => fulmar::Durability::Fsync,
            Durability::ProcessCrash => fulmar::Durability::ProcessCrash,
        }
    }
}

/// The launcher names the book; a program built by hand finds it in the clone that it was built from.
fn book() -> PathBuf {
    let built_from = || concat!(env!("CARGO_MANIFEST_DIR"), "/data/pride-and-prejudice.txt").into();
    std::env::var_os("FULMAR_BOOK")
        .filter(|book| !book.is_empty())
        .map_or_else(built_from, PathBuf::from)
}

fn replayable(file: &str) -> Result<PathBuf, String> {
    let path = Path::new(file);
    let stdin = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];
    if stdin.iter().any(|name| Path::new(name) == path) {
        return Err(
            "standard input cannot be read again from a position: write it to a file first".into(),
        );
    }
    Ok(path.to_path_buf())
}

fn zookeeper(servers: &str) -> Result<ZooKeeperConfig, String> {
    ZooKeeperConfig::parse(servers).map_err(|error| error.to_string())
}

fn name(name: &str) -> Result<String, String> {
    match name {
        "" => Err("give at least one letter".into()),
        name if name.len() > 200 => Err("give 200 bytes at most".into()),
        name => Ok(name.to_owned()),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    usize::try_from(size::parse(text)?)
        .map_err(|_| format!("{text:?} is more than this machine can address"))
}

fn memory(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        bytes if bytes < 16 << 20 => Err("give 16 MiB at least".into()),
        bytes => Ok(bytes),
    }
}

fn max_line(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        0 => Err("give 1 byte at least".into()),
        bytes if bytes > 1 << 30 => {
            Err("give 1 GiB at most: a line is held in memory whole".into())
        }
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Options;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }
}
