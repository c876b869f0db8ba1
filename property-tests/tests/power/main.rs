//! Method: crash, with the loss of power. A real run on a real directory is traced call by call, and its disk made anew as of a call,
//! without what was not synced, or with a part of it; the next run must go on from there, miss nothing that was said to be sealed, and
//! come to a plain recount; with its ledger on that disk, or in ZooKeeper, which loses nothing. Bytes of a good directory are flipped,
//! cut and lost: a run on it gives an error or the right counts. `FULMAR_SEED` repeats what was drawn; `FULMAR_FULL=1` takes every call.
//! Tracing takes `strace`; where it is not, that part is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "this is a test, which tells how long it took"
)]

mod damage;
mod elsewhere;
mod loss;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use fulmar::state::Durability;
use fulmar_property_tests::power::counted::{self, Outcome};
use fulmar_property_tests::power::trace::{self, Call};

const ROOT: &str = "FULMAR_TEST_POWER_ROOT";
const LAZY: &str = "FULMAR_TEST_POWER_LAZY";
/// A run says so, in one write, before anyone else may know it.
const SEALED: &str = "the batch is sealed: ";

fn say_sealed(txid: u64) {
    say(&format!("{SEALED}{txid}\n"));
}

fn say(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn quiet(_: u64) {}

fn run(root: &Path, durability: Durability, tell: fn(u64)) -> anyhow::Result<(u64, Outcome)> {
    run_part(root, counted::THIRD, durability, tell)
}

/// Longer than any run takes, whatever it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// In a thread of its own: one that is stuck in a library's call can only be left behind.
fn run_part(
    root: &Path,
    third: u64,
    durability: Durability,
    tell: fn(u64),
) -> anyhow::Result<(u64, Outcome)> {
    let (root, (done, outcome)) = (root.to_owned(), mpsc::channel());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        done.send(runtime.block_on(counted::run(&root, third, durability, tell)))
    });
    let outcome = outcome.recv_timeout(PATIENCE);
    outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("{}: no answer", counted::HANGS)))
}

/// Not a test of its own: run by those below as another process.
#[test]
fn count_to_the_end_and_say_what_is_sealed() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let durability = match std::env::var_os(LAZY) {
        Some(_) => Durability::ProcessCrash,
        None => Durability::Fsync,
    };
    let (_, outcome) = run(Path::new(&root), durability, say_sealed).unwrap();
    assert_eq!(outcome, counted::expected());
}

/// A run in its own process, from nothing to the end.
struct Traced {
    root: PathBuf,
    calls: Vec<Call>,
}

impl Traced {
    /// Runs a test of this program that is none of its own.
    fn of(
        test: &str,
        settle: impl FnOnce(&mut Command),
        run: fn(&mut Command) -> anyhow::Result<Vec<Call>>,
    ) -> Traced {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", test, "--nocapture"]);
        settle(program.env(ROOT, &root));
        let calls = run(&mut program).unwrap();
        Traced { root, calls }
    }
}

fn traced(durability: Durability) -> Traced {
    let settle = |program: &mut Command| {
        if durability == Durability::ProcessCrash {
            program.env(LAZY, "1");
        }
    };
    let test = "count_to_the_end_and_say_what_is_sealed";
    Traced::of(test, settle, trace::run)
}

/// The run with everything synced; none where nothing can be traced.
fn synced() -> Option<&'static Traced> {
    static TRACED: OnceLock<Option<Traced>> = OnceLock::new();
    let make = || trace::is_possible().then(|| traced(Durability::Fsync));
    let traced = TRACED.get_or_init(make);
    if traced.is_none() {
        println!("skipped: no program can be traced here: install strace");
    }
    traced.as_ref()
}

/// The greatest batch that the call says is sealed.
fn said(call: &Call) -> Option<u64> {
    let Call::Write(2, _, bytes) = call else {
        return None;
    };
    let text = String::from_utf8_lossy(bytes);
    let said = text.lines().filter_map(|line| line.strip_prefix(SEALED));
    said.filter_map(|txid| txid.parse().ok()).max()
}
