//! Why a turn could not be done.

use crate::{
    merge::IncomingBrake,
    model::{InvalidId, RemoteId, grouped},
    remote::RemoteError,
    store::StoreError,
    vault::VaultError,
};

/// The result of the engine's work.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Why a turn could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The replica failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault's files failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The remote failed.
    #[error(transparent)]
    Remote(RemoteError),
    /// A brake stopped the turn before anything was done.
    #[error(transparent)]
    Brake(#[from] Brake),
    /// Others kept committing first.
    #[error("others were faster {tries} times in a row; nothing is lost, try again in a moment")]
    Raced {
        /// How often it was tried.
        tries: u32,
    },
    /// The vault was never connected.
    #[error("this vault is not connected to a remote yet")]
    NotConnected,
    /// No record goes by this name.
    #[error("there is no record {name:?} in this vault")]
    NoRecord {
        /// The id or path that was asked for.
        name: String,
    },
    /// What a command was given cannot be taken.
    #[error("{0}")]
    Refused(String),
}

/// Something that looks like an accident, and therefore is not done unasked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Brake {
    /// More than half of the vault's files are gone.
    #[error("{} of {} files are gone from this vault", told(*gone), told(*known))]
    Vanished {
        /// How many.
        gone: usize,
        /// Of how many.
        known: usize,
    },
    /// The remote would take more than half of the vault's files away.
    #[error(
        "the remote would remove {} of {} files from this vault",
        told(.0.removed),
        told(.0.known)
    )]
    Incoming(IncomingBrake),
    /// The remote's folder is empty although it once held this vault's remote.
    #[error(
        "the remote folder is empty or not there, but this vault's remote ({remote}) lay in it"
    )]
    RemoteEmpty {
        /// The remote that was there.
        remote: RemoteId,
    },
    /// The remote's folder is empty, and the replica that knew which remote lay there was lost.
    #[error(
        "the remote folder is empty or not there, and what this device knew of the remote is lost"
    )]
    RemoteLost,
    /// The folder holds another remote.
    #[error("the remote folder holds another remote ({found}) than this vault's ({expected})")]
    Foreign {
        /// The vault's remote.
        expected: RemoteId,
        /// The one that is there.
        found: RemoteId,
    },
}

impl EngineError {
    /// A task that ended without saying how its work went.
    pub(super) fn task(error: tokio::task::JoinError) -> Self {
        Self::Refused(format!("a transfer was stopped before its end: {error}"))
    }

    /// Whether the same turn may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Raced { .. } => true,
            Self::Remote(RemoteError::Storage(error)) => error.is_temporary(),
            Self::Remote(RemoteError::Incomplete { .. }) => true,
            _ => false,
        }
    }
}

impl From<RemoteError> for EngineError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Foreign { expected, found } => {
                Self::Brake(Brake::Foreign { expected, found })
            }
            error => Self::Remote(error),
        }
    }
}

impl From<larder_providers::Error> for EngineError {
    fn from(error: larder_providers::Error) -> Self {
        Self::Remote(error.into())
    }
}

impl From<InvalidId> for EngineError {
    fn from(error: InvalidId) -> Self {
        Self::Refused(error.to_string())
    }
}

fn told(files: usize) -> String {
    grouped(files as u64)
}

#[cfg(test)]
mod tests {
    use super::Brake;

    #[test]
    fn many_files_are_told_as_all_numbers_are() {
        let told = Brake::Vanished { gone: 1_500, known: 1_514 }.to_string();
        assert_eq!(told, "1,500 of 1,514 files are gone from this vault");
    }
}
