//! Connecting a vault to a remote: making it, or joining the one that is there.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_providers::{
    Body, Depth, Listing, Move, Put, PutMode, RemotePath, SharedStorage, Storage, StorageExt,
    Verdict, probe,
};

use super::{Brake, Engine, EngineError, Result, TurnOptions};
use crate::{
    model::{DeviceId, RemoteId, Stamp, limits::MANIFEST_BYTES_MAX},
    mutant::{self, Mutant},
    remote::{
        CommitMode, FORMAT, HeadRead, Manifest, Meta, Remote, RemoteError,
        layout::{
            BLOBS, DELTAS, ENTITIES, FOLDERS, META, META_NEW, PACKS, PROBE, data_generation,
            folders,
        },
    },
    store::Binding,
};

/// How long whoever made a remote waits for others who did so in the same moment.
const MAKERS_APART: Duration = Duration::from_millis(300);

/// What connecting a vault did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The remote.
    pub id: RemoteId,
    /// Whether it was made just now.
    pub created: bool,
    /// How commits are made on it.
    pub mode: CommitMode,
    /// How many entities changed since its packs were written, plus those in the packs: about as
    /// many as it holds.
    pub entities: u64,
}

/// What lies in the remote's folder.
enum Found {
    Remote(Meta),
    /// Records, but nothing that says what of them counts.
    Headless,
    Nothing,
    NoFolder,
}

impl Engine {
    /// Connects the vault to the remote on `storage`: makes one if the folder is empty, joins the
    /// one that is there. No record moves yet.
    ///
    /// `forced` is the commit mode that the user insists on, where the storage allows it.
    pub async fn connect(
        &mut self,
        storage: &SharedStorage,
        forced: Option<CommitMode>,
    ) -> Result<Connected> {
        let bound = self.store.binding()?;
        let (found, server_time) = look_and_hear(storage).await?;
        match (&found, bound) {
            (Found::Remote(meta), Some(bound)) if bound.id != meta.remote_id => {
                let (expected, found) = (bound.id, meta.remote_id.clone());
                return Err(Brake::Foreign { expected, found }.into());
            }
            (Found::Nothing | Found::NoFolder, Some(bound)) => {
                return Err(Brake::RemoteEmpty { remote: bound.id }.into());
            }
            _ => {}
        }
        self.enter(storage, found, server_time, forced).await
    }

    /// Connects the vault to one more remote as [`Engine::connect`] does to its first, and looks at it
    /// from then on.
    pub async fn add_remote(
        &mut self,
        storage: &SharedStorage,
        forced: Option<CommitMode>,
    ) -> Result<Connected> {
        let (found, server_time) = look_and_hear(storage).await?;
        if let Found::Remote(meta) = &found
            && self.store.bindings()?.iter().any(|bound| bound.id == meta.remote_id)
        {
            let text =
                format!("this vault is connected to that remote already ({})", meta.remote_id);
            return Err(EngineError::Refused(text));
        }
        self.enter(storage, found, server_time, forced).await
    }

    /// Joins the remote that was found, or makes one where there is nothing.
    async fn enter(
        &mut self,
        storage: &SharedStorage,
        found: Found,
        server_time: Option<DateTime<Utc>>,
        forced: Option<CommitMode>,
    ) -> Result<Connected> {
        let connected = match found {
            Found::Remote(meta) => self.join_remote(storage, &meta).await?,
            Found::Headless => return Err(headless()),
            Found::Nothing => self.make_remote(storage, forced, None).await?,
            Found::NoFolder => {
                storage.make_folder(&RemotePath::root()).await?;
                self.make_remote(storage, forced, None).await?
            }
        };
        // What is edited before the first turn is dated by it, too.
        self.note_time(server_time)?;
        Ok(connected)
    }

    /// Forgets a remote and all that is known of it; on it nothing is touched.
    pub fn remove_remote(&mut self, id: &RemoteId) -> Result<()> {
        if self.store.unbind(id)? { Ok(()) } else { Err(EngineError::NotConnected) }
    }

    /// Keeps in the replica that a remote is encrypted, for whoever opens its storage.
    pub fn note_encrypted(&mut self, id: &RemoteId) -> Result<()> {
        if self.store.is_encrypted(id)? { Ok(()) } else { Ok(self.store.set_encrypted(id)?) }
    }

    /// Looks at this remote of the vault from now on: every command but a turn through all of them is
    /// about it.
    pub fn look_at(&mut self, id: &RemoteId) -> Result<()> {
        if self.store.look_at(id)? { Ok(()) } else { Err(EngineError::NotConnected) }
    }

