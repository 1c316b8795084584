//! Folding deltas and entity files into packs, and removing what no longer counts.

use std::collections::BTreeSet;

use larder_providers::{RemotePath, SharedStorage, Storage, Traffic};

use super::{
    Cost, Engine, EngineError, HISTORY_MS, Progress, RACES_MAX, Result, TurnOptions,
    adopt::{Adopted, Adopting},
    cargo::{Cargo, Folding},
    check::Copies,
    cost::Meter,
    identity::Lineage,
    turn::Outcome,
};
use crate::remote::{
    Advance, CommitMode, DataFile, HeadRead, HeadState, Manifest, Remote, Survey, survey,
};

/// The most contents that one commit retires: the manifest names them.
const BLOBS_RETIRED_MAX: usize = 128;

/// What a compaction may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactOptions {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Write everything anew, even where little is to be gained.
    pub force: bool,
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// The remote's generation afterwards.
    pub generation: u64,
    /// Deltas and entity files that were folded into packs.
    pub deltas_folded: usize,
    /// Packs written.
    pub packs_written: usize,
    /// Packs left as they were.
    pub packs_kept: usize,
    /// Deleted records of which only a marker is left now.
    pub tombstones_dropped: usize,
    /// Files removed.
    pub files_deleted: usize,
    /// Bytes of data files that count, before.
    pub bytes_before: u64,
    /// Bytes of data files that count, afterwards.
    pub bytes_after: u64,
    /// What the compaction cost, the turn before it included.
    pub cost: Cost,
}

impl Engine {
    /// Does a turn, folds what lies on the remote into packs, and removes what no longer counts.
    ///
    /// Nothing that a reader may still need is overwritten or removed: new files go under new names,
    /// the head moves to them, and the old ones are removed a day later.
    pub async fn compact(
        &mut self,
        storage: &SharedStorage,
        traffic: &Traffic,
        options: CompactOptions,
        progress: &dyn Progress,
    ) -> Result<CompactReport> {
        let meter = Meter::start(traffic, &self.clock);
        let mut report = CompactReport::default();
        let turn = TurnOptions { dry_run: options.dry_run, ..TurnOptions::default() };
        self.turn(storage, traffic, turn, progress).await?;
        let remote = self.open_remote(storage, TurnOptions::default()).await?;
        let mut adopted = Adopted::default();
        for race in 0..=RACES_MAX {
            let outcome =
                self.try_compact(&remote, options, &mut adopted, progress, &mut report).await?;
            if outcome == Outcome::Done {
                break;
            }
            if race == RACES_MAX {
                return Err(EngineError::Raced { tries: RACES_MAX + 1 });
            }
            self.pause(race).await;
            self.turn(storage, traffic, TurnOptions::default(), progress).await?;
        }
        if !options.dry_run {
            report.files_deleted += Copies::remove(&remote).await?.len();
        }
        report.cost = meter.read(&self.clock);
        Ok(report)
    }

    pub(super) async fn try_compact(
        &mut self,
        remote: &Remote,
        options: CompactOptions,
        adopted: &mut Adopted,
        progress: &dyn Progress,
        report: &mut CompactReport,
    ) -> Result<Outcome> {
        let HeadRead::Current(head) = self.look_at_head(remote, false).await? else {
            return Err(self.why_missing(remote).await);
        };
        let manifest = &head.manifest;
        let mut survey = survey(remote, &head).await?;
        survey.leave_young_orphans(self.pace.orphan_hours);
        let agreed = self.files_agreed()?;
        if matches!(self.lineage(&head)?, Lineage::WentBack { .. }) && !options.dry_run {
            // It is looked at by a turn first: what is unnamed now may have been named before.
            return Ok(Outcome::Raced);
        }
        let is_behind = !self.replica()?.knows.includes(&manifest.knows);
        if is_behind && !options.dry_run {
            let last = self.store.remote_mark()?;
            if last.is_none_or(|last| last.head != head.mark) {
                // Somebody committed since the turn before: another turn reads it.
                return Ok(Outcome::Raced);
            }
            let text = "this device has not read the whole remote (`larder check` says what is \
                        missing), so it cannot write it anew";
            return Err(EngineError::Refused(text.to_owned()));
        }
        let named = self.store.named_blobs()?;
        // What a head that cannot be read may name is left alone.
        survey.blobs.retain(|content| head.may_remove(&content.path));
        let long_unnamed = self.long_unnamed(&survey, remote.head.mode(), options.dry_run)?;
        let is_long_unnamed = |file: &RemotePath| long_unnamed.contains(file.as_str());
        survey.orphans.extend(survey.loose.extract_if(.., |entry| is_long_unnamed(&entry.path)));
        survey.orphans.retain(|orphan| !agreed.contains(&orphan.path));
        if !options.dry_run {
            let leniently = Adopting { is_strict: false, is_lost: &|_| true };
            if self.adopt(remote, &survey.orphans, adopted, leniently).await? {
                return Ok(Outcome::Raced);
            }
            // Not before: what is taken up brings back what is in the trash.
            report.tombstones_dropped += self.empty_trash(&head)?;
        }
        let folding = if options.force { Folding::All } else { Folding::Due };
        let cargo = self.cargo(manifest, &[], &manifest.knows, folding)?;
        describe(report, manifest, &cargo);
        if options.dry_run {
            report.files_deleted =
                survey.expired.len() + survey.old_manifests.len() + survey.orphans.len();
            return Ok(Outcome::Done);
        }
        let blobs = survey.blobs.iter().map(|entry| &entry.path);
        let is_gone = |file: &&RemotePath| is_long_unnamed(file) && !named.contains(file.as_str());
        let gone: Vec<RemotePath> =
            blobs.filter(is_gone).take(BLOBS_RETIRED_MAX).cloned().collect();
        // One that is named after all leaves the list and stays.
        let (named, expired): (Vec<RemotePath>, _) =
            survey.expired.into_iter().partition(|file| named.contains(file.as_str()));
        survey.expired = expired;
        let has_loose = !survey.loose.is_empty() && remote.head.mode() != CommitMode::Devices;
        let raises_floor = has_loose && manifest.floor <= manifest.generation;
        let has_old = !survey.expired.is_empty() || !survey.orphans.is_empty();
        let is_idle = cargo.replaces(manifest).is_empty() && !has_old;
        if is_idle && !raises_floor && !head.wants_commit() && gone.is_empty() {
            return Ok(Outcome::Done);
        }
        let left = survey.expired.iter().cloned().chain(named).collect();
        // Whoever is cut off before these are removed has nobody take them up again.
        let taken_up = adopted.files.iter().cloned();
        let old = Old { left, gone: gone.into_iter().chain(taken_up).collect() };
        let outcome = self.commit_compaction(remote, &head, &cargo, old, progress, report).await?;
        if outcome == Outcome::Done {
            // Only a commit proves that this was the head: after a backup came back an older answer
            // takes files for old that are named again.
            report.files_deleted += sweep(remote, &survey).await?;
        }
        Ok(outcome)
    }

