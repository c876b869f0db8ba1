//! Leadership: of several processes, one leads.

use super::identity::Identity;
use super::queue::{self, Ahead, Place};
use super::session::Session;
use crate::error::{Error, Result};

/// An election: of all who join it, in any number of processes, one leads; when it goes, the one that joined next takes over.
///
/// ```no_run
/// use fulmar_coordinator::zookeeper::{Election, Identity, Session, ZooKeeperConfig};
///
/// # async fn work() {}
/// # async fn example() -> Result<(), fulmar_coordinator::Error> {
/// let session = Session::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
/// let mut candidate = Election::join(&session, "/leader", &Identity::of_this_process("1.0")).await?;
/// while let Some(ahead) = candidate.ahead() {
///     println!("standing by; {} leads", ahead.first);
///     candidate.changed().await;
/// }
/// let leadership = candidate.elected().await?;
/// tokio::select! {
///     why = leadership.lost() => println!("{why}"),
///     () = work() => leadership.resign().await?,
/// }
/// # Ok(())
/// # }
/// ```
///
/// It needs nothing of the rest of Fulmar. The queue is a node of its own, with an ephemeral node for each candidate; each
/// watches only the one before it, so that when one goes only one other is woken. A lost connection costs nobody its place as long as the session lives.
///
/// Leadership is a lease, as all that ZooKeeper gives: a leader that was stopped for longer than the session timeout finds out late that
/// another leads. [`Leadership::holds`] tells whether that may have happened by now, but what comes after the question may be late again: what only one may change
/// must refuse those who led before, by [`Leadership::fence`] or by conditional writes.
#[derive(Debug)]
pub struct Election;

impl Election {
    /// Joins the election in `dir`, a path below the connection string's chroot, which is made if it does not exist.
    /// Dropping the future leaves it again.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Unreachable`] if it is not answered within the session's timeout; [`Error::Denied`] and
    /// [`Error::Refused`] for a path that may not be used.
    pub async fn join(session: &Session, dir: &str, who: &Identity) -> Result<Candidate> {
        let place = Place::take(session, dir, who).await?;
        Ok(Candidate {
            place,
            dir: dir.to_owned(),
        })
    }

    /// Who leads, if anybody does; without joining.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`], [`Error::Denied`], and [`Error::Unreachable`] if it is not answered within the session's timeout.
    pub async fn leader(session: &Session, dir: &str) -> Result<Option<Identity>> {
        queue::first_of(session, dir).await
    }
}

/// Who stands for election. Dropped, it leaves in the background.
#[derive(Debug)]
pub struct Candidate {
    place: Place,
    dir: String,
}

impl Candidate {
    /// Who stands before it; none if it is elected, or its place is lost, which [`Candidate::elected`] tells.
    #[must_use]
    pub fn ahead(&self) -> Option<Ahead> {
        self.place.ahead()
    }

    /// Waits until [`Candidate::ahead`] says something else than when this ended the last time. It may be dropped and called again.
    pub async fn changed(&mut self) {
        self.place.changed().await;
    }

    /// Waits until it leads. Dropping the future gives the place up.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Deposed`] if its node was deleted by another hand.
    pub async fn elected(self) -> Result<Leadership> {
        let fence = self.place.first().await?;
        Ok(Leadership {
            place: self.place,
            dir: self.dir,
            fence,
        })
    }

    /// Leaves, and waits until its node is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if that is not known within the session's timeout; it goes on in the background.
    pub async fn leave(self) -> Result<()> {
        self.place.leave(&self.dir).await
    }
}

/// To lead. Dropped, it is given up in the background, so that the next takes over at once.
#[derive(Debug)]
pub struct Leadership {
    place: Place,
    dir: String,
    fence: i64,
}

impl Leadership {
    /// Waits until leadership is lost, and says how: [`Error::SessionLost`], or [`Error::Deposed`] if its node was deleted by another hand.
    /// The session's end is known at the latest 7/5 of its timeout after the last word of a server; [`Leadership::holds`] is false before.
    pub async fn lost(&self) -> Error {
        self.place.lost().await
    }

    /// Whether no other can have been elected by now: it was not lost, and the session's lease runs (three quarters of its timeout, counted from the sending of the last request that
    /// was answered). It comes back if a server answers in time.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.place.holds()
    }

    /// A number that is larger for each leader than for all before it in the same election.
    #[must_use]
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Gives it up, and waits until the next one can take over.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if that is not known within the session's timeout; it goes on in the background.
    pub async fn resign(self) -> Result<()> {
        self.place.leave(&self.dir).await
    }
}
