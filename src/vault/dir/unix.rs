//! An open folder, by its handle.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Entry, Kind};
use crate::vault::stat::raw_stat;

/// An open folder.
#[derive(Debug)]
pub(in crate::vault) struct Dir(File);

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Of a pipe that has taken a file's place nobody waits for the other end.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const NEW: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens the folder that everything else lies below.
    pub(in crate::vault) fn root(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, FOLDER, Mode::empty())?.into()))
    }

    /// Opens a folder of this one.
    pub(in crate::vault) fn open(&self, name: &str) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(&self.0, name, FOLDER, Mode::empty())?.into()))
    }

    /// Makes a folder.
    pub(in crate::vault) fn make(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o777))?)
    }

    /// Asks what stands at a name itself.
    pub(in crate::vault) fn look(&self, name: &str) -> io::Result<Option<Entry>> {
        let found = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        #[allow(clippy::useless_conversion, reason = "the type is another on other systems")]
        let permissions = Permissions::from_mode(found.st_mode.into());
        Ok(Some(Entry { kind, stat: raw_stat(&found), permissions }))
    }

    /// Opens a file for reading.
    pub(in crate::vault) fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = READ | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Makes a file where nothing stands, with the mode that new files usually have.
    pub(in crate::vault) fn create(&self, name: &str) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o666);
        Ok(rustix::fs::openat(&self.0, name, NEW | OFlags::EXCL, mode)?.into())
    }

    /// Opens a file for reading and writing, and makes it if it is missing.
    pub(in crate::vault) fn open_or_create(&self, name: &str) -> io::Result<File> {
        let flags = NEW.difference(OFlags::WRONLY) | OFlags::RDWR | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Renames a file over whatever file has the name.
    pub(in crate::vault) fn rename(&self, from: &str, folder: &Self, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &folder.0, to)?)
    }

    /// Renames a file, and fails if the name is taken.
    pub(super) fn rename_noreplace(&self, from: &str, folder: &Self, to: &str) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(&self.0, from, &folder.0, to, RenameFlags::NOREPLACE) {
                // The system or the disk does not know that.
                Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
                renamed => return Ok(renamed?),
            }
        }
        rustix::fs::linkat(&self.0, from, &folder.0, to, AtFlags::empty())?;
        // The file has its new name, so this has worked, even if it keeps the old one too.
        self.remove_file(from).ok();
        Ok(())
    }

    /// Removes a file, or a symlink itself.
    pub(in crate::vault) fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes a folder, which must be empty.
    pub(in crate::vault) fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Gives the names in this folder.
    pub(in crate::vault) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Makes the names in this folder survive a loss of power.
    pub(in crate::vault) fn sync(&self) -> io::Result<()> {
        match self.0.sync_all() {
            // Some network file systems cannot.
            Err(error)
                if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) =>
            {
                Ok(())
            }
            synced => synced,
        }
    }

    /// Which file system this folder lies on.
    #[cfg(target_os = "linux")]
    pub(in crate::vault) fn device(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.0)?.st_dev)
    }

    /// Gives the handle.
    #[cfg(target_os = "linux")]
    pub(in crate::vault) fn handle(&self) -> &File {
        &self.0
    }
}

/// Opens a file for reading by a path that leads through no symlink.
pub(in crate::vault) fn open_file(path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, ResolveFlags, openat2};
        match openat2(CWD, path, READ, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // Linux before 5.6, or a container that forbids what it does not know.
            Err(Errno::NOSYS | Errno::PERM) => {}
            opened => return Ok(opened?.into()),
        }
    }
    #[cfg(target_vendor = "apple")]
    return Ok(rustix::fs::open(path, READ | OFlags::NOFOLLOW_ANY, Mode::empty())?.into());
    #[cfg(not(target_vendor = "apple"))]
    open_file_stepwise(path)
}

/// As [`open_file`], one folder after the other.
#[cfg(any(not(target_vendor = "apple"), test))]
pub(super) fn open_file_stepwise(path: &Path) -> io::Result<File> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const STEP: OFlags = FOLDER.union(OFlags::PATH);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const STEP: OFlags = FOLDER;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let mut folder = rustix::fs::open("/", STEP, Mode::empty())?;
    for part in path.parent().into_iter().flatten().skip(1) {
        folder = rustix::fs::openat(&folder, part, STEP, Mode::empty())?;
    }
    let flags = READ | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(&folder, name, flags, Mode::empty())?.into())
}

/// Tells whether a call failed because it met a symlink where a file or a folder should be, or may
/// have.
pub(in crate::vault) fn is_link(error: &io::Error) -> bool {
    // Systems differ in what they say of a symlink.
    matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR | Errno::MLINK))
}
