//! The real WordCount: where it is, one run of it, and what it says of itself.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Far more than any run takes: a hang is a failure, not a long wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// Far more than the system takes to end a process that was killed.
const BURIAL: Duration = Duration::from_secs(30);

/// The program: `FULMAR_WORDCOUNT`, or else built from this clone by cargo.
///
/// # Errors
///
/// What is missing, and how to get it.
pub fn wordcount() -> Result<PathBuf> {
    let build = ["-p", "fulmar-examples", "--bin", "wordcount"];
    program("FULMAR_WORDCOUNT", "wordcount", &build)
}

/// `./fulmar sim`: `FULMAR_SIM`, or else built from this clone by cargo.
///
/// # Errors
///
/// What is missing, and how to get it.
pub fn sim() -> Result<PathBuf> {
    let features = ["--no-default-features", "--features", "testing"];
    let build = [&["-p", "fulmar", "--example", "sim"], &features[..]].concat();
    program("FULMAR_SIM", "examples/sim", &build)
}

/// What the variable names, or what cargo builds: `path`, below the target's release.
fn program(variable: &str, path: &str, build: &[&str]) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        if path.is_file() {
            return Ok(path);
        }
        bail!(
            "{variable} names {}, which is no file: run ./fulmar test, which builds it",
            path.display()
        );
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this package lies in a workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!(
        "{variable} is not set: cargo build --release {}",
        build.join(" ")
    );
    let built = Command::new(cargo)
        .args(["build", "--release"])
        .args(build)
        .current_dir(root)
        .status()
        .context("cargo cannot be started")?;
    if !built.success() {
        bail!("{path} cannot be built: ./fulmar test brings what is missing");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release").join(path))
}

/// One run of the program in a folder, which is killed when this is dropped.
pub struct Run {
    child: Child,
    /// The child is another program that the real one is a child of.
    beneath: bool,
    err: PathBuf,
    /// Its `--stats`.
    pub stats: PathBuf,
    /// Its `--output`.
    pub output: PathBuf,
}

/// What a run said it goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From {
    /// Batches sealed before.
    pub batch: u64,
    /// Lines sealed before.
    pub lines: u64,
}

impl From {
    /// Reads it from a line that the program said, if that is what the line tells.
    #[must_use]
    pub fn parse(line: &str) -> Option<From> {
        let line = line.strip_prefix("wordcount: ")?.split(" (state").next()?;
        if line == "begins" {
            return Some(From { batch: 0, lines: 0 });
        }
        let numbers: Vec<u64> = line
            .strip_prefix("goes on after batch")?
            .replace(',', "")
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        match numbers.as_slice() {
            [batch, lines] => Some(From {
                batch: *batch,
                lines: *lines,
            }),
            _ => None,
        }
    }
}

impl Run {
    /// Starts the program on `folder`'s state; the texts and options are `arguments`.
    ///
    /// # Errors
    ///
    /// The program or the folder cannot be used.
    pub fn start(program: &Path, folder: &Path, arguments: &[String]) -> Result<Run> {
        Run::start_as(program, folder, "", arguments)
    }

    /// Like [`Run::start`]; what it writes goes into files that begin with `prefix`, so that several runs have each their own.
    ///
    /// # Errors
    ///
    /// The program or the folder cannot be used.
    pub fn start_as(
        program: &Path,
        folder: &Path,
        prefix: &str,
        arguments: &[String],
    ) -> Result<Run> {
        Run::start_under(&[], program, folder, prefix, arguments)
    }

    /// Like [`Run::start_as`], beneath another program, such as `strace` with its options.
    ///
    /// # Errors
    ///
    /// The programs or the folder cannot be used.
    pub fn start_under(
        above: &[String],
        program: &Path,
        folder: &Path,
        prefix: &str,
        arguments: &[String],
    ) -> Result<Run> {
        let file = |name: &str| folder.join(format!("{prefix}{name}"));
        let (err, stats, output) = (file("stderr"), file("stats.jsonl"), file("counts.tsv"));
        // The last run's lines are gone before this one begins, so that they are never taken for its own.
        match fs::remove_file(&stats) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut command = match above {
            [] => Command::new(program),
            [above, options @ ..] => {
                let mut command = Command::new(above);
                command.args(options).arg(program);
                command
            }
        };
        let child = command
            .args(["--state", "state"])
            .args(["--output", &format!("{prefix}counts.tsv")])
            .args(["--stats", &format!("{prefix}stats.jsonl")])
            .args(arguments)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&err)?)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Run {
            child,
            beneath: !above.is_empty(),
            err,
            stats,
            output,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `TERM`, `STOP`, `CONT`.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        // The shell's own `kill`, since not every machine has the program.
        let sent = Command::new("sh")
            .args(["-c", r#"kill -"$0" "$1""#, signal])
            .arg(self.pid().to_string())
            .stderr(Stdio::null())
            .status()?;
        ensure!(
            sent.success(),
            "wordcount had ended before it got {signal}: {}",
            self.said()
        );
        Ok(())
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read(&self.err).map_or_else(
            |error| error.to_string(),
            |said| String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// From where it goes on, once it has said so.
    #[must_use]
    pub fn from(&self) -> Option<From> {
        self.said().lines().find_map(From::parse)
    }

    /// How the run has ended, if it has.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it (SIGKILL on Unix) and waits until it is gone.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if self.beneath {
            kill_traced(&mut self.child)
        } else {
            kill(&mut self.child)
        }
    }

    /// Waits for a good end.
    ///
    /// # Errors
    ///
    /// It hangs, or ended badly: with what it said.
    pub fn succeed(&mut self) -> Result<()> {
        let status = self.wait()?;
        ensure!(
            status.success(),
            "wordcount ended with {status}: {}",
            self.said()
        );
        Ok(())
    }

    /// Waits for its end, good or bad.
    ///
    /// # Errors
    ///
    /// It hangs: with what it said.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = wait_for(&mut self.child, PATIENCE)? {
            return Ok(status);
        }
        self.kill()?;
        bail!("wordcount hung for {PATIENCE:?}: {}", self.said());
    }

    /// The batches that its statistics tell of, in their order: txid and records. A line cut by a kill is left out.
    #[must_use]
    pub fn batches(&self) -> Vec<(u64, u64)> {
        let text = fs::read_to_string(&self.stats).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let line = |line: &str| -> Option<(u64, u64)> {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            Some((value["txid"].as_u64()?, value["records"].as_u64()?))
        };
        whole
            .lines()
            .map(|text| line(text).unwrap_or_else(|| panic!("not a line of statistics: {text}")))
            .collect()
    }
}

/// Waits for a process's end, so long; none if it is still there.
pub(crate) fn wait_for(child: &mut Child, longest: Duration) -> Result<Option<ExitStatus>> {
    let since = Instant::now();
    // Most are short, and of those there are many.
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if since.elapsed() > longest {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}

/// Kills a process and waits until it is gone.
fn kill(child: &mut Child) -> Result<ExitStatus> {
    child.kill()?;
    let gone = wait_for(child, BURIAL)?;
    gone.with_context(|| {
        format!(
            "process {} was killed and is still there after {BURIAL:?}",
            child.id()
        )
    })
}

/// Kills a tracer, and before it the program beneath, which would go on by itself when the tracer is gone.
pub(crate) fn kill_traced(tracer: &mut Child) -> Result<ExitStatus> {
    if tracer.try_wait()?.is_none() {
        let pid = tracer.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            let mut kill = Command::new("sh");
            kill.args(["-c", r#"kill -9 "$0""#, child])
                .stderr(Stdio::null());
            drop(kill.status());
        }
    }
    kill(tracer)
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
