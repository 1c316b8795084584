//! Writing, removing and renaming files of the user, never blindly.
//!
//! Whatever is done to a file is done only while the file is what the last scan saw, and in one step
//! that a crash cannot cut in two. `std` has no `openat`, so a parent folder that is swapped for a
//! symlink between the check and the rename is not noticed; nothing that comes from a remote can do
//! that.

mod adopt;
mod batch;
mod durable;

use crate::vault::stat::file_stat;
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use batch::WriteJob;
use durable::sync_folder;
use ignore::WalkBuilder;
use tempfile::TempPath;

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
    /// A file that the system does not tell about.
    pub fn stat(&self, path: &VaultPath) -> Result<Option<FileStat>, VaultError> {
        let found = lstat(&path.under(self.root()))?;
        Ok(found.filter(Metadata::is_file).map(|found| file_stat(&found)))
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
        let written = self.write_all(&[WriteJob { path, bytes, expect }]);
        written.into_iter().next().unwrap_or(Ok(Written::Moved))
    }

    /// Removes a file, and the folders above it that became empty.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn remove(&self, path: &VaultPath, expect: FileStat) -> Result<Removed, VaultError> {
        let target = path.under(self.root());
        self.check_parents(path)?;
        self.gate.pass(&target).map_err(|error| VaultError::write(&target, error))?;
        if !holds(&target, lstat(&target)?.as_ref(), Expect::Is(expect))? {
            return Ok(Removed::Moved);
        }
        match fs::remove_file(&target) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Removed::Moved),
            Err(error) => return Err(VaultError::write(&target, error)),
        }
        self.prune(path)?;
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
        self.check_parents(from)?;
        self.gate.pass(&target).map_err(|error| VaultError::write(&target, error))?;
        let before = lstat(&source)?;
        if !holds(&source, before.as_ref(), Expect::Is(expect))? {
            return Ok(Written::Moved);
        }
        let there = lstat(&target)?;
        // On a disk that does not see case, the new name leads to the file itself.
        let same_file = there
            .as_ref()
            .is_some_and(|there| from.key() == to.key() && file_stat(there).inode == expect.inode);
        if !same_file && !holds(&target, there.as_ref(), Expect::Absent)? {
            return Ok(Written::Moved);
        }
        let mut changed = BTreeSet::new();
        let folder = self.make_parents(to, &mut changed)?;
        changed.insert(folder);
        let file = File::open(&source).map_err(|error| VaultError::write(&source, error))?;
        let moved = if same_file {
            fs::rename(&source, &target).map(|()| true)
        } else {
            rename_new(&source, &target)
        };
        if !moved.map_err(|error| VaultError::write(&target, error))? {
            return Ok(Written::Moved);
        }
        for folder in changed {
            sync_folder(&folder).map_err(|error| VaultError::write(&folder, error))?;
        }
        let now = stat_of(&file, &target)?;
        self.prune(from)?;
        Ok(Written::Done(if now.same_content(&expect) { now } else { expect }))
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
        let mut removed = 0;
        for entry in walk.build().flatten() {
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            if is_file && entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
                fs::remove_file(entry.path())
                    .map_err(|error| VaultError::write(entry.path(), error))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Makes sure that no parent of a path is a symlink or a file; those that are missing stay so.
    pub(super) fn check_parents(&self, path: &VaultPath) -> Result<(), VaultError> {
        for folder in self.parents(path) {
            match lstat(&folder)? {
                None => return Ok(()),
                Some(found) => check_folder(&folder, &found)?,
            }
        }
        Ok(())
    }

    /// Makes the parents of a path, each in a real folder, and gives the last. Folders that got a
    /// new one are added to `changed`.
    fn make_parents(
        &self,
        path: &VaultPath,
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<PathBuf, VaultError> {
        let mut last = self.root().to_owned();
        for folder in self.parents(path) {
            if let Some(found) = lstat(&folder)? {
                check_folder(&folder, &found)?;
            } else {
                match fs::create_dir(&folder) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                        return Err(VaultError::write(&folder, error));
                    }
                    _ => changed.insert(last),
                };
                if let Some(found) = lstat(&folder)? {
                    check_folder(&folder, &found)?;
                }
            }
            last = folder;
        }
        Ok(last)
    }

    /// Gives the folders between the root and a file, the outermost first.
    fn parents(&self, path: &VaultPath) -> Vec<PathBuf> {
        let parts = path.parent().into_iter().flat_map(|parent| parent.split('/'));
        parts
            .scan(self.root().to_owned(), |folder, part| {
                folder.push(part);
                Some(folder.clone())
            })
            .collect()
    }

    fn prune(&self, path: &VaultPath) -> Result<(), VaultError> {
        let folders = self.parents(path);
        // It fails unless the folder is empty, which is the check.
        let rest = folders.iter().rev().find(|folder| fs::remove_dir(folder).is_err());
        let rest = rest.map_or(self.root(), PathBuf::as_path);
        sync_folder(rest).map_err(|error| VaultError::write(rest, error))
    }
}

/// Asks about what stands at a path itself; `None` if nothing does.
fn lstat(path: &Path) -> Result<Option<Metadata>, VaultError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(VaultError::write(path, error)),
    }
}

/// Tells whether what stands at a path is what is expected.
fn holds(path: &Path, found: Option<&Metadata>, expect: Expect) -> Result<bool, VaultError> {
    match (found, expect) {
        (Some(found), _) if found.is_dir() => {
            Err(VaultError::NameTaken { path: path.to_owned(), taken: "a folder" })
        }
        (None, Expect::Absent) => Ok(true),
        (Some(_), Expect::Is(_)) if mutant::is(Mutant::WritesBlindly) => Ok(true),
        (Some(found), Expect::Is(stat)) => {
            Ok(found.is_file() && file_stat(found).same_content(&stat))
        }
        _ => Ok(false),
    }
}

fn check_folder(path: &Path, found: &Metadata) -> Result<(), VaultError> {
    if found.is_symlink() {
        return Err(VaultError::Symlink { path: path.to_owned() });
    }
    if !found.is_dir() {
        return Err(VaultError::NameTaken { path: path.to_owned(), taken: "a file" });
    }
    Ok(())
}

fn stat_of(file: &File, path: &Path) -> Result<FileStat, VaultError> {
    let metadata = file.metadata().map_err(|error| VaultError::write(path, error))?;
    Ok(file_stat(&metadata))
}

/// Renames a file to a name that is free; false if it is not.
fn rename_new(source: &Path, target: &Path) -> io::Result<bool> {
    let mut path = TempPath::try_from_path(source)?;
    // The type is borrowed for its rename only: it must never delete the user's file.
    path.disable_cleanup(true);
    match path.persist_noclobber(target) {
        Ok(()) => Ok(true),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(_) if is_free(target) => fs::rename(source, target).map(|()| true),
        Err(failed) => Err(failed.error),
    }
}

fn is_free(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
