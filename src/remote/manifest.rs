//! The manifest: what the remote consists of at one generation.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use larder_providers::RemotePath;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CommitMode, RemoteError, Result, layout};
use crate::{
    digest::sha256_hex,
    model::{
        DeviceId, EntityId, RemoteId, SEALED_MARK, Stamp, VersionVector, json,
        limits::{COUNT_MAX, MANIFEST_BYTES_MAX},
    },
};

/// The form of remotes that this program writes.
pub const FORMAT: u32 = 1;

/// The form of remotes that are encrypted.
const FORMAT_ENCRYPTED: u64 = 2;

/// What a remote consists of at one generation. It is an index: the state is the join of the files
/// it names, so that two manifests can always be joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The form of the remote.
    pub format: u32,
    /// The lowest form that a reader has to know.
    pub min_reader: u32,
    /// Which remote this is.
    pub remote_id: RemoteId,
    /// How commits are made here, the same for all devices.
    pub commit_mode: CommitMode,
    /// How many commits were made.
    pub generation: u64,
    /// When the last one was made, by the clock of its maker.
    pub last_sync_timestamp: Stamp,
    /// Who made it.
    pub commit: Commit,
    /// Every edit that the files named here hold, of each device all up to some counter.
    pub knows: VersionVector,
    /// Files built on a generation below this that no manifest names may be removed.
    pub floor: u64,
    /// Who takes part.
    pub devices: BTreeMap<DeviceId, Participant>,
    /// Compacted batches.
    pub packs: Vec<DataFile>,
    /// Batches and single entities since.
    pub deltas: Vec<DataFile>,
    /// The versions of the entities in the deltas.
    pub entity_versions: BTreeMap<EntityId, u64>,
    /// Files that no longer count and wait to be removed.
    pub retired: Vec<Retired>,
    /// Makes a manifest's length another than that of the one it replaces, for servers whose ETags
    /// are made of length and whole seconds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pad: String,
    /// What a later form added: kept as it is.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The commit that made a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Drawn at random for each try.
    pub id: String,
    /// Who made it.
    pub device: DeviceId,
    /// The SHA-256 of the manifest before; empty at the first.
    pub prev: String,
}

/// A device that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// What its owner calls it.
    pub name: String,
    /// When it made its last commit, by its own clock.
    pub last_seen: Stamp,
    /// The generation it had read then.
    pub read_generation: u64,
    /// The id of its last commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A file that holds entities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataFile {
    /// Where it lies.
    pub file: RemotePath,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
    /// The length of its content in bytes, where that is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_bytes: Option<u64>,
    /// How many entities it holds.
    pub entities: u64,
    /// The first commit whose edits it holds.
    pub from_generation: u64,
    /// The last commit whose edits it holds.
    pub to_generation: u64,
    /// The highest edit of each device in it. Whoever knows all of these need not read it.
    pub holds: VersionVector,
    /// The list of its blocks, at its end; nothing if it is one block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexRow>,
    /// Of the last pack of a run: this file and all packs before it hold, of every entity, all
    /// edits up to these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<VersionVector>,
}

/// Where the blocks of a data file are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRow {
    /// How many bytes at the end of the file it takes.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
}

/// A file that no longer counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Where it lies.
    pub file: RemotePath,
    /// Since when, by the server's clock where it has one.
    pub since: Stamp,
}

/// The part of `meta.json` that is the same in every commit mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The form of the remote.
    pub format: u32,
    /// The lowest form that a reader has to know.
    pub min_reader: u32,
    /// Which remote this is.
    pub remote_id: RemoteId,
    /// How commits are made.
    pub commit_mode: CommitMode,
}

impl Manifest {
    /// The manifest of a remote that nobody has committed to.
    pub fn empty(remote_id: RemoteId, commit_mode: CommitMode, device: DeviceId) -> Self {
        Self {
            format: FORMAT,
            min_reader: FORMAT,
            remote_id,
            commit_mode,
            generation: 0,
            last_sync_timestamp: Stamp::default(),
            commit: Commit { id: String::new(), device, prev: String::new() },
            knows: VersionVector::default(),
            floor: 0,
            devices: BTreeMap::new(),
            packs: Vec::new(),
            deltas: Vec::new(),
            entity_versions: BTreeMap::new(),
            retired: Vec::new(),
            pad: String::new(),
            other: BTreeMap::new(),
        }
    }

    /// Reads a manifest that came as `bytes` from `file`.
    pub fn decode(file: &str, bytes: &[u8]) -> Result<Self> {
        let value = read_json(file, bytes)?;
        let manifest: Self =
            serde_json::from_value(value).map_err(|error| RemoteError::damaged(file, error))?;
        manifest.check(file)?;
        Ok(manifest)
    }

