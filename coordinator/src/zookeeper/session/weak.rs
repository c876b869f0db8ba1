//! A session for those who work in its background and must not keep it open.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use zookeeper_client as zk;

use super::{CallError, Inner, Session, answered, gone, make};
use crate::error::Error;

/// A session as its background tasks have it: when its last owner lets it go, it is closed although they still run. It must be used on the
/// session's own runtime.
pub(in crate::zookeeper) struct WeakSession {
    inner: Weak<Inner>,
    acls: zk::Acls<'static>,
    timeout: Duration,
    ended: watch::Receiver<Option<Error>>,
    states: zk::StateWatcher,
}

impl WeakSession {
    pub(super) fn new(session: &Session) -> WeakSession {
        WeakSession {
            inner: Arc::downgrade(&session.inner),
            acls: session.config().acls(),
            timeout: session.timeout(),
            ended: session.inner.ended.clone(),
            states: session.client().state_watcher(),
        }
    }

    /// As [`Session::call`].
    pub(in crate::zookeeper) async fn call<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> R + Send + 'static,
        R: Future<Output = Result<T, zk::Error>> + Send + 'static,
    {
        let started = match self.inner.upgrade() {
            Some(inner) => Session { inner }.start(call)?,
            None => return Err(CallError::Lost(gone())),
        };
        answered(started).await
    }

    /// As [`Session::settle`].
    pub(in crate::zookeeper) async fn settle<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Fn(zk::Client) -> R + Clone + Send + 'static,
        R: Future<Output = Result<T, zk::Error>> + Send + 'static,
    {
        loop {
            match self.call(call.clone()).await {
                Err(CallError::Unknown(what)) => {
                    tracing::debug!(what, "a call to ZooKeeper is made again");
                    self.pause(self.timeout / 20).await;
                }
                answer => return answer,
            }
        }
    }

    /// As [`Session::make`].
    pub(in crate::zookeeper) async fn make(&self, path: &str) -> Result<(), CallError> {
        let (at, acls) = (path.to_owned(), self.acls);
        self.settle(move |client| make(client, at.clone(), b"", acls))
            .await
    }

    pub(in crate::zookeeper) async fn pause(&self, time: Duration) {
        #[allow(
            clippy::disallowed_methods,
            reason = "a session is a shell: its background waits in real time"
        )]
        tokio::time::sleep(time).await;
    }

    pub(in crate::zookeeper) fn acls(&self) -> zk::Acls<'static> {
        self.acls
    }

    pub(in crate::zookeeper) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is read from now on is newer than a reconnect that [`WeakSession::disturbed`] has not told yet.
    pub(in crate::zookeeper) fn calm(&mut self) {
        self.states.state();
    }

    /// Waits until the session has another connection than it had at the last [`WeakSession::calm`], or has ended. A watch may
    /// have been lost with the old one.
    pub(in crate::zookeeper) async fn disturbed(&mut self) {
        let reconnected =
            async { while self.states.changed().await != zk::SessionState::SyncConnected {} };
        tokio::select! {
            () = reconnected => {}
            _ = self.ended.wait_for(Option::is_some) => {}
        }
    }
}
