//! Calls to the servers, each with a deadline, on the session's own runtime.

use std::future::Future;
use std::sync::Weak;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use zookeeper_client as zk;

use super::call::CallError;
use super::connect::make;
use super::gone;
use crate::error::Error;

/// How calls are made, by the session's owners and by its background alike. It does not keep the session open: only a call that is under way holds a
/// client. (The background must never hold what closes the session when it is dropped, not for a moment: whoever closes it waits until the
/// servers know, and the session's own thread cannot wait for itself.)
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) client: Weak<zk::Client>,
    pub(super) handle: Handle,
    /// The session's timeout.
    pub(super) timeout: Duration,
    pub(super) ended: watch::Receiver<Option<Error>>,
}

impl Calls {
    /// Makes one call. While there is no connection the client itself would wait for one without end. What is not answered in time may still be
    /// carried out later, and goes on if nobody waits for its answer.
    pub(super) async fn call<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> R + Send + 'static,
        R: Future<Output = Result<T, zk::Error>> + Send + 'static,
    {
        if let Some(error) = self.has_ended() {
            return Err(CallError::Lost(error));
        }
        let Some(client) = self.client.upgrade().map(|client| (*client).clone()) else {
            return Err(CallError::Lost(gone()));
        };
        let deadline = self.deadline();
        let answer = self.handle.spawn(async move {
            match tokio::time::timeout(deadline, call(client)).await {
                Ok(answer) => answer.map_err(CallError::of),
                Err(_) => Err(CallError::Unknown(format!(
                    "no answer within {} ms",
                    deadline.as_millis()
                ))),
            }
        });
        // It has no answer if the session's thread has ended.
        answer.await.unwrap_or(Err(CallError::Lost(gone())))
    }

    /// Makes a call that may be made twice until its outcome is known or the session ends.
    pub(super) async fn settle<T, F, R>(&self, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Fn(zk::Client) -> R + Clone + Send + 'static,
        R: Future<Output = Result<T, zk::Error>> + Send + 'static,
    {
        loop {
            match self.call(call.clone()).await {
                Err(CallError::Unknown(what)) => {
                    tracing::debug!(what, "a call to ZooKeeper is made again");
                    self.pause(self.deadline() / 10).await;
                }
                answer => return answer,
            }
        }
    }

    /// Makes a persistent node, and those above it, unless it is there. Its data is that of whoever makes it first.
    pub(super) async fn make(
        &self,
        path: &str,
        data: &'static [u8],
        acls: zk::Acls<'static>,
    ) -> Result<(), CallError> {
        let at = path.to_owned();
        self.settle(move |client| make(client, at.clone(), data, acls))
            .await
    }

    /// Waits, for whoever has no clock of its own.
    pub(super) async fn pause(&self, time: Duration) {
        #[allow(
            clippy::disallowed_methods,
            reason = "a session is a shell: it is what waits for others"
        )]
        let asleep = async move { tokio::time::sleep(time).await };
        drop(self.handle.spawn(asleep).await);
    }

    /// How the session has ended, if it has.
    pub(super) fn has_ended(&self) -> Option<Error> {
        self.ended.borrow().clone()
    }

    /// Half of the session's timeout: an answer that takes longer is as good as none.
    fn deadline(&self) -> Duration {
        self.timeout / 2
    }
}
