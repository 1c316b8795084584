//! The remote folder: its files, its manifest, and how a commit is made.

pub mod blob;
mod block;
pub mod codec;
mod data;
mod gc;
mod head;
pub mod layout;
mod loose;
mod manifest;
mod pack;
pub mod tiers;

use larder_providers::{ErrorKind, RemotePath, SharedStorage};
use serde::{Deserialize, Serialize};

pub use data::{Fetched, fetch, take_whole};
pub use gc::{Survey, expired, old_manifests, survey};
pub use head::{
    Advance, Devices, Head, HeadRead, HeadState, IfMatch, Last, Others, Reader, Rename,
};
pub use loose::Loose;
pub use manifest::{Commit, DataFile, FORMAT, IndexRow, Manifest, Meta, Participant, Retired};
pub use pack::{DELTA_ENTITIES_MAX, Outgoing, Packer, Parcel, pack_one};

use crate::model::{EntityId, ForeignRemote, RemoteId};

/// The result of work with a remote.
pub type Result<T, E = RemoteError> = std::result::Result<T, E>;

/// How a commit is made on a remote; chosen when it is made, the same for all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitMode {
    /// `meta.json` is replaced on the condition that it is what was read.
    IfMatch,
    /// The one token in `head/` is renamed away, which succeeds for one of several rivals.
    Rename,
    /// Each device writes a head of its own, and readers join them.
    Devices,
}

impl CommitMode {
    /// The mode's name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::IfMatch => "if-match",
            Self::Rename => "rename",
            Self::Devices => "devices",
        }
    }
}

/// Why work with a remote failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The storage failed.
    #[error(transparent)]
    Storage(larder_providers::Error),
    /// A file is not what it should be.
    #[error("{file} on the remote is damaged: {detail}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The remote has a form that this program does not know.
    #[error("the remote needs a newer larder (form {needed})")]
    NeedsNewer {
        /// The lowest form a reader has to know.
        needed: u64,
    },
    /// What the remote holds can only be read with its key.
    #[error("the remote is encrypted, and this vault has no key to it")]
    Encrypted,
    /// The folder has no head although it has a `meta.json`.
    #[error("the remote's head is missing: {detail}")]
    HeadMissing {
        /// What was seen.
        detail: String,
    },
    /// What heads name is not there, or not yet.
    #[error("the remote has not arrived whole: {detail}")]
    Incomplete {
        /// What is missing.
        detail: String,
    },
    /// The folder belongs to another remote.
    #[error(
        "the folder holds another remote ({found}) than the one this vault belongs to ({expected})"
    )]
    Foreign {
        /// The one the vault belongs to.
        expected: RemoteId,
        /// The one that is there.
        found: RemoteId,
    },
    /// The folder holds files of somebody else.
    #[error("the folder is not empty and holds no larder remote (it has {names})")]
    NotEmpty {
        /// Some of what is there.
        names: String,
    },
    /// A record is over a limit that every reader holds it to.
    #[error("the record {id} cannot be sent: {why}")]
    Unsendable {
        /// Which record.
        id: EntityId,
        /// Which limit.
        why: String,
    },
    /// A file of this device that something of the remote is kept in.
    #[error("{} cannot be written: {source}", .path.display())]
    Local {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The storage can do neither of the commits.
    #[error("the storage cannot keep one writer from overwriting another: {detail}")]
    NoCommit {
        /// What the probe saw.
        detail: String,
    },
}

impl From<larder_providers::Error> for RemoteError {
    fn from(error: larder_providers::Error) -> Self {
        let source = std::error::Error::source(&error);
        if let Some(foreign) = source.and_then(|source| source.downcast_ref::<ForeignRemote>()) {
            let ForeignRemote { expected, found } = foreign.clone();
            return Self::Foreign { expected, found };
        }
        match error.kind() {
            ErrorKind::Damaged => Self::damaged(error.path().as_str(), error.detail()),
            _ => Self::Storage(error),
        }
    }
}

impl RemoteError {
    /// A file that is not what it should be.
    pub fn damaged(file: &str, detail: impl ToString) -> Self {
        Self::Damaged { file: file.to_owned(), detail: detail.to_string() }
    }

    /// What the storage said, if it was the storage that failed.
    pub fn storage_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Storage(error) => Some(error.kind()),
            _ => None,
        }
    }
}

/// A remote that is known to be one, and how commits are made on it.
#[derive(Debug)]
pub struct Remote {
    /// Where its files lie.
    pub storage: SharedStorage,
    /// Which remote it is.
    pub id: RemoteId,
    /// How commits are made.
    pub head: Box<dyn Head>,
}

impl Remote {
    /// The remote `id` on `storage`, whose commits are made in `mode`.
    pub fn new(storage: SharedStorage, id: RemoteId, mode: CommitMode) -> Self {
        let head: Box<dyn Head> = match mode {
            CommitMode::IfMatch => Box::new(IfMatch::new(storage.clone())),
            CommitMode::Rename => Box::new(Rename::new(storage.clone(), id.clone())),
            CommitMode::Devices => Box::new(Devices::new(storage.clone(), id.clone())),
        };
        Self { storage, id, head }
    }

    /// Where a data file lies.
    pub fn path(file: &str) -> Result<RemotePath> {
        layout::path(file)
    }
}
