//! One ZooKeeper session: its thread, its calls, its lease, its end.

#[cfg(feature = "testing")]
mod expire;
mod weak;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use super::config::ZooKeeperConfig;
use super::path::TopologyPaths;
use super::probe::no_server;
use crate::error::{Error, Result};

pub(super) use weak::WeakSession;

/// How long a session that is let go waits until the servers know.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a call has no result.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// Whether it was carried out is not known, or will be known later. To be settled by the identical conditional call.
    Unknown(String),
    /// The session has ended.
    Lost(Error),
    /// The servers refused it: it has had no effect.
    Refused(zk::Error),
}

impl CallError {
    /// What the client says, by what it means. It reports a connection that broke in many ways, also as the socket's own error.
    pub(super) fn of(error: zk::Error) -> CallError {
        use zk::Error as E;
        match error {
            E::SessionExpired | E::ClientClosed | E::AuthFailed => CallError::Lost(lost(&error)),
            E::NoNode
            | E::NodeExists
            | E::BadVersion
            | E::NotEmpty
            | E::NoAuth
            | E::InvalidAcl
            | E::NoChildrenForEphemerals
            | E::QuotaExceeded
            | E::NotReadOnly
            | E::BadArguments(_)
            | E::Unimplemented
            | E::MarshallingError => CallError::Refused(error),
            other => CallError::Unknown(other.to_string()),
        }
    }

    /// The error for whoever cannot settle it.
    pub(super) fn into_error(self, what: &'static str, path: &str) -> Error {
        match self {
            CallError::Unknown(said) => Error::Unreachable {
                what: format!("{what} {path}: {said}"),
            },
            CallError::Lost(error) => error,
            CallError::Refused(zk::Error::NoAuth) => Error::Denied {
                path: path.to_owned(),
                what: format!("{what} it is not allowed"),
            },
            CallError::Refused(zk::Error::InvalidAcl) => Error::Denied {
                path: path.to_owned(),
                what: format!(
                    "{what} it would leave it to nobody, since the servers do not know us by our credentials; do they know the scheme (SASL, client certificates)?"
                ),
            },
            CallError::Refused(cause) => Error::Refused {
                what,
                path: path.to_owned(),
                cause: cause.to_string(),
            },
        }
    }
}

fn lost(error: &zk::Error) -> Error {
    match error {
        zk::Error::AuthFailed => Error::Denied {
            path: "/".into(),
            what: "the servers do not accept the credentials".into(),
        },
        other => Error::SessionLost {
            what: other.to_string(),
        },
    }
}

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
    client: Option<zk::Client>,
    handle: Handle,
    /// Dropped to end the thread.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    lease: Lease,
    ended: watch::Receiver<Option<Error>>,
}

/// Until when the servers cannot have given the session away: its timeout, counted from the moment at which
/// the last request that was answered had been sent.
#[derive(Clone, Debug)]
struct Lease {
    until: Arc<Mutex<Instant>>,
    timeout: Duration,
}

