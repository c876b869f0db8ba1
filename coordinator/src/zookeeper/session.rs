//! One ZooKeeper session: its thread, its calls, its lease, its end.

mod call;
mod calls;
mod connect;
#[cfg(feature = "testing")]
mod expire;
mod lease;
mod weak;

use std::future::Future;
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use zookeeper_client as zk;

use super::config::ZooKeeperConfig;
use super::path::TopologyPaths;
use crate::error::{Error, Result};

use calls::Calls;
use connect::{Connected, serve};
use lease::{Lease, now};

pub(super) use call::CallError;
pub(super) use weak::WeakSession;

/// One ZooKeeper session. It lives on a thread and a runtime of its own, so that its heartbeats do not wait for anybody's work, and its futures
/// may be awaited on any executor. Clones share it; when the last is dropped the session is closed, and with it go its ephemeral nodes.
///
/// ```no_run
/// use fulmar_coordinator::zookeeper::{Session, ZooKeeperConfig};
///
/// # async fn example() -> Result<(), fulmar_coordinator::Error> {
/// let session = Session::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
/// println!("session {} with a timeout of {:?}", session.id(), session.timeout());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ZooKeeperConfig,
    /// Taken when the session is let go.
    client: Option<Arc<zk::Client>>,
    calls: Calls,
    /// Dropped to end the thread.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    lease: Lease,
}

impl Session {
    /// Opens a session, and makes the chroot and `/fulmar` in it if need be.
    ///
    /// # Errors
    ///
    /// [`Error::NoServer`] within the session timeout if none answers; [`Error::Denied`].
    pub async fn connect(config: ZooKeeperConfig) -> Result<Session> {
        let (ready, connected) = oneshot::channel();
        let settings = config.clone();
        let thread = thread::Builder::new()
            .name("fulmar-zookeeper".into())
            .spawn(move || serve(&settings, ready));
        let thread = thread.map_err(|error| Error::Unreachable {
            what: format!("no thread can be started: {error}"),
        })?;
        let Connected {
            client,
            handle,
            open,
            lease,
            ended,
        } = connected.await.map_err(|_| Error::Unreachable {
            what: "the session's thread ended".into(),
        })??;
        let client = Arc::new(client);
        let calls = Calls {
            client: Arc::downgrade(&client),
            handle,
            timeout: lease.timeout,
            ended,
        };
        let session = Session {
            inner: Arc::new(Inner {
                config,
                client: Some(client),
                calls,
                open: Some(open),
                thread: Some(thread),
                lease,
            }),
        };
        session.make(TopologyPaths::ALL, b"").await?;
        static WARNED: Once = Once::new();
        if !session.inner.config.is_authenticated() {
            WARNED.call_once(|| {
            tracing::warn!(
                servers = session.inner.config.servers(),
                "ZooKeeper's nodes are open to the world: anybody who reaches the servers may change them; set credentials"
            );
            });
        }
        Ok(session)
    }

    /// The session's name at the servers.
    #[must_use]
    pub fn id(&self) -> String {
        self.client().session_id().to_string()
    }

    /// The session timeout that the servers granted.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.inner.lease.timeout
    }

    /// How it is reached.
    #[must_use]
    pub fn config(&self) -> &ZooKeeperConfig {
        &self.inner.config
    }

    /// Waits until the session has ended, and says how.
    pub async fn ended(&self) -> Error {
        let mut ended = self.inner.calls.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(state) => state.clone().unwrap_or_else(gone),
            Err(_) => gone(),
        }
    }

    /// How it has ended, if it has.
    #[must_use]
    pub fn has_ended(&self) -> Option<Error> {
        self.inner.calls.has_ended()
    }

    /// Whether the servers cannot have given the session to another by now; without this nothing may be sealed.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.has_ended().is_none() && self.inner.lease.holds()
    }

    /// Waits, for whoever has no clock of its own.
    pub async fn pause(&self, time: Duration) {
        self.inner.calls.pause(time).await;
    }

    /// Makes one call, with a deadline. What is not answered in time may still be carried out later.
    pub(super) async fn call<T, F, R>(&self, call: F) -> std::result::Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> R + Send + 'static,
        R: Future<Output = std::result::Result<T, zk::Error>> + Send + 'static,
    {
        self.inner.calls.call(call).await
    }

    /// Like [`Session::call`]; an answer also renews the lease. For writes, which a quorum must have taken.
    pub(super) async fn call_confirming<T, F, R>(
        &self,
        call: F,
    ) -> std::result::Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> R + Send + 'static,
        R: Future<Output = std::result::Result<T, zk::Error>> + Send + 'static,
    {
        let sent = now();
        let answer = self.call(call).await;
        use zk::Error as E;
        // Other errors may be the client's own, or a server's that asked nobody.
        if matches!(
            answer,
            Ok(_)
                | Err(CallError::Refused(
                    E::NoNode | E::NodeExists | E::BadVersion | E::NotEmpty
                ))
        ) {
            self.inner.lease.confirm(sent);
        }
        answer
    }

    /// Makes a call that may be made twice until its outcome is known or the session ends.
    pub(super) async fn settle<T, F, R>(&self, call: F) -> std::result::Result<T, CallError>
    where
        T: Send + 'static,
        F: Fn(zk::Client) -> R + Clone + Send + 'static,
        R: Future<Output = std::result::Result<T, zk::Error>> + Send + 'static,
    {
        self.inner.calls.settle(call).await
    }

    /// Makes a persistent node, and those above it, unless it is there. Its data is that of whoever makes it first.
    pub(super) async fn make(&self, path: &str, data: &'static [u8]) -> Result<()> {
        let made = self.inner.calls.make(path, data, self.config().acls());
        made.await
            .map_err(|error| error.into_error("creating", &self.shown(path)))
    }

    fn client(&self) -> &zk::Client {
        self.inner
            .client
            .as_deref()
            .expect("it is taken only when the last clone is dropped")
    }

    /// This session for a task that must not keep it open.
    pub(super) fn downgrade(&self) -> WeakSession {
        WeakSession::new(self)
    }

    /// The runtime that the session lives on: for tasks that must outlive whoever starts them. They end with the session at the latest.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.inner.calls.handle
    }

    /// Starts what nobody waits for. It ends with the session at the latest.
    pub(super) fn spawn<F, R>(&self, task: F)
    where
        F: FnOnce(zk::Client) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        drop(self.inner.calls.handle.spawn(task(self.client().clone())));
    }

    /// A path as ZooKeeper's shell knows it.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.config().chroot())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.client.take());
        drop(self.open.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // Bounded by FAREWELL: the next one in the queue should hear of it before this process is gone.
            drop(thread.join());
        }
    }
}

fn gone() -> Error {
    Error::SessionLost {
        what: "it was closed".into(),
    }
}
