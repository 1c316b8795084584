//! What the storage holds, looked at past all faults.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use larder::{
    merge::join,
    model::{Dot, Entity, EntityId, entity::DELETED},
    remote::{CommitMode, DataFile, Fetched, Manifest, layout, take_whole},
};
use larder_providers::RemotePath;
use serde_json::Value;

use super::{
    oracle::States,
    promise::{Promise, Verdict},
    replica::sealer,
    shape::Shape,
};

/// The remote as it really is.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) manifest: Manifest,
    /// All that any head names: where each device has one, also what the others have no use for.
    named: BTreeSet<RemotePath>,
    pub(crate) states: Rc<States>,
}

/// Looks at the storage after each step, and at each of its files once.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    calls: Option<u64>,
    /// The number of the remote, if it is encrypted.
    sealed: Option<usize>,
    /// Whether old states are shown: in mode devices nobody can tell then since when a head, of which
    /// an older state was read, does not name a file any more.
    shows_old: bool,
    /// Whether what is read is what will have arrived: the clocks are those of the devices, and a head
    /// may name what others have let go of, of which its device has not heard.
    is_mirrored: bool,
    /// Whether what is taken away may go only some time after its commit.
    is_late: bool,
    /// What any head ever let go of. While heads are on their way, one whose device has not heard of
    /// that for longer than such files are kept may name it.
    once_retired: BTreeSet<RemotePath>,
    has_arrived: bool,
    /// What lay there at the last look, and what that is.
    files: Files,
    ground: Option<Ground>,
    /// By the digests that the manifests give.
    read: HashMap<String, Rc<Vec<Entity>>>,
    /// What each edit that ever lay there made of each field.
    made: HashMap<(EntityId, String, Dot), Value>,
    /// The files that are there, and when a head was last seen to name them, if one ever was.
    there: BTreeMap<RemotePath, Option<i64>>,
    /// Since when each file is there.
    seen: BTreeMap<RemotePath, i64>,
    /// When a head was last seen to be cut off: nobody can tell since when what it named is not.
    torn: Option<i64>,
    /// How many files wait to be deleted.
    retired: usize,
}

pub(crate) type Files = BTreeMap<RemotePath, bytes::Bytes>;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How long a file stays after no head names it any more: a day from when the turn began that let go
/// of it, and a turn may have to wait.
const GRACE_MS: i64 = DAY_MS - 60 * 60 * 1000;

/// Commit mode devices: how long a file that no head names is left to its writer.
const ORPHAN_MS: i64 = 90 * DAY_MS;

/// So many retired files are kept that long.
const RETIRED_KEPT: usize = 64;

impl Watch {
    pub(crate) fn new(sealed: Option<usize>, shape: &Shape) -> Self {
        Self {
            sealed,
            shows_old: shape.faults.stale > 0.0,
            is_mirrored: shape.mirrored.is_some(),
            is_late: shape.manners.is_late,
            ..Self::default()
        }
    }

    /// Everybody has heard of everything.
    pub(crate) fn has_arrived(&mut self) {
        self.has_arrived = true;
    }

    /// The storage changed by itself.
    pub(crate) fn look_again(&mut self) {
        self.calls = None;
    }

    /// The storage changed behind everybody's back.
    pub(crate) fn forget(&mut self) {
        self.calls = None;
        self.there.clear();
    }

    /// Reads the remote after so many calls to it; nothing before it was made. The head has to name
    /// only files that are there and whole, and no run may lack what it claims.
    pub(crate) fn look(
        &mut self,
        files: impl FnOnce() -> Files,
        calls: u64,
        now_ms: i64,
    ) -> Verdict<Option<&Ground>> {
        if self.calls != Some(calls) {
            self.calls = Some(calls);
            let files = files();
            if !are_same(&files, &self.files) {
                let plain = revealed(&files, self.sealed);
                self.ground = self.read(&plain).map_err(|why| Promise::WholeHead.broken(why))?;
                self.note_deletions(&plain, now_ms)?;
                self.files = files;
            } else if self.there.is_empty() {
                let plain = revealed(&files, self.sealed);
                self.note_deletions(&plain, now_ms)?;
            } else {
                self.note_named(now_ms);
            }
        }
        Ok(self.ground.as_ref())
    }

    /// The devices whose heads are half written.
    pub(crate) fn torn_heads(&self) -> Vec<String> {
        let plain = revealed(&self.files, self.sealed);
        let torn = plain.iter().filter(|(path, bytes)| is_torn(path, bytes));
        torn.map(|(path, _)| path.name().trim_end_matches(".json").to_owned()).collect()
    }

