//! The session's thread: from connecting to the last farewell.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use super::call::{CallError, lost};
use super::gone;
use super::lease::{Lease, now};
use crate::error::{Error, Result};
use crate::zookeeper::config::ZooKeeperConfig;
use crate::zookeeper::opening::open;

/// How long a session that is let go waits until the servers know.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session that is open.
pub(super) struct Connected {
    pub(super) client: zk::Client,
    pub(super) handle: Handle,
    pub(super) open: oneshot::Sender<()>,
    pub(super) lease: Lease,
    pub(super) ended: watch::Receiver<Option<Error>>,
}

/// The session's thread: connects, then lives until the session is let go.
pub(super) fn serve(config: &ZooKeeperConfig, ready: oneshot::Sender<Result<Connected>>) {
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
        let lease = Lease::begin(sent, client.session_timeout());
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
    let client = open(config).await?;
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

/// `mkdir -p`: looks before it makes, since a node that exists need not allow children.
pub(super) async fn make(
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
