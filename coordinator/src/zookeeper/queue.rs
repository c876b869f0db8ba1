//! The queue under election and lock: whoever has the lowest number is first, everybody else watches the one before it.
//!
//! A place in the queue is an ephemeral sequential node `<dir>/<writer>-<number>`. It is kept by a task on the session's own
//! runtime, so that nothing depends on when, or whether, its owner polls a future. The writer is new for every place: a node whose
//! creation had no answer is found again by it, and one that appears later than that (a *ghost*) is known as one's own and removed.

mod keeper;
mod numbered;

use std::future::Future;

use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use super::identity::Identity;
use super::session::Session;
use crate::error::{Error, Result};

use keeper::Keeper;
use numbered::places;

/// Who stands before a place in the queue, as it was when that last changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Ahead {
    /// Who is first. It may have changed since, unless it is also the one before: only that one is watched.
    pub first: Identity,
    /// Who is next before this place, and is waited for.
    pub before: Identity,
    /// How many are before this place; 1 at least.
    pub count: usize,
}

/// How a place stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Standing {
    /// The node is being made.
    Joining,
    Waiting(Ahead),
    First {
        /// The transaction that made the node; it grows from each that is first to the next.
        made_by: i64,
    },
    /// The place is lost.
    Over(Error),
    /// It was given up, and the node is gone.
    Left,
}

/// A place in a queue. Dropped, it is given up in the background.
#[derive(Debug)]
pub(super) struct Place {
    session: Session,
    standing: watch::Receiver<Standing>,
    /// Dropped to give the place up.
    stay: Option<oneshot::Sender<()>>,
}

impl Place {
    /// Joins the queue in `dir`, which is made if need be.
    pub(super) async fn take(session: &Session, dir: &str, who: &Identity) -> Result<Place> {
        if let Some(error) = session.has_ended() {
            return Err(error);
        }
        let (tell, standing) = watch::channel(Standing::Joining);
        let (stay, leave) = oneshot::channel();
        let bare = dir.trim_end_matches('/');
        let keeper = Keeper::new(session.downgrade(), (bare, session.shown(bare)), who, tell);
        session.handle().spawn(keeper.run(leave));
        let place = Place {
            session: session.clone(),
            standing,
            stay: Some(stay),
        };
        let joined = place.wait(|standing| *standing != Standing::Joining);
        match within_timeout(session, "joining the queue", dir, joined).await? {
            Standing::Over(error) => Err(error),
            _ => Ok(place),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub(super) fn ahead(&self) -> Option<Ahead> {
        match self.standing() {
            Standing::Waiting(ahead) => Some(ahead),
            _ => None,
        }
    }

    /// Waits until the standing is another than at the last call.
    pub(super) async fn changed(&mut self) {
        // An error means that the session was closed, after which nothing changes.
        let _ = self.standing.changed().await;
    }

    /// Waits until this is the first, and returns its fencing token.
    pub(super) async fn first(&self) -> Result<i64> {
        let past =
            |standing: &Standing| !matches!(standing, Standing::Joining | Standing::Waiting(_));
        match self.wait(past).await {
            Standing::First { made_by } => Ok(made_by),
            over => Err(error_of(over)),
        }
    }

    /// Waits until a place that was first is lost.
    pub(super) async fn lost(&self) -> Error {
        error_of(
            self.wait(|standing| !matches!(standing, Standing::First { .. }))
                .await,
        )
    }

    /// Whether this is the first, and the servers cannot have given its session away.
    pub(super) fn holds(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::First { .. }) && self.session.holds_lease()
    }

    /// Gives the place up and waits until the others can see it.
    pub(super) async fn leave(mut self, dir: &str) -> Result<()> {
        drop(self.stay.take());
        let left = self.wait(|standing| matches!(standing, Standing::Left));
        within_timeout(&self.session, "leaving the queue", dir, left).await?;
        Ok(())
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

/// Bounds a wait by the session's timeout: without an answer for so long, the session is as good as ended.
pub(super) async fn within_timeout<T>(
    session: &Session,
    what: &str,
    path: &str,
    wait: impl Future<Output = T>,
) -> Result<T> {
    let limit = session.timeout();
    tokio::select! {
        done = wait => Ok(done),
        () = session.pause(limit) => Err(Error::Unreachable {
            what: format!("{what} {} was not answered within {} ms", session.shown(path), limit.as_millis()),
        }),
    }
}

fn error_of(standing: Standing) -> Error {
    match standing {
        Standing::Over(error) => error,
        _ => Error::Deposed {
            what: "its place in the queue was given up".into(),
        },
    }
}

/// Who is first in the queue of `dir`, if anybody is.
pub(super) async fn first_of(session: &Session, dir: &str) -> Result<Option<Identity>> {
    within_timeout(session, "reading the queue", dir, read_first(session, dir)).await?
}

async fn read_first(session: &Session, dir: &str) -> Result<Option<Identity>> {
    let path = dir.trim_end_matches('/').to_owned();
    loop {
        let read = session.settle({
            let dir = path.clone();
            move |client| {
                let dir = dir.clone();
                async move {
                    let Some(first) = places(list(&client, &dir).await?, None).into_iter().next()
                    else {
                        return Ok(None);
                    };
                    let data = client.get_data(&format!("{dir}/{}", first.name)).await;
                    // It may have left in between; then another is first.
                    Ok(Some(absent(data)?.map(|(data, _)| Identity::decode(&data))))
                }
            }
        });
        match read.await {
            Ok(Some(None)) => {}
            Ok(Some(found)) => return Ok(found),
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into_error("reading", &session.shown(&path))),
        }
    }
}

/// The names in `dir`; none if it is not there. After a `sync`, so that a server that lags behind shows what others have answered.
pub(super) async fn list(
    client: &zk::Client,
    dir: &str,
) -> std::result::Result<Vec<String>, zk::Error> {
    let (synced, names) = (client.sync(dir), client.list_children(dir));
    synced.await?;
    Ok(absent(names.await)?.unwrap_or_default())
}

pub(super) fn absent<T>(
    answer: std::result::Result<T, zk::Error>,
) -> std::result::Result<Option<T>, zk::Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(zk::Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}
