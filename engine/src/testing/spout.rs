//! The world's spouts: what each partition holds, and how it reads again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::fault::Fault;
use super::plan::{Plan, Poison, Promise};
use super::random::mixed;
use crate::spout::{Progress, ReadLimit, Reader, Replays, Spout, SpoutError, Status};

/// A record that says where it came from, and at which reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) spout: u8,
    pub(super) partition: u8,
    pub(super) offset: u32,
    /// What makes this reading differ from others; 0 where none do.
    pub(super) salt: u32,
    pub(super) value: u64,
    /// 1 fails, 2 panics.
    pub(super) poison: u8,
}

/// What the world and its spouts share: what there is to read, and which reading is the next.
#[derive(Debug)]
pub(super) struct Wells {
    spouts: Vec<Well>,
    openings: AtomicU64,
    /// Spouts that cheat do so no more.
    honest: AtomicBool,
    /// So many reads failed since the world last looked.
    failed: AtomicU64,
    /// Whether a partition has ever gone.
    gone: AtomicBool,
    /// Whether the lists differ from what they were at the newest rewind.
    relisted: AtomicBool,
}

#[derive(Debug)]
struct Well {
    promise: Promise,
    partitions: Vec<Arc<Vec<(u64, u8)>>>,
    /// So many offsets of each partition can be read by now.
    released: Mutex<Vec<u64>>,
    /// So many reads fail.
    failing: AtomicU64,
    /// Which partitions can be seen and read.
    listed: Mutex<Vec<bool>>,
}

impl Wells {
    pub(super) fn new(plan: &Plan) -> Self {
        let well = |(index, spout): (usize, &super::plan::SpoutPlan)| {
            let poison = |partition: usize, offset: usize| {
                let at = (index as u8, partition as u8, offset as u32);
                let mut found = plan.poison.iter().filter(|(poisoned, _)| *poisoned == at);
                found.next().map_or(0, |(_, poison)| match poison {
                    Poison::Fails => 1,
                    Poison::Panics => 2,
                })
            };
            let partition = |(number, values): (usize, &Vec<u8>)| {
                let values = values.iter().enumerate();
                let values =
                    values.map(|(offset, value)| (u64::from(*value), poison(number, offset)));
                Arc::new(values.collect::<Vec<_>>())
            };
            let partitions: Vec<_> = spout.partitions.iter().enumerate().map(partition).collect();
            let first = |values: &Arc<Vec<_>>| match spout.trickles {
                true => values.len() as u64 / 4,
                false => values.len() as u64,
            };
            Well {
                promise: spout.promise,
                released: Mutex::new(partitions.iter().map(first).collect()),
                listed: Mutex::new(listed(plan, index, partitions.len())),
                partitions,
                failing: AtomicU64::new(0),
            }
        };
        Wells {
            spouts: plan.spouts.iter().enumerate().map(well).collect(),
            openings: AtomicU64::new(0),
            honest: AtomicBool::new(false),
            failed: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            relisted: AtomicBool::new(false),
        }
    }

    /// A partition is listed from now on, or no more; says whether that is news.
    pub(super) fn list(&self, spout: usize, partition: usize, listed: bool) -> bool {
        let mut all = self.spouts[spout].lists();
        let Some(before) = all.get_mut(partition) else {
            return false;
        };
        let news = std::mem::replace(before, listed) != listed;
        self.gone.fetch_or(news && !listed, Relaxed);
        self.relisted.fetch_or(news, Relaxed);
        news
    }

    /// Whether a partition has ever gone.
    pub(super) fn has_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// How many reads failed since the last look.
    pub(super) fn take_failures(&self) -> u64 {
        match self.failed.load(Relaxed) {
            0 => 0,
            _ => self.failed.swap(0, Relaxed),
        }
    }

    /// More can be read: so many offsets of each partition. Says whether there is still more to come.
    pub(super) fn release(&self, more: u64) -> bool {
        let mut left = false;
        for well in &self.spouts {
            let mut released = well.released.lock().unwrap_or_else(PoisonError::into_inner);
            for (released, values) in released.iter_mut().zip(&well.partitions) {
                *released = (*released + more).min(values.len() as u64);
                left |= *released < values.len() as u64;
            }
        }
        left
    }

    /// The next reads of a spout fail.
    pub(super) fn fail(&self, spout: usize, times: u64) {
        self.spouts[spout].failing.fetch_add(times, Relaxed);
    }

    /// No read fails any more, none is other than the one before, and every partition is there. Says whether the lists have
    /// ever changed.
    pub(super) fn mend(&self) -> bool {
        self.honest.store(true, Relaxed);
        for (index, well) in self.spouts.iter().enumerate() {
            well.failing.store(0, Relaxed);
            let partitions = well.partitions.len();
            for partition in 0..partitions {
                self.list(index, partition, true);
            }
        }
        self.relisted.load(Relaxed)
    }
}

