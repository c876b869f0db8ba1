//! What can go wrong around the ledger and at a term's start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Epoch;
use crate::fingerprint::Difference;
use crate::halt::HaltReason;
use crate::ledger::{Version, WriterId};

/// This crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// This crate's errors; each names what, where and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that nothing can run with.
    #[error("the coordinator's settings are wrong: {what}")]
    Settings {
        /// What is wrong.
        what: String,
    },
    /// Another process holds the ledger's lock.
    #[error("{} is in use by another process ({by}); stop it first, or give this one a directory of its own", path.display())]
    Locked {
        /// The ledger's directory.
        path: PathBuf,
        /// Who holds it, as far as it said.
        by: String,
    },
    /// The directory is ours, but what is sealed of it stands elsewhere.
    #[error("{}: its ledger is {}; start it with that one, or give another directory", path.display(), match keeper {
        crate::Keeper::Embedded => "the file LEDGER in it",
        crate::Keeper::ZooKeeper => "kept in ZooKeeper",
    })]
    OtherKeeper {
        /// The directory.
        path: PathBuf,
        /// Where its ledger is kept.
        keeper: crate::Keeper,
    },
    /// The directory or file is not a ledger of ours.
    #[error("{} is not a Fulmar ledger ({found}); give an empty directory or one that Fulmar made", path.display())]
    OtherProgram {
        /// The directory or file.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// A ledger of ours in a format this program does not know.
    #[error("{} has ledger format {found}, this program knows {}; use the program that wrote it, or a newer one", path.display(), crate::ledger::FORMAT)]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The ledger was damaged.
    #[error("the ledger {} is damaged: {what}; restore it from a copy made no earlier than the newest sealed batch", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The ledger record would be larger than the ledger takes.
    #[error(
        "the ledger record has {bytes} bytes, more than the {limit} that fit; the topology has too many spout partitions, or too long positions"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The disk is full.
    #[error("{what} {} failed: the disk is full; free some space and start again, nothing sealed is lost", path.display())]
    DiskFull {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file could not be read or written.
    #[error("{what} {} failed: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The ledger belongs to another topology, or to another version of this one.
    #[error("the ledger belongs to another topology or version of it; what is sealed would change its meaning:\n{}", shown(.differences))]
    Fingerprint {
        /// Every difference.
        differences: Vec<Difference>,
    },
    /// Another coordinator won the ledger.
    #[error(
        "another coordinator (writer {writer}, epoch {epoch}, ledger version {version}) has the ledger"
    )]
    Fenced {
        /// Its term.
        epoch: Epoch,
        /// Its name.
        writer: WriterId,
        /// The ledger's version.
        version: Version,
    },
    /// The ledger did not answer, and whoever waited gave up.
    #[error("the ledger could not be reached: {what}")]
    Unreachable {
        /// What was last heard.
        what: String,
    },
    /// A connection string that names no servers.
    #[error(
        "{text:?} is no ZooKeeper connection string ({what}); write HOST:PORT[,HOST:PORT...][/CHROOT]"
    )]
    ConnectString {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// No ZooKeeper server answered.
    #[error(
        "no ZooKeeper server answered at {servers} within {within_ms} ms ({what}); check the addresses, and that a server with a quorum runs there"
    )]
    NoServer {
        /// The addresses.
        servers: String,
        /// How long was waited, in milliseconds.
        within_ms: u64,
        /// What was heard, by address.
        what: String,
    },
    /// ZooKeeper does not let us, by our credentials or a node's ACL.
    #[error(
        "ZooKeeper refuses access to {path}: {what}; check the credentials, and the node's ACL (getAcl)"
    )]
    Denied {
        /// The node.
        path: String,
        /// What ZooKeeper said.
        what: String,
    },
    /// ZooKeeper refused an operation.
    #[error("ZooKeeper refused {what} {path}: {cause}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The node.
        path: String,
        /// What ZooKeeper said.
        cause: String,
    },
    /// The ZooKeeper session has ended, and with it all that was bound to it.
    #[error(
        "the ZooKeeper session has ended ({what}); what was bound to it is given up, nothing sealed is lost"
    )]
    SessionLost {
        /// How it ended.
        what: String,
    },
    /// Leadership ended while the session lives.
    #[error("leadership is lost: {what}; nothing sealed is lost")]
    Deposed {
        /// How.
        what: String,
    },
    /// A node was changed by somebody who is not the program.
    #[error("the ZooKeeper node {path} was changed by another hand: {what}")]
    ChangedByHand {
        /// The node.
        path: String,
        /// What is found, and what to do.
        what: String,
    },
    /// A ledger implementation broke its contract.
    #[error("the ledger broke its contract: {what}; please report this")]
    Contract {
        /// What happened.
        what: String,
    },
    /// A term has ended because it could not go on.
    #[error("{0}")]
    Halted(Box<HaltReason>),
}

impl Error {
    /// An I/O error at `path`; a full disk gets its own name.
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Error {
        let (path, full) = (
            path.to_owned(),
            matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
        );
        let source = Arc::new(source);
        if full {
            Error::DiskFull { what, path, source }
        } else {
            Error::Io { what, path, source }
        }
    }
}

impl From<HaltReason> for Error {
    fn from(reason: HaltReason) -> Error {
        match reason {
            HaltReason::Ledger(error) => error,
            HaltReason::Fenced {
                epoch,
                writer,
                version,
            } => Error::Fenced {
                epoch,
                writer,
                version,
            },
            reason => Error::Halted(Box::new(reason)),
        }
    }
}

/// Errors are compared by what they say: that is all a test or a report can see of the system's part in them.
impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Error {}

fn shown(differences: &[Difference]) -> String {
    differences
        .iter()
        .map(|difference| format!("  {difference}"))
        .collect::<Vec<_>>()
        .join("\n")
}
