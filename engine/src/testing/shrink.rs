//! From a plan that fails to a simple one that fails in the same way.

use super::fault::{Fate, Fault, Process};
use super::graph::{Graph, Keeps, Node};
use super::plan::{Plan, Promise};
use super::report::Violation;

/// So many candidates are also tried with other seeds, since whatever is left out changes whose turn it is.
const RESEEDED: usize = 24;

/// With so many.
const SEEDS: u64 = 3;

/// The simplest plan that was found to fail still, after at most `limit` runs: deterministic, and greedy.
///
/// ```
/// use fulmar::testing::{Bug, Plan, World, shrink};
///
/// let plan = Plan::of(1).with_bug(Bug::PublishesEarly);
/// let fails = |plan: &Plan| World::run(plan).violation.is_some();
/// assert!(fails(&plan));
/// let simple = shrink(&plan, fails, 200);
/// assert!(simple.faults.len() <= plan.faults.len() && fails(&simple));
/// ```
#[must_use]
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool, limit: u32) -> Plan {
    let mut search = Shrinking::new(plan.clone());
    for _ in 0..limit {
        let Some(candidate) = search.candidate() else {
            break;
        };
        match fails(candidate) {
            true => search.accept(),
            false => search.refuse(),
        }
    }
    search.best
}

/// A search for a simpler plan, led step by step by whoever runs the candidates.
#[derive(Clone, Debug)]
pub struct Shrinking {
    best: Plan,
    candidates: Vec<Plan>,
    at: usize,
    /// So many candidates of the best plan were refused; once all were, it is as simple as this search can make it.
    refused: usize,
}

impl Shrinking {
    /// Begins with a plan that fails.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Shrinking {
            candidates: plan.simpler(),
            best: plan,
            at: 0,
            refused: 0,
        }
    }

    /// The simplest plan that fails, as far as is known.
    #[must_use]
    pub fn best(&self) -> &Plan {
        &self.best
    }

    /// The next to try, if any is left.
    #[must_use]
    pub fn candidate(&self) -> Option<&Plan> {
        let left = self.refused < self.candidates.len();
        left.then(|| &self.candidates[self.at])
    }

    /// The candidate fails, too. The search goes on where it is: what was refused before is tried last.
    pub fn accept(&mut self) {
        if self.refused < self.candidates.len() {
            self.best = self.candidates.swap_remove(self.at);
            self.candidates = self.best.simpler();
            self.refused = 0;
            self.at = self.at.checked_rem(self.candidates.len()).unwrap_or(0);
        }
    }

    /// The candidate does not fail.
    pub fn refuse(&mut self) {
        self.refused += 1;
        self.at = (self.at + 1)
            .checked_rem(self.candidates.len())
            .unwrap_or(0);
    }
}

impl Violation {
    /// Its first words, without what names attempts and places: the same for violations of one kind.
    #[must_use]
    pub fn kind(&self) -> String {
        let text = self.what.split(['{', '[', '(', '"']).next();
        let words = text.unwrap_or_default().split_whitespace();
        let is_plain = |(place, word): &(usize, &str)| {
            *place == 0 && word.ends_with(':') || !word.contains(|letter: char| letter.is_numeric())
        };
        let plain = words.enumerate().filter(is_plain).map(|(_, word)| word);
        plain.take(6).collect::<Vec<_>>().join(" ")
    }
}

impl Plan {
    /// Plans that are a little simpler than this one, those that leave out most first. All of them can be run.
    #[must_use]
    pub fn simpler(&self) -> Vec<Plan> {
        let mut all = Candidates {
            of: self,
            found: Vec::new(),
        };
        all.fewer_faults();
        all.less_graph();
        all.less_data();
        all.plainer();
        all.smaller_faults();
        let mut found = all.found;
        let reseeded = (1..=SEEDS).flat_map(|more| {
            let strongest = found.iter().take(RESEEDED);
            strongest.map(move |plan| Plan {
                seed: plan.seed.wrapping_add(more),
                ..plan.clone()
            })
        });
        let reseeded: Vec<Plan> = reseeded.collect();
        found.extend(reseeded);
        found
    }
}

