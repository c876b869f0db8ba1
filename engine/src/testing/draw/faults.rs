//! Draws what goes wrong in a world: first how often each kind does, then when.

use super::super::fault::{DiskFault, Fate, Fault, Kind, Process};
use super::super::plan::Plan;
use super::super::random::Random;

/// Of a hundred worlds so many have any given kind: each is also seen alone, and no world drowns in them.
const PRESENT: u64 = 22;

pub(super) fn draw(random: &mut Random, plan: &Plan) -> Vec<(u32, Fault)> {
    let mut faults: Vec<(u32, Fault)> = Vec::new();
    for kind in Kind::ALL {
        let most = match kind {
            // What the plan holds beside its faults.
            Kind::OtherReplay | Kind::PoisonError | Kind::PoisonPanic => continue,
            Kind::Lose | Kind::Repeat | Kind::Delay | Kind::Unknown => 6,
            _ => 2,
        };
        let rate = if random.percent(PRESENT) {
            random.within(1, most)
        } else {
            0
        };
        for _ in 0..rate {
            add(random, plan, kind, &mut faults);
        }
    }
    // A world without a crash is no test of recovery; a disk that waits for a write may wait in vain.
    let sure = |fault: &Fault| fault.is_crash() && !matches!(fault, Fault::Disk { .. });
    if !faults.iter().any(|(_, fault)| sure(fault)) {
        let kind = *random.pick(&[Kind::WorkerCrash, Kind::CoordinatorCrash]);
        add(random, plan, kind, &mut faults);
    }
    faults.sort_by_key(|(step, _)| *step);
    faults
}

fn add(random: &mut Random, plan: &Plan, kind: Kind, faults: &mut Vec<(u32, Fault)>) {
    // What strikes before the first batch is as rare as the first steps are few.
    let first = if random.percent(10) {
        random.within(1, 60)
    } else {
        random.within(5, u64::from(plan.calm) - 1)
    };
    let step = first as u32;
    let fault = fault(random, kind, plan);
    faults.push((step, fault));
    // What goes wrong during a recovery matters most.
    let recovers = fault.is_crash() || matches!(kind, Kind::TakeOver | Kind::Expire);
    if recovers && random.percent(40) {
        let again = *random.pick(&[
            Kind::WorkerCrash,
            Kind::PowerLoss,
            Kind::CoordinatorCrash,
            Kind::TakeOver,
            Kind::Unknown,
            Kind::Stale,
            Kind::DiskError,
            Kind::SyncError,
            Kind::DeadlyWrite,
            Kind::DiskRead,
        ]);
        let next = step + random.within(1, 60) as u32;
        if next < plan.calm {
            faults.push((next, self::fault(random, again, plan)));
        }
    }
    // A coordinator that was left behind is met while it still has a write to settle.
    if matches!(kind, Kind::Unknown | Kind::LedgerCut) && random.percent(40) {
        let next = step + random.within(1, 80) as u32;
        let after = next + random.within(1, 150) as u32;
        if after < plan.calm {
            let left = *random.pick(&[Kind::TakeOver, Kind::TakeOver, Kind::Freeze]);
            faults.push((next, self::fault(random, left, plan)));
            faults.push((after, self::fault(random, kind, plan)));
        }
    }
    // Only what was not made durable can be lost.
    if kind == Kind::SyncError && random.percent(60) {
        let next = step + random.within(1, 200) as u32;
        if next < plan.calm {
            faults.push((next, self::fault(random, Kind::PowerLoss, plan)));
        }
    }
}

