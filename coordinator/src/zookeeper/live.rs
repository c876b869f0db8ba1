//! The node of the settings that people change while a topology runs: seen, answered, remembered.

use std::future::Future;

use futures::future::{self, Either};
use zookeeper_client as zk;

use super::path::TopologyPaths;
use super::session::{CallError, Session};
use crate::error::{Error, Result};
use crate::ledger::WriterId;
use crate::live::LiveSettings;

/// The longest answer to a change, in characters.
const MAX_ANSWER: usize = 4 << 10;

/// What the node of the settings held at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The node's version, as ZooKeeper's shell shows it (`dataVersion`). It begins at 0 again when somebody deletes the node.
    pub version: i32,
    /// The transaction that wrote it (`mZxid`): it grows with every change, whatever becomes of the node.
    pub zxid: i64,
    /// The settings, or what is wrong with them.
    pub outcome: std::result::Result<LiveSettings, String>,
}

/// The settings of one topology that may change while it runs, as one process sees them.
///
/// Bound to its session: when that ends, so do this and the process's answer.
///
/// ```no_run
/// # use fulmar_coordinator::WriterId;
/// # use fulmar_coordinator::zookeeper::{LiveConfig, Session, TopologyPaths, ZooKeeperConfig};
/// # async fn example(me: WriterId) -> Result<(), fulmar_coordinator::Error> {
/// let session = Session::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
/// let mut config = LiveConfig::watch(session, TopologyPaths::new("wordcount"), me).await?;
/// loop {
///     // The first one is what holds now.
///     let change = config.next().await?;
///     match change.outcome {
///         Ok(settings) => {
///             // ... carry them to the running topology; then, if this process leads:
///             config.record_applied(change.version, &settings).await?;
///             config.acknowledge(change.version, "applied").await?;
///         }
///         Err(mistakes) => config.acknowledge(change.version, &format!("refused: {mistakes}")).await?,
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct LiveConfig {
    session: Session,
    paths: TopologyPaths,
    id: WriterId,
    states: zk::StateWatcher,
    /// Fires when the node changes; without one it has to be read again.
    watch: Option<zk::OneshotWatcher>,
    /// The newest change that was told.
    told: Option<i64>,
}

impl LiveConfig {
    /// Watches the settings of a topology for the process `id`. The node is made if it is missing, and empty then.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`]; [`Error::SessionLost`].
    pub async fn watch(session: Session, paths: TopologyPaths, id: WriterId) -> Result<LiveConfig> {
        let states = session.call(|client| async move { Ok(client.state_watcher()) });
        let states = states.await.map_err(failed("watching", &paths.config()))?;
        session.make(&paths.config(), b"").await?;
        Ok(LiveConfig {
            session,
            paths,
            id,
            states,
            watch: None,
            told: None,
        })
    }

