//! The engine's one error: what went wrong, where, and what to do about it.

use std::path::PathBuf;

use fulmar_state::StateError;

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can end a topology or keep it from starting. Cloned, because everybody who waits is told.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph cannot be run.
    #[error("topology {name:?} cannot be built: {}", mistakes.join("; "))]
    InvalidTopology {
        /// The topology.
        name: String,
        /// Everything that is wrong with it.
        mistakes: Vec<String>,
    },
    /// A setting that nothing can run with.
    #[error("the configuration is wrong: {what}")]
    Config {
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The directory cannot be used.
    #[error("{}: {what}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The ledger or the coordinator.
    #[error(transparent)]
    Coordinator(#[from] fulmar_coordinator::Error),
    /// The state store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The topology could not go on. Everything sealed stays sealed; after the cause is cured it goes on from there.
    #[error("{reason}")]
    Halted {
        /// What, where, and what to do.
        reason: String,
    },
    /// The topology has ended, and was asked for something.
    #[error("the topology has ended: start it again to go on")]
    Ended,
}

impl Error {
    /// Whether the run ended because this process no longer leads: another does, or will. Nothing sealed is lost, and the same
    /// topology may be started again, to stand by until it leads once more.
    #[must_use]
    pub fn is_lost_leadership(&self) -> bool {
        use fulmar_coordinator::Error as E;
        matches!(
            self,
            Error::Coordinator(E::SessionLost { .. } | E::Deposed { .. } | E::Fenced { .. })
        )
    }

    pub(crate) fn config(what: impl Into<String>) -> Self {
        Error::Config { what: what.into() }
    }
}
