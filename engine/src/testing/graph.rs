//! Topologies as data: the DSL's verbs as nodes of a list, so that a topology can be drawn, printed, edited, shrunk and evaluated.
//!
//! A verb that joins the DSL joins this list in five places: a variant of [`Node`], whose text follows from it; its inputs in
//! [`Node::inputs_mut`]; an arm in `shape.rs` that says it with the DSL; an arm in `oracle/evaluate.rs` that says what it comes to;
//! and a line with its weight in `draw/graph.rs`. Until then the test `every_verb_of_the_dsl_is_drawn` fails.

#[cfg(test)]
mod tests;

use std::num::NonZero;

use serde::{Deserialize, Serialize};

/// What all streams of a world carry: an id, or a state's key; and a value.
pub(super) type Item = (u64, u64);

/// What aggregators read of a value, so that sums of sums stay small and two values fit into one number.
pub(super) const BITS: u32 = 20;

/// A topology: each node takes from nodes before it, which it names by their places, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Graph {
    /// In an order in which inputs come first.
    pub nodes: Vec<Node>,
}

/// One verb. Its functions are chosen by small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// What the spout of this number yields. `try_each` lets poison fail at once, `behind_shuffle` on other executors than those that
    /// were given the records.
    Spout {
        /// Which.
        spout: u8,
        /// Whether poison fails behind an exchange.
        behind_shuffle: bool,
    },
    /// `each`: the value by `divisor`, and what is left over unless it is 0.
    Each {
        /// The stream.
        from: usize,
        /// What is divided by.
        divisor: NonZero<u64>,
    },
    /// `map`: a value becomes the rest of `value * times + plus` by `below`.
    Map {
        /// The stream.
        from: usize,
        /// A factor.
        times: u64,
        /// A summand.
        plus: u64,
        /// All values are below.
        below: NonZero<u64>,
    },
    /// `filter`: drops values that leave `rest` when divided by `divisor`.
    Filter {
        /// The stream.
        from: usize,
        /// What is divided by.
        divisor: NonZero<u64>,
        /// What is dropped.
        rest: u64,
    },
    /// `flat_map`: up to `most` items, as many as the value says; each with one more.
    FlatMap {
        /// The stream.
        from: usize,
        /// At most so many.
        most: u8,
    },
    /// `peek`, with a name of its own.
    Peek {
        /// The stream.
        from: usize,
    },
    /// `merge`.
    Merge {
        /// One stream.
        left: usize,
        /// Another, or the same.
        right: usize,
    },
    /// `shuffle`.
    Shuffle {
        /// The stream.
        from: usize,
    },
    /// `group_by` and `persistent_aggregate`.
    State {
        /// The stream.
        from: usize,
        /// What it is grouped by.
        key: Key,
        /// What is kept for each group.
        keeps: Keeps,
    },
    /// `new_values`: keys and values of a state.
    NewValues {
        /// The state.
        state: usize,
    },
    /// `state_query`: the value that the state has for each item, 0 if it has none.
    Query {
        /// The stream.
        from: usize,
        /// The state.
        state: usize,
        /// What it is asked for.
        key: Key,
    },
    /// `sink`.
    Sink {
        /// The stream.
        from: usize,
    },
}

/// What an item is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// The rest of its value.
    Value(NonZero<u64>),
    /// The rest of its id, or of the key that it has from a state.
    Id(NonZero<u64>),
}

/// What a state keeps for each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeps {
    /// How many items.
    Count,
    /// The sum of the values.
    Sum,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The smallest and the largest: a pair of combiners.
    Bounds,
    /// What a reducer makes of the values, in any order.
    Bulk,
    /// The first; of items that are all the same, since a batch's order is the engine's own.
    First,
}

/// What a node yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yields {
    Stream,
    State,
    Nothing,
}

impl Graph {
    /// Values, twice over and counted with a combiner; the new counts go to a sink.
    #[must_use]
    pub fn words() -> Graph {
        let mut nodes = vec![Node::spout(0)];
        nodes.push(Node::Each {
            from: 0,
            divisor: number(7),
        });
        nodes.push(Node::State {
            from: 1,
            key: Key::Value(number(7)),
            keeps: Keeps::Count,
        });
        nodes.push(Node::NewValues { state: 2 });
        nodes.push(Node::Sink { from: 3 });
        Graph { nodes }
    }

    /// Two merged spouts, a combiner's and a reducer's state, a state fed by new values, a query, two sinks.
    #[must_use]
    pub fn merged() -> Graph {
        let state = |from, key, keeps| Node::State { from, key, keeps };
        let by_seven = Key::Value(number(7));
        let nodes = vec![
            Node::spout(0),
            Node::spout(1),
            Node::Merge { left: 0, right: 1 },
            state(2, by_seven, Keeps::Count),
            state(2, Key::Value(number(3)), Keeps::Bulk),
            Node::NewValues { state: 3 },
            Node::Sink { from: 5 },
            state(5, Key::Id(number(2)), Keeps::Sum),
            Node::Query {
                from: 2,
                state: 3,
                key: by_seven,
            },
            Node::Sink { from: 8 },
        ];
        Graph { nodes }
    }

    /// The records that can be processed go to a sink as they are, and are counted.
    #[must_use]
    pub fn letters() -> Graph {
        let nodes = vec![
            Node::spout(0),
            Node::Sink { from: 0 },
            Node::State {
                from: 0,
                key: Key::Value(number(1 << BITS)),
                keeps: Keeps::Count,
            },
        ];
        Graph { nodes }
    }

