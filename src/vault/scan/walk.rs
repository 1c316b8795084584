//! The walk over the vault's folder, on several threads.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::folder::{Entry, Folder, Kind, Listing, Names};
use super::litter::is_litter;
use super::queue::{Queue, Task};
use super::read::{Reading, read};
use super::rules::Rules;
use super::{IGNORE_FILE, SkipReason};
use crate::model::path::{TEMP_PREFIX, is_reserved};
use crate::model::{BadPath, Books, Finder, VaultPath};
use crate::vault::VaultError;
use crate::vault::stat::file_stat;

/// More of them only wait for one another.
const THREADS_MAX: usize = 8;

/// What the walk met.
#[derive(Default)]
pub(super) struct Found {
    /// Files that are not known, or are no more what is known.
    pub(super) read: Vec<(VaultPath, Reading)>,
    pub(super) skipped: Vec<(String, SkipReason)>,
    root_error: Option<io::Error>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.read.extend(other.read);
        self.skipped.extend(other.skipped);
        self.root_error = self.root_error.take().or(other.root_error);
    }
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
    finder: Finder<'k>,
    /// Which of the known files were met, in their order.
    seen: Vec<AtomicBool>,
    /// A file that changed after this, in ns since 1970, is read whatever its stat says.
    racy_from_ns: i64,
    room: &'k Room,
    queue: Queue,
}

impl<'k> Walk<'k> {
    pub(super) fn new(root: &'k Path, books: &'k Books, racy_from_ns: i64, room: &'k Room) -> Self {
        let seen = books.iter().map(|_| AtomicBool::new(false)).collect();
        let (finder, queue) = (books.finder(), Queue::default());
        Self { root, books, finder, seen, racy_from_ns, room, queue }
    }

