//! How ZooKeeper is reached: addresses, timeouts, credentials.

use std::fmt;
use std::time::Duration;

use zookeeper_client as zk;

use crate::error::{Error, Result};

const DEFAULT_SESSION: Duration = Duration::from_secs(6);
const DEFAULT_PORT: u16 = 2181;
/// Half of what a server takes by default (`jute.maxbuffer`, 1 MiB), so that a request's other parts fit too.
const DEFAULT_NODE_BYTES: usize = 512 << 10;

/// How ZooKeeper is reached.
///
/// ```
/// use std::time::Duration;
/// use fulmar_coordinator::zookeeper::ZooKeeperConfig;
///
/// let config = ZooKeeperConfig::parse("zk1:2181,zk2:2181,zk3:2181/production")?.session_timeout(Duration::from_secs(4));
/// assert_eq!(config.servers(), "zk1:2181,zk2:2181,zk3:2181");
/// assert_eq!(config.chroot(), "/production");
/// # Ok::<(), fulmar_coordinator::Error>(())
/// ```
#[derive(Clone)]
pub struct ZooKeeperConfig {
    servers: String,
    chroot: String,
    session_timeout: Duration,
    node_bytes: usize,
    pub(super) credentials: Vec<Credential>,
}

/// A name and a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// ZooKeeper's own scheme `digest`.
    Digest { user: String, password: String },
    /// SASL with DIGEST-MD5.
    Sasl { user: String, password: String },
}

impl ZooKeeperConfig {
    /// Reads a connection string: `HOST[:PORT][,HOST[:PORT]...][/CHROOT]`. The chroot is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::ConnectString`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<ZooKeeperConfig> {
        let refuse = |what: &str| {
            Err(Error::ConnectString {
                text: text.to_owned(),
                what: what.to_owned(),
            })
        };
        // A scheme's slashes are no chroot.
        let bare = text.replace("tcp+tls://", "").replace("tcp://", "");
        let (hosts, chroot) = match bare.find('/') {
            Some(at) => text.split_at(text.len() - (bare.len() - at)),
            None => (text, ""),
        };
        if hosts.is_empty() {
            return refuse("there is no server in it");
        }
        let chroot = chroot.strip_suffix('/').unwrap_or(chroot);
        if chroot.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
            return refuse("its chroot is no path");
        }
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            match address(host) {
                Some(address) => servers.push(address),
                None => return refuse(&format!("{host:?} is no HOST:PORT")),
            }
        }
        Ok(ZooKeeperConfig {
            servers: servers.join(","),
            chroot: chroot.to_owned(),
            session_timeout: DEFAULT_SESSION,
            node_bytes: DEFAULT_NODE_BYTES,
            credentials: Vec::new(),
        })
    }

    /// How long the servers wait for a process that says nothing before they take its leadership away; 6 s unless told.
    /// The servers have bounds of their own (2 to 20 times their `tickTime`), and theirs is what counts.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// The largest data of a node, in bytes; 512 KiB unless told. It must stay below the servers' `jute.maxbuffer`.
    #[must_use]
    pub fn node_bytes(mut self, bytes: usize) -> Self {
        self.node_bytes = bytes;
        self
    }

    /// The servers, without the chroot.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The path under which everything lies; empty for the root.
    #[must_use]
    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    /// Servers and chroot, as they were given.
    #[must_use]
    pub fn connect_string(&self) -> String {
        format!("{}{}", self.servers, self.chroot)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.session_timeout
    }

    pub(super) fn max_node(&self) -> usize {
        self.node_bytes
    }

    /// Nodes are their creator's alone if there is one, and everybody's if not.
    pub(super) fn acls(&self) -> zk::Acls<'static> {
        if self.is_authenticated() {
            zk::Acls::creator_all()
        } else {
            zk::Acls::anyone_all()
        }
    }

    /// Whether nodes have an owner.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        !self.credentials.is_empty()
    }

    /// A connector with everything that these settings say.
    pub(super) fn connector(&self) -> Result<zk::Connector> {
        let mut connector = zk::Client::connector().with_session_timeout(self.session_timeout);
        for credential in &self.credentials {
            connector = match credential {
                Credential::Digest { user, password } => {
                    connector.with_auth("digest", format!("{user}:{password}").as_bytes())
                }
                Credential::Sasl { user, password } => {
                    connector.with_sasl(zk::SaslOptions::digest_md5(user.clone(), password.clone()))
                }
            };
        }
        Ok(connector)
    }
}

/// `HOST:PORT`, with the default port if there is none.
fn address(text: &str) -> Option<String> {
    let bare = text
        .strip_prefix("tcp+tls://")
        .or_else(|| text.strip_prefix("tcp://"))
        .unwrap_or(text);
    // An IPv6 address stands in brackets, since it has colons of its own.
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (bare, None),
    };
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'@' && byte != b'/';
    if host.is_empty() || !host.bytes().all(fits) {
        return None;
    }
    match port {
        None => Some(format!("{text}:{DEFAULT_PORT}")),
        Some(port) => match port.parse::<u16>() {
            Ok(1..) => Some(text.to_owned()),
            _ => None,
        },
    }
}

/// Shows no secret.
impl fmt::Debug for ZooKeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperConfig")
            .field("servers", &self.servers)
            .field("chroot", &self.chroot)
            .field("session_timeout", &self.session_timeout)
            .field("authenticated", &self.is_authenticated())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_taken_apart() {
        for (text, servers, chroot) in [
            ("a", "a:2181", ""),
            ("a:1,b:2", "a:1,b:2", ""),
            ("a:1,b/x/y", "a:1,b:2181", "/x/y"),
            ("127.0.0.1:5/", "127.0.0.1:5", ""),
            ("[::1]:5/x", "[::1]:5", "/x"),
            ("tcp+tls://a:1,tcp://b:2/x", "tcp+tls://a:1,tcp://b:2", "/x"),
        ] {
            let config = ZooKeeperConfig::parse(text).unwrap();
            assert_eq!((config.servers(), config.chroot()), (servers, chroot), "{text}");
        }
        for text in ["", "/x", "a:", "a:0", "a:b", "a:70000", "a,,b", "a:1/x//y", "a:1/../x", "user@a:1"] {
            let error = ZooKeeperConfig::parse(text).unwrap_err();
            assert!(error.to_string().contains("HOST:PORT"), "{text}: {error}");
        }
    }
}
