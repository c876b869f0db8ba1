//! Damage, foreign directories, locks and full disks: each is a clear error, and nothing is lost.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use futures::executor::block_on;
use tempfile::TempDir;

use super::*;
use crate::ledger::contract::record;
use crate::ledger::directory::{LOCK, MARKER};

const HOLD: &str = "FULMAR_TEST_HOLD_LOCK";

fn open(dir: &Path) -> Result<FileLedger> {
    open_patiently(dir, Durability::Fsync)
}

/// A child process that another test is starting has, until its `exec`, all locks of this one: waits for that moment to pass.
pub(in crate::ledger) fn open_patiently(dir: &Path, durability: Durability) -> Result<FileLedger> {
    let own = format!("pid {} on ", std::process::id());
    for _ in 0..100_000 {
        match FileLedger::open(dir, durability) {
            Err(Error::Locked { by, .. }) if by.starts_with(&own) => std::thread::yield_now(),
            opened => return opened,
        }
    }
    FileLedger::open(dir, durability)
}

/// A ledger directory of three sealed batches, closed.
fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path()).unwrap();
    for n in 0..=3 {
        assert_eq!(
            block_on(ledger.write(&record(1, 1, n), Version(n))),
            WriteOutcome::Applied(Version(n + 1))
        );
    }
    drop(ledger);
    dir
}

fn is_root() -> bool {
    let probe = tempfile::tempdir().unwrap();
    cfg!(unix) && {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(probe.path()).unwrap().uid() == 0
    }
}

#[test]
fn any_flipped_byte_and_any_truncation_is_refused_and_left_as_it_is() {
    let dir = filled();
    let path = dir.path().join(LEDGER);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        let error = open(dir.path()).unwrap_err();
        let clear = matches!(error, Error::Corrupt { .. } | Error::OtherProgram { .. });
        assert!(
            clear && error.to_string().contains("LEDGER"),
            "byte {at}: {error}"
        );
        fs::write(&path, &whole[..at]).unwrap();
        assert!(
            matches!(open(dir.path()), Err(Error::Corrupt { .. })),
            "{at} bytes"
        );
        assert_eq!(
            fs::read(&path).unwrap(),
            whole[..at],
            "a damaged ledger is never changed"
        );
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(
        block_on(open(dir.path()).unwrap().load()).unwrap(),
        Some((record(1, 1, 3), Version(4)))
    );
}

#[test]
fn a_lost_ledger_is_not_a_new_one() {
    let dir = filled();
    fs::remove_file(dir.path().join(LEDGER)).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(error, Error::Corrupt { .. }) && error.to_string().contains("missing"),
        "{error}"
    );
}

#[test]
fn other_programs_and_formats_are_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "words").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(error, Error::OtherProgram { .. }) && error.to_string().contains("thesis.tex"),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was made in it"
    );

    let dir = filled();
    let marker = dir.path().join(MARKER);
    fs::write(&marker, "other-program 1\n").unwrap();
    assert!(matches!(open(dir.path()), Err(Error::OtherProgram { .. })));
    fs::write(&marker, "fulmar-ledger 2\n").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(error, Error::OtherFormat { found: 2, .. }) && error.to_string().contains("newer"),
        "{error}"
    );

    fs::remove_file(&marker).unwrap();
    fs::write(dir.path().join(LEDGER), "#!/bin/sh\n").unwrap();
    assert!(matches!(open(dir.path()), Err(Error::OtherProgram { .. })));
}

