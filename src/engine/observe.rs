//! The first part of a turn: what is there, here and on the remote.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};

use super::{
    Brake, Engine, EngineError, NoteKind, Progress, Report, Result, Stage, TurnOptions,
    edits::LocalEdits, forms::Forms,
};
use crate::{
    merge::{News, Pen, Plan, Snapshot, join},
    model::{Entity, EntityId, Record, VaultPath, VersionVector},
    remote::{DataFile, Fetched, HeadRead, HeadState, Manifest, Remote, RemoteError, fetch},
    store::Replica,
};

/// How often the head is read again because what it names is gone.
const LOOKS: u32 = 4;

/// How many files are fetched at once.
const FETCHES: usize = 4;

/// What a turn found.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) head: HeadState,
    pub(super) replica: Replica,
    pub(super) records: BTreeMap<EntityId, Record>,
    pub(super) local: LocalEdits,
    pub(super) news: News,
    pub(super) known_files: usize,
}

impl Engine {
    /// Looks at the remote, fetches what is new there, and scans the vault.
    ///
    /// The head comes first: only with it is it known that this replica's dots are its own.
    pub(super) async fn observe(
        &mut self,
        remote: &Remote,
        options: TurnOptions,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Observed> {
        let (head, news) = self.observe_remote(remote, progress, report).await?;
        let replica = self.replica()?;
        let joined = join_news(&news.entities);
        self.recover_files()?;
        self.observe_rules(&joined, report)?;
        let local = self.local_edits(&joined, options, progress, report)?;
        let records = self.touched_records(&head.manifest, &joined, &local)?;
        let known_files = self.store.file_count()?;
        Ok(Observed { head, replica, records, local, news, known_files })
    }

    /// Reads the head and fetches what it names. A file that is missing or damaged may only have
    /// been folded into another meanwhile: then the head has moved on, and is read again.
    async fn observe_remote(
        &mut self,
        remote: &Remote,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(HeadState, News)> {
        let mut looks = 0;
        loop {
            let head = self.read_head(remote).await?;
            self.check_identity(&head.manifest, report)?;
            self.check_rollback(&head.manifest, report)?;
            let knows = self.replica()?.knows;
            let mut damaged = Report::default();
            let news = self.fetch(remote, &head.manifest, &knows, progress, &mut damaged).await?;
            looks += 1;
            let has_moved = !news.complete
                && !matches!(remote.head.read(Some(&head.mark)).await?, HeadRead::Unchanged);
            if !has_moved || looks >= LOOKS {
                report.notes.extend(damaged.notes);
                return Ok((head, news));
            }
        }
    }

    async fn read_head(&self, remote: &Remote) -> Result<HeadState> {
        let mark = self.store.remote_mark()?.filter(|mark| mark.id == remote.id);
        let known = mark.as_ref().map(|mark| mark.head.as_str());
        let head = match remote.head.read(known).await? {
            HeadRead::Current(head) => *head,
            HeadRead::Unchanged => {
                let mark = mark.ok_or(EngineError::NotConnected)?;
                let manifest = Manifest::decode("the last manifest", mark.manifest.as_bytes())?;
                let (sha256, strays) = (mark.manifest_sha256, Vec::new());
                HeadState { mark: mark.head, strays, manifest, sha256, server_time: None }
            }
            HeadRead::Missing => return Err(self.why_missing(remote).await),
        };
        if head.manifest.remote_id != remote.id {
            let (expected, found) = (remote.id.clone(), head.manifest.remote_id);
            return Err(Brake::Foreign { expected, found }.into());
        }
        Ok(head)
    }

    /// Fetches what the replica lacks; what is missing or damaged is reported and waits.
    async fn fetch(
        &self,
        remote: &Remote,
        manifest: &Manifest,
        knows: &VersionVector,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<News> {
        let wanted: Vec<DataFile> = manifest.news_for(knows).cloned().collect();
        let of = wanted.len() as u64;
        let mut news = News { entities: Vec::new(), knows: manifest.knows.clone(), complete: true };
        let mut fetched = stream::iter(wanted)
            .map(|data| async move {
                (fetch(&remote.storage, &data, knows).await.and_then(Fetched::all), data)
            })
            .buffered(FETCHES);
        let mut done = 0;
        while let Some((result, data)) = fetched.next().await {
            match result {
                Ok(entities) => news.entities.extend(entities),
                Err(error) if is_about_one_file(&error) => {
                    news.complete = false;
                    report.note(NoteKind::Damaged, data.file.as_str(), what_is_wrong(&error));
                }
                Err(error) => return Err(error.into()),
            }
            done += 1;
            progress.step(Stage::Fetch, done, of);
        }
        Ok(news)
    }

    /// The records that a turn has to look at: those edited here or there, those that the remote
    /// lacks, those whose file is behind, and those that want a place one of these may take.
    fn touched_records(
        &self,
        manifest: &Manifest,
        news: &BTreeMap<EntityId, Entity>,
        local: &LocalEdits,
    ) -> Result<BTreeMap<EntityId, Record>> {
        let mut ids = self.store.unsettled(&manifest.knows)?;
        ids.extend(news.keys().cloned());
        ids.extend(local.edits.keys().cloned());
        let mut records = self.store.records(&ids)?;
        let mut keys = BTreeSet::new();
        let states = records.values().map(|record| &record.state).chain(news.values());
        for state in states {
            for sibling in state.siblings(crate::model::entity::PATH) {
                let path = sibling.content.value.as_str().map(VaultPath::new);
                keys.extend(path.and_then(Result::ok).map(|path| path.key()));
            }
        }
        for path in records.values().filter_map(|record| record.file.as_ref()) {
            keys.insert(path.key());
        }
        keys.extend(local.paths().map(|path| path.key()));
        let mut rivals = BTreeSet::new();
        for key in &keys {
            rivals.extend(self.store.claimants(key)?);
        }
        rivals.retain(|id| !ids.contains(id));
        records.extend(self.store.records(&rivals)?);
        Ok(records)
    }

    /// Hands what was observed to `plan`.
    pub(super) fn with_snapshot(
        &self,
        observed: &Observed,
        plan: impl FnOnce(&Snapshot<'_>) -> Plan,
    ) -> Result<Plan> {
        let replica = &observed.replica;
        let forms = Forms::new(&self.store, &self.rules);
        let snapshot = Snapshot {
            pen: Pen {
                device: replica.device.clone(),
                counter: replica.counter,
                last: replica.last_stamp,
            },
            now: self.clock.now(),
            rules: &self.rules,
            knows: replica.knows.clone(),
            records: &observed.records,
            local: &observed.local.edits,
            remote: &observed.news,
            known_files: observed.known_files,
            vault: &forms,
        };
        let plan = plan(&snapshot);
        forms.finish()?;
        Ok(plan)
    }
}

/// States of one record from several files, joined.
pub(super) fn join_news(entities: &[Entity]) -> BTreeMap<EntityId, Entity> {
    let mut joined: BTreeMap<EntityId, Entity> = BTreeMap::new();
    for entity in entities {
        joined
            .entry(entity.id.clone())
            .and_modify(|known| *known = join(known, entity))
            .or_insert_with(|| entity.clone());
    }
    joined
}

/// What to say of a file whose name is said already.
fn what_is_wrong(error: &RemoteError) -> String {
    match error {
        RemoteError::Damaged { detail, .. } => format!("damaged on the remote: {detail}"),
        other => format!("cannot be read from the remote: {other}"),
    }
}

/// Whether the rest of the remote may still be fine.
fn is_about_one_file(error: &RemoteError) -> bool {
    match error {
        RemoteError::Damaged { .. } => true,
        RemoteError::Storage(error) => {
            use larder_providers::ErrorKind::{NotFound, Protocol, TooLarge};
            matches!(error.kind(), NotFound | Protocol | TooLarge)
        }
        _ => false,
    }
}