    /// Binds a replica that was lost to a remote that the vault had; `expected` is the one that it has
    /// to be. None is made: that it is not there is no reason to begin another.
    pub async fn rejoin(
        &mut self,
        storage: &SharedStorage,
        expected: Option<&RemoteId>,
    ) -> Result<Connected> {
        match look(storage).await? {
            Found::Remote(meta) if expected.is_some_and(|id| *id != meta.remote_id) => {
                let (expected, found) = (expected.cloned(), meta.remote_id);
                let expected = expected.ok_or(EngineError::NotConnected)?;
                Err(Brake::Foreign { expected, found }.into())
            }
            Found::Remote(meta) => self.join_remote(storage, &meta).await,
            Found::Headless => Err(headless()),
            Found::Nothing | Found::NoFolder => Err(Brake::RemoteLost.into()),
        }
    }

    /// The remote of this vault, made or joined if that has not happened yet.
    pub(super) async fn open_remote(
        &mut self,
        storage: &SharedStorage,
        options: TurnOptions,
    ) -> Result<Remote> {
        if options.recreate_remote
            && !options.dry_run
            && matches!(look(storage).await?, Found::Nothing | Found::NoFolder)
        {
            let bound = self.store.binding()?.ok_or(EngineError::NotConnected)?;
            storage.make_folder(&RemotePath::root()).await?;
            self.make_remote(storage, Some(mode_of(&bound)?), Some(bound.id)).await?;
        }
        self.bound_remote(storage)
    }

    /// The remote that this vault is bound to, unread.
    pub(super) fn bound_remote(&self, storage: &SharedStorage) -> Result<Remote> {
        let bound = self.store.binding()?.ok_or(EngineError::NotConnected)?;
        let mode = mode_of(&bound)?;
        Ok(Remote::new(storage.clone(), bound.id, mode))
    }

    /// Draws the id of the remote that is made next, unless it is settled, for who has to know it before.
    pub fn draw_remote_id(&mut self) -> Result<RemoteId> {
        let id = match self.drawn_id.take() {
            Some(id) => id,
            None => RemoteId::new(self.new_uuid().to_string())?,
        };
        self.drawn_id = Some(id.clone());
        Ok(id)
    }

    /// Has the remote that is made next be this one, which is gone: other devices know it by its id.
    pub fn make_next(&mut self, id: &RemoteId) {
        self.drawn_id = Some(id.clone());
    }

    async fn join_remote(&mut self, storage: &SharedStorage, meta: &Meta) -> Result<Connected> {
        let remote = Remote::new(storage.clone(), meta.remote_id.clone(), meta.commit_mode);
        let manifest = match self.look_at_head(&remote, false).await? {
            HeadRead::Current(head) => Some(head.manifest),
            HeadRead::Unchanged | HeadRead::Missing => None,
        };
        let manifest = match manifest {
            Some(manifest) => manifest,
            None if mutant::is(Mutant::ExpectsWhole) => {
                return Err(self.why_missing(&remote).await);
            }
            None if has_data(storage).await? => return Err(headless()),
            None => {
                // Its maker was cut off between the last two steps of making it.
                let first = self.first_manifest(&meta.remote_id, meta.commit_mode)?;
                remote.head.found(&first).await?;
                first
            }
        };
        if manifest.remote_id != meta.remote_id {
            let detail = "meta.json and head/ speak of two different remotes";
            return Err(RemoteError::damaged(META, detail).into());
        }
        self.bind(&meta.remote_id, meta.commit_mode)?;
        Ok(Connected {
            id: meta.remote_id.clone(),
            created: false,
            mode: meta.commit_mode,
            entities: manifest.entities(),
        })
    }

    async fn make_remote(
        &mut self,
        storage: &SharedStorage,
        forced: Option<CommitMode>,
        id: Option<RemoteId>,
    ) -> Result<Connected> {
        let id = match id.or_else(|| self.drawn_id.take()) {
            Some(id) => id,
            None => RemoteId::new(self.new_uuid().to_string())?,
        };
        let mode = self.choose_mode(storage, forced).await?;
        let first = self.first_manifest(&id, mode)?;
        let remote = Remote::new(storage.clone(), id.clone(), mode);
        if mode != CommitMode::IfMatch {
            let (remote_id, commit_mode) = (id.clone(), mode);
            let meta = Meta { format: FORMAT, min_reader: FORMAT, remote_id, commit_mode };
            let stands = place_meta(storage, &meta, &first.commit.device).await?;
            if stands.remote_id != id {
                return self.join_remote(storage, &stands).await;
            }
        }
        remote.head.found(&first).await?;
        if mode != CommitMode::IfMatch && !storage.capabilities().trusted {
            // Some servers replace a file by a rename all the same, where two come in the same moment.
            tokio::time::sleep(MAKERS_APART).await;
        }
        // Another device may have made the remote in the same moment: what stands there now counts.
        let meta = read_meta(storage).await?;
        if meta.remote_id != id {
            return self.join_remote(storage, &meta).await;
        }
        self.bind(&id, mode)?;
        Ok(Connected { id, created: true, mode, entities: 0 })
    }