    /// The places of the states, in the order in which the topology makes them.
    pub(super) fn states(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let states = nodes.filter(|(_, node)| node.yields() == Yields::State);
        states.map(|(place, _)| place).collect()
    }

    /// Whether the state at a place holds pairs of numbers.
    pub(super) fn keeps_pairs(&self, place: usize) -> bool {
        let keeps = Keeps::Bounds;
        matches!(self.nodes.get(place), Some(Node::State { keeps: kept, .. }) if *kept == keeps)
    }

    /// What is wrong with it, in words.
    pub(super) fn check(&self, spouts: usize) -> Result<(), String> {
        let mut found = vec![0; spouts];
        for (place, node) in self.nodes.iter().enumerate() {
            if let Node::Spout { spout, .. } = node {
                let count = found.get_mut(usize::from(*spout));
                *count.ok_or_else(|| {
                    format!("node {place} is spout {spout}, but only {spouts} are described under `spouts`")
                })? += 1;
            }
            let mut copy = *node;
            let of_state = node.asks();
            for input in copy.inputs_mut() {
                let due = match of_state == Some(*input) {
                    true => Yields::State,
                    false => Yields::Stream,
                };
                let before = self.nodes.get(*input).filter(|_| *input < place);
                if before.map(Node::yields) != Some(due) {
                    return Err(format!(
                        "node {place}, {node:?}, takes from node {input}; expected a {} among the nodes before it, counted from 0",
                        if due == Yields::State {
                            "State"
                        } else {
                            "stream"
                        }
                    ));
                }
            }
        }
        match found.iter().position(|count| *count != 1) {
            None => Ok(()),
            Some(spout) => Err(format!(
                "spout {spout} stands {} times among the nodes, expected once",
                found[spout]
            )),
        }
    }

    /// The graph without a node and all that cannot be without it; a merge becomes the input that it has left.
    pub(super) fn without(&self, place: usize) -> Graph {
        self.rewired(place, None)
    }

    /// The graph without a node, whose readers read what it read; nothing for a node that has no input or is a state.
    pub(super) fn bypassing(&self, place: usize) -> Option<Graph> {
        let node = *self.nodes.get(place)?;
        let instead = match node {
            Node::Spout { .. } | Node::State { .. } | Node::Sink { .. } => return None,
            Node::NewValues { state } => match self.nodes.get(state) {
                Some(Node::State { from, .. }) => *from,
                _ => return None,
            },
            Node::Query { from, .. } => from,
            mut node => *node.inputs_mut().into_iter().next()?,
        };
        Some(self.rewired(place, Some(instead)))
    }

    fn rewired(&self, gone: usize, instead: Option<usize>) -> Graph {
        let mut nodes = Vec::new();
        let mut moved: Vec<Option<usize>> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let mut node = *node;
            if place == gone {
                moved.push(instead.and_then(|other| moved[other]));
                continue;
            }
            if let Node::Merge { left, right } = node
                && (moved[left].is_none() || moved[right].is_none())
            {
                moved.push(moved[left].or(moved[right]));
                continue;
            }
            let stays = node.inputs_mut().into_iter().all(|input| {
                let there = moved[*input];
                *input = there.unwrap_or_default();
                there.is_some()
            });
            moved.push(stays.then_some(nodes.len()));
            if stays {
                nodes.push(node);
            }
        }
        Graph { nodes }
    }
}

impl Node {
    fn spout(spout: u8) -> Node {
        Node::Spout {
            spout,
            behind_shuffle: false,
        }
    }

    /// The places that it takes from.
    pub(super) fn inputs_mut(&mut self) -> Vec<&mut usize> {
        match self {
            Node::Spout { .. } => vec![],
            Node::Each { from, .. }
            | Node::Map { from, .. }
            | Node::Filter { from, .. }
            | Node::FlatMap { from, .. }
            | Node::Peek { from }
            | Node::Shuffle { from }
            | Node::State { from, .. }
            | Node::Sink { from } => vec![from],
            Node::Merge { left, right } => vec![left, right],
            Node::NewValues { state } => vec![state],
            Node::Query { from, state, .. } => vec![from, state],
        }
    }

    /// The state among them.
    fn asks(&self) -> Option<usize> {
        match self {
            Node::NewValues { state } | Node::Query { state, .. } => Some(*state),
            _ => None,
        }
    }

    fn yields(&self) -> Yields {
        match self {
            Node::State { .. } => Yields::State,
            Node::Sink { .. } => Yields::Nothing,
            _ => Yields::Stream,
        }
    }

    /// Whether other nodes can take its items.
    pub(super) fn is_stream(&self) -> bool {
        self.yields() == Yields::Stream
    }
}

impl Key {
    pub(super) fn of(self, &(id, value): &Item) -> u64 {
        match self {
            Key::Value(modulus) => value % modulus,
            Key::Id(modulus) => id % modulus,
        }
    }
}

/// What aggregators read of an item.
pub(super) fn field(item: &Item) -> u64 {
    item.1 & ((1 << BITS) - 1)
}

/// A pair as one number.
pub(super) fn folded((low, high): (u64, u64)) -> u64 {
    low << BITS | high
}

pub(super) fn number(number: u64) -> NonZero<u64> {
    NonZero::new(number).unwrap_or(NonZero::<u64>::MIN)
}
