//! Commit mode devices: each device writes a manifest of its own, and the remote is their join.
//!
//! For folders that another program mirrors, and for servers that can do nothing else. Nobody ever
//! writes over another's file, so no commit can be lost. Files may arrive late and in any order: a
//! head counts from when all that it names is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use larder_providers::{
    Body, Entry, Put, PutMode, RemotePath, SharedStorage, Storage, StorageExt, Version,
};

use super::{
    Advance, Budget, CommitMode, Head, HeadRead, HeadState, Last, Manifest, Others, Reader, Result,
    shelf::Shelf,
    sorted::{Found, Loaded, Sorted, let_go, own_file},
    stamps::{AGAIN, mark_of, stamp_of, stamps_of},
};
use crate::{
    digest::sha256_hex,
    model::{
        DeviceId, RemoteId,
        limits::{HEADS_MAX, MANIFEST_BYTES_MAX},
    },
    mutant::{self, Mutant},
    remote::{Meta, RemoteError, layout},
};

/// How often a head is read that cannot be understood: it may be just being written.
const LOOKS: u64 = 4;
/// How long to wait before looking again, in milliseconds, times the number of looks so far.
const LOOK_AGAIN_MS: u64 = 30;
/// How often a server refuses the version that it shows itself, until its conditions count for nothing.
const REFUSALS_MAX: u64 = 6;
/// How many heads are read at once.
const READS: usize = 8;
/// Longer heads are read one by one, in bytes.
const LONG_BYTES: u64 = 1 << 20;
/// The lengths that a manifest takes in turn, for storages that tell changes by length and second.
const PADS: u64 = 61;

/// Commits by writing the one head that is this device's.
#[derive(Debug)]
pub struct Devices {
    storage: SharedStorage,
    id: RemoteId,
}

/// What lies in `heads/`.
struct Look {
    /// By name, what a change is told by.
    stamps: BTreeMap<String, String>,
    files: Vec<Listed>,
    server_time: Option<DateTime<Utc>>,
}

/// A file in `heads/`, as it is listed.
struct Listed {
    file: RemotePath,
    bytes: Option<u64>,
    version: Option<Version>,
}

/// A head as it was read.
struct Read {
    manifest: Manifest,
    sha256: String,
    version: Option<Version>,
}

impl Devices {
    /// The heads of the remote `id` on `storage`.
    pub fn new(storage: SharedStorage, id: RemoteId) -> Self {
        Self { storage, id }
    }

    async fn look(&self) -> Result<Look> {
        let folder = layout::path(layout::HEADS)?;
        let listing = self.storage.list_if_there(&folder).await?;
        let mut look =
            Look { stamps: BTreeMap::new(), files: Vec::new(), server_time: listing.server_time };
        for entry in listing.entries.into_iter().filter(|entry| !entry.is_folder) {
            look.stamps.insert(entry.path.name().to_owned(), stamp_of(&entry));
            let Entry { path: file, bytes, version, .. } = entry;
            look.files.push(Listed { file, bytes, version });
        }
        for name in listing.foreign {
            if let Ok(file) = RemotePath::found(&folder, &name) {
                look.stamps.insert(name, String::new());
                look.files.push(Listed { file, bytes: None, version: None });
            }
        }
        look.files.retain(|listed| listed.file.as_str().ends_with(".json"));
        Ok(look)
    }

    /// Reads the heads, as far as they can be understood and there is room for them: the own one before
    /// all others, and the shortest of those first, as nobody needs long ones but who wants to do harm.
    async fn load(&self, files: &[Listed], own: &RemotePath) -> Result<Sorted> {
        let mut files: Vec<&Listed> = files.iter().collect();
        files.sort_by_key(|listed| (listed.file != *own, listed.bytes.unwrap_or(u64::MAX)));
        let mut sorted = Sorted::default();
        let beyond = files.split_off(files.len().min(HEADS_MAX));
        if let Some(first) = beyond.first() {
            let why = format!("is one of {} beyond the {HEADS_MAX} that are read", beyond.len());
            sorted.aside.push((first.file.clone(), why));
        }
        let budget = Mutex::new(Budget::default());
        let is_long = |listed: &&Listed| listed.bytes.is_none_or(|bytes| bytes > LONG_BYTES);
        let (long, short): (Vec<&Listed>, Vec<&Listed>) = files.into_iter().partition(is_long);
        let (own_first, short): (Vec<&Listed>, Vec<&Listed>) =
            short.into_iter().partition(|listed| listed.file == *own);
        for (files, reads) in [(own_first, 1), (short, READS), (long, 1)] {
            let mut loads = Vec::new();
            for listed in files {
                loads.push(self.load_one(listed, &budget));
            }
            let loaded: Vec<Loaded> =
                futures::stream::iter(loads).buffered(reads).try_collect().await?;
            loaded.into_iter().for_each(|loaded| sorted.add(loaded));
        }
        sorted.whole.sort_by(|a, b| a.file.cmp(&b.file));
        sorted.unreadable.sort();
        sorted.foreign.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(sorted)
    }

