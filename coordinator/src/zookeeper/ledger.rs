//! The ledger on ZooKeeper: one node, replaced whole by one conditional write.
//!
//! The node's text is the record's, as in a file. The condition is the node's version, and the topology's node says which version of the
//! record belongs to which version of the node ([`Marker`]). What is read is never decided upon: it tells a writer whose write was refused
//! what it lost to, and a new term what to fence.

use futures::future::{BoxFuture, FutureExt as _};
use zookeeper_client as zk;

use super::marker::{self, Marker};
use super::nodes::{Answer, Nodes, Paths, ROLL_AT, Seen, Stop};
use super::parts::{Parts, Read};
use super::path::TopologyPaths;
use super::session::{CallError, Session};
use crate::Epoch;
use crate::error::{Error, Result};
use crate::ledger::{
    Elsewhere, Ledger, LedgerRecord, MAX_RECORD, RecordError, Version, WriteOutcome, WriterId,
};

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

/// The positions that a text names, and their lines.
type Apart = (Elsewhere, Vec<u8>);

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
                session: session.clone(),
                paths: Paths {
                    root: paths.root().into(),
                    ledger: paths.ledger().into(),
                },
            },
            parts: Parts {
                session: session.clone(),
                parent: paths.positions().into(),
            },
            seen: None,
            tidied: None,
            roll_at: ROLL_AT,
        };
        ledger.seen = Some(ledger.nodes.begin().await?);
        Ok(ledger)
    }

    /// The same, but its node is replaced once it has this version, for tests: nobody waits for two thousand million writes.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn rolling_at(mut self, node_version: i32) -> Self {
        self.roll_at = node_version;
        self
    }

    /// The record, with its parts; `None` if there is no such node.
    async fn read(&mut self) -> Answer<Option<(LedgerRecord, Version)>> {
        let mut missing: Option<(i64, String)> = None;
        for _ in 0..LOOKS {
            let (seen, head) = self.nodes.head(self.nodes.look().await?)?;
            self.seen = Some(seen);
            let Some(mut head) = head else {
                return Ok(None);
            };
            let Some(elsewhere) = &head.elsewhere else {
                return Ok(Some((head.record, head.version)));
            };
            if let Some((_, part)) = missing.filter(|(written, _)| *written == head.written) {
                // It was not there while the ledger named it, before and after.
                return Err(self
                    .nodes
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
                        self.nodes.corrupt(
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

    /// Whether the ledger was never written; an error if it was, and is gone.
    fn never_written(&self) -> Result<()> {
        match self.seen.and_then(|seen| seen.marker) {
            Some(Marker::Begun) => Ok(()),
            Some(Marker::Written { .. }) => Err(self.nodes.corrupt(&self.nodes.paths.ledger, "it is missing, although there was one once")),
            Some(Marker::Blank) | None => Err(Error::ChangedByHand {
                path: self.session.shown(&self.nodes.paths.root),
                what: "what it said is gone, so it is not known whether there was a ledger; start again if there was none".into(),
            }),
        }
    }

    async fn put(&mut self, record: &LedgerRecord, expected: Version) -> Answer<WriteOutcome> {
        self.lease()?;
        let (text, apart) = self.text(record, expected.next())?;
        if let Some((elsewhere, positions)) = &apart {
            self.parts.make(elsewhere, positions).await?;
            self.lease()?;
        }
        let mut put = self.seen.and_then(|seen| seen.plan(expected, self.roll_at));
        if put.is_none() {
            // By what was seen last the node cannot have that version; perhaps it has moved on since.
            let (seen, _) = self.nodes.head(self.nodes.look().await?)?;
            self.seen = Some(seen);
            put = seen.plan(expected, self.roll_at);
        }
        let (Some(put), Some(seen)) = (put, self.seen) else {
            return self.refused(record, expected).await;
        };
        let (paths, acls) = (self.nodes.paths.clone(), self.session.config().acls());
        let call = move |client| put.carry_out(client, paths, text, acls);
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
                    path: self.session.shown(&self.nodes.paths.ledger),
                    what: "there are nodes below it; delete them".into(),
                }))
            }
            Err(error) => Err(Stop::of(
                error,
                "writing",
                &self.session.shown(&self.nodes.paths.ledger),
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
    fn text(&self, record: &LedgerRecord, version: Version) -> Answer<(Vec<u8>, Option<Apart>)> {
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
            None => {
                let path = self.session.shown(&self.nodes.paths.ledger);
                tracing::error!(path, "the ledger's node was deleted while the topology ran");
            }
            Some(_) => {}
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
                    let path = self.session.shown(&self.nodes.paths.ledger);
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
