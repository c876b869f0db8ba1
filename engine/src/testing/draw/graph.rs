//! Draws a topology: mostly small ones, since many small worlds find more than a few large ones.

use super::super::graph::{Graph, Keeps, Key, Node, number};
use super::super::random::Random;

/// A verb with what it needs, if that is there.
type Verb = fn(&mut Sketch<'_>) -> Option<Node>;

/// How often each verb is drawn, and with what.
const VERBS: &[(u64, Verb)] = &[
    (3, |sketch| {
        let (from, divisor) = (sketch.stream(), sketch.number(2, 7));
        Some(Node::Each { from, divisor })
    }),
    (3, |sketch| {
        Some(Node::Map {
            from: sketch.stream(),
            times: sketch.random.within(0, 3),
            plus: sketch.random.below(5),
            below: sketch.number(4, 50),
        })
    }),
    (3, |sketch| {
        Some(Node::Filter {
            from: sketch.stream(),
            divisor: sketch.number(2, 4),
            rest: sketch.random.below(3),
        })
    }),
    (2, |sketch| {
        let (from, most) = (sketch.stream(), sketch.random.within(0, 3) as u8);
        Some(Node::FlatMap { from, most })
    }),
    (2, |sketch| {
        let from = sketch.stream();
        Some(Node::Peek { from })
    }),
    (3, |sketch| {
        let (left, right) = (sketch.stream(), sketch.stream());
        Some(Node::Merge { left, right })
    }),
    (2, |sketch| {
        let from = sketch.stream();
        Some(Node::Shuffle { from })
    }),
    (8, |sketch| Some(sketch.new_state())),
    (5, |sketch| {
        let state = sketch.state()?;
        Some(Node::NewValues { state })
    }),
    (4, |sketch| {
        let (state, from, key) = (sketch.state()?, sketch.stream(), sketch.key());
        Some(Node::Query { from, state, key })
    }),
    (4, |sketch| {
        let from = sketch.stream();
        Some(Node::Sink { from })
    }),
];

/// A stream may carry so many items for each record that is read, not more.
const SWELL: u64 = 4;

/// A graph in the making.
struct Sketch<'a> {
    random: &'a mut Random,
    graph: Graph,
    /// How many items each node may make of a record.
    swells: Vec<u64>,
}

/// A graph over this many spouts.
pub(super) fn draw(random: &mut Random, spouts: u8) -> Graph {
    let more = match random.below(100) {
        0..3 => 0,
        3..65 => random.within(1, 4),
        65..92 => random.within(4, 6),
        _ => random.within(7, 10),
    };
    let mut sketch = Sketch {
        random,
        graph: Graph::default(),
        swells: Vec::new(),
    };
    for spout in 0..spouts {
        let behind_shuffle = sketch.random.percent(8);
        sketch.push(Node::Spout {
            spout,
            behind_shuffle,
        });
    }
    if more > 0 {
        if spouts > 1 && sketch.random.percent(80) {
            sketch.push(Node::Merge { left: 0, right: 1 });
        }
        (0..more).for_each(|_| sketch.add());
        // A topology that keeps nothing shows little.
        if sketch.state().is_none() && sketch.random.percent(90) {
            let state = sketch.new_state();
            sketch.push(state);
        }
    }
    sketch.graph
}

impl Sketch<'_> {
    fn add(&mut self) {
        let sum = VERBS.iter().map(|(weight, _)| weight).sum();
        let mut at = self.random.below(sum);
        let drawn = VERBS.iter().find(|(weight, _)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        if let Some(node) = drawn.and_then(|(_, verb)| verb(self)) {
            self.push(node);
        }
    }

    fn push(&mut self, mut node: Node) {
        let inputs = node.inputs_mut().into_iter();
        let from: u64 = inputs.map(|input| self.swells[*input]).sum();
        let swell = match node {
            Node::Spout { .. } | Node::NewValues { .. } => 1,
            Node::Each { .. } => 2 * from,
            Node::FlatMap { most, .. } => u64::from(most).max(1) * from,
            _ => from,
        };
        self.swells.push(swell);
        self.graph.nodes.push(node);
    }

    /// A stream to go on with, mostly the newest.
    fn stream(&mut self) -> usize {
        let nodes = self.graph.nodes.iter().enumerate();
        let streams =
            nodes.filter(|(place, node)| node.is_stream() && self.swells[*place] <= SWELL);
        let streams: Vec<usize> = streams.map(|(place, _)| place).collect();
        match self.random.percent(50) {
            true => streams[streams.len() - 1],
            false => *self.random.pick(&streams),
        }
    }

    fn state(&mut self) -> Option<usize> {
        let states = self.graph.states();
        (!states.is_empty()).then(|| *self.random.pick(&states))
    }

    fn new_state(&mut self) -> Node {
        use Keeps::{Bounds, Bulk, Count, First, Max, Min, Sum};
        Node::State {
            from: self.stream(),
            key: self.key(),
            keeps: *self
                .random
                .pick(&[Count, Count, Sum, Sum, Min, Max, Bounds, Bulk, Bulk, First]),
        }
    }

    fn key(&mut self) -> Key {
        let modulus = self.number(2, 9);
        match self.random.percent(75) {
            true => Key::Value(modulus),
            false => Key::Id(modulus),
        }
    }

    fn number(&mut self, low: u64, high: u64) -> std::num::NonZero<u64> {
        number(self.random.within(low, high))
    }
}
