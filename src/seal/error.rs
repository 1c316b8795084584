//! Why an encrypted remote cannot be opened.

use crate::model::ForeignRemote;

/// The result of work with keys.
pub type Result<T, E = SealError> = std::result::Result<T, E>;

/// Why an encrypted remote cannot be opened, made, or given another passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] larder_providers::Error),
    /// The passphrase opens none of the keys that lie there.
    #[error("the passphrase is wrong: it does not open this remote")]
    WrongPassphrase,
    /// The passphrase is too short to make a key of.
    #[error("a passphrase needs at least {min} characters")]
    TooShort {
        /// How many it needs.
        min: usize,
    },
    /// No key lies there that could be tried.
    #[error("the remote's key is missing or damaged: {detail}")]
    NoKey {
        /// What was seen.
        detail: String,
    },
    /// It is another remote.
    #[error(transparent)]
    Foreign(#[from] ForeignRemote),
    /// It is a remote in clear.
    #[error("the remote there is not encrypted, as this vault's is")]
    NotEncrypted,
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
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl SealError {
    /// A file that is not what it should be.
    pub(super) fn damaged(file: &str, detail: impl ToString) -> Self {
        Self::Damaged { file: file.to_owned(), detail: detail.to_string() }
    }
}
