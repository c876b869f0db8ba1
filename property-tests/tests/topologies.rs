//! Oracle: generated topologies on generated data under generated faults; what each sealed batch must have come to is evaluated plainly
//! by the seeded world's recount, which shares no code with the engine.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fulmar::testing::{Bug, Plan, World};
use fulmar_property_tests::is_full;
use fulmar_property_tests::worlds::{Case, Worlds};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner};

fn ends_right(case: Case) -> Result<(), TestCaseError> {
    match World::run(&case.plan).violation {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(format!(
            "step {}: {}",
            violation.step, violation.what
        ))),
    }
}

fn config(cases: u32) -> Config {
    Config {
        cases,
        max_shrink_iters: 5_000,
        failure_persistence: None,
        ..Config::default()
    }
}

#[test]
fn any_topology_over_any_data_comes_to_what_its_sealed_batches_say() {
    let cases = match is_full() {
        true => 20_000,
        false => 400,
    };
    let outcome = TestRunner::new(config(cases)).run(&Worlds::default(), ends_right);
    if let Err(TestError::Fail(why, case)) = &outcome {
        case.keep();
        panic!("{why}\n{case:?}");
    }
    outcome.unwrap();
}

#[test]
fn what_fails_shrinks_in_graph_data_and_faults_and_says_how_to_replay_it() {
    let worlds = Worlds {
        bug: Some(Bug::LedgerIgnoresVersion),
    };
    let config = config(1_000);
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let outcome = TestRunner::new_with_rng(config, rng).run(&worlds, ends_right);
    let Err(TestError::Fail(_, case)) = outcome else {
        panic!("a ledger that ignores versions is not found");
    };
    let drawn = Plan::of(case.seed);
    let Plan { graph, faults, .. } = &case.plan;
    assert!(graph.nodes.len() <= 2 && faults.len() <= 3, "{case:?}");
    assert!(faults.len() < drawn.faults.len(), "{case:?}");
    let records = |plan: &Plan| -> usize {
        let partitions = plan.spouts.iter().flat_map(|spout| &spout.partitions);
        partitions.map(Vec::len).sum()
    };
    assert!(
        records(&case.plan) <= 10 && records(&drawn) > 20,
        "{case:?}"
    );
    assert!(
        ends_right(case.clone()).is_err(),
        "what is left still fails"
    );

    case.keep();
    let file = case.file();
    let kept: Plan = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(kept, case.plan);
    let told = format!("{case:?}");
    let replay = format!("./fulmar sim --plan {} --trace", file.display());
    assert!(told.contains(&replay), "{told}");
    assert!(
        told.contains(&format!("./fulmar sim --seed {} --trace", case.seed)),
        "{told}"
    );
}