    async fn load_one(&self, listed: &Listed, budget: &Mutex<Budget>) -> Result<Loaded> {
        let file = &listed.file;
        for look in 1..=LOOKS {
            match self.read_listed(listed, budget).await {
                Ok(Some(read)) => {
                    let is_certain = read.is_of(listed.version.as_ref());
                    let (file, Read { manifest, sha256, .. }) = (file.clone(), read);
                    let is_foreign = manifest.remote_id != self.id;
                    let found = Box::new(Found { file, manifest, sha256, is_certain });
                    return Ok(match is_foreign {
                        true => Loaded::Foreign(found),
                        false => Loaded::Found(found),
                    });
                }
                Ok(None) => return Ok(Loaded::Aside(file.clone())),
                Err(error) if !may_pass(&error) => return Err(error),
                Err(_) if look == LOOKS => {}
                Err(_) => {
                    let pause = LOOK_AGAIN_MS * look;
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                }
            }
        }
        Ok(Loaded::Unreadable(file.clone()))
    }

    /// Reads a head; nothing if there is no room for it. Another state than the listing speaks of is
    /// refused: it would count as read from then on.
    async fn read_listed(&self, listed: &Listed, budget: &Mutex<Budget>) -> Result<Option<Read>> {
        let told = listed.bytes.filter(|_| !mutant::is(Mutant::OldHeads));
        let most = told.map_or(MANIFEST_BYTES_MAX, |told| told.min(MANIFEST_BYTES_MAX));
        let (bytes, version) = self.storage.read(&listed.file, most).await?;
        if let Some(told) = told.filter(|told| *told != bytes.len() as u64) {
            let detail = format!("{} bytes came of the {told} that are listed", bytes.len());
            return Err(RemoteError::damaged(layout::HEADS, detail));
        }
        let has_room = budget.lock().is_ok_and(|mut budget| budget.take(&bytes));
        has_room.then(|| Read::decode(&listed.file, &bytes, version)).transpose()
    }

    async fn read_one(&self, file: &RemotePath) -> Result<Read> {
        let (bytes, version) = self.storage.read(file, MANIFEST_BYTES_MAX).await?;
        Read::decode(file, &bytes, version)
    }

