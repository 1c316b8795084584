//! The one thing that changes on a remote, and how it changes for one writer at a time.

mod budget;
mod devices;
mod if_match;
mod rename;
mod shelf;
mod sorted;
mod stamps;

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use larder_providers::{RemotePath, SharedStorage, StorageExt};

use self::budget::{Budget, too_much};
use super::{CommitMode, Manifest, Result, layout};
use crate::model::{
    DeviceId,
    limits::{MANIFEST_BYTES_MAX, TOKENS_MAX},
};

pub use devices::Devices;
pub use if_match::IfMatch;
pub use rename::Rename;

/// Which manifest is current, and the step to the next.
#[async_trait]
pub trait Head: Send + Sync + fmt::Debug {
    /// How commits are made.
    fn mode(&self) -> CommitMode;

    /// Reads the head for somebody.
    async fn read(&self, reader: &Reader<'_>) -> Result<HeadRead>;

    /// Makes `next` current if `seen` still is. A reply that is lost or lies is looked into: the
    /// commit was made if and only if what is current then names it as the last of its device.
    async fn advance(&self, seen: &HeadState, next: Manifest) -> Result<Advance>;

    /// Makes the head of a remote that has none yet; one that is there already stays.
    async fn found(&self, first: &Manifest) -> Result<()>;

    /// The manifests that lie there and can be read, whether or not they are current.
    async fn manifests(&self) -> Result<Vec<Manifest>>;

    /// Makes `next` current on a remote whose head is gone or cannot be read. Where it can be read
    /// after all, that is a race that was lost.
    async fn rebuild(&self, reader: &Reader<'_>, next: Manifest) -> Result<Advance>;

    /// Removes what a device has of its own; `now` is the state in which it takes no part any more.
    async fn forget(&self, device: &DeviceId, now: &Manifest) -> Result<()>;
}

/// Who reads a head, and what it has already.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// The state it has.
    pub last: Option<Last<'a>>,
    /// Take what is there, even where something is sure to be missing.
    pub is_lenient: bool,
    /// Look also where nothing seems to have changed, whether what is named is still there.
    pub is_thorough: bool,
}

/// A state of the head that somebody has.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    /// What it is known by.
    pub mark: &'a str,
    /// What it said.
    pub manifest: &'a Manifest,
}

impl<'a> Reader<'a> {
    /// A device that has nothing yet, or wants to see everything anew.
    pub fn new(device: &'a DeviceId) -> Self {
        Self { device, last: None, is_lenient: false, is_thorough: false }
    }

    fn mark(&self) -> Option<&'a str> {
        self.last.map(|last| last.mark)
    }
}

/// What reading the head gave.
#[derive(Debug)]
pub enum HeadRead {
    /// It is what the caller has.
    Unchanged,
    /// It is this.
    Current(Box<HeadState>),
    /// There is none.
    Missing,
}

/// The head at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadState {
    /// What to know this state by: a version, or a token's name.
    pub mark: String,
    /// Files beside the head, such as copies that other programs made of it. What they say is joined
    /// into this manifest; the next commit takes them away.
    pub strays: Vec<RemotePath>,
    /// Whether a commit has to be made although there is nothing new.
    pub is_stale: bool,
    /// What the remote consists of.
    pub manifest: Manifest,
    /// The digest of the manifest as it was read; empty if there was none to read.
    pub sha256: String,
    /// The storage's own clock when it was read.
    pub server_time: Option<DateTime<Utc>>,
    /// What heads say that are not part of this one.
    pub others: Others,
}

/// What heads say that are not part of the current state, or not any more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Others {
    /// Files that they name and the current manifest does not.
    pub named: BTreeSet<RemotePath>,
    /// Those of them that heads name which are part of it: others have folded them since.
    pub outdone: BTreeSet<RemotePath>,
    /// Those that cannot be read: they may name anything.
    pub unreadable: BTreeSet<RemotePath>,
    /// Heads that do not count yet, and why.
    pub waiting: Vec<(RemotePath, String)>,
    /// What those say.
    pub unmet: Vec<Manifest>,
}

impl HeadState {
    /// Whether a commit would do some good, even with nothing to send.
    pub fn wants_commit(&self) -> bool {
        self.is_stale || !self.strays.is_empty()
    }

    /// Whether a file that the manifest does not name may be removed.
    pub fn may_remove(&self, file: &RemotePath) -> bool {
        self.others.unreadable.is_empty() && !self.others.named.contains(file)
    }

    /// Whether a file that the manifest does not name may be named by a head that cannot be read, and
    /// by no other.
    pub fn is_doubtful(&self, file: &RemotePath) -> bool {
        let is_data = layout::data_generation(file.as_str()).is_some();
        !self.others.unreadable.is_empty() && is_data && !self.others.named.contains(file)
    }
}

/// What became of a commit.
#[derive(Debug)]
pub enum Advance {
    /// It was made; this is current, or was a moment ago.
    Committed(Box<HeadState>),
    /// Somebody else was first.
    Raced,
}

/// The manifests among these files, as far as they can be read and there is room for them.
async fn readable(storage: &SharedStorage, files: Vec<RemotePath>) -> Result<Vec<Manifest>> {
    let (mut manifests, mut budget) = (Vec::new(), Budget::default());
    for file in files {
        match storage.read(&file, MANIFEST_BYTES_MAX).await {
            Ok((bytes, _)) if budget.take(&bytes) => {
                manifests.extend(Manifest::decode(file.as_str(), &bytes).ok());
            }
            Ok(_) => {}
            Err(error) if error.is_temporary() => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(manifests)
}

/// Joins what the copies of a head say that another program made, once all that they name is there;
/// each of these is a stray from then on. A copy is a manifest, or a file that stands for one.
async fn join_copies(
    storage: &SharedStorage,
    state: &mut HeadState,
    copies: Vec<(RemotePath, RemotePath)>,
    budget: &mut Budget,
) -> Result<()> {
    let mut shelf = shelf::Shelf::default();
    let beyond = copies.len().saturating_sub(TOKENS_MAX);
    for (nth, (file, manifest)) in copies.into_iter().enumerate() {
        if nth == TOKENS_MAX {
            let why = format!("is one of {beyond} beyond the {TOKENS_MAX} copies that are read");
            state.others.set_aside(file, why);
            break;
        }
        let Ok((bytes, _)) = storage.read(&manifest, MANIFEST_BYTES_MAX).await else { continue };
        if !budget.take(&bytes) {
            state.others.set_aside(file, too_much());
            continue;
        }
        let Ok(copy) = Manifest::decode(manifest.as_str(), &bytes) else { continue };
        let is_ours = copy.remote_id == state.manifest.remote_id;
        if is_ours && shelf.first_missing(storage, &copy).await?.is_none() {
            state.manifest.join(&copy);
            state.strays.push(file);
        }
    }
    Ok(())
}

/// Whether the commit of `wanted` is part of what `current` says. Edits prove nothing: under the same
/// dots another life of the replica may have made others.
fn holds_commit(current: &Manifest, wanted: &Manifest) -> bool {
    let device = current.devices.get(&wanted.commit.device);
    let last = device.and_then(|device| device.commit.as_ref());
    current.commit.id == wanted.commit.id || last == Some(&wanted.commit.id)
}
