//! The walk over the vault's folder, on several threads.

use crate::vault::stat::file_stat;
use std::borrow::Cow;
use std::io;
use std::path::{MAIN_SEPARATOR, Path};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ignore::{DirEntry, ParallelVisitor, ParallelVisitorBuilder, WalkBuilder, WalkState};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::folder::{Folder, name};
use super::litter::is_litter;
use super::read::{Reading, read};
use super::{IGNORE_FILE, SkipReason};
use crate::model::path::{TEMP_PREFIX, is_reserved};
use crate::model::{BadPath, Books, VaultPath};
use crate::vault::VaultError;

/// What the walk met.
#[derive(Default)]
pub(super) struct Found {
    /// Files that are not known, or are no more what is known.
    pub(super) read: Vec<(VaultPath, Reading)>,
    pub(super) skipped: Vec<(String, SkipReason)>,
    pub(super) root_error: Option<io::Error>,
}

/// The memory that a scan may fill with texts.
pub(super) struct Room(AtomicUsize);

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Drops the text of a file if there is no room for it.
    pub(super) fn keep(&self, reading: &mut Reading) {
        let bytes = reading.text.as_ref().map_or(0, String::len);
        let take = |left: usize| left.checked_sub(bytes);
        if self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            reading.text = None;
        }
    }
}

/// What the threads share.
pub(super) struct Walk<'k> {
    root: &'k Path,
    books: &'k Books,
    /// Which of the known files were met, in their order.
    seen: Vec<AtomicBool>,
    /// A file that changed after this, in ns since 1970, is read whatever its stat says.
    racy_from_ns: i64,
    room: &'k Room,
    found: Mutex<Found>,
}

impl<'k> Walk<'k> {
    pub(super) fn new(root: &'k Path, books: &'k Books, racy_from_ns: i64, room: &'k Room) -> Self {
        let seen = books.iter().map(|_| AtomicBool::new(false)).collect();
        Self { root, books, seen, racy_from_ns, room, found: Mutex::default() }
    }

