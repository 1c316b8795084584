//! The user's own files: found, read into fields, and written back.
//!
//! Nothing here knows the store, the remote or how things merge. Everything is synchronous; callers
//! that are not hand it to a blocking thread.

mod contents;
mod dir;
pub mod document;
mod error;
mod gate;
mod scan;
mod stat;
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(crate) mod swap;
mod write;

use crate::model::{VaultPath, path::CONTROL_DIR};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use error::VaultError;
#[cfg(feature = "sim")]
pub use gate::Asked;
pub use scan::{
    Brake, FileKind, IGNORE_FILE, MAX_TEXT_BYTES, Renamed, Scan, ScannedFile, SkipReason, Skipped,
};
pub use write::{Expect, Removed, Waiting, WriteJob, Written};

/// A folder of the user's files.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
    gate: gate::Gate,
}

impl Vault {
    /// Opens a folder; whether it has a control folder already is not asked.
    ///
    /// # Errors
    /// The folder is not there, is no folder, or cannot be reached.
    pub fn open(root: &Path) -> Result<Self, VaultError> {
        let found = fs::canonicalize(root).map_err(|error| VaultError::root(root, error))?;
        if !found.is_dir() {
            return Err(VaultError::NoFolder { path: root.to_owned() });
        }
        Ok(Self { root: found, gate: gate::Gate::default() })
    }

    /// Has somebody asked before each change of a file.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn with_gate(mut self, asked: Asked) -> Self {
        self.gate.asked = Some(asked);
        self
    }

    /// Finds the vault that a folder lies in: the nearest one, upwards, that has a control folder.
    pub fn discover(from: &Path) -> Option<PathBuf> {
        from.ancestors().find(|folder| folder.join(CONTROL_DIR).is_dir()).map(Path::to_owned)
    }

    /// Gives the vault's folder, as an absolute path without symlinks.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a file stands there that the system does not let us read.
    pub fn is_unreadable(&self, path: &VaultPath) -> bool {
        let dirs = self.dirs();
        let Ok(Some(above)) = dirs.above(path) else { return false };
        let opened = above.open_file(path.file_name());
        opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    /// Gives the folder of larder's own files.
    pub fn control_dir(&self) -> PathBuf {
        self.root.join(CONTROL_DIR)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Vault, VaultError};

    #[test]
    fn a_vault_is_found_from_below() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("notes");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join(".larder")).unwrap();
        assert_eq!(Vault::discover(&root.join("a/b")), Some(root.clone()));
        assert_eq!(Vault::discover(&root), Some(root.clone()));
        assert_eq!(Vault::discover(dir.path()), None);
        let vault = Vault::open(&root).unwrap();
        assert_eq!(vault.control_dir(), vault.root().join(".larder"));
    }

    #[test]
    fn what_is_no_folder_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let gone = Vault::open(&dir.path().join("gone")).unwrap_err();
        assert!(matches!(gone, VaultError::NoFolder { .. }), "{gone}");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Vault::open(file.path()), Err(VaultError::NoFolder { .. })));
    }
}