    /// The data files that the head named when this device last agreed with it. One of them that is
    /// neither named nor retired by now is no orphan: an old state of the head may have been shown.
    fn files_agreed(&self) -> Result<BTreeSet<RemotePath>> {
        let Some(mark) = self.store.remote_mark()? else { return Ok(BTreeSet::new()) };
        let Ok(last) = self.decode_last(&mark.manifest) else { return Ok(BTreeSet::new()) };
        Ok(last.data().map(|data| data.file.clone()).collect())
    }

    /// What nothing names and has not for as long as a history is kept, as far as this device has seen.
    /// Of contents it does not know what is in the histories of others, and a young one has none; and a
    /// data file may have come before the head that names it, if each device has one of its own. How old
    /// it says that it is tells nothing: it has that from the clock of the device that wrote it.
    fn long_unnamed(
        &mut self,
        survey: &Survey,
        mode: CommitMode,
        dry_run: bool,
    ) -> Result<BTreeSet<String>> {
        let Some(now) = survey.server_time.filter(|_| !dry_run) else {
            return Ok(self.store.unnamed(HISTORY_MS)?);
        };
        let mut unnamed = BTreeSet::new();
        for file in survey.blobs.iter().map(|entry| entry.path.as_str()) {
            if !self.store.names_blob(file)? {
                unnamed.insert(file.to_owned());
            }
        }
        if mode == CommitMode::Devices {
            unnamed.extend(survey.loose.iter().map(|entry| entry.path.to_string()));
        }
        Ok(self.store.note_unnamed(&unnamed, now.timestamp_millis(), HISTORY_MS)?)
    }

    async fn commit_compaction(
        &mut self,
        remote: &Remote,
        head: &HeadState,
        cargo: &Cargo,
        old: Old,
        progress: &dyn Progress,
        report: &mut CompactReport,
    ) -> Result<Outcome> {
        self.note_attempt()?;
        let mut next = self.successor(head, true);
        let written = self.load(remote, head, cargo, &mut next, progress).await?;
        // What was sent for a commit that has not been made by now has to be sent again under a new
        // name: from the next compaction on the old one may go.
        next.floor = head.manifest.generation + 1;
        next.retired.retain(|retired| !old.left.contains(&retired.file));
        let since = self.server_now(head.server_time);
        next.retire(old.gone, since);
        let bytes_after = next.bytes();
        match self.advance(remote, head, next).await? {
            Advance::Raced => Ok(Outcome::Raced),
            Advance::Committed(now) => {
                report.packs_written = written;
                report.bytes_after = bytes_after;
                report.generation = now.manifest.generation;
                self.remember(remote, &now, &[])?;
                Ok(Outcome::Done)
            }
        }
    }
}

/// Files that a compaction lets go of.
struct Old {
    /// What leaves the list of those that wait to be removed.
    left: BTreeSet<RemotePath>,
    /// Contents that nothing names any more, and files whose edits were taken up, to be put on it.
    gone: Vec<RemotePath>,
}

fn describe(report: &mut CompactReport, manifest: &Manifest, cargo: &Cargo) {
    let replaced: BTreeSet<&RemotePath> =
        cargo.replaces(manifest).into_iter().map(|data| &data.file).collect();
    let count = |files: &[DataFile], is_replaced: bool| {
        files.iter().filter(|data| replaced.contains(&data.file) == is_replaced).count()
    };
    report.generation = manifest.generation;
    report.bytes_before = manifest.bytes();
    report.bytes_after = report.bytes_before;
    report.deltas_folded = count(&manifest.deltas, true);
    report.packs_kept = count(&manifest.packs, false);
}

/// Removes what no longer counts, and says how many files that was.
async fn sweep(remote: &Remote, survey: &Survey) -> Result<usize> {
    let orphans = survey.orphans.iter().map(|entry| &entry.path);
    let mut gone = 0;
    for file in survey.expired.iter().chain(&survey.old_manifests).chain(orphans) {
        remote.storage.delete(file).await?;
        gone += 1;
    }
    Ok(gone)
}
