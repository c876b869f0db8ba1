//! The power goes at any call, and the ledger is in ZooKeeper: the disk loses what was not synced, and the ledger does not.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fulmar::coordinator::LedgerRecord;
use fulmar_coordinator::zookeeper::testing;
use fulmar_property_tests::power::counted;
use fulmar_property_tests::power::disk::{Disk, Left};
use fulmar_property_tests::power::elsewhere::{self, Told};
use fulmar_property_tests::power::trace::{self, Call};
use fulmar_property_tests::{quick_folder, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::loss::{all_or, moments};
use super::{ROOT, Traced, quiet, said, say, say_sealed};

const SERVERS: &str = "FULMAR_TEST_POWER_ZOOKEEPER";

fn run(
    root: &Path,
    connection: &str,
    ledger: Option<&LedgerRecord>,
    tells: bool,
) -> anyhow::Result<(u64, counted::Outcome)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sealed = if tells { say_sealed } else { quiet };
    let tell = if tells { say } else { |_: &str| {} };
    runtime.block_on(async {
        if let Some(record) = ledger {
            elsewhere::put(connection, record).await?;
        }
        elsewhere::run(root, connection, sealed, tell).await
    })
}

/// Not a test of its own: run by the one below as another process.
#[test]
fn count_to_the_end_and_say_what_the_ledger_holds() {
    let (Some(root), Ok(servers)) = (std::env::var_os(ROOT), std::env::var(SERVERS)) else {
        return;
    };
    let (_, outcome) = run(Path::new(&root), &servers, None, true).unwrap();
    assert_eq!(outcome, counted::expected());
}

fn traced() -> Traced {
    let settle = |program: &mut Command| {
        program.env(SERVERS, testing::shared_chroot());
    };
    let test = "elsewhere::count_to_the_end_and_say_what_the_ledger_holds";
    Traced::of(test, settle, trace::run_with_servers)
}

/// What the ledger holds after a call, as far as it was told.
#[derive(Default)]
struct Known {
    holds: Option<LedgerRecord>,
    may_hold: Option<LedgerRecord>,
    changes: u64,
}

impl Known {
    fn hear(&mut self, call: &Call) {
        let Call::Write(2, _, bytes) = call else {
            return;
        };
        for line in String::from_utf8_lossy(bytes).lines() {
            match Told::parse(line) {
                Some(Told::MayHold(record)) => self.may_hold = Some(record),
                Some(Told::Holds) => {
                    self.holds = self.may_hold.take();
                    self.changes += 1;
                }
                None => {}
            }
        }
    }

    /// A write that is under way is taken or not.
    fn drawn(&self, rng: &mut ChaCha8Rng) -> Option<&LedgerRecord> {
        match &self.may_hold {
            Some(record) if rng.random() => Some(record),
            _ => self.holds.as_ref(),
        }
    }
}

/// The power goes after each of the calls; what is left is run to its end, on a ledger that lost nothing. Answers what must not be.
fn cut_power(
    traced: &Traced,
    mut disk: Disk,
    moments: &[usize],
    rng: &mut ChaCha8Rng,
) -> (Vec<String>, Known) {
    static LEDGERS: AtomicU64 = AtomicU64::new(0);
    let (expected, mut known) = (counted::expected(), Known::default());
    let (mut sealed, mut wrong) = (0, vec![]);
    for (at, call) in traced.calls.iter().enumerate() {
        disk.apply(call);
        known.hear(call);
        sealed = said(call).map_or(sealed, |txid| txid.max(sealed));
        if !moments.contains(&at) {
            continue;
        }
        let left = [Left::Nothing, Left::Nothing, Left::Chance, Left::All][rng.random_range(0..4)];
        let folder = quick_folder();
        disk.leave(folder.path(), left, rng);
        let ledger = LEDGERS.fetch_add(1, Ordering::Relaxed);
        let connection = format!("{}/power-{ledger}", testing::shared_chroot());
        let ended = run(folder.path(), &connection, known.drawn(rng), false);
        let mut what = format!("after call {at}, {left:?} left, {sealed} sealed: ");
        let _ = match ended {
            Ok((from, _)) if from < sealed => write!(what, "it went on from {from}"),
            Ok((_, outcome)) if outcome != expected => write!(what, "it came to {outcome:?}"),
            Ok(_) => continue,
            Err(error) => write!(what, "{error:#}"),
        };
        wrong.push(what);
    }
    (wrong, known)
}

#[test]
fn after_a_power_loss_with_the_ledger_in_zookeeper_everything_sealed_is_there() {
    if !trace::is_possible() {
        println!("skipped: no program can be traced here: install strace");
        return;
    }
    let (seed, began, traced) = (seed(), Instant::now(), traced());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let moments = moments(&traced, all_or(45), &mut rng);
    let disk = Disk::new(&traced.root);
    let (wrong, known) = cut_power(&traced, disk, &moments, &mut rng);
    let (calls, changes) = (traced.calls.len(), known.changes);
    println!(
        "{} power losses in {calls} calls and {changes} writes to the ledger; {:.1} s",
        moments.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "FULMAR_SEED={seed}: {wrong:#?}");
    assert!(changes > 10, "the ledger was written {changes} times");

    // And it is seen if the log, or the folder that names it, is not synced.
    for forgotten in [".log", "deep/er/state"] {
        let noticed = (0..20).find_map(|_| {
            let moments = super::loss::moments(&traced, 12, &mut rng);
            let disk = Disk::new(&traced.root).forgetting(&[forgotten]);
            cut_power(&traced, disk, &moments, &mut rng).0.pop()
        });
        let noticed = noticed.unwrap_or_else(|| panic!("{forgotten:?} was not noticed"));
        println!(
            "{forgotten:?} not synced: {noticed}; {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
}
