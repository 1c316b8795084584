//! Every file of a vault that is known, in little room.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;

use super::{EntityId, KnownFile, VaultPath};

/// The files that a replica knows, sorted by path: what a scan is held against.
///
/// One row a file, and all paths and ids in one text: 150 bytes a file where a map of owned ones
/// takes 500, which at 100,000 files is felt.
#[derive(Clone, Default)]
pub struct Books {
    text: String,
    rows: Vec<Row>,
    youngest_ns: Option<i64>,
}

#[derive(Clone)]
struct Row {
    /// Where the path starts in the text, and where it ends; there the id starts.
    path: Range<usize>,
    id_end: usize,
    known: KnownFile,
}

/// A file as the books have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookedFile<'b> {
    path: &'b str,
    entity: &'b str,
    /// What it was when it was last read or written.
    pub known: &'b KnownFile,
}

/// Finds files of books by their paths.
///
/// A search in the order of paths takes seventeen looks among 100,000, most of them at memory that
/// the processor does not have at hand: half of the time of a scan. This takes one.
pub struct Finder<'b> {
    books: &'b Books,
    places: HashTable<usize>,
    key: RandomState,
}

impl Books {
    /// Empty books with room for so many files.
    #[must_use]
    pub fn with_capacity(files: usize) -> Self {
        Self { rows: Vec::with_capacity(files), ..Self::default() }
    }

    /// Enters a file; one that has the same path is replaced. It is quick in the order of paths and
    /// slow in any other.
    pub fn enter(&mut self, path: &VaultPath, entity: &EntityId, known: KnownFile) {
        self.enter_text(path.as_str(), entity.as_str(), known);
    }

    /// As [`enter`](Self::enter), of what was read from where it is kept, without making a path and
    /// an id first; false if it is none.
    #[must_use]
    pub fn enter_read(&mut self, path: &str, entity: &str, known: KnownFile) -> bool {
        let is_fine = VaultPath::check(path).is_ok() && EntityId::is_one(entity);
        if is_fine {
            self.enter_text(path, entity, known);
        }
        is_fine
    }

    fn enter_text(&mut self, path: &str, entity: &str, known: KnownFile) {
        let changed_ns = known.stat.changed_ns();
        self.youngest_ns = self.youngest_ns.max(Some(changed_ns));
        self.make_room(path.len() + entity.len());
        let start = self.text.len();
        self.text.push_str(path);
        let end = self.text.len();
        self.text.push_str(entity);
        let row = Row { path: start..end, id_end: self.text.len(), known };
        if self.rows.last().is_none_or(|last| self.path(last) < path) {
            self.rows.push(row);
            return;
        }
        match self.search(path) {
            Ok(at) => {
                if let Some(old) = self.rows.get_mut(at) {
                    *old = row;
                }
            }
            Err(at) => self.rows.insert(at, row),
        }
    }

    /// Makes room in the text for one more file, and for as many as there is room for in the rows if
    /// they are like those before. A text that grows by doubling takes up to twice of what is needed.
    fn make_room(&mut self, bytes: usize) {
        let used = self.text.len();
        if self.text.capacity() - used >= bytes {
            return;
        }
        let left = self.rows.capacity() - self.rows.len();
        let all = (used + bytes).div_ceil(self.rows.len() + 1).saturating_mul(left);
        // A part of what there is in any case: else files with ever longer paths move it every time.
        self.text.reserve_exact(all.max(used / 8).max(bytes));
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When the file that changed last did so, in ns since 1970.
    #[must_use]
    pub fn youngest_ns(&self) -> Option<i64> {
        self.youngest_ns
    }

    /// Finds a file by its path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<BookedFile<'_>> {
        self.at(self.find(path)?)
    }

