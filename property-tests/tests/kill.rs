//! Method: differential, on the real program. Killed at random moments and started again until the end, it must write the bytes
//! of an uninterrupted run, which are those of a count made here by hand. `FULMAR_SEED` repeats the texts and the drawn moments.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "this is a test, which tells how long it took"
)]

use std::path::Path;
use std::time::Instant;

use fulmar_property_tests::campaign::{Figures, Variant, attack, undisturbed};
use fulmar_property_tests::text::{Vocabulary, count};
use fulmar_property_tests::{is_full, program, seed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn variants(rng: &mut ChaCha8Rng) -> Vec<Variant> {
    let small = Vocabulary::new(rng, 3_000, 1..12);
    let large = Vocabulary::new(rng, 40_000, 8..24);
    let mut texts = |names: &[&str], words: &Vocabulary, lines: usize| -> Vec<(String, Vec<u8>)> {
        let text = |name: &&str| {
            (
                name.to_string(),
                words.lines(rng, lines / names.len(), 0..12).into_bytes(),
            )
        };
        names.iter().map(text).collect()
    };
    let mut unended = texts(&["a", "b", "c"], &small, 30_000);
    // A last line without its end counts, too.
    unended[1].1.extend_from_slice(b"the end");
    vec![
        Variant {
            name: "transactional, fsync",
            texts: texts(&["text"], &small, 30_000),
            fixed: "--spout transactional --durability fsync",
            batch_lines: &[10, 20, 40],
            kills: 16,
            grows: false,
        },
        Variant {
            name: "opaque, process-crash, several files",
            texts: unended,
            fixed: "--spout opaque --durability process-crash",
            batch_lines: &[3, 10, 25],
            kills: 16,
            grows: false,
        },
        Variant {
            name: "folds, small memory",
            texts: texts(&["x", "y"], &large, 120_000),
            fixed: "--memory 16MiB --durability process-crash",
            batch_lines: &[200, 400, 800],
            kills: 16,
            grows: false,
        },
        Variant {
            name: "folds, opaque, fsync",
            texts: texts(&["x"], &large, 80_000),
            fixed: "--memory 16MiB --spout opaque",
            batch_lines: &[200, 400],
            kills: 12,
            grows: false,
        },
        Variant {
            name: "follow, growing files",
            texts: texts(&["first", "second"], &small, 16_000),
            fixed: "",
            batch_lines: &[20, 50],
            kills: 16,
            grows: true,
        },
    ]
}

#[test]
fn killed_at_any_moment_the_real_program_counts_each_word_once() {
    let (seed, began) = (seed(), Instant::now());
    let program = program::wordcount().unwrap();
    let quota = if is_full() { 3_000 } else { 75 };
    println!("FULMAR_SEED={seed}, {quota} kills of {}", program.display());
    let mut all = Figures::default();
    for round in 0.. {
        if all.kills >= quota {
            break;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed + round);
        for variant in variants(&mut rng) {
            let figures = one(&program, &variant, &mut rng, seed + round);
            println!("  {}: {figures:?}", variant.name);
            all += figures;
        }
    }
    let Figures {
        runs,
        kills,
        in_window,
        at_start,
        states,
        tables,
    } = all;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{kills} kills in {runs} runs on {states} states, {in_window} of them between the first seal and the last, {at_start} \
         before the program had said from where it goes on; {tables} table files; all counts exact; {seconds:.1} s"
    );
    assert!(kills >= 50);
    assert!(
        in_window * 5 >= kills * 4,
        "{in_window} of {kills} kills fell between the first seal and the last"
    );
    assert!(tables > 0, "no fold happened beneath the kills");
}

fn one(program: &Path, variant: &Variant, rng: &mut ChaCha8Rng, seed: u64) -> Figures {
    let what = format!("{} (FULMAR_SEED={seed})", variant.name);
    let expected = count(variant.texts.iter().map(|(_, text)| text.as_slice()));
    let folder = tempfile::tempdir().unwrap();
    let whole = undisturbed(program, folder.path(), variant)
        .unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(
        whole == expected,
        "{what}: an uninterrupted run and the count by hand differ"
    );
    let folder = tempfile::tempdir().unwrap();
    match attack(program, folder.path(), variant, rng) {
        Ok((output, figures)) => {
            if output != expected {
                let kept = folder.keep();
                panic!(
                    "{what}: after {} kills the counts differ; the folder is kept: {}",
                    figures.kills,
                    kept.display()
                );
            }
            figures
        }
        Err(error) => panic!(
            "{what}: {error:?}; the folder is kept: {}",
            folder.keep().display()
        ),
    }
}
