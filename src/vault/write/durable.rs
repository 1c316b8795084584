//! Making bytes and names survive a loss of power, many at once where the system can.

use std::io;
use std::sync::Arc;

use crate::vault::dir::Dir;

/// The file systems of some folders, where one call makes all that was written to them durable.
pub(super) struct Systems(Vec<Arc<Dir>>);

impl Systems {
    /// Finds the file systems of these folders; nothing unless all of them are known to keep what
    /// such a call promises. A network folder or one of FUSE sends what it holds and waits for
    /// nobody: there each file has to be asked for.
    #[cfg(target_os = "linux")]
    pub(super) fn of(folders: impl Iterator<Item = Option<Arc<Dir>>>) -> Option<Self> {
        /// As `f_type` of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, tmpfs.
        const LOCAL: [u32; 6] =
            [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0xCA45_1A4E, 0x0102_1994];
        let (mut devices, mut systems) = (std::collections::BTreeSet::new(), Vec::new());
        for folder in folders {
            let folder = folder?;
            if devices.insert(folder.device().ok()?) {
                let kind = rustix::fs::fstatfs(folder.handle()).ok()?.f_type;
                LOCAL.contains(&u32::try_from(kind).ok()?).then(|| systems.push(folder))?;
            }
        }
        Some(Self(systems))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_: impl Iterator<Item = Option<Arc<Dir>>>) -> Option<Self> {
        None
    }

    /// Makes everything durable that was written to these file systems, by whomever.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        for folder in &self.0 {
            rustix::fs::syncfs(folder.handle())?;
        }
        Ok(())
    }
}
