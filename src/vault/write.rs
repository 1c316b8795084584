//! Writing, removing and renaming files of the user, never blindly.
//!
//! Whatever is done to a file is done only while the file is what the last scan saw, and in one step
//! that a crash cannot cut in two. It is done in an open folder that was reached from the vault's own
//! without a symlink, so nothing is ever changed elsewhere, whatever takes a folder's place meanwhile
//! ([decision 0020](../../docs/decisions/0020-files-are-changed-in-open-folders.md)).

mod adopt;
mod batch;
mod durable;
mod temp;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::path::Path;

pub use batch::{Waiting, WriteJob};
use ignore::WalkBuilder;

use super::dir::{Dirs, Entry, Kind};
use super::{Vault, VaultError};
use crate::model::path::{TEMP_PREFIX, is_reserved};
use crate::model::{FileStat, VaultPath};
use crate::mutant::{self, Mutant};

/// What must stand at a path for a write to go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// The file that the scan saw (by size, mtime and inode).
    Is(FileStat),
}

/// How a write or a rename ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Our bytes stand there, and this is what the system says about them.
    Done(FileStat),
    /// The file is not what the scan saw; it was left alone and waits for the next turn.
    Moved,
}

/// How a removal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The file is gone.
    Done,
    /// The file is not what the scan saw; it was left alone and waits for the next turn.
    Moved,
}

