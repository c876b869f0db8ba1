//! The node layout of one topology.

use std::fmt::Write as _;

use crate::WriterId;

/// Where the nodes of a topology are, as paths under the connection string's chroot.
///
/// ```
/// let paths = fulmar_coordinator::zookeeper::TopologyPaths::new("word count");
/// assert_eq!(paths.ledger(), "/fulmar/word%20count/ledger");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopologyPaths {
    root: String,
}

impl TopologyPaths {
    /// The parent of all topologies.
    pub const ALL: &str = "/fulmar";

    /// The paths of the topology of this name, which may be any text.
    #[must_use]
    pub fn new(topology: &str) -> TopologyPaths {
        TopologyPaths {
            root: format!("{}/{}", TopologyPaths::ALL, element(topology)),
        }
    }

    /// The topology's node; its data names the layout's format.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The record of what is sealed.
    #[must_use]
    pub fn ledger(&self) -> String {
        self.child("ledger")
    }

    /// Positions that outgrow the ledger's node.
    #[must_use]
    pub fn positions(&self) -> String {
        self.child("positions")
    }

    /// The queue of the candidates for leadership.
    #[must_use]
    pub fn leader(&self) -> String {
        self.child("leader")
    }

    /// The processes that are there.
    #[must_use]
    pub fn workers(&self) -> String {
        self.child("workers")
    }

    /// One process that is there.
    #[must_use]
    pub fn worker(&self, id: WriterId) -> String {
        format!("{}/{id}", self.workers())
    }

    /// The settings that may change while the topology runs.
    #[must_use]
    pub fn config(&self) -> String {
        self.child("config")
    }

    /// The settings that the leader has applied last.
    #[must_use]
    pub fn applied(&self) -> String {
        self.child("config/applied")
    }

    /// What one process answered to the newest settings.
    #[must_use]
    pub fn config_ack(&self, id: WriterId) -> String {
        format!("{}/ack-{id}", self.config())
    }

    fn child(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}

/// Any text as one element of a path: printable ASCII as it is, all else, `/`, `%` and a leading dot as `%xx`; the empty text as `%e`.
fn element(text: &str) -> String {
    if text.is_empty() {
        return "%e".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_graphic() && !b"/%".contains(&byte) && !(at == 0 && byte == b'.');
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_element_and_no_two_names_share_one() {
        let names = [
            "a",
            "a/b",
            "..",
            ".",
            "",
            "%e",
            "ü",
            "a b",
            "a%20b",
            "zookeeper",
        ];
        let mut elements: Vec<String> = names.iter().map(|name| element(name)).collect();
        assert!(elements.iter().all(|element| {
            !element.is_empty() && !element.contains('/') && !element.starts_with('.')
        }));
        elements.sort();
        elements.dedup();
        assert_eq!(elements.len(), names.len());
    }
}
