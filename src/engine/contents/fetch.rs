//! Fetching the contents that files want, and placing them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use larder_providers::ErrorKind;

use super::{AT_ONCE, FAILURES_MAX};
use crate::{
    engine::{Engine, NoteKind, Progress, Report, Result, Stage, edits::LocalEdits},
    merge::view,
    model::{Blob, ContentHash, EntityId},
    remote::{Remote, RemoteError, blob::download},
};

impl Engine {
    /// Gets the contents that files of the vault still want, from other files of it or from the
    /// remote, and places them.
    pub(in crate::engine) async fn fetch_contents(
        &mut self,
        remote: &Remote,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<()> {
        let Some(vault) = self.vault.clone() else { return Ok(()) };
        self.contents.failures = 0;
        // What does not come, or waits for its place, goes on in the next turn.
        let (mut kept, mut missing) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let wanted = std::mem::take(&mut self.contents.wanted);
            let mut by_digest: BTreeMap<ContentHash, (Blob, Vec<EntityId>)> = BTreeMap::new();
            for (id, blob) in wanted {
                let Some(sha256) = ContentHash::parse(&blob.sha256) else { continue };
                // What only another remote holds is wanted of that one.
                let is_here = self.store.is_agreed_blob(&blob.file)?;
                if !is_here && self.store.is_held_elsewhere(&blob.file)? {
                    kept.insert(sha256);
                    if self.gather(sha256)? {
                        self.catch_up(&[id], report)?;
                    }
                } else if !missing.contains(&sha256) {
                    by_digest.entry(sha256).or_insert_with(|| (blob, Vec::new())).1.push(id);
                }
            }
            if by_digest.is_empty() {
                break;
            }
            kept.extend(by_digest.keys().copied());
            missing.extend(self.fetch_all(remote, by_digest, progress, report).await?);
        }
        vault.clear_contents(&kept)?;
        Ok(())
    }

    /// Gets these contents, and places each as it comes. Gives those that did not.
    async fn fetch_all(
        &mut self,
        remote: &Remote,
        wanted: BTreeMap<ContentHash, (Blob, Vec<EntityId>)>,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<BTreeSet<ContentHash>> {
        let Some(vault) = self.vault.clone() else { return Ok(BTreeSet::new()) };
        let (of, mut done) = (wanted.len() as u64, 0);
        let mut missing: BTreeSet<ContentHash> = wanted.keys().copied().collect();
        let mut jobs = Vec::new();
        for (sha256, (blob, ids)) in wanted {
            if self.gather(sha256)? {
                self.catch_up(&ids, report)?;
                missing.remove(&sha256);
                done += 1;
            } else {
                let candidates = [vec![blob.clone()], self.candidates(&blob)?].concat();
                jobs.push((blob.bytes, sha256, candidates, ids));
            }
        }
        jobs.sort();
        progress.step(Stage::Fetch, done, of);
        let (storage, vault) = (&remote.storage, &vault);
        let mut fetching = stream::iter(jobs)
            .map(|(_, sha256, candidates, ids)| async move {
                let mut outcome = Ok(());
                let (file, path) = match vault.content_part(sha256) {
                    Ok(part) => part,
                    Err(error) => return (Err(error), sha256, ids),
                };
                for candidate in &candidates {
                    outcome = download(storage, candidate, (&file, &path), &|_| {}).await;
                    if !matches!(&outcome, Err(error) if is_about_content(error)) {
                        break;
                    }
                }
                (Ok(outcome), sha256, ids)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((outcome, sha256, ids)) = fetching.next().await {
            match outcome? {
                Ok(()) => {
                    vault.keep_content(sha256)?;
                    self.catch_up(&ids, report)?;
                    missing.remove(&sha256);
                }
                Err(error) => {
                    self.note_unfetched(error, &ids, report)?;
                    if self.contents.failures >= FAILURES_MAX {
                        break;
                    }
                }
            }
            done += 1;
            progress.step(Stage::Fetch, done, of);
        }
        Ok(missing)
    }

    fn note_unfetched(
        &mut self,
        error: RemoteError,
        ids: &[EntityId],
        report: &mut Report,
    ) -> Result<()> {
        if matches!(error, RemoteError::Local { .. }) {
            return Err(error.into());
        }
        let is_about_content = is_about_content(&error);
        self.contents.failures += usize::from(!is_about_content);
        for id in ids {
            let Some(record) = self.store.record(id)? else { continue };
            let shown = view(&record.state, &self.rules);
            let name = shown.path().unwrap_or(id.as_str());
            if is_about_content {
                let text = format!("its content cannot be had from the remote: {error}");
                report.note(NoteKind::Damaged, name, text);
            } else {
                let text = format!("its content has not come yet: {error}; the next turn goes on");
                report.note(NoteKind::Waiting, name, text);
            }
        }
        Ok(())
    }

    /// Has a content ready to be placed, if this device has it anywhere.
    pub(in crate::engine) fn gather(&self, sha256: ContentHash) -> Result<bool> {
        let Some(vault) = &self.vault else { return Ok(false) };
        if vault.has_content(sha256)? {
            return Ok(true);
        }
        for (path, _) in self.store.files_with(&sha256.to_string())? {
            if vault.copy_content(&path, sha256)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings the files of records up to them.
    fn catch_up(&mut self, ids: &[EntityId], report: &mut Report) -> Result<()> {
        for id in ids {
            self.carry_in(id, LocalEdits::default(), report)?;
        }
        Ok(())
    }
}

/// Whether it is this content that is wrong, and not the way to it.
fn is_about_content(error: &RemoteError) -> bool {
    use ErrorKind::{NotFound, Protocol, TooLarge};
    matches!(error, RemoteError::Damaged { .. })
        || error.storage_kind().is_some_and(|kind| matches!(kind, NotFound | Protocol | TooLarge))
}
