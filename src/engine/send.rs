//! The last part of a turn: what the remote lacks goes there, and the head moves on.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use larder_providers::{Body, PutMode, Storage};

use super::{Engine, Outcome, Progress, Report, Result, Stage, observe::Observed};
use crate::{
    merge::{Plan, view},
    model::{Agreed, EntityId, Record, Stamp},
    remote::{
        Advance, Commit, DataFile, HeadState, Manifest, Outgoing, Parcel, Participant, Remote,
        Retired, layout, pack_all, pack_up,
    },
    store::RemoteMark,
};

/// From so many deltas on they are folded into a pack.
const DELTAS_MAX: usize = 16;
/// From so many entities in deltas on they are folded into a pack.
const HOT_ENTITIES_MAX: usize = 256;
/// From so many packs on everything is folded into new ones.
const PACKS_MAX: usize = 32;
/// How many files are sent at once.
const SENDS: usize = 4;

impl Engine {
    /// Sends what the remote lacks and makes a commit of it; nothing to send is done at once.
    pub(super) async fn send(
        &mut self,
        remote: &Remote,
        plan: &Plan,
        observed: &Observed,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Outcome> {
        let head = &observed.head;
        if plan.send.is_empty() && head.strays.is_empty() {
            self.agree(remote, head, plan)?;
            return Ok(Outcome::Done);
        }
        let cargo = self.cargo(plan, head, observed.news.complete)?;
        let files = self.upload(remote, &head.manifest, &cargo.parcels, progress).await?;
        let next = self.next_manifest(head, plan, cargo, files, observed.news.complete);
        match remote.head.advance(head, next).await? {
            Advance::Raced => Ok(Outcome::Raced),
            Advance::Committed(now) => {
                report.generation = now.manifest.generation;
                self.agree(remote, &now, plan)?;
                Ok(Outcome::Done)
            }
        }
    }

    /// What is to be sent: the records that the remote lacks, or, when enough small files lie
    /// there, those together with the records of these files, as one pack in their place.
    fn cargo(&self, plan: &Plan, head: &HeadState, complete: bool) -> Result<Cargo> {
        let manifest = &head.manifest;
        let send: BTreeSet<EntityId> = plan.send.iter().cloned().collect();
        let hot: BTreeSet<EntityId> =
            manifest.entity_versions.keys().chain(&send).cloned().collect();
        let is_due = manifest.deltas.len() + 1 > DELTAS_MAX || hot.len() > HOT_ENTITIES_MAX;
        let replica_knows = &plan.knows;
        let may_fold = complete && replica_knows.includes(&manifest.knows) && !send.is_empty();
        if !(is_due && may_fold && !manifest.deltas.is_empty()) {
            let outgoing = self.outgoing(&send)?;
            let device = &plan.pen.as_ref().map_or(&manifest.commit.device, |pen| &pen.device);
            let parcels = pack_up(&outgoing, manifest.generation, device)?;
            return Ok(Cargo { parcels, replaces: Replaces::Nothing });
        }
        let (ids, replaces) = if manifest.packs.len() >= PACKS_MAX {
            (self.store.all_ids()?, Replaces::Everything)
        } else {
            (hot, Replaces::Deltas)
        };
        let parcels = pack_all(&self.outgoing(&ids)?, manifest.generation)?;
        Ok(Cargo { parcels, replaces })
    }

    /// These records as the remote is to hold them, in order of their ids.
    pub(super) fn outgoing(&self, ids: &BTreeSet<EntityId>) -> Result<Vec<Outgoing>> {
        let mut outgoing = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(record) = self.store.record(id)? else { continue };
            let Some(state) = on_remote(record) else { continue };
            let view = view(&state, &self.rules);
            outgoing.push(Outgoing {
                state,
                type_name: view.type_name,
                is_deleted: view.is_deleted,
            });
        }
        Ok(outgoing)
    }

    /// Sends data files, but for those that an earlier try of this turn has sent: unless they were
    /// built below the floor, where they may be taken for orphans and removed, or are part of the
    /// remote already, where they may be what is about to be retired.
    pub(super) async fn upload(
        &mut self,
        remote: &Remote,
        manifest: &Manifest,
        parcels: &[Parcel],
        progress: &dyn Progress,
    ) -> Result<Vec<DataFile>> {
        let of = parcels.len() as u64;
        progress.step(Stage::Send, 0, of);
        let mut sends = Vec::new();
        for parcel in parcels {
            let sent = self.sent.get(&parcel.file.sha256).cloned();
            let is_free = |sent: &DataFile| {
                let is_named = manifest.data().any(|data| data.file == sent.file);
                let is_retired = manifest.retired.iter().any(|old| old.file == sent.file);
                sent.from_generation > manifest.floor && !is_named && !is_retired
            };
            let sent = sent.filter(is_free);
            let name = layout::never_used(&parcel.file.file, &mut self.random)?;
            sends.push(async move {
                if let Some(sent) = sent {
                    return Ok::<_, super::EngineError>(sent);
                }
                let body = Body::Bytes(Bytes::from(parcel.bytes.clone()));
                remote.storage.put(&name, body, PutMode::Overwrite).await?;
                Ok(DataFile { file: name, ..parcel.file.clone() })
            });
        }
        let mut files: Vec<DataFile> = Vec::new();
        let mut sending = stream::iter(sends).buffered(SENDS);
        while let Some(file) = sending.try_next().await? {
            files.push(file);
            progress.step(Stage::Send, files.len() as u64, of);
        }
        drop(sending);
        self.sent.extend(files.iter().map(|file| (file.sha256.clone(), file.clone())));
        Ok(files)
    }