fn fault(random: &mut Random, kind: Kind, plan: &Plan) -> Fault {
    let worker = random.below(plan.workers.into()) as u16;
    let down_ms = random.within(1, 200);
    let crash = |process| Fault::Crash { process, down_ms };
    match kind {
        Kind::WorkerCrash => crash(Process::Worker(worker)),
        Kind::CoordinatorCrash => crash(Process::Coordinator),
        Kind::PowerLoss if random.percent(40) => Fault::Disk {
            worker,
            fault: DiskFault::LosesPower(random.below(2) as u8),
        },
        Kind::PowerLoss => Fault::PowerLoss {
            worker,
            keeps: random.below(3) as u8,
            down_ms,
        },
        Kind::CrashAgain => Fault::CrashTwice {
            worker,
            down_ms,
            after: random.within(1, 30) as u32,
        },
        Kind::CrashBoth => Fault::CrashBoth { worker, down_ms },
        Kind::CrashAll => Fault::CrashAll {
            power: random.percent(50),
            down_ms,
        },
        Kind::DiskFull
        | Kind::DiskError
        | Kind::SyncError
        | Kind::SlowDisk
        | Kind::DeadlyWrite
        | Kind::DiskRead => {
            let fault = disk(random, kind);
            // Folds are few, and the only writes while nothing is in flight.
            match random.percent(40) {
                true => Fault::Fold { worker, fault },
                false => Fault::Disk { worker, fault },
            }
        }
        Kind::SpoutError | Kind::PartitionComes | Kind::PartitionGoes => spout(random, kind, plan),
        Kind::SinkRefuses => Fault::Sinks {
            times: random.within(1, 4) as u8,
        },
        Kind::ClockJump => Fault::Clock {
            ms: random.within(0, 20_000) as i64 - 10_000,
        },
        Kind::SlowExecutor => Fault::Slow {
            executor: random.below(plan.tasks().into()) as u16,
            ms: random.within(1, 300),
        },
        _ => between(random, kind, worker, plan),
    }
}

/// Coordinators, the ledger, and what is said.
fn between(random: &mut Random, kind: Kind, worker: u16, plan: &Plan) -> Fault {
    match kind {
        Kind::Freeze => Fault::Freeze {
            ms: random.within(1, 600),
        },
        Kind::Expire => Fault::Expire {
            ms: random.within(0, 100),
        },
        Kind::LedgerCut => Fault::LedgerCut {
            ms: random.within(1, 300),
        },
        Kind::Unknown => {
            let late = Fate::Late(random.within(1, 200) as u32);
            Fault::Unknown(*random.pick(&[Fate::Applied, Fate::Lost, late]))
        }
        Kind::Stale => Fault::Stale(random.within(1, 3) as u8),
        Kind::Cut => cut(random, worker, plan),
        Kind::Isolate => Fault::Isolate {
            process: if random.percent(70) {
                Process::Worker(worker)
            } else {
                Process::Coordinator
            },
            ms: random.within(1, 600),
        },
        Kind::Lose => Fault::Lose,
        Kind::Repeat => Fault::Repeat,
        Kind::Delay => Fault::Delay {
            ms: random.within(1, 300),
        },
        _ => Fault::TakeOver,
    }
}

fn disk(random: &mut Random, kind: Kind) -> DiskFault {
    match kind {
        Kind::DiskFull => DiskFault::Full,
        Kind::DiskError => *random.pick(&[DiskFault::Fails, DiskFault::FailsLate]),
        Kind::SyncError => DiskFault::SyncFails,
        Kind::SlowDisk => DiskFault::Slow(random.within(1, 500) as u16),
        Kind::DeadlyWrite => *random.pick(&[DiskFault::DiesBefore, DiskFault::DiesAfter]),
        _ => DiskFault::Unreadable,
    }
}

fn spout(random: &mut Random, kind: Kind, plan: &Plan) -> Fault {
    let index = random.below(plan.spouts.len() as u64);
    let partitions = plan.spouts[index as usize].partitions.len() as u64;
    let (spout, partition) = (index as u8, random.below(partitions) as u8);
    match kind {
        Kind::SpoutError => Fault::Spout {
            spout,
            times: random.within(1, 2) as u8,
        },
        Kind::PartitionComes => Fault::Comes { spout, partition },
        _ => Fault::Goes { spout, partition },
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
