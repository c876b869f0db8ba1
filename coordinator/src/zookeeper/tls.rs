//! TLS to ZooKeeper's servers: which certificates, and whether they can be used.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// Which certificates a connection stands on: PEM files, which are read again for each new session.
///
/// A server must show a certificate that `ca` signed, for the very host name or address in the connection string.
///
/// ```no_run
/// use fulmar_coordinator::zookeeper::{Tls, ZooKeeperConfig};
///
/// let tls = Tls::new("/etc/fulmar/ca.pem").identity("/etc/fulmar/client.pem", "/etc/fulmar/client.key");
/// let config = ZooKeeperConfig::parse("zk1:2281,zk2:2281,zk3:2281/production")?.tls(tls)?;
/// # Ok::<(), fulmar_coordinator::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    ca: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Trusts servers whose certificates are signed by those in this file.
    #[must_use]
    pub fn new(ca: impl Into<PathBuf>) -> Tls {
        Tls {
            ca: ca.into(),
            identity: None,
        }
    }

    /// Shows the servers this certificate, whose private key is in the other file. Nodes are then its owner's alone, so the
    /// servers must ask for certificates (`ssl.clientAuth`).
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Tls {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Whether the servers are shown who connects.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Refuses files that cannot be used, and servers that no certificate could be for.
    #[cfg(not(feature = "zookeeper-tls"))]
    pub(super) fn check(&self, _servers: &str) -> Result<()> {
        let what = format!(
            "TLS to ZooKeeper (CA {}): this program was compiled without it; compile it with the feature `zookeeper-tls`",
            self.ca.display()
        );
        Err(Error::Settings { what })
    }
}

#[cfg(feature = "zookeeper-tls")]
mod with_tls {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use zookeeper_client as zk;

    use super::{Error, Result, Tls};

    impl Tls {
        /// Refuses files that cannot be used, and servers that no certificate could be for.
        pub(in super::super) fn check(&self, servers: &str) -> Result<()> {
            for server in servers.split(',') {
                // The client takes the name for granted.
                if ServerName::try_from(host(server)).is_err() {
                    return Err(Error::ConnectString {
                        text: servers.to_owned(),
                        what: format!(
                            "{:?} is no name that a certificate can be for",
                            host(server)
                        ),
                    });
                }
            }
            self.client().map(drop)
        }

        /// The same for ZooKeeper's client.
        pub(in super::super) fn options(&self) -> Result<zk::TlsOptions> {
            let wrong = |error: zk::Error| wrong(&self.ca, &error);
            let options = zk::TlsOptions::new()
                .with_pem_ca(&read(&self.ca)?)
                .map_err(wrong)?;
            match &self.identity {
                None => Ok(options),
                Some((certificate, key)) => options
                    .with_pem_identity(&read(certificate)?, &read(key)?)
                    .map_err(wrong),
            }
        }

        /// What a handshake by hand takes, with all files looked at.
        pub(in super::super) fn client(&self) -> Result<Arc<ClientConfig>> {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&self.ca)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong(&self.ca, &error))?;
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| wrong(&self.ca, &error))?
                .with_root_certificates(roots);
            let Some((certificate, key)) = &self.identity else {
                return Ok(Arc::new(builder.with_no_client_auth()));
            };
            let secret = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes());
            // What is wrong with a key is said without a byte of it.
            let secret = secret.map_err(|_| wrong(key, &"there is no private key in it"))?;
            let config = builder.with_client_auth_cert(certificates(certificate)?, secret);
            config.map(Arc::new).map_err(|error| {
                let what = format!("the key {} does not fit: {error}", key.display());
                wrong(certificate, &what)
            })
        }
    }

    fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
        let text = read(path)?;
        let all: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match all {
            Ok(all) if all.is_empty() => Err(wrong(path, &"there is no certificate in it")),
            Ok(all) => Ok(all),
            Err(error) => Err(wrong(path, &error)),
        }
    }

    fn read(path: &Path) -> Result<String> {
        fs::read_to_string(path).map_err(|error| Error::io("reading", path, error))
    }

    fn wrong(path: &Path, what: &dyn std::fmt::Display) -> Error {
        Error::Settings {
            what: format!(
                "{} cannot be used for TLS ({what}); give a PEM file",
                path.display()
            ),
        }
    }

    /// The name or address in `[tcp+tls://]HOST:PORT`.
    pub(in super::super) fn host(server: &str) -> &str {
        let bare = server.rsplit("//").next().unwrap_or(server);
        let host = bare.rsplit_once(':').map_or(bare, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}
#[cfg(feature = "zookeeper-tls")]
pub(super) use with_tls::host;
