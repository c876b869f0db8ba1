//! Method: contract between the deliberate faults and the sources: each patch still fits, and no rule is without a fault. Those
//! of the seams are found; that each patch is takes a build for each, and is looked at only in long campaigns.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeSet;

use fulmar_property_tests::is_full;
use fulmar_property_tests::mutations::{How, Mutation, Rule, SEEDS, SourceCopy, all};

#[test]
fn every_patch_fits_the_sources() {
    let copy = SourceCopy::new(None).unwrap();
    let mut patches = 0;
    for mutation in all().unwrap() {
        if let How::Patch(patch) = &mutation.how {
            copy.check(patch).unwrap();
            patches += 1;
        }
    }
    assert!(patches >= 15, "there are {patches} patches");
}

#[test]
fn a_patch_that_does_not_fit_is_named() {
    let mut copy = SourceCopy::new(None).unwrap();
    let patch = all().unwrap().into_iter().find_map(|one| match one.how {
        How::Patch(patch) => Some(patch),
        How::Seam(_) => None,
    });
    let patch = patch.unwrap();
    let twice = copy.with(&patch, |copy| copy.check(&patch));
    let told = format!("{:#}", twice.unwrap_err());
    assert!(told.contains("does not fit the sources"), "{told}");
    assert!(told.contains(&patch.display().to_string()), "{told}");
    copy.check(&patch).unwrap();
}

#[test]
fn every_invariant_and_every_flaw_has_a_fault_that_stands_for_it() {
    let all = all().unwrap();
    assert!(all.len() >= 25);
    let names: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "names are unique");
    let stands = |rule: &Rule| all.iter().any(|one: &Mutation| one.rules.contains(rule));
    let without: Vec<Rule> = Rule::all().filter(|rule| !stands(rule)).collect();
    assert_eq!(without, []);
}

#[test]
fn every_fault_is_found() {
    let mut copy = SourceCopy::new(None).unwrap();
    if is_full() {
        assert_eq!(copy.first(SEEDS).unwrap(), None, "without a fault");
    }
    for mutation in all().unwrap() {
        // Only patches have to be built.
        if is_full() || matches!(mutation.how, How::Seam(_)) {
            let found = mutation.look(&mut copy, SEEDS).unwrap();
            assert!(found.is_some(), "{} is not found", mutation.name);
        }
    }
}
