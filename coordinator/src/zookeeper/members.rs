//! Membership: which processes of a topology are there.

use futures::future::join_all;
use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use super::member::Member;
use super::path::TopologyPaths;
use super::queue::absent;
use super::session::{CallError, Session, WeakSession};
use crate::WriterId;
use crate::error::{Error, Result};

/// That this process is there: the ephemeral node `workers/<id>`. It is put back when somebody deletes it, goes with the session, and is removed when this is dropped.
///
/// ```no_run
/// use fulmar_coordinator::WriterId;
/// use fulmar_coordinator::zookeeper::{Identity, Member, Membership, Session, TopologyPaths, ZooKeeperConfig};
///
/// # async fn example() -> Result<(), fulmar_coordinator::Error> {
/// let session = Session::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
/// let paths = TopologyPaths::new("words");
/// let me = Member { who: Identity::of_this_process("1.0"), address: None, capabilities: vec!["work".into()] };
/// let membership = Membership::publish(&session, &paths, WriterId::random(), &me).await?;
/// for (id, member) in Membership::members(&session, &paths).await? {
///     println!("{id}: {}", member.who);
/// }
/// membership.withdraw().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Membership {
    session: Session,
    path: String,
    standing: watch::Receiver<Standing>,
    /// Dropped to remove the node.
    stay: Option<oneshot::Sender<()>>,
}

#[derive(Clone, PartialEq, Debug)]
enum Standing {
    /// The node is not there yet; whether an older session still has one of its name.
    Absent {
        taken: bool,
    },
    Present,
    Over(Error),
    Left,
}

impl Membership {
    /// Publishes this process. A node of the same name that an older session of it has left is waited for to go, which takes up to
    /// that session's timeout. Dropping the future takes everything back.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Denied`]; [`Error::Unreachable`] if it is not answered within twice the session's timeout, or another session has
    /// this id all that time.
    pub async fn publish(
        session: &Session,
        paths: &TopologyPaths,
        id: WriterId,
        who: &Member,
    ) -> Result<Membership> {
        if let Some(error) = session.has_ended() {
            return Err(error);
        }
        let (tell, standing) = watch::channel(Standing::Absent { taken: false });
        let (stay, leave) = oneshot::channel();
        let keeper = Keeper {
            session: session.downgrade(),
            dir: paths.workers(),
            path: paths.worker(id),
            shown: session.shown(&paths.worker(id)),
            data: who.encode(),
            tell,
        };
        session.handle().spawn(keeper.run(leave));
        let membership = Membership {
            session: session.clone(),
            path: session.shown(&paths.worker(id)),
            standing,
            stay: Some(stay),
        };
        let limit = session.timeout() * 2;
        let published = membership.wait(|standing| !matches!(standing, Standing::Absent { .. }));
        tokio::select! {
            standing = published => match standing {
                Standing::Over(error) => return Err(error),
                _ => return Ok(membership),
            },
            () = session.pause(limit) => {}
        }
        let why = match *membership.standing.borrow() {
            Standing::Absent { taken: true } => "another session has a node of this name",
            _ => "there was no answer",
        };
        Err(Error::Unreachable {
            what: format!(
                "{} could not be made within {} ms: {why}",
                membership.path,
                limit.as_millis()
            ),
        })
    }

    /// Removes the node, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if that is not known within the session's timeout; it goes on in the background.
    pub async fn withdraw(mut self) -> Result<()> {
        drop(self.stay.take());
        let limit = self.session.timeout();
        tokio::select! {
            _ = self.wait(|standing| *standing == Standing::Left) => Ok(()),
            () = self.session.pause(limit) => Err(Error::Unreachable {
                what: format!("removing {} was not answered within {} ms", self.path, limit.as_millis()),
            }),
        }
    }

    /// The processes that are there, by their ids. A node that no process of this program can have made is passed over with a warning.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Denied`]; [`Error::Unreachable`] if a server does not answer in time.
    pub async fn members(
        session: &Session,
        paths: &TopologyPaths,
    ) -> Result<Vec<(WriterId, Member)>> {
        let dir = paths.workers();
        let nodes = session.call({
            let dir = dir.clone();
            move |client| async move {
                let names = absent(client.list_children(&dir).await)?.unwrap_or_default();
                let reads = names
                    .iter()
                    .map(|name| client.get_data(&format!("{dir}/{name}")));
                let reads = join_all(reads.collect::<Vec<_>>()).await;
                Ok(names.into_iter().zip(reads).collect::<Vec<_>>())
            }
        });
        let nodes = nodes
            .await
            .map_err(|error| error.into_error("listing", &session.shown(&dir)))?;
        let mut members = Vec::new();
        for (name, read) in nodes {
            let shown = session.shown(&format!("{dir}/{name}"));
            let data = match read {
                Ok((data, _)) => data,
                // It went in between.
                Err(zk::Error::NoNode) => continue,
                Err(error) => return Err(CallError::of(error).into_error("reading", &shown)),
            };
            match (id(&name), Member::decode(&shown, &data)) {
                (Some(id), Ok(member)) => members.push((id, member)),
                (None, _) => tracing::warn!(
                    path = shown,
                    "a node among the workers has no worker's name"
                ),
                (_, Err(error)) => tracing::warn!(%error, "a worker is passed over"),
            }
        }
        members.sort_by_key(|(id, _)| id.0);
        Ok(members)
    }

