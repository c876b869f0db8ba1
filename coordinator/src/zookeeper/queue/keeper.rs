//! The task that keeps a place in a queue.

use std::future::pending;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use super::numbered::{Numbered, places};
use super::{Ahead, Identity, Standing, absent, list};
use crate::WriterId;
use crate::error::Error;
use crate::zookeeper::session::{CallError, WeakSession};

/// The task that keeps a place.
pub(super) struct Keeper {
    session: WeakSession,
    dir: String,
    /// The directory as ZooKeeper's shell knows it.
    shown: String,
    writer: String,
    data: String,
    /// Whether a node may still be made by a request without an answer.
    unsure: bool,
    tell: watch::Sender<Standing>,
}

/// What a keeper saw, with the watches that tell when it is no longer so.
struct Look {
    standing: Standing,
    own: zk::OneshotWatcher,
    before: Option<zk::OneshotWatcher>,
}

impl Keeper {
    pub(super) fn new(
        session: WeakSession,
        (dir, shown): (&str, String),
        who: &Identity,
        tell: watch::Sender<Standing>,
    ) -> Keeper {
        Keeper {
            session,
            dir: dir.to_owned(),
            shown,
            writer: WriterId::random().to_string(),
            data: who.encode(),
            unsure: false,
            tell,
        }
    }

    pub(super) async fn run(mut self, mut leave: oneshot::Receiver<()>) {
        let over = tokio::select! {
            biased;
            _ = &mut leave => None,
            over = self.keep() => Some(over),
        };
        if let Some(over) = over {
            self.tell.send_replace(Standing::Over(over));
        }
        self.clear().await;
    }

    /// Keeps the place until it is lost, and says how.
    async fn keep(&mut self) -> Error {
        let kept = match self.create().await {
            Ok(()) => self.watch().await,
            failed => failed,
        };
        match kept {
            Ok(()) => Error::Deposed {
                what: format!(
                    "the node {}/{}-… was deleted by another hand",
                    self.shown, self.writer
                ),
            },
            Err(error) => error.into_error("keeping a place in", &self.shown),
        }
    }