    /// Nobody deletes a file that a head named until a moment ago, or that may be named yet.
    fn note_deletions(&mut self, files: &Files, now_ms: i64) -> Verdict {
        // Also before there is a head: a first commit may take years.
        for path in files.keys() {
            self.seen.entry(path.clone()).or_insert(now_ms);
        }
        if files.iter().any(|(path, bytes)| is_torn(path, bytes)) {
            self.torn = Some(now_ms);
        }
        let Some(Ground { manifest, named, .. }) = &self.ground else { return Ok(()) };
        let is_new = self.there.is_empty();
        for (path, last_named) in self.there.iter().filter(|(path, _)| !files.contains_key(path)) {
            let built_on = layout::data_generation(path.as_str()).unwrap_or(0);
            let was_torn = self.torn.is_some_and(|torn| now_ms - torn < GRACE_MS);
            let is_blind = was_torn
                || self.is_mirrored
                || self.shows_old && manifest.commit_mode == CommitMode::Devices;
            let grace_ms = if is_blind { 1 } else { GRACE_MS };
            match last_named {
                Some(last) if now_ms - last < grace_ms && self.retired <= RETIRED_KEPT => {
                    let age = (now_ms - last) / 1000;
                    let text = format!("{path} is deleted {age} s after a head named it");
                    return Err(Promise::NamedFilesStay.broken(text));
                }
                None if manifest.commit_mode == CommitMode::Devices
                    && self.seen.get(path).is_none_or(|seen| now_ms - seen >= ORPHAN_MS) => {}
                None if built_on >= manifest.floor => {
                    let text = format!("{path} is deleted, which a commit may yet name");
                    return Err(Promise::NamedFilesStay.broken(text));
                }
                _ => {}
            }
        }
        let retired: BTreeMap<&RemotePath, i64> =
            manifest.retired.iter().map(|old| (&old.file, old.since.millis())).collect();
        // What is retired was named, if only between two looks, or before a backup came back: until when
        // nobody but its manifest tells.
        // Nor was what a compaction takes up and away at once, which is seen here where that comes late.
        let is_unsure = is_new || self.is_late;
        let missed = |since: i64| if is_unsure { i64::MIN / 2 } else { since.min(now_ms) };
        let is_data = |path: &&RemotePath| layout::data_generation(path.as_str()).is_some();
        let there = files.keys().filter(is_data).map(|path| {
            let last = self.there.get(path).copied().flatten();
            let last = last.or_else(|| retired.get(path).copied().map(missed));
            (path.clone(), if named.contains(path) { Some(now_ms) } else { last })
        });
        let there = there.collect();
        self.seen.retain(|path, _| files.contains_key(path));
        self.retired = manifest.retired.len();
        self.there = there;
        Ok(())
    }

    /// The head still names what it named.
    pub(crate) fn note_named(&mut self, now_ms: i64) {
        let is_current = self.calls.is_some();
        let Some(Ground { named, .. }) = self.ground.as_ref().filter(|_| is_current) else {
            return;
        };
        for file in named {
            self.there.entry(file.clone()).and_modify(|last| *last = Some(now_ms));
        }
    }

    fn read(&mut self, files: &Files) -> Result<Option<Ground>, String> {
        let Some((manifest, mut named)) = manifest(files)? else { return Ok(None) };
        if self.is_mirrored {
            self.once_retired.extend(manifest.retired.iter().map(|old| old.file.clone()));
            named = manifest.data().map(|data| data.file.clone()).collect();
            let is_late = |file: &RemotePath| !self.has_arrived && self.once_retired.contains(file);
            if named.iter().any(|file| !files.contains_key(file) && is_late(file)) {
                return Ok(None);
            }
        }
        if let Some(gone) = named.iter().find(|file| !files.contains_key(*file)) {
            return Err(format!("a head names {gone}: it is gone"));
        }
        let mut states = States::new();
        let mut folded = Vec::new();
        for data in manifest.data() {
            for entity in self.entities(data, files)?.iter() {
                let joined = states.get(&entity.id).map(|known| join(known, entity));
                states.insert(entity.id.clone(), joined.unwrap_or_else(|| entity.clone()));
            }
            folded.extend(data.up_to.as_ref().map(|up_to| (up_to, states.clone())));
        }
        for (up_to, before) in folded {
            let is_lacking = |state: &&Entity| {
                let before = before.get(&state.id);
                up_to.includes(&state.seen()) && !before.is_some_and(|b| has_all_of(b, state))
            };
            if let Some(state) = states.values().find(is_lacking) {
                return Err(format!("a run claims all up to {up_to:?} and lacks {}", state.id));
            }
        }
        Ok(Some(Ground { manifest, named, states: Rc::new(states) }))
    }

    fn entities(&mut self, data: &DataFile, files: &Files) -> Result<Rc<Vec<Entity>>, String> {
        let name = data.file.as_str();
        let bytes = files.get(&data.file).ok_or(format!("the head names {name}: it is gone"))?;
        let key = format!("{name} {} {}", data.sha256, bytes.len());
        if let Some(known) = self.read.get(&key) {
            return Ok(known.clone());
        }
        let entities = take_whole(data, bytes.clone()).and_then(Fetched::all);
        let entities = entities.map_err(|why| format!("the head names {name}: {why}"))?;
        self.note_made(&entities)?;
        let entities = Rc::new(entities);
        self.read.insert(key, entities.clone());
        Ok(entities)
    }
}

