//! System calls of the real WordCount that it is killed at: before the n-th of a thread, by `strace`, which lets it go no further.

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};

/// Before a named system call, on any file or on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SystemCall {
    /// What it is at then.
    pub name: &'static str,
    /// As `strace` is told.
    call: &'static str,
    /// Only on this file of the state directory.
    file: Option<&'static str>,
    /// Which one of a thread is the last is drawn from these, both included.
    numbers: (u64, u64),
    /// Whether only a program with its ledger in ZooKeeper makes it, or only one with an embedded one, or both.
    zookeeper: Option<bool>,
}

// Not every machine has all calls of a kind; `strace` leaves those out that it does not know.
const RENAME: &str = "?rename,?renameat,?renameat2";
const UNLINK: &str = "?unlink,?unlinkat";
const MKDIR: &str = "?mkdir,?mkdirat";
const LEDGER: &str = "LEDGER.tmp";
const FOLDER: &str = "";

const fn of_ledger(
    name: &'static str,
    call: &'static str,
    file: &'static str,
    numbers: (u64, u64),
) -> SystemCall {
    SystemCall {
        name,
        call,
        file: Some(file),
        numbers,
        zookeeper: Some(false),
    }
}

const fn of_any(name: &'static str, call: &'static str, numbers: (u64, u64)) -> SystemCall {
    SystemCall {
        name,
        call,
        file: None,
        numbers,
        zookeeper: None,
    }
}

const fn of_socket(name: &'static str, call: &'static str) -> SystemCall {
    SystemCall {
        name,
        call,
        file: None,
        numbers: (1, 60),
        zookeeper: Some(true),
    }
}

const ALL: [SystemCall; 16] = [
    of_ledger("ledger file: before it is made", "openat", LEDGER, (1, 8)),
    of_ledger("ledger file: before its write", "write", LEDGER, (1, 8)),
    of_ledger("ledger file: before its sync", "fdatasync", LEDGER, (1, 8)),
    of_ledger("ledger file: before its renaming", RENAME, LEDGER, (1, 8)),
    of_ledger(
        "ledger file: before its folder's sync",
        "fsync",
        FOLDER,
        (1, 10),
    ),
    of_ledger(
        "ledger file: after its folder's sync",
        "close",
        FOLDER,
        (1, 10),
    ),
    of_any("any file: before a write", "write", (1, 60)),
    of_any("any file: before fdatasync", "fdatasync", (1, 20)),
    of_any("any file: before fsync", "fsync", (1, 15)),
    of_any("any file: before a renaming", RENAME, (1, 6)),
    of_any("any file: before a removal", UNLINK, (1, 3)),
    of_any("any file: before it is opened", "openat", (20, 200)),
    of_any("any file: before it is cut", "ftruncate", (1, 4)),
    of_any("any folder: before it is made", MKDIR, (1, 4)),
    of_socket("ZooKeeper: before a request is sent", "writev"),
    of_socket("ZooKeeper: sent, before the answer is read", "recvfrom"),
];

impl SystemCall {
    /// Those that a program makes with its ledger in ZooKeeper, or embedded.
    #[must_use]
    pub fn all(zookeeper: bool) -> Vec<SystemCall> {
        let made = |call: &&SystemCall| call.zookeeper.is_none_or(|only| only == zookeeper);
        ALL.iter().filter(made).copied().collect()
    }

    /// Which one of a thread is worth to be the last.
    #[must_use]
    pub fn numbers(&self) -> RangeInclusive<u64> {
        self.numbers.0..=self.numbers.1
    }

    /// `strace` with the options that kill at the call of this number, to be put before a program in this folder.
    #[must_use]
    pub fn killer(&self, folder: &Path, number: u64) -> Vec<String> {
        let Self { call, file, .. } = self;
        let mut words: Vec<String> = ["strace", "-f", "-q", "-o", "/dev/null"]
            .map(str::to_owned)
            .into();
        words.extend(["-e".to_owned(), format!("trace={call}")]);
        words.extend([
            "-e".to_owned(),
            format!("inject={call}:signal=KILL:when={number}"),
        ]);
        if let Some(file) = file {
            let whole = folder.join("state").join(file);
            // Calls name it as they were told to, and open files by their whole path.
            for path in [Path::new("state").join(file), whole] {
                let path = path.to_string_lossy();
                let path = path.trim_end_matches('/').to_owned();
                words.extend(["-P".to_owned(), path]);
            }
        }
        words
    }
}

/// Whether programs can be killed so here.
#[must_use]
pub fn is_possible() -> bool {
    let killed = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=exit_group"])
        .args(["-e", "inject=exit_group:signal=KILL:when=1", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    killed.is_ok_and(|status| status.code().is_none())
}
