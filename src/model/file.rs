//! What is remembered of a file on the disk.

use serde::{Deserialize, Serialize};

/// What tells whether a file was touched since it was read.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
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
    /// Tells whether two answers speak of the same content of the same file. The ctime is left out:
    /// a rename or a chmod moves it too.
    pub fn same_content(&self, other: &Self) -> bool {
        self.size == other.size && self.mtime_ns == other.mtime_ns && self.inode == other.inode
    }

    /// Tells when the file changed last, as far as programs cannot set it back.
    pub fn changed_ns(&self) -> i64 {
        if self.ctime_ns == 0 { self.mtime_ns } else { self.ctime_ns }
    }
}

/// What is remembered of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// As of the last scan or write.
    pub stat: FileStat,
    /// SHA-256 of the content, 64 lower-case hex digits.
    pub sha256: String,
}
