//! What a world is made of, and how one is drawn.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What a world is made of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Whether each spout promises identical replays, and how many records it has.
    spouts: Vec<(bool, u64)>,
    max_pending: usize,
    random: u64,
    /// Records that fail their batch, by spout and position.
    poison: BTreeSet<(usize, u64)>,
}

impl Plan {
    pub(super) fn any() -> impl Strategy<Value = Plan> {
        let spouts = prop::collection::vec((any::<bool>(), 0u64..40), 1..3);
        let poison = prop::collection::btree_set((0usize..2, 0u64..40), 0..3);
        let poisoned = prop::bool::weighted(0.3);
        (spouts, 1usize..5, any::<u64>(), poison, poisoned).prop_map(
            |(spouts, max_pending, random, mut poison, poisoned)| {
                poison.retain(|(spout, at)| {
                    poisoned && spouts.get(*spout).is_some_and(|(_, end)| at < end)
                });
                Plan {
                    spouts,
                    max_pending,
                    random,
                    poison,
                }
            },
        )
    }

    pub(super) fn world(self) -> World {
        let spouts = self
            .spouts
            .iter()
            .enumerate()
            .map(|(number, (identical, _))| SpoutInfo {
                name: format!("spout {number}"),
                replays: if *identical {
                    Replays::Identical
                } else {
                    Replays::Any
                },
            });
        let settings = Settings {
            spouts: spouts.collect(),
            max_pending: self.max_pending,
            on_poison: OnPoison::DeadLetter,
            // Without poison, the faults of the network alone must never end a term.
            max_attempts: if self.poison.is_empty() { 100_000 } else { 2 },
            ..settings()
        };
        let ends = self.spouts.iter().map(|(_, end)| *end).collect();
        World::new(settings, ends, self.poison, self.random)
    }
}
