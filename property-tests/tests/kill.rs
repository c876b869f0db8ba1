//! Method: differential, on the real program. Killed at random moments and started again until the end, it must write the bytes
//! of an uninterrupted run, which are those of a count made here by hand; so must the mortal program, which dies at each named point, and
//! its sink must have taken every word once. `FULMAR_SEED` repeats the texts and the drawn moments.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "this is a test, which tells how long it took"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fulmar_property_tests::campaign::board::{Board, Figures, Quota};
use fulmar_property_tests::campaign::lanes::{Campaign, Ledgers};
use fulmar_property_tests::campaign::life::{Programs, Spouts};
use fulmar_property_tests::campaign::{Variant, attack, undisturbed};
use fulmar_property_tests::text::{Vocabulary, count};
use fulmar_property_tests::{is_full, program, quick_folder, seed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A text by that name, with its options and how it is killed.
struct Shape {
    name: &'static str,
    files: &'static [&'static str],
    /// Long words in many lines, which are folded.
    long: bool,
    lines: usize,
    fixed: &'static str,
    batch_lines: &'static [u64],
    kills: u64,
    grows: bool,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "transactional, fsync",
        files: &["text"],
        long: false,
        lines: 30_000,
        fixed: "--spout transactional --durability fsync",
        batch_lines: &[10, 20, 40],
        kills: 12,
        grows: false,
    },
    Shape {
        name: "opaque, process-crash, several files",
        files: &["a", "b", "c"],
        long: false,
        lines: 30_000,
        fixed: "--spout opaque --durability process-crash",
        batch_lines: &[3, 10, 25],
        kills: 12,
        grows: false,
    },
    Shape {
        name: "folds, small memory",
        files: &["x", "y"],
        long: true,
        lines: 120_000,
        fixed: "--memory 16MiB --durability process-crash",
        batch_lines: &[200, 400, 800],
        kills: 12,
        grows: false,
    },
    Shape {
        name: "folds, opaque, fsync",
        files: &["x"],
        long: true,
        lines: 80_000,
        fixed: "--memory 16MiB --spout opaque",
        batch_lines: &[200, 400],
        kills: 12,
        grows: false,
    },
    Shape {
        name: "follow, growing files",
        files: &["first", "second"],
        long: false,
        lines: 16_000,
        fixed: "",
        batch_lines: &[20, 50],
        kills: 12,
        grows: true,
    },
];

fn variants(program: &Path, rng: &mut ChaCha8Rng) -> Vec<Variant> {
    let small = Vocabulary::new(rng, 3_000, 1..12);
    let large = Vocabulary::new(rng, 40_000, 8..24);
    let mut variant = |shape: &Shape| {
        let words = if shape.long { &large } else { &small };
        let lines = shape.lines / shape.files.len();
        let text = |name: &&str| {
            let text = words.lines(rng, lines, 0..12).into_bytes();
            ((*name).to_owned(), text)
        };
        let mut texts: Vec<(String, Vec<u8>)> = shape.files.iter().map(text).collect();
        if shape.files.len() == 3 {
            // A last line without its end counts, too.
            texts[1].1.extend_from_slice(b"the end");
        }
        Variant {
            name: shape.name,
            program: program.to_path_buf(),
            mortal: false,
            zookeeper: None,
            texts,
            fixed: shape.fixed.to_owned(),
            batch_lines: shape.batch_lines,
            kills: shape.kills,
            grows: shape.grows,
        }
    };
    SHAPES.iter().map(&mut variant).collect()
}

