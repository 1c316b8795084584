//! The one thing that changes on a remote, and how it changes for one writer at a time.

mod if_match;
mod rename;

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{CommitMode, Manifest, Result};

pub use if_match::IfMatch;
pub use rename::Rename;

/// Which manifest is current, and the step to the next.
#[async_trait]
pub trait Head: Send + Sync + fmt::Debug {
    /// How commits are made.
    fn mode(&self) -> CommitMode;

    /// Reads the head; `known` is the mark of the state that the caller has.
    async fn read(&self, known: Option<&str>) -> Result<HeadRead>;

    /// Makes `next` current if `seen` still is. A reply that is lost or lies is looked into: the
    /// commit was made if and only if what is current then knows every edit that `next` knows.
    async fn advance(&self, seen: &HeadState, next: Manifest) -> Result<Advance>;

    /// Makes the head of a remote that has none yet; one that is there already stays.
    async fn found(&self, first: &Manifest) -> Result<()>;
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
    /// Tokens beside the current one. Their manifests are joined into this one; the next commit
    /// takes them away.
    pub strays: Vec<String>,
    /// What the remote consists of.
    pub manifest: Manifest,
    /// The digest of the manifest as it was read; empty if there was none to read.
    pub sha256: String,
    /// The storage's own clock when it was read.
    pub server_time: Option<DateTime<Utc>>,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Advance {
    /// It was made; this is current, or was a moment ago.
    Committed(Box<HeadState>),
    /// Somebody else was first.
    Raced,
}

/// Whether a commit of `wanted` is part of what `current` says: by its name, or by its edits.
fn holds_commit(current: &Manifest, wanted: &Manifest, seen: &Manifest) -> bool {
    let is_it = current.commit.id == wanted.commit.id;
    let has_news = !seen.knows.includes(&wanted.knows);
    is_it || (has_news && current.knows.includes(&wanted.knows))
}