    /// Writes the own head over the state of it that was seen; whether it was still that one.
    async fn replace(&self, file: &RemotePath, seen: &HeadState, text: String) -> Result<bool> {
        let body = Body::Bytes(Bytes::from(text));
        for refusal in 1..=REFUSALS_MAX {
            let Some(condition) = self.condition(file, seen).await? else { return Ok(false) };
            if self.storage.put(file, body.clone(), condition).await? != Put::Lost {
                return Ok(true);
            }
            // It may have shown an old state, or not take for one what it wrote a moment ago.
            let pause = LOOK_AGAIN_MS * refusal;
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
        match self.condition(file, seen).await? {
            // Who refuses the very version that it shows, time and again, knows no conditions.
            Some(PutMode::Update(_)) => {
                self.storage.put(file, body, PutMode::Overwrite).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// On what condition the own head may be written over the state that was seen; none where
    /// another state stands there.
    async fn condition(&self, file: &RemotePath, seen: &HeadState) -> Result<Option<PutMode>> {
        let was_there = stamps_of(&seen.mark).contains_key(file.name());
        match self.read_one(file).await {
            Ok(read) if read.sha256 != seen.sha256 => Ok(None),
            Ok(read) => Ok(Some(read.version.map_or(PutMode::Overwrite, PutMode::Update))),
            Err(RemoteError::Storage(error)) if error.is_not_found() => {
                Ok((!was_there).then_some(PutMode::Create))
            }
            Err(error) if !may_pass(&error) => Err(error),
            // Half of a head tells nobody anything.
            Err(_) => Ok(Some(PutMode::Overwrite)),
        }
    }

    /// Whether this is a remote at all, where no head tells so.
    async fn is_founded(&self) -> Result<bool> {
        Ok(self.meta().await?.is_some())
    }

    async fn meta(&self) -> Result<Option<Bytes>> {
        match self.storage.read(&layout::path(layout::META)?, MANIFEST_BYTES_MAX).await {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Of several remotes in one folder that stays which `meta.json` tells of.
    async fn is_this_one(&self) -> Result<()> {
        let meta = self.meta().await?.map(|bytes| Meta::decode(&bytes));
        match meta.and_then(Result::ok).filter(|meta| meta.remote_id != self.id) {
            Some(Meta { remote_id: found, .. }) => {
                Err(RemoteError::Foreign { expected: self.id.clone(), found })
            }
            None => Ok(()),
        }
    }

    fn empty(&self) -> Result<Manifest> {
        // The device of a commit that nobody made; it takes part in nothing.
        let nobody = DeviceId::new("0000").map_err(|e| RemoteError::damaged(layout::HEADS, e))?;
        Ok(Manifest::empty(self.id.clone(), CommitMode::Devices, nobody))
    }

    /// Puts aside the heads that name files which are not there, or not in their full length.
    async fn put_off(&self, sorted: &mut Sorted, shelf: &mut Shelf) -> Result<()> {
        for found in std::mem::take(&mut sorted.whole) {
            match shelf.first_missing(&self.storage, &found.manifest).await? {
                None => sorted.whole.push(found),
                Some(missing) => sorted.waiting.push((found, missing)),
            }
        }
        Ok(())
    }

    /// Joins what counts into one state.
    async fn join(&self, look: Look, mut sorted: Sorted, reader: &Reader<'_>) -> Result<HeadState> {
        let mut shelf = Shelf::default();
        self.put_off(&mut sorted, &mut shelf).await?;
        let is_doubtful = !sorted.waiting.is_empty() || sorted.unknown().next().is_some();
        let mut parts: Vec<&Manifest> = sorted.whole.iter().map(|found| &found.manifest).collect();
        // What was agreed last stands in for a head that is on its way.
        let last = reader.last.as_ref().map(|last| last.manifest);
        if let Some(last) = last.filter(|_| is_doubtful)
            && shelf.first_missing(&self.storage, last).await?.is_none()
        {
            parts.push(last);
        }
        let mut manifest = Manifest::joined(parts).map_or_else(|| self.empty(), Ok)?;
        manifest.pad.clear();
        let is_enough =
            last.map_or(manifest.generation > 0, |last| manifest.knows.includes(&last.knows));
        let own = own_file(reader.device)?;
        if let Some((last, now)) = last.zip(look.server_time)
            && sorted.unreadable.contains(&own)
        {
            let_go(&mut manifest, last, now);
        }
        // What cannot be read was cut off by its writer, who may never come back: nobody waits for it.
        // Nor where no news are on their way: what was agreed and is gone comes with nothing.
        if !is_enough && !reader.is_lenient && sorted.has_news_for(last, &own) {
            return Err(sorted.what_is_missing(&manifest));
        }
        // A commit that came to no end may have left half of a head, whatever is shown here.
        let is_open = reader.last.is_some_and(|last| last.mark.is_empty());
        let is_stale = is_open || sorted.is_stale(&own, reader.device, &manifest);
        let strays = sorted.strays(&manifest);
        let is_certain = sorted.all().all(|found| found.is_certain);
        let is_settled = is_certain && !is_doubtful && !is_stale && strays.is_empty();
        let named: BTreeSet<&RemotePath> = manifest.data().map(|data| &data.file).collect();
        let kept = sorted.understood().flat_map(Found::files);
        let kept = kept.filter(|file| !named.contains(file)).cloned().collect();
        let outdone = sorted.outdone(&named);
        let sha256 = sorted.understood().find(|found| found.file == own);
        Ok(HeadState {
            mark: mark_of(&look.stamps, is_settled),
            strays,
            is_stale,
            sha256: sha256.map(|found| found.sha256.clone()).unwrap_or_default(),
            server_time: look.server_time,
            others: Others {
                named: kept,
                outdone,
                unreadable: sorted.unknown().cloned().collect(),
                waiting: sorted.notes(&manifest),
                unmet: sorted.unmet(),
            },
            manifest,
        })
    }
}

#[async_trait]
impl Head for Devices {
    fn mode(&self) -> CommitMode {
        CommitMode::Devices
    }

    async fn read(&self, reader: &Reader<'_>) -> Result<HeadRead> {
        let look = self.look().await?;
        let is_known = |last: &Last<'_>| {
            // Without a mark nothing is known, also not that there are no heads.
            !last.mark.is_empty() && last.mark == mark_of(&look.stamps, true)
        };
        if reader.last.as_ref().is_some_and(is_known) && !reader.is_thorough {
            return Ok(HeadRead::Unchanged);
        }
        if look.files.is_empty() && !self.is_founded().await? {
            return Ok(HeadRead::Missing);
        }
        let sorted = self.load(&look.files, &own_file(reader.device)?).await?;
        if !sorted.foreign.is_empty() {
            self.is_this_one().await?;
        }
        Ok(HeadRead::Current(Box::new(self.join(look, sorted, reader).await?)))
    }

    /// Nobody else writes this file, so there is no race to lose; but a server may lie, keep half, or
    /// have shown an older state, of which what the device said since would be left out.
    async fn advance(&self, seen: &HeadState, mut next: Manifest) -> Result<Advance> {
        let file = own_file(&next.commit.device)?;
        next.pad = " ".repeat(usize::try_from(next.generation % PADS).unwrap_or_default());
        let (text, sha256) = next.encode();
        let bytes = text.len() as u64;
        if !self.replace(&file, seen, text).await? {
            return Ok(Advance::Raced);
        }
        if !self.storage.capabilities().trusted {
            let stands = self.read_one(&file).await;
            if !stands.is_ok_and(|read| read.sha256 == sha256) {
                return Ok(Advance::Raced);
            }
        }
        let listing = self.storage.list(&layout::path(layout::HEADS)?).await?;
        let own = listing.entries.iter().find(|entry| entry.path == file);
        let Some(own) = own.filter(|own| own.bytes.is_none_or(|told| told == bytes)) else {
            return Ok(Advance::Raced);
        };
        // Only the own file as it is now: what others wrote meanwhile was not read.
        let mut stamps = stamps_of(&seen.mark);
        stamps.insert(file.name().to_owned(), stamp_of(own));
        for stray in &seen.strays {
            stamps.remove(stray.name());
            // One that stays is joined and taken away by the next commit.
            let _ = self.storage.delete(stray).await;
        }
        let others = seen.others.clone();
        Ok(Advance::Committed(Box::new(HeadState {
            mark: mark_of(&stamps, !seen.mark.ends_with(AGAIN)),
            strays: Vec::new(),
            is_stale: false,
            manifest: next,
            sha256,
            server_time: listing.server_time,
            others,
        })))
    }

    async fn found(&self, _: &Manifest) -> Result<()> {
        Ok(self.storage.make_folder(&layout::path(layout::HEADS)?).await?)
    }

    /// None by itself: what a reader who is lenient makes of the heads is as good as it gets.
    async fn manifests(&self) -> Result<Vec<Manifest>> {
        let reader_device = self.empty()?.commit.device;
        let reader = Reader { is_lenient: true, ..Reader::new(&reader_device) };
        Ok(match self.read(&reader).await? {
            HeadRead::Current(head) => vec![head.manifest],
            HeadRead::Unchanged | HeadRead::Missing => Vec::new(),
        })
    }

    /// The own head says what is whole; nobody else writes it, so there is no race to lose.
    async fn rebuild(&self, reader: &Reader<'_>, next: Manifest) -> Result<Advance> {
        let lenient = Reader { is_lenient: true, ..*reader };
        match self.read(&lenient).await? {
            HeadRead::Current(seen) => self.advance(&seen, next).await,
            HeadRead::Unchanged | HeadRead::Missing => Ok(Advance::Raced),
        }
    }

    async fn forget(&self, device: &DeviceId, now: &Manifest) -> Result<()> {
        let file = own_file(device)?;
        match self.read_one(&file).await {
            Ok(read) if now.knows.includes(&read.manifest.knows) => {
                Ok(self.storage.delete(&file).await?)
            }
            Ok(_) => {
                let detail = format!("{file} knows edits that have not arrived here yet");
                Err(RemoteError::Incomplete { detail })
            }
            Err(RemoteError::Storage(error)) if error.is_not_found() => Ok(()),
            Err(error) if !may_pass(&error) => Err(error),
            // What cannot be read tells nobody anything.
            Err(_) => Ok(self.storage.delete(&file).await?),
        }
    }
}

impl Read {
    fn decode(file: &RemotePath, bytes: &[u8], version: Option<Version>) -> Result<Self> {
        let manifest = Manifest::decode(file.as_str(), bytes)?;
        Ok(Self { manifest, sha256: sha256_hex(bytes), version })
    }

    /// Whether this is the state that is listed; some servers write one version in two ways.
    fn is_of(&self, listed: Option<&Version>) -> bool {
        let is_other = |(listed, read): (&Version, &Version)| listed != read;
        !listed.zip(self.version.as_ref()).is_some_and(is_other) || mutant::is(Mutant::OldHeads)
    }
}

/// Whether a head that gave this error may be fine in a moment.
fn may_pass(error: &RemoteError) -> bool {
    use larder_providers::ErrorKind::{NotFound, Protocol, TooLarge};
    match error {
        RemoteError::Damaged { .. } => true,
        RemoteError::Storage(error) => matches!(error.kind(), NotFound | Protocol | TooLarge),
        _ => false,
    }
}
