//! A head that is gone or cannot be read: made anew from what is left.
//!
//! A manifest that claims to know what its files do not hold would be worse than none: nobody would
//! send that again. So only a manifest all of whose files are whole becomes the base of the new head.
//! Where there is none the new head knows nothing, and every device sends what it has, this one at
//! once; what others sent and no head names any more is taken up as edits of this device.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use larder_providers::{Body, ErrorKind, PutMode, RemotePath, Storage as _, StorageExt as _};

use crate::{
    engine::{
        Engine, EngineError, RACES_MAX, Report, Result,
        adopt::{Adopted, Adopting},
        connect::has_data,
        feed::is_about_one_file,
    },
    model::{DeviceId, Stamp, VersionVector, limits::MANIFEST_BYTES_MAX},
    remote::{
        Advance, CommitMode, FORMAT, Fetched, HeadRead, HeadState, Manifest, Meta, Others, Reader,
        Remote, RemoteError, fetch, layout, survey,
    },
};

/// How long a look at heads that cannot be read is apart from the one before: one of them may be just
/// being written.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

impl Engine {
    /// Makes sure that everybody finds out what the folder is: a `meta.json` that is no manifest says
    /// always the same.
    pub(super) async fn repair_meta(
        &self,
        remote: &Remote,
        repaired: &mut Vec<String>,
    ) -> Result<()> {
        let Some(wrong) = wrong_meta(remote).await? else { return Ok(()) };
        if wrong == GONE && !has_data(&remote.storage).await? {
            // Nothing lies there at all: that is no damage.
            return Err(self.why_missing(remote).await);
        }
        let meta = Meta {
            format: FORMAT,
            min_reader: FORMAT,
            remote_id: remote.id.clone(),
            commit_mode: remote.head.mode(),
        };
        let text = serde_json::to_string_pretty(&meta).unwrap_or_default() + "\n";
        let mode = if wrong == GONE { PutMode::Create } else { PutMode::Overwrite };
        remote
            .storage
            .put(&Remote::path(layout::META)?, Body::Bytes(Bytes::from(text)), mode)
            .await?;
        repaired.push(format!("meta.json {wrong}: written anew"));
        Ok(())
    }

    /// Sees to it that the remote has a head that a turn can go on from; whether it was made anew.
    pub(super) async fn repair_head(
        &mut self,
        remote: &Remote,
        accept_loss: bool,
        repaired: &mut Vec<String>,
    ) -> Result<bool> {
        let Some(wrong) = self.wrong_head(remote, accept_loss).await? else { return Ok(false) };
        let base = self.base_of_head(remote).await?;
        for folder in layout::folders(remote.head.mode()) {
            remote.storage.make_folder(&Remote::path(folder)?).await?;
        }
        let before = base.as_ref().map(|base| base.generation);
        self.make_sure_of_identity(remote, repaired).await?;
        for race in 0..=RACES_MAX {
            let next = self.next_head(remote, base.as_ref()).await?;
            let device = self.replica()?.device;
            self.store.note_try(&next.commit.id)?;
            match remote.head.rebuild(&Reader::new(&device), next).await? {
                Advance::Committed(now) => {
                    self.remember(remote, &now, &[])?;
                    let from = before.map_or_else(
                        || "no manifest was left whole: everything is sent anew".to_owned(),
                        |generation| {
                            format!("made anew from the manifest of generation {generation}")
                        },
                    );
                    let now = now.manifest.generation;
                    repaired.push(format!("the head ({wrong}): {from}, as generation {now}"));
                    return Ok(true);
                }
                // Somebody else repairs it as well.
                Advance::Raced if self.wrong_head(remote, accept_loss).await?.is_none() => {
                    return Ok(false);
                }
                Advance::Raced => self.pause(race).await,
            }
        }
        Err(EngineError::Raced { tries: RACES_MAX + 1 })
    }