    fn first_manifest(&self, id: &RemoteId, mode: CommitMode) -> Result<Manifest> {
        let mut first = Manifest::empty(id.clone(), mode, self.replica()?.device);
        first.last_sync_timestamp = self.clock.now().max(Stamp::default());
        Ok(first)
    }

    /// Finds the commit that the storage can do, and makes the folders that go with it.
    async fn choose_mode(
        &self,
        storage: &SharedStorage,
        forced: Option<CommitMode>,
    ) -> Result<CommitMode> {
        let can = storage.capabilities();
        let wanted = forced.unwrap_or(match can.mirrored_by {
            Some(_) => CommitMode::Devices,
            None if can.compare_and_swap && (can.trusted || !can.move_exclusive) => {
                CommitMode::IfMatch
            }
            None => CommitMode::Rename,
        });
        if wanted == CommitMode::Rename && !can.move_exclusive {
            return Err(RemoteError::NoCommit { detail: "it cannot rename".to_owned() }.into());
        }
        if !can.trusted || wanted != CommitMode::IfMatch {
            for folder in folders(wanted) {
                storage.make_folder(&root_file(folder)?).await?;
            }
        }
        if can.trusted || wanted != CommitMode::IfMatch {
            // A rename is proven by the making of the head; what each writes alone needs no proof.
            return Ok(wanted);
        }
        // Not among the records: what is tried out there must not be taken for some.
        let scratch = root_file(PROBE)?;
        let report = probe(storage, &scratch, Depth::Short).await?;
        if report.if_match_ok {
            return Ok(wanted);
        }
        let failed = report.checks.iter().find(|check| check.verdict == Verdict::Bad);
        let detail = failed.map_or_else(String::new, |check| check.detail.clone());
        Err(RemoteError::NoCommit { detail }.into())
    }

    fn bind(&mut self, id: &RemoteId, mode: CommitMode) -> Result<()> {
        let binding = Binding { id: id.clone(), commit_mode: mode.name().to_owned() };
        if !self.store.bindings()?.contains(&binding) {
            self.store.bind(&binding)?;
        }
        self.look_at(id)
    }

    /// Says what a head that is not there means.
    pub async fn why_missing(&self, remote: &Remote) -> EngineError {
        match look(&remote.storage).await {
            Ok(Found::Nothing | Found::NoFolder) => {
                Brake::RemoteEmpty { remote: remote.id.clone() }.into()
            }
            Ok(Found::Remote(meta)) if meta.remote_id != remote.id => {
                Brake::Foreign { expected: remote.id.clone(), found: meta.remote_id }.into()
            }
            Ok(Found::Headless) => headless(),
            Ok(Found::Remote(_)) => {
                let detail = "meta.json is there, but nothing says which manifest is current";
                RemoteError::HeadMissing { detail: detail.to_owned() }.into()
            }
            Err(error) => error,
        }
    }
}

async fn read_meta(storage: &SharedStorage) -> Result<Meta> {
    let (bytes, _) = storage.read(&root_file(META)?, MANIFEST_BYTES_MAX).await?;
    Ok(Meta::decode(&bytes)?)
}

