//! Oracle: the DSL's own source says which verbs there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::plan::graph::Role;
use crate::testing::Plan;
use crate::testing::shape::{Desk, build};
use crate::testing::spout::Wells;

/// Public functions of the DSL's nouns that are no verbs.
const OTHERS: [&str; 4] = ["new", "version", "build", "name"];

/// Every public function of the DSL's nouns.
fn verbs_of_the_dsl() -> BTreeSet<&'static str> {
    let nouns = [
        include_str!("../../stream/topology.rs"),
        include_str!("../../stream/stream.rs"),
        include_str!("../../stream/grouped.rs"),
        include_str!("../../stream/state_handle.rs"),
    ];
    let lines = nouns.into_iter().flat_map(str::lines);
    let functions = lines.filter_map(|line| line.trim().strip_prefix("pub fn "));
    let names = functions.filter_map(|function| function.split(['<', '(']).next());
    names.filter(|name| !OTHERS.contains(name)).collect()
}

/// The verbs that a built topology was made with, as its plan shows them.
fn verbs_of(plan: &Plan) -> BTreeSet<&'static str> {
    let built = build(plan, &Arc::new(Wells::new(plan)), &Desk::default());
    let nodes = &built.graph.nodes;
    let mut verbs: BTreeSet<&'static str> = nodes.iter().map(|node| node.verb).collect();
    for node in nodes {
        if node.role == Role::Plain && node.name.is_some() {
            verbs.insert("named");
        }
        if matches!(node.role, Role::Updates(_)) {
            verbs.insert("group_by");
        }
        let updates =
            |input: &crate::plan::graph::Input| matches!(nodes[input.node].role, Role::Updates(_));
        if node.inputs.iter().any(updates) {
            verbs.insert("new_values");
        }
    }
    verbs
}

#[test]
fn every_verb_of_the_dsl_is_drawn() {
    let all = verbs_of_the_dsl();
    assert!(all.len() >= 15, "the DSL's verbs are not found: {all:?}");
    let drawn: BTreeSet<_> = (0..300)
        .flat_map(|seed| verbs_of(&Plan::of(seed)))
        .collect();
    let missing: Vec<_> = all.difference(&drawn).collect();
    assert!(
        missing.is_empty(),
        "verbs that no drawn graph uses: {missing:?}; the head of graph.rs says how one joins"
    );
}

#[test]
fn graphs_of_all_sizes_and_kinds_are_drawn() {
    let graphs: Vec<Graph> = (0..1_000).map(|seed| Plan::of(seed).graph).collect();
    let some = |what: &str, holds: fn(&Graph) -> bool| {
        assert!(graphs.iter().any(holds), "no graph {what}");
    };
    some("is a spout only", |graph| graph.nodes.len() == 1);
    some("is large", |graph| graph.nodes.len() > 9);
    some("merges a stream with itself", |graph| {
        let twice = |node: &Node| matches!(node, Node::Merge { left, right } if left == right);
        graph.nodes.iter().any(twice)
    });
    some("has three states", |graph| graph.states().len() > 2);
    some("feeds a state with new values", |graph| {
        let feeds = |node: &Node| match node {
            Node::State { from, .. } => matches!(graph.nodes[*from], Node::NewValues { .. }),
            _ => false,
        };
        graph.nodes.iter().any(feeds)
    });
    some("has a stream that leads nowhere", |graph| {
        let mut read = BTreeSet::new();
        for node in &graph.nodes {
            read.extend(node.clone().inputs_mut().into_iter().map(|input| *input));
        }
        let mut nodes = graph.nodes.iter().enumerate();
        nodes.any(|(place, node)| node.is_stream() && !read.contains(&place))
    });
    for graph in &graphs {
        let spouts = graph
            .nodes
            .iter()
            .filter(|node| matches!(node, Node::Spout { .. }));
        graph.check(spouts.count()).expect("drawn graphs are right");
    }
}

#[test]
fn what_is_wrong_with_a_graph_is_said_with_its_place() {
    let mut graph = Graph::words();
    graph.nodes[3] = Node::NewValues { state: 1 };
    let told = graph.check(1).expect_err("node 1 is no state");
    assert!(
        told.contains("node 3") && told.contains("expected a State"),
        "{told}"
    );
    let told = Graph::merged().check(1).expect_err("there are two spouts");
    assert!(told.contains("node 1 is spout 1"), "{told}");
    let told = Graph::words().check(2).expect_err("one of two is there");
    assert!(told.contains("spout 1 stands 0 times"), "{told}");
}