    /// Finds the place of a file in the order of paths.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<usize> {
        self.search(path).ok()
    }

    /// Makes ready to find many files.
    #[must_use]
    pub fn finder(&self) -> Finder<'_> {
        let (mut places, key) = (HashTable::with_capacity(self.len()), RandomState::new());
        let hash = |place: &usize| key.hash_one(self.at(*place).map_or("", |file| file.path));
        for place in 0..self.len() {
            places.insert_unique(hash(&place), place, hash);
        }
        Finder { books: self, places, key }
    }

    /// The file at a place in the order of paths.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<BookedFile<'_>> {
        self.rows.get(place).map(|row| self.file(row))
    }

    /// Every file, in the order of paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BookedFile<'_>> {
        self.rows.iter().map(|row| self.file(row))
    }

    fn file<'b>(&'b self, row: &'b Row) -> BookedFile<'b> {
        let entity = self.text.get(row.path.end..row.id_end).unwrap_or_default();
        BookedFile { path: self.path(row), entity, known: &row.known }
    }

    fn path(&self, row: &Row) -> &str {
        self.text.get(row.path.clone()).unwrap_or_default()
    }

    fn search(&self, path: &str) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| self.path(row).cmp(path))
    }
}

impl Finder<'_> {
    /// Finds the place of a file in the order of paths.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<usize> {
        let is_it = |place: &usize| self.books.at(*place).is_some_and(|file| file.path == path);
        self.places.find(self.key.hash_one(path), is_it).copied()
    }
}

impl<'b> BookedFile<'b> {
    /// Where it lies, as text.
    #[must_use]
    pub fn path_str(&self) -> &'b str {
        self.path
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> VaultPath {
        VaultPath::checked(self.path)
    }

    /// Whose file it is.
    #[must_use]
    pub fn entity(&self) -> EntityId {
        EntityId::checked(self.entity)
    }
}

impl fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.books.fmt(f)
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{ContentHash, FileStat};

    fn known(number: u8) -> KnownFile {
        let stat = FileStat { size: 1, mtime_ns: number.into(), ..FileStat::default() };
        KnownFile { stat, sha256: ContentHash::of(&[number]) }
    }

    proptest! {
        #[test]
        fn the_books_are_a_map(
            files in prop::collection::vec(("[a-c/é]{1,4}", "[a-z]{1,3}", any::<u8>()), 0..40),
            asked in prop::collection::vec("[a-c/é]{1,4}", 0..20),
        ) {
            let mut books = Books::with_capacity(files.len());
            let mut map = BTreeMap::new();
            for (path, id, number) in files {
                let Ok(path) = VaultPath::new(&path) else { continue };
                let (id, known) = (EntityId::new(id).unwrap(), known(number));
                if number % 2 == 0 {
                    books.enter(&path, &id, known);
                } else {
                    prop_assert!(books.enter_read(path.as_str(), id.as_str(), known));
                }
                prop_assert!(!books.enter_read("../up", id.as_str(), known));
                prop_assert!(!books.enter_read(path.as_str(), "no id", known));
                map.insert(path, (id, known));
            }
            let listed: Vec<_> =
                books.iter().map(|file| (file.path(), (file.entity(), *file.known))).collect();
            prop_assert_eq!(&listed, &map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!((books.len(), books.is_empty()), (map.len(), map.is_empty()));
            for (place, (path, _)) in listed.iter().enumerate() {
                prop_assert_eq!(books.find(path.as_str()), Some(place));
                prop_assert_eq!(books.finder().find(path.as_str()), Some(place));
            }
            for path in asked {
                let found = books.get(&path).map(|file| (file.entity(), *file.known));
                prop_assert_eq!(found, map.get(path.as_str()).cloned());
                prop_assert_eq!(books.finder().find(&path), books.find(&path));
            }
        }
    }

    #[test]
    fn the_youngest_file_is_known_without_a_look_at_all() {
        let mut books = Books::default();
        assert_eq!(books.youngest_ns(), None);
        for number in [3, 9, 5] {
            let path = VaultPath::new(&format!("{number}.md")).unwrap();
            books.enter(&path, &EntityId::new("e").unwrap(), known(number));
        }
        assert_eq!(books.youngest_ns(), Some(9));
    }

    #[test]
    fn a_hundred_thousand_files_take_few_megabytes() {
        let mut books = Books::with_capacity(100_000);
        let id = EntityId::new("0192f0c1-2d3e-7f00-8a4b-5c6d7e8f9a0b").unwrap();
        for number in 0..100_000 {
            let path = VaultPath::new(&format!("notes/{:03}/{number:06}.md", number / 1000));
            books.enter(&path.unwrap(), &id, known(7));
        }
        let (rows, text) = (books.rows.capacity() * size_of::<Row>(), books.text.capacity());
        assert!(rows + text < 15 << 20 && text < books.text.len() * 9 / 8, "{rows} {text}");
    }
}
