//! Contents of files: sent before the edits that name them, fetched after everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::{StreamExt, stream};
use larder_providers::{ErrorKind, SharedStorage, Storage as _};

use super::{Engine, NoteKind, Progress, Report, Result, Stage, edits::LocalEdits};
use crate::{
    merge::{LocalEdit, view},
    model::{
        Agreed, Blob, Change, Changes, Content, ContentHash, EntityId, Record, VaultPath,
        entity::BLOB, limits::STAMP_AHEAD_MS_MAX,
    },
    remote::{
        Manifest, Remote, RemoteError,
        blob::{download, is_there, upload},
        layout,
    },
    vault::{Renamed, Scan, ScannedFile},
};

/// How many contents are on their way at once.
const AT_ONCE: usize = 4;
/// How many bytes of contents are sent before what they belong to is committed.
const CHUNK_BYTES: u64 = 256 << 20;
/// How many contents are.
const CHUNK_FILES: usize = 1024;
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
    is_lost: bool,
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

    fn found(&mut self, blob: Blob, now_ms: i64) {
        self.seen_ms.insert(blob.file.clone(), now_ms);
        self.known.insert(blob.sha256.clone(), blob);
    }
}

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

    /// Sends some of the contents that wait, the smallest first. Gives the files whose edits can be
    /// made now; nothing if none waits any more.
    pub(super) async fn send_contents(
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

    /// Where a content may lie already, on a remote that nothing certain is known of: under a name
    /// that some state has, or that an earlier turn sent before it was cut off.
    fn candidates(&self, blob: &Blob) -> Result<Vec<Blob>> {
        let since = self.clock.now().millis() - super::HISTORY_MS;
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

    /// Makes sure that what is about to be sent names no content which the remote may not have:
    /// after a turn that was cut off, on a remote that went back, where somebody collected it.
    pub(super) async fn renew_contents(
        &mut self,
        remote: &Remote,
        manifest: &Manifest,
        report: &mut Report,
    ) -> Result<()> {
        let mut ids = self.store.blob_owners(!self.contents.is_lost)?;
        if !ids.is_empty() {
            let unsettled = self.store.unsettled(&manifest.knows)?;
            ids.retain(|id| unsettled.contains(id));
        }
        for id in ids {
            let Some(record) = self.store.record(&id)? else { continue };
            let shown = view(&record.state, &self.rules);
            let stays = shown.is_deleted || !self.rules.syncs(&shown.type_name);
            let Some(blob) = shown.blob().filter(|_| !stays) else { continue };
            if self.is_certain(&blob)? {
                continue;
            }
            let name = shown.path().unwrap_or(id.as_str()).to_owned();
            if let Some(blob) = self.renewed(remote, &record, &blob, &name, report).await? {
                let content = Content::new(blob.to_value());
                let changes = Changes::from([(BLOB.to_owned(), Change::set(content))]);
                self.edit(&id, LocalEdit::Made(changes))?;
            }
        }
        Ok(())
    }

    /// Another value for a record whose content nothing certain is known of; nothing if it can stay.
    async fn renewed(
        &mut self,
        remote: &Remote,
        record: &Record,
        blob: &Blob,
        name: &str,
        report: &mut Report,
    ) -> Result<Option<Blob>> {
        let now_ms = self.clock.now().millis();
        for candidate in [vec![blob.clone()], self.candidates(blob)?].concat() {
            let is_retired = self.contents.retired.contains(&candidate.file);
            if !is_retired && is_there(&remote.storage, &candidate).await? {
                self.contents.found(candidate.clone(), now_ms);
                return Ok((candidate != *blob).then_some(candidate));
            }
        }
        let own = record.file.clone().filter(|_| record.file_sha256.as_ref() == Some(&blob.sha256));
        let others = self.store.files_with(&blob.sha256)?.into_iter().map(|(path, _)| path);
        if let (Some(path), Some(vault)) = (own.into_iter().chain(others).next(), &self.vault) {
            let from = path.under(vault.root());
            let new = Blob::new(&blob.sha256, blob.bytes, &mut self.random);
            match upload(&remote.storage, &new, from).await {
                Ok(()) => {
                    self.store.note_sent_blob(&new.file, now_ms)?;
                    self.contents.found(new.clone(), now_ms);
                    return Ok(Some(new));
                }
                Err(error) => note_unsent(&error, &path, report)?,
            };
            return Ok(None);
        }
        report.note(
            NoteKind::Damaged,
            name,
            "its content is gone: no file of this vault has it, and the remote does not either",
        );
        let agreed = match &record.agreed {
            Agreed::Earlier(agreed) => view(agreed, &self.rules).blob(),
            _ => None,
        };
        Ok(agreed.filter(|agreed| agreed.sha256 != blob.sha256))
    }

    /// Gets the contents that files of the vault still want, from other files of it or from the
    /// remote, and places them.
    pub(super) async fn fetch_contents(
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
                if !missing.contains(&sha256) {
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
                let part = vault.content_part(sha256);
                let mut outcome = Ok(());
                for candidate in &candidates {
                    outcome = download(storage, candidate, &part, &|_| {}).await;
                    if !matches!(&outcome, Err(error) if is_about_content(error)) {
                        break;
                    }
                }
                (outcome, sha256, ids)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((outcome, sha256, ids)) = fetching.next().await {
            match outcome {
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
    pub(super) fn gather(&self, sha256: ContentHash) -> Result<bool> {
        let Some(vault) = &self.vault else { return Ok(false) };
        if vault.content(sha256).exists() {
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

/// Notes that a content was not sent; says whether that may pass with the line.
fn note_unsent(error: &RemoteError, name: &VaultPath, report: &mut Report) -> Result<bool> {
    let kind = error.storage_kind();
    if kind == Some(ErrorKind::Changed) {
        let text = "changed while it was sent; it waits for the next turn";
        report.note(NoteKind::Waiting, name, text);
        return Ok(false);
    }
    report.note(NoteKind::Waiting, name, format!("could not be sent and waits: {error}"));
    Ok(kind.is_none_or(ErrorKind::is_temporary))
}

/// Whether it is this content that is wrong, and not the way to it.
fn is_about_content(error: &RemoteError) -> bool {
    use ErrorKind::{NotFound, Protocol, TooLarge};
    matches!(error, RemoteError::Damaged { .. })
        || error.storage_kind().is_some_and(|kind| matches!(kind, NotFound | Protocol | TooLarge))
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