impl Lease {
    fn confirm(&self, sent: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(sent + self.timeout);
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a session is a shell: its lease and deadlines are real time"
)]
fn now() -> Instant {
    Instant::now()
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
        let session = Session {
            inner: Arc::new(Inner {
                config,
                client: Some(client),
                handle,
                open: Some(open),
                thread: Some(thread),
                lease,
                ended,
            }),
        };
        session.make(TopologyPaths::ALL, b"").await?;
        if !session.inner.config.is_authenticated() {
            tracing::warn!(
                servers = session.inner.config.servers(),
                "ZooKeeper's nodes are open to the world: anybody who reaches the servers may change them; set credentials"
            );
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
        let mut ended = self.inner.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(state) => state.clone().unwrap_or_else(gone),
            Err(_) => gone(),
        }
    }

    /// How it has ended, if it has.
    #[must_use]
    pub fn has_ended(&self) -> Option<Error> {
        self.inner.ended.borrow().clone()
    }

    /// Whether the servers cannot have given the session to another by now; without this nothing may be sealed.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.has_ended().is_none() && now() < self.inner.lease.until()
    }

    /// Waits, for whoever has no clock of its own.
    pub async fn pause(&self, time: Duration) {
        #[allow(
            clippy::disallowed_methods,
            reason = "a session is a shell: it is what waits for others"
        )]
        let asleep = async move { tokio::time::sleep(time).await };
        drop(self.inner.handle.spawn(asleep).await);
    }

    /// Makes one call, with a deadline: while there is no connection the client itself would wait for one.
    /// What is not answered in time may still be carried out later.
    pub(super) async fn call<T, F, R>(&self, call: F) -> std::result::Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> R + Send + 'static,
        R: Future<Output = std::result::Result<T, zk::Error>> + Send + 'static,
    {
        answered(self.start(call)?).await
    }

    /// Sends a call. It goes on if nobody waits for its answer.
    fn start<T, F, R>(&self, call: F) -> std::result::Result<Answer<T>, CallError>
    where
        T: Send + 'static,
        F: FnOnce(zk::Client) -> R + Send + 'static,
        R: Future<Output = std::result::Result<T, zk::Error>> + Send + 'static,
    {
        if let Some(error) = self.has_ended() {
            return Err(CallError::Lost(error));
        }
        let client = self.client().clone();
        let deadline = self.deadline();
        Ok(self.inner.handle.spawn(async move {
            match tokio::time::timeout(deadline, call(client)).await {
                Ok(answer) => answer.map_err(CallError::of),
                Err(_) => Err(CallError::Unknown(format!(
                    "no answer within {} ms",
                    deadline.as_millis()
                ))),
            }
        }))
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
        if matches!(answer, Ok(_) | Err(CallError::Refused(_))) {
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
    pub(super) async fn make(&self, path: &str, data: &'static [u8]) -> Result<()> {
        let (at, acls) = (path.to_owned(), self.config().acls());
        let call = move |client: zk::Client| make(client, at.clone(), data, acls);
        let made = self.settle(call).await;
        made.map_err(|error| error.into_error("creating", &self.shown(path)))
    }

    /// Half of the session's timeout: an answer that takes longer is as good as none.
    fn deadline(&self) -> Duration {
        self.inner.lease.timeout / 2
    }

    fn client(&self) -> &zk::Client {
        self.inner
            .client
            .as_ref()
            .expect("it is taken only when the last clone is dropped")
    }

    /// This session for a task that must not keep it open.
    pub(super) fn downgrade(&self) -> WeakSession {
        WeakSession::new(self)
    }

    /// The runtime that the session lives on: for tasks that must outlive whoever starts them. They end with the session at the latest.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    /// Starts what nobody waits for. It ends with the session at the latest.
    pub(super) fn spawn<F, R>(&self, task: F)
    where
        F: FnOnce(zk::Client) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        drop(self.inner.handle.spawn(task(self.client().clone())));
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

type Answer<T> = tokio::task::JoinHandle<std::result::Result<T, CallError>>;

async fn answered<T>(answer: Answer<T>) -> std::result::Result<T, CallError> {
    match answer.await {
        Ok(answer) => answer,
        // The session's thread has ended.
        Err(_) => Err(CallError::Lost(gone())),
    }
}

fn gone() -> Error {
    Error::SessionLost {
        what: "it was closed".into(),
    }
}

/// `mkdir -p`: looks before it makes, since a node that exists need not allow children.
async fn make(
    client: zk::Client,
    path: String,
    data: &'static [u8],
    acls: zk::Acls<'static>,
) -> std::result::Result<(), zk::Error> {
    let options = zk::CreateMode::Persistent.with_acls(acls);
    for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
        let path = &path[..end];
        if client.check_stat(path).await?.is_some() {
            continue;
        }
        let data = if end == path.len() { data } else { b"" };
        match client.create(path, data, &options).await {
            Ok(_) | Err(zk::Error::NodeExists) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Connected {
    client: zk::Client,
    handle: Handle,
    open: oneshot::Sender<()>,
    lease: Lease,
    ended: watch::Receiver<Option<Error>>,
}

/// The session's thread: connects, then lives until the session is let go.
fn serve(config: &ZooKeeperConfig, ready: oneshot::Sender<Result<Connected>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("no asynchronous runtime can be made: {error}");
            return drop(ready.send(Err(Error::Unreachable { what })));
        }
    };
    runtime.block_on(async {
        let (client, sent) = match connect(config).await {
            Ok(connected) => connected,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let lease = Lease {
            until: Arc::new(Mutex::new(sent + client.session_timeout())),
            timeout: client.session_timeout(),
        };
        let (tell, ended) = watch::channel(None);
        let (open, closed) = oneshot::channel();
        let mut states = client.state_watcher();
        let beat = tokio::spawn(beat(client.clone(), lease.clone()));
        let connected = Connected {
            client,
            handle: Handle::current(),
            open,
            lease,
            ended,
        };
        drop(ready.send(Ok(connected)));
        let follow = follow(&mut states, &tell);
        tokio::select! {
            () = follow => {}
            _ = closed => {
                // With the last client goes the request to close the session.
                beat.abort();
                drop(beat.await);
                drop(tokio::time::timeout(FAREWELL, follow_to_end(&mut states)).await);
                tell.send_if_modified(|ended| ended.is_none() && { *ended = Some(gone()); true });
            }
        }
    });
}

/// Ends when the session has ended, having told how.
async fn follow(states: &mut zk::StateWatcher, tell: &watch::Sender<Option<Error>>) {
    let state = follow_to_end(states).await;
    // As a call says it that hears of it first.
    let error = lost(&match state {
        zk::SessionState::AuthFailed => zk::Error::AuthFailed,
        zk::SessionState::Expired => zk::Error::SessionExpired,
        _ => zk::Error::ClientClosed,
    });
    tell.send_replace(Some(error));
    // Calls that are under way are answered by the client; whoever holds the session may still ask how it ended.
    std::future::pending().await
}

async fn follow_to_end(states: &mut zk::StateWatcher) -> zk::SessionState {
    let mut state = states.state();
    while !state.is_terminated() {
        state = states.changed().await;
    }
    state
}

/// Renews the lease. `sync` goes through the servers' leader, who is the one to give sessions away; a follower that was
/// cut off from it would answer a read.
async fn beat(client: zk::Client, lease: Lease) {
    let mut ticks = tokio::time::interval(lease.timeout / 6);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sent = now();
        match tokio::time::timeout(lease.timeout / 2, client.sync("/")).await {
            Ok(Ok(())) => lease.confirm(sent),
            Ok(Err(error)) => tracing::debug!(%error, "ZooKeeper did not answer a heartbeat"),
            Err(_) => tracing::debug!("ZooKeeper did not answer a heartbeat in time"),
        }
    }
}

/// A client whose root is the chroot, and when the request that made its session was sent at the earliest.
async fn connect(config: &ZooKeeperConfig) -> Result<(zk::Client, Instant)> {
    let (sent, patience) = (now(), config.timeout());
    let connecting = config.dial(config.connector()?);
    let client = match tokio::time::timeout(patience, connecting).await {
        Ok(Ok(client)) => client,
        Ok(Err(zk::Error::AuthFailed)) => return Err(config.refused()),
        // What no server has to do with: certificates, say.
        Ok(Err(zk::Error::Custom(error))) => {
            let what = format!("ZooKeeper's client cannot use them: {error}");
            return Err(Error::Settings { what });
        }
        Ok(Err(zk::Error::BadArguments(what))) => {
            return Err(Error::ConnectString {
                text: config.connect_string(),
                what: what.to_string(),
            });
        }
        failed => {
            let what = match failed {
                Ok(Err(error)) => error.to_string(),
                _ => "nobody answered".to_owned(),
            };
            return Err(no_server(config, &what).await);
        }
    };
    if config.chroot().is_empty() {
        return Ok((client, sent));
    }
    let made = make(
        client.clone(),
        config.chroot().to_owned(),
        b"",
        config.acls(),
    );
    let made = match tokio::time::timeout(patience, made).await {
        Ok(made) => made.map_err(CallError::of),
        Err(_) => Err(CallError::Unknown("no answer in time".into())),
    };
    made.map_err(|error| error.into_error("creating", config.chroot()))?;
    let chroot = config.chroot().to_owned();
    let client = client.chroot(chroot).map_err(|_| Error::ConnectString {
        text: config.connect_string(),
        what: "its chroot is no path".into(),
    })?;
    Ok((client, sent))
}