    async fn wait(&self, until: impl Fn(&Standing) -> bool) -> Standing {
        let mut standing = self.standing.clone();
        match standing
            .wait_for(|standing| until(standing) || matches!(standing, Standing::Over(_)))
            .await
        {
            Ok(standing) => standing.clone(),
            Err(_) => Standing::Left,
        }
    }
}

/// Reads an id as it is written in a node's name.
fn id(name: &str) -> Option<WriterId> {
    let id = WriterId(u128::from_str_radix(name, 16).ok()?);
    (id.to_string() == name).then_some(id)
}

/// The task that keeps the node.
struct Keeper {
    session: WeakSession,
    dir: String,
    path: String,
    /// The path as ZooKeeper's shell knows it.
    shown: String,
    data: String,
    tell: watch::Sender<Standing>,
}

impl Keeper {
    async fn run(mut self, mut leave: oneshot::Receiver<()>) {
        let over = tokio::select! {
            biased;
            _ = &mut leave => None,
            over = self.keep() => Some(over),
        };
        if let Some(error) = over {
            self.tell
                .send_replace(Standing::Over(error.into_error("publishing", &self.shown)));
            return;
        }
        // An error means that the session has ended, and the node with it.
        let _ = self.remove().await;
        self.tell.send_replace(Standing::Left);
    }

    /// Keeps the node there until that is no longer possible.
    async fn keep(&mut self) -> CallError {
        // A watch is let go when the next one is there, never before: its removal could take the next one with it.
        let mut last = None;
        loop {
            self.session.calm();
            let (standing, watcher) = match self.place().await {
                Ok(placed) => placed,
                Err(error) => return error,
            };
            self.tell.send_replace(standing);
            let watcher = last.insert(Box::pin(watcher.changed()));
            tokio::select! {
                _ = watcher => {}
                () = self.session.disturbed() => {}
            }
        }
    }

    /// Makes the node unless there is one, and watches it.
    async fn place(&self) -> std::result::Result<(Standing, zk::OneshotWatcher), CallError> {
        loop {
            let (path, data, acls) = (self.path.clone(), self.data.clone(), self.session.acls());
            let made = self.session.settle(move |client| {
                let (path, data, acls) = (path.clone(), data.clone(), acls);
                async move {
                    let options = zk::CreateMode::Ephemeral.with_acls(acls);
                    client.create(&path, data.as_bytes(), &options).await
                }
            });
            match made.await {
                // It was there, or an earlier sending made it, or an older session of this process has left it.
                Ok(_) | Err(CallError::Refused(zk::Error::NodeExists)) => {}
                Err(CallError::Refused(zk::Error::NoNode)) => {
                    self.session.make(&self.dir).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let path = self.path.clone();
            let got = self.session.settle(move |client| {
                let path = path.clone();
                async move {
                    let found = absent(client.get_and_watch_data(&path).await)?;
                    Ok(found.map(|found| (found, client.session_id().0)))
                }
            });
            let Some(((data, stat, watcher), session)) = got.await? else {
                continue;
            };
            if stat.ephemeral_owner != session {
                return Ok((Standing::Absent { taken: true }, watcher));
            }
            if data == self.data.as_bytes() {
                return Ok((Standing::Present, watcher));
            }
            // A person wrote in it.
            self.write(stat.version).await?;
        }
    }

    async fn write(&self, version: i32) -> std::result::Result<(), CallError> {
        let (path, data) = (self.path.clone(), self.data.clone());
        let written = self.session.settle(move |client| {
            let (path, data) = (path.clone(), data.clone());
            async move { client.set_data(&path, data.as_bytes(), Some(version)).await }
        });
        match written.await {
            Ok(_) | Err(CallError::Refused(zk::Error::BadVersion | zk::Error::NoNode)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes the node if it is this session's.
    async fn remove(&self) -> std::result::Result<(), CallError> {
        let path = self.path.clone();
        let removed = self.session.settle(move |client| {
            let path = path.clone();
            async move {
                match client.check_stat(&path).await? {
                    Some(stat) if stat.ephemeral_owner == client.session_id().0 => {
                        absent(client.delete(&path, None).await)
                    }
                    _ => Ok(None),
                }
            }
        });
        removed.await.map(|_| ())
    }
}