    /// Makes the node, once.
    async fn create(&mut self) -> std::result::Result<(), CallError> {
        loop {
            let path = format!("{}/{}-", self.dir, self.writer);
            let (data, acls) = (self.data.clone(), self.session.acls());
            // If this task is stopped here, it does not know either.
            let before = std::mem::replace(&mut self.unsure, true);
            let made = self.session.call(move |client| async move {
                let options = zk::CreateMode::EphemeralSequential.with_acls(acls);
                client.create(&path, data.as_bytes(), &options).await
            });
            match made.await {
                Ok(_) => {
                    self.unsure = before;
                    return Ok(());
                }
                Err(CallError::Refused(zk::Error::NoNode)) => {
                    self.unsure = before;
                    self.session.make(&self.dir).await?;
                }
                Err(CallError::Unknown(what)) => {
                    tracing::debug!(what, "whether a candidate was made is not known");
                    if !self.own().await?.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks at the queue after everything that may have changed it, until the own node is gone.
    async fn watch(&mut self) -> std::result::Result<(), CallError> {
        // A watch is let go when the next one is there, never before: its removal could take the next one with it.
        let mut watches = None;
        loop {
            self.session.calm();
            let Some(look) = self.look().await? else {
                return Ok(());
            };
            let before = look.before.map(|watcher| Box::pin(watcher.changed()));
            let (own, before) = watches.insert((Box::pin(look.own.changed()), before));
            self.tell.send_if_modified(|told| {
                let news = *told != look.standing;
                *told = look.standing;
                news
            });
            let before = async {
                match before {
                    Some(before) => drop(before.await),
                    None => pending().await,
                }
            };
            tokio::select! {
                _ = &mut *own => {}
                () = before => {}
                () = self.session.disturbed() => {}
            }
        }
    }

    /// Reads the queue anew; `None` if the own node is not in it.
    async fn look(&mut self) -> std::result::Result<Option<Look>, CallError> {
        loop {
            let places = self.places().await?;
            let Some(at) = places.iter().position(|place| self.is_own(place)) else {
                return Ok(None);
            };
            for ghost in places[at + 1..].iter().filter(|place| self.is_own(place)) {
                self.delete(&ghost.name).await?;
            }
            let Some((_, stat, own)) = self.get(&places[at].name).await? else {
                continue;
            };
            // Who was first stays it, whatever nodes a person may make.
            let leads = matches!(*self.tell.borrow(), Standing::First { .. });
            if leads || at == 0 {
                let standing = Standing::First {
                    made_by: stat.czxid,
                };
                return Ok(Some(Look {
                    standing,
                    own,
                    before: None,
                }));
            }
            let Some((data, _, before)) = self.get(&places[at - 1].name).await? else {
                continue;
            };
            let next = Identity::decode(&data);
            let first = if at == 1 {
                Some(next.clone())
            } else {
                self.identity(&places[0].name).await?
            };
            let Some(first) = first else { continue };
            let standing = Standing::Waiting(Ahead {
                first,
                before: next,
                count: at,
            });
            return Ok(Some(Look {
                standing,
                own,
                before: Some(before),
            }));
        }
    }

    /// Removes all own nodes, also those that appear later.
    async fn clear(mut self) {
        // How often it is looked for ghosts, over the time in which the servers may still have the request that makes one.
        const LOOKS: u32 = 8;
        for _ in 0..LOOKS {
            if self.remove_own().await.is_err() {
                // The session has ended, and its nodes with it.
                break;
            }
            self.left();
            if !self.unsure {
                break;
            }
            self.session.pause(self.ghosts_may_appear() / LOOKS).await;
        }
        self.left();
    }

    fn left(&self) {
        self.tell.send_if_modified(|told| {
            let news = !matches!(told, Standing::Left | Standing::Over(_));
            if news {
                *told = Standing::Left;
            }
            news
        });
    }

    fn ghosts_may_appear(&self) -> Duration {
        self.session.timeout() * 2
    }

    async fn remove_own(&mut self) -> std::result::Result<(), CallError> {
        for name in self.own().await? {
            self.delete(&name).await?;
        }
        Ok(())
    }

    async fn own(&self) -> std::result::Result<Vec<String>, CallError> {
        let places = self.places().await?.into_iter();
        Ok(places
            .filter(|place| self.is_own(place))
            .map(|place| place.name)
            .collect())
    }

    fn is_own(&self, place: &Numbered) -> bool {
        place.writer() == self.writer
    }

    /// Everybody in the queue, in its order.
    async fn places(&self) -> std::result::Result<Vec<Numbered>, CallError> {
        let dir = self.dir.clone();
        let names = self.session.settle(move |client| {
            let dir = dir.clone();
            async move { list(&client, &dir).await }
        });
        let names = names.await?;
        Ok(places(names, Some(&self.writer)))
    }

    /// A node's data with a watch on it, unless it is gone.
    async fn get(
        &self,
        name: &str,
    ) -> std::result::Result<Option<(Vec<u8>, zk::Stat, zk::OneshotWatcher)>, CallError> {
        let path = format!("{}/{name}", self.dir);
        let got = self.session.settle(move |client| {
            let path = path.clone();
            async move { absent(client.get_and_watch_data(&path).await) }
        });
        got.await
    }

    async fn identity(&self, name: &str) -> std::result::Result<Option<Identity>, CallError> {
        let path = format!("{}/{name}", self.dir);
        let got = self.session.settle(move |client| {
            let path = path.clone();
            async move { absent(client.get_data(&path).await) }
        });
        Ok(got.await?.map(|(data, _)| Identity::decode(&data)))
    }

    async fn delete(&self, name: &str) -> std::result::Result<(), CallError> {
        let path = format!("{}/{name}", self.dir);
        let deleted = self.session.settle(move |client| {
            let path = path.clone();
            async move { absent(client.delete(&path, None).await) }
        });
        deleted.await.map(|_| ())
    }
}