/// Puts `meta.json` where there is none, and tells which stands there then: of several devices that
/// make a remote in the same moment one is to succeed. Most servers of unknown make that are told not
/// to replace a file do so all the same, but refuse a rename onto one.
async fn place_meta(storage: &SharedStorage, meta: &Meta, device: &DeviceId) -> Result<Meta> {
    let text = serde_json::to_string_pretty(meta).unwrap_or_default() + "\n";
    let (target, bytes) = (root_file(META)?, Bytes::from(text));
    let can = storage.capabilities();
    if can.trusted || !can.move_exclusive {
        return create_meta(storage, meta, bytes).await;
    }
    let scratch = root_file(&format!("{META_NEW}{device}.json"))?;
    storage.write(&scratch, bytes.clone()).await?;
    let moved = storage.move_exclusive(&scratch, &target).await;
    if matches!(moved, Ok(Move::Done)) {
        return Ok(meta.clone());
    }
    // It is in nobody's way if it stays.
    let _ = storage.delete(&scratch).await;
    let stands = read_meta(storage).await;
    match (stands, moved) {
        // Nothing else of mode devices rests on a rename, and this need not either.
        (Err(EngineError::Remote(RemoteError::Storage(gone))), Err(_))
            if gone.is_not_found() && meta.commit_mode == CommitMode::Devices =>
        {
            create_meta(storage, meta, bytes).await
        }
        // The refusal says why there is none.
        (Err(EngineError::Remote(RemoteError::Storage(gone))), Err(why)) if gone.is_not_found() => {
            Err(why.into())
        }
        (stands, _) => stands,
    }
}

/// Writes `meta.json` where there is none, and tells which stands there then.
async fn create_meta(storage: &SharedStorage, meta: &Meta, bytes: Bytes) -> Result<Meta> {
    match storage.put(&root_file(META)?, Body::Bytes(bytes), PutMode::Create).await? {
        Put::Done(_) => Ok(meta.clone()),
        Put::Lost => read_meta(storage).await,
    }
}

/// Whether there are files of records.
pub(super) async fn has_data(storage: &SharedStorage) -> Result<bool> {
    for folder in [PACKS, DELTAS, ENTITIES] {
        match storage.list_names(&root_file(folder)?).await {
            Ok(listing) => {
                let is_data = |path: &RemotePath| data_generation(path.as_str()).is_some();
                if listing.entries.iter().any(|entry| is_data(&entry.path)) {
                    return Ok(true);
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

pub(super) fn headless() -> EngineError {
    let detail = "records lie in the folder, but what says which of them count is gone";
    RemoteError::HeadMissing { detail: detail.to_owned() }.into()
}

/// Looks at what lies in the remote's folder.
async fn look(storage: &SharedStorage) -> Result<Found> {
    Ok(look_and_hear(storage).await?.0)
}

/// Looks at what lies in the remote's folder, and hears what time it is there.
async fn look_and_hear(storage: &SharedStorage) -> Result<(Found, Option<DateTime<Utc>>)> {
    match storage.list(&RemotePath::root()).await {
        Ok(listing) => Ok((found_in(storage, &listing).await?, listing.server_time)),
        // It is not made here: it may lie on a disk that is not connected.
        Err(error) if error.is_not_found() => Ok((Found::NoFolder, None)),
        Err(error) => Err(error.into()),
    }
}

/// What the listing of the remote's folder says that it is.
async fn found_in(storage: &SharedStorage, listing: &Listing) -> Result<Found> {
    let names: Vec<&str> = listing.entries.iter().map(|entry| entry.path.name()).collect();
    if names.contains(&META) {
        return Ok(Found::Remote(read_meta(storage).await?));
    }
    // Folders that were made before a first try was cut off are fine.
    let foreign: Vec<&str> = names
        .into_iter()
        .filter(|name| !FOLDERS.contains(name) && ![BLOBS, PROBE].contains(name))
        .filter(|name| !name.starts_with(META_NEW))
        .chain(listing.foreign.iter().map(String::as_str))
        .collect();
    if foreign.is_empty() {
        let is_filled = listing.entries.iter().any(|entry| entry.is_folder);
        if !is_filled || !has_data(storage).await? {
            return Ok(Found::Nothing);
        }
        // It may have been made since the listing.
        return match read_meta(storage).await {
            Ok(meta) => Ok(Found::Remote(meta)),
            Err(EngineError::Remote(RemoteError::Storage(error))) if error.is_not_found() => {
                Ok(Found::Headless)
            }
            Err(error) => Err(error),
        };
    }
    let mut names = foreign.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    if foreign.len() > 3 {
        names.push_str(", …");
    }
    Err(RemoteError::NotEmpty { names }.into())
}

fn root_file(name: &str) -> Result<RemotePath> {
    Ok(Remote::path(name)?)
}

fn mode_of(binding: &Binding) -> Result<CommitMode> {
    match binding.commit_mode.as_str() {
        "if-match" => Ok(CommitMode::IfMatch),
        "rename" => Ok(CommitMode::Rename),
        "devices" => Ok(CommitMode::Devices),
        other => Err(EngineError::Refused(format!("this larder knows no commit mode {other:?}"))),
    }
}
