//! Oracle: seeded worlds of the whole engine; what each must have come to is recounted by code of its own.

use fulmar::testing::{Bug, Figures, Plan, World};

#[test]
fn whatever_goes_wrong_each_world_ends_right() {
    let mut figures = Figures::default();
    for seed in 0..2_000 {
        let plan = Plan::of(seed);
        let report = World::run(&plan);
        figures.add(&report.figures);
        assert_eq!(report.violation, None, "{plan}");
    }
    println!("{figures}");
}

#[test]
fn the_same_plan_has_the_same_trace() {
    for seed in 0..50 {
        let plan = Plan::of(seed);
        assert_eq!(plan, Plan::of(seed));
        assert_eq!(World::run(&plan), World::run(&plan), "{plan}");
    }
}

#[test]
fn deliberate_bugs_are_found() {
    for bug in Bug::ALL {
        let found = (0..1_000).find_map(|seed| {
            let report = World::run(&Plan::of(seed).with_bug(bug));
            Some((seed, report.violation?))
        });
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
