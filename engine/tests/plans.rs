//! Properties of plans: as text they are what they were, whatever simplifies them leaves them runnable, and what fails shrinks.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fulmar::testing::{Bug, Fault, Graph, Node, Plan, PlanError, World, shrink};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_the_same_after_it_was_text(seed: u64, bug in prop::option::of(prop::sample::select(&Bug::ALL[..]))) {
        let plan = Plan::of(seed);
        let plan = bug.map_or(plan.clone(), |bug| plan.with_bug(bug));
        prop_assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
    }
}

#[test]
fn a_fault_stands_on_a_line_of_its_own() {
    let plan = Plan::of(7);
    let text = plan.to_string();
    for (step, fault) in &plan.faults {
        let text_of_fault = format!("    ({step}, ");
        let found = text.lines().any(|line| line.starts_with(&text_of_fault));
        assert!(found, "{fault:?} in {text}");
    }
}

fn told(change: impl Fn(String) -> String) -> PlanError {
    let text = change(Plan::of(7).to_string());
    text.parse::<Plan>().unwrap_err()
}

#[test]
fn what_is_no_plan_is_refused_with_its_line_and_what_was_expected() {
    let PlanError::Text { line, expected, .. } =
        told(|text| text.replace("workers: 2", "workers: two"))
    else {
        panic!("a text error");
    };
    let at = Plan::of(7).to_string();
    let at = at.lines().position(|line| line.contains("workers: 2"));
    assert_eq!(Some(line), at.map(|at| at + 1));
    assert!(expected.to_lowercase().contains("expected"), "{expected}");

    let error = told(|text| text.replace("workers: 2", "workmen: 2")).to_string();
    assert!(
        error.contains("workmen") && error.contains("workers"),
        "{error}"
    );
    let error = told(|text| text.replace("workers: 2", "workers: 0")).to_string();
    assert!(error.contains("workers are 0, expected 1 to"), "{error}");
    let error = told(|text| text.replace("Spout(spout: 0", "Spout(spout: 9")).to_string();
    assert!(error.contains("node 0 is spout 9"), "{error}");
    let error = told(|text| text.replace("slow: ", "slow: Some(99),//")).to_string();
    assert!(error.contains("slow is executor 99"), "{error}");
    let error = told(|text| text.replace("poison: [", "poison: [((0, 0, 999), Fails),"));
    assert!(
        error.to_string().contains("poison at (0, 0, 999)"),
        "{error}"
    );
}

#[test]
fn faults_may_be_written_in_any_order() {
    let text = Plan::of(7).to_string();
    let changed: Plan = text
        .replace("faults: [", "faults: [(399, TakeOver), (1, Lose),")
        .parse()
        .unwrap();
    assert_eq!(changed.faults[0], (1, Fault::Lose));
    assert!(changed.faults.is_sorted_by_key(|(step, _)| *step));
}

#[test]
fn whatever_is_simpler_can_be_run_and_written() {
    for seed in 0..40 {
        let plan = Plan::of(seed);
        for simpler in plan.simpler() {
            assert_ne!(simpler, plan);
            assert_eq!(
                simpler.to_string().parse(),
                Ok(simpler.clone()),
                "{simpler}"
            );
        }
        // The strongest of each kind, as a sample: all of them would take minutes.
        for simpler in plan.simpler().iter().step_by(41) {
            assert_eq!(World::run(simpler).violation, None, "{simpler}");
        }
    }
}

#[test]
fn the_named_topologies_end_right() {
    for (graph, spouts) in [
        (Graph::words(), 1),
        (Graph::merged(), 2),
        (Graph::letters(), 1),
    ] {
        let mut plans = (0..200)
            .map(Plan::of)
            .filter(|plan| plan.spouts.len() == spouts);
        let mut plan = plans.next().unwrap();
        plan.graph = graph;
        assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
        assert_eq!(World::run(&plan).violation, None, "{plan}");
    }
}

#[test]
fn a_plan_that_fails_shrinks_to_one_that_fails_in_the_same_way() {
    for bug in [
        Bug::LedgerIgnoresVersion,
        Bug::SinkLies,
        Bug::StorageForgetsSync,
    ] {
        let mut plans = (0..1_000).map(|seed| Plan::of(seed).with_bug(bug));
        let (plan, kind) = plans
            .find_map(|plan| {
                let large = plan.faults.len() > 12 && plan.graph.nodes.len() > 4;
                let violation = World::run(&plan).violation.filter(|_| large)?;
                Some((plan, violation.kind()))
            })
            .unwrap();
        let fails = |plan: &Plan| {
            let violation = World::run(plan).violation;
            violation.is_some_and(|violation| violation.kind() == kind)
        };
        let simple = shrink(&plan, fails, 3_000);
        println!("{bug:?}, {kind}: {simple}");
        assert!(fails(&simple), "{simple}");
        assert_eq!(
            simple,
            shrink(&plan, fails, 3_000),
            "the search is deterministic"
        );
        assert!(simple.faults.len() <= 4, "{simple}");
        assert!(2 * records(&simple) <= records(&plan), "{simple}");
        let sources = |node: &&Node| matches!(node, Node::Spout { .. });
        let spouts = simple.graph.nodes.iter().filter(sources).count();
        assert_eq!(spouts, simple.spouts.len());
        assert!(simple.graph.nodes.len() <= 4, "{simple}");
    }
}

fn records(plan: &Plan) -> usize {
    let partitions = plan.spouts.iter().flat_map(|spout| &spout.partitions);
    partitions.map(Vec::len).sum()
}