    /// Walks, and gives what was met and which of the known files were seen, in their order.
    pub(super) fn run(mut self) -> Result<(Found, Vec<bool>), VaultError> {
        let mut builder = WalkBuilder::new(self.root);
        builder.standard_filters(false).follow_links(false).add_custom_ignore_filename(IGNORE_FILE);
        builder.filter_entry(|entry| {
            entry.depth() == 0
                || name(entry).to_str().is_none_or(|name| {
                    !is_litter(name) && !is_reserved(name) && !name.starts_with(TEMP_PREFIX)
                })
        });
        builder.build_parallel().visit(&mut &self);
        let found = std::mem::take(self.found.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(error) = found.root_error {
            return Err(VaultError::root(self.root, error));
        }
        Ok((found, self.seen.into_iter().map(AtomicBool::into_inner).collect()))
    }

    /// Gives a path inside of the vault, with `/` between its parts; `None` if it is no UTF-8.
    fn relative<'p>(&self, path: &'p Path) -> Option<Cow<'p, str>> {
        // By bytes: this runs for every file, and `strip_prefix` goes part by part.
        let text = path.to_str()?;
        let inside = text.get(self.root.as_os_str().len()..)?.trim_start_matches(MAIN_SEPARATOR);
        if MAIN_SEPARATOR == '/' {
            return Some(inside.into());
        }
        Some(inside.replace(MAIN_SEPARATOR, "/").into())
    }

    fn relative_lossy(&self, path: &Path) -> String {
        let inside = path.strip_prefix(self.root).unwrap_or(path).to_string_lossy();
        inside.replace(MAIN_SEPARATOR, "/")
    }

    fn entry(&self, entry: &DirEntry, folder: &mut Folder, found: &mut Found) {
        if let Some(error) = entry.error() {
            let path = self.relative_lossy(&entry.path().join(IGNORE_FILE));
            found.skipped.push((path, SkipReason::BadIgnoreFile(error.to_string())));
        }
        let Some(kind) = entry.file_type() else {
            return;
        };
        if kind.is_dir() {
            return;
        }
        let Some(path) = self.relative(entry.path()) else {
            let path = self.relative_lossy(entry.path());
            found.skipped.push((path, SkipReason::BadName(BadPath::NotUtf8)));
            return;
        };
        if kind.is_symlink() || !kind.is_file() {
            let reason = if kind.is_symlink() { SkipReason::Symlink } else { SkipReason::NotAFile };
            found.skipped.push((path.into_owned(), reason));
            return;
        }
        let place = folder.find(self.books, &path);
        if place.is_some() || is_nfc(&path) {
            self.file(&path, place, entry, folder, found);
        } else if let Some(composed) = composed(self.root, entry, &path) {
            let place = self.books.find(&composed);
            self.file(&composed, place, entry, folder, found);
        } else {
            let reason = SkipReason::BadName(BadPath::NotComposed);
            found.skipped.push((path.into_owned(), reason));
        }
    }

    fn file(
        &self,
        path: &str,
        place: Option<usize>,
        entry: &DirEntry,
        folder: &mut Folder,
        found: &mut Found,
    ) {
        self.mark(place, true);
        if let Some(file) = place.and_then(|place| self.books.at(place))
            && let Some(stat) = folder.stat(entry)
            && stat == file.known.stat
            && stat.changed_ns() < self.racy_from_ns
        {
            return;
        }
        let checked = match VaultPath::new(path) {
            Ok(checked) => checked,
            Err(reason) => {
                found.skipped.push((path.to_owned(), SkipReason::BadName(reason)));
                return;
            }
        };
        match read(entry.path()) {
            Ok(Some(mut reading)) => {
                self.room.keep(&mut reading);
                found.read.push((checked, reading));
            }
            // Gone since the folder was listed.
            Ok(None) => self.mark(place, false),
            Err(reason) => found.skipped.push((path.to_owned(), reason)),
        }
    }

    fn mark(&self, place: Option<usize>, is_there: bool) {
        if let Some(seen) = place.and_then(|place| self.seen.get(place)) {
            seen.store(is_there, Ordering::Relaxed);
        }
    }

    fn error(&self, error: &ignore::Error, found: &mut Found) {
        let (path, io) = parts(error);
        let Some(path) = path.filter(|path| *path != self.root) else {
            let kind = io.map_or(io::ErrorKind::Other, io::Error::kind);
            found.root_error = Some(io::Error::new(kind, error.to_string()));
            return;
        };
        if io.is_some_and(|io| io.kind() == io::ErrorKind::NotFound) {
            return;
        }
        let reason = io.map_or_else(|| error.to_string(), ToString::to_string);
        found.skipped.push((self.relative_lossy(path), SkipReason::Unreadable(reason)));
    }
}

/// Gives the composed form of a path if the file system leads from there to the same file, as those
/// of macOS do.
///
/// Elsewhere the two forms are two files, and a program that writes one while the other is read
/// would make two of one.
fn composed(root: &Path, entry: &DirEntry, path: &str) -> Option<String> {
    let composed: String = path.nfc().collect();
    let there = std::fs::symlink_metadata(root.join(&composed)).ok()?;
    let here = entry.metadata().ok()?;
    (file_stat(&there) == file_stat(&here)).then_some(composed)
}

fn parts(error: &ignore::Error) -> (Option<&Path>, Option<&io::Error>) {
    match error {
        ignore::Error::WithPath { path, err } => (Some(path), parts(err).1),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            parts(err)
        }
        ignore::Error::Io(error) => (None, Some(error)),
        _ => (None, None),
    }
}

/// One thread's share; it is added to the whole when the thread ends.
struct Visitor<'w, 'k> {
    walk: &'w Walk<'k>,
    folder: Folder,
    found: Found,
}

impl ParallelVisitor for Visitor<'_, '_> {
    fn visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        match entry {
            Ok(entry) => self.walk.entry(&entry, &mut self.folder, &mut self.found),
            Err(error) => self.walk.error(&error, &mut self.found),
        }
        WalkState::Continue
    }
}

impl Drop for Visitor<'_, '_> {
    fn drop(&mut self) {
        let mut whole = self.walk.found.lock().unwrap_or_else(PoisonError::into_inner);
        whole.read.append(&mut self.found.read);
        whole.skipped.append(&mut self.found.skipped);
        if let Some(error) = self.found.root_error.take() {
            whole.root_error = Some(error);
        }
    }
}

impl<'s, 'w: 's, 'k: 's> ParallelVisitorBuilder<'s> for &'w Walk<'k> {
    fn build(&mut self) -> Box<dyn ParallelVisitor + 's> {
        Box::new(Visitor { walk: self, folder: Folder::default(), found: Found::default() })
    }
}
