//! The power goes at any call.

use std::collections::BTreeMap;
use std::time::Instant;

use fulmar::state::Durability;
use fulmar_property_tests::power::counted;
use fulmar_property_tests::power::disk::{Disk, Left};
use fulmar_property_tests::power::trace::{self, Call};
use fulmar_property_tests::{is_full, quick_folder, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Traced, quiet, run, said, synced, traced};

/// What came of the power losses of one run.
#[derive(Debug, Default)]
struct Tally {
    /// How often a run went on and came to the right end, by what was left.
    exact: BTreeMap<Left, u64>,
    /// What those were told that could not go on, shortened, and how often.
    refused: BTreeMap<String, u64>,
    /// What must not be.
    wrong: Vec<String>,
}

/// Calls after which the power goes: those that sync or name something, and some of the others.
pub(super) fn moments(traced: &Traced, few: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut disk = Disk::new(&traced.root);
    let (mut key, mut other) = (vec![], vec![]);
    for (at, call) in traced.calls.iter().enumerate() {
        if disk.apply(call) {
            match call {
                Call::Write(..) => other.push(at),
                _ => key.push(at),
            }
        }
    }
    let mut draw = |from: Vec<usize>, few: usize| -> Vec<usize> {
        let share = few as f64 / from.len().max(1) as f64;
        from.into_iter()
            .filter(|_| rng.random_bool(share.min(1.0)))
            .collect()
    };
    let mut moments = draw(key, few / 3 * 2);
    moments.extend(draw(other, few / 3));
    moments.sort_unstable();
    moments
}

/// All of the calls in a full run.
pub(super) fn all_or(few: usize) -> usize {
    if is_full() { usize::MAX } else { few }
}

/// The power goes after each of the calls; what is left is run to its end.
fn cut_power(
    traced: &Traced,
    mut disk: Disk,
    moments: &[usize],
    durability: Durability,
    rng: &mut ChaCha8Rng,
) -> (Tally, Disk) {
    let (expected, mut tally) = (counted::expected(), Tally::default());
    let (mut sealed, mut moments) = (0, moments.iter().copied().peekable());
    for (at, call) in traced.calls.iter().enumerate() {
        disk.apply(call);
        sealed = said(call).map_or(sealed, |txid| txid.max(sealed));
        if moments.next_if_eq(&at).is_none() {
            continue;
        }
        let left = match rng.random_range(0..8) {
            0..3 => Left::Nothing,
            3..7 => Left::Chance,
            _ => Left::All,
        };
        let folder = quick_folder();
        disk.leave(folder.path(), left, rng);
        let what = format!(
            "after call {at} of {}, {left:?} left, {sealed} sealed",
            traced.calls.len()
        );
        match run(folder.path(), durability, quiet) {
            Err(error) => {
                let text = error
                    .to_string()
                    .replace(&*folder.path().to_string_lossy(), "");
                tally.wrong.push(format!("{what}: {text}"));
                *tally
                    .refused
                    .entry(text.chars().take(90).collect())
                    .or_default() += 1;
            }
            Ok((from, _)) if from < sealed => {
                tally.wrong.push(format!("{what}: it went on from {from}"))
            }
            Ok((_, outcome)) if outcome != expected => {
                tally.wrong.push(format!("{what}: it came to {outcome:?}"))
            }
            Ok(_) => *tally.exact.entry(left).or_default() += 1,
        }
    }
    (tally, disk)
}

#[test]
fn after_a_power_loss_at_any_call_everything_sealed_is_there_and_every_count_is_right() {
    let Some(traced) = synced() else {
        return;
    };
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let moments = moments(traced, all_or(90), &mut rng);
    let (tally, _) = cut_power(
        traced,
        Disk::new(&traced.root),
        &moments,
        Durability::Fsync,
        &mut rng,
    );
    let of = traced.calls.len();
    println!(
        "{} power losses in {of} calls: {:?}; {:.1} s",
        moments.len(),
        tally.exact,
        began.elapsed().as_secs_f64()
    );
    assert!(
        tally.wrong.is_empty(),
        "FULMAR_SEED={seed}: {:#?}",
        tally.wrong
    );
    assert!(tally.exact.len() == 3, "too few power losses");
}

/// Without syncs a power loss may cost the state; it is then refused, and never wrong.
#[test]
fn a_power_loss_without_syncs_gives_the_right_counts_or_an_error() {
    if !trace::is_possible() {
        println!("skipped: no program can be traced here: install strace");
        return;
    }
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lazy = traced(Durability::ProcessCrash);
    let moments = moments(&lazy, all_or(45), &mut rng);
    let (tally, _) = cut_power(
        &lazy,
        Disk::new(&lazy.root),
        &moments,
        Durability::ProcessCrash,
        &mut rng,
    );
    println!(
        "{} power losses: {:?}, refused: {:#?}; {:.1} s",
        moments.len(),
        tally.exact,
        tally.refused,
        began.elapsed().as_secs_f64()
    );
    let counted_wrongly = tally
        .wrong
        .iter()
        .filter(|wrong| wrong.contains("it came to") || wrong.contains(counted::HANGS));
    assert_eq!(
        counted_wrongly.collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "FULMAR_SEED={seed}"
    );
}

/// The world sees what it is made to see: each kind of sync, left out, is noticed.
#[test]
fn each_kind_of_sync_that_is_forgotten_is_noticed() {
    let Some(traced) = synced() else {
        return;
    };
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let root = traced.root.display().to_string();
    for forgotten in [".log", "LEDGER.tmp", "deep/er/state", &root, "/lines"] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut noticed = None;
        for round in 0..40 {
            let moments = moments(traced, 12, &mut rng);
            let disk = Disk::new(&traced.root).forgetting(&[forgotten]);
            let (tally, disk) = cut_power(traced, disk, &moments, Durability::Fsync, &mut rng);
            assert!(
                disk.forgot() > 0,
                "nothing that ends with {forgotten:?} is synced"
            );
            if let Some(wrong) = tally.wrong.first() {
                noticed = Some(format!("round {round}: {wrong}"));
                break;
            }
        }
        let shown = noticed.unwrap_or_else(|| panic!("{forgotten:?} was not noticed"));
        println!(
            "{forgotten:?}: {shown}; {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
}
