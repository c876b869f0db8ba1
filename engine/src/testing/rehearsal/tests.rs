//! Mutation: rules broken on purpose are found in the world of a user's topology, too, where nothing is known of its records.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::bug::Bug;
use super::super::draw;
use super::super::plan::{Promise, SpoutPlan};
use super::super::world::World;
use super::*;
use crate::aggregate::Count;
use crate::stream::Topology;

fn topology(rig: &Rig) -> Topology {
    let topology = Topology::new("words");
    let words = (0..40u32).map(|n| format!("word {}", n % 7));
    // What an old attempt held must not be what a new one holds, or taking the one for the other would be right.
    let words = topology.spout("words", rig.spout().records(words).opaque());
    let counts = words
        .group_by(|word| word.clone())
        .persistent_aggregate("counts", Count);
    counts.new_values().sink("news", rig.sink());
    words.sink("words", rig.sink());
    topology
}

#[test]
fn each_rule_broken_on_purpose_is_found_whatever_the_records() {
    // Three break rules at the world's own spouts, sinks and records; the last shows only where records fail.
    let elsewhere = [
        Bug::SpoutCheats,
        Bug::SinkLies,
        Bug::RepeatsChunk,
        Bug::SwallowsRewind,
    ];
    let make: Make<Topology> = Rc::new(topology);
    let rig = Rig::new();
    let stand = rig.stand();
    drop(topology(&rig));
    let spout = SpoutPlan {
        promise: Promise::Any,
        partitions: vec![vec![0; 40]],
        trickles: false,
    };
    for bug in Bug::ALL.into_iter().filter(|bug| !elsewhere.contains(bug)) {
        let found = (0..200).find_map(|seed| {
            let mut plan = draw::around(seed, vec![spout.clone()], 1);
            plan.bug = Some(bug);
            let end: End<Topology> = Rc::new(RefCell::new(None));
            let scene = Rehearsal::new(&plan, make.clone(), &stand, end).expect("it can be made");
            let report = World::run_scene(&plan, Box::new(scene), None);
            Some((seed, report.violation?.what))
        });
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
