//! What makes a topology the same topology, as named lines, so that a difference can be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Named lines (names, verbs, types and their versions, partition counts, the user's version) in a fixed order.
///
/// Cheap to clone: every ledger record carries it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fingerprint(Arc<Vec<(String, String)>>);

impl Fingerprint {
    /// An empty fingerprint.
    #[must_use]
    pub fn new() -> Self {
        Fingerprint::default()
    }

    /// With one more line. A name that is there already is numbered: `each`, `each (2)`, ….
    #[must_use]
    pub fn line(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let lines = Arc::make_mut(&mut self.0);
        let base = name.into();
        let taken = |name: &str| lines.iter().any(|(other, _)| other == name);
        let mut name = base.clone();
        let mut count = 1;
        while taken(&name) {
            count += 1;
            name = format!("{base} ({count})");
        }
        lines.push((name, value.into()));
        self
    }

    /// The lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[(String, String)] {
        &self.0
    }

    /// What differs between this (recorded) fingerprint and that of the program; empty if and only if they are equal.
    #[must_use]
    pub fn diff(&self, program: &Fingerprint) -> Vec<Difference> {
        let index = |fingerprint: &'_ Fingerprint| -> BTreeMap<String, String> {
            fingerprint.0.iter().cloned().collect()
        };
        let (old, new) = (index(self), index(program));
        let mut out = Vec::new();
        for (name, recorded) in self.lines() {
            let found = new.get(name);
            if found != Some(recorded) {
                out.push(Difference {
                    name: name.clone(),
                    recorded: Some(recorded.clone()),
                    program: found.cloned(),
                });
            }
        }
        for (name, value) in program
            .lines()
            .iter()
            .filter(|(name, _)| !old.contains_key(name))
        {
            out.push(Difference {
                name: name.clone(),
                recorded: None,
                program: Some(value.clone()),
            });
        }
        if out.is_empty() && self != program {
            let order = |fingerprint: &Fingerprint| {
                Some(
                    fingerprint
                        .lines()
                        .iter()
                        .map(|(name, _)| name.as_str())
                        .collect::<Vec<_>>()
                        .join(", "),
                )
            };
            out.push(Difference {
                name: "order".into(),
                recorded: order(self),
                program: order(program),
            });
        }
        out
    }
}

/// One line that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The line's name.
    pub name: String,
    /// What the ledger has; `None` if it has no such line.
    pub recorded: Option<String>,
    /// What the program has; `None` if it has no such line.
    pub program: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match (&self.recorded, &self.program) {
            (Some(old), Some(new)) => write!(f, "{name}: recorded {old:?}, program has {new:?}"),
            (Some(old), None) => write!(f, "{name}: recorded {old:?}, program has none"),
            (None, Some(new)) => write!(f, "{name}: not recorded, program has {new:?}"),
            (None, None) => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Fingerprint {
        lines
            .iter()
            .fold(Fingerprint::new(), |fingerprint, (name, value)| {
                fingerprint.line(*name, *value)
            })
    }

    #[test]
    fn equal_fingerprints_do_not_differ() {
        let one = of(&[("spout lines", "text"), ("state counts", "u64 v1")]);
        assert_eq!(one.diff(&one.clone()), []);
    }

    #[test]
    fn changed_added_and_removed_lines_are_shown() {
        let old = of(&[
            ("state counts", "u64 v1, 64 partitions"),
            ("sink out", "file"),
        ]);
        let new = of(&[
            ("state counts", "u64 v2, 64 partitions"),
            ("spout more", "text"),
        ]);
        let shown: Vec<_> = old.diff(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                r#"state counts: recorded "u64 v1, 64 partitions", program has "u64 v2, 64 partitions""#,
                r#"sink out: recorded "file", program has none"#,
                r#"spout more: not recorded, program has "text""#,
            ]
        );
    }

    #[test]
    fn another_order_is_a_difference() {
        let difference = of(&[("a", "1"), ("b", "2")]).diff(&of(&[("b", "2"), ("a", "1")]));
        assert_eq!(difference.len(), 1);
        assert_eq!(
            difference[0].to_string(),
            r#"order: recorded "a, b", program has "b, a""#
        );
    }

    #[test]
    fn equal_names_are_numbered_so_that_each_is_compared() {
        let one = of(&[("each", "x"), ("each", "y"), ("each", "z")]);
        let names: Vec<_> = one.lines().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["each", "each (2)", "each (3)"]);
        assert_eq!(
            one.diff(&of(&[("each", "x"), ("each", "w"), ("each", "z")]))
                .len(),
            1
        );
    }
}
