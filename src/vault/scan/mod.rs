//! What changed in the vault's folder since the last look.

mod litter;
mod read;
mod rename;
mod walk;

use crate::vault::stat::file_stat;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;

use super::{Vault, VaultError};
use crate::model::{BadPath, FileStat, KnownFile, VaultPath};
use read::Reading;
use rename::{New, Vanished};
use walk::{Found, Walk};

/// The file, in any folder, that says what is not synced, in gitignore's syntax.
pub const IGNORE_FILE: &str = ".larderignore";
/// The most bytes of a file that is read as text.
pub const MAX_TEXT_BYTES: u64 = 1 << 20;
/// How close to the last scan a file must have changed to be read again whatever its stat says, as
/// in git's index: clocks of disks are coarse.
const RACY_MS: i64 = 2000;
/// From how many known files on the brake works.
const BRAKE_FROM: usize = 10;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Where it lies.
    pub path: VaultPath,
    /// What the system said while it was read.
    pub stat: FileStat,
    /// SHA-256 of the content, 64 lower-case hex digits.
    pub sha256: String,
    /// The content.
    pub text: String,
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
    /// Not UTF-8, or NUL in it.
    #[error("it is not text")]
    Binary,
    /// Over 1 MiB.
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
    /// How many files at paths that are not known were left unread, see [`Vault::scan_part`].
    pub deferred: usize,
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
    /// # Errors
    /// The vault's folder itself cannot be read. Anything below is reported in the scan.
    pub fn scan(
        &self,
        known: &BTreeMap<VaultPath, KnownFile>,
        last_scan_ms: i64,
    ) -> Result<Scan, VaultError> {
        self.scan_part(known, last_scan_ms, u64::MAX)
    }

    /// As [`scan`](Self::scan), but stops reading files at new paths when about `max_bytes` of
    /// them were read, so that the first scan of a large vault fits into memory: while `deferred`
    /// is not 0, take over what was found and call again.
    ///
    /// If a known file is gone everything is read after all, because any new file may be it.
    ///
    /// # Errors
    /// As for [`scan`](Self::scan).
    pub fn scan_part(
        &self,
        known: &BTreeMap<VaultPath, KnownFile>,
        last_scan_ms: i64,
        max_bytes: u64,
    ) -> Result<Scan, VaultError> {
        let racy_from_ns = last_scan_ms.saturating_sub(RACY_MS).saturating_mul(1_000_000);
        let walk = Walk::new(self.root(), known.iter(), racy_from_ns, max_bytes);
        let (found, seen) = walk.run()?;
        let Found { read, skipped, deferred, .. } = found;
        let mut scan = Scan { known_count: known.len(), ..Scan::default() };
        let mut new = New::new();
        for (path, reading) in read {
            match known.get(&path) {
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
        let unseen = known.iter().zip(seen).filter(|(_, seen)| !seen).map(|(known, _)| known);
        let mut vanished = self.vanished(unseen, &new, &mut scan);
        if vanished.is_empty() {
            scan.deferred = deferred.len();
        } else {
            for path in deferred {
                match self.read_now(&path) {
                    Ok(reading) => new.extend(reading.map(|reading| (path, reading))),
                    Err(reason) => scan.skip(&path, reason),
                }
            }
        }
        scan.renamed = rename::pair(&mut vanished, &mut new);
        scan.vanished = vanished.into_keys().cloned().collect();
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
        match self.check_parents(path) {
            Ok(()) => {}
            Err(VaultError::Symlink { .. }) => return Err(SkipReason::Symlink),
            Err(VaultError::NameTaken { .. }) => return Ok(None),
            Err(error) => return Err(SkipReason::Unreadable(error.to_string())),
        }
        let reading = self.read_now(path)?;
        Ok(reading.map(|reading| ScannedFile::new(path.clone(), reading)))
    }

    fn read_now(&self, path: &VaultPath) -> Result<Option<Reading>, SkipReason> {
        read::read(&path.under(self.root()))
    }

    /// Tells which of the files that the walk did not meet are gone. Those that it skipped, or
    /// could not get at, or was told to ignore, are not.
    fn vanished<'k>(
        &self,
        unseen: impl Iterator<Item = (&'k VaultPath, &'k KnownFile)>,
        new: &New,
        scan: &mut Scan,
    ) -> Vanished<'k> {
        let skipped: BTreeSet<String> = scan.skipped.iter().map(|item| item.path.clone()).collect();
        let mut twins: Option<BTreeMap<String, u64>> = None;
        let mut vanished = Vanished::new();
        for (path, known) in unseen {
            let text = path.as_str();
            let ends = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
            if ends.filter_map(|end| text.get(..end)).any(|above| skipped.contains(above)) {
                continue;
            }
            match fs::symlink_metadata(path.under(self.root())) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    vanished.insert(path, known);
                }
                Err(error) => scan.skip(path, SkipReason::Unreadable(error.to_string())),
                // On a disk that does not see case, a renamed file is found under its old name.
                Ok(metadata) => {
                    let twins = twins.get_or_insert_with(|| {
                        new.iter().map(|(path, r)| (path.key(), r.stat.inode)).collect()
                    });
                    let inode = file_stat(&metadata).inode;
                    if metadata.is_dir() || inode != 0 && twins.get(&path.key()) == Some(&inode) {
                        vanished.insert(path, known);
                    } else {
                        scan.ignored.push(path.clone());
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
        (known >= BRAKE_FROM && gone * 2 > known).then_some(Brake { gone, known })
    }

    /// Tells whether nothing changed.
    pub fn is_unchanged(&self) -> bool {
        self.new.is_empty()
            && self.changed.is_empty()
            && self.touched.is_empty()
            && self.renamed.is_empty()
            && self.vanished.is_empty()
            && self.deferred == 0
    }

    fn skip(&mut self, path: &VaultPath, reason: SkipReason) {
        self.skipped.push(Skipped { path: path.to_string(), reason });
    }
}

impl ScannedFile {
    fn new(path: VaultPath, reading: Reading) -> Self {
        let Reading { stat, sha256, text, .. } = reading;
        Self { path, stat, sha256, text }
    }

    /// Gives what the replica is to remember of the file.
    pub fn known(&self) -> KnownFile {
        KnownFile { stat: self.stat, sha256: self.sha256.clone() }
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