    /// A turn got no further than to what is wrong with the head. Where each device has one of its own,
    /// the others tell of another life of this replica. Elsewhere nothing does: what it sent in that
    /// life the new head may not know, and others do.
    async fn make_sure_of_identity(
        &mut self,
        remote: &Remote,
        repaired: &mut Vec<String>,
    ) -> Result<()> {
        if remote.head.mode() != CommitMode::Devices {
            self.take_new_id()?;
            repaired.push(format!(
                "this device goes on as {}: what it sent under its old id may be more than the new head knows",
                self.replica()?.device
            ));
            return Ok(());
        }
        if let HeadRead::Current(head) = self.look_at_head(remote, true).await? {
            let mut report = Report::default();
            self.check_identity(&head, &mut report)?;
            repaired.extend(report.notes.into_iter().map(|note| note.text));
        }
        Ok(())
    }

    /// What keeps a turn from going on from the head; an error where that is nothing to repair, or is
    /// still waited for.
    async fn wrong_head(&self, remote: &Remote, accept_loss: bool) -> Result<Option<String>> {
        if let Err(error) = self.readable_head(remote).await? {
            return Ok(Some(error.to_string()));
        }
        match self.look_at_head(remote, false).await {
            Ok(_) => Ok(None),
            Err(EngineError::Remote(RemoteError::Incomplete { detail }))
                if accept_loss || self.is_given_up(&detail)? =>
            {
                Ok(Some(detail))
            }
            Err(error) => Err(error),
        }
    }

