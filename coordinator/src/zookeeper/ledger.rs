//! The ledger on ZooKeeper: one node, replaced whole by one conditional write.
//!
//! The node's text is the record's, as in a file. The condition is the node's version, and the topology's node says which version of the
//! record belongs to which version of the node ([`Marker`]). What is read is never decided upon: it tells a writer whose write was refused
//! what it lost to, and a new term what to fence.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use zookeeper_client as zk;

use super::marker::{self, Marker};
use super::parts::{Parts, Read};
use super::path::TopologyPaths;
use super::session::{CallError, Session};
use crate::Epoch;
use crate::error::{Error, Result};
use crate::ledger::{
    Elsewhere, Ledger, LedgerRecord, MAX_RECORD, RecordError, Version, WriteOutcome, WriterId,
};

/// A node's version is 32 bits, and a write that expects version -1 has no condition. Long before, the node is replaced.
const ROLL_AT: i32 = i32::MAX - 1024;
/// How often a record is read whose parts vanish meanwhile: the ledger then has moved on, but nothing seals that fast for ever.
const LOOKS: u32 = 16;

/// The ledger of one topology on ZooKeeper, for as long as a [`Session`] lasts.
///
/// One write is one transaction at the servers. It is sent only while the session holds its lease; without it, and when no answer comes
/// within half the session timeout, the outcome is [`WriteOutcome::Unknown`]. A record that is larger than
/// [`crate::zookeeper::ZooKeeperConfig::node_bytes`] has its positions in nodes of their own, made before the one write that names them.
///
/// Its futures may be awaited on any executor.
///
/// ```no_run
/// use fulmar_coordinator::zookeeper::{Session, ZooKeeperConfig, ZooKeeperLedger};
/// use fulmar_coordinator::{Fingerprint, Ledger, LedgerRecord, Version, WriteOutcome};
///
/// # async fn example() -> Result<(), fulmar_coordinator::Error> {
/// let session = Session::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
/// let mut ledger = ZooKeeperLedger::open(&session, "wordcount").await?;
/// if ledger.load().await?.is_none() {
///     let record = LedgerRecord::new("wordcount", Fingerprint::new().line("version", "1"));
///     assert_eq!(ledger.write(&record, Version::ABSENT).await, WriteOutcome::Applied(Version(1)));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ZooKeeperLedger {
    session: Session,
    nodes: Nodes,
    parts: Parts,
    /// What the nodes said when they were last read or written.
    seen: Option<Seen>,
    /// The term that has removed what the terms before it left.
    tidied: Option<(Epoch, WriterId)>,
    roll_at: i32,
}

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

/// The paths of the two nodes.
#[derive(Clone, Debug)]
struct Nodes {
    root: Arc<str>,
    ledger: Arc<str>,
}

/// What the nodes said.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Nothing if there is no such node.
    marker: Option<Marker>,
    marker_version: i32,
    /// Whether the record's positions are in parts.
    apart: bool,
}

/// Both nodes as of one moment.
struct Look {
    root: Option<(Vec<u8>, zk::Stat)>,
    ledger: Option<(Vec<u8>, zk::Stat)>,
}

/// A record without the positions that stand elsewhere.
struct Head {
    record: LedgerRecord,
    version: Version,
    elsewhere: Option<Elsewhere>,
    /// Tells whether the node was written between two looks.
    written: i64,
}

/// What a write is at the servers; each is one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    /// Makes the node, and marks that it was made.
    First { marker: i32 },
    /// Replaces its data.
    Next { node: i32 },
    /// Replaces the node, and marks which version it begins with.
    Roll { node: i32, marker: i32, from: i64 },
}

impl ZooKeeperLedger {
    /// The ledger of the topology of this name. Makes the topology's node if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::OtherProgram`], [`Error::OtherFormat`], [`Error::ChangedByHand`], [`Error::Denied`], [`Error::SessionLost`].
    pub async fn open(session: &Session, topology: &str) -> Result<ZooKeeperLedger> {
        let paths = TopologyPaths::new(topology);
        session.make(paths.root(), marker::BEGUN).await?;
        let mut ledger = ZooKeeperLedger {
            session: session.clone(),
            nodes: Nodes {
                root: paths.root().into(),
                ledger: paths.ledger().into(),
            },
            parts: Parts {
                session: session.clone(),
                parent: paths.positions().into(),
            },
            seen: None,
            tidied: None,
            roll_at: ROLL_AT,
        };
        ledger.begin().await?;
        Ok(ledger)
    }

