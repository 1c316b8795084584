//! Files in memory: the executable specification of [`Storage`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Body, Capabilities, Clock, Entry, Error, ErrorKind, Get, GetOptions, Listing, Move, Object,
    Put, PutMode, RemotePath, Result, Storage, Traffic, Version, body, sync::lock,
};

/// How weak versions begin.
const WEAK: &str = "W/";

/// A storage that keeps everything in memory and does all of the contract to the letter.
///
/// Clones share the files. Folders are implicit, as in an object store: there is one wherever a
/// file lies below it. Tests reach behind the trait's back with [`Memory::insert_raw`] and its
/// like to damage, lose or roll back what a remote holds.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    clock: Clock,
    traffic: Traffic,
    tags: Tags,
}

/// What a server makes the versions of its files of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tags {
    /// Each state has a version of its own.
    #[default]
    Exact,
    /// Length and time in whole seconds: two states may have the same one.
    Seconds,
    /// A file that is less than a second old has a weak one, which meets no condition.
    WeakWhenFresh,
}

impl Memory {
    /// An empty storage whose clock is the system's.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty storage that tells the time of `clock`.
    pub fn with_clock(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// The same files, counting what is done with them in `traffic`.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// The same files with versions of another kind.
    #[must_use]
    pub fn with_tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    fn entry(&self, path: RemotePath, is_folder: bool, file: &File) -> Entry {
        Entry {
            path,
            is_folder,
            bytes: (!is_folder).then_some(file.bytes.len() as u64),
            version: (!is_folder).then(|| self.version(file)),
            modified: (!is_folder).then_some(file.modified),
        }
    }

    fn version(&self, file: &File) -> Version {
        let Version(exact) = &file.version;
        let age = self.clock.now() - file.modified;
        match self.tags {
            Tags::Seconds => {
                Version(format!("{:x}-{:x}", file.modified.timestamp(), file.bytes.len()))
            }
            Tags::WeakWhenFresh if age < TimeDelta::seconds(1) => Version(format!("{WEAK}{exact}")),
            _ => file.version.clone(),
        }
    }

    fn holds(&self, state: &State, path: &RemotePath, mode: &PutMode) -> bool {
        let present = state.files.get(path);
        match mode {
            PutMode::Overwrite => true,
            PutMode::Create => present.is_none(),
            PutMode::Update(Version(wanted)) => {
                let is_same = |file: &File| self.version(file).0 == *wanted;
                present.is_some_and(is_same) && !wanted.starts_with(WEAK)
            }
        }
    }

    /// All files and their bytes.
    pub fn files(&self) -> BTreeMap<RemotePath, Bytes> {
        let state = lock(&self.state);
        let bytes_of = |(path, file): (&RemotePath, &File)| (path.clone(), file.bytes.clone());
        state.files.iter().map(bytes_of).collect()
    }

    /// Writes a file behind the trait's back, as a stranger or a fault would.
    pub fn insert_raw(&self, path: &RemotePath, bytes: impl Into<Bytes>) {
        self.insert_raw_as_of(path, bytes, self.clock.now());
    }

    /// The same with a time of its own, which a program that mirrors a folder takes along.
    pub fn insert_raw_as_of(
        &self,
        path: &RemotePath,
        bytes: impl Into<Bytes>,
        modified: DateTime<Utc>,
    ) {
        lock(&self.state).insert(path, bytes.into(), modified);
    }

    /// When a file was last written, if it is there.
    pub fn modified(&self, path: &RemotePath) -> Option<DateTime<Utc>> {
        lock(&self.state).files.get(path).map(|file| file.modified)
    }

    /// Removes a file behind the trait's back; its bytes, if it was there.
    pub fn remove_raw(&self, path: &RemotePath) -> Option<Bytes> {
        lock(&self.state).files.remove(path).map(|file| file.bytes)
    }

    /// Everything as it is now, to come back to with [`Memory::restore`].
    pub fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot(lock(&self.state).files.clone())
    }

    /// Rolls everything back to `snapshot`, as a restored backup does: the versions come back too.
    pub fn restore(&self, snapshot: &MemorySnapshot) {
        lock(&self.state).files = snapshot.0.clone();
    }
}

/// What a [`Memory`] held at one moment.
#[derive(Debug, Clone)]
pub struct MemorySnapshot(BTreeMap<RemotePath, File>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<RemotePath, File>,
    writes: u64,
}

#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    version: Version,
    modified: DateTime<Utc>,
}

impl State {
    fn insert(&mut self, path: &RemotePath, bytes: Bytes, modified: DateTime<Utc>) -> File {
        self.writes += 1;
        let version = Version(format!("v{}", self.writes));
        let file = File { bytes, version, modified };
        self.files.insert(path.clone(), file.clone());
        file
    }
}

