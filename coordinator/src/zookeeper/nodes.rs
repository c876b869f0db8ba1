//! The two nodes of a ledger: what they say together, and what is sent to change them.

use std::sync::Arc;

use zookeeper_client as zk;

use super::marker::{self, Marker};
use super::session::{CallError, Session};
use crate::error::{Error, Result};
use crate::ledger::{Elsewhere, LedgerRecord, RecordError, Version};

/// A node's version is 32 bits, and a write that expects version -1 has no condition. Long before, the node is replaced.
pub(super) const ROLL_AT: i32 = i32::MAX - 1024;

/// Why something has no answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nothing is known; what was heard.
    Unknown(String),
    /// The ledger cannot go on.
    Failed(Error),
}

/// An answer, or why there is none.
pub(super) type Answer<T> = std::result::Result<T, Stop>;

/// The nodes of one topology's ledger: its own, and the topology's above it.
#[derive(Debug)]
pub(super) struct Nodes {
    pub session: Session,
    pub paths: Paths,
}

/// Where the two are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub root: Arc<str>,
    pub ledger: Arc<str>,
}

/// What the nodes said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Nothing if there is no such node.
    pub marker: Option<Marker>,
    pub marker_version: i32,
    /// Whether the record's positions are in parts.
    pub apart: bool,
}

/// Both nodes as of one moment.
pub(super) struct Look {
    root: Option<(Vec<u8>, zk::Stat)>,
    ledger: Option<(Vec<u8>, zk::Stat)>,
}

/// A record without the positions that stand elsewhere.
pub(super) struct Head {
    pub record: LedgerRecord,
    pub version: Version,
    pub elsewhere: Option<Elsewhere>,
    /// Tells whether the node was written between two looks.
    pub written: i64,
}

/// What a write is at the servers; each is one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Makes the node, and marks that it was made.
    First { marker: i32 },
    /// Replaces its data, in the node that the marker tells of: node versions come again in the next one.
    Next { node: i32, marker: i32 },
    /// Replaces the node, and marks which version it begins with.
    Roll { node: i32, marker: i32, from: i64 },
}

impl Nodes {
    /// Checks whose the topology's node is, and marks one that was made on the way to another.
    pub(super) async fn begin(&self) -> Result<Seen> {
        loop {
            let paths = self.paths.clone();
            let look = self
                .session
                .settle(move |client| look(client, paths.clone()))
                .await;
            let look = look.map_err(|error| {
                error.into_error("reading", &self.session.shown(&self.paths.root))
            })?;
            let seen = self.marked(&look)?;
            if seen.marker != Some(Marker::Blank) || look.ledger.is_some() {
                return Ok(seen);
            }
            let (root, version) = (Arc::clone(&self.paths.root), Some(seen.marker_version));
            let call = move |client: zk::Client| {
                let root = Arc::clone(&root);
                async move { client.set_data(&root, marker::BEGUN, version).await }
            };
            match self.session.settle(call).await {
                // Somebody else was faster, or an earlier sending was: what is there now?
                Ok(_) | Err(CallError::Refused(zk::Error::BadVersion)) => {}
                Err(error) => {
                    return Err(error.into_error("marking", &self.session.shown(&self.paths.root)));
                }
            }
        }
    }

    pub(super) async fn look(&self) -> Answer<Look> {
        let paths = self.paths.clone();
        let answer = self.session.call(move |client| look(client, paths)).await;
        answer.map_err(|error| Stop::of(error, "reading", &self.session.shown(&self.paths.ledger)))
    }

    /// What the topology's node says.
    fn marked(&self, look: &Look) -> Result<Seen> {
        let (marker, marker_version) = match &look.root {
            None => (None, 0),
            Some((text, stat)) => {
                let marker = Marker::parse(text).map_err(|error| self.not_ours(error))?;
                (Some(marker), stat.version)
            }
        };
        Ok(Seen {
            marker,
            marker_version,
            apart: false,
        })
    }