    /// The same, but its node is replaced once it has this version, for tests: nobody waits for two thousand million writes.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn rolling_at(mut self, node_version: i32) -> Self {
        self.roll_at = node_version;
        self
    }

    /// Checks whose the topology's node is, and marks one that was made on the way to another.
    async fn begin(&mut self) -> Result<()> {
        loop {
            let nodes = self.nodes.clone();
            let look = self
                .session
                .settle(move |client| look(client, nodes.clone()))
                .await;
            let look = look.map_err(|error| {
                error.into_error("reading", &self.session.shown(&self.nodes.root))
            })?;
            let seen = self.marked(&look)?;
            if seen.marker != Some(Marker::Blank) || look.ledger.is_some() {
                self.seen = Some(seen);
                return Ok(());
            }
            let (root, version) = (Arc::clone(&self.nodes.root), Some(seen.marker_version));
            let call = move |client: zk::Client| {
                let root = Arc::clone(&root);
                async move { client.set_data(&root, marker::BEGUN, version).await }
            };
            match self.session.settle(call).await {
                // Somebody else was faster, or an earlier sending was: what is there now?
                Ok(_) | Err(CallError::Refused(zk::Error::BadVersion)) => {}
                Err(error) => {
                    return Err(error.into_error("marking", &self.session.shown(&self.nodes.root)));
                }
            }
        }
    }

    async fn look(&self) -> Answer<Look> {
        let nodes = self.nodes.clone();
        let answer = self.session.call(move |client| look(client, nodes)).await;
        answer.map_err(|error| Stop::of(error, "reading", &self.session.shown(&self.nodes.ledger)))
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
        let path = self.session.shown(&self.nodes.root);
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
    fn head(&mut self, look: Look) -> Result<Option<Head>> {
        let mut seen = self.marked(&look)?;
        let Some((text, stat)) = look.ledger else {
            self.seen = Some(seen);
            return Ok(None);
        };
        let path = self.session.shown(&self.nodes.ledger);
        let (record, version, elsewhere) =
            LedgerRecord::decode_head(&text).map_err(|error| error.at(path.as_ref()))?;
        let from = i64::try_from(version.0)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::from(stat.version));
        if seen.marker != Some(Marker::Written { from }) {
            return Err(self.changed(seen.marker, version, stat.version, from));
        }
        seen.apart = elsewhere.is_some();
        self.seen = Some(seen);
        Ok(Some(Head {
            record,
            version,
            elsewhere,
            written: stat.mzxid,
        }))
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
        let root = self.session.shown(&self.nodes.root);
        let text = Marker::written(from);
        Error::ChangedByHand {
            path: self.session.shown(&self.nodes.ledger),
            what: format!(
                "it has the record's version {version}, but its node's version {node} {says}. If it was an older text that was put here, \
                 put the newest sealed one back. To go on with what is here, after all processes of the topology have stopped, \
                 run in ZooKeeper's shell: set {root} \"{}\"",
                text.trim_end(),
            ),
        }
    }

    /// The record, with its parts; `None` if there is no such node.
    async fn read(&mut self) -> Answer<Option<(LedgerRecord, Version)>> {
        let mut missing: Option<(i64, String)> = None;
        for _ in 0..LOOKS {
            let look = self.look().await?;
            let Some(mut head) = self.head(look)? else {
                return Ok(None);
            };
            let Some(elsewhere) = &head.elsewhere else {
                return Ok(Some((head.record, head.version)));
            };
            if let Some((_, part)) = missing.filter(|(written, _)| *written == head.written) {
                // It was not there while the ledger named it, before and after.
                return Err(self
                    .corrupt(&part, "it is missing, although the ledger names it")
                    .into());
            }
            match self.parts.read(elsewhere).await? {
                Read::All(text) => {
                    let taken = head.record.take_positions(elsewhere, &text);
                    taken.map_err(|error| {
                        let what = match error {
                            RecordError::Corrupt(what) => what,
                            other => format!("{other:?}"),
                        };
                        self.corrupt(
                            &format!("{}/{}-*", self.parts.parent, elsewhere.name),
                            &what,
                        )
                    })?;
                    return Ok(Some((head.record, head.version)));
                }
                Read::Missing(part) => missing = Some((head.written, part)),
            }
        }
        Err(Stop::Unknown(
            "the ledger moves on faster than it can be read".into(),
        ))
    }

    fn corrupt(&self, path: &str, what: &str) -> Error {
        Error::Corrupt {
            path: self.session.shown(path).into(),
            what: what.to_owned(),
        }
    }

    /// Whether the ledger was never written; an error if it was, and is gone.
    fn never_written(&self) -> Result<()> {
        match self.seen.and_then(|seen| seen.marker) {
            Some(Marker::Begun) => Ok(()),
            Some(Marker::Written { .. }) => Err(self.corrupt(&self.nodes.ledger, "it is missing, although there was one once")),
            Some(Marker::Blank) | None => Err(Error::ChangedByHand {
                path: self.session.shown(&self.nodes.root),
                what: "what it said is gone, so it is not known whether there was a ledger; start again if there was none".into(),
            }),
        }
    }

    async fn put(&mut self, record: &LedgerRecord, expected: Version) -> Answer<WriteOutcome> {
        self.lease()?;
        let (text, apart) = self.text(record, expected.next())?;
        if self.seen.is_none() {
            let look = self.look().await?;
            self.head(look)?;
        }
        if let Some((elsewhere, positions)) = &apart {
            self.parts.make(elsewhere, positions).await?;
            self.lease()?;
        }
        let seen = self.seen.expect("it was looked at");
        let Some(put) = seen.plan(expected, self.roll_at) else {
            return self.refused(record, expected).await;
        };
        let (nodes, acls) = (self.nodes.clone(), self.session.config().acls());
        let call = move |client| put.carry_out(client, nodes, text, acls);
        match self.session.call_confirming(call).await {
            Ok(()) => {
                self.seen = Some(seen.after(put, apart.is_some()));
                self.tidy(record, seen.apart || apart.is_some());
                Ok(WriteOutcome::Applied(expected.next()))
            }
            Err(CallError::Refused(
                zk::Error::BadVersion | zk::Error::NodeExists | zk::Error::NoNode,
            )) => self.refused(record, expected).await,
            Err(CallError::Refused(zk::Error::NotEmpty)) => {
                Err(Stop::Failed(Error::ChangedByHand {
                    path: self.session.shown(&self.nodes.ledger),
                    what: "there are nodes below it; delete them".into(),
                }))
            }
            Err(error) => Err(Stop::of(
                error,
                "writing",
                &self.session.shown(&self.nodes.ledger),
            )),
        }
    }

    /// Nothing is sent by whoever may have lost the session without knowing it: a process that was stopped, above all.
    fn lease(&self) -> Answer<()> {
        if let Some(error) = self.session.has_ended() {
            return Err(Stop::Failed(error));
        }
        if self.session.holds_lease() {
            return Ok(());
        }
        Err(Stop::Unknown(
            "ZooKeeper has not answered for a session timeout, so nothing is sealed".into(),
        ))
    }

    /// The node's text, and the positions if they do not fit in it.
    #[expect(clippy::type_complexity, reason = "it has no other use")]
    fn text(
        &self,
        record: &LedgerRecord,
        version: Version,
    ) -> Answer<(Vec<u8>, Option<(Elsewhere, Vec<u8>)>)> {
        let limit = self.session.config().max_node();
        let text = record.encode(version);
        if text.len() <= limit {
            return Ok((text, None));
        }
        if text.len() > MAX_RECORD {
            return Err(Error::TooLarge {
                bytes: text.len(),
                limit: MAX_RECORD,
            }
            .into());
        }
        let (head, elsewhere, positions) = record.encode_apart(version, limit);
        if head.len() > limit {
            return Err(Error::TooLarge {
                bytes: head.len(),
                limit,
            }
            .into());
        }
        Ok((head, Some((elsewhere, positions))))
    }

    /// Reads what there is instead.
    async fn refused(&mut self, record: &LedgerRecord, expected: Version) -> Answer<WriteOutcome> {
        let was_apart = self.seen.is_some_and(|seen| seen.apart);
        let current = self.read().await?;
        match &current {
            None if expected == Version::ABSENT => self.never_written()?,
            // An earlier sending was applied.
            Some((found, version)) if *version == expected.next() && found == record => {
                self.tidy(
                    record,
                    was_apart || self.seen.is_some_and(|seen| seen.apart),
                );
            }
            _ => {}
        }
        Ok(WriteOutcome::Refused {
            current: current.map(Box::new),
        })
    }

    /// After a write that is known to be applied: removes parts of older records, if there may be some.
    fn tidy(&mut self, record: &LedgerRecord, apart: bool) {
        let term = Some((record.epoch, record.writer));
        if apart || self.tidied != term {
            self.tidied = term;
            self.parts.tidy(record);
        }
    }
}

