//! What can go wrong with the user's files.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why something in a vault could not be read or written. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The vault's folder is not there or is no folder.
    #[error("{}: there is no such folder; is the disk connected, or was the vault moved?", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The vault's folder cannot be listed.
    #[error("{}: the vault's folder cannot be read: {source}; make it readable and try again", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No room left.
    #[error("{}: the disk is full; free some space and sync again", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No right to write.
    #[error("{}: no permission to write; change the owner or the mode of the file and its folder", path.display())]
    Permission {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder stands where a file should go, or a file where a folder should.
    #[error("{}: the name is taken by {taken}; rename one of the two", path.display())]
    NameTaken {
        /// What stands there.
        path: PathBuf,
        /// What kind of thing that is.
        taken: &'static str,
    },
    /// A symlink stands in the way; nothing is ever written through one.
    #[error("{}: a symlink, and larder writes through none; put a real folder in its place", path.display())]
    Symlink {
        /// The symlink.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl VaultError {
    /// Names the kind of an error that came while something was written.
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, source }
            }
            ErrorKind::IsADirectory => Self::NameTaken { path, taken: "a folder" },
            ErrorKind::NotADirectory => Self::NameTaken { path, taken: "a file" },
            _ => Self::Io { path, source },
        }
    }

    /// Names the kind of an error that the vault's folder gave.
    pub(super) fn root(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoFolder { path },
            _ => Self::Unreadable { path, source },
        }
    }

    /// Tells whether other files of the vault can be written all the same.
    pub fn is_about_one_file(&self) -> bool {
        match self {
            Self::Symlink { .. } | Self::NameTaken { .. } | Self::Permission { .. } => true,
            Self::Io { source, .. } => source.kind() == ErrorKind::InvalidFilename,
            _ => false,
        }
    }

    /// Tells whether the same call may succeed later without anybody doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                ErrorKind::Interrupted
                    | ErrorKind::ResourceBusy
                    | ErrorKind::TimedOut
                    | ErrorKind::WouldBlock
            ),
            _ => false,
        }
    }
}
