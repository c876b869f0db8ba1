//! Draws a plan from a seed.

mod faults;
mod graph;

use super::plan::{Plan, Poison, Promise, SpoutPlan};
use super::random::Random;

pub(super) fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed);
    let random = &mut random;
    let workers = if random.percent(94) { 2 } else { 3 };
    let executors = random.within(1, 2) as u16;
    let batch_records = random.within(2, 4);
    // Enough for ten batches of one spout.
    let enough = batch_records * random.within(11, 13);
    let mut spouts = vec![spout(random, enough)];
    for _ in 0..*random.pick(&[0, 0, 0, 1, 1, 2]) {
        let more = random.below(enough + 1);
        spouts.push(spout(random, more));
    }
    let graph = graph::draw(random, spouts.len() as u8);
    let poison = poison(random, &spouts);
    let calm = random.within(400, 1600) as u32;
    let mut plan = Plan {
        seed,
        graph,
        workers,
        executors,
        partitions: random.within(3, 5) as u16,
        max_pending: random.within(1, 4) as usize,
        batch_records,
        max_attempts: random.within(1, 3) as u32,
        log_bytes: *random.pick(&[200, 600, 100_000]),
        pace_us: *random.pick(&[50, 400, 2000]),
        slow: random
            .percent(20)
            .then(|| random.below(u64::from(workers * executors)) as u16),
        faults: Vec::new(),
        spouts,
        poison,
        calm,
        bug: None,
    };
    plan.faults = faults::draw(random, &plan);
    plan
}

/// What happens to a topology of which only this is known: of its spouts, how many records there are, and what they promise; and how
/// many times as many steps a batch takes as one of the world's own topologies.
pub(super) fn around(seed: u64, spouts: Vec<SpoutPlan>, weight: u32) -> Plan {
    let mut random = Random::new(!seed);
    let mut plan = self::plan(seed);
    let records = |spout: &SpoutPlan| spout.partitions.iter().map(Vec::len).sum::<usize>() as u64;
    let most = spouts.iter().map(records).max().unwrap_or_default();
    plan.workers = 2;
    plan.batch_records = (most / random.within(8, 16)).max(1);
    plan.slow = plan.slow.filter(|slow| *slow < plan.tasks());
    plan.poison.clear();
    plan.spouts = spouts;
    for spout in &mut plan.spouts {
        spout.trickles = random.percent(40);
    }
    plan.calm *= weight;
    let faults = (0..weight).flat_map(|_| faults::draw(&mut random, &plan));
    plan.faults = faults.collect();
    plan.faults.sort_by_key(|(step, _)| *step);
    plan
}

fn spout(random: &mut Random, records: u64) -> SpoutPlan {
    // Few cheat: being caught ends a term, so that such a world shows little else.
    let promise = match random.below(24) {
        0 => Promise::Cheats,
        1..=8 => Promise::Any,
        _ => Promise::Identical,
    };
    // A reading may yield nothing at some offsets.
    let records = match promise {
        Promise::Any => records * 4 / 3,
        Promise::Identical | Promise::Cheats => records,
    };
    let partitions = random.within(1, 3);
    let skewed = random.percent(30);
    let mut split = vec![Vec::new(); partitions as usize];
    for _ in 0..records {
        // An empty partition is a partition, too.
        let at = random.below(partitions) as usize;
        let value = if skewed && random.percent(80) {
            7
        } else {
            random.below(32)
        };
        split[at].push(value as u8);
    }
    SpoutPlan {
        promise,
        partitions: split,
        trickles: random.percent(40),
    }
}

fn poison(random: &mut Random, spouts: &[SpoutPlan]) -> Vec<((u8, u8, u32), Poison)> {
    if !random.percent(25) {
        return Vec::new();
    }
    let mut poison = Vec::new();
    for _ in 0..random.within(1, 2) {
        let spout = random.below(spouts.len() as u64);
        let partitions = &spouts[spout as usize].partitions;
        let partition = random.below(partitions.len() as u64);
        let records = partitions[partition as usize].len() as u64;
        if records > 0 {
            let at = (spout as u8, partition as u8, random.below(records) as u32);
            let how = *random.pick(&[Poison::Fails, Poison::Panics]);
            poison.push((at, how));
        }
    }
    poison.sort_by_key(|(at, _)| *at);
    poison.dedup_by_key(|(at, _)| *at);
    poison
}
