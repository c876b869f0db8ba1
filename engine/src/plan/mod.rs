//! From the graph of verbs to stages and edges: checked, explained, and read-only from then on.

mod explain;
pub(crate) mod graph;
mod stages;

pub(crate) use stages::{EdgePlan, Endpoint, StagePlan};

use std::collections::BTreeSet;
use std::fmt;

use fulmar_coordinator::Fingerprint;

use self::graph::{Graph, Node, Role, Route};
use self::stages::Stages;
use crate::error::{Error, Result};

/// A topology that was checked and is ready to run; [`Plan::start`] runs it.
pub struct Plan {
    pub(crate) name: String,
    version: u32,
    pub(crate) graph: Graph,
    pub(crate) stages: Vec<StagePlan>,
    pub(crate) edges: Vec<EdgePlan>,
}

impl Plan {
    pub(crate) fn new(name: String, version: u32, graph: Graph) -> Result<Self> {
        let mistakes = mistakes_in(&name, &graph);
        if !mistakes.is_empty() {
            return Err(Error::InvalidTopology { name, mistakes });
        }
        let Stages { stages, edges } = Stages::cut(&graph);
        Ok(Plan {
            name,
            version,
            graph,
            stages,
            edges,
        })
    }

    /// What tells this program from others, until it is made a worker's.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint_of(self.version, &self.graph)
    }

    /// The topology's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.explain())
    }
}

fn mistakes_in(name: &str, graph: &Graph) -> Vec<String> {
    let mut mistakes = graph.mistakes.clone();
    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        mistakes.push(format!("the topology's name {name:?} must be a text without slashes: ledgers and directories carry it"));
    }
    if graph.spouts.is_empty() {
        mistakes.push("it has no spout: begin a stream with `spout`".into());
    }
    let spouts = graph.spouts.iter().map(|spout| ("spout", &spout.name));
    let states = graph
        .states
        .iter()
        .map(|state| ("state", &state.family.schema().name));
    let sinks = graph.sinks.iter().map(|sink| ("sink", &sink.name));
    let mut seen = BTreeSet::new();
    for (kind, name) in spouts.chain(states).chain(sinks) {
        if name.is_empty() {
            mistakes.push(format!("a {kind} has no name"));
        } else if !seen.insert((kind, name)) {
            mistakes.push(format!(
                "two {kind}s are named {name:?}: their data would mix, rename one"
            ));
        }
    }
    for state in &graph.states {
        if let Err(error) = state.family.schema().check() {
            mistakes.push(error.to_string());
        }
    }
    mistakes
}

/// What makes the program this program: names, verbs, types, versions, partition counts and how they are connected.
fn fingerprint_of(version: u32, graph: &Graph) -> Fingerprint {
    let mut fingerprint = Fingerprint::new().line("version", version.to_string());
    for node in &graph.nodes {
        let mut value = short(node.output);
        if let Role::Updates(id) = node.role {
            let schema = graph.states[usize::from(id.0)].family.schema();
            value += &format!(
                ", {} partitions, key version {}, value version {}",
                schema.partitions, schema.key_version, schema.value_version
            );
        }
        for input in &node.inputs {
            value += &format!(
                ", {} {}",
                route_name(input.route),
                graph.nodes[input.node].label()
            );
        }
        fingerprint = fingerprint.line(node.label(), value);
    }
    fingerprint
}

fn route_name(route: Route) -> &'static str {
    match route {
        Route::Local => "from",
        Route::Forward => "forwarded from",
        Route::Shuffle => "shuffled from",
        Route::Keyed => "by key from",
    }
}

/// A type's name without the modules it lives in, so that moving a type does not change what a state is.
pub(crate) fn short_type_name<T>() -> String {
    short(std::any::type_name::<T>())
}

fn short(name: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for letter in name.chars() {
        match letter {
            ':' => word.clear(),
            letter if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            letter => {
                out.push_str(&word);
                word.clear();
                out.push(letter);
            }
        }
    }
    out + &word
}

/// A node's label, by number, for messages.
pub(crate) fn labels(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(Node::label).collect()
}
