//! A lock that processes share.

use super::identity::Identity;
use super::queue::{self, Place, Standing};
use super::session::Session;
use crate::error::{Error, Result};

/// A lock that processes on any number of machines share; who waits gets it in the order of asking.
///
/// ```no_run
/// use fulmar_coordinator::zookeeper::{Identity, Lock, Session, ZooKeeperConfig};
///
/// # fn write(fence: i64) {}
/// # async fn example() -> Result<(), fulmar_coordinator::Error> {
/// let session = Session::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
/// let guard = Lock::acquire(&session, "/locks/report", &Identity::of_this_process("1.0")).await?;
/// if guard.holds() {
///     write(guard.fence());
/// }
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
///
/// **A lock in ZooKeeper is a lease.** The servers take it away from a holder that they have not heard of for the session timeout, and give
/// it to the next. The holder may have been stopped at that time, by its machine or its system, and goes on as if nothing had happened. So
/// what the lock protects must itself refuse a holder that is late: give [`LockGuard::fence`] along with each change, and refuse one that is lower than
/// the highest seen. Without that the lock makes two holders at a time rare, not impossible.
#[derive(Debug)]
pub struct Lock;

impl Lock {
    /// Waits for the lock at `path`, a path below the connection string's chroot, which is made if it does not exist. Dropping the future
    /// gives the place in the queue up.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Deposed`] if its node was deleted by another hand; [`Error::Unreachable`] if even joining the queue is not answered
    /// within the session's timeout; [`Error::Denied`] and [`Error::Refused`] for a path that may not be used.
    pub async fn acquire(session: &Session, path: &str, who: &Identity) -> Result<LockGuard> {
        let place = Place::take(session, path, who).await?;
        let fence = place.first().await?;
        Ok(LockGuard {
            place,
            path: path.to_owned(),
            fence,
        })
    }

    /// Takes the lock if nobody has it or waits for it.
    ///
    /// Of several that try at the same moment one gets it, unless another holder goes just then.
    ///
    /// # Errors
    ///
    /// As [`Lock::acquire`].
    pub async fn try_acquire(
        session: &Session,
        path: &str,
        who: &Identity,
    ) -> Result<Option<LockGuard>> {
        if queue::first_of(session, path).await?.is_some() {
            return Ok(None);
        }
        let place = Place::take(session, path, who).await?;
        if let Standing::Waiting(_) = place.standing() {
            place.leave(path).await?;
            return Ok(None);
        }
        let fence = place.first().await?;
        Ok(Some(LockGuard {
            place,
            path: path.to_owned(),
            fence,
        }))
    }
}

/// The lock is held as long as this lives, unless it is [lost](LockGuard::lost). Dropped, it is released in the background.
#[derive(Debug)]
pub struct LockGuard {
    place: Place,
    path: String,
    fence: i64,
}

impl LockGuard {
    /// The fencing token: larger for each holder than for all before it, as long as the lock's path is not deleted together with the servers' data.
    #[must_use]
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Whether no other can have got the lock by now. What is done after the question may be late again; see [`Lock`].
    #[must_use]
    pub fn holds(&self) -> bool {
        self.place.holds()
    }

    /// Waits until the lock is lost, and says how: [`Error::SessionLost`], or [`Error::Deposed`] if its node was deleted by another hand.
    pub async fn lost(&self) -> Error {
        self.place.lost().await
    }

    /// Gives it back, and waits until the next one can have it.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if that is not known within the session's timeout; it goes on in the background.
    pub async fn release(self) -> Result<()> {
        self.place.leave(&self.path).await
    }
}