#[async_trait]
impl Storage for Memory {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.traffic.request("get", path.as_str(), 0);
        let Some(file) = lock(&self.state).files.get(path).cloned() else {
            return Err(missing("get", path));
        };
        let version = self.version(&file);
        if options.if_none_match.as_ref() == Some(&version) {
            return Ok(Get::NotModified);
        }
        let range = options.range.map(|range| body::clip(&range, file.bytes.len() as u64));
        let bytes = match &range {
            Some(range) => slice(&file.bytes, range),
            None => file.bytes,
        };
        self.traffic.received(bytes.len() as u64);
        Ok(Get::Object(Object {
            version: Some(version),
            bytes: Some(bytes.len() as u64),
            range,
            server_time: Some(self.clock.now()),
            body: body::once(bytes),
        }))
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        let bytes = body::load(path, body).await?;
        self.traffic.request("put", path.as_str(), bytes.len() as u64);
        let mut state = lock(&self.state);
        if !self.holds(&state, path, &mode) {
            return Ok(Put::Lost);
        }
        let file = state.insert(path, bytes, self.clock.now());
        Ok(Put::Done(Some(self.version(&file))))
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.traffic.request("delete", path.as_str(), 0);
        lock(&self.state).files.remove(path);
        Ok(())
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.traffic.request("list", folder.as_str(), 0);
        let (mut entries, mut foreign) = (BTreeMap::new(), Vec::new());
        for (path, file) in &lock(&self.state).files {
            match child_of(folder, path) {
                Some((path, _)) if RemotePath::new(path.as_str()).is_err() => {
                    foreign.push(path.name().to_owned());
                }
                Some((path, is_folder)) => {
                    entries.insert(path.clone(), self.entry(path, is_folder, file));
                }
                None => {}
            }
        }
        Ok(Listing {
            entries: entries.into_values().collect(),
            foreign,
            server_time: Some(self.clock.now()),
        })
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.traffic.request("move", from.as_str(), 0);
        let mut state = lock(&self.state);
        if !state.files.contains_key(from) {
            return Ok(Move::Lost);
        }
        if state.files.contains_key(to) {
            let detail = format!("there is a file {to} already");
            return Err(Error::new(ErrorKind::Busy, "move", from, detail));
        }
        if let Some(file) = state.files.remove(from) {
            state.insert(to, file.bytes, file.modified);
        }
        Ok(Move::Done)
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.traffic.request("make_folder", folder.as_str(), 0);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: true,
            move_exclusive: true,
            atomic_put: true,
            range: true,
            versions: true,
            trusted: true,
            at_hand: true,
            mirrored_by: None,
        }
    }
}

fn missing(operation: &'static str, path: &RemotePath) -> Error {
    Error::new(ErrorKind::NotFound, operation, path, "there is no such file")
}

fn slice(bytes: &Bytes, range: &std::ops::Range<u64>) -> Bytes {
    let start = usize::try_from(range.start).unwrap_or(bytes.len());
    let end = usize::try_from(range.end).unwrap_or(bytes.len());
    bytes.slice(start..end)
}

/// The direct child of `folder` that `path` is or lies in, and whether that child is a folder.
fn child_of(folder: &RemotePath, path: &RemotePath) -> Option<(RemotePath, bool)> {
    let below = if folder.is_root() {
        path.as_str()
    } else {
        path.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')?
    };
    let (name, is_folder) = match below.split_once('/') {
        Some((name, _)) => (name, true),
        None => (below, false),
    };
    Some((folder.join(name).or_else(|_| RemotePath::found(folder, name)).ok()?, is_folder))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::{StorageExt, testing::path};

    #[tokio::test]
    async fn a_snapshot_brings_back_what_was_lost_and_its_versions() {
        let memory = Memory::new();
        let meta = path("meta.json");
        let first = memory.write(&meta, "one".into()).await.unwrap().unwrap();
        let snapshot = memory.snapshot();
        memory.write(&meta, "two".into()).await.unwrap();
        memory.insert_raw(&path("x"), "raw");
        memory.restore(&snapshot);
        assert_eq!(memory.read(&meta, 10).await.unwrap(), ("one".into(), Some(first)));
        assert_eq!(memory.files().len(), 1);
        assert_eq!(memory.remove_raw(&meta).unwrap(), "one");
        assert!(memory.read(&meta, 10).await.unwrap_err().is_not_found());
    }

    #[tokio::test]
    async fn versions_never_come_back_after_a_delete() {
        let memory = Memory::new();
        let first = memory.write(&path("a"), "1".into()).await.unwrap();
        memory.delete(&path("a")).await.unwrap();
        assert_ne!(memory.write(&path("a"), "1".into()).await.unwrap(), first);
    }

    #[tokio::test]
    async fn versions_are_as_good_as_the_server() {
        let now = Arc::new(Mutex::new(Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap()));
        let told = now.clone();
        let memory = |tags| {
            let told = told.clone();
            Memory::with_clock(Clock::new(move || *lock(&told))).with_tags(tags)
        };
        let write = async |memory: &Memory, text: &'static str| {
            memory.write(&path("a"), text.into()).await.unwrap().unwrap()
        };
        let seconds = memory(Tags::Seconds);
        let first = write(&seconds, "one").await;
        assert_eq!(write(&seconds, "two").await, first);
        assert_ne!(write(&seconds, "three").await, first);
        let weak = memory(Tags::WeakWhenFresh);
        let fresh = write(&weak, "one").await;
        let update = PutMode::Update(fresh);
        assert_eq!(weak.put(&path("a"), "two".into(), update).await.unwrap(), Put::Lost);
        *lock(&now) += TimeDelta::seconds(1);
        let (_, old) = weak.read(&path("a"), 9).await.unwrap();
        let update = PutMode::Update(old.unwrap());
        assert_ne!(weak.put(&path("a"), "two".into(), update).await.unwrap(), Put::Lost);
    }

    #[tokio::test]
    async fn tells_the_time_it_is_given_and_counts() {
        let noon = Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap();
        let traffic = Traffic::new();
        let memory = Memory::with_clock(Clock::new(move || noon)).with_traffic(traffic.clone());
        memory.write(&path("f/a"), "12345".into()).await.unwrap();
        let listing = memory.list(&path("f")).await.unwrap();
        assert_eq!(listing.server_time, Some(noon));
        assert_eq!(listing.entries[0].modified, Some(noon));
        let spent = traffic.snapshot();
        assert_eq!((spent.requests, spent.bytes_up), (2, 5));
    }
}
