//! Reading one file as text.

use crate::vault::stat::file_stat;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::{MAX_TEXT_BYTES, SkipReason};
use crate::model::{ContentHash, FileStat};

/// How often a file that changes while it is read is tried.
const TRIES: usize = 3;

/// A file as it was at one moment.
pub(super) struct Reading {
    pub(super) stat: FileStat,
    pub(super) born_ns: Option<i64>,
    pub(super) sha256: ContentHash,
    /// The content, unless there was no room to keep it.
    pub(super) text: Option<String>,
}

/// Reads a file; `Ok(None)` if it is gone.
///
/// # Errors
/// Why it is not read in this turn.
pub(super) fn read(path: &Path) -> Result<Option<Reading>, SkipReason> {
    read_with(path, |_| {})
}

/// As [`read`]; between the look at a file and the reading of it, `meanwhile` gets its turn.
pub(super) fn read_with(
    path: &Path,
    mut meanwhile: impl FnMut(usize),
) -> Result<Option<Reading>, SkipReason> {
    for attempt in 0..TRIES {
        let before = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SkipReason::Unreadable(error.to_string())),
        };
        if before.is_symlink() {
            return Err(SkipReason::Symlink);
        }
        if !before.is_file() {
            return Err(SkipReason::NotAFile);
        }
        let stat = file_stat(&before);
        if stat.size > MAX_TEXT_BYTES {
            return Err(SkipReason::TooLarge);
        }
        meanwhile(attempt);
        let (bytes, opened) = match read_bytes(path) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(SkipReason::Unreadable(error.to_string())),
        };
        // The handle must be the file that was looked at, and neither may have moved since.
        let after = fs::symlink_metadata(path).map(|metadata| file_stat(&metadata));
        if opened != stat || after.ok() != Some(stat) {
            continue;
        }
        let sha256 = ContentHash::of(&bytes);
        if bytes.contains(&0) {
            return Err(SkipReason::Binary);
        }
        let text = String::from_utf8(bytes).map_err(|_| SkipReason::Binary)?;
        let born_ns = crate::vault::stat::born_ns(&before);
        return Ok(Some(Reading { stat, born_ns, sha256, text: Some(text) }));
    }
    Err(SkipReason::Busy)
}

fn read_bytes(path: &Path) -> std::io::Result<(Vec<u8>, FileStat)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    let stat = file_stat(&file.metadata()?);
    Ok((bytes, stat))
}
