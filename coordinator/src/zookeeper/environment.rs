//! What the environment says about ZooKeeper: above all the secrets, which never stand on a command line.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::ZooKeeperConfig;
use super::credentials::{Credential, Scheme};
use super::tls::Tls;
use crate::error::{Error, Result};

const SESSION_MS: &str = "FULMAR_ZOOKEEPER_SESSION_MS";
const TLS_CA: &str = "FULMAR_ZOOKEEPER_TLS_CA";
const TLS_CERT: &str = "FULMAR_ZOOKEEPER_TLS_CERT";
const TLS_KEY: &str = "FULMAR_ZOOKEEPER_TLS_KEY";
/// What may ask for credentials: of each scheme the variable with the secret, and the one with a file's path.
const CREDENTIALS: [(Scheme, &str, &str); 2] = [
    (
        Scheme::Digest,
        "FULMAR_ZOOKEEPER_DIGEST",
        "FULMAR_ZOOKEEPER_DIGEST_FILE",
    ),
    (
        Scheme::Sasl,
        "FULMAR_ZOOKEEPER_SASL",
        "FULMAR_ZOOKEEPER_SASL_FILE",
    ),
];
/// No session timeout outside of this makes sense, in milliseconds.
const SESSION_RANGE: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// A file that is longer, in bytes, holds no user:password.
const MAX_SECRET: u64 = 4 << 10;

/// A variable's value, if it is set.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl ZooKeeperConfig {
    /// Takes what the environment says; it goes before what was set before.
    ///
    /// | variable | value |
    /// | --- | --- |
    /// | `FULMAR_ZOOKEEPER_DIGEST` | `user:password` for ZooKeeper's own scheme `digest` |
    /// | `FULMAR_ZOOKEEPER_DIGEST_FILE` | a file with `user:password` on its one line, instead |
    /// | `FULMAR_ZOOKEEPER_SASL`, `FULMAR_ZOOKEEPER_SASL_FILE` | the same for SASL DIGEST-MD5 |
    /// | `FULMAR_ZOOKEEPER_TLS_CA` | a PEM file: connections use TLS, with servers that these certificates signed |
    /// | `FULMAR_ZOOKEEPER_TLS_CERT`, `FULMAR_ZOOKEEPER_TLS_KEY` | PEM files: the certificate to show, and its key |
    /// | `FULMAR_ZOOKEEPER_SESSION_MS` | the session timeout in milliseconds, 100 to 3600000 |
    ///
    /// A variable that is set but empty counts as not set. A file with a secret that others may read is warned about.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`] names the variable or file and what is wrong with it, and never repeats a secret; [`Error::Io`].
    pub fn with_env(self) -> Result<ZooKeeperConfig> {
        self.with_lookup(&|name| env::var_os(name))
    }

    fn with_lookup(mut self, lookup: Lookup<'_>) -> Result<ZooKeeperConfig> {
        let lookup: Lookup<'_> = &|name| lookup(name).filter(|value| !value.is_empty());
        if let Some(text) = text(SESSION_MS, lookup)? {
            self = self.session_timeout(session_timeout(&text)?);
        }
        for (scheme, direct, file) in CREDENTIALS {
            if let Some(credential) = credential(scheme, direct, file, lookup)? {
                self = self.credential(credential);
            }
        }
        match tls(lookup)? {
            Some(tls) => self.tls(tls),
            None => Ok(self),
        }
    }
}

fn refuse<T>(what: String) -> Result<T> {
    Err(Error::Settings { what })
}

fn text(name: &str, lookup: Lookup<'_>) -> Result<Option<String>> {
    let text = lookup(name).map(OsString::into_string).transpose();
    // The value may be a secret, so it is not repeated.
    text.or_else(|_| refuse(format!("{name} is no valid text (UTF-8)")))
}

fn session_timeout(text: &str) -> Result<Duration> {
    match text.parse() {
        Ok(ms) if SESSION_RANGE.contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => refuse(format!(
            "{SESSION_MS} is {text:?}; write milliseconds, {} to {}",
            SESSION_RANGE.start(),
            SESSION_RANGE.end()
        )),
    }
}

fn credential(
    scheme: Scheme,
    direct: &str,
    file: &str,
    lookup: Lookup<'_>,
) -> Result<Option<Credential>> {
    match (text(direct, lookup)?, lookup(file)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => refuse(format!("{direct} and {file} are both set; set one")),
        (Some(text), None) => Credential::parse(scheme, &text, direct).map(Some),
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            let source = format!("{} of {file}", path.display());
            let line = secret_line(&path, &source)?;
            Credential::parse(scheme, &line, &source).map(Some)
        }
    }
}

/// The one line of a file; `source` is how an error names it.
fn secret_line(path: &Path, source: &str) -> Result<String> {
    let mut text = String::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(MAX_SECRET + 1).read_to_string(&mut text));
    read.map_err(|error| Error::io("reading ZooKeeper's credentials from", path, error))?;
    warn_if_open(path);
    if text.len() as u64 > MAX_SECRET {
        return refuse(format!("{source} is longer than {MAX_SECRET} bytes"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return refuse(format!("{source} is empty; write user:password into it"));
    }
    if line.contains('\n') {
        return refuse(format!(
            "{source} has more than one line; it must hold user:password alone"
        ));
    }
    Ok(line.to_owned())
}

fn tls(lookup: Lookup<'_>) -> Result<Option<Tls>> {
    match (lookup(TLS_CA), lookup(TLS_CERT), lookup(TLS_KEY)) {
        (None, None, None) => Ok(None),
        (None, ..) => refuse(format!(
            "{TLS_CERT} or {TLS_KEY} is set without {TLS_CA}; name the file that the servers' certificates are signed by"
        )),
        (Some(ca), None, None) => Ok(Some(Tls::new(ca))),
        (Some(ca), Some(certificate), Some(key)) => {
            warn_if_open(Path::new(&key));
            Ok(Some(Tls::new(ca).identity(certificate, key)))
        }
        (Some(_), ..) => refuse(format!(
            "{TLS_CERT} and {TLS_KEY} belong together; set both or none"
        )),
    }
}

/// Warns when others than its owner may read a file that holds a secret.
fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = path.metadata() {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                path = %path.display(),
                mode = format!("{mode:o}"),
                "the file holds a secret of ZooKeeper's, and others than its owner may read it; chmod 600"
            );
        }
    }
}

#[cfg(test)]
mod tests;