impl Vault {
    /// Asks the system about a file; nothing if there is no file of that name, or something else.
    ///
    /// # Errors
    /// A symlink above it, or a file that the system does not tell about.
    pub fn stat(&self, path: &VaultPath) -> Result<Option<FileStat>, VaultError> {
        match self.dirs().look(path) {
            Ok(found) => Ok(found.filter(|found| found.kind == Kind::File).map(|found| found.stat)),
            Err(VaultError::NameTaken { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a whole file: [`write_all`](Self::write_all) for one.
    ///
    /// # Errors
    /// See [`VaultError`]; the file that stood there is untouched.
    pub fn write(
        &self,
        path: &VaultPath,
        bytes: &[u8],
        expect: Expect,
    ) -> Result<Written, VaultError> {
        let jobs = [WriteJob { path, bytes, expect }];
        let Ok(written) = self.write_all(&jobs, |_| Ok::<_, Infallible>(()));
        written.into_iter().next().unwrap_or(Ok(Written::Moved))
    }

    /// Whether the temporary file `temp` still waits for the place at `path`. Of a folder that is not there
    /// any more nobody can tell what became of it: it may have been renamed with all that is in it.
    ///
    /// # Errors
    /// A symlink above it, or a folder that the system does not tell about.
    pub fn waits(&self, path: &VaultPath, temp: &str) -> Result<bool, VaultError> {
        let Some(dir) = self.dirs().above(path)? else { return Ok(true) };
        let found =
            dir.look(temp).map_err(|error| VaultError::write(&path.under(self.root()), error))?;
        Ok(found.is_some())
    }

    /// Removes a file, and the folders above it that became empty.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn remove(&self, path: &VaultPath, expect: FileStat) -> Result<Removed, VaultError> {
        let target = path.under(self.root());
        let failed = |error| VaultError::write(&target, error);
        let dirs = self.dirs();
        let Some(dir) = dirs.above(path)? else { return Ok(Removed::Moved) };
        self.gate.pass(&target).map_err(failed)?;
        let found = dir.look(path.file_name()).map_err(failed)?;
        if !holds(&target, found.as_ref(), Expect::Is(expect))? {
            return Ok(Removed::Moved);
        }
        match dir.remove_file(path.file_name()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Removed::Moved),
            Err(error) => return Err(failed(error)),
        }
        self.prune(&dirs, path)?;
        Ok(Removed::Done)
    }

    /// Renames a file to a path where nothing stands.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn rename(
        &self,
        from: &VaultPath,
        to: &VaultPath,
        expect: FileStat,
    ) -> Result<Written, VaultError> {
        let (source, target) = (from.under(self.root()), to.under(self.root()));
        let failed = |error| VaultError::write(&target, error);
        let dirs = self.dirs();
        let Some(old) = dirs.above(from)? else { return Ok(Written::Moved) };
        self.gate.pass(&target).map_err(failed)?;
        let before =
            old.look(from.file_name()).map_err(|error| VaultError::write(&source, error))?;
        if !holds(&source, before.as_ref(), Expect::Is(expect))? {
            return Ok(Written::Moved);
        }
        let mut changed = BTreeSet::new();
        let folder = to.parent().unwrap_or_default();
        let new = dirs.make(folder, &mut changed)?;
        let there = new.look(to.file_name()).map_err(failed)?;
        // On a disk that does not see case, the new name leads to the file itself.
        let same_file = there
            .as_ref()
            .is_some_and(|there| from.key() == to.key() && there.stat.inode == expect.inode);
        if !same_file && !holds(&target, there.as_ref(), Expect::Absent)? {
            return Ok(Written::Moved);
        }
        let moved = if same_file {
            old.rename(from.file_name(), &new, to.file_name()).map(|()| true)
        } else {
            old.rename_new(from.file_name(), &new, to.file_name())
        };
        if !moved.map_err(failed)? {
            return Ok(Written::Moved);
        }
        changed.insert(folder.to_owned());
        changed.iter().try_for_each(|folder| self.sync_names(&dirs, folder))?;
        let now = new.look(to.file_name()).map_err(failed)?.map(|now| now.stat);
        self.prune(&dirs, from)?;
        // Of a file that somebody writes into already the older answer makes the next scan look.
        Ok(Written::Done(now.filter(|now| now.same_content(&expect)).unwrap_or(expect)))
    }

    /// Removes temporary files that an interrupted write left, and tells how many there were.
    ///
    /// Only for the process that holds the vault's lock: it cannot tell another's from its own.
    ///
    /// # Errors
    /// A file that cannot be removed. Folders that cannot be read are passed over.
    pub fn clean_temps(&self) -> Result<usize, VaultError> {
        let mut walk = WalkBuilder::new(self.root());
        walk.standard_filters(false);
        walk.filter_entry(|entry| !is_reserved(&entry.file_name().to_string_lossy()));
        let dirs = self.dirs();
        let mut removed = 0;
        for entry in walk.build().flatten() {
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            let Some(name) = entry.file_name().to_str().filter(|_| is_file) else { continue };
            if !name.starts_with(TEMP_PREFIX) {
                continue;
            }
            let above = entry.path().parent().and_then(|above| self.folder_name(above));
            // A folder that is none any more has nothing of ours in it.
            let Some(Ok(Some(dir))) = above.map(|above| dirs.get(&above)) else { continue };
            match dir.remove_file(name) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => {
                    done.map_err(|error| VaultError::write(entry.path(), error))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// The folders of this vault.
    pub(super) fn dirs(&self) -> Dirs<'_> {
        Dirs::new(self.root())
    }

    /// What a folder is called in the vault; nothing if larder would not make one of that name.
    fn folder_name(&self, folder: &Path) -> Option<String> {
        let inside = folder.strip_prefix(self.root()).ok()?;
        let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
        Some(parts?.join("/"))
    }

    fn sync_names(&self, dirs: &Dirs<'_>, folder: &str) -> Result<(), VaultError> {
        dirs.sync(folder).map_err(|error| VaultError::write(&self.root().join(folder), error))
    }

    /// Removes the folders above a file that have become empty, never the vault's own.
    fn prune(&self, dirs: &Dirs<'_>, path: &VaultPath) -> Result<(), VaultError> {
        let mut folder = path.parent().unwrap_or_default();
        while !folder.is_empty() {
            let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            // It fails unless the folder is empty, which is the check.
            match dirs.get(above) {
                Ok(Some(dir)) if dir.remove_folder(name).is_ok() => folder = above,
                _ => break,
            }
        }
        self.sync_names(dirs, folder)
    }
}

/// Tells whether what stands at a path is what is expected.
fn holds(path: &Path, found: Option<&Entry>, expect: Expect) -> Result<bool, VaultError> {
    match (found, expect) {
        (Some(found), _) if found.kind != Kind::File => {
            let taken = match found.kind {
                Kind::Folder => "a folder",
                Kind::Symlink => "a symbolic link",
                _ => "a pipe, a socket or a device",
            };
            Err(VaultError::NameTaken { path: path.to_owned(), taken })
        }
        (None, Expect::Absent) => Ok(true),
        (Some(_), Expect::Is(_)) if mutant::is(Mutant::WritesBlindly) => Ok(true),
        (Some(found), Expect::Is(stat)) => Ok(found.stat.same_content(&stat)),
        _ => Ok(false),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
