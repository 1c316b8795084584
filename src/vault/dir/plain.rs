//! A folder by its path, for systems without handles of folders. What is looked at may be another
//! file than what is then changed.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::{Entry, Kind};
use crate::vault::stat::file_stat;

/// A folder.
#[derive(Debug)]
pub(in crate::vault) struct Dir(PathBuf);

impl Dir {
    /// Takes the folder that everything else lies below.
    pub(in crate::vault) fn root(path: &Path) -> io::Result<Self> {
        check(&fs::symlink_metadata(path)?)?;
        Ok(Self(path.to_owned()))
    }

    /// Takes a folder of this one.
    pub(in crate::vault) fn open(&self, name: &str) -> io::Result<Self> {
        Self::root(&self.0.join(name))
    }

    /// Makes a folder.
    pub(in crate::vault) fn make(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    /// Asks what stands at a name itself.
    pub(in crate::vault) fn look(&self, name: &str) -> io::Result<Option<Entry>> {
        let found = match fs::symlink_metadata(self.0.join(name)) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kind = match found.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Symlink,
            _ => Kind::Other,
        };
        Ok(Some(Entry { kind, stat: file_stat(&found), permissions: found.permissions() }))
    }

    /// Opens a file for reading.
    pub(in crate::vault) fn open_file(&self, name: &str) -> io::Result<File> {
        open_file(&self.0.join(name))
    }

    /// Makes a file where nothing stands.
    pub(in crate::vault) fn create(&self, name: &str) -> io::Result<File> {
        File::create_new(self.0.join(name))
    }

    /// Opens a file for reading and writing, and makes it if it is missing.
    pub(in crate::vault) fn open_or_create(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).open(self.0.join(name))
    }

    /// Renames a file over whatever file has the name.
    pub(in crate::vault) fn rename(&self, from: &str, folder: &Self, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), folder.0.join(to))
    }

    /// Renames a file, and fails if the name is taken.
    pub(super) fn rename_noreplace(&self, from: &str, folder: &Self, to: &str) -> io::Result<()> {
        let mut path = TempPath::try_from_path(self.0.join(from))?;
        // The type is borrowed for its rename only: it must never delete the user's file.
        path.disable_cleanup(true);
        Ok(path.persist_noclobber(folder.0.join(to))?)
    }

    /// Removes a file, or a symlink itself.
    pub(in crate::vault) fn remove_file(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    /// Removes a folder, which must be empty.
    pub(in crate::vault) fn remove_folder(&self, name: &str) -> io::Result<()> {
        fs::remove_dir(self.0.join(name))
    }

    /// Gives the names in this folder.
    pub(in crate::vault) fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.0)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    /// There is nothing to be done for names.
    #[allow(clippy::unused_self, reason = "elsewhere there is")]
    pub(in crate::vault) const fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file for reading.
pub(in crate::vault) fn open_file(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Tells whether a call failed because it met a symlink or a file where a folder should be.
pub(in crate::vault) fn is_link(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotADirectory
}

fn check(found: &Metadata) -> io::Result<()> {
    // A symlink is no folder either.
    if found.is_dir() { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) }
}
