//! What is remembered of a file on the disk.

use serde::{Deserialize, Serialize};

/// What the file system says of a file, to tell whether it moved since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileStat {
    /// Its length in bytes.
    pub size: u64,
    /// When its content changed last, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about it changed last, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Its inode.
    pub inode: u64,
}

/// A file that was read or written before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// What the file system said of it then.
    pub stat: FileStat,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}