    fn not_ours(&self, error: RecordError) -> Error {
        let path = self.session.shown(&self.paths.root);
        match error {
            RecordError::Corrupt(what) => Error::ChangedByHand {
                path,
                what: format!(
                    "{what}; its documented texts are \"fulmar-topology 1 begun\" and \"fulmar-topology 1\""
                ),
            },
            error => error.at(path.as_ref()),
        }
    }

    /// The record as it is read, if the nodes are as the program leaves them.
    pub(super) fn head(&self, look: Look) -> Result<(Seen, Option<Head>)> {
        let mut seen = self.marked(&look)?;
        let Some((text, stat)) = look.ledger else {
            return Ok((seen, None));
        };
        let path = self.session.shown(&self.paths.ledger);
        let head = LedgerRecord::decode_head(&text).map_err(|error| match error {
            // Its place is known, so that it is no stranger's, but ours and damaged.
            RecordError::OtherProgram(what) => RecordError::Corrupt(what),
            error => error,
        });
        let (record, version, elsewhere) = head.map_err(|error| error.at(path.as_ref()))?;
        let from = i64::try_from(version.0)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::from(stat.version));
        if seen.marker != Some(Marker::Written { from }) {
            return Err(self.changed(seen.marker, version, stat.version, from));
        }
        seen.apart = elsewhere.is_some();
        let head = Head {
            record,
            version,
            elsewhere,
            written: stat.mzxid,
        };
        Ok((seen, Some(head)))
    }

    /// The ledger is a record of ours, but its node was not left by us.
    fn changed(&self, marker: Option<Marker>, version: Version, node: i32, from: i64) -> Error {
        let says = match marker {
            Some(Marker::Written { from }) => format!(
                "belongs to version {} of the record",
                from.saturating_add(node.into())
            ),
            _ => "belongs to no record by what the node above it says".to_owned(),
        };
        let root = self.session.shown(&self.paths.root);
        let text = Marker::written(from);
        Error::ChangedByHand {
            path: self.session.shown(&self.paths.ledger),
            what: format!(
                "it has the record's version {version}, but its node's version {node} {says}. If it was an older text that was put here, \
                 put the newest sealed one back. To go on with what is here, after all processes of the topology have stopped, \
                 run in ZooKeeper's shell: set {root} \"{}\"",
                text.trim_end(),
            ),
        }
    }

    pub(super) fn corrupt(&self, path: &str, what: &str) -> Error {
        Error::Corrupt {
            path: self.session.shown(path).into(),
            what: what.to_owned(),
        }
    }
}

