//! A folder for each test, runs of the program in it, and the hand-written count that they are held to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Far more than any of these runs takes, so that a hang is a failure and not a long wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// One test's folder: texts, `state`, `counts.tsv`, `stats.jsonl`.
pub(crate) struct Case {
    folder: TempDir,
}

/// How a run has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Case {
    pub(crate) fn new() -> Case {
        Case {
            folder: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// The program with these arguments, split at blanks, in this folder; nothing else is told to it.
    pub(crate) fn bare(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wordcount"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path());
        command
            .env("TMPDIR", self.folder.path())
            .env_remove("RUST_LOG")
            .env_remove("FULMAR_BOOK");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The program on this folder's state, with its counts and statistics written there.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        self.bare(&format!(
            "--state state --output counts.tsv --stats stats.jsonl {arguments}"
        ))
    }

    pub(crate) fn run(&self, arguments: &str) -> Ended {
        Started::of(self.command(arguments)).wait()
    }

    pub(crate) fn start(&self, arguments: &str) -> Started {
        Started::of(self.command(arguments))
    }

    /// Runs to a good end, and answers with the counts.
    #[track_caller]
    pub(crate) fn counts(&self, arguments: &str) -> Vec<u8> {
        self.run(arguments).succeeded();
        self.written()
    }

    /// Runs into an error, and answers with its message.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &str) -> String {
        self.run(arguments).failed()
    }

    pub(crate) fn written(&self) -> Vec<u8> {
        fs::read(self.path("counts.tsv")).unwrap()
    }

    /// The statistics of the last run.
    pub(crate) fn stats(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("stats.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Records that the last run has sealed.
    pub(crate) fn read(&self) -> u64 {
        self.stats()
            .iter()
            .map(|line| line["records"].as_u64().unwrap())
            .sum()
    }

    /// A copy of this case's folder, for a test that spoils it.
    pub(crate) fn copy(&self) -> Case {
        let copy = Case::new();
        copy_folder(self.folder.path(), copy.folder.path());
        copy
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Ended {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// An error is told in one line on standard error, without a trace of the program's insides.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert!(
            !self.err.contains("panicked") && !self.err.contains("backtrace"),
            "{self:#?}"
        );
        let last = self.err.lines().last().unwrap_or_default();
        match last.strip_prefix("wordcount: ") {
            Some(message) => message.to_string(),
            None => panic!("no message in the last line: {self:#?}"),
        }
    }
}

/// A run under way; killed if the test fails.
pub(crate) struct Started {
    child: Child,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
}

impl Started {
    pub(crate) fn of(mut command: Command) -> Started {
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().map(collect);
        let err = child.stderr.take().map(collect);
        Started { child, out, err }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let since = Instant::now();
        while !self.has_ended() {
            if since.elapsed() > PATIENCE {
                drop(self.child.kill());
                panic!("it did not end: {:#?}", self.ended());
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.ended()
    }

    fn ended(&mut self) -> Ended {
        let status: ExitStatus = self.child.wait().unwrap();
        let text = |thread: Option<JoinHandle<String>>| {
            thread.map_or_else(String::new, |thread| thread.join().unwrap())
        };
        Ended {
            code: status.code(),
            out: text(self.out.take()),
            err: text(self.err.take()),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits until something is true.
#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The counts of these texts, by hand, as the program is to write them.
pub(crate) fn counted<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for text in texts {
        let words = text
            .as_ref()
            .split(|byte| b" \t\n\r\x0c".contains(byte))
            .filter(|word| !word.is_empty());
        words.for_each(|word| *counts.entry(word.to_vec()).or_default() += 1);
    }
    let mut out = Vec::new();
    for (word, count) in counts {
        out.extend(word);
        out.extend(format!("\t{count}\n").bytes());
    }
    out
}

/// So many lines of words, the same every time; `salt` gives another text.
pub(crate) fn text(lines: u64, salt: u64) -> String {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = String::new();
    for line in 0..lines {
        for _ in 0..draw() % 8 {
            let drawn = draw();
            write!(out, "w{} ", drawn % (1 + drawn % 5000)).unwrap();
        }
        writeln!(out, "line{}", line % 977).unwrap();
    }
    out
}

pub(crate) fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/pride-and-prejudice.txt")
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Whether the tests run as root, who may mount and whom no permission stops.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
