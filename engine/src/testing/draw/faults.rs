//! Draws what goes wrong in a world: first how often each kind does, then when.

use super::super::fault::{DiskFault, Fate, Fault, Process};
use super::super::plan::Plan;
use super::super::random::Random;

pub(super) fn draw(random: &mut Random, plan: &Plan) -> Vec<(u32, Fault)> {
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