impl Stop {
    pub(super) fn of(error: CallError, what: &'static str, path: &str) -> Stop {
        match error {
            CallError::Unknown(said) => Stop::Unknown(said),
            error => Stop::Failed(error.into_error(what, path)),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl Seen {
    /// What to send, if the node can have that version at all.
    pub(super) fn plan(&self, expected: Version, roll_at: i32) -> Option<Put> {
        let marker = self.marker_version;
        let from = match self.marker {
            Some(Marker::Begun) if expected == Version::ABSENT => {
                return Some(Put::First { marker });
            }
            Some(Marker::Written { from }) if expected > Version::ABSENT => from,
            _ => return None,
        };
        let expected = i64::try_from(expected.0).ok()?;
        // Never -1, which is no condition.
        let node = i32::try_from(expected.checked_sub(from)?)
            .ok()
            .filter(|node| *node >= 0)?;
        if node < roll_at {
            return Some(Put::Next { node, marker });
        }
        Some(Put::Roll {
            node,
            marker,
            from: expected + 1,
        })
    }

    /// What the nodes say after a write.
    pub(super) fn after(self, put: Put, apart: bool) -> Seen {
        let (marker, marker_version) = match put {
            Put::First { marker } => (
                Marker::Written {
                    from: Marker::FIRST,
                },
                marker + 1,
            ),
            Put::Next { .. } => return Seen { apart, ..self },
            Put::Roll { marker, from, .. } => (Marker::Written { from }, marker + 1),
        };
        Seen {
            marker: Some(marker),
            marker_version,
            apart,
        }
    }
}

impl Put {
    pub(super) async fn carry_out(
        self,
        client: zk::Client,
        paths: Paths,
        text: Vec<u8>,
        acls: zk::Acls<'static>,
    ) -> std::result::Result<(), zk::Error> {
        let options = zk::CreateMode::Persistent.with_acls(acls);
        let mut multi = client.new_multi_writer();
        let (marker, from) = match self {
            Put::Next { node, marker } => {
                multi.add_check_version(&paths.root, marker)?;
                multi.add_set_data(&paths.ledger, &text, Some(node))?;
                multi.commit().await?;
                return Ok(());
            }
            Put::First { marker } => (marker, Marker::FIRST),
            Put::Roll { node, marker, from } => {
                multi.add_delete(&paths.ledger, Some(node))?;
                (marker, from)
            }
        };
        multi.add_create(&paths.ledger, &text, &options)?;
        // The marker's version only grows, so that a late write cannot make a node once more.
        multi.add_set_data(&paths.root, Marker::written(from).as_bytes(), Some(marker))?;
        multi.commit().await?;
        Ok(())
    }
}

/// Both nodes as of one moment, no older than the call.
async fn look(client: zk::Client, paths: Paths) -> std::result::Result<Look, zk::Error> {
    let sync = client.sync(&paths.root);
    let mut reader = client.new_multi_reader();
    reader.add_get_data(&paths.root)?;
    reader.add_get_data(&paths.ledger)?;
    let read = reader.commit();
    sync.await?;
    let mut found = Vec::with_capacity(2);
    for result in read.await? {
        found.push(match result {
            zk::MultiReadResult::Data { data, stat } => Some((data, stat)),
            zk::MultiReadResult::Error {
                err: zk::Error::NoNode,
            } => None,
            zk::MultiReadResult::Error { err } => return Err(err),
            other => {
                return Err(zk::Error::UnexpectedError(format!(
                    "{other:?} to a question for data"
                )));
            }
        });
    }
    let mut found = found.into_iter();
    Ok(Look {
        root: found.next().flatten(),
        ledger: found.next().flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_replaced_before_its_versions_end_and_no_write_is_without_condition() {
        let seen = |from| Seen {
            marker: Some(Marker::Written { from }),
            marker_version: 5,
            apart: false,
        };
        let plan = |from, expected| seen(from).plan(Version(expected), ROLL_AT);
        let last = ROLL_AT as u64;
        let begun = Seen {
            marker: Some(Marker::Begun),
            ..seen(1)
        };
        assert_eq!(
            begun.plan(Version::ABSENT, ROLL_AT),
            Some(Put::First { marker: 5 })
        );
        assert_eq!(
            (begun.plan(Version(1), ROLL_AT), plan(1, 0), plan(0, 0)),
            (None, None, None)
        );
        assert_eq!(plan(1, 1), Some(Put::Next { node: 0, marker: 5 }));
        assert_eq!(
            plan(1, last),
            Some(Put::Next {
                node: ROLL_AT - 1,
                marker: 5
            })
        );
        let from = i64::from(ROLL_AT) + 2;
        assert_eq!(
            plan(1, last + 1),
            Some(Put::Roll {
                node: ROLL_AT,
                marker: 5,
                from
            })
        );
        assert_eq!(plan(from, last + 2), Some(Put::Next { node: 0, marker: 5 }));
        for (from, expected) in [
            (2, 1),
            (from, 1),
            (1, i32::MAX as u64 + 2),
            (1, u64::MAX),
            (-9, i64::MAX as u64),
        ] {
            assert_eq!(plan(from, expected), None, "{from} {expected}");
        }
        assert_eq!(
            plan(-9, 1),
            Some(Put::Next {
                node: 10,
                marker: 5
            })
        );
    }
}
