//! How ZooKeeper is reached: addresses, timeouts, credentials.

use std::fmt;
use std::time::Duration;

use zookeeper_client as zk;

use super::credentials::{Credential, Scheme};
use super::tls::Tls;
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
    /// At most one of each scheme.
    credentials: Vec<Credential>,
    tls: Option<Tls>,
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
        if chroot
            .split('/')
            .skip(1)
            .any(|part| part.is_empty() || part == "." || part == "..")
        {
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
            tls: None,
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

    /// Makes nodes this user's alone, by ZooKeeper's own scheme `digest`. Whoever gives another password is another user: he gets in,
    /// and is refused at the nodes. Without [`ZooKeeperConfig::tls`] the password crosses the network as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]: the user name is empty or has a colon, the password is empty, or one has control characters.
    pub fn digest(self, user: &str, password: &str) -> Result<Self> {
        Ok(self.credential(Credential::new(Scheme::Digest, user, password)?))
    }

    /// Signs in by SASL with DIGEST-MD5, as a user whom the servers know (`DigestLoginModule`), and makes nodes that user's alone.
    ///
    /// # Errors
    ///
    /// As [`ZooKeeperConfig::digest`].
    pub fn sasl(self, user: &str, password: &str) -> Result<Self> {
        Ok(self.credential(Credential::new(Scheme::Sasl, user, password)?))
    }

    /// Connects by TLS, except to servers that stand in the connection string as `tcp://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`] if the program was compiled without the feature `zookeeper-tls` or a file cannot be used; [`Error::Io`];
    /// [`Error::ConnectString`] if a server's name is none that a certificate can be for.
    pub fn tls(mut self, tls: Tls) -> Result<Self> {
        tls.check(&self.servers)?;
        self.tls = Some(tls);
        Ok(self)
    }

    /// Takes the place of an earlier one of the same scheme.
    pub(super) fn credential(mut self, credential: Credential) -> Self {
        self.credentials
            .retain(|other| other.scheme != credential.scheme);
        self.credentials.push(credential);
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
        !self.credentials.is_empty() || self.tls.as_ref().is_some_and(Tls::has_identity)
    }

    /// Which certificates connections stand on, if they use TLS.
    #[cfg(feature = "zookeeper-tls")]
    pub(super) fn tls_settings(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// What to say when the servers refuse whoever connects.
    pub(super) fn refused(&self) -> Error {
        let what = if self.credentials.is_empty() {
            "the servers want credentials, and none are given".to_owned()
        } else {
            format!(
                "the servers do not accept the credentials ({:?})",
                self.credentials
            )
        };
        Error::Denied {
            path: "/".into(),
            what,
        }
    }

    /// A connector with everything that these settings say. Files are read now.
    pub(super) fn connector(&self) -> Result<zk::Connector> {
        let mut connector = zk::Client::connector().with_session_timeout(self.session_timeout);
        for credential in &self.credentials {
            connector = credential.add_to(connector);
        }
        match &self.tls {
            #[cfg(feature = "zookeeper-tls")]
            Some(tls) => Ok(connector.with_tls(tls.options()?)),
            _ if self.servers.contains("tcp+tls://") => Err(Error::ConnectString {
                text: self.connect_string(),
                what: "a server is to be reached by TLS, and no CA is given for it".into(),
            }),
            _ => Ok(connector),
        }
    }

    /// Opens a session, by TLS if so set.
    pub(super) async fn dial(
        &self,
        connector: zk::Connector,
    ) -> std::result::Result<zk::Client, zk::Error> {
        #[cfg(feature = "zookeeper-tls")]
        if self.tls.is_some() {
            return connector.secure_connect(&self.servers).await;
        }
        connector.connect(&self.servers).await
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
            .field("node_bytes", &self.node_bytes)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish()
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
            assert_eq!(
                (config.servers(), config.chroot()),
                (servers, chroot),
                "{text}"
            );
        }
        for text in [
            "", "/x", "a:", "a:0", "a:b", "a:70000", "a,,b", "a:1/x//y", "a:1/../x", "user@a:1",
        ] {
            let error = ZooKeeperConfig::parse(text).unwrap_err();
            assert!(error.to_string().contains("HOST:PORT"), "{text}: {error}");
        }
    }
}
