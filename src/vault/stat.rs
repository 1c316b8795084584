//! What the system says about a file.

use std::fs::Metadata;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What tells whether a file was touched since it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// When the content changed, in ns since 1970.
    pub mtime_ns: i64,
    /// When anything about the file changed, in ns since 1970; 0 where the system does not tell.
    pub ctime_ns: i64,
    /// The number of the file in its file system; 0 where the system does not tell.
    pub inode: u64,
}

impl FileStat {
    /// Takes what matters from the system's answer.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let (ctime_ns, inode) = identity(metadata);
        let mtime_ns = metadata.modified().map_or(0, nanoseconds);
        Self {
            size: metadata.len(),
            mtime_ns,
            ctime_ns,
            inode,
        }
    }

    /// Tells whether two answers speak of the same content of the same file. The ctime is left out:
    /// a rename or a chmod moves it too.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.mtime_ns == other.mtime_ns && self.inode == other.inode
    }

    /// Tells when the file changed last, as far as programs cannot set it back.
    pub(super) fn changed_ns(&self) -> i64 {
        if self.ctime_ns == 0 {
            self.mtime_ns
        } else {
            self.ctime_ns
        }
    }
}

/// Tells when a file was made, in ns since 1970, where the system knows.
pub(super) fn born_ns(metadata: &Metadata) -> Option<i64> {
    metadata.created().ok().map(nanoseconds)
}

fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (i64, u64) {
    use std::os::unix::fs::MetadataExt;
    let ctime = metadata.ctime().saturating_mul(1_000_000_000);
    (ctime.saturating_add(metadata.ctime_nsec()), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (i64, u64) {
    (0, 0)
}
