//! What changed in the vault's folder since the last look.

mod folder;
mod litter;
mod queue;
mod read;
mod rename;
mod rules;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::dir::Kind;
use super::{Vault, VaultError};
use crate::model::{
    BadPath, BookedFile, Books, ContentHash, FileStat, KnownFile, VaultPath,
    limits::BRAKE_FILES_MIN,
};
use read::Reading;
use rename::{New, Vanished};
use walk::{Found, Room, Walk};

/// The file, in any folder, that says what is not synced, in gitignore's syntax.
pub const IGNORE_FILE: &str = ".larderignore";
/// The most bytes of a text.
pub const MAX_TEXT_BYTES: u64 = 1 << 20;
/// How close to the last scan a file must have changed to be read again whatever its stat says, as
/// in git's index: clocks of disks are coarse.
const RACY_MS: i64 = 2000;

/// What a file is, by its content alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// UTF-8 without NUL, of 1 MiB at most.
    Text,
    /// Anything else. It is never held in memory as a whole.
    Blob,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Where it lies.
    pub path: VaultPath,
    /// What it is.
    pub kind: FileKind,
    /// What the system said while it was read.
    pub stat: FileStat,
    /// The hash of the content.
    pub sha256: ContentHash,
    /// The content of a text, if the scan had room to keep it; [`Vault::load`] gives it in any case.
    pub text: Option<String>,
}

/// A file that has a new path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Where it was.
    pub from: VaultPath,
    /// Where and what it is.
    pub file: ScannedFile,
    /// Whether the content is what is known of the old path. If not, the file was edited too, and
    /// its number in the file system is what tells that it is the same.
    pub same_content: bool,
}

/// Something in the folder that is not synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path in the vault, with what is no UTF-8 replaced.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a file is not synced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Symlinks are not followed.
    #[error("it is a symlink")]
    Symlink,
    /// A blob: not UTF-8, or NUL in it. A scan reports it as a file; who takes texts only skips it.
    #[error("it is not text")]
    Binary,
    /// A blob over 1 MiB, likewise.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// A name that not every device can hold.
    #[error("its name cannot be used on every device: {0}")]
    BadName(BadPath),
    /// The system does not let us; of a folder, everything below it is meant.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A pipe, a socket, a device.
    #[error("it is neither a file nor a folder")]
    NotAFile,
    /// A line of an ignore file makes no sense; the other lines hold.
    #[error("a line of it was not understood: {0}")]
    BadIgnoreFile(String),
    /// It changed each time it was read; the next turn tries again.
    #[error("it changed while it was read")]
    Busy,
}

/// What a scan found; every list is sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Files at paths that are not known.
    pub new: Vec<ScannedFile>,
    /// Known files with other content.
    pub changed: Vec<ScannedFile>,
    /// Known files with the same content and another stat.
    pub touched: Vec<(VaultPath, FileStat)>,
    /// Known files at a new path.
    pub renamed: Vec<Renamed>,
    /// Known files that are gone.
    pub vanished: Vec<VaultPath>,
    /// Known files that are still there, and that an ignore file now excludes: not gone, and not
    /// looked at any more.
    pub ignored: Vec<VaultPath>,
    /// What is there and not synced.
    pub skipped: Vec<Skipped>,
    /// How many files were known before.
    pub known_count: usize,
}

/// A scan that found suspiciously much gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// How many known files are gone.
    pub gone: usize,
    /// How many were known.
    pub known: usize,
}

impl Vault {
    /// Looks what changed since the last scan.
    ///
    /// `last_scan_ms` is when that one began, in ms since 1970 by the clock that stamps files: what
    /// changed after that, or up to 2 s before it, is read again whatever its stat says.
    ///
    /// Of what was read, texts are kept as long as they take no more than `keep_bytes` together.
    ///
    /// # Errors
    /// The vault's folder itself cannot be read. Anything below is reported in the scan.
    pub fn scan(
        &self,
        books: &Books,
        last_scan_ms: i64,
        keep_bytes: usize,
    ) -> Result<Scan, VaultError> {
        let racy_from_ns = last_scan_ms.saturating_sub(RACY_MS).saturating_mul(1_000_000);
        let room = Room::new(keep_bytes);
        let (found, seen) = Walk::new(self.root(), books, racy_from_ns, &room).run()?;
        let Found { read, skipped, .. } = found;
        let mut scan = Scan { known_count: books.len(), ..Scan::default() };
        let mut new = New::new();
        for (path, reading) in read {
            match books.get(path.as_str()).map(|file| file.known) {
                None => drop(new.insert(path, reading)),
                Some(before) if before.sha256 != reading.sha256 => {
                    scan.changed.push(ScannedFile::new(path, reading));
                }
                Some(before) if before.stat != reading.stat => {
                    scan.touched.push((path, reading.stat));
                }
                Some(_) => {}
            }
        }
        scan.skipped = skipped.into_iter().map(|(path, reason)| Skipped { path, reason }).collect();
        let unseen = books.iter().zip(seen).filter(|(_, seen)| !seen).map(|(file, _)| file);
        let mut vanished = self.vanished(unseen, &new, &mut scan);
        scan.renamed = rename::pair(&mut vanished, &mut new);
        scan.vanished = vanished.into_keys().collect();
        scan.new = new.into_iter().map(|(path, reading)| ScannedFile::new(path, reading)).collect();
        scan.changed.sort_by(|a, b| a.path.cmp(&b.path));
        scan.touched.sort();
        scan.ignored.sort();
        scan.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(scan)
    }

