//! Contents on their way into the vault: gathered in larder's own folder, and placed whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Vault, VaultError};
use crate::model::{ContentHash, VaultPath};

/// The folder inside of larder's own.
const FOLDER: &str = "blobs";
/// The end of the name of a content that is not whole yet.
const PART: &str = ".part";

const CHUNK_BYTES: usize = 256 << 10;

impl Vault {
    /// Where a content is gathered.
    pub fn content_part(&self, sha256: ContentHash) -> PathBuf {
        self.contents().join(format!("{sha256}{PART}"))
    }

    /// Where a content lies that is whole, verified and durable.
    pub fn content(&self, sha256: ContentHash) -> PathBuf {
        self.contents().join(sha256.to_string())
    }

    fn contents(&self) -> PathBuf {
        self.control_dir().join(FOLDER)
    }

    /// Takes a gathered content for whole.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn keep_content(&self, sha256: ContentHash) -> Result<(), VaultError> {
        let whole = self.content(sha256);
        fs::rename(self.content_part(sha256), &whole)
            .map_err(|error| VaultError::write(&whole, error))
    }

    /// Gets a content from a file of the vault; false if that does not hold it (any more).
    ///
    /// # Errors
    /// Neither file can be read or written.
    pub fn copy_content(&self, from: &VaultPath, sha256: ContentHash) -> Result<bool, VaultError> {
        self.check_parents(from)?;
        let part = self.content_part(sha256);
        let copied = copy(&from.under(self.root()), &part);
        match copied {
            Ok(copied) if copied == sha256 => self.keep_content(sha256).map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(VaultError::write(&part, error)),
        }
    }

    /// Removes every content that is not among these.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn clear_contents(&self, wanted: &BTreeSet<ContentHash>) -> Result<(), VaultError> {
        let folder = self.contents();
        let listed = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(|error| VaultError::write(&folder, error))?,
        };
        for entry in listed.flatten() {
            let name = entry.file_name();
            let digest = name.to_str().map(|name| name.strip_suffix(PART).unwrap_or(name));
            let sha256 = digest.and_then(ContentHash::parse);
            if sha256.is_none_or(|sha256| !wanted.contains(&sha256)) {
                let path = entry.path();
                fs::remove_file(&path).map_err(|error| VaultError::write(&path, error))?;
            }
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<ContentHash> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        let read = source.read(&mut chunk)?;
        let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else { break };
        hasher.update(read);
        target.write_all(read)?;
    }
    target.sync_all()?;
    Ok(ContentHash::from_bytes(hasher.finalize().into()))
}
