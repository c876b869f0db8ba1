//! Method: the program `./fulmar sim` as its users call it.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::path::Path;
use std::process::{Command, Output};

use fulmar::testing::{Plan, World};
use fulmar_property_tests::program;
use tempfile::TempDir;

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program::sim().unwrap());
    command.args(arguments).current_dir(folder);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn worlds_are_the_same_however_they_are_compiled_and_on_however_many_threads() {
    let seeds = 0..60;
    let digests = seeds.map(|seed| World::run(&Plan::of(seed)).digest);
    let sum = digests.fold(0, u64::wrapping_add);
    for threads in ["1", "3"] {
        let output = sim(folder().path(), &["--seeds", "0..60", "--threads", threads]);
        let told = text(&output);
        assert!(output.status.success(), "{told}");
        assert!(told.contains(&format!("digest {sum:016x}")), "{told}");
        assert!(
            told.contains("\n60 worlds, ") || told.starts_with("60 worlds, "),
            "{told}"
        );
        assert!(told.contains("0 rules broken"), "{told}");
    }
}

#[test]
fn a_broken_rule_is_told_with_its_seed_and_a_smaller_plan_that_breaks_it_again() {
    let folder = folder();
    let bug = ["--bug", "PublishesEarly"];
    let output = sim(folder.path(), &[&["--seeds", "0..500"], &bug[..]].concat());
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let again = "see it again: ./fulmar sim --seed ";
    let at = told.find(again).unwrap() + again.len();
    let (seed, rest) = told[at..].split_once(' ').unwrap();
    assert!(rest.starts_with("--trace --bug PublishesEarly"), "{told}");
    let one = sim(
        folder.path(),
        &[&["--seed", seed, "--trace"], &bug[..]].concat(),
    );
    let steps = text(&one);
    assert_eq!(one.status.code(), Some(1), "{steps}");
    assert!(
        steps.contains("Term(0) -> Recorder(0)"),
        "every step is told: {steps}"
    );

    let file = format!("sim-{seed}.plan");
    let small = std::fs::read_to_string(folder.path().join(&file)).unwrap();
    let small: Plan = small.parse().unwrap();
    let large = Plan::of(seed.parse().unwrap());
    assert!(small.faults.len() <= large.faults.len());
    let again = sim(folder.path(), &["--plan", &file]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_what_was_expected() {
    let folder = folder();
    std::fs::write(folder.path().join("no.plan"), "(seed: 1,\n graph: [").unwrap();
    for (arguments, expected) in [
        (&["--seeds", "5..5"][..], "there is no seed"),
        (&["--seeds", "all"], "two numbers"),
        (&["--trace"], "give --seed or --plan"),
        (&["--minutes=-1"], "--minutes is a number"),
        (&["--bug", "Nothing"], "SkipsFence"),
        (&["--plan", "nowhere.plan"], "nowhere.plan"),
        (&["--plan", "no.plan"], "line 2"),
    ] {
        let output = sim(folder.path(), arguments);
        let told = text(&output);
        assert!(!output.status.success(), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
