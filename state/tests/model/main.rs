//! Method: model-based. The store, its shards, folds and views go through generated steps beside a [reference](reference):
//! a line of batches with what the states hold as of each, and counters of how far ledger, disk and process have come.
//!
//! The process may die in every step, before or after any of its writes. After each step everything that can be read is
//! compared, pinned views included, and a copy of the disk is opened as if the process had died just now.
//! `FULMAR_FULL=1` runs twenty times as many cases.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod checks;
mod folding;
mod reference;
mod step;
#[path = "../support/mod.rs"]
mod support;
mod world;

use fulmar_state::{Change, MemoryStorage};
use proptest::test_runner::{Config, FileFailurePersistence};
use proptest_state_machine::{
    ReferenceStateMachine as _, StateMachineTest as _, prop_state_machine,
};

use reference::Reference;
use step::{Crash, Op, Step, To};
use support::{Changes, Moment};
use world::{Kind, Tested};

struct Memory;

impl Kind for Memory {
    type Medium = MemoryStorage;

    fn make() -> MemoryStorage {
        support::memory()
    }
}

#[cfg(feature = "rocksdb")]
struct Rocks;

#[cfg(feature = "rocksdb")]
impl Kind for Rocks {
    type Medium = support::RocksMedium;

    fn make() -> support::RocksMedium {
        support::rocks()
    }
}

fn config(cases: u32, shrinks: u32) -> Config {
    let full = std::env::var_os("FULMAR_FULL").is_some_and(|full| full == "1");
    Config {
        cases: if full { 20 * cases } else { cases },
        max_shrink_iters: shrinks,
        // Of all cases together: steps that cannot happen at their time are drawn again.
        max_local_rejects: 1 << 24,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

prop_state_machine! {
    #![proptest_config(config(400, 20_000))]
    #[test]
    fn memory_survives_a_crash_anywhere(sequential 1..80 => Tested<Memory>);
}

#[cfg(feature = "rocksdb")]
prop_state_machine! {
    #![proptest_config(config(12, 1_000))]
    #[test]
    fn rocks_survives_a_crash_anywhere(sequential 1..50 => Tested<Rocks>);
}

/// Steps that between them make every kind of write there is.
fn script() -> Vec<Op> {
    let batch = |key: &str, count: u64| {
        let names = vec![(key.to_owned(), Change::Put(format!("{key}{count}")))];
        let counts = vec![
            (key.to_owned(), Change::Delta(count)),
            ("ab".to_owned(), Change::Delta(count)),
        ];
        Op::Process(Changes { counts, names })
    };
    let remove = Changes {
        counts: vec![("a".to_owned(), Change::Remove)],
        ..Changes::default()
    };
    let start = |executors| Op::Start {
        executors,
        again: true,
    };
    let told = |txid| Op::Notice { txid, wrong: false };
    let (prepare, seal, publish) = (
        Op::Prepare { count: 2 },
        Op::Seal { but: 0 },
        Op::Publish { but: 0 },
    );
    let mut script = vec![
        start(2),
        batch("a", 1),
        batch("b", 2),
        prepare.clone(),
        seal.clone(),
        told(1),
        Op::Pin,
    ];
    script.extend([
        told(2),
        Op::TakeFold,
        batch("a", 4),
        prepare.clone(),
        Op::Ingest,
        seal.clone(),
        Op::Ingest,
    ]);
    script.extend([
        told(3),
        publish.clone(),
        Op::FinishFold,
        batch("b", 8),
        prepare.clone(),
        Op::Rewind(To::Sealed),
    ]);
    script.extend([
        Op::Process(remove),
        prepare.clone(),
        Op::Pin,
        seal.clone(),
        told(4),
        publish,
        Op::RecordPublished,
    ]);
    script.extend([
        Op::TakeFold,
        Op::Ingest,
        Op::Rewind(To::Sealed),
        Op::Ingest,
        Op::FinishFold,
        Op::Rest,
    ]);
    script.extend([start(4), batch("a", 16), prepare, seal, told(5), Op::Pin]);
    script
}

/// Runs the script; the process dies in one step, is started again at once, and what makes no sense any more is left out.
fn crash_script(script: &[Op], at: usize, crash: Crash) -> (Reference, usize) {
    let mut model = Reference::new();
    let mut world = Tested::<Memory>::init_test(&model);
    let mut go = |op: Op, crash: Option<Crash>| {
        let step = Step { op, crash };
        if model.allows(&step.op) {
            model = Reference::apply(model.clone(), &step);
            Tested::<Memory>::step(&mut world, &model, &step);
        }
    };
    for (step, op) in script.iter().enumerate() {
        go(op.clone(), (step == at).then_some(crash));
        if step == at {
            go(
                Op::Start {
                    executors: 3,
                    again: false,
                },
                None,
            );
        }
    }
    (model, world.crashes)
}

#[test]
fn every_call_of_a_script_may_be_the_last() {
    let script = script();
    let mut crashes = 0;
    for at in 0..script.len() {
        for write in 0..2 {
            for moment in [Moment::Before, Moment::After] {
                let (model, died) = crash_script(&script, at, Crash { write, moment });
                assert!(model.sealed > 1, "batches are sealed after the crash, too");
                crashes += died;
            }
        }
    }
    assert!(crashes > 30, "{crashes} writes failed");
}