    fn next_manifest(
        &mut self,
        head: &HeadState,
        plan: &Plan,
        cargo: Cargo,
        files: Vec<DataFile>,
        complete: bool,
    ) -> Manifest {
        let mut next = self.successor(head, complete);
        let server_now = self.server_now(head.server_time);
        match cargo.replaces {
            Replaces::Nothing => {}
            Replaces::Deltas => retire(&mut next, server_now, false),
            Replaces::Everything => retire(&mut next, server_now, true),
        }
        for (parcel, file) in cargo.parcels.iter().zip(files) {
            if parcel.is_pack { next.packs.push(file) } else { next.deltas.push(file) }
        }
        if next.deltas.is_empty() {
            next.entity_versions.clear();
        } else if cargo.parcels.iter().all(|parcel| !parcel.is_pack) {
            let sent: BTreeSet<&EntityId> = plan.send.iter().collect();
            for update in plan.updates.iter().filter(|update| sent.contains(&update.state.id)) {
                next.entity_versions.insert(update.state.id.clone(), update.state.version());
            }
        }
        next.knows.join(&plan.knows);
        next
    }

    /// The manifest after this one, with nothing changed yet but who made it and when.
    pub(super) fn successor(&mut self, head: &HeadState, complete: bool) -> Manifest {
        let mut next = head.manifest.clone();
        let now = self.clock.now();
        let id: String = (0..10).map(|_| self.random.char('a'..='z')).collect();
        let device = self.replica().map_or(next.commit.device.clone(), |replica| replica.device);
        next.generation += 1;
        next.last_sync_timestamp = now;
        next.commit = Commit { id, device: device.clone(), prev: head.sha256.clone() };
        let before = next.devices.get(&device).map_or(0, |device| device.read_generation);
        let read_generation = if complete { head.manifest.generation } else { before };
        let name = self.device_name.clone();
        next.devices.insert(device, Participant { name, last_seen: now, read_generation });
        next
    }

    /// The time by the server's clock where it tells it: ages of remote files are counted by it.
    pub(super) fn server_now(&self, server_time: Option<DateTime<Utc>>) -> Stamp {
        server_time
            .map_or_else(|| self.clock.now(), |time| Stamp::from_millis(time.timestamp_millis()))
    }

    /// Keeps that remote and replica are in the same state.
    fn agree(&mut self, remote: &Remote, head: &HeadState, plan: &Plan) -> Result<()> {
        let last = self.store.remote_mark()?;
        let is_known = last.is_some_and(|last| last.head == head.mark && last.id == remote.id);
        if is_known && plan.send.is_empty() {
            return Ok(());
        }
        self.remember(remote, head, &plan.send)
    }

    /// Remembers the head as it is, and that the remote holds these records.
    pub(super) fn remember(
        &mut self,
        remote: &Remote,
        head: &HeadState,
        ids: &[EntityId],
    ) -> Result<()> {
        let (manifest, _) = head.manifest.encode();
        let mark = RemoteMark {
            id: remote.id.clone(),
            generation: head.manifest.generation,
            manifest_sha256: head.sha256.clone(),
            manifest,
            head: head.mark.clone(),
            synced_ms: self.clock.now().millis(),
        };
        self.store.agree(&mark, ids)?;
        let before_ms = self.clock.now().millis() - super::HISTORY_MS;
        self.store.prune_history(before_ms)?;
        Ok(())
    }
}

/// What a record looks like on the remote; nothing if the remote is not to have it.
fn on_remote(record: Record) -> Option<crate::model::Entity> {
    match (record.kept, record.agreed) {
        (false, _) | (true, Agreed::Current) => Some(record.state),
        (true, Agreed::Earlier(agreed)) => Some(*agreed),
        (true, Agreed::Never) => None,
    }
}

struct Cargo {
    parcels: Vec<Parcel>,
    replaces: Replaces,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Replaces {
    Nothing,
    Deltas,
    Everything,
}

/// Takes the deltas, and the packs if asked to, out of the manifest; they wait to be removed.
pub(super) fn retire(manifest: &mut Manifest, since: Stamp, with_packs: bool) {
    let mut old = std::mem::take(&mut manifest.deltas);
    if with_packs {
        old.append(&mut manifest.packs);
    }
    manifest.retired.extend(old.into_iter().map(|data| Retired { file: data.file, since }));
    manifest.entity_versions.clear();
}
