//! Where a thread of the walk is.

use std::ffi::OsStr;
use std::ops::Range;

use ignore::DirEntry;

use crate::model::{Books, FileStat};

/// The folder that a thread is in. The files of a folder come one after the other, so what is the
/// same for all of them is found out once.
#[derive(Default)]
pub(super) struct Folder {
    /// Its path in the vault with a slash at the end, or nothing for the root.
    prefix: Option<String>,
    /// The places of its files, and of those below it, in the books.
    places: Range<usize>,
    #[cfg(target_os = "linux")]
    handle: Option<std::fs::File>,
}

impl Folder {
    /// Finds a file in the books, and moves to its folder.
    pub(super) fn find(&mut self, books: &Books, path: &str) -> Option<usize> {
        let prefix = path.rfind('/').and_then(|end| path.get(..=end)).unwrap_or_default();
        if self.prefix.as_deref() != Some(prefix) {
            let (prefix, places) = (Some(prefix.to_owned()), books.below(prefix));
            *self = Self { prefix, places, ..Self::default() };
        }
        books.find_in(self.places.clone(), path)
    }

    /// Asks the system about a file of this folder. By its name alone: the way from the root of the
    /// file system takes as long as the answer.
    #[cfg(target_os = "linux")]
    pub(super) fn stat(&mut self, entry: &DirEntry) -> Option<FileStat> {
        use rustix::fs::{AtFlags, statat};
        if self.handle.is_none() {
            self.handle = std::fs::File::open(entry.path().parent()?).ok();
        }
        let found = statat(self.handle.as_ref()?, name(entry), AtFlags::SYMLINK_NOFOLLOW);
        found.ok().map(|found| crate::vault::stat::raw_stat(&found))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn stat(&mut self, entry: &DirEntry) -> Option<FileStat> {
        entry.metadata().ok().map(|metadata| crate::vault::stat::file_stat(&metadata))
    }
}

/// The name of what the walk met. By bytes: this runs for every file, and `file_name` takes the path
/// apart by the rules.
#[cfg(unix)]
pub(super) fn name(entry: &DirEntry) -> &OsStr {
    use std::os::unix::ffi::OsStrExt;
    let path = entry.path().as_os_str().as_bytes();
    OsStr::from_bytes(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
}

#[cfg(not(unix))]
pub(super) fn name(entry: &DirEntry) -> &OsStr {
    entry.file_name()
}