/// A partition whose first fault is that it comes is not there at first.
fn listed(plan: &Plan, spout: usize, partitions: usize) -> Vec<bool> {
    let mut first = vec![None; partitions];
    for (_, fault) in &plan.faults {
        let (of, partition, there) = match fault {
            Fault::Comes { spout, partition } => (spout, partition, false),
            Fault::Goes { spout, partition } => (spout, partition, true),
            _ => continue,
        };
        if usize::from(*of) % plan.spouts.len() == spout
            && let Some(first) = first.get_mut(usize::from(*partition))
        {
            first.get_or_insert(there);
        }
    }
    first
        .into_iter()
        .map(|there| there.unwrap_or(true))
        .collect()
}

impl Well {
    fn lists(&self) -> MutexGuard<'_, Vec<bool>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn released(&self, partition: usize) -> u64 {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)[partition]
    }
}

/// What a reading with this salt yields at an offset: another value, or nothing.
pub(super) fn seen(promise: Promise, value: u64, offset: u32, salt: u32) -> Option<u64> {
    let odd = mixed(u64::from(offset) << 32 | u64::from(salt));
    match promise {
        Promise::Identical => Some(value),
        Promise::Any if odd.is_multiple_of(5) => None,
        Promise::Any | Promise::Cheats => Some(value + odd % 3),
    }
}

/// A spout of the world.
pub(super) struct SimSpout {
    wells: Arc<Wells>,
    index: usize,
}

impl SimSpout {
    pub(super) fn new(wells: &Arc<Wells>, index: usize) -> Self {
        SimSpout {
            wells: wells.clone(),
            index,
        }
    }
}

impl Spout for SimSpout {
    type Record = Record;
    type Reader = SimReader;

    fn replays(&self) -> Replays {
        match self.wells.spouts[self.index].promise {
            Promise::Any => Replays::Any,
            Promise::Identical | Promise::Cheats => Replays::Identical,
        }
    }

    fn partitions(&mut self) -> Result<Vec<String>, SpoutError> {
        let listed = self.wells.spouts[self.index].lists();
        let listed = listed.iter().enumerate().filter(|(_, listed)| **listed);
        Ok(listed.map(|(partition, _)| partition.to_string()).collect())
    }

    fn open(&mut self, partition: &str, from: Option<&[u8]>) -> Result<SimReader, SpoutError> {
        let wrong = || SpoutError::permanent("not a position of this world");
        let partition: usize = partition.parse().map_err(|_| wrong())?;
        let offset = from.map_or(Some(0), offset_of).ok_or_else(wrong)?;
        let well = &self.wells.spouts[self.index];
        let salt = match well.promise {
            Promise::Identical => 0,
            Promise::Any => self.wells.openings.fetch_add(1, Relaxed) as u32,
            Promise::Cheats if self.wells.honest.load(Relaxed) => 0,
            Promise::Cheats => self.wells.openings.fetch_add(1, Relaxed) as u32 % 3,
        };
        Ok(SimReader {
            wells: self.wells.clone(),
            values: well.partitions[partition].clone(),
            index: self.index,
            partition,
            offset,
            salt,
        })
    }

    fn digest(&self, record: &Record, digest: &mut Xxh3) {
        digest.update(&record.offset.to_le_bytes());
        digest.update(&record.value.to_le_bytes());
    }
}

/// A position is an offset.
pub(super) fn offset_of(position: &[u8]) -> Option<u32> {
    position.try_into().map(u32::from_be_bytes).ok()
}

/// Reads one partition of a [`SimSpout`].
pub(super) struct SimReader {
    wells: Arc<Wells>,
    values: Arc<Vec<(u64, u8)>>,
    index: usize,
    partition: usize,
    offset: u32,
    salt: u32,
}

impl Reader for SimReader {
    type Record = Record;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<Record>) -> Result<Progress, SpoutError> {
        let well = &self.wells.spouts[self.index];
        let fails = |left: u64| left.checked_sub(1);
        if well.failing.fetch_update(Relaxed, Relaxed, fails).is_ok() {
            self.wells.failed.fetch_add(1, Relaxed);
            return Err(SpoutError::retry("the world lets this read fail"));
        }
        if !well.lists()[self.partition] {
            let what = format!("partition {} is gone while it is read", self.partition);
            return Err(SpoutError::retry(what));
        }
        let released = well.released(self.partition);
        let (mut records, mut bytes) = (0, 0);
        while u64::from(self.offset) < released && records < limit.records && bytes < limit.bytes {
            let offset = self.offset;
            let (value, poison) = self.values[offset as usize];
            self.offset += 1;
            bytes += 8;
            let Some(value) = seen(well.promise, value, offset, self.salt) else {
                continue;
            };
            records += 1;
            out.push(Record {
                spout: self.index as u8,
                partition: self.partition as u8,
                offset,
                salt: self.salt,
                value,
                poison,
            });
        }
        let status = if u64::from(self.offset) < released {
            Status::More
        } else if released < self.values.len() as u64 {
            Status::Waiting
        } else {
            Status::Ended
        };
        Ok(Progress { bytes, status })
    }

    fn position(&self) -> Vec<u8> {
        self.offset.to_be_bytes().to_vec()
    }
}
