//! The last part of a turn: what the remote lacks goes there, and the head moves on.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use larder_providers::{RemotePath, Storage as _};

use super::{
    Engine, EngineError, Progress, Report, Result,
    cargo::{Cargo, Folding, Form},
    ship::Tally,
    turn::{Outcome, Sum},
};
use crate::{
    merge::view,
    model::{EntityId, Stamp, limits::MANIFEST_BYTES_MAX},
    mutant::{self, Mutant},
    remote::{
        Advance, Commit, DataFile, HeadRead, HeadState, Manifest, Participant, Remote, expired,
        old_manifests,
    },
    store::RemoteMark,
};

/// How often a turn starts over because it would name a content that the remote may not have.
const CONTENT_LOOKS: usize = 2;

/// How far the time of a storage has gone on when it is noted anew.
const TOLD_ANEW_MS: i64 = 60 * 60 * 1000;

impl Engine {
    /// Sends what the remote lacks and makes a commit of it; nothing to send is done at once.
    pub(super) async fn send(
        &mut self,
        remote: &Remote,
        head: &HeadState,
        sum: &Sum,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Outcome> {
        let ids: Vec<EntityId> = sum.send.keys().cloned().collect();
        if ids.is_empty() && !head.wants_commit() {
            self.agree(remote, head, &ids)?;
            return Ok(Outcome::Done);
        }
        if self.contents.looks < CONTENT_LOOKS && self.names_uncertain(sum)? {
            self.contents.looks += 1;
            return Ok(Outcome::Moved);
        }
        let has_all = sum.complete && sum.knows.includes(&head.manifest.knows);
        let may_fold = has_all || mutant::is(Mutant::FoldsUnread);
        let folding = if may_fold { Folding::InPassing } else { Folding::None };
        let cargo = self.cargo(&head.manifest, &ids, &sum.knows, folding)?;
        let dated;
        let is_dated = head.server_time.is_some() || mutant::is(Mutant::OwnClock);
        let retires = cargo.folds || !head.others.outdone.is_empty();
        let head = if retires && !is_dated {
            // What is retired is kept for a day by the server's clock: this one may be off by years.
            match self.look_at_head(remote, false).await? {
                HeadRead::Current(now) if is_same(&now, head) => {
                    dated = *now;
                    &dated
                }
                _ => return Ok(Outcome::Raced),
            }
        } else {
            head
        };
        let mut next = self.successor(head, sum.complete);
        next.knows.join(&sum.knows);
        self.load(remote, head, &cargo, &mut next, progress).await?;
        note_versions(&mut next, sum);
        let expired = if cargo.folds {
            self.expired_in_passing(remote, head).await?
        } else {
            BTreeSet::new()
        };
        next.retired.retain(|old| !expired.contains(&old.file));
        let sent: Vec<RemotePath> = next.data().map(|data| data.file.clone()).collect();
        match self.advance(remote, head, next).await? {
            Advance::Raced => {
                if mutant::is(Mutant::LostMeansLost) {
                    let is_old =
                        |file: &&RemotePath| head.manifest.data().any(|d| d.file == **file);
                    for file in sent.iter().filter(|file| !is_old(file)) {
                        remote.storage.delete(file).await?;
                    }
                    self.sent.clear();
                }
                Ok(Outcome::Raced)
            }
            Advance::Committed(now) => {
                report.generation = now.manifest.generation;
                self.agree(remote, &now, &ids)?;
                if sum.complete {
                    self.empty_trash(&now)?;
                }
                // Only a commit proves that this was the head: one that a backup took the place of may
                // still be shown. What stays because of a fault is left to a compaction.
                let deletes = expired.iter().map(|file| remote.storage.delete(file));
                futures::future::join_all(deletes).await;
                Ok(Outcome::Done)
            }
        }
    }

    /// Whether what is to be sent names a content that the remote may not have, as the news or the
    /// rules of this turn are: another try sends it first.
    fn names_uncertain(&self, sum: &Sum) -> Result<bool> {
        for id in self.store.new_blob_owners()?.iter().filter(|id| sum.send.contains_key(*id)) {
            let record = self.store.record(id)?;
            let shown = record.map(|record| view(&record.state, &self.rules));
            let blob = shown.filter(|shown| !shown.is_deleted).and_then(|shown| shown.blob());
            if let Some(blob) = blob
                && !self.is_certain(&blob)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends a cargo and enters its files into the next manifest, in the place of those that they
    /// replace.
    pub(super) async fn load(
        &mut self,
        remote: &Remote,
        head: &HeadState,
        cargo: &Cargo,
        next: &mut Manifest,
        progress: &dyn Progress,
    ) -> Result<usize> {
        let manifest = &head.manifest;
        let mut tally = Tally { progress, done: 0, of: cargo.records() as u64 };
        let replaced = cargo.replaces(manifest);
        let since = self.server_now(head.server_time);
        let place = first_pack(manifest, cargo.runs.start);
        take_out(next, &replaced, since);
        if cargo.folds {
            next.entity_versions.clear();
        }
        let mut written = 0;
        if let Some(batch) = &cargo.merged {
            let files = self.ship(remote, next, batch, &mut tally).await?;
            written += files.len();
            let at = place.unwrap_or(next.packs.len()).min(next.packs.len());
            next.packs.splice(at..at, files);
        }
        if let Some(batch) = &cargo.news {
            let files = self.ship(remote, next, batch, &mut tally).await?;
            written += files.len();
            match batch.form {
                Form::Entity | Form::Delta => next.deltas.extend(files),
                Form::Loose | Form::Run(_) => next.packs.extend(files),
            }
        }
        Ok(written)
    }

    /// The files that no longer count and that a fold may take away: what one leaves behind is left to
    /// another.
    async fn expired_in_passing(
        &self,
        remote: &Remote,
        head: &HeadState,
    ) -> Result<BTreeSet<RemotePath>> {
        let told = head.server_time.map(|time| Stamp::from_millis(time.timestamp_millis()));
        let told = told.or_else(|| mutant::is(Mutant::OwnClock).then(|| self.clock.now()));
        let expired = told.map_or_else(Vec::new, |now| expired(head, now));
        let mut gone = BTreeSet::new();
        for file in expired {
            // A content that somebody names after all is left to a compaction.
            if !self.store.names_blob(file.as_str())? {
                gone.insert(file);
            }
        }
        gone.extend(old_manifests(remote, &head.manifest).await?);
        Ok(gone)
    }

    /// The manifest after this one, with nothing changed yet but who made it and when.
    pub(super) fn successor(&mut self, head: &HeadState, complete: bool) -> Manifest {
        let mut next = head.manifest.clone();
        let now = self.clock.now();
        if mutant::is(Mutant::Unsteady) {
            let chance = std::hash::RandomState::new();
            self.random = fastrand::Rng::with_seed(std::hash::BuildHasher::hash_one(&chance, 0));
        }
        let id: String = (0..10).map(|_| self.random.char('a'..='z')).collect();
        let device = self.replica().map_or(next.commit.device.clone(), |replica| replica.device);
        next.generation += 1;
        next.last_sync_timestamp = now;
        next.commit = Commit { id: id.clone(), device: device.clone(), prev: head.sha256.clone() };
        let before = next.devices.get(&device).map_or(0, |device| device.read_generation);
        let read_generation = if complete { head.manifest.generation } else { before };
        let name = self.device_name.clone();
        // The time for slow readers begins when the last head lets go of a file.
        let since = self.server_now(head.server_time);
        let named = next.retired.iter_mut().filter(|old| !head.may_remove(&old.file));
        named.for_each(|old| old.since = since);
        next.retire(head.others.outdone.iter().cloned(), since);
        let commit = Some(id);
        let participant = Participant { name, last_seen: now, read_generation, commit };
        next.devices.insert(device, participant);
        next
    }

    /// Makes a commit, and keeps before that it is tried: one under this device's id that this
    /// replica did not try is another life's.
    pub(super) async fn advance(
        &mut self,
        remote: &Remote,
        head: &HeadState,
        next: Manifest,
    ) -> Result<Advance> {
        if self.is_taken_unmet(head)? && !mutant::is(Mutant::KeepsIdentity) {
            // It would go over what another life of this replica said: a turn takes a new id first.
            return Ok(Advance::Raced);
        }
        next.check("the manifest to be written").map_err(|error| {
            let text = format!(
                "nothing was committed, as nobody could have read it; please report: {error}"
            );
            EngineError::Refused(text)
        })?;
        let bytes = next.encode().0.len() as u64;
        if bytes > MANIFEST_BYTES_MAX {
            let text = format!(
                "the manifest would have {bytes} bytes, and nobody reads more than {MANIFEST_BYTES_MAX}: `larder \
                 check --repair` mends what keeps its files from being folded"
            );
            return Err(EngineError::Refused(text));
        }
        self.store.note_try(&next.commit.id)?;
        Ok(remote.head.advance(head, next).await?)
    }

    /// The time by the server's clock where it tells it: ages of remote files are counted by it.
    pub(super) fn server_now(&self, server_time: Option<DateTime<Utc>>) -> Stamp {
        server_time
            .map_or_else(|| self.clock.now(), |time| Stamp::from_millis(time.timestamp_millis()))
    }

    /// The time under which the history keeps what is replaced now. The later of this clock and the
    /// latest that a storage's said, as it is pruned by the earlier: what a device puts away while its
    /// clock is months behind is not to be old once that is set right.
    pub(super) fn dated(&self) -> Stamp {
        let now = self.clock.now();
        self.told.map_or(now, |told| told.max(now))
    }

    /// Keeps that remote and replica are in the same state.
    fn agree(&mut self, remote: &Remote, head: &HeadState, ids: &[EntityId]) -> Result<()> {
        if self.is_look_due(remote)? {
            self.store.set_looked_ms(Some(self.clock.now().millis()))?;
        }
        self.note_time(head.server_time)?;
        let last = self.store.remote_mark()?;
        let is_known = last.is_some_and(|last| last.head == head.mark && last.id == remote.id);
        if is_known && ids.is_empty() {
            return Ok(());
        }
        self.remember(remote, head, ids)
    }

    /// Remembers the head as it is, and that the remote holds these records.
    pub(super) fn remember(
        &mut self,
        remote: &Remote,
        head: &HeadState,
        ids: &[EntityId],
    ) -> Result<()> {
        self.end_wait()?;
        let (manifest, _) = head.manifest.encode();
        let mark = RemoteMark {
            id: remote.id.clone(),
            generation: head.manifest.generation,
            manifest_sha256: head.sha256.clone(),
            manifest,
            head: head.mark.clone(),
            outdone: head.others.outdone.iter().map(ToString::to_string).collect(),
            synced_ms: self.clock.now().millis(),
        };
        self.store.agree(&mark, ids)?;
        if let Some(told) = head.server_time {
            // This device's clock alone may be wrong by years, and what is pruned is gone.
            let now_ms = self.clock.now().millis().min(told.timestamp_millis());
            self.store.prune_history(now_ms - super::HISTORY_MS)?;
        }
        Ok(())
    }

    /// Hears from a storage what time it is at least.
    pub(super) fn hear_time(&mut self, server_time: Option<DateTime<Utc>>) {
        let told = server_time.map(|time| Stamp::from_millis(time.timestamp_millis()));
        self.told = told.max(self.told);
    }

    /// Keeps for commands that ask no storage what time it is at least.
    pub(super) fn note_time(&mut self, server_time: Option<DateTime<Utc>>) -> Result<()> {
        self.hear_time(server_time);
        let Some(told) = server_time else { return Ok(()) };
        let told_ms = told.timestamp_millis();
        if self.store.told_ms()?.is_none_or(|known| told_ms - known >= TOLD_ANEW_MS) {
            self.store.set_told_ms(told_ms)?;
        }
        Ok(())
    }

    /// Lets go of what was deleted too long ago to be brought back; says how many records it was.
    /// Only where the storage told the time: this device's clock may be wrong by a year.
    pub(super) fn empty_trash(&mut self, head: &HeadState) -> Result<usize> {
        let Some(told) = head.server_time else { return Ok(0) };
        Ok(self.store.empty_trash(told.timestamp_millis(), super::HISTORY_MS)?)
    }
}

/// Whether a head is still what it was, apart from when it was read.
fn is_same(now: &HeadState, before: &HeadState) -> bool {
    let what = |head: &HeadState| (head.sha256.clone(), head.manifest.commit.clone());
    what(now) == what(before) && now.manifest.knows == before.manifest.knows
}

/// Enters what was sent into the versions that the deltas hold. One that could not be read may hold
/// a later one.
fn note_versions(next: &mut Manifest, sum: &Sum) {
    if next.deltas.is_empty() {
        next.entity_versions.clear();
        return;
    }
    for (id, version) in &sum.send {
        let known = next.entity_versions.entry(id.clone()).or_default();
        *known = (*known).max(*version);
    }
}

/// Where in the manifest's packs a run begins.
fn first_pack(manifest: &Manifest, run: usize) -> Option<usize> {
    crate::remote::tiers::runs(manifest).get(run).map(|run| run.packs.start)
}

/// Takes files out of the manifest; they wait to be removed.
fn take_out(manifest: &mut Manifest, old: &[&DataFile], since: Stamp) {
    let gone: BTreeSet<&RemotePath> = old.iter().map(|data| &data.file).collect();
    manifest.packs.retain(|data| !gone.contains(&data.file));
    manifest.deltas.retain(|data| !gone.contains(&data.file));
    manifest.retire(gone.into_iter().cloned(), since);
}