#[test]
fn killed_at_any_moment_the_real_program_counts_each_word_once() {
    let (seed, began) = (seed(), Instant::now());
    let program = program::wordcount().unwrap();
    let quota = if is_full() { 3_000 } else { 50 };
    println!("FULMAR_SEED={seed}, {quota} kills of {}", program.display());
    let mut all = Figures::default();
    for round in 0.. {
        if all.kills >= quota {
            break;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed + round);
        for variant in variants(&program, &mut rng) {
            let figures = one(&variant, &mut rng, seed + round);
            println!("  {}: {} kills", variant.name, figures.kills);
            all += &figures;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{all}all counts exact; {seconds:.1} s");
    assert!(all.kills >= 40);
    assert!(
        all.in_window * 5 >= all.kills * 4,
        "{} of {} kills fell between the first seal and the last",
        all.in_window,
        all.kills
    );
    assert!(all.tables > 0, "no fold happened beneath the kills");
}

fn one(variant: &Variant, rng: &mut ChaCha8Rng, seed: u64) -> Figures {
    let what = format!("{} (FULMAR_SEED={seed})", variant.name);
    let expected = count(variant.texts.iter().map(|(_, text)| text.as_slice()));
    let folder = tempfile::tempdir().unwrap();
    let whole =
        undisturbed(folder.path(), variant).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(
        whole == expected,
        "{what}: an uninterrupted run and the count by hand differ"
    );
    let (folder, until) = (tempfile::tempdir().unwrap(), None);
    let kills = u64::MAX / 4;
    let board = Board::new(Quota { kills, until }, []);
    if let Err(error) = attack(folder.path(), variant, &board, rng) {
        let kept = folder.keep();
        panic!("{what}: {error:?}; the folder is kept: {}", kept.display());
    }
    board.figures()
}

#[test]
fn killed_at_each_named_point_with_either_ledger_and_spout_each_word_is_counted_once() {
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let campaign = Campaign {
        programs: Programs {
            real: program::wordcount().unwrap(),
            mortal: PathBuf::from(env!("CARGO_BIN_EXE_mortal_wordcount")),
        },
        seed,
        quota: Quota {
            kills: if is_full() { 1_000 } else { 100 },
            until: None,
        },
        ledgers: Ledgers::Both,
        spouts: Spouts::Both,
        points: true,
    };
    let board = Board::new(campaign.quota, campaign.aims());
    let tell = |figures: &Figures, took: Duration| {
        println!(
            "  {:.1} s: {} kills, {} points not hit yet",
            took.as_secs_f64(),
            figures.kills,
            figures.missed().len()
        );
    };
    let figures = campaign
        .run(&board, tell)
        .unwrap_or_else(|error| panic!("FULMAR_SEED={seed}: {error:#}"));
    println!("{figures}{:.1} s", began.elapsed().as_secs_f64());
    let missed = figures.missed();
    assert!(
        missed.is_empty(),
        "FULMAR_SEED={seed}: never hit: {missed:?}"
    );
    assert!(figures.kills >= 100, "{} kills", figures.kills);
    assert!(
        figures.zookeeper > 0 && figures.opaque > 0 && figures.twice > 0,
        "FULMAR_SEED={seed}: {figures}"
    );
}

/// A program that is WordCount, but for what the script does.
fn cheat(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("cheat");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// The campaign sees what it is made to see: a count too many, and batches that are forgotten.
#[test]
fn a_program_that_counts_wrongly_or_forgets_what_it_sealed_is_noticed() {
    let real = program::wordcount().unwrap();
    let real = real.display();
    for (script, kills, noticed) in [
        (
            format!("{real} \"$@\" && printf 'more\\t1\\n' >>counts.tsv"),
            0,
            ["the counts differ"; 2],
        ),
        (
            format!("rm -rf state; exec {real} \"$@\""),
            1_000,
            ["what was sealed is lost", "two led in one epoch"],
        ),
    ] {
        let folder = quick_folder();
        let program = cheat(folder.path(), &script);
        let mut rng = ChaCha8Rng::seed_from_u64(seed());
        let variant = variants(&program, &mut rng).swap_remove(0);
        let board = Board::new(Quota { kills, until: None }, []);
        let told = attack(folder.path(), &variant, &board, &mut rng).unwrap_err();
        let told = format!("{told:#}");
        assert!(noticed.iter().any(|text| told.contains(text)), "{told}");
    }
}
