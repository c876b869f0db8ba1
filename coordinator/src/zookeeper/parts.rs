//! Positions that outgrow the ledger's node: nodes that are made before the ledger names them, and removed when it no longer does.
//!
//! A part is never changed once it is there, and its name says which record it belongs to: `TXID-EPOCH-WRITER-PART`.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use zookeeper_client as zk;

use super::nodes::{Answer, Stop};
use super::session::{CallError, Session};
use crate::error::Error;
use crate::ledger::{Elsewhere, LedgerRecord};
use crate::{Epoch, TxId};

/// How many parts are under way at a time.
const WINDOW: usize = 4;
/// How often a part is made that others remove, or whose parent they do.
const TRIES: u32 = 4;

/// Where the parts are: a session, and the path of the node above them.
#[derive(Debug)]
pub(super) struct Parts {
    pub session: Session,
    pub parent: Arc<str>,
}

/// What became of reading parts.
pub(super) enum Read {
    All(Vec<u8>),
    /// This one is not there.
    Missing(String),
}

impl Parts {
    /// Makes the parts. Those that are there already are compared: an earlier sending of the same write has made them.
    pub(super) async fn make(&self, elsewhere: &Elsewhere, text: &[u8]) -> Answer<()> {
        let mut parts = Vec::with_capacity(elsewhere.parts);
        for (part, data) in text.chunks(self.session.config().max_node()).enumerate() {
            parts.push(self.make_one(self.path(elsewhere, part), data));
        }
        stream::iter(parts)
            .buffer_unordered(WINDOW)
            .try_collect()
            .await
    }

    async fn make_one(&self, path: String, data: &[u8]) -> Answer<()> {
        let shown = self.session.shown(&path);
        for _ in 0..TRIES {
            match self.create(&path, data).await {
                Ok(()) => return Ok(()),
                Err(CallError::Refused(zk::Error::NodeExists)) => match self.get(&path).await? {
                    Some(found) if found == data => return Ok(()),
                    Some(_) => {
                        let what = "it has other positions in it than those this process has to write; delete it and start again".into();
                        return Err(Stop::Failed(Error::ChangedByHand { path: shown, what }));
                    }
                    // A newer term removes what this one left.
                    None => {}
                },
                Err(CallError::Refused(zk::Error::NoNode)) => {
                    match self.create(&self.parent, b"").await {
                        Ok(()) | Err(CallError::Refused(zk::Error::NodeExists)) => {}
                        Err(error) => {
                            return Err(Stop::of(
                                error,
                                "creating",
                                &self.session.shown(&self.parent),
                            ));
                        }
                    }
                }
                Err(error) => return Err(Stop::of(error, "creating", &shown)),
            }
        }
        Err(Stop::Unknown(format!("{shown} comes and goes")))
    }

    async fn create(&self, path: &str, data: &[u8]) -> Result<(), CallError> {
        let (path, data, acls) = (
            path.to_owned(),
            data.to_owned(),
            self.session.config().acls(),
        );
        let call = move |client: zk::Client| async move {
            let options = zk::CreateMode::Persistent.with_acls(acls);
            client.create(&path, &data, &options).await.map(drop)
        };
        self.session.call_confirming(call).await
    }

    /// Reads the parts that a ledger names.
    pub(super) async fn read(&self, elsewhere: &Elsewhere) -> Answer<Read> {
        let mut text = Vec::with_capacity(elsewhere.bytes);
        let paths = (0..elsewhere.parts).map(|part| self.path(elsewhere, part));
        let mut parts =
            stream::iter(paths.map(|path| async move { (self.get(&path).await, path) }))
                .buffered(WINDOW);
        while let Some((part, path)) = parts.next().await {
            match part? {
                Some(part) if text.len() + part.len() <= elsewhere.bytes => {
                    text.extend_from_slice(&part)
                }
                // Longer than it was: the checksum will tell.
                Some(_) => return Ok(Read::All(Vec::new())),
                None => return Ok(Read::Missing(path)),
            }
        }
        Ok(Read::All(text))
    }

    /// The data of a node, if it is there.
    async fn get(&self, path: &str) -> Answer<Option<Vec<u8>>> {
        let at = path.to_owned();
        let call = move |client: zk::Client| async move { client.get_data(&at).await };
        match self.session.call(call).await {
            Ok((data, _)) => Ok(Some(data)),
            Err(CallError::Refused(zk::Error::NoNode)) => Ok(None),
            Err(error) => Err(Stop::of(error, "reading", &self.session.shown(path))),
        }
    }

    /// Deletes, without anybody waiting for it, what was written before this record, which is known to be the ledger's or to have been:
    /// no later one names it. What fails is left for the next time.
    pub(super) fn tidy(&self, record: &LedgerRecord) {
        let (parent, before) = (Arc::clone(&self.parent), (record.epoch, record.txid()));
        self.session.spawn(move |client| async move {
            match tidy(&client, &parent, before).await {
                Ok(()) | Err(zk::Error::NoNode) => {}
                Err(error) => tracing::debug!(%error, %parent, "positions that are no longer needed were not all removed"),
            }
        });
    }

    fn path(&self, elsewhere: &Elsewhere, part: usize) -> String {
        format!("{}/{}-{part}", self.parent, elsewhere.name)
    }
}

async fn tidy(client: &zk::Client, parent: &str, before: (Epoch, TxId)) -> Result<(), zk::Error> {
    for name in client.list_children(parent).await? {
        if written_in(&name).is_some_and(|written| written < before) {
            match client.delete(&format!("{parent}/{name}"), None).await {
                Ok(()) | Err(zk::Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// When the record that a part belongs to was written; nothing if it is no part's name.
fn written_in(name: &str) -> Option<(Epoch, TxId)> {
    let mut words = name.split('-');
    let (txid, epoch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.count() == 2).then_some((Epoch(epoch), TxId(txid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_when_it_was_written_and_another_node_does_not() {
        assert_eq!(written_in("17-3-00ff-0"), Some((Epoch(3), TxId(17))));
        for name in [
            "",
            "17",
            "17-3",
            "17-3-00ff",
            "17-3-00ff-0-1",
            "x-3-00ff-0",
            "17-x-00ff-0",
        ] {
            assert_eq!(written_in(name), None, "{name}");
        }
    }
}
