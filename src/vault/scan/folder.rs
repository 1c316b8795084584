//! A folder while it is listed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::rules::Rules;
use crate::model::FileStat;

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Symlink,
    Other,
    /// The listing does not say.
    Unknown,
}

/// A folder that is open. The files of a folder come one after the other, so what is the same for
/// all of them is found out once.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Its path in the vault with a slash at the end, or nothing for the root; `None` if that is no
    /// UTF-8.
    pub(super) prefix: Option<String>,
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) listing: Listing,
}

impl Folder {
    /// Writes the path in the vault of what lies here; `None` if it is no UTF-8.
    pub(super) fn write_path<'p>(&self, name: &OsStr, path: &'p mut String) -> Option<&'p str> {
        let (prefix, name) = (self.prefix.as_ref()?, name.to_str()?);
        path.clear();
        path.push_str(prefix);
        path.push_str(name);
        Some(path)
    }
}

/// A name that was met in a folder.
pub(super) struct Entry<'f> {
    pub(super) folder: &'f Folder,
    pub(super) name: &'f OsStr,
    pub(super) kind: Kind,
}

impl Entry<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(self.name)
    }

    pub(super) fn stat(&self) -> Option<FileStat> {
        self.folder.listing.stat(&self.folder.path, self.name)
    }

    /// Asks the system for the kind if the listing did not say it.
    pub(super) fn with_kind(mut self) -> io::Result<Self> {
        if self.kind == Kind::Unknown {
            self.kind = std::fs::symlink_metadata(self.path())?.file_type().into();
        }
        Ok(self)
    }
}

impl From<std::fs::FileType> for Kind {
    fn from(kind: std::fs::FileType) -> Self {
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Folder,
            kind if kind.is_symlink() => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// Names that were listed together. Their memory is used again for the next ones: a known file takes
/// none of its own.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<(OsString, Kind)>,
    used: usize,
    #[cfg(target_os = "linux")]
    raw: Vec<u8>,
}

impl Names {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsStr, Kind)> {
        self.names.iter().take(self.used).map(|(name, kind)| (name.as_os_str(), *kind))
    }

    fn add(&mut self, name: &OsStr, kind: Kind) {
        match self.names.get_mut(self.used) {
            Some(old) => {
                old.0.clear();
                old.0.push(name);
                old.1 = kind;
            }
            None => self.names.push((name.to_owned(), kind)),
        }
        self.used += 1;
    }
}

pub(super) use system::Listing;

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::OsStr;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, open, statat};
    use rustix::io::retry_on_intr;

    use super::{Kind, Names};
    use crate::model::FileStat;
    use crate::vault::stat::raw_stat;

    /// How much of a folder is listed at a time: some hundred names.
    const LISTED_BYTES: usize = 32 << 10;

    /// What the system holds of an open folder, and how far it is listed.
    pub(in super::super) struct Listing(OwnedFd);

    impl Listing {
        pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(Self(retry_on_intr(|| open(path, flags, Mode::empty()))?))
        }

        /// Lists the next names in the place of those before; false if there are no more.
        pub(in super::super) fn next(&self, names: &mut Names) -> io::Result<bool> {
            let mut raw = std::mem::take(&mut names.raw);
            raw.reserve(LISTED_BYTES);
            let mut listed = RawDir::new(&self.0, raw.spare_capacity_mut());
            names.used = 0;
            let mut is_any = false;
            while !(is_any && listed.is_buffer_empty()) {
                let Some(entry) = listed.next() else { break };
                let entry = entry?;
                is_any = true;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.add(OsStr::from_bytes(name), entry.file_type().into());
                }
            }
            names.raw = raw;
            Ok(is_any)
        }

        /// Asks the system about a file of this folder. By its name alone: the way from the root of
        /// the file system takes as long as the answer.
        pub(in super::super) fn stat(&self, _: &Path, name: &OsStr) -> Option<FileStat> {
            let found = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
            found.ok().map(|found| raw_stat(&found))
        }
    }

    impl From<FileType> for Kind {
        fn from(kind: FileType) -> Self {
            match kind {
                FileType::RegularFile => Self::File,
                FileType::Directory => Self::Folder,
                FileType::Symlink => Self::Symlink,
                FileType::Unknown => Self::Unknown,
                _ => Self::Other,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::OsStr;
    use std::fs::{self, ReadDir};
    use std::io;
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    use super::{Kind, Names};
    use crate::model::FileStat;
    use crate::vault::stat::file_stat;

    /// How many names are listed at a time.
    const LISTED: usize = 500;

    /// What the system holds of an open folder, and how far it is listed.
    pub(in super::super) struct Listing(Mutex<ReadDir>);

    impl Listing {
        pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
            fs::read_dir(path).map(Mutex::new).map(Self)
        }

        /// Lists the next names in the place of those before; false if there are no more.
        pub(in super::super) fn next(&self, names: &mut Names) -> io::Result<bool> {
            let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            names.used = 0;
            for entry in listed.by_ref().take(LISTED) {
                let entry = entry?;
                let kind = entry.file_type().map_or(Kind::Unknown, Kind::from);
                names.add(&entry.file_name(), kind);
            }
            Ok(names.used > 0)
        }

        pub(in super::super) fn stat(&self, folder: &Path, name: &OsStr) -> Option<FileStat> {
            fs::symlink_metadata(folder.join(name)).ok().map(|metadata| file_stat(&metadata))
        }
    }
}
