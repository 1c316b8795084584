//! Contents on their way into the vault: gathered in larder's own folder, and placed whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::dir::{Dir, Dirs, Kind, is_link};
use super::{Vault, VaultError};
use crate::model::path::CONTROL_DIR;
use crate::model::{ContentHash, VaultPath};

/// The folder inside of larder's own.
const FOLDER: &str = "blobs";
/// The end of the name of a content that is not whole yet.
const PART: &str = ".part";

const CHUNK_BYTES: usize = 256 << 10;

impl Vault {
    /// Opens the file in which a content is gathered, for reading and writing; it is made if it is
    /// missing. With it comes its path, for messages.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn content_part(&self, sha256: ContentHash) -> Result<(File, PathBuf), VaultError> {
        let name = format!("{sha256}{PART}");
        let path = self.content_path(&name);
        let part = self.contents(&self.dirs())?.open_or_create(&name);
        part.map(|part| (part, path.clone())).map_err(|error| VaultError::write(&path, error))
    }

    /// Tells whether a content is here that is whole, verified and durable.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn has_content(&self, sha256: ContentHash) -> Result<bool, VaultError> {
        let dirs = self.dirs();
        let Some(contents) = dirs.get(&folder())? else { return Ok(false) };
        let name = sha256.to_string();
        let found = contents.look(&name);
        let found = found.map_err(|error| VaultError::write(&self.content_path(&name), error))?;
        Ok(found.is_some_and(|found| found.kind == Kind::File))
    }

    /// The folder of contents; it is made if it is missing.
    pub(super) fn contents(&self, dirs: &Dirs<'_>) -> Result<Arc<Dir>, VaultError> {
        dirs.make(&folder(), &mut BTreeSet::new())
    }

    fn content_path(&self, name: &str) -> PathBuf {
        self.control_dir().join(FOLDER).join(name)
    }

    /// Takes a gathered content for whole.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn keep_content(&self, sha256: ContentHash) -> Result<(), VaultError> {
        self.keep_in(&*self.contents(&self.dirs())?, sha256)
    }

    fn keep_in(&self, contents: &Dir, sha256: ContentHash) -> Result<(), VaultError> {
        let whole = sha256.to_string();
        contents
            .rename(&format!("{whole}{PART}"), contents, &whole)
            .map_err(|error| VaultError::write(&self.content_path(&whole), error))
    }

    /// Gets a content from a file of the vault; false if that does not hold it (any more).
    ///
    /// # Errors
    /// Neither file can be read or written.
    pub fn copy_content(&self, from: &VaultPath, sha256: ContentHash) -> Result<bool, VaultError> {
        let dirs = self.dirs();
        let Some(above) = dirs.above(from)? else { return Ok(false) };
        let contents = self.contents(&dirs)?;
        let part = format!("{sha256}{PART}");
        let failed = |error| VaultError::write(&self.content_path(&part), error);
        let mut source = match above.open_file(from.file_name()) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::NotFound || is_link(&error) => {
                return Ok(false);
            }
            Err(error) => return Err(VaultError::write(&from.under(self.root()), error)),
        };
        let mut target = contents.open_or_create(&part).map_err(failed)?;
        if copy(&mut source, &mut target).map_err(failed)? != sha256 {
            return Ok(false);
        }
        self.keep_in(&contents, sha256).map(|()| true)
    }

    /// Removes every content that is not among these.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn clear_contents(&self, wanted: &BTreeSet<ContentHash>) -> Result<(), VaultError> {
        let dirs = self.dirs();
        let Some(contents) = dirs.get(&folder())? else { return Ok(()) };
        let names = contents.names();
        for name in names.map_err(|error| VaultError::write(&self.content_path(""), error))? {
            let Some(name) = name.to_str() else { continue };
            let sha256 = ContentHash::parse(name.strip_suffix(PART).unwrap_or(name));
            if sha256.is_none_or(|sha256| !wanted.contains(&sha256)) {
                contents
                    .remove_file(name)
                    .map_err(|error| VaultError::write(&self.content_path(name), error))?;
            }
        }
        Ok(())
    }
}

fn folder() -> String {
    format!("{CONTROL_DIR}/{FOLDER}")
}

fn copy(source: &mut File, target: &mut File) -> io::Result<ContentHash> {
    target.set_len(0)?;
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