    /// Walks, and gives what was met and which of the known files were seen, in their order.
    pub(super) fn run(self) -> Result<(Found, Vec<bool>), VaultError> {
        self.queue.add(Task::Open(self.root.to_owned(), None));
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let mut found = thread::scope(|scope| {
            // Where the system gives no more threads, those that there are do it all.
            let start = |_| thread::Builder::new().spawn_scoped(scope, || self.work()).ok();
            let others: Vec<_> = (1..threads).filter_map(start).collect();
            let mut found = self.work();
            for other in others {
                found.add(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            found
        });
        match found.root_error.take() {
            Some(error) => Err(VaultError::root(self.root, error)),
            None => Ok((found, self.seen.into_iter().map(AtomicBool::into_inner).collect())),
        }
    }

    /// One thread's share.
    fn work(&self) -> Found {
        let (mut found, mut names) = (Found::default(), Names::default());
        while let Some((task, _running)) = self.queue.take() {
            match task {
                Task::Open(path, above) => match Listing::open(&path) {
                    Ok(listing) => {
                        let folder = self.folder(path, listing, above, &mut found);
                        self.list(Arc::new(folder), &mut names, &mut found);
                    }
                    Err(error) => self.error(&path, error, &mut found),
                },
                Task::List(folder) => self.list(folder, &mut names, &mut found),
            }
        }
        found
    }

    fn folder(
        &self,
        path: PathBuf,
        listing: Listing,
        above: Option<Arc<Rules>>,
        found: &mut Found,
    ) -> Folder {
        let mut rules = above;
        if listing.stat(&path, OsStr::new(IGNORE_FILE)).is_some() {
            let (all, error) = Rules::read(&path, rules);
            rules = all;
            if let Some(error) = error {
                let path = self.relative_lossy(&path.join(IGNORE_FILE));
                found.skipped.push((path, SkipReason::BadIgnoreFile(error.to_string())));
            }
        }
        let prefix = self.prefix(&path);
        Folder { path, prefix, rules, listing }
    }

    /// Looks at the next names of a folder, and leaves the rest of them to whoever is free.
    fn list(&self, folder: Arc<Folder>, names: &mut Names, found: &mut Found) {
        match folder.listing.next(names) {
            Ok(true) => self.queue.add(Task::List(Arc::clone(&folder))),
            Ok(false) => return,
            Err(error) => self.error(&folder.path, error, found),
        }
        let mut path = String::new();
        for (name, kind) in names.iter() {
            if name.to_str().is_some_and(is_passed_over) {
                continue;
            }
            match (Entry { folder: &folder, name, kind }).with_kind() {
                Ok(entry) => self.entry(&entry, folder.write_path(name, &mut path), found),
                Err(error) => self.error(&folder.path.join(name), error, found),
            }
        }
    }

    /// Gives what the paths of the files in a folder start with; `None` if it is no UTF-8.
    fn prefix(&self, folder: &Path) -> Option<String> {
        let inside = folder.strip_prefix(self.root).ok()?.to_str()?;
        let end = if inside.is_empty() { "" } else { "/" };
        Some(inside.replace(MAIN_SEPARATOR, "/") + end)
    }

    fn relative_lossy(&self, path: &Path) -> String {
        let inside = path.strip_prefix(self.root).unwrap_or(path).to_string_lossy();
        inside.replace(MAIN_SEPARATOR, "/")
    }

    /// `path` is where it lies in the vault, if that is UTF-8.
    fn entry(&self, entry: &Entry, path: Option<&str>, found: &mut Found) {
        let is_folder = entry.kind == Kind::Folder;
        let rules = entry.folder.rules.as_ref();
        if rules.is_some_and(|rules| rules.ignore(&entry.path(), is_folder)) {
            return;
        }
        if is_folder {
            self.queue.add(Task::Open(entry.path(), entry.folder.rules.clone()));
            return;
        }
        let Some(path) = path else {
            let path = self.relative_lossy(&entry.path());
            found.skipped.push((path, SkipReason::BadName(BadPath::NotUtf8)));
            return;
        };
        if entry.kind != Kind::File {
            let is_symlink = entry.kind == Kind::Symlink;
            let reason = if is_symlink { SkipReason::Symlink } else { SkipReason::NotAFile };
            found.skipped.push((path.to_owned(), reason));
            return;
        }
        let place = self.finder.find(path);
        if place.is_some() || is_nfc(path) {
            self.file(path, place, entry, found);
        } else if let Some(composed) = composed(self.root, entry, path) {
            let place = self.finder.find(&composed);
            self.file(&composed, place, entry, found);
        } else {
            let reason = SkipReason::BadName(BadPath::NotComposed);
            found.skipped.push((path.to_owned(), reason));
        }
    }

    fn file(&self, path: &str, place: Option<usize>, entry: &Entry, found: &mut Found) {
        self.mark(place, true);
        if let Some(file) = place.and_then(|place| self.books.at(place))
            && let Some(stat) = entry.stat()
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
        match read(&entry.path()) {
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

    fn error(&self, path: &Path, error: io::Error, found: &mut Found) {
        if path == self.root {
            found.root_error = Some(error);
        } else if error.kind() != ErrorKind::NotFound {
            let reason = SkipReason::Unreadable(error.to_string());
            found.skipped.push((self.relative_lossy(path), reason));
        }
    }
}

/// Tells whether a name is one of larder's own, or nobody's.
fn is_passed_over(name: &str) -> bool {
    is_litter(name) || is_reserved(name) || name.starts_with(TEMP_PREFIX)
}

/// Gives the composed form of a path if the file system leads from there to the same file, as those
/// of macOS do.
///
/// Elsewhere the two forms are two files, and a program that writes one while the other is read
/// would make two of one.
fn composed(root: &Path, entry: &Entry, path: &str) -> Option<String> {
    let composed: String = path.nfc().collect();
    let there = std::fs::symlink_metadata(root.join(&composed)).ok()?;
    (entry.stat()? == file_stat(&there)).then_some(composed)
}