    /// Whether it may stand as `file`: otherwise nobody reads it.
    pub fn check(&self, file: &str) -> Result<()> {
        if self.generation >= COUNT_MAX {
            let detail = format!("its generation is {}", self.generation);
            return Err(RemoteError::damaged(file, detail));
        }
        let mut names = BTreeSet::new();
        for data in self.data() {
            // Whoever believed that would fold without writing what it claims to lie in packs.
            if data.up_to.as_ref().is_some_and(|up_to| !self.knows.includes(up_to)) {
                let detail = format!("{} claims edits that nobody knows", data.file);
                return Err(RemoteError::damaged(file, detail));
            }
            if layout::data_generation(data.file.as_str()).is_none() {
                let detail = format!("it names {:?} as a data file", data.file.as_str());
                return Err(RemoteError::damaged(file, detail));
            }
            if !names.insert(&data.file) {
                return Err(RemoteError::damaged(file, format!("it names {} twice", data.file)));
            }
        }
        let retired = self.retired.iter().find(|retired| names.contains(&retired.file));
        match retired {
            Some(retired) => {
                let detail = format!("{} is both in use and retired", retired.file);
                Err(RemoteError::damaged(file, detail))
            }
            None => Ok(()),
        }
    }

    /// Has files wait to be removed, but for those in use and those that do already.
    pub fn retire(&mut self, files: impl IntoIterator<Item = RemotePath>, since: Stamp) {
        let known = self.data().map(|data| &data.file);
        let known = known.chain(self.retired.iter().map(|old| &old.file));
        let mut known: BTreeSet<RemotePath> = known.cloned().collect();
        let gone = files.into_iter().filter(|file| known.insert(file.clone()));
        self.retired.extend(gone.map(|file| Retired { file, since }));
    }

    /// The manifest as it is written, with its digest.
    pub fn encode(&self) -> (String, String) {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        let sha256 = sha256_hex(text.as_bytes());
        (text, sha256)
    }

    /// All files that hold entities.
    pub fn data(&self) -> impl Iterator<Item = &DataFile> {
        self.packs.iter().chain(&self.deltas)
    }

    /// How many entities the files are said to hold together.
    pub fn entities(&self) -> u64 {
        self.data().fold(0, |sum, data| sum.saturating_add(data.entities))
    }

    /// How many bytes the files are said to have together.
    pub fn bytes(&self) -> u64 {
        self.data().fold(0, |sum, data| sum.saturating_add(data.bytes))
    }

    /// The highest edit of `device` that is said to be here, whether or not it counts as known.
    pub fn claims(&self, device: &DeviceId) -> u64 {
        let held = self.data().map(|data| data.holds.get(device));
        held.fold(self.knows.get(device), u64::max)
    }

    /// The highest edit of each device that is said to be here, whether or not it counts as known.
    pub fn holds(&self) -> VersionVector {
        let mut holds = self.knows.clone();
        self.data().for_each(|data| holds.join(&data.holds));
        holds
    }

    /// The files that hold edits which a replica of these edits lacks.
    pub fn news_for<'a>(
        &'a self,
        knows: &'a VersionVector,
    ) -> impl Iterator<Item = &'a DataFile> + 'a {
        self.data().filter(|data| !knows.includes(&data.holds))
    }

    /// The join of manifests, on the base of the one that was made last. What each device says of itself
    /// goes before what others say of it: they may have it from when its clock was ahead.
    pub fn joined(mut parts: Vec<&Self>) -> Option<Self> {
        parts.sort_by_key(|part| (Reverse(part.generation), part.commit.id.clone()));
        let (first, rest) = parts.split_first()?;
        let mut joined = (*first).clone();
        rest.iter().for_each(|part| joined.join(part));
        for part in parts.iter().rev() {
            let device = &part.commit.device;
            if let Some(own) = part.devices.get(device) {
                joined.devices.insert(device.clone(), own.clone());
            }
        }
        Some(joined)
    }

    /// Adds what another manifest of the same remote names.
    pub fn join(&mut self, other: &Self) {
        // Files whose edits this manifest holds already may have been folded and removed since.
        let ours = self.knows.clone();
        let named: BTreeSet<RemotePath> = self.data().map(|data| data.file.clone()).collect();
        let new = |data: &&DataFile| !ours.includes(&data.holds) && !named.contains(&data.file);
        let (mut packs, deltas): (Vec<_>, Vec<_>) = (
            other.packs.iter().filter(new).cloned().collect(),
            other.deltas.iter().filter(new).cloned().collect(),
        );
        // What came before them over there is not what comes before them here.
        packs.iter_mut().for_each(|pack| pack.up_to = None);
        self.packs.extend(packs);
        self.deltas.extend(deltas);
        self.knows.join(&other.knows);
        for (id, version) in &other.entity_versions {
            let known = self.entity_versions.entry(id.clone()).or_default();
            *known = (*known).max(*version);
        }
        for (device, theirs) in &other.devices {
            let ours = self.devices.entry(device.clone()).or_insert_with(|| theirs.clone());
            if theirs.last_seen > ours.last_seen {
                *ours = theirs.clone();
            }
        }
        self.floor = self.floor.max(other.floor);
        let in_use: BTreeSet<RemotePath> = self.data().map(|data| data.file.clone()).collect();
        self.retired.extend(other.retired.iter().cloned());
        self.retired.retain(|retired| !in_use.contains(&retired.file));
        // The time for slow readers begins when the last lets go of a file.
        self.retired.sort_by(|a, b| (&a.file, b.since).cmp(&(&b.file, a.since)));
        self.retired.dedup_by(|a, b| a.file == b.file);
    }
}

