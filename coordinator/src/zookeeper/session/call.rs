//! What becomes of a call to ZooKeeper.

use zookeeper_client as zk;

use crate::error::Error;

/// Why a call has no result.
#[derive(Clone, Debug)]
pub(in crate::zookeeper) enum CallError {
    /// Whether it was carried out is not known, or will be known later. To be settled by the identical conditional call.
    Unknown(String),
    /// The session has ended.
    Lost(Error),
    /// The servers refused it: it has had no effect.
    Refused(zk::Error),
}

impl CallError {
    /// What the client says, by what it means. It reports a connection that broke in many ways, also as the socket's own error.
    pub(in crate::zookeeper) fn of(error: zk::Error) -> CallError {
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
    pub(in crate::zookeeper) fn into_error(self, what: &'static str, path: &str) -> Error {
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

pub(super) fn lost(error: &zk::Error) -> Error {
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
