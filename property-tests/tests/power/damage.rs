//! Bytes that changed, files that were cut or lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fulmar::state::Durability;
use fulmar_property_tests::power::counted;
use fulmar_property_tests::{is_full, quick_folder, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::{quiet, run, run_part};

/// What is done to one file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip,
    Cut,
    Zeros,
    Garbage,
    Grown,
    Emptied,
    Lost,
}

const HARMS: [Harm; 7] = [
    Harm::Flip,
    Harm::Cut,
    Harm::Zeros,
    Harm::Garbage,
    Harm::Grown,
    Harm::Emptied,
    Harm::Lost,
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_path_buf()], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn copy(from: &Path) -> TempDir {
    let to = quick_folder();
    for file in files(from) {
        let target = to.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
    to
}

/// What a file is, without its number.
fn kind(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    match name.split_once(|letter: char| letter.is_ascii_digit()) {
        Some((before, _)) if !before.is_empty() => before.to_owned(),
        _ => name
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .to_owned(),
    }
}

fn harm(file: &Path, harm: Harm, rng: &mut ChaCha8Rng) -> String {
    let mut bytes = fs::read(file).unwrap();
    let at = rng.random_range(0..bytes.len().max(1));
    // Where files end is where they are most often torn.
    let at = if rng.random_bool(0.3) {
        bytes.len().saturating_sub(at.min(200))
    } else {
        at
    };
    let at = at.min(bytes.len().saturating_sub(1));
    let end = (at + rng.random_range(1..600)).min(bytes.len());
    match harm {
        Harm::Flip if !bytes.is_empty() => bytes[at] ^= 1 << rng.random_range(0..8),
        Harm::Cut => bytes.truncate(at),
        Harm::Zeros => bytes[at..end].fill(0),
        Harm::Garbage => rng.fill(&mut bytes[at..end]),
        Harm::Grown => {
            let mut tail = vec![0; rng.random_range(1..40_000)];
            if rng.random_bool(0.5) {
                rng.fill(&mut tail[..]);
            }
            bytes.extend(tail);
        }
        Harm::Emptied => bytes.clear(),
        Harm::Flip | Harm::Lost => {}
    }
    match harm {
        Harm::Lost => fs::remove_file(file).unwrap(),
        _ => fs::write(file, bytes).unwrap(),
    }
    format!("{harm:?} at {at}")
}

/// Directories of runs that came so far: before the first fold, behind some, and to the end.
fn good() -> Vec<TempDir> {
    let folder = quick_folder();
    let part = |third| {
        run_part(folder.path(), third, Durability::Fsync, quiet).unwrap();
        copy(folder.path())
    };
    [counted::THIRD / 8, counted::THIRD / 2, counted::THIRD]
        .map(part)
        .into()
}

#[test]
fn a_file_that_is_damaged_in_any_way_gives_an_error_or_the_right_counts() {
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (good, expected) = (good(), counted::expected());
    let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let rounds = if is_full() { 5 } else { 1 };
    let mut wrong = vec![];
    for _ in 0..rounds {
        for folder in &good {
            // What a sink has written is its user's.
            let ours = files(folder.path())
                .into_iter()
                .filter(|file| !file.ends_with("lines"));
            for file in ours {
                for how in HARMS {
                    // All that can happen happens to each kind of file; not to each file every time.
                    if !is_full() && rng.random_bool(0.6) {
                        continue;
                    }
                    let damaged = copy(folder.path());
                    let inside = file.strip_prefix(folder.path()).unwrap();
                    let what = harm(&damaged.path().join(inside), how, &mut rng);
                    let what = format!("{}: {what} (FULMAR_SEED={seed})", inside.display());
                    let tally = told.entry(kind(inside)).or_default();
                    match run(damaged.path(), Durability::Fsync, quiet) {
                        Ok((_, outcome)) if outcome == expected => tally.0 += 1,
                        Ok((_, outcome)) => wrong.push(format!("{what}: {outcome:?}")),
                        Err(error) => {
                            tally.1 += 1;
                            let text = error.to_string();
                            if text.len() < 30
                                || text.contains("panic")
                                || text.contains(counted::HANGS)
                            {
                                wrong.push(format!("{what}: not clear: {text}"));
                            }
                        }
                    }
                }
            }
        }
    }
    println!(
        "by kind of file, right and refused: {told:?}; {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
