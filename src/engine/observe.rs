//! The first part of a turn: what is there, here and on the remote.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use larder_providers::RemotePath;

use super::{
    Brake, Engine, EngineError, NoteKind, Progress, Report, Result, TurnOptions,
    edits::LocalEdits,
    feed::Feed,
    forms::Forms,
    turn::Known,
    work::{Batch, Work, weight},
};
use crate::{
    merge::{News, Pen, Plan, Snapshot, join, view},
    model::{
        DeviceId, Entity, EntityId, Record, VaultPath, VersionVector, limits::ENTITY_BYTES_MAX,
    },
    mutant::{self, Mutant},
    remote::{
        CommitMode, DataFile, HeadRead, HeadState, Last, Manifest, Others, Reader, Remote,
        RemoteError, codec,
    },
    store::{Awaited, Replica},
};

/// A mark that no head has.
const NO_MARK: &str = "none";

/// How long something may be on its way, and how often a device looks whether all is there, in
/// milliseconds: a day.
const PATIENCE_MS: u64 = 24 * 60 * 60 * 1000;

/// What a turn found, or a part of it.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) replica: Replica,
    pub(super) records: BTreeMap<EntityId, Record>,
    pub(super) local: LocalEdits,
    pub(super) news: News,
    pub(super) known_files: usize,
    /// What the devices are called.
    pub(super) names: BTreeMap<DeviceId, String>,
}

