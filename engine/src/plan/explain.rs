//! A plan in words and as a Mermaid picture.

use std::fmt::Write;

use super::graph::{Node, Role};
use super::{Endpoint, Plan, route_name, short};

impl Plan {
    /// The plan in words: spouts, then each stage with its operators, where its records come from, and its states.
    ///
    /// ```
    /// # use fulmar::{Topology, aggregate::Count, spout::Collection};
    /// let topology = Topology::new("words");
    /// topology
    ///     .spout("words", Collection::of(["a".to_string()]))
    ///     .group_by(|word| word.clone())
    ///     .persistent_aggregate("counts", Count);
    /// let plan = topology.build()?;
    /// assert!(plan.explain().contains("persistent_aggregate \"counts\": (String, u64)"));
    /// # Ok::<(), fulmar::Error>(())
    /// ```
    pub fn explain(&self) -> String {
        let mut out = format!("topology {:?}\n", self.name);
        for spout in &self.graph.spouts {
            let _ = writeln!(
                out,
                "  spout {:?}: replays {:?}",
                spout.name,
                spout.spout.replays()
            );
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let inputs = stage.inputs.iter().map(|edge| self.describe_edge(*edge));
            let _ = writeln!(
                out,
                "  stage {index}, {}",
                inputs.collect::<Vec<_>>().join(", ")
            );
            for slot in &stage.slots {
                let node = &self.graph.nodes[slot.node];
                let _ = writeln!(
                    out,
                    "    {}: {}{}",
                    node.label(),
                    short(node.output),
                    self.describe_state(node)
                );
            }
        }
        out
    }

    fn describe_edge(&self, edge: usize) -> String {
        let edge = &self.edges[edge];
        let from = match edge.from {
            Endpoint::Spout(spout) => format!("spout {:?}", self.graph.spouts[spout].name),
            Endpoint::Stage(stage) => format!("stage {stage}"),
        };
        format!("{} {from}", route_name(edge.route))
    }

    fn describe_state(&self, node: &Node) -> String {
        match node.role {
            Role::Updates(id) => {
                let schema = self.graph.states[usize::from(id.0)].family.schema();
                format!(", {:?} in {} partitions", schema.kind, schema.partitions).to_lowercase()
            }
            Role::Queries(id) => {
                format!(
                    ", reads {:?} as of the batch before",
                    self.graph.states[usize::from(id.0)].family.schema().name
                )
            }
            _ => String::new(),
        }
    }

    /// The plan as a [Mermaid](https://mermaid.js.org) flow chart: stages as boxes, exchanges as thick arrows.
    pub fn explain_mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        for (index, node) in self.graph.nodes.iter().enumerate() {
            if matches!(node.role, Role::Spout(_)) {
                let _ = writeln!(out, "  n{index}([\"{}\"])", escape(&node.label()));
            }
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let _ = writeln!(out, "  subgraph stage{index} [stage {index}]");
            for slot in &stage.slots {
                let node = &self.graph.nodes[slot.node];
                let (open, close) = if matches!(node.role, Role::Updates(_)) {
                    ("[(", ")]")
                } else {
                    ("[", "]")
                };
                let _ = writeln!(
                    out,
                    "    n{}{open}\"{}\"{close}",
                    slot.node,
                    escape(&node.label())
                );
            }
            out.push_str("  end\n");
        }
        for (index, node) in self.graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                let arrow = match route_name(input.route) {
                    "from" => "-->".to_string(),
                    route => format!("== {} ==>", route.trim_end_matches(" from")),
                };
                let _ = writeln!(out, "  n{} {arrow} n{index}", input.node);
            }
        }
        out
    }
}

fn escape(label: &str) -> String {
    label.replace('"', "#quot;")
}
