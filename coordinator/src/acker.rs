//! XOR tracking of what a root (a batch's attempt, or one record) still has under way.
//!
//! Every message has an *edge id*. Whoever sends it XORs the id into its next report, whoever has processed it XORs the id
//! in again; so each id appears twice in the whole tree and the value is zero exactly when nothing is under way (but for
//! a chance of 2^-64 per tree, since ids are 64-bit hashes). Reports may come in any order, each may carry any number
//! of ids, and one that is lost or comes twice leaves the value above zero: the root is then ended by its owner's deadline.
//!
//! One rule binds whoever reports: a message is reported as consumed in the *same* report as everything that was sent because
//! of it. If these were two reports and that of what was sent were late or lost, the value would be zero too early.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

use xxhash_rust::xxh3::xxh3_64;

use crate::settings::WorkerId;
use crate::{Attempt, Epoch, Generation, TxId};

#[cfg(test)]
mod tests;

/// Edge numbers from here on are the coordinator's own; a topology's edges are numbered from 0.
pub const RESERVED_EDGES: u32 = u32::MAX - 15;
const PREPARE: u32 = RESERVED_EDGES;
const HOLD: u32 = RESERVED_EDGES + 1;

/// The id of message `seq` from task `from` to task `to` over the edge `edge` of the topology, in one attempt.
///
/// A hash and not a random number, so that both ends (and two runs of one seed) compute the same. Never zero.
#[must_use]
pub fn edge_id(attempt: Attempt, edge: u32, from: u32, to: u32, seq: u64) -> u64 {
    let Attempt {
        txid: TxId(txid),
        generation: Generation {
            epoch: Epoch(epoch),
            number,
        },
    } = attempt;
    let mut bytes = [0u8; 44];
    bytes[0..8].copy_from_slice(&txid.to_le_bytes());
    bytes[8..16].copy_from_slice(&epoch.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    bytes[24..28].copy_from_slice(&edge.to_le_bytes());
    bytes[28..32].copy_from_slice(&from.to_le_bytes());
    bytes[32..36].copy_from_slice(&to.to_le_bytes());
    bytes[36..44].copy_from_slice(&seq.to_le_bytes());
    xxh3_64(&bytes).max(1)
}

/// What `worker` XORs into its acknowledgement once the attempt is durable in its log.
///
/// The coordinator puts the ids of *all* workers into a batch's tree when it issues the batch, so that a worker which no
/// record and no marker has reached cannot be forgotten (I2).
#[must_use]
pub fn prepare_id(attempt: Attempt, worker: WorkerId) -> u64 {
    edge_id(attempt, PREPARE, worker.0, 0, 0)
}

/// What holds a batch's tree open until every source has reported what it read.
pub(crate) fn hold_id(attempt: Attempt) -> u64 {
    edge_id(attempt, HOLD, 0, 0, 0)
}

/// What one report did to its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckOutcome {
    /// Something is still under way, or the root's own [`Acker::init`] has not come yet.
    Pending,
    /// Nothing is under way any more: the root is done and forgotten.
    Complete,
    /// The report came before the root was known and there is no room to keep it: its owner's deadline will end it.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tree {
    value: u64,
    known: bool,
    reports: u64,
}

/// XOR trees of many roots.
#[derive(Clone, Debug)]
pub struct Acker<R> {
    trees: BTreeMap<R, Tree>,
    /// Roots that were acknowledged before they were announced, oldest first; may name some that are known or gone by now.
    early: VecDeque<R>,
    early_limit: usize,
}

impl<R: Hash + Eq + Copy + Ord> Acker<R> {
    /// An acker that keeps at most `early_limit` roots of which only reports have been seen.
    #[must_use]
    pub fn new(early_limit: usize) -> Self {
        Acker {
            trees: BTreeMap::new(),
            early: VecDeque::new(),
            early_limit,
        }
    }

    /// Announces `root` with the XOR of the ids it starts with.
    pub fn init(&mut self, root: R, value: u64) -> AckOutcome {
        self.early.retain(|early| *early != root);
        self.trees.entry(root).or_default().known = true;
        self.ack(root, value)
    }

    /// XORs one report in.
    pub fn ack(&mut self, root: R, xor: u64) -> AckOutcome {
        if !self.trees.contains_key(&root) && !self.make_room_for(root) {
            return AckOutcome::Unknown;
        }
        let tree = self.trees.entry(root).or_default();
        tree.value ^= xor;
        tree.reports += 1;
        if tree.known && tree.value == 0 {
            self.trees.remove(&root);
            return AckOutcome::Complete;
        }
        AckOutcome::Pending
    }

    /// Forgets a root that failed or is no longer wanted; true if it was there.
    pub fn forget(&mut self, root: &R) -> bool {
        self.early.retain(|early| early != root);
        self.trees.remove(root).is_some()
    }

    /// How many reports have come for `root`: what has grown since one looked last is progress.
    #[must_use]
    pub fn touched(&self, root: &R) -> Option<u64> {
        self.trees.get(root).map(|tree| tree.reports)
    }

    /// How many roots are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Makes room for one more root of which only a report has been seen, at the cost of the oldest such.
    fn make_room_for(&mut self, root: R) -> bool {
        if self.early_limit == 0 {
            return false;
        }
        if self.early.len() >= self.early_limit
            && let Some(oldest) = self.early.pop_front()
        {
            self.trees.remove(&oldest);
        }
        self.early.push_back(root);
        true
    }
}