impl Engine {
    /// Looks at the remote, and scans the vault.
    ///
    /// The head comes first: only with it is it known that this replica's dots are its own.
    pub(super) async fn observe(
        &mut self,
        remote: &Remote,
        options: TurnOptions,
        known: Known,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(HeadState, Work)> {
        let Known { head, scan } = known;
        let mut head = match head {
            Some(head) => head,
            None => self.read_head(remote).await?,
        };
        self.hear_time(head.server_time);
        for (file, detail) in &head.others.waiting {
            report.note(NoteKind::Waiting, file, detail);
        }
        if self.check_identity(&head, report)? {
            // As another device it has another head, or none.
            match self.look_at_head(remote, false).await {
                Ok(HeadRead::Current(now)) => head = *now,
                // The former one speaks of what is on its way: that is waited for already.
                Ok(_) | Err(EngineError::Remote(RemoteError::Incomplete { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let is_lost = self.check_rollback(&head, report)?;
        self.contents.begin(&head.manifest, is_lost);
        // Of what is kept here a remote may hold an earlier state: who has not agreed with it yet cannot
        // tell, and a fold would leave that out.
        let knows = if self.joins_with_records()? && self.store.keeps_any()? {
            VersionVector::default()
        } else {
            self.replica()?.knows
        };
        let read = self.store.files_read()?;
        let is_new = |data: &&DataFile| !read.contains(data.file.as_str());
        // The latest first: what older files hold of the same records is no news then.
        let wanted: Vec<DataFile> =
            head.manifest.news_for(&knows).filter(is_new).cloned().collect();
        let wanted = wanted.into_iter().rev().collect();
        let feed = Feed::new(remote.storage.clone(), wanted, knows);
        self.recover_files()?;
        // Records that new rules concern are looked at in this turn.
        self.observe_rules(&BTreeMap::new(), report)?;
        let knows = &head.manifest.knows;
        let mut unsettled = self.store.unsettled(knows)?;
        if mutant::is(Mutant::CarriesNothing) {
            let nowhere = self.store.held_nowhere()?;
            unsettled.retain(|id| nowhere.contains(id));
        }
        if !options.dry_run && self.renew_contents(remote, &unsettled, progress, report).await? {
            unsettled = self.store.unsettled(knows)?;
        }
        let work = self.survey_work(feed, unsettled, options, scan, progress, report)?;
        Ok((head, work))
    }

    /// Takes the records that a batch concerns out of the store, and turns what was done to files
    /// into edits of them.
    pub(super) fn observe_batch(
        &mut self,
        head: &HeadState,
        work: &mut Work,
        mut batch: Batch,
        plans_only: bool,
        report: &mut Report,
    ) -> Result<Observed> {
        let replica = self.replica()?;
        self.leave_out_oversized(&mut batch.news, work, report)?;
        let mut local =
            self.local_edits(batch.scan, &work.books, &batch.news, plans_only, report)?;
        local.scanned_ms = batch.scanned_ms;
        let records = self.touched_records(batch.ids, &batch.news, &local)?;
        // As of the scan: what earlier batches brought does not count against what would go.
        let known_files = work.known_files;
        let news = News {
            entities: batch.news.into_values().collect(),
            knows: head.manifest.knows.clone(),
            complete: batch.complete && work.takes_all(),
            is_joined: self.joins_with_records()?,
            // Of a remote that is new to the replica all that was agreed was there in this turn.
            holds_agreed: !self.contents.is_lost || !self.store.has_agreed()?,
            holds: head.manifest.holds(),
        };
        let mut names = self.names(&head.manifest, &replica);
        // Where no record is looked at, nobody is named.
        if !records.is_empty() || !news.entities.is_empty() {
            self.name_others(&mut names)?;
        }
        Ok(Observed { replica, records, local, news, known_files, names })
    }

    /// Takes out news that would make a record larger than any device could send it: versions that nobody
    /// has seen of each other are all kept, and there would be no end to them.
    fn leave_out_oversized(
        &self,
        news: &mut BTreeMap<EntityId, Entity>,
        work: &mut Work,
        report: &mut Report,
    ) -> Result<()> {
        let mut oversized = Vec::new();
        for (id, state) in &*news {
            let sum = weight(state).saturating_add(self.store.weight(id)?);
            if sum < ENTITY_BYTES_MAX as u64 / 2 {
                continue;
            }
            let known = self.store.record(id)?.map(|record| record.state);
            let joined = known.as_ref().map(|known| join(known, state));
            if let Err(why) = codec::check_size(joined.as_ref().unwrap_or(state)) {
                let shown = view(known.as_ref().unwrap_or(state), &self.rules);
                oversized.push((id.clone(), shown.path().unwrap_or(id.as_str()).to_owned(), why));
            }
        }
        for (id, name, why) in oversized {
            news.remove(&id);
            work.leave_out();
            let text = format!(
                "stays as it is here: its versions on the remote are together too much for one record ({why}); \
                 make it smaller on the devices that wrote it"
            );
            report.note(NoteKind::TooLarge, name, text);
        }
        Ok(())
    }

    /// What the devices are called.
    pub(super) fn names(
        &self,
        manifest: &Manifest,
        replica: &Replica,
    ) -> BTreeMap<DeviceId, String> {
        let devices = manifest.devices.iter();
        let named = devices.map(|(id, device)| (id.clone(), device.name.clone()));
        named.chain([(replica.device.clone(), self.device_name.clone())]).collect()
    }

    /// What those devices are called that take part in other remotes only.
    fn name_others(&self, names: &mut BTreeMap<DeviceId, String>) -> Result<()> {
        if self.store.bindings()?.len() < 2 {
            return Ok(());
        }
        for text in self.store.manifests()? {
            // One that cannot be read any more is for the turn with its remote to tell.
            let Ok(manifest) = Manifest::decode("the last manifest", text.as_bytes()) else {
                continue;
            };
            for (id, device) in manifest.devices {
                names.entry(id).or_insert(device.name);
            }
        }
        Ok(())
    }

    /// Whether the remote is new to a vault whose records another one has, or had.
    fn joins_with_records(&self) -> Result<bool> {
        let has_shared = self.store.bindings()?.len() > 1 || self.replica()?.attempted > 0;
        Ok(has_shared && !self.store.has_agreed()?)
    }

    pub(super) async fn read_head(&mut self, remote: &Remote) -> Result<HeadState> {
        let mark = self.store.remote_mark()?.filter(|mark| mark.id == remote.id);
        let manifest = match &mark {
            Some(mark) => Some(self.decode_last(&mark.manifest)?),
            None => None,
        };
        let last = mark.as_ref().zip(manifest.as_ref());
        let device = self.replica()?.device;
        let reader = Reader {
            device: &device,
            last: last.map(|(mark, manifest)| Last { mark: &mark.head, manifest }),
            is_lenient: false,
            is_thorough: self.is_look_due(remote)?,
        };
        let head = match self.read_as(remote, reader).await? {
            HeadRead::Current(head) => *head,
            HeadRead::Unchanged => {
                let (mark, manifest) = mark.zip(manifest).ok_or(EngineError::NotConnected)?;
                let outdone = mark.outdone.iter().filter_map(|file| RemotePath::new(file).ok());
                let outdone: BTreeSet<RemotePath> = outdone.collect();
                HeadState {
                    mark: mark.head,
                    strays: Vec::new(),
                    is_stale: false,
                    manifest: Arc::unwrap_or_clone(manifest),
                    sha256: mark.manifest_sha256,
                    server_time: None,
                    others: Others { named: outdone.clone(), outdone, ..Others::default() },
                }
            }
            HeadRead::Missing => return Err(self.why_missing(remote).await),
        };
        if head.manifest.remote_id != remote.id {
            let (expected, found) = (remote.id.clone(), head.manifest.remote_id);
            return Err(Brake::Foreign { expected, found }.into());
        }
        Ok(head)
    }

    /// Reads the head; what does not come for long enough is taken for gone, but by newcomers: they have
    /// nothing that others wait for.
    async fn read_as(&mut self, remote: &Remote, reader: Reader<'_>) -> Result<HeadRead> {
        let takes_part = reader.last.is_some() || self.replica()?.attempted > 0;
        let read = match remote.head.read(&reader).await {
            Err(RemoteError::Incomplete { detail })
                if takes_part && self.has_waited_for(&detail)? =>
            {
                // It is over once this device has agreed with what there is, not before.
                return Ok(remote.head.read(&Reader { is_lenient: true, ..reader }).await?);
            }
            read => read?,
        };
        self.end_wait()?;
        Ok(read)
    }

    /// Nothing is waited for any more.
    pub(super) fn end_wait(&mut self) -> Result<()> {
        if self.store.awaited()?.is_some() {
            self.store.set_awaited(None)?;
        }
        Ok(())
    }

    /// Whether it is time to look if what the heads name is there. Where each device has a head of its
    /// own, a head that was made of an old state is its device's alone to mend.
    pub(super) fn is_look_due(&self, remote: &Remote) -> Result<bool> {
        if remote.head.mode() != CommitMode::Devices {
            return Ok(false);
        }
        let now_ms = self.clock.now().millis();
        let is_over = |looked_ms: i64| now_ms.abs_diff(looked_ms) >= PATIENCE_MS;
        Ok(self.store.looked_ms()?.is_none_or(is_over))
    }

    /// Whether just this has been missing for so long that it is not on its way; from the first time on
    /// it is waited for.
    fn has_waited_for(&mut self, what: &str) -> Result<bool> {
        let now_ms = self.clock.now().millis();
        let is_new = |awaited: Awaited| awaited.what != what || awaited.since_ms > now_ms;
        if self.store.awaited()?.is_none_or(is_new) {
            let awaited = Awaited { what: what.to_owned(), since_ms: now_ms };
            self.store.set_awaited(Some(&awaited))?;
        }
        self.is_given_up(what)
    }

    /// Whether this was waited for, and for long enough.
    pub(super) fn is_given_up(&self, what: &str) -> Result<bool> {
        let now_ms = self.clock.now().millis();
        let awaited = self.store.awaited()?.filter(|awaited| awaited.what == what);
        let is_over = awaited.is_some_and(|a| now_ms - a.since_ms >= PATIENCE_MS.cast_signed());
        Ok(is_over && !mutant::is(Mutant::WaitsForEver))
    }

    /// Reads the head whatever is known of it; lenient is who wants to see what is there even where
    /// something is sure to be missing. Where heads are joined, what was agreed last stands in for one
    /// that is on its way, as in a turn.
    pub async fn look_at_head(&self, remote: &Remote, is_lenient: bool) -> Result<HeadRead> {
        let (device, is_joined) =
            (self.replica()?.device, remote.head.mode() == CommitMode::Devices);
        let last = self.last_manifest()?.filter(|last| is_joined && last.remote_id == remote.id);
        let last = last.as_deref().map(|manifest| Last { mark: NO_MARK, manifest });
        Ok(remote.head.read(&Reader { is_lenient, last, ..Reader::new(&device) }).await?)
    }

    /// The records that a batch has to look at: those edited here or there, those that the remote
    /// lacks, those whose file is behind, and those that want a place one of these may take.
    fn touched_records(
        &self,
        mut ids: BTreeSet<EntityId>,
        news: &BTreeMap<EntityId, Entity>,
        local: &LocalEdits,
    ) -> Result<BTreeMap<EntityId, Record>> {
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
            pen: Pen::new(replica.device.clone(), replica.counter, replica.last_stamp),
            now: self.clock.now(),
            rules: &self.rules,
            knows: replica.knows.clone(),
            records: &observed.records,
            local: &observed.local.edits,
            remote: &observed.news,
            known_files: observed.known_files,
            names: observed.names.clone(),
            vault: &forms,
        };
        let plan = plan(&snapshot);
        forms.finish()?;
        Ok(plan)
    }
}

/// States of one record from several files, joined.
pub(super) fn join_news(entities: Vec<Entity>) -> BTreeMap<EntityId, Entity> {
    let mut joined: BTreeMap<EntityId, Entity> = BTreeMap::new();
    for entity in entities {
        match joined.entry(entity.id.clone()) {
            Entry::Vacant(place) => drop(place.insert(entity)),
            Entry::Occupied(mut known) => {
                let both = join(known.get(), &entity);
                known.insert(both);
            }
        }
    }
    joined
}
