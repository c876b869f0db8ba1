//! A session for those who work in its background and must not keep it open.

use std::future::Future;
use std::time::Duration;

use zookeeper_client as zk;

use super::calls::Calls;
use super::{CallError, Session};

/// A session as its background tasks have it: when its last owner lets it go, it is closed although they still run.
pub(in crate::zookeeper) struct WeakSession {
    calls: Calls,
    acls: zk::Acls<'static>,
    states: zk::StateWatcher,
}

impl WeakSession {
    pub(super) fn new(session: &Session) -> WeakSession {
        WeakSession {
            calls: session.inner.calls.clone(),
            acls: session.config().acls(),
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
        self.calls.call(call).await
    }

    /// As [`Session::settle`].
    pub(in crate::zookeeper) async fn settle<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Fn(zk::Client) -> R + Clone + Send + 'static,
        R: Future<Output = Result<T, zk::Error>> + Send + 'static,
    {
        self.calls.settle(call).await
    }

    /// As [`Session::make`].
    pub(in crate::zookeeper) async fn make(&self, path: &str) -> Result<(), CallError> {
        self.calls.make(path, b"", self.acls).await
    }

    pub(in crate::zookeeper) async fn pause(&self, time: Duration) {
        self.calls.pause(time).await;
    }

    pub(in crate::zookeeper) fn acls(&self) -> zk::Acls<'static> {
        self.acls
    }

    pub(in crate::zookeeper) fn timeout(&self) -> Duration {
        self.calls.timeout
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
            _ = self.calls.ended.wait_for(Option::is_some) => {}
        }
    }
}
