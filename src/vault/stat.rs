//! What the system says about a file.

use std::fs::Metadata;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::FileStat;

/// Takes what matters from the system's answer.
pub(super) fn file_stat(metadata: &Metadata) -> FileStat {
    let (ctime_ns, inode) = identity(metadata);
    let mtime_ns = metadata.modified().map_or(0, nanoseconds);
    FileStat { size: metadata.len(), mtime_ns, ctime_ns, inode }
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
