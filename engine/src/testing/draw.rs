//! Draws a plan from a seed: first how often each thing goes wrong in this world, then when.

use super::plan::{DiskFault, Fate, Fault, Plan, Poison, Process, Promise, Shape, SpoutPlan};
use super::random::Random;

pub(super) fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed);
    let random = &mut random;
    let shape = *random.pick(&[Shape::Words, Shape::Merged, Shape::Letters]);
    let workers = if random.percent(75) { 2 } else { 1 };
    let executors = random.within(1, 2) as u16;
    let batch_records = random.within(2, 4);
    // Enough for ten batches of one spout, also where a reading yields nothing at some offsets.
    let enough = batch_records * random.within(13, 16);
    let spouts: Vec<_> = match shape {
        Shape::Words | Shape::Letters => vec![spout(random, enough)],
        Shape::Merged => {
            let more = random.below(enough + 1);
            vec![spout(random, enough), spout(random, more)]
        }
    };
    let poison = poison(random, &spouts);
    let calm = random.within(400, 1600) as u32;
    let mut plan = Plan {
        seed,
        shape,
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
    plan.faults = faults(random, &plan);
    plan
}

fn spout(random: &mut Random, records: u64) -> SpoutPlan {
    let promise = *random.pick(&[Promise::Identical, Promise::Identical, Promise::Any]);
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

fn faults(random: &mut Random, plan: &Plan) -> Vec<(u32, Fault)> {
    let mut faults: Vec<(u32, Fault)> = Vec::new();
    let calm = u64::from(plan.calm);
    for kind in 0..Fault::KINDS.len() {
        // Most kinds are absent from most worlds, so that each is also seen alone.
        let most = match kind {
            5..=7 => 6,
            0 | 8 | 10 => 3,
            _ => 2,
        };
        let count = if random.percent(45) {
            random.within(1, most)
        } else {
            0
        };
        for _ in 0..count {
            let step = random.within(5, calm - 1) as u32;
            let fault = fault(random, kind, plan);
            faults.push((step, fault));
            // What goes wrong during a recovery matters most.
            if matches!(fault, Fault::Crash { .. } | Fault::TakeOver) && random.percent(40) {
                let again = *random.pick(&[0, 1, 2, 8, 10]);
                let next = step + random.within(1, 60) as u32;
                if next < plan.calm {
                    faults.push((next, self::fault(random, again, plan)));
                }
            }
        }
    }
    // A world without a crash is no test of recovery.
    if !faults.iter().any(|(_, fault)| fault.kind() < 2) {
        let step = random.within(20, calm - 1) as u32;
        let kind = random.below(2) as usize;
        faults.push((step, fault(random, kind, plan)));
    }
    faults.sort_by_key(|(step, _)| *step);
    faults
}

fn fault(random: &mut Random, kind: usize, plan: &Plan) -> Fault {
    let worker = random.below(plan.workers.into()) as u16;
    match kind {
        0 | 1 => Fault::Crash {
            process: if kind == 0 {
                Process::Worker(worker)
            } else {
                Process::Coordinator
            },
            down_ms: random.within(1, 200),
        },
        2 => Fault::TakeOver,
        3 => Fault::Freeze {
            ms: random.within(1, 600),
        },
        4 => cut(random, worker, plan),
        5 => Fault::Lose,
        6 => Fault::Repeat,
        7 => Fault::Delay {
            ms: random.within(1, 300),
        },
        8 => {
            let late = Fate::Late(random.within(1, 200) as u32);
            Fault::Unknown(*random.pick(&[Fate::Applied, Fate::Lost, late]))
        }
        9 => Fault::Stale(random.within(1, 3) as u8),
        10 => Fault::Disk {
            worker,
            fault: *random.pick(&[
                DiskFault::Full,
                DiskFault::Fails,
                DiskFault::FailsLate,
                DiskFault::DiesBefore,
                DiskFault::DiesAfter,
                DiskFault::Unreadable,
            ]),
        },
        11 => Fault::Spout {
            spout: random.below(plan.spouts.len() as u64) as u8,
            times: random.within(1, 2) as u8,
        },
        _ if random.percent(50) => Fault::Sinks {
            times: random.within(1, 4) as u8,
        },
        _ => Fault::Clock {
            ms: random.within(0, 20_000) as i64 - 10_000,
        },
    }
}

fn cut(random: &mut Random, worker: u16, plan: &Plan) -> Fault {
    let one = Process::Worker(worker);
    let other = Process::Worker((worker + 1) % plan.workers);
    let other = if other == one || random.percent(60) {
        Process::Coordinator
    } else {
        other
    };
    let (from, to) = if random.percent(50) {
        (one, other)
    } else {
        (other, one)
    };
    Fault::Cut {
        from,
        to,
        ms: random.within(1, 800),
    }
}