struct Candidates<'a> {
    of: &'a Plan,
    found: Vec<Plan>,
}

impl Candidates<'_> {
    /// The plan with a change, unless that changes nothing.
    fn add(&mut self, change: impl FnOnce(&mut Plan)) {
        let mut plan = self.of.clone();
        change(&mut plan);
        let spouts = &plan.spouts;
        plan.poison.retain(|((spout, partition, offset), _)| {
            let spout = spouts.get(usize::from(*spout));
            let values = spout.and_then(|spout| spout.partitions.get(usize::from(*partition)));
            values.is_some_and(|values| (*offset as usize) < values.len())
        });
        let tasks = plan.tasks();
        plan.slow = plan.slow.filter(|slow| *slow < tasks);
        if plan != *self.of {
            self.found.push(plan);
        }
    }

    /// Without runs of faults: all, each half, each quarter, down to one by one.
    fn fewer_faults(&mut self) {
        let count = self.of.faults.len();
        let mut run = count;
        while run > 0 {
            for from in (0..count).step_by(run) {
                self.add(|plan| drop(plan.faults.drain(from..(from + run).min(count))));
            }
            run /= 2;
        }
    }

    /// Without nodes and what cannot be without them, smallest graphs first; then without single verbs on the way.
    fn less_graph(&mut self) {
        let graph = &self.of.graph;
        let mut cut: Vec<(Graph, Option<u8>)> = Vec::new();
        for (place, node) in graph.nodes.iter().enumerate() {
            let spout = match node {
                Node::Spout { spout, .. } => Some(*spout),
                _ => None,
            };
            cut.push((graph.without(place), spout));
        }
        cut.sort_by_key(|(graph, _)| graph.nodes.len());
        for (graph, spout) in cut {
            match spout {
                None => self.add(|plan| plan.graph = graph),
                Some(_) if self.of.spouts.len() == 1 => {}
                Some(spout) => self.add(|plan| {
                    plan.graph = graph;
                    remove_spout(plan, spout);
                }),
            }
        }
        for place in 0..graph.nodes.len() {
            if let Some(graph) = graph.bypassing(place) {
                self.add(|plan| plan.graph = graph);
            }
        }
    }

    /// Fewer records, partitions and poison.
    fn less_data(&mut self) {
        self.add(|plan| plan.poison.clear());
        let all = |plan: &mut Plan, change: fn(&mut Vec<u8>)| {
            let spouts = plan.spouts.iter_mut();
            spouts
                .flat_map(|spout| &mut spout.partitions)
                .for_each(change);
        };
        self.add(|plan| all(plan, |values| values.truncate(values.len() / 2)));
        for poison in 0..self.of.poison.len() {
            self.add(|plan| {
                plan.poison.remove(poison);
            });
        }
        for (index, spout) in self.of.spouts.iter().enumerate() {
            for (partition, values) in spout.partitions.iter().enumerate() {
                if spout.partitions.len() > 1 {
                    self.add(|plan| remove_partition(plan, index, partition));
                }
                for length in [0, values.len() / 2, values.len().saturating_sub(1)] {
                    self.add(|plan| plan.spouts[index].partitions[partition].truncate(length));
                }
            }
        }
        self.add(|plan| all(plan, |values| values.fill(1)));
    }

    /// Fewer parts, and parts that behave.
    fn plainer(&mut self) {
        let workers = self.of.workers;
        self.add(|plan| plan.workers = 1);
        self.add(|plan| plan.workers = workers.min(2));
        self.add(|plan| plan.executors = 1);
        self.add(|plan| plan.partitions = 1);
        self.add(|plan| plan.max_pending = 1);
        self.add(|plan| plan.slow = None);
        self.add(|plan| plan.pace_us = plan.pace_us.min(50));
        self.add(|plan| plan.log_bytes = plan.log_bytes.max(100_000));
        for index in 0..self.of.spouts.len() {
            self.add(|plan| plan.spouts[index].trickles = false);
            // Who cheats does so because the world is to have that fault.
            if self.of.spouts[index].promise == Promise::Any {
                self.add(|plan| plan.spouts[index].promise = Promise::Identical);
            }
        }
        for place in 0..self.of.graph.nodes.len() {
            self.add(|plan| match &mut plan.graph.nodes[place] {
                Node::Spout { behind_shuffle, .. } => *behind_shuffle = false,
                Node::State { keeps, .. } => *keeps = Keeps::Count,
                _ => {}
            });
        }
    }

    /// What is left of the faults lasts shorter, and the calm comes as soon as they are over.
    fn smaller_faults(&mut self) {
        let last = self.of.faults.last().map_or(0, |(step, _)| *step);
        self.add(|plan| plan.calm = plan.calm.min(last + 1));
        // In a world that is smaller everything comes sooner.
        let sooner = |fault: &mut (u32, Fault)| fault.0 -= fault.0 / 2;
        self.add(|plan| plan.faults.iter_mut().for_each(sooner));
        for (index, (_, fault)) in self.of.faults.iter().enumerate() {
            self.add(|plan| {
                sooner(&mut plan.faults[index]);
                plan.faults.sort_by_key(|(step, _)| *step);
            });
            if let Some(smaller) = smaller(*fault) {
                self.add(|plan| plan.faults[index].1 = smaller);
            }
        }
    }
}

