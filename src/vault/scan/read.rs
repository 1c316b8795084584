//! Reading one file.

use crate::vault::dir::{is_link, open_file};
use crate::vault::stat::file_stat;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{FileKind, MAX_TEXT_BYTES, SkipReason};
use crate::model::{ContentHash, FileStat};

/// How often a file that changes while it is read is tried.
const TRIES: usize = 3;
/// How much of a large file is in memory at a time.
const PIECE_BYTES: usize = 128 << 10;

/// A file as it was at one moment.
pub(super) struct Reading {
    pub(super) kind: FileKind,
    pub(super) stat: FileStat,
    pub(super) born_ns: Option<i64>,
    pub(super) sha256: ContentHash,
    /// The content of a text, unless there was no room to keep it.
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
        meanwhile(attempt);
        let (content, opened) = match read_content(path, stat.size) {
            Ok(read) => read,
            // A symlink in the file's place, or above it: what is behind that is none of the vault.
            Err(error) if error.kind() == ErrorKind::NotFound || is_link(&error) => continue,
            Err(error) => return Err(SkipReason::Unreadable(error.to_string())),
        };
        // The handle must be the file that was looked at, and neither may have moved since.
        let after = fs::symlink_metadata(path).map(|metadata| file_stat(&metadata));
        if opened != stat || after.ok() != Some(stat) {
            continue;
        }
        let born_ns = crate::vault::stat::born_ns(&before);
        let Content { kind, sha256, text } = content;
        return Ok(Some(Reading { kind, stat, born_ns, sha256, text }));
    }
    Err(SkipReason::Busy)
}

struct Content {
    kind: FileKind,
    sha256: ContentHash,
    text: Option<String>,
}

/// Reads a file of about this size, and looks at it again through the same handle.
fn read_content(path: &Path, size: u64) -> io::Result<(Content, FileStat)> {
    let mut file = open_file(path)?;
    let content = if size > MAX_TEXT_BYTES {
        let sha256 = hash(&mut file, size)?;
        Content { kind: FileKind::Blob, sha256, text: None }
    } else {
        let mut bytes = Vec::new();
        (&mut file).take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
        let sha256 = ContentHash::of(&bytes);
        let text = if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() };
        let kind = if text.is_some() { FileKind::Text } else { FileKind::Blob };
        Content { kind, sha256, text }
    };
    Ok((content, file_stat(&file.metadata()?)))
}

/// Hashes a file piece by piece; no more of it than was there at first, or one that grows as fast
/// as it is read would have no end.
fn hash(file: &mut File, size: u64) -> io::Result<ContentHash> {
    let mut file = file.take(size);
    let mut piece = vec![0; PIECE_BYTES];
    let mut hasher = Sha256::new();
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(ContentHash::from_bytes(hasher.finalize().into())),
            Ok(read) => hasher.update(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
