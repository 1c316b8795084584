//! Making bytes and names survive a loss of power, many at once where the system can.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The file systems of some folders, where one call makes all that was written to them durable.
pub(super) struct Systems(Vec<File>);

impl Systems {
    /// Opens the file systems of these folders; nothing unless all of them are known to keep what
    /// such a call promises. A network folder or one of FUSE sends what it holds and waits for
    /// nobody: there each file has to be asked for.
    #[cfg(target_os = "linux")]
    pub(super) fn of<'f>(folders: impl Iterator<Item = &'f Path>) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        /// As `f_type` of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, tmpfs.
        const LOCAL: [u32; 6] =
            [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0xCA45_1A4E, 0x0102_1994];
        let (mut devices, mut open) = (BTreeSet::new(), Vec::new());
        for folder in folders {
            if devices.insert(folder.metadata().ok()?.dev()) {
                let folder = File::open(folder).ok()?;
                let kind = u32::try_from(rustix::fs::fstatfs(&folder).ok()?.f_type).ok()?;
                LOCAL.contains(&kind).then(|| open.push(folder))?;
            }
        }
        Some(Self(open))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn of<'f>(_: impl Iterator<Item = &'f Path>) -> Option<Self> {
        None
    }

    /// Makes everything durable that was written to these file systems, by whomever.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        for folder in &self.0 {
            rustix::fs::syncfs(folder)?;
        }
        Ok(())
    }
}

/// Makes the names in a folder survive a loss of power.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some network file systems cannot, and a folder may have been removed meanwhile.
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::NotFound
            ) =>
        {
            return Err(error);
        }
        _ => {}
    }
    Ok(())
}
