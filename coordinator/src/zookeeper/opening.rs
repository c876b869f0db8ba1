//! From settings to a session at some server, or to the error that says what is wrong with which.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client as zk;

use super::config::ZooKeeperConfig;
use super::probe::what_is_wrong;
use crate::error::{Error, Result};

/// How long after the session timeout an address may still be asked what is wrong with it.
const GRACE: Duration = Duration::from_millis(600);

/// A client with a session, no later than the session timeout; or an error, within a second after that.
///
/// The client says only that no server would do. So when half of the time has passed without a session, each address is asked by hand.
pub(super) async fn open(config: &ZooKeeperConfig) -> Result<zk::Client> {
    let half = config.timeout() / 2;
    let mut opening = pin!(config.dial(config.connector()?));
    if let Ok(opened) = timeout(half, &mut opening).await
        && !is_nobody(&opened)
    {
        return opened.map_err(|error| refused(config, error));
    }
    let asking = tokio::spawn(what_is_wrong(config.clone(), half + GRACE));
    if let Ok(opened) = timeout(half, opening).await
        && !is_nobody(&opened)
    {
        return opened.map_err(|error| refused(config, error));
    }
    let what = asking.await;
    Err(Error::NoServer {
        servers: config.servers().to_owned(),
        within_ms: u64::try_from(config.timeout().as_millis()).unwrap_or(u64::MAX),
        what: what.unwrap_or_else(|_| "nobody answered".to_owned()),
    })
}

/// Whether the client gave up because no server would do.
fn is_nobody(opened: &std::result::Result<zk::Client, zk::Error>) -> bool {
    !matches!(
        opened,
        Ok(_) | Err(zk::Error::AuthFailed | zk::Error::Custom(_) | zk::Error::BadArguments(_))
    )
}

fn refused(config: &ZooKeeperConfig, error: zk::Error) -> Error {
    match error {
        zk::Error::AuthFailed => config.refused(),
        zk::Error::BadArguments(what) => Error::ConnectString {
            text: config.connect_string(),
            what: what.to_string(),
        },
        // What no server has to do with: certificates, say.
        error => Error::Settings {
            what: format!("ZooKeeper's client cannot use them: {error}"),
        },
    }
}