impl Ledger for ZooKeeperLedger {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>>> {
        async move {
            match self.read().await {
                Ok(None) => self.never_written().map(|()| None),
                Ok(found) => Ok(found),
                Err(Stop::Failed(error)) => Err(error),
                Err(Stop::Unknown(said)) => {
                    let path = self.session.shown(&self.nodes.ledger);
                    Err(Error::Unreachable {
                        what: format!("reading {path}: {said}"),
                    })
                }
            }
        }
        .boxed()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        async move {
            match self.put(record, expected).await {
                Ok(outcome) => outcome,
                Err(Stop::Unknown(what)) => WriteOutcome::Unknown(what),
                Err(Stop::Failed(error)) => WriteOutcome::Failed(error),
            }
        }
        .boxed()
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
    fn plan(&self, expected: Version, roll_at: i32) -> Option<Put> {
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
            return Some(Put::Next { node });
        }
        Some(Put::Roll {
            node,
            marker,
            from: expected + 1,
        })
    }

    /// What the nodes say after a write.
    fn after(self, put: Put, apart: bool) -> Seen {
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
    async fn carry_out(
        self,
        client: zk::Client,
        nodes: Nodes,
        text: Vec<u8>,
        acls: zk::Acls<'static>,
    ) -> std::result::Result<(), zk::Error> {
        let options = zk::CreateMode::Persistent.with_acls(acls);
        let mut multi = client.new_multi_writer();
        let (marker, from) = match self {
            Put::Next { node } => {
                return client
                    .set_data(&nodes.ledger, &text, Some(node))
                    .await
                    .map(drop);
            }
            Put::First { marker } => (marker, Marker::FIRST),
            Put::Roll { node, marker, from } => {
                multi.add_delete(&nodes.ledger, Some(node))?;
                (marker, from)
            }
        };
        multi.add_create(&nodes.ledger, &text, &options)?;
        // The marker's version only grows, so that a late write cannot make a node once more.
        multi.add_set_data(&nodes.root, Marker::written(from).as_bytes(), Some(marker))?;
        multi.commit().await?;
        Ok(())
    }
}

/// Both nodes as of one moment, no older than the call.
async fn look(client: zk::Client, nodes: Nodes) -> std::result::Result<Look, zk::Error> {
    let sync = client.sync(&nodes.root);
    let mut reader = client.new_multi_reader();
    reader.add_get_data(&nodes.root)?;
    reader.add_get_data(&nodes.ledger)?;
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
        assert_eq!(plan(1, 1), Some(Put::Next { node: 0 }));
        assert_eq!(plan(1, last), Some(Put::Next { node: ROLL_AT - 1 }));
        let from = i64::from(ROLL_AT) + 2;
        assert_eq!(
            plan(1, last + 1),
            Some(Put::Roll {
                node: ROLL_AT,
                marker: 5,
                from
            })
        );
        assert_eq!(plan(from, last + 2), Some(Put::Next { node: 0 }));
        for (from, expected) in [
            (2, 1),
            (from, 1),
            (1, i32::MAX as u64 + 2),
            (1, u64::MAX),
            (-9, i64::MAX as u64),
        ] {
            assert_eq!(plan(from, expected), None, "{from} {expected}");
        }
        assert_eq!(plan(-9, 1), Some(Put::Next { node: 10 }));
    }
}
