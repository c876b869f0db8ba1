//! Method: crash at every numbered call of the seams (storage, ledger, sinks), before its effect, after it, or with its outcome
//! unknown; then another run on what survived. States, outputs, dead letters and positions must be exactly those of the sealed
//! batches, evaluated plainly, and together exactly the input. `FULMAR_SEED` repeats the drawn sample; `FULMAR_FULL=1` takes all.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "this is a test, which tells how long it took"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fulmar_property_tests::oracle::judge;
use fulmar_property_tests::scripted::{Script, Setting};
use fulmar_property_tests::seams::{Disk, Fault, Phase, World};
use fulmar_property_tests::{is_full, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SETTING: Setting = Setting {
    executors: 2,
    batch_records: 6,
    max_pending: 2,
};

/// How a run met its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// The run ended before that call came.
    Never,
    /// At this call; the data goes on without it.
    Crashed(Phase),
    /// At this call; the run went on to its end in spite of it.
    Survived(Phase),
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn script() -> Script {
    Script::of(180)
}

/// Runs until the fault strikes. After it the run is dropped at once, or left to find out by itself.
async fn until(disk: &Disk, fault: (usize, Fault), setting: Setting, what: &str) -> Met {
    let (script, world) = (script(), World::on(disk, Some(fault)));
    let phase = |world: &World| world.calls().get(fault.0).copied();
    match script.start(&world, setting).await {
        Err(error) => assert!(world.is_dead(), "{what}: {error}"),
        Ok(live) => {
            let ended = tokio::select! {
                biased;
                () = world.died() => None,
                ended = live.running.drained() => Some(ended),
            };
            if let Some(ended) = ended
                && !world.is_dead()
            {
                assert!(ended.is_ok(), "{what}: {ended:?}");
                let found = live.finish(disk, &script.input()).await;
                if !world.is_dead() {
                    judge(
                        &script.input(),
                        found.unwrap_or_else(|error| panic!("{what}: {error}")),
                        what,
                    );
                    return phase(&world).map_or(Met::Never, Met::Survived);
                }
            } else if fault.0.is_multiple_of(2) && phase(&world) != Some(Phase::Publish) {
                // Whatever it does next fails, so it must come to an end by itself, unless nothing is left to be done.
                let patience = Duration::from_secs(15);
                let drained_or_ended = live.running.drained();
                let end = tokio::time::timeout(patience, drained_or_ended).await;
                assert!(end.is_ok(), "{what}: the run hangs after the crash");
            }
        }
    }
    Met::Crashed(phase(&world).expect("what has struck has a phase"))
}

async fn to_the_end(disk: &Disk, setting: Setting, what: &str) {
    let (script, world) = (script(), World::on(disk, None));
    let live = script
        .start(&world, setting)
        .await
        .unwrap_or_else(|error| panic!("{what}: it does not start: {error}"));
    let found = live
        .finish(disk, &script.input())
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    judge(&script.input(), found, what);
    let (record, _) = disk.ledger.peek().expect("a run leaves a record");
    assert_eq!(
        record.records,
        script.input().len() as u64,
        "{what}: records in the ledger"
    );
    let position = |index: usize| [&[1][..], &(index as u64).to_be_bytes()].concat();
    for (spout, partition, len) in [
        ("left", "0", script.left[0].len()),
        ("left", "1", script.left[1].len()),
        ("right", "0", script.right.len()),
    ] {
        let found = record.positions.get(spout, partition).map(<[u8]>::to_vec);
        assert_eq!(
            found,
            Some(position(len)),
            "{what}: position of {spout} {partition}"
        );
    }
}

#[derive(Default)]
struct Tally {
    crashed: BTreeMap<Phase, u64>,
    survived: BTreeMap<Phase, u64>,
    runs: u64,
}

impl Tally {
    fn note(&mut self, met: Met) {
        self.runs += 1;
        match met {
            Met::Never => {}
            Met::Crashed(phase) => *self.crashed.entry(phase).or_default() += 1,
            Met::Survived(phase) => *self.survived.entry(phase).or_default() += 1,
        }
    }
}

const LEDGER: [Fault; 5] = [
    Fault::Before,
    Fault::After,
    Fault::Unknown,
    Fault::Blip { applied: true },
    Fault::Blip { applied: false },
];
const STORAGE: [Fault; 3] = [Fault::Before, Fault::After, Fault::Full];

/// In which ways a call is crashed that is probably of this phase. An ordinary run takes every call but those of sinks and reads, of
/// which there are many, in every way, and a fifth of the others; a full run takes every call in every way.
fn ways(phase: Option<Phase>, rng: &mut ChaCha8Rng) -> Vec<Fault> {
    match phase {
        None => vec![Fault::Before, Fault::After],
        _ if is_full() => [&LEDGER[..], &[Fault::Full]].concat(),
        Some(Phase::Seal | Phase::Fence) => LEDGER.to_vec(),
        Some(Phase::Publish | Phase::Read) if !rng.random_bool(0.2) => vec![],
        Some(Phase::Publish | Phase::Read | Phase::Load) => vec![Fault::Before, Fault::After],
        Some(_) => STORAGE.to_vec(),
    }
}

#[test]
fn a_run_without_faults_folds_and_comes_to_what_was_sealed() {
    runtime().block_on(async {
        for executors in [1, 2, 3] {
            let (disk, setting) = (
                Disk::default(),
                Setting {
                    executors,
                    ..SETTING
                },
            );
            let (script, world) = (script(), World::on(&disk, None));
            let live = script.start(&world, setting).await.unwrap();
            let found = live.finish(&disk, &script.input()).await.unwrap();
            assert_eq!(found.dead.values().flatten().count(), 3, "dead letters");
            judge(&script.input(), found, "no fault");
            let mut phases: BTreeMap<Phase, usize> = BTreeMap::new();
            world
                .calls()
                .into_iter()
                .for_each(|phase| *phases.entry(phase).or_default() += 1);
            println!("{executors} executors: {phases:?}");
            assert!(phases[&Phase::FinishFold] >= 3, "folds");
        }
    });
}

#[test]
fn a_crash_at_any_call_changes_nothing() {
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let trace = runtime().block_on(async {
        let (disk, script) = (Disk::default(), script());
        let world = World::on(&disk, None);
        script
            .start(&world, SETTING)
            .await
            .unwrap()
            .finish(&disk, &script.input())
            .await
            .unwrap();
        world.calls()
    });
    // How long a run is varies a little with its threads, so it goes on until no call is left to be crashed in.
    for call in 0.. {
        let ways = ways(trace.get(call).copied(), &mut rng);
        let mut over = call > trace.len();
        for fault in ways {
            let what = format!("{fault:?} at call {call} (FULMAR_SEED={seed})");
            let disk = Disk::default();
            let met = runtime().block_on(async {
                let met = until(&disk, (call, fault), SETTING, &what).await;
                to_the_end(&disk, SETTING, &what).await;
                met
            });
            over &= met == Met::Never;
            tally.note(met);
        }
        if over {
            break;
        }
    }
    let Tally {
        crashed,
        survived,
        runs,
    } = tally;
    println!(
        "{runs} crashes: {crashed:?}; survived: {survived:?}; {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let enough = if is_full() { 10 } else { 3 };
    for phase in [
        Phase::Prepare,
        Phase::Seal,
        Phase::Publish,
        Phase::Flush,
        Phase::FinishFold,
        Phase::Rewind,
        Phase::Fence,
    ] {
        let hit = crashed.get(&phase).copied().unwrap_or_default();
        // A run fences once, so that call is crashed in once in each way, however many runs there are.
        let enough = if phase == Phase::Fence { 3 } else { enough };
        assert!(hit >= enough, "{phase:?} was crashed in {hit} times");
    }
    assert!(
        survived.contains_key(&Phase::Seal),
        "no write of unknown outcome was settled"
    );
}

#[test]
fn crashes_one_after_another_change_nothing() {
    let (seed, began) = (seed(), Instant::now());
    println!("FULMAR_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut phases: BTreeMap<(Phase, Phase), u64> = BTreeMap::new();
    let worlds = if is_full() { 3_000 } else { 60 };
    for world in 0..worlds {
        let disk = Disk::default();
        let mut last = Phase::Begin;
        let mut told = format!("FULMAR_SEED={seed}, world {world}");
        // The later crashes fall into recovery more often than not.
        for crash in 0..rng.random_range(2..6) {
            let call = if crash == 0 {
                rng.random_range(0..250)
            } else {
                rng.random_range(0..40)
            };
            let fault =
                [Fault::Before, Fault::After, Fault::Unknown, Fault::Full][rng.random_range(0..4)];
            let setting = Setting {
                executors: rng.random_range(1..4),
                batch_records: rng.random_range(3..12),
                max_pending: rng.random_range(1..5),
            };
            told.push_str(&format!("; {fault:?} at {call} with {setting:?}"));
            let met = runtime().block_on(until(&disk, (call, fault), setting, &told));
            let (Met::Crashed(phase) | Met::Survived(phase)) = met else {
                break;
            };
            *phases.entry((last, phase)).or_default() += 1;
            last = phase;
        }
        runtime().block_on(to_the_end(&disk, SETTING, &told));
    }
    println!(
        "{worlds} worlds, crash after crash: {phases:?}; {:.1} s",
        began.elapsed().as_secs_f64()
    );
}