#[test]
fn what_a_power_loss_leaves_of_a_file_that_was_not_synced_is_damage_and_no_other_program() {
    let dir = filled();
    for name in [MARKER, LEDGER] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            let zeros = [&whole[..len], &vec![0; whole.len() - len]].concat();
            for left in [whole[..len].to_vec(), zeros] {
                fs::write(&path, &left).unwrap();
                let error = open(dir.path()).unwrap_err();
                let left = String::from_utf8_lossy(&left);
                assert!(
                    matches!(error, Error::Corrupt { .. }),
                    "{name} {left:?}: {error}"
                );
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    open(dir.path()).unwrap();
}

#[test]
fn a_crash_between_ledger_and_marker_is_mended() {
    let dir = filled();
    fs::remove_file(dir.path().join(MARKER)).unwrap();
    drop(open(dir.path()).unwrap());
    assert_eq!(
        fs::read_to_string(dir.path().join(MARKER)).unwrap(),
        "fulmar-ledger 1\n"
    );
}

#[test]
fn what_is_made_beside_a_ledger_before_its_first_record_is_no_strangers_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::create_dir(dir.path().join("state")).unwrap();
    let mut ledger = open(dir.path()).unwrap();
    assert_eq!(block_on(ledger.load()).unwrap(), None);
    assert!(matches!(
        block_on(ledger.write(&record(1, 1, 1), Version::ABSENT)),
        WriteOutcome::Applied(_)
    ));
    drop(ledger);
    // From then on the marker tells a ledger that was lost.
    fs::remove_file(dir.path().join(LEDGER)).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_write_that_a_crash_left_unfinished_is_as_if_never_begun() {
    let dir = filled();
    fs::write(
        dir.path().join(LEDGER_TEMP),
        &record(1, 1, 4).encode(Version(5))[..100],
    )
    .unwrap();
    let mut ledger = open(dir.path()).unwrap();
    assert_eq!(
        block_on(ledger.load()).unwrap(),
        Some((record(1, 1, 3), Version(4)))
    );
    assert!(!dir.path().join(LEDGER_TEMP).exists());
    assert_eq!(
        block_on(ledger.write(&record(1, 1, 4), Version(4))),
        WriteOutcome::Applied(Version(5))
    );
}

#[test]
fn a_record_changed_by_hand_refuses_the_next_write() {
    let dir = filled();
    let mut ledger = open(dir.path()).unwrap();
    let path = dir.path().join(LEDGER);
    fs::write(&path, record(9, 9, 3).encode(Version(5))).unwrap();
    let next = record(1, 1, 4);
    let current = Some(Box::new((record(9, 9, 3), Version(5))));
    assert_eq!(
        block_on(ledger.write(&next, Version(4))),
        WriteOutcome::Refused { current }
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(
        block_on(ledger.write(&next, Version(5))),
        WriteOutcome::Refused { current: None }
    );
    fs::write(&path, "").unwrap();
    assert!(matches!(
        block_on(ledger.write(&next, Version(5))),
        WriteOutcome::Failed(Error::Corrupt { .. })
    ));
}

#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/ledger");
    let mut ledger = open(&path).unwrap();
    block_on(async { ledger.write(&record(1, 1, 0), Version::ABSENT).await });
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for name in [LEDGER, LOCK, MARKER] {
        assert_eq!(
            fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
}

/// Not a test of its own: run by the one below as another process.
#[test]
fn hold_the_lock_until_input_ends() {
    let Some(dir) = std::env::var_os(HOLD) else {
        return;
    };
    let _ledger = open(Path::new(&dir)).unwrap();
    println!("\nholding");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_ledger() {
    let dir = filled();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "ledger::file::tests::hold_the_lock_until_input_ends",
            "--nocapture",
        ])
        .env(HOLD, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = io::BufRead::lines(io::BufReader::new(other.stdout.take().unwrap()));
    assert!(
        lines.any(|line| line.unwrap() == "holding"),
        "the other process has the lock"
    );
    let error = open(dir.path()).unwrap_err();
    let by = format!("pid {} on ", other.id());
    assert!(
        matches!(&error, Error::Locked { by: holder, .. } if holder.starts_with(&by)),
        "{error}"
    );
    // However a process ends, the system gives its lock back.
    other.kill().unwrap();
    other.wait().unwrap();
    open(dir.path()).unwrap();
}

/// Runs `test` on a file system of one megabyte; without the right to mount one, says so and passes.
fn on_small_disk(test: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        Command::new("mount")
            .args(args)
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
    };
    if !is_root()
        || !mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).is_ok_and(|status| status.success())
    {
        println!("skipped: mounting a small file system takes root and the right to mount");
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(dir.path())));
    Command::new("umount")
        .arg("-l")
        .arg(dir.path())
        .status()
        .unwrap();
    outcome.unwrap();
}

#[test]
fn a_full_disk_is_named_and_nothing_sealed_is_lost() {
    on_small_disk(|dir| {
        let path = dir.join("ledger");
        let mut ledger = open(&path).unwrap();
        block_on(ledger.write(&record(1, 1, 0), Version::ABSENT));
        let filler = dir.join("filler");
        let mut full = File::create(&filler).unwrap();
        while full.write_all(&[1; 4096]).is_ok() {}
        drop(full);
        let next = record(1, 1, 1);
        let WriteOutcome::Failed(error) = block_on(ledger.write(&next, Version(1))) else {
            panic!("the disk is full")
        };
        assert!(
            matches!(error, Error::DiskFull { .. }) && error.to_string().contains("disk is full"),
            "{error}"
        );
        fs::remove_file(&filler).unwrap();
        let again = block_on(ledger.write(&next, Version(1)));
        assert_eq!(
            again,
            WriteOutcome::Failed(error),
            "a write that failed is never retried by the same object"
        );
        drop(ledger);
        let mut ledger = open(&path).unwrap();
        assert_eq!(
            block_on(ledger.load()).unwrap(),
            Some((record(1, 1, 0), Version(1)))
        );
        assert_eq!(
            block_on(ledger.write(&next, Version(1))),
            WriteOutcome::Applied(Version(2))
        );
    });
}

#[test]
fn a_read_only_directory_is_a_clear_error() {
    let check = |dir: &Path| {
        let error = open(dir).unwrap_err();
        assert!(
            matches!(error, Error::Io { .. }) && error.to_string().contains("LOCK"),
            "{error}"
        );
    };
    if is_root() {
        return on_small_disk(|dir| {
            let remount = Command::new("mount")
                .args(["-o", "remount,ro"])
                .arg(dir)
                .status()
                .unwrap();
            assert!(remount.success());
            check(dir);
        });
    }
    let dir = filled();
    let mut permissions = fs::metadata(dir.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(dir.path(), permissions).unwrap();
    fs::remove_file(dir.path().join(LOCK)).unwrap_err();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