    /// The settings that hold now, the first time; then waits for others. Changes that follow each other quickly may be told as
    /// one, the newest always is. A node that somebody deletes is made again, and means that nothing is set.
    ///
    /// May be dropped while it waits, and called again: nothing is missed.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`], however long the servers are away before; [`Error::Denied`].
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(watch) = self.watch.take() {
                self.changed(watch).await?;
            }
            let path = self.paths.config();
            let at = path.clone();
            let read = move |client: zk::Client| {
                let at = at.clone();
                async move { client.get_and_watch_data(&at).await }
            };
            let (data, stat, watch) = match self.session.settle(read).await {
                Ok(read) => read,
                Err(CallError::Refused(zk::Error::NoNode)) => {
                    tracing::warn!(
                        path,
                        "the node of the live settings is gone; it is made again, and nothing is set"
                    );
                    self.session.make(&path, b"").await?;
                    continue;
                }
                Err(error) => return Err(failed("reading", &path)(error)),
            };
            self.watch = Some(watch);
            if self.told == Some(stat.mzxid) {
                continue;
            }
            self.told = Some(stat.mzxid);
            return Ok(Change {
                version: stat.version,
                zxid: stat.mzxid,
                outcome: parse(&data),
            });
        }
    }

    /// Waits until the node may have changed: its watch fires, or the connection was lost, and with it perhaps the watch.
    async fn changed(&mut self, watch: zk::OneshotWatcher) -> Result<()> {
        let states = &mut self.states;
        let reconnected = async {
            // What is past by now was before the node was read, or makes it be read once too often.
            while states.changed().await != zk::SessionState::SyncConnected {}
        };
        let changed = future::select(Box::pin(watch.changed()), Box::pin(reconnected));
        let session = self.session.clone();
        match future::select(Box::pin(session.ended()), changed).await {
            Either::Left((error, _)) => Err(error),
            Either::Right(_) => Ok(()),
        }
    }

    /// Leaves this process's answer to a change where everybody sees it, as `<version> <answer>`, such as `7 applied`. It goes
    /// with the session.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Denied`].
    pub async fn acknowledge(&self, version: i32, answer: &str) -> Result<()> {
        let text: String = format!("{version} {answer}")
            .chars()
            .take(MAX_ANSWER)
            .collect();
        let own = self.session.id();
        let at = self.paths.config_ack(self.id);
        loop {
            let stat = match write(&self.session, &at, &text, None).await {
                Ok(stat) => stat,
                Err(CallError::Refused(zk::Error::NoNode)) => {
                    match self.create(&at, &text, zk::CreateMode::Ephemeral).await? {
                        true => return Ok(()),
                        // It was deleted or made between; so once more.
                        false => continue,
                    }
                }
                Err(error) => return Err(failed("writing", &at)(error)),
            };
            if zk::SessionId(stat.ephemeral_owner).to_string() == own {
                return Ok(());
            }
            // It is of an earlier session of this process, and would go with that one.
            let (path, version) = (at.clone(), stat.version);
            let delete = move |client: zk::Client| {
                let path = path.clone();
                async move { client.delete(&path, Some(version)).await }
            };
            match self.session.settle(delete).await {
                Ok(()) | Err(CallError::Refused(zk::Error::NoNode | zk::Error::BadVersion)) => {}
                Err(error) => return Err(failed("deleting", &at)(error)),
            }
        }
    }

    /// Remembers what this process, which leads, has applied: whoever starts while the node holds a mistake goes on with it.
    ///
    /// # Errors
    ///
    /// [`Error::SessionLost`]; [`Error::Denied`].
    pub async fn record_applied(&self, version: i32, settings: &LiveSettings) -> Result<()> {
        let text = format!("version {version}\n{settings}\n");
        let at = self.paths.applied();
        loop {
            match write(&self.session, &at, &text, None).await {
                Ok(_) => return Ok(()),
                Err(CallError::Refused(zk::Error::NoNode)) => {
                    if self.create(&at, &text, zk::CreateMode::Persistent).await? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(failed("writing", &at)(error)),
            }
        }
    }

    /// What a leader has applied last, and the version of the node that it was in; `None` if none ever has.
    ///
    /// # Errors
    ///
    /// [`Error::ChangedByHand`] if no program wrote what is found; [`Error::SessionLost`]; [`Error::Denied`].
    pub async fn last_applied(&self) -> Result<Option<(i32, LiveSettings)>> {
        let at = self.paths.applied();
        let data = match read(&self.session, &at).await {
            Ok((data, _)) => data,
            Err(CallError::Refused(zk::Error::NoNode)) => return Ok(None),
            Err(error) => return Err(failed("reading", &at)(error)),
        };
        let text = String::from_utf8_lossy(&data);
        let parts = text
            .strip_prefix("version ")
            .and_then(|rest| rest.split_once('\n'));
        let parts = parts.and_then(|(version, text)| Some((version.parse().ok()?, text)));
        let settings = match parts {
            None => Err("it does not begin with a version".to_owned()),
            Some((version, text)) => LiveSettings::parse(text).map(|settings| (version, settings)),
        };
        settings.map(Some).map_err(|what| Error::ChangedByHand {
            what: format!(
                "{what}; delete it (delete {at}), and the settings in {} hold",
                self.paths.config()
            ),
            path: at,
        })
    }

    /// Changes the settings of a topology, running or not, after looking for mistakes; says the node's new version. What else
    /// was set before is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`] names all mistakes; [`Error::SessionLost`]; [`Error::Denied`].
    pub async fn set(session: &Session, paths: &TopologyPaths, text: &str) -> Result<i32> {
        LiveSettings::parse(text).map_err(|what| Error::Settings { what })?;
        let at = paths.config();
        loop {
            session.make(&at, b"").await?;
            let version = match read(session, &at).await {
                Ok((data, stat)) if data == text.as_bytes() => return Ok(stat.version),
                Ok((_, stat)) => stat.version,
                Err(CallError::Refused(zk::Error::NoNode)) => continue,
                Err(error) => return Err(failed("reading", &at)(error)),
            };
            match write(session, &at, text, Some(version)).await {
                Ok(stat) => return Ok(stat.version),
                // Somebody changed it between; or this write did, and its answer was lost. A look tells.
                Err(CallError::Refused(zk::Error::BadVersion | zk::Error::NoNode)) => {}
                Err(error) => return Err(failed("writing", &at)(error)),
            }
        }
    }

    /// Makes a node; says whether it was this call that did.
    async fn create(&self, at: &str, text: &str, mode: zk::CreateMode) -> Result<bool> {
        self.session.make(&self.paths.config(), b"").await?;
        let options = mode.with_acls(self.session.config().acls());
        let (path, data) = (at.to_owned(), text.to_owned());
        let create = move |client: zk::Client| {
            let (path, data, options) = (path.clone(), data.clone(), options.clone());
            async move { client.create(&path, data.as_bytes(), &options).await }
        };
        match self.session.settle(create).await {
            Ok(_) => Ok(true),
            Err(CallError::Refused(zk::Error::NodeExists | zk::Error::NoNode)) => Ok(false),
            Err(error) => Err(failed("creating", at)(error)),
        }
    }
}

fn parse(data: &[u8]) -> std::result::Result<LiveSettings, String> {
    match std::str::from_utf8(data) {
        Ok(text) => LiveSettings::parse(text),
        Err(error) => Err(format!("it is no text (UTF-8): {error}")),
    }
}

fn failed(what: &'static str, path: &str) -> impl FnOnce(CallError) -> Error {
    let path = path.to_owned();
    move |error| error.into_error(what, &path)
}

type Called<T> = std::result::Result<T, CallError>;

fn read(session: &Session, path: &str) -> impl Future<Output = Called<(Vec<u8>, zk::Stat)>> {
    let (session, path) = (session.clone(), path.to_owned());
    let read = move |client: zk::Client| {
        let path = path.clone();
        async move { client.get_data(&path).await }
    };
    async move { session.settle(read).await }
}

/// Writes until it is known to be written or refused.
fn write(
    session: &Session,
    path: &str,
    text: &str,
    version: Option<i32>,
) -> impl Future<Output = Called<zk::Stat>> {
    let (session, path, text) = (session.clone(), path.to_owned(), text.to_owned());
    let write = move |client: zk::Client| {
        let (path, text) = (path.clone(), text.clone());
        async move { client.set_data(&path, text.as_bytes(), version).await }
    };
    async move { session.settle(write).await }
}