    /// The latest manifest all of whose files are whole.
    async fn base_of_head(&self, remote: &Remote) -> Result<Option<Manifest>> {
        let mut found = remote.head.manifests().await?;
        if let Some(mark) = self.store.remote_mark()? {
            found.extend(Manifest::decode("the last manifest", mark.manifest.as_bytes()).ok());
        }
        found.retain(|manifest| manifest.remote_id == remote.id && manifest.generation > 0);
        found.sort_by(|a, b| b.generation.cmp(&a.generation).then(a.commit.id.cmp(&b.commit.id)));
        let mut whole = BTreeSet::new();
        for manifest in found {
            if is_whole(remote, &manifest, &mut whole).await? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    /// The manifest after everything that was there, as far as its traces tell.
    async fn next_head(&mut self, remote: &Remote, base: Option<&Manifest>) -> Result<Manifest> {
        let device = self.replica()?.device;
        let last = self.last_manifest()?.filter(|last| last.remote_id == remote.id);
        let seen = [base.map(|base| base.generation), last.as_ref().map(|last| last.generation)];
        let mut latest = seen.into_iter().flatten().max().unwrap_or(0);
        latest = latest.max(latest_trace(remote).await?);
        let empty = || {
            let mode = remote.head.mode();
            let empty = Manifest::empty(remote.id.clone(), mode, device.clone());
            Manifest { devices: last.map(|last| last.devices.clone()).unwrap_or_default(), ..empty }
        };
        let manifest = base.cloned().unwrap_or_else(empty);
        let sha256 = base.map(|base| base.encode().1).unwrap_or_default();
        let head = HeadState {
            mark: String::new(),
            strays: Vec::new(),
            is_stale: false,
            manifest,
            sha256,
            server_time: None,
            others: Others::default(),
        };
        let mut next = self.successor(&head, false);
        next.generation = latest + 1;
        Ok(next)
    }

    /// Takes up what others sent and no head names, as their own next sync may never come: what only a
    /// head may have named that was cut off, and all that is loose where the head was lost. Says which
    /// files these were, and the time there.
    pub(super) async fn take_up(
        &mut self,
        remote: &Remote,
        is_head_new: bool,
        repaired: &mut Vec<String>,
    ) -> Result<(BTreeSet<RemotePath>, Stamp)> {
        let nothing = (BTreeSet::new(), self.clock.now());
        let HeadRead::Current(head) = self.look_closely(remote).await? else {
            return Ok(nothing);
        };
        let makers: BTreeSet<&str> = head
            .others
            .unreadable
            .iter()
            .filter_map(|file| file.name().strip_suffix(".json"))
            .collect();
        if !is_head_new && makers.is_empty() {
            return Ok(nothing);
        }
        let survey = survey(remote, &head).await?;
        let mut files = survey.doubtful;
        files.extend(survey.loose.into_iter().chain(survey.orphans));
        // A file of somebody else may be about to be named by a head that is fine.
        let is_lost = |unknown: &DeviceId| is_head_new || makers.contains(unknown.as_str());
        let strictly = Adopting { is_strict: true, is_lost: &is_lost };
        let mut adopted = Adopted::default();
        if self.adopt(remote, &files, &mut adopted, strictly).await? {
            repaired.push("edits of others in files that no head names: taken up".to_owned());
        }
        Ok((adopted.files, self.server_now(head.server_time)))
    }
}

impl Engine {
    /// Reads the head as [`look_at_head`](Self::look_at_head) does. Where some cannot be read, now and a
    /// while later, and none is on its way, it is what somebody sees who comes new.
    pub(super) async fn look_closely(&self, remote: &Remote) -> Result<HeadRead> {
        match self.look_at_head(remote, true).await? {
            HeadRead::Current(head) if !head.others.unreadable.is_empty() => {}
            read => return Ok(read),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        match self.look_at_head(remote, true).await? {
            HeadRead::Current(head)
                if !head.others.unreadable.is_empty() && head.others.unmet.is_empty() =>
            {
                let device = self.replica()?.device;
                let reader = Reader { is_lenient: true, ..Reader::new(&device) };
                Ok(remote.head.read(&reader).await?)
            }
            read => Ok(read),
        }
    }
}

const GONE: &str = "was gone";
const UNREADABLE: &str = "could not be read";

/// What is wrong with a `meta.json` that is no manifest; an error if it is another remote's.
pub(super) async fn wrong_meta(remote: &Remote) -> Result<Option<&'static str>> {
    if remote.head.mode() == CommitMode::IfMatch {
        return Ok(None);
    }
    let read = remote.storage.read(&Remote::path(layout::META)?, MANIFEST_BYTES_MAX).await;
    let bytes = match read {
        Ok((bytes, _)) => bytes,
        Err(error) if error.is_not_found() => return Ok(Some(GONE)),
        Err(error) if error.kind() == ErrorKind::Damaged => return Ok(Some(UNREADABLE)),
        Err(error) => return Err(error.into()),
    };
    match Meta::decode(&bytes) {
        Ok(meta) if meta.remote_id == remote.id => Ok(None),
        Ok(meta) => {
            let (expected, found) = (remote.id.clone(), meta.remote_id);
            Err(RemoteError::Foreign { expected, found }.into())
        }
        Err(RemoteError::Damaged { .. }) => Ok(Some(UNREADABLE)),
        Err(error) => Err(error.into()),
    }
}

/// Whether every file that a manifest names is there and whole; `whole` are those known to be.
async fn is_whole(
    remote: &Remote,
    manifest: &Manifest,
    whole: &mut BTreeSet<(RemotePath, String)>,
) -> Result<bool> {
    for data in manifest.data() {
        let key = (data.file.clone(), data.sha256.clone());
        if whole.contains(&key) {
            continue;
        }
        let fetched = fetch(&remote.storage, data, &VersionVector::default()).await;
        match fetched.and_then(reads) {
            Ok(()) => drop(whole.insert(key)),
            Err(error) if is_about_one_file(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Whether all of a data file can be read.
fn reads(mut fetched: Fetched) -> Result<(), RemoteError> {
    while let Some(portion) = fetched.next_portion() {
        portion?;
    }
    Ok(())
}

/// The highest generation that the name of some file speaks of.
async fn latest_trace(remote: &Remote) -> Result<u64> {
    let mut latest = 0;
    for folder in [layout::DELTAS, layout::ENTITIES, layout::PACKS, layout::MANIFESTS, layout::HEAD]
    {
        for entry in remote.storage.list_if_there(&Remote::path(folder)?).await?.entries {
            let built_on = layout::data_generation(entry.path.as_str());
            let made = layout::token_generation(entry.path.name());
            latest =
                latest.max(built_on.map_or(0, |on| on.saturating_add(1))).max(made.unwrap_or(0));
        }
    }
    Ok(latest.min(crate::model::limits::COUNT_MAX / 2))
}