    /// Reads one file as a scan would; `None` if it is not there.
    ///
    /// # Errors
    /// Why a scan would skip it.
    pub fn read(&self, path: &VaultPath) -> Result<Option<ScannedFile>, SkipReason> {
        match self.dirs().above(path) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(VaultError::Symlink { .. }) => return Err(SkipReason::Symlink),
            Err(VaultError::NameTaken { .. }) => return Ok(None),
            Err(error) => return Err(SkipReason::Unreadable(error.to_string())),
        }
        let reading = read::read(&path.under(self.root()))?;
        Ok(reading.map(|reading| ScannedFile::new(path.clone(), reading)))
    }

    /// Gives the text of a file that a scan found, which may have had no room to keep it; `None` if
    /// the file no longer holds that and waits for the next scan, or was no text then.
    ///
    /// # Errors
    /// Why a scan would skip the file now.
    pub fn load(&self, file: &ScannedFile) -> Result<Option<String>, SkipReason> {
        if file.text.is_some() || file.kind == FileKind::Blob {
            return Ok(file.text.clone());
        }
        let now = self.read(&file.path)?.filter(|now| now.sha256 == file.sha256);
        Ok(now.and_then(|now| now.text))
    }

    /// Tells which of the files that the walk did not meet are gone. Those that it skipped, or
    /// could not get at, or was told to ignore, are not.
    fn vanished<'b>(
        &self,
        unseen: impl Iterator<Item = BookedFile<'b>>,
        new: &New,
        scan: &mut Scan,
    ) -> Vanished {
        let skipped: BTreeSet<String> = scan.skipped.iter().map(|item| item.path.clone()).collect();
        let mut twins: Option<BTreeMap<String, u64>> = None;
        let (dirs, mut vanished) = (self.dirs(), Vanished::new());
        for file in unseen {
            let text = file.path_str();
            let ends = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
            if ends.filter_map(|end| text.get(..end)).any(|above| skipped.contains(above)) {
                continue;
            }
            let (path, known) = (file.path(), *file.known);
            match dirs.look(&path) {
                Ok(None) | Err(VaultError::NameTaken { .. }) => drop(vanished.insert(path, known)),
                Err(VaultError::Symlink { .. }) => scan.skip(&path, SkipReason::Symlink),
                Err(error) => scan.skip(&path, SkipReason::Unreadable(error.to_string())),
                // On a disk that does not see case, a renamed file is found under its old name.
                Ok(Some(found)) => {
                    let twins = twins.get_or_insert_with(|| {
                        new.iter().map(|(path, r)| (path.key(), r.stat.inode)).collect()
                    });
                    let inode = found.stat.inode;
                    let is_twin = inode != 0 && twins.get(&path.key()) == Some(&inode);
                    if found.kind == Kind::Folder || is_twin {
                        vanished.insert(path, known);
                    } else {
                        scan.ignored.push(path);
                    }
                }
            }
        }
        vanished
    }
}

impl Scan {
    /// Tells whether so much is gone that nothing should be done before somebody was asked.
    pub fn brake(&self) -> Option<Brake> {
        let (gone, known) = (self.vanished.len(), self.known_count);
        (known >= BRAKE_FILES_MIN && gone * 2 > known).then_some(Brake { gone, known })
    }

    /// Tells whether nothing changed.
    pub fn is_unchanged(&self) -> bool {
        self.new.is_empty()
            && self.changed.is_empty()
            && self.touched.is_empty()
            && self.renamed.is_empty()
            && self.vanished.is_empty()
    }

    fn skip(&mut self, path: &VaultPath, reason: SkipReason) {
        self.skipped.push(Skipped { path: path.to_string(), reason });
    }
}

impl ScannedFile {
    fn new(path: VaultPath, reading: Reading) -> Self {
        let Reading { kind, stat, sha256, text, .. } = reading;
        Self { path, kind, stat, sha256, text }
    }

    /// Tells why somebody who takes texts only skips this file.
    pub fn no_text(&self) -> Option<SkipReason> {
        let is_large = self.stat.size > MAX_TEXT_BYTES;
        let reason = if is_large { SkipReason::TooLarge } else { SkipReason::Binary };
        (self.kind == FileKind::Blob).then_some(reason)
    }

    /// Gives what the replica is to remember of the file.
    pub fn known(&self) -> KnownFile {
        KnownFile { stat: self.stat, sha256: self.sha256 }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
