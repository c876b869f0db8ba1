//! Flipped bits and cut files in the ledger and the store: a clear error or the right counts, never wrong ones.
//! Method: contract, over sampled places (all of them with `FULMAR_FULL=1`).

use std::fs;
use std::path::{Path, PathBuf};

use super::support::{Case, Ended, counted, text};

/// How many places of each file are damaged, one at a time.
fn samples() -> usize {
    if std::env::var_os("FULMAR_FULL").is_some() {
        200
    } else {
        8
    }
}

/// A directory with batches in it, a text that has grown since, and the counts that are right then.
fn made() -> (Case, Vec<u8>) {
    let case = Case::new();
    let first = text(4_000, 1);
    let second = text(500, 2);
    case.write("a.txt", &first);
    case.counts("--batch-lines 500 a.txt");
    case.append("a.txt", &second);
    (case, counted([&first, &second]))
}

/// The same, with most batches folded into tables: there are more distinct words than `--memory 16MiB` holds.
fn folded() -> (Case, Vec<u8>) {
    let case = Case::new();
    let words = |from: u64, to: u64| -> String {
        (from..to)
            .map(|n| {
                format!(
                    "{:x}{}",
                    n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    if n % 8 == 7 { "\n" } else { " " }
                )
            })
            .collect()
    };
    let first = [words(0, 400_000), words(50_000, 100_000)].concat();
    let second = words(90_000, 99_200);
    case.write("a.txt", &first);
    case.counts("--memory 16MiB --batch-lines 1000 a.txt");
    case.append("a.txt", &second);
    (case, counted([&first, &second]))
}

/// The text by the name that it has in the ledger, also for a copy of the folder.
fn text_of(case: &Case) -> String {
    case.path("a.txt").to_str().unwrap().to_string()
}

/// The rule: right counts, or an error in one line.
#[track_caller]
fn right_or_refused(case: &Case, text: &str, want: &[u8], what: &str) -> bool {
    let ended: Ended = case.run(text);
    match ended.code {
        Some(0) => {
            assert!(
                case.written() == want,
                "{what}: wrong counts\n{}",
                ended.err
            );
            true
        }
        Some(1) => {
            let told = ended.failed();
            assert!(
                told.contains("state"),
                "{what}: the place is not named: {told}"
            );
            false
        }
        code => panic!("{what}: exit {code:?}\n{}", ended.err),
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn a_damaged_ledger_is_refused() {
    let (case, want) = made();
    let ledger = fs::read(case.path("state/LEDGER")).unwrap();
    let step = (ledger.len() / (2 * samples())).max(1);
    for at in (0..ledger.len()).step_by(step) {
        let mut damaged = ledger.clone();
        damaged[at] ^= 1 << (at % 8);
        case.write("state/LEDGER", &damaged);
        let told = case.refused("a.txt");
        assert!(told.contains("LEDGER"), "byte {at}: {told}");
        assert_eq!(
            fs::read(case.path("state/LEDGER")).unwrap(),
            damaged,
            "byte {at}: it is left as it was"
        );
    }
    for cut in [0, 1, ledger.len() / 2, ledger.len() - 1] {
        case.write("state/LEDGER", &ledger[..cut]);
        let told = case.refused("a.txt");
        assert!(told.contains("LEDGER"), "cut to {cut}: {told}");
    }
    case.write("state/LEDGER", &ledger);
    assert_eq!(case.counts("a.txt"), want);
}

#[test]
fn a_ledger_that_was_lost_or_is_older_than_the_store_is_refused() {
    let (case, _) = made();
    let older = fs::read(case.path("state/LEDGER")).unwrap();
    let lost = case.copy();
    fs::remove_file(lost.path("state/LEDGER")).unwrap();
    let told = lost.refused(&text_of(&case));
    assert!(
        told.contains("LEDGER") && told.contains("missing"),
        "{told}"
    );

    // The store may have forgotten what the old ledger asks for, or still have it: never are the counts wrong.
    case.counts("--batch-lines 100 a.txt");
    let want = case.written();
    case.write("state/LEDGER", older);
    right_or_refused(&case, "a.txt", &want, "an older ledger");
}

#[test]
fn a_store_that_was_lost_or_is_older_than_the_ledger_is_refused() {
    let (case, want) = made();
    let older = case.copy();
    case.counts("a.txt");
    for (what, with) in [("lost", None), ("older", Some(&older))] {
        let spoiled = case.copy();
        fs::remove_dir_all(spoiled.path("state/state")).unwrap();
        if let Some(older) = with {
            assert!(
                std::process::Command::new("cp")
                    .arg("-r")
                    .arg(older.path("state/state"))
                    .arg(spoiled.path("state/state"))
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let told = spoiled.refused(&text_of(&case));
        assert!(
            told.contains("lost") || told.contains("attempt"),
            "{what}: {told}"
        );
    }
    assert_eq!(case.counts("a.txt"), want);
}

/// Damages each file of a store at sampled places.
fn damage_everywhere(case: &Case, want: &[u8], samples: usize) {
    let text = text_of(case);
    let mut refused = 0;
    for file in files_in(&case.path("state/state")) {
        let name = file
            .strip_prefix(case.path(""))
            .unwrap()
            .to_str()
            .unwrap()
            .to_string();
        let bytes = fs::read(&file).unwrap();
        // Its log of events and its lock hold no data.
        if bytes.is_empty() || name.contains("/LOG") {
            continue;
        }
        let mut spoil = |what: String, spoiled: Option<&[u8]>| {
            let copy = case.copy();
            match spoiled {
                Some(bytes) => drop(copy.write(&name, bytes)),
                None => fs::remove_file(copy.path(&name)).unwrap(),
            }
            refused += usize::from(!right_or_refused(
                &copy,
                &text,
                want,
                &format!("{name}, {what}"),
            ));
        };
        for at in (0..bytes.len()).step_by((bytes.len() / samples).max(1)) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            spoil(format!("byte {at} of {}", bytes.len()), Some(&damaged));
        }
        spoil("emptied".into(), Some(&[]));
        spoil("cut by half".into(), Some(&bytes[..bytes.len() / 2]));
        spoil("removed".into(), None);
    }
    assert!(refused > 0, "some of that must have been noticed");
}

#[test]
fn a_damaged_batch_log_gives_an_error_or_the_right_counts() {
    let (case, want) = made();
    damage_everywhere(&case, &want, samples());
}

#[test]
fn damaged_tables_give_an_error_or_the_right_counts() {
    let (case, want) = folded();
    let tables = files_in(&case.path("state/state"))
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "sst"))
        .count();
    assert!(
        tables > 1,
        "{tables} tables are not what this test is about"
    );
    damage_everywhere(&case, &want, samples() / 4);
}