/// A fault that does less: the same kind with half the number, or a plainer kind.
fn smaller(fault: Fault) -> Option<Fault> {
    let half = |number: u64| number.max(2) / 2;
    Some(match fault {
        Fault::Crash { process, down_ms } => Fault::Crash {
            process,
            down_ms: half(down_ms),
        },
        Fault::Freeze { ms } => Fault::Freeze { ms: half(ms) },
        Fault::Cut { from, to, ms } => Fault::Cut {
            from,
            to,
            ms: half(ms),
        },
        Fault::Delay { ms } => Fault::Delay { ms: half(ms) },
        Fault::Unknown(Fate::Late(steps)) => Fault::Unknown(Fate::Late(steps.max(2) / 2)),
        Fault::Stale(by) => Fault::Stale(by.max(2) / 2),
        Fault::Spout { spout, times } => Fault::Spout {
            spout,
            times: times.max(2) / 2,
        },
        Fault::Sinks { times } => Fault::Sinks {
            times: times.max(2) / 2,
        },
        Fault::Clock { ms } => Fault::Clock { ms: ms / 2 },
        Fault::PowerLoss {
            worker, down_ms, ..
        }
        | Fault::CrashTwice {
            worker, down_ms, ..
        }
        | Fault::CrashBoth { worker, down_ms } => Fault::Crash {
            process: Process::Worker(worker),
            down_ms,
        },
        Fault::CrashAll { down_ms, .. } => Fault::CrashBoth { worker: 0, down_ms },
        Fault::Expire { .. } => Fault::TakeOver,
        Fault::LedgerCut { ms } => Fault::LedgerCut { ms: half(ms) },
        Fault::Isolate { process, ms } => Fault::Isolate {
            process,
            ms: half(ms),
        },
        Fault::Slow { executor, ms } => Fault::Slow {
            executor,
            ms: half(ms),
        },
        Fault::Fold { worker, fault } => Fault::Disk { worker, fault },
        _ => return None,
    })
}

/// The spouts behind it move up.
fn remove_spout(plan: &mut Plan, gone: u8) {
    plan.spouts.remove(gone.into());
    plan.poison.retain(|((spout, ..), _)| *spout != gone);
    let later = |spout: &mut u8| *spout -= u8::from(*spout > gone);
    plan.poison
        .iter_mut()
        .for_each(|((spout, ..), _)| later(spout));
    for node in &mut plan.graph.nodes {
        if let Node::Spout { spout, .. } = node {
            later(spout);
        }
    }
}

/// The partitions behind it move up.
fn remove_partition(plan: &mut Plan, index: usize, gone: usize) {
    plan.spouts[index].partitions.remove(gone);
    let here =
        |spout: u8, partition: u8| usize::from(spout) == index && usize::from(partition) == gone;
    plan.poison
        .retain(|((spout, partition, _), _)| !here(*spout, *partition));
    for ((spout, partition, _), _) in &mut plan.poison {
        if usize::from(*spout) == index && usize::from(*partition) > gone {
            *partition -= 1;
        }
    }
}