impl Meta {
    /// Reads a `meta.json`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let value = read_json(layout::META, bytes)?;
        serde_json::from_value(value).map_err(|error| RemoteError::damaged(layout::META, error))
    }
}

/// Reads the JSON of a manifest or a `meta.json`, and refuses forms that are too new before anything
/// else is looked at.
fn read_json(file: &str, bytes: &[u8]) -> Result<Value> {
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        let detail = format!("{} bytes, over {MANIFEST_BYTES_MAX}", bytes.len());
        return Err(RemoteError::damaged(file, detail));
    }
    if bytes.starts_with(SEALED_MARK) {
        return Err(RemoteError::Encrypted);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| RemoteError::damaged(file, error))?;
    let value = json::parse(text).map_err(|error| RemoteError::damaged(file, error))?;
    let needed = value.get("minReader").and_then(Value::as_u64);
    match needed {
        Some(FORMAT_ENCRYPTED) if value.get("encryption").is_some() => Err(RemoteError::Encrypted),
        Some(needed) if needed > u64::from(FORMAT) => Err(RemoteError::NeedsNewer { needed }),
        Some(_) => Ok(value),
        None => Err(RemoteError::damaged(file, "it has no minReader: larder did not write it")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_device_says_of_itself_goes_before_what_others_kept() {
        let (a, b) = (DeviceId::new("aaaa").unwrap(), DeviceId::new("bbbb").unwrap());
        let remote_id = RemoteId::new("remote-1").unwrap();
        let part = |device: &DeviceId, generation, seen: &[(&DeviceId, i64)]| {
            let mut manifest =
                Manifest::empty(remote_id.clone(), CommitMode::Devices, device.clone());
            manifest.generation = generation;
            for (device, millis) in seen {
                let last_seen = Stamp::from_millis(*millis);
                let name = device.to_string();
                let told = Participant { name, last_seen, read_generation: 1, commit: None };
                manifest.devices.insert((*device).clone(), told);
            }
            manifest
        };
        // B's clock was ahead when A read its head, and has been set right.
        let (ahead, right) = (part(&a, 7, &[(&a, 5), (&b, 900)]), part(&b, 8, &[(&a, 4), (&b, 6)]));
        let older = part(&b, 3, &[(&b, 2)]);
        for parts in [[&ahead, &right, &older], [&older, &right, &ahead]] {
            let joined = Manifest::joined(parts.to_vec()).unwrap();
            let seen = joined.devices.values().map(|told| told.last_seen.millis());
            assert_eq!(seen.collect::<Vec<_>>(), [5, 6]);
        }
    }

    #[test]
    fn what_is_in_use_or_waits_already_is_not_retired() {
        let remote_id = RemoteId::new("remote-1").unwrap();
        let device = DeviceId::new("aaaa").unwrap();
        let mut manifest = Manifest::empty(remote_id, CommitMode::Devices, device);
        let file = |name: &str| RemotePath::new(name).unwrap();
        let row = json!({
            "file": "deltas/in-use", "bytes": 1, "sha256": "", "entities": 1,
            "fromGeneration": 1, "toGeneration": 1, "holds": {},
        });
        manifest.deltas.push(serde_json::from_value(row).unwrap());
        let (before, now) = (Stamp::from_millis(1), Stamp::from_millis(2));
        manifest.retired.push(Retired { file: file("deltas/waits"), since: before });
        let gone = ["deltas/in-use", "deltas/new", "deltas/waits", "deltas/new"].map(file);
        manifest.retire(gone, now);
        let waiting = manifest.retired.iter().map(|old| (old.file.as_str(), old.since));
        assert_eq!(waiting.collect::<Vec<_>>(), [("deltas/waits", before), ("deltas/new", now)]);
    }
}
