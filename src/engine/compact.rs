//! Folding deltas and entity files into packs, and removing what no longer counts.

use std::collections::{BTreeMap, BTreeSet};

use larder_providers::{Entry, RemotePath, SharedStorage, Storage, StorageExt, Traffic};

use super::{
    Cost, Engine, EngineError, HISTORY_MS, Progress, RACES_MAX, Result, TurnOptions,
    cargo::{Cargo, Folding},
    cost::Meter,
    identity::Lineage,
    observe::join_news,
    turn::Outcome,
};
use crate::{
    digest::sha256_hex,
    merge::{LocalEdit, view},
    model::{
        Change, Changes, DeviceId, Dot, Entity, Sibling, Stamp, entity::DELETED,
        limits::DATA_FILE_BYTES_MAX,
    },
    remote::{
        Advance, CommitMode, DataFile, HeadRead, HeadState, Manifest, Remote, Retired, Survey,
        decode_loose, layout, survey,
    },
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
        survey.orphans.retain(|orphan| !agreed.contains(&orphan.path));
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
        if !options.dry_run {
            report.tombstones_dropped += self.empty_trash(&head)?;
        }
        let folding = if options.force { Folding::All } else { Folding::Due };
        let cargo = self.cargo(manifest, &[], &manifest.knows, folding)?;
        describe(report, manifest, &cargo);
        let named = self.store.named_blobs()?;
        if options.dry_run {
            report.files_deleted =
                survey.expired.len() + survey.old_manifests.len() + survey.orphans.len();
            return Ok(Outcome::Done);
        }
        let leniently = Adopting { is_strict: false, is_lost: &|_| true };
        if self.adopt(remote, &survey.orphans, adopted, leniently).await? {
            return Ok(Outcome::Raced);
        }
        let unnamed = self.long_unnamed(&survey, &named)?;
        // One that is named after all leaves the list and stays.
        let (named, expired): (Vec<RemotePath>, _) =
            survey.expired.into_iter().partition(|file| named.contains(file.as_str()));
        survey.expired = expired;
        let has_loose = !survey.loose.is_empty() && remote.head.mode() != CommitMode::Devices;
        let raises_floor = has_loose && manifest.floor <= manifest.generation;
        let has_old = !survey.expired.is_empty() || !survey.orphans.is_empty();
        let is_idle = cargo.replaces(manifest).is_empty() && !has_old;
        if is_idle && !raises_floor && !head.wants_commit() && unnamed.is_empty() {
            return Ok(Outcome::Done);
        }
        let left = survey.expired.iter().cloned().chain(named).collect();
        // Whoever is cut off before these are removed has nobody take them up again.
        let taken_up = adopted.files.iter().cloned();
        let old = Old { left, gone: unnamed.into_iter().chain(taken_up).collect() };
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

    /// Contents that nothing names and has not for as long as a history is kept, as far as this device
    /// has seen: it does not know what is in the histories of others, and a young one has none.
    fn long_unnamed(
        &mut self,
        survey: &Survey,
        named: &BTreeSet<String>,
    ) -> Result<Vec<RemotePath>> {
        let Some(now) = survey.server_time else { return Ok(Vec::new()) };
        let mut unnamed = BTreeSet::new();
        for file in survey.blobs.iter().map(|entry| entry.path.as_str()) {
            if !self.store.names_blob(file)? {
                unnamed.insert(file.to_owned());
            }
        }
        let now_ms = now.timestamp_millis();
        let old = self.store.note_unnamed_blobs(&unnamed, now_ms, now_ms - HISTORY_MS)?;
        let files = survey.blobs.iter().map(|entry| &entry.path);
        let gone =
            files.filter(|file| old.contains(file.as_str()) && !named.contains(file.as_str()));
        Ok(gone.take(BLOBS_RETIRED_MAX).cloned().collect())
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
        let retired = old.gone.into_iter().map(|file| Retired { file, since });
        next.retired.extend(retired);
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

    /// Takes values out of files that a cut turn left behind and whose maker may never come back,
    /// as edits of this device that compete with what is there: their own dots may be missing
    /// earlier ones. What there was has to be sent before the files may go; says whether there was any.
    pub(super) async fn adopt(
        &mut self,
        remote: &Remote,
        orphans: &[Entry],
        adopted: &mut Adopted,
        how: Adopting<'_>,
    ) -> Result<bool> {
        let mut found = Vec::new();
        let knows = self.replica()?.knows;
        for orphan in orphans {
            if adopted.looked_at.insert(orphan.path.clone()) {
                let mut entities = read_orphan(remote, orphan, how.is_strict).await?;
                let is_new = |(device, counter): (&DeviceId, u64)| {
                    counter > knows.get(device) && (how.is_lost)(device)
                };
                entities.retain(|entity| entity.seen().iter().any(is_new));
                if !entities.is_empty() {
                    adopted.files.insert(orphan.path.clone());
                }
                found.extend(entities);
            }
        }
        let mut has_values = false;
        for state in join_news(found).into_values() {
            for edit in self.unknown_edits(&state)? {
                self.edit(&state.id, edit)?;
                has_values = true;
            }
        }
        Ok(has_values)
    }

    /// The edits in a state that this replica has neither seen nor holds.
    fn unknown_edits(&self, found: &Entity) -> Result<Vec<LocalEdit>> {
        let record = self.store.record(&found.id)?;
        let is_deleted = view(found, &self.rules).is_deleted;
        // Whoever deleted it had seen what it was; a copy that lies about brings it not back.
        if is_deleted && record.is_some() {
            return Ok(Vec::new());
        }
        let own = record.map_or_else(|| Entity::new(found.id.clone()), |record| record.state);
        let knows = self.replica()?.knows;
        let mut edits: BTreeMap<&Dot, (Changes, Stamp)> = BTreeMap::new();
        for (field, siblings) in found.fields.iter().filter(|(field, _)| *field != DELETED) {
            for sibling in siblings {
                let is_there = |own: &Sibling| own.content == sibling.content;
                let is_known = own.covers(&sibling.dot) || knows.covers(&sibling.dot);
                if !is_known && !own.siblings(field).iter().any(is_there) {
                    let (changes, _) =
                        edits.entry(&sibling.dot).or_insert_with(|| (Changes::new(), sibling.at));
                    let waiting = sibling.alternatives.clone();
                    changes.insert(field.clone(), Change::Set(sibling.content.clone(), waiting));
                }
            }
        }
        let found = edits.into_values().map(|(changes, at)| LocalEdit::Found(changes, at));
        // One that nobody here knew goes to the trash.
        Ok(found.chain(is_deleted.then_some(LocalEdit::Deleted)).collect())
    }
}

/// Which files that nothing names are taken up.
#[derive(Clone, Copy)]
pub(super) struct Adopting<'a> {
    /// Only those that are what their name says.
    pub(super) is_strict: bool,
    /// Only those with edits of such devices that this replica has not seen.
    pub(super) is_lost: &'a dyn Fn(&DeviceId) -> bool,
}

/// Files that nothing names, as far as they were looked at.
#[derive(Default)]
pub(super) struct Adopted {
    looked_at: BTreeSet<RemotePath>,
    /// Those with edits that this replica had not seen.
    pub(super) files: BTreeSet<RemotePath>,
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

/// The entities of a file that no manifest speaks for. One that is damaged was never whole: its
/// writer cannot have committed it.
async fn read_orphan(remote: &Remote, orphan: &Entry, is_strict: bool) -> Result<Vec<Entity>> {
    let bytes = match remote.storage.read(&orphan.path, DATA_FILE_BYTES_MAX).await {
        Ok((bytes, _)) => bytes,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    // The name has the digest's beginning: what was altered since is nobody's edit.
    if is_strict && !layout::is_named_after(&orphan.path, &sha256_hex(&bytes)) {
        return Ok(Vec::new());
    }
    Ok(decode_loose(orphan.path.name(), &bytes))
}