impl Watch {
    /// One dot names one edit, whatever becomes of databases and backups.
    fn note_made(&mut self, entities: &[Entity]) -> Result<(), String> {
        for Entity { id, fields, .. } in entities {
            for (field, sibling) in
                fields.iter().flat_map(|(f, all)| all.iter().map(move |s| (f, s)))
            {
                let value = &sibling.content.value;
                let key = (id.clone(), field.clone(), sibling.dot.clone());
                let known = self.made.entry(key).or_insert_with(|| value.clone());
                if known != value {
                    let dot = &sibling.dot;
                    return Err(format!("{dot} made both {known} and {value} of {id}.{field}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether the same edits made both states, and the second lacks no more than the first but what was
/// deleted, and somebody let go of.
fn has_all_of(whole: &Entity, state: &Entity) -> bool {
    let let_go = state.seen_by_deletions();
    let mut left = whole.fields.clone();
    for (field, siblings) in left.iter_mut().filter(|(field, _)| *field != DELETED) {
        let own = state.siblings(field);
        siblings.retain(|value| own.contains(value) || !let_go.covers(&value.dot));
    }
    left.retain(|_, siblings| !siblings.is_empty());
    whole.clock == state.clock && left == state.fields
}

/// Whether the same bytes lie there. Most were not even written again.
pub(crate) fn are_same(a: &Files, b: &Files) -> bool {
    let is_same = |a: &bytes::Bytes, b: &bytes::Bytes| {
        (a.as_ptr(), a.len()) == (b.as_ptr(), b.len()) || a == b
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && is_same(a.1, b.1))
}

/// What the files are to those who have the key. One that is torn stays as it is.
fn revealed(files: &Files, sealed: Option<usize>) -> Files {
    let Some(sealer) = sealed.map(sealer) else { return files.clone() };
    let reveal = |(path, bytes): (&RemotePath, &bytes::Bytes)| {
        sealer.reveal(path, bytes).unwrap_or_else(|| (path.clone(), bytes.clone()))
    };
    files.iter().map(reveal).collect()
}

/// What the heads say together, and all files that any of them names.
fn manifest(files: &Files) -> Result<Option<(Manifest, BTreeSet<RemotePath>)>, String> {
    let heads = heads(files)?;
    let named = heads.iter().flat_map(Manifest::data).map(|data| data.file.clone()).collect();
    let joined = heads.into_iter().reduce(|mut joined, head| {
        joined.join(&head);
        joined
    });
    Ok(joined.map(|joined| (joined, named)))
}

/// The heads in the order in which they are joined.
fn heads(files: &Files) -> Result<Vec<Manifest>, String> {
    let read = |name: &str| {
        let path = RemotePath::new(name).map_err(|error| error.to_string())?;
        let bytes = files.get(&path).ok_or(format!("{name} is gone"))?;
        Manifest::decode(name, bytes).map_err(|error| error.to_string())
    };
    let own = own_heads(files);
    if !own.is_empty() {
        return Ok(own);
    }
    let tokens = files.keys().filter_map(|path| path.as_str().strip_prefix(layout::HEAD));
    let mut tokens: Vec<&str> = tokens.filter_map(|token| token.strip_prefix('/')).collect();
    if tokens.is_empty() {
        let meta = RemotePath::new(layout::META).map_err(|error| error.to_string())?;
        let is_manifest =
            |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).contains("\"knows\"");
        let is_there = files.get(&meta).is_some_and(is_manifest);
        return if is_there { read(layout::META).map(|head| vec![head]) } else { Ok(Vec::new()) };
    }
    tokens.sort_by_key(|token| std::cmp::Reverse(generation(token)));
    let committed = tokens.into_iter().filter(|token| generation(token) > 0);
    committed.map(|token| read(&format!("{}/{token}.json", layout::MANIFESTS))).collect()
}

/// The heads of devices that have one each; one that is half written says nothing.
fn own_heads(files: &Files) -> Vec<Manifest> {
    let heads = files.iter().filter(|(path, _)| is_head(path));
    let heads = heads.filter_map(|(path, bytes)| Manifest::decode(path.as_str(), bytes).ok());
    let mut heads: Vec<Manifest> = heads.collect();
    heads.sort_by_key(|head| (std::cmp::Reverse(head.generation), head.commit.id.clone()));
    heads
}

fn is_head(path: &RemotePath) -> bool {
    path.parent().is_some_and(|folder| folder.as_str() == layout::HEADS)
}

fn is_torn(path: &RemotePath, bytes: &bytes::Bytes) -> bool {
    is_head(path) && Manifest::decode(path.as_str(), bytes).is_err()
}

fn generation(token: &str) -> u64 {
    token.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
