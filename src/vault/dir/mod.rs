//! Folders of the vault, each opened below the one above it and never through a symlink.
//!
//! What is done to a file is done by its name in an open folder. So it happens in a folder that did
//! lie in the vault, whatever takes the folder's place between two steps; a path would be walked
//! anew in each of them. Systems other than Unix have paths only (`plain.rs`).

#[cfg(any(not(unix), test))]
mod plain;
#[cfg(unix)]
mod unix;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(not(unix))]
pub(super) use plain::{Dir, is_link, open_file};
#[cfg(unix)]
pub(super) use unix::{Dir, is_link, open_file};

use super::VaultError;
use crate::model::{FileStat, VaultPath};

/// How many folders are kept open: a batch may have more of them than a process may hold open, and
/// some systems let it have 256.
const OPEN_MAX: usize = 128;
/// How often a folder is tried that is one at each look, and at each step into it is none.
const TRIES: usize = 4;

/// What stands at a name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) stat: FileStat,
    pub(super) permissions: Permissions,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
    Other,
}

/// The folders of a vault by their paths in it, kept open for a while. The root is `""`.
#[derive(Debug)]
pub(super) struct Dirs<'v> {
    root: &'v Path,
    open: Mutex<BTreeMap<String, Arc<Dir>>>,
}

impl<'v> Dirs<'v> {
    pub(super) fn new(root: &'v Path) -> Self {
        Self { root, open: Mutex::default() }
    }

    /// Opens a folder; nothing if it is not there.
    ///
    /// # Errors
    /// A symlink or a file stands there or above it, or the vault's own folder is gone.
    pub(super) fn get(&self, path: &str) -> Result<Option<Arc<Dir>>, VaultError> {
        self.walk(path, None)
    }

    /// Opens the folder of a file; nothing if it is not there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) fn above(&self, path: &VaultPath) -> Result<Option<Arc<Dir>>, VaultError> {
        self.get(path.parent().unwrap_or_default())
    }

    /// Asks what stands at the place of a file.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) fn look(&self, path: &VaultPath) -> Result<Option<Entry>, VaultError> {
        let Some(dir) = self.above(path)? else { return Ok(None) };
        let found = dir.look(path.file_name());
        found.map_err(|error| VaultError::write(&path.under(self.root), error))
    }

    /// Opens a folder, and makes it and those above it if they are missing. Folders that got a new
    /// one are added to `changed`.
    ///
    /// # Errors
    /// As [`get`](Self::get), and a folder that cannot be made.
    pub(super) fn make(
        &self,
        path: &str,
        changed: &mut BTreeSet<String>,
    ) -> Result<Arc<Dir>, VaultError> {
        let gone = || VaultError::write(&self.root.join(path), ErrorKind::NotFound.into());
        self.walk(path, Some(changed))?.ok_or_else(gone)
    }

    /// Makes the names in a folder survive a loss of power, unless somebody took it away with them.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn sync(&self, path: &str) -> io::Result<()> {
        use VaultError::{NameTaken, NoFolder, Symlink};
        match self.get(path) {
            Ok(Some(dir)) => dir.sync(),
            Ok(None) | Err(Symlink { .. } | NameTaken { .. } | NoFolder { .. }) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn walk(
        &self,
        path: &str,
        mut changed: Option<&mut BTreeSet<String>>,
    ) -> Result<Option<Arc<Dir>>, VaultError> {
        if let Some(dir) = self.kept(path) {
            return Ok(Some(dir));
        }
        let mut dir = match self.kept("") {
            Some(dir) => dir,
            None => self.keep("", self.open_root()?),
        };
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let mut above = "";
        for here in ends.filter_map(|end| path.get(..end)).filter(|here| !here.is_empty()) {
            if let Some(kept) = self.kept(here) {
                (dir, above) = (kept, here);
                continue;
            }
            let mut entered = self.enter(&dir, here)?;
            if let (None, Some(changed)) = (&entered, changed.as_deref_mut()) {
                match dir.make(name(here)) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                        return Err(VaultError::write(&self.root.join(here), error));
                    }
                    _ => changed.insert(above.to_owned()),
                };
                entered = self.enter(&dir, here)?;
            }
            let Some(entered) = entered else { return Ok(None) };
            (dir, above) = (self.keep(here, entered), here);
        }
        Ok(Some(dir))
    }

    fn open_root(&self) -> Result<Dir, VaultError> {
        Dir::root(self.root).map_err(|error| VaultError::root(self.root, error))
    }

    /// Steps into a folder; nothing if it is not there.
    fn enter(&self, above: &Dir, path: &str) -> Result<Option<Dir>, VaultError> {
        let place = || self.root.join(path);
        for _ in 0..TRIES {
            let error = match above.open(name(path)) {
                Ok(dir) => return Ok(Some(dir)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => error,
            };
            let found =
                above.look(name(path)).map_err(|error| VaultError::write(&place(), error))?;
            match found.map(|found| found.kind) {
                Some(Kind::Symlink) => break,
                Some(Kind::File | Kind::Other) => {
                    return Err(VaultError::NameTaken { path: place(), taken: "a file" });
                }
                Some(Kind::Folder) if !is_link(&error) => {
                    return Err(VaultError::write(&place(), error));
                }
                // Somebody puts one and then the other there.
                Some(Kind::Folder) | None => {}
            }
        }
        Err(VaultError::Symlink { path: place() })
    }

    fn kept(&self, path: &str) -> Option<Arc<Dir>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn keep(&self, path: &str, dir: Dir) -> Arc<Dir> {
        let dir = Arc::new(dir);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(path.to_owned(), Arc::clone(&dir));
        dir
    }
}

impl Dir {
    /// Gives a file of this folder a name that is free, there or in another folder; false if it is
    /// not.
    pub(super) fn rename_new(&self, from: &str, folder: &Self, to: &str) -> io::Result<bool> {
        match self.rename_noreplace(from, folder, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            // A disk that knows neither such renames nor links.
            Err(_) if folder.look(to)?.is_none() => self.rename(from, folder, to).map(|()| true),
            Err(error) => Err(error),
        }
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
