//! Oracle: seeded worlds of the whole engine; what each must have come to is recounted by code of its own.

use fulmar::testing::{Bug, DiskFault, Fault, Figures, Graph, Kind, Plan, Process, World};

/// Without optimisation a world takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 400 } else { 20_000 };

#[test]
fn whatever_goes_wrong_each_world_ends_right() {
    let mut figures = Figures::default();
    for seed in 0..SEEDS {
        let plan = Plan::of(seed);
        let report = World::run(&plan);
        figures.add(&report.figures);
        assert_eq!(report.violation, None, "{plan}");
        assert!(plan.workers >= 2 && plan.partitions >= 3, "{plan}");
        let Figures {
            sealed, crashes, ..
        } = report.figures;
        assert!(sealed >= 10 && crashes > 0, "{sealed} batches: {plan}");
    }
    println!("{figures}");
    for kind in Kind::ALL {
        let name = kind.name();
        assert!(figures.strikes(kind) > 0, "no {name} has struck at all");
    }
}

#[test]
fn a_fault_is_counted_when_it_strikes() {
    let mut plans = (0..100).map(Plan::of).filter(|plan| plan.spouts.len() == 1);
    let mut plan = plans.next().unwrap();
    plan.graph = Graph::letters();
    let full = Fault::Disk {
        worker: 0,
        fault: DiskFault::Full,
    };
    // The second is armed so late that the disk is mended before the next write.
    plan.faults = vec![
        (1, Fault::Sinks { times: 2 }),
        (1, full),
        (plan.calm - 1, full),
    ];
    let figures = World::run(&plan).figures;
    assert_eq!(figures.strikes(Kind::SinkRefuses), 2);
    assert_eq!(figures.strikes(Kind::DiskFull), 1);
    assert_eq!(figures.strikes(Kind::ClockJump), 0);
}

#[test]
fn what_was_not_made_durable_goes_with_the_power_and_nothing_else() {
    let mut lost = 0;
    for seed in 0..40 {
        let mut plan = Plan::of(seed);
        let at = |step, fault| (step, Fault::Disk { worker: 0, fault });
        plan.faults = vec![
            at(100, DiskFault::LosesPower(0)),
            at(200, DiskFault::SyncFails),
            (
                250,
                Fault::CrashAll {
                    power: true,
                    down_ms: 5,
                },
            ),
            at(300, DiskFault::LosesPower(0)),
        ];
        let report = World::run(&plan);
        assert_eq!(report.violation, None, "{plan}");
        lost += report.figures.lost_writes;
    }
    assert!(lost >= 40, "only {lost} writes were lost");
}

#[test]
fn the_same_plan_has_the_same_trace() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let plan = Plan::of(seed);
        assert_eq!(plan, Plan::of(seed));
        let report = World::run(&plan);
        assert_eq!(report, World::run(&plan), "{plan}");
        digests.insert(report.digest);
    }
    assert_eq!(digests.len(), 50, "the digest tells worlds apart");
}

#[test]
fn a_plan_can_be_changed_and_told() {
    let mut plan = Plan::of(3);
    plan.faults = vec![
        (
            100,
            Fault::Disk {
                worker: 0,
                fault: DiskFault::DiesAfter,
            },
        ),
        (
            140,
            Fault::Crash {
                process: Process::Coordinator,
                down_ms: 5,
            },
        ),
    ];
    let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let teller = told.clone();
    let report = World::trace(&plan, move |line| teller.borrow_mut().push(line));
    assert_eq!(report, World::run(&plan), "being told of changes nothing");
    assert_eq!(report.violation, None);
    assert_eq!(report.figures.crashes, 2);
    let told = told.borrow();
    let has = |what: &str| told.iter().any(|line| line.contains(what));
    assert!(has("worker 0 dies") && has("the ledger holds") && has("announce"));
}

#[test]
fn each_rule_broken_on_purpose_is_found() {
    for bug in Bug::ALL {
        let found = (0..1_000).find_map(|seed| {
            let report = World::run(&Plan::of(seed).with_bug(bug));
            Some((seed, report.violation?.what))
        });
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

#[test]
fn every_plan_that_was_kept_ends_right() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plans");
    let files = std::fs::read_dir(folder).expect("the folder of kept plans");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 2, "plans in {folder}: {files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a plan's text");
        let plan: Plan = match text.parse() {
            Ok(plan) => plan,
            Err(error) => panic!("{}: {error}", file.display()),
        };
        let report = World::run(&plan);
        assert_eq!(report.violation, None, "{}", file.display());
        assert_eq!(report, World::run(&plan), "{}", file.display());
    }
}
