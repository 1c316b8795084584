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

/// Takes the same from an answer that did not come through `std`.
#[cfg(unix)]
pub(super) fn raw_stat(found: &rustix::fs::Stat) -> FileStat {
    let nanoseconds =
        |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    let part = |part| i64::try_from(part).unwrap_or(0);
    #[allow(clippy::useless_conversion, reason = "the types are others on other processors")]
    FileStat {
        size: u64::try_from(found.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(found.st_mtime.into(), part(found.st_mtime_nsec)),
        ctime_ns: nanoseconds(found.st_ctime.into(), part(found.st_ctime_nsec)),
        inode: found.st_ino.into(),
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

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, UNIX_EPOCH};

    use super::{file_stat, raw_stat};

    #[test]
    fn both_ways_to_ask_give_the_same_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = File::create(&path).unwrap();
        let (long, odd) = (Duration::from_secs(99), Duration::from_nanos(123_456_789));
        let times =
            [UNIX_EPOCH, UNIX_EPOCH + long, UNIX_EPOCH + odd, UNIX_EPOCH - odd, UNIX_EPOCH - long];
        for time in times {
            file.set_modified(time).unwrap();
            let found = rustix::fs::stat(&path).unwrap();
            assert_eq!(raw_stat(&found), file_stat(&fs::metadata(&path).unwrap()), "{time:?}");
        }
    }
}
