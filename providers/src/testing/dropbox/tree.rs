//! What lies in the account.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};

use crate::{Clock, dropbox::hash::ContentHash};

/// Files and folders by their folded path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// What changed, in order: the number of a change is its place.
    journal: Vec<String>,
}

/// A file or a folder.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// As it was written first.
    pub(super) display: String,
    id: u64,
    pub(super) file: Option<File>,
}

/// What a file has and a folder has not.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) bytes: Bytes,
    pub(super) rev: String,
    pub(super) hash: String,
    modified: DateTime<Utc>,
}

/// Why a file cannot be written (spec, `WriteError.conflict`, `WriteConflictError`).
pub(super) type InTheWay = &'static str;

/// On what condition a file is written (spec, `WriteMode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Add,
    Overwrite,
    Update(String),
}

/// Dropbox folds case (http, "Path formats": "case-insensitive but case-preserving"); by which rule for
/// letters that are no ASCII stands nowhere, so this is inferred.
pub(super) fn folded(path: &str) -> String {
    path.to_lowercase()
}

/// The folder that a path lies in; nothing for what lies in none.
pub(super) fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

impl Tree {
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&folded(path))
    }

    /// How many bytes all files have.
    pub(super) fn bytes(&self) -> u64 {
        let files = self.nodes.values().filter_map(|node| node.file.as_ref());
        files.map(|file| file.bytes.len() as u64).sum()
    }

    /// What a file in the way of `path` is, by the rules of the mode (spec, `WriteMode`, and
    /// `CommitInfo.strict_conflict`). `Ok(true)` where nothing has to be written: the same is there.
    pub(super) fn may_write(
        &self,
        path: &str,
        mode: &Mode,
        is_strict: bool,
        hash: &str,
    ) -> Result<bool, InTheWay> {
        let mut above = parent(path);
        while let Some(folder) = above.filter(|folder| !folder.is_empty()) {
            if self.get(folder).is_some_and(|node| node.file.is_some()) {
                return Err("file_ancestor");
            }
            above = parent(folder);
        }
        let file = match self.get(path) {
            // "(b) If the target path refers to a folder, it's always a conflict."
            Some(Node { file: None, .. }) => return Err("folder"),
            Some(Node { file: Some(file), .. }) => file,
            // "(a) If the target path doesn't refer to anything, the file is always written", and
            // strictly: "always return a conflict error when mode = update and the given rev doesn't
            // match [...], even if the existing file has been deleted". As what: inferred.
            None if is_strict && matches!(mode, Mode::Update(_)) => return Err("file"),
            None => return Ok(false),
        };
        // "(c) If the target path refers to a file with identical contents, nothing gets written; no
        // conflict." Strictly: "This also forces a conflict".
        if file.hash == hash {
            return if is_strict { Err("file") } else { Ok(true) };
        }
        match mode {
            Mode::Overwrite => Ok(false),
            Mode::Update(rev) if *rev == file.rev => Ok(false),
            Mode::Add | Mode::Update(_) => Err("file"),
        }
    }

    /// Writes a file, and the folders above it.
    pub(super) fn write(&mut self, path: &str, bytes: Bytes) {
        if let Some(folder) = parent(path) {
            self.make(folder);
        }
        let number = self.note(path);
        let hash = ContentHash::of(&bytes);
        // Timestamps have seconds (spec, `DropboxTimestamp`).
        let modified = Clock::default().now().trunc_subsecs(0);
        let rev = format!("0{:x}{number:08x}", 0x5f99_c43b_u64);
        let file = Some(File { bytes, rev, hash, modified });
        let display = self.get(path).map_or_else(|| path.to_owned(), |node| node.display.clone());
        let id = self.get(path).map_or(number, |node| node.id);
        self.nodes.insert(folded(path), Node { display, id, file });
    }

    /// Makes a folder and those above it.
    pub(super) fn make(&mut self, path: &str) {
        if path.is_empty() || self.get(path).is_some() {
            return;
        }
        if let Some(folder) = parent(path) {
            self.make(folder);
        }
        let id = self.note(path);
        self.nodes.insert(folded(path), Node { display: path.to_owned(), id, file: None });
    }

    /// Takes a file away, or a folder with all that is in it.
    pub(super) fn remove(&mut self, path: &str) {
        let (path, below) = (folded(path), format!("{}/", folded(path)));
        let gone: Vec<String> = self
            .nodes
            .keys()
            .filter(|key| **key == path || key.starts_with(&below))
            .cloned()
            .collect();
        for key in gone {
            self.nodes.remove(&key);
            self.note(&key);
        }
    }

    /// What lies directly in a folder, in order of the folded names.
    pub(super) fn children(&self, folder: &str) -> impl Iterator<Item = (&String, &Node)> {
        let folder = folded(folder);
        self.nodes.iter().filter(move |(path, _)| parent(path) == Some(&folder))
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> usize {
        self.journal.len()
    }

    /// What changed directly in a folder after so many changes.
    pub(super) fn changed_in(&self, folder: &str, since: usize) -> Vec<&str> {
        let folder = folded(folder);
        let later = self.journal.iter().skip(since);
        later.map(String::as_str).filter(|path| parent(path) == Some(&folder)).collect()
    }

    fn note(&mut self, path: &str) -> u64 {
        self.journal.push(folded(path));
        self.journal.len() as u64
    }
}

impl Node {
    /// `FileMetadata` or `FolderMetadata` (spec), with the tag where a `Metadata` can be either.
    pub(super) fn metadata(&self, path_lower: &str, is_tagged: bool) -> Value {
        let name = self.display.rsplit('/').next().unwrap_or_default();
        let mut told = json!({
            "name": name, "path_lower": path_lower, "path_display": self.display,
            "id": format!("id:a4ayc_80_OEAAAAAA{:08}", self.id),
        });
        let more = match &self.file {
            None => json!({ ".tag": "folder" }),
            Some(file) => {
                let at = file.modified.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                json!({
                    ".tag": "file", "client_modified": at, "server_modified": at, "rev": file.rev,
                    "size": file.bytes.len(), "is_downloadable": true, "content_hash": file.hash,
                })
            }
        };
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more.into_iter().filter(|(name, _)| is_tagged || name != ".tag"));
        }
        told
    }
}
