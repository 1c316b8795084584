//! Contents of files: sent before the edits that name them, fetched after everything else.

mod fetch;
mod renew;
mod send;

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, HISTORY_MS, Result};
use crate::{
    model::{Blob, ContentHash, EntityId, limits::STAMP_AHEAD_MS_MAX},
    remote::Manifest,
    vault::{Renamed, Scan, ScannedFile},
};

/// How many contents are on their way at once.
const AT_ONCE: usize = 4;
/// After so many contents that a poor line cut the rest waits for the next turn.
const FAILURES_MAX: usize = 3;
/// For how long what was seen on the remote is certain to stay there, in milliseconds: nobody
/// collects what is younger than a day.
const CERTAIN_MS: i64 = STAMP_AHEAD_MS_MAX;

/// What a turn knows of contents.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By digest, what was sent or found on the remote in this turn.
    known: BTreeMap<String, Blob>,
    /// When that was, by file.
    seen_ms: BTreeMap<String, i64>,
    /// What the manifest is about to let go of.
    retired: BTreeSet<String>,
    /// Whether the remote lost what it had, so that nothing follows from what was agreed.
    pub(super) is_lost: bool,
    /// Files whose contents have to be sent before their edits are made.
    waiting: Scan,
    /// Contents that cannot be sent in this turn.
    refused: BTreeSet<String>,
    /// Records whose files want a content that is not here.
    wanted: BTreeMap<EntityId, Blob>,
    failures: usize,
    /// How often this turn looked again before it named a content.
    pub(super) looks: usize,
}

impl Contents {
    /// A try of a turn begins, on top of this manifest.
    pub(super) fn begin(&mut self, manifest: &Manifest, is_lost: bool) {
        self.retired = manifest.retired.iter().map(|old| old.file.to_string()).collect();
        self.is_lost = is_lost;
        self.wanted.clear();
    }

    /// The vault is scanned, and what waits is found anew.
    pub(super) fn begin_scan(&mut self) {
        self.waiting = Scan::default();
    }

    pub(super) fn defer(&mut self, file: ScannedFile, is_new: bool) {
        if !self.refused.contains(&file.sha256.to_string()) {
            let list = if is_new { &mut self.waiting.new } else { &mut self.waiting.changed };
            list.push(file);
        }
    }

    pub(super) fn defer_renamed(&mut self, renamed: Renamed) {
        if !self.refused.contains(&renamed.file.sha256.to_string()) {
            self.waiting.renamed.push(renamed);
        }
    }

    pub(super) fn want(&mut self, wanted: impl IntoIterator<Item = (EntityId, Blob)>) {
        self.wanted.extend(wanted);
    }

    /// What lies under this name is no good, although it is there.
    pub(super) fn distrust(&mut self, blob: &Blob) {
        self.retired.insert(blob.file.clone());
    }

    fn found(&mut self, blob: Blob, now_ms: i64) {
        self.seen_ms.insert(blob.file.clone(), now_ms);
        self.known.insert(blob.sha256.clone(), blob);
    }
}

impl Engine {
    /// What the record of a file says of its content: the name of a file that the remote has for
    /// certain. Nothing if the content has to be sent first.
    pub(super) fn blob_of(&mut self, file: &ScannedFile) -> Result<Option<Blob>> {
        let sha256 = file.sha256.to_string();
        if let Some(blob) = self.contents.known.get(&sha256)
            && self.is_certain(blob)?
        {
            return Ok(Some(blob.clone()));
        }
        for named in self.store.blobs_of(&sha256)? {
            if named.blob.bytes == file.stat.size && self.is_certain(&named.blob)? {
                return Ok(Some(named.blob));
            }
        }
        Ok(None)
    }

    /// A content under a name that nobody used.
    pub(super) fn new_blob(&mut self, sha256: ContentHash, bytes: u64) -> Blob {
        Blob::new(&sha256.to_string(), bytes, &mut self.random)
    }

    /// Whether a commit on top of the present manifest may name this file.
    pub(super) fn is_certain(&self, blob: &Blob) -> Result<bool> {
        if self.contents.retired.contains(&blob.file) {
            return Ok(false);
        }
        let since = self.clock.now().millis() - CERTAIN_MS;
        if self.contents.seen_ms.get(&blob.file).is_some_and(|seen| *seen > since) {
            return Ok(true);
        }
        Ok(!self.contents.is_lost && self.store.is_agreed_blob(&blob.file)?)
    }

    /// Where a content may lie already, on a remote that nothing certain is known of: under a name
    /// that some state has, or that an earlier turn sent before it was cut off.
    fn candidates(&self, blob: &Blob) -> Result<Vec<Blob>> {
        let since = self.clock.now().millis() - HISTORY_MS;
        let named = self.store.blobs_of(&blob.sha256)?.into_iter().map(|named| named.blob.file);
        let sent = self.store.sent_blobs_of(&blob.sha256, since)?;
        let mut found: Vec<Blob> = Vec::new();
        for file in named.chain(sent) {
            let is_known = found.iter().any(|blob| blob.file == file);
            if !is_known && !self.contents.retired.contains(&file) {
                found.push(Blob { file, ..blob.clone() });
            }
        }
        found.truncate(AT_ONCE);
        Ok(found)
    }
}
