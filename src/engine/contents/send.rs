//! Sending contents before the edits that name them.

use std::{collections::BTreeMap, path::PathBuf};

use futures::{StreamExt, stream};
use larder_providers::{ErrorKind, SharedStorage, Storage as _};

use super::{AT_ONCE, FAILURES_MAX};
use crate::{
    engine::{Engine, NoteKind, Progress, Report, Result, Stage},
    model::{Blob, VaultPath},
    remote::{
        Remote, RemoteError,
        blob::{is_there, upload},
        layout,
    },
    vault::{Scan, ScannedFile},
};

/// How many bytes of contents are sent before what they belong to is committed.
const CHUNK_BYTES: u64 = 256 << 20;
/// How many contents are.
const CHUNK_FILES: usize = 1024;

/// A content to be sent.
struct Job {
    path: PathBuf,
    name: VaultPath,
    /// What it is called if it has to be sent.
    new: Blob,
    /// Where it may lie already.
    candidates: Vec<Blob>,
}

impl Job {
    /// Finds the content on the remote or sends it; says what it is called there.
    async fn send(&self, storage: &SharedStorage) -> Result<Blob, RemoteError> {
        for candidate in &self.candidates {
            if is_there(storage, candidate).await? {
                return Ok(candidate.clone());
            }
        }
        upload(storage, &self.new, self.path.clone()).await?;
        Ok(self.new.clone())
    }
}

impl Engine {
    /// Sends some of the contents that wait, the smallest first. Gives the files whose edits can be
    /// made now; nothing if none waits any more.
    pub(in crate::engine) async fn send_contents(
        &mut self,
        remote: &Remote,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Option<Scan>> {
        if self.contents.failures >= FAILURES_MAX {
            return Ok(None);
        }
        let chunk = take_chunk(&mut self.contents.waiting);
        let jobs = self.jobs(&chunk)?;
        if jobs.is_empty() {
            return Ok(None);
        }
        if !self.store.has_agreed_blobs()? {
            remote.storage.make_folder(&Remote::path(layout::BLOBS)?).await?;
        }
        let of = jobs.len() as u64;
        progress.step(Stage::Send, 0, of);
        let storage = &remote.storage;
        let mut sending = stream::iter(jobs)
            .map(|job| async move { (job.send(storage).await, job) })
            .buffer_unordered(AT_ONCE);
        let mut done = 0;
        while let Some((sent, job)) = sending.next().await {
            match sent {
                Ok(blob) => {
                    let now_ms = self.clock.now().millis();
                    if blob == job.new {
                        self.store.note_sent_blob(&blob.file, now_ms)?;
                    }
                    self.contents.found(blob, now_ms);
                }
                Err(error) => {
                    let is_passing = note_unsent(&error, &job.name, report)?;
                    self.contents.failures += usize::from(is_passing);
                    self.contents.refused.insert(job.new.sha256);
                }
            }
            done += 1;
            progress.step(Stage::Send, done, of);
        }
        drop(sending);
        let known = &self.contents.known;
        Ok(Some(split(chunk, |file| known.contains_key(&file.sha256.to_string())).0))
    }

    /// What has to be sent for these files, each content once.
    fn jobs(&mut self, chunk: &Scan) -> Result<Vec<Job>> {
        let mut jobs = BTreeMap::new();
        let Some(vault) = self.vault.clone() else { return Ok(Vec::new()) };
        for file in files(chunk) {
            let sha256 = file.sha256.to_string();
            if jobs.contains_key(&sha256) {
                continue;
            }
            let new = self.new_blob(file.sha256, file.stat.size);
            let candidates = self.candidates(&new)?;
            let (path, name) = (file.path.under(vault.root()), file.path.clone());
            jobs.insert(sha256, Job { path, name, new, candidates });
        }
        let mut jobs: Vec<Job> = jobs.into_values().collect();
        jobs.sort_by_key(|job| job.new.bytes);
        Ok(jobs)
    }
}

/// Notes that a content was not sent; says whether that may pass with the line.
pub(super) fn note_unsent(
    error: &RemoteError,
    name: &VaultPath,
    report: &mut Report,
) -> Result<bool> {
    let kind = error.storage_kind();
    if kind == Some(ErrorKind::Changed) {
        let text = "changed while it was sent; it waits for the next turn";
        report.note(NoteKind::Waiting, name, text);
        return Ok(false);
    }
    report.note(NoteKind::Waiting, name, format!("could not be sent and waits: {error}"));
    Ok(kind.is_none_or(ErrorKind::is_temporary))
}

fn files(scan: &Scan) -> impl Iterator<Item = &ScannedFile> {
    let renamed = scan.renamed.iter().map(|renamed| &renamed.file);
    scan.new.iter().chain(&scan.changed).chain(renamed)
}

/// The files for which `is_first` holds, and the others.
fn split(scan: Scan, is_first: impl Fn(&ScannedFile) -> bool) -> (Scan, Scan) {
    let (new, new_rest) = scan.new.into_iter().partition(&is_first);
    let (changed, changed_rest) = scan.changed.into_iter().partition(&is_first);
    let (renamed, renamed_rest) =
        scan.renamed.into_iter().partition(|renamed| is_first(&renamed.file));
    let first = Scan { new, changed, renamed, ..Scan::default() };
    let (new, changed, renamed) = (new_rest, changed_rest, renamed_rest);
    (first, Scan { new, changed, renamed, ..Scan::default() })
}

/// Takes the smallest files out of those that wait, as many as are to be committed at once.
fn take_chunk(waiting: &mut Scan) -> Scan {
    let mut sizes: Vec<u64> = files(waiting).map(|file| file.stat.size).collect();
    sizes.sort_unstable();
    let mut left = CHUNK_BYTES;
    let fits = |size: &&u64| {
        let had = left;
        left = left.saturating_sub(**size);
        had > 0
    };
    let limit = sizes.iter().take(CHUNK_FILES).take_while(fits).last().copied();
    let Some(limit) = limit else { return Scan::default() };
    let (chunk, rest) = split(std::mem::take(waiting), |file| file.stat.size <= limit);
    *waiting = rest;
    chunk
}
