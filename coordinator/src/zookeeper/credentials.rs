//! Names and secrets, which are shown to nobody but ZooKeeper.

use std::fmt;

use zookeeper_client as zk;

use crate::error::{Error, Result};

/// How a name and a secret are shown to ZooKeeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    /// ZooKeeper's own scheme `digest`.
    Digest,
    /// SASL with DIGEST-MD5.
    Sasl,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Digest => "digest",
            Scheme::Sasl => "SASL DIGEST-MD5",
        })
    }
}

/// A name and a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) scheme: Scheme,
    user: String,
    password: String,
}

impl Credential {
    /// Checks what ZooKeeper would misunderstand; nothing of the password is ever repeated in an error.
    pub(super) fn new(scheme: Scheme, user: &str, password: &str) -> Result<Credential> {
        let refuse = |what: &str| {
            let what = format!("ZooKeeper's {scheme} credentials: {what}");
            Err(Error::Settings { what })
        };
        if user.is_empty() {
            return refuse("the user name is empty; write user:password");
        }
        if user.contains(':') {
            return refuse(
                "the user name has a colon, at which ZooKeeper would cut it; take one without",
            );
        }
        if password.is_empty() {
            return refuse("the password is empty; write user:password");
        }
        if user.chars().chain(password.chars()).any(char::is_control) {
            return refuse(
                "the user name or the password has a control character, perhaps a line end; take it out",
            );
        }
        Ok(Credential {
            scheme,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Reads `user:password`; `source` is where the text is from. A password may have colons.
    pub(super) fn parse(scheme: Scheme, text: &str, source: &str) -> Result<Credential> {
        let Some((user, password)) = text.split_once(':') else {
            let what = format!("{source} holds no user:password");
            return Err(Error::Settings { what });
        };
        Credential::new(scheme, user, password).map_err(|error| match error {
            Error::Settings { what } => Error::Settings {
                what: format!("{what} ({source})"),
            },
            error => error,
        })
    }

    /// Makes the connector show it.
    pub(super) fn add_to(&self, connector: zk::Connector) -> zk::Connector {
        let Credential { user, password, .. } = self.clone();
        match self.scheme {
            Scheme::Digest => {
                connector.with_auth("digest", format!("{user}:{password}").as_bytes())
            }
            Scheme::Sasl => connector.with_sasl(zk::SaslOptions::digest_md5(user, password)),
        }
    }
}

/// Shows who, and no secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} user {:?}", self.scheme, self.user)
    }
}
