//! Commit mode devices: each device has a folder of its own, and some program copies files between
//! them in its own time and order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicI64, Ordering::SeqCst},
};

use bytes::Bytes;
use chrono::TimeDelta;
use larder_providers::{RemotePath, Storage, StorageExt};

use super::*;
use crate::{
    engine::{CheckOptions, CompactOptions, EngineError, FindingKind, NoteKind},
    remote::{CommitMode, RemoteError, tiers::Pace},
    store::Awaited,
};

/// A device and the folder that is its copy of the remote.
pub(super) struct Place {
    pub(super) device: Device,
    pub(super) folder: Memory,
    /// By how many milliseconds the folder's clock is ahead.
    ahead_ms: Arc<AtomicI64>,
}

/// Copies files between folders; remembers what was the same on both sides.
#[derive(Default)]
pub(super) struct Mirror {
    same: BTreeMap<RemotePath, Bytes>,
}

impl Mirror {
    /// Copies what `may` allows. Of two versions of one file that of `a` stays; the other is kept
    /// beside it.
    pub(super) async fn copy(
        &mut self,
        a: &Memory,
        b: &Memory,
        mut may: impl FnMut(&RemotePath) -> bool,
    ) {
        let (in_a, in_b) = (a.files(), b.files());
        let names: BTreeSet<_> =
            in_a.keys().chain(in_b.keys()).chain(self.same.keys()).cloned().collect();
        for name in names.into_iter().filter(|name| may(name)) {
            let (left, right, same) = (in_a.get(&name), in_b.get(&name), self.same.get(&name));
            if left == right {
                // Both already have it, or have it no more.
            } else if left == same {
                put(a, &name, right).await;
            } else if right == same || left.is_some() {
                if let Some(lost) = right.filter(|_| right != same) {
                    let copy =
                        name.as_str().replace(".json", ".sync-conflict-20261120-101500-AB.json");
                    let copy = RemotePath::found(&RemotePath::root(), &copy);
                    let copy = copy.or_else(|_| {
                        let folder = name.parent().unwrap();
                        RemotePath::found(
                            &folder,
                            &format!("{}.sync-conflict-20261120", name.name()),
                        )
                    });
                    for side in [a, b] {
                        put(side, &copy.clone().unwrap(), Some(lost)).await;
                    }
                }
                put(b, &name, left).await;
            }
            match a.files().get(&name) {
                Some(bytes) => self.same.insert(name, bytes.clone()),
                None => self.same.remove(&name),
            };
        }
    }

    pub(super) async fn copy_all(&mut self, a: &Memory, b: &Memory) {
        self.copy(a, b, |_| true).await;
    }
}

async fn put(folder: &Memory, name: &RemotePath, bytes: Option<&Bytes>) {
    match bytes {
        Some(bytes) => drop(folder.write(name, bytes.clone()).await.unwrap()),
        None => folder.delete(name).await.unwrap(),
    }
}

pub(super) fn place(name: &str) -> Place {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let ahead = ahead_ms.clone();
    let folder = Memory::with_clock(larder_providers::Clock::new(move || {
        larder_providers::Clock::default().now() + TimeDelta::milliseconds(ahead.load(SeqCst))
    }));
    let storage: SharedStorage = Arc::new(folder.clone());
    Place { device: Device::new(name, &storage), folder, ahead_ms }
}

/// Two devices whose folders are mirrored, with the remote made on the first.
pub(super) async fn mirrored() -> (Place, Place, Mirror) {
    let (mut a, mut b, mut mirror) = (place("laptop"), place("phone"), Mirror::default());
    a.connect(Some(CommitMode::Devices)).await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.connect(None).await;
    (a, b, mirror)
}

impl Place {
    async fn connect(&mut self, mode: Option<CommitMode>) {
        let connected = self.device.engine.connect(&self.device.storage, mode).await.unwrap();
        assert_eq!(connected.mode, CommitMode::Devices);
    }

    pub(super) async fn try_sync(&mut self) -> Result<Report, EngineError> {
        let storage = self.device.storage.clone();
        self.device.engine.turn(&storage, &Traffic::new(), TurnOptions::default(), &Silent).await
    }

    async fn compact(&mut self) -> Result<(), EngineError> {
        let storage = self.device.storage.clone();
        let options = CompactOptions { force: true, dry_run: false };
        self.device.engine.compact(&storage, &Traffic::new(), options, &Silent).await.map(drop)
    }

    fn pass_days(&self, days: i64) {
        self.ahead_ms.fetch_add(TimeDelta::days(days).num_milliseconds(), SeqCst);
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let files = self.folder.files();
        let names = files.keys().map(|name| name.as_str().to_owned());
        names.filter(|name| name.starts_with(folder)).collect()
    }
}

#[tokio::test]
async fn edits_travel_and_merge_without_anybody_writing_over_another_s_file() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    let start = "---\ntitle: Milk\nstatus: open\n---\nHello\n";
    a.device.write("note.md", start);
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    a.device.write("note.md", &start.replace("Milk", "Bread"));
    b.device.write("note.md", &start.replace("open", "done"));
    a.device.sync().await;
    b.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    a.device.sync().await;
    b.device.sync().await;
    let both = start.replace("Milk", "Bread").replace("open", "done");
    assert_eq!((a.device.read("note.md"), b.device.read("note.md")), (both.clone(), both));
    assert!(a.names("").iter().all(|name| !name.contains("conflict")), "{:?}", a.names(""));
    let idle = a.device.sync().await;
    assert_eq!((idle.pushed, idle.pulled), (0, 0));
}

#[tokio::test]
async fn a_head_that_comes_before_its_files_waits_for_them() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    b.device.write("own.md", "b\n");
    b.device.sync().await;
    a.device.write("two.md", "2\n");
    a.device.sync().await;
    mirror.copy(&a.folder, &b.folder, |name| name.as_str().starts_with("heads/")).await;
    let report = b.try_sync().await.unwrap();
    assert!(report.notes.iter().any(|note| note.kind == NoteKind::Waiting), "{report:?}");
    assert_eq!((report.pushed, b.device.names()), (0, vec!["one.md".into(), "own.md".into()]));
    mirror.copy_all(&a.folder, &b.folder).await;
    let report = b.device.sync().await;
    assert_eq!((report.pulled, report.notes.len()), (1, 0), "{report:?}");
    assert_eq!(b.device.names(), ["one.md", "own.md", "two.md"]);
}

#[tokio::test]
async fn a_new_device_waits_until_the_first_head_is_whole() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    mirror.copy(&a.folder, &b.folder, |name| name.as_str().starts_with("heads/")).await;
    b.device.write("own.md", "b\n");
    let error = b.try_sync().await.unwrap_err();
    assert!(matches!(&error, EngineError::Remote(RemoteError::Incomplete { .. })), "{error}");
    assert!(error.is_temporary());
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    assert_eq!(b.device.names(), ["one.md", "own.md"]);
}

#[tokio::test]
async fn nothing_is_removed_that_somebody_s_head_names() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    b.device.write("b.md", "b\n");
    b.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    a.device.sync().await;
    a.device.write("a.md", "a\n");
    a.compact().await.unwrap();
    let old = b.names("entities/");
    a.pass_days(100);
    a.compact().await.unwrap();
    assert_eq!(a.names("entities/"), old, "b's head names it");
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    a.pass_days(2);
    a.compact().await.unwrap();
    assert_eq!(a.names("entities/"), [""; 0]);
    mirror.copy_all(&a.folder, &b.folder).await;
    assert_eq!(b.device.sync().await.notes.len(), 0);
}

#[tokio::test]
async fn what_comes_before_its_head_stays_however_old_it_looks() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    b.pass_days(-365);
    b.device.write("two.md", "2\n");
    b.device.sync().await;
    let two = b.names("entities/").pop().unwrap();
    let written = b.folder.modified(&RemotePath::new(two.clone()).unwrap()).unwrap();
    let bytes = b.folder.files()[&RemotePath::new(two.clone()).unwrap()].clone();
    a.folder.insert_raw_as_of(&RemotePath::new(two.clone()).unwrap(), bytes, written);
    a.compact().await.unwrap();
    // Nor does a clock that is set ahead make it old at once.
    a.pass_days(365);
    a.compact().await.unwrap();
    assert_eq!(a.names("entities/").iter().filter(|name| **name == two).count(), 1);
    mirror.copy_all(&a.folder, &b.folder).await;
    a.device.sync().await;
    assert_eq!(a.device.names(), ["one.md", "two.md"]);

    // What nobody ever names goes in the end.
    let left = RemotePath::new("entities/note.x.0-0123456789abcdef-qwerty.json").unwrap();
    a.folder.insert_raw(&left, "{}");
    for _ in 0..3 {
        a.compact().await.unwrap();
        a.pass_days(30);
    }
    assert!(a.folder.files().contains_key(&left));
    a.compact().await.unwrap();
    assert!(!a.folder.files().contains_key(&left));
}

#[tokio::test]
async fn a_copy_of_a_head_is_joined_and_taken_away() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    let head = a.names("heads/").pop().unwrap();
    let bytes = a.folder.files()[&RemotePath::new(head.clone()).unwrap()].clone();
    let folder = RemotePath::new("heads").unwrap();
    let copy = RemotePath::found(&folder, "x (Ann's conflicted copy 2026-11-20).json").unwrap();
    a.folder.delete(&RemotePath::new(head).unwrap()).await.unwrap();
    a.folder.write(&copy, bytes).await.unwrap();
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    assert_eq!(b.device.names(), ["one.md"]);
    assert_eq!(b.names("heads/").len(), 1, "{:?}", b.names("heads/"));
    mirror.copy_all(&a.folder, &b.folder).await;
    a.device.sync().await;
    assert_eq!(a.names("heads/").len(), 2, "{:?}", a.names("heads/"));
}

#[tokio::test]
async fn a_copy_of_a_head_is_taken_away_when_what_it_names_is_gone() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    let head = RemotePath::new(a.names("heads/").pop().unwrap()).unwrap();
    let old = a.folder.files()[&head].clone();
    for _ in 0..3 {
        a.compact().await.unwrap();
        a.pass_days(2);
    }
    assert_eq!(a.names("entities/"), [""; 0]);
    let folder = RemotePath::new("heads").unwrap();
    let copy = RemotePath::found(&folder, "x.sync-conflict-20261120-101500-AB.json").unwrap();
    a.folder.insert_raw(&copy, old);
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    b.device.sync().await;
    assert!(!b.folder.files().contains_key(&copy));
    let idle = b.device.sync().await;
    assert_eq!((b.device.names(), idle.notes.len()), (vec!["one.md".to_owned()], 0));
}

#[tokio::test]
async fn a_head_of_its_own_that_went_back_is_written_anew() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    let before = a.folder.snapshot();
    a.device.write("two.md", "2\n");
    a.device.sync().await;
    a.folder.restore(&before);
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    assert_eq!(b.device.names(), ["one.md", "two.md"]);
}

#[tokio::test]
async fn who_was_set_back_leaves_alone_its_head_that_names_what_has_not_arrived() {
    let mut a = place("laptop");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("replica.db");
    let close = |a: &mut Place| a.device.engine = Device::new("nobody", &a.device.storage).engine;
    let open = |a: &mut Place| {
        let vault = Vault::open(a.device.folder.path()).unwrap();
        let (store, random) = (Store::open(&file).unwrap(), fastrand::Rng::with_seed(1));
        let engine = Engine::new(store, Some(vault), Clock::system(), random, "laptop");
        a.device.engine = engine.unwrap();
    };
    open(&mut a);
    a.connect(Some(CommitMode::Devices)).await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    close(&mut a);
    let before = fs::read(&file).unwrap();
    open(&mut a);
    a.device.write("two.md", "2\n");
    a.device.sync().await;
    let heads = a.names("heads/");
    let file_of_two = a.names("entities/").pop().unwrap();
    let file_of_two = RemotePath::new(&file_of_two).unwrap();
    let text_of_two = a.folder.files().remove(&file_of_two);
    put(&a.folder, &file_of_two, None).await;
    // In its place, so that nothing but its own head tells.
    close(&mut a);
    #[allow(clippy::disallowed_methods, reason = "backup programs do not write atomically either")]
    fs::write(&file, before).unwrap();
    fs::remove_file(a.device.path("two.md")).unwrap();
    open(&mut a);
    let storage = a.device.storage.clone();
    let refused = a.device.engine.rename_device(&storage, "desk").await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
    let own = a.folder.files()[&RemotePath::new(&heads[0]).unwrap()].clone();
    let report = a.try_sync().await.unwrap();
    assert!(report.notes.iter().any(|note| note.kind == NoteKind::NewIdentity), "{report:?}");
    assert_eq!(a.folder.files()[&RemotePath::new(&heads[0]).unwrap()], own);
    put(&a.folder, &file_of_two, text_of_two.as_ref()).await;
    a.device.sync().await;
    assert_eq!(a.device.names(), ["one.md", "two.md"]);
}

#[tokio::test]
async fn what_somebody_deleted_there_is_sent_again_within_a_day() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    let file = RemotePath::new(a.names("entities/").pop().unwrap()).unwrap();
    a.folder.delete(&file).await.unwrap();
    mirror.copy_all(&a.folder, &b.folder).await;
    assert_eq!((a.device.sync().await.pushed, a.names("entities/").len()), (0, 0));
    a.device.engine.store_mut().set_looked_ms(Some(0)).unwrap();
    assert_eq!((a.device.sync().await.pushed, a.names("entities/").len()), (1, 1));
    mirror.copy_all(&a.folder, &b.folder).await;
    assert_eq!(b.device.sync().await.pushed, 0);
    let mut c = place("tablet");
    Mirror::default().copy_all(&b.folder, &c.folder).await;
    c.connect(None).await;
    c.device.sync().await;
    assert_eq!(c.device.names(), ["one.md"]);
}

#[tokio::test]
async fn what_was_agreed_is_waited_for_while_news_are_on_their_way_and_a_day_at_most() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    a.device.write("two.md", "2\n");
    a.device.sync().await;
    mirror.copy(&a.folder, &b.folder, |name| name.as_str().starts_with("heads/")).await;
    let file = RemotePath::new(b.names("entities/").pop().unwrap()).unwrap();
    b.folder.delete(&file).await.unwrap();
    for _ in 0..2 {
        let error = b.try_sync().await.unwrap_err();
        assert!(matches!(error, EngineError::Remote(RemoteError::Incomplete { .. })), "{error}");
    }
    let awaited = b.device.engine.store().awaited().unwrap().unwrap();
    let long_ago = Awaited { since_ms: 0, ..awaited };
    b.device.engine.store_mut().set_awaited(Some(&long_ago)).unwrap();
    // Who only looks uses nothing up.
    let storage = b.device.storage.clone();
    b.device.engine.devices(&storage).await.unwrap();
    assert_eq!((b.device.sync().await.pushed, b.names("entities/").len()), (1, 1));
    assert_eq!(b.device.engine.store().awaited().unwrap(), None);
    for _ in 0..2 {
        mirror.copy_all(&a.folder, &b.folder).await;
        a.device.sync().await;
        mirror.copy_all(&a.folder, &b.folder).await;
        b.device.sync().await;
    }
    assert_eq!((a.device.names(), b.device.names()), (b.device.names(), a.device.names()));
    assert_eq!(b.device.names(), ["one.md", "two.md"]);
}

#[tokio::test]
async fn check_names_the_head_and_the_file_that_is_missing() {
    let (mut a, _, _) = mirrored().await;
    a.device.write("one.md", "1\n");
    a.device.sync().await;
    let file = a.names("entities/").pop().unwrap();
    a.folder.delete(&RemotePath::new(file.clone()).unwrap()).await.unwrap();
    let storage = a.device.storage.clone();
    let report =
        a.device.engine.check(&storage, &Traffic::new(), CheckOptions::default()).await.unwrap();
    let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::Missing);
    assert!(finding.unwrap().detail.contains(&file), "{report:?}");
}

/// What `meta.json` was in conflict over is joined also where it is the head itself.
#[tokio::test]
async fn a_copy_of_meta_json_is_joined_in_mode_if_match() {
    let (mut a, mut b) = (place("laptop"), place("phone"));
    let mut mirror = Mirror::default();
    a.device.engine.connect(&a.device.storage, Some(CommitMode::IfMatch)).await.unwrap();
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.connect().await;
    a.device.write("a.md", "a\n");
    b.device.write("b.md", "b\n");
    a.device.sync().await;
    b.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    assert_eq!(b.names("meta").len(), 2);
    b.device.sync().await;
    assert_eq!(b.device.names(), ["a.md", "b.md"]);
    assert_eq!(b.names("meta"), ["meta.json"]);
    mirror.copy_all(&a.folder, &b.folder).await;
    a.device.sync().await;
    assert_eq!(a.device.names(), ["a.md", "b.md"]);
}

/// Whatever comes late, in whatever order: in the end all have everything.
#[tokio::test]
async fn any_order_of_arrival_ends_in_the_same_files() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (a, b, first) = mirrored().await;
        let mut c = place("tablet");
        let mut mirrors = [first, Mirror::default()];
        mirrors[1].copy_all(&b.folder, &c.folder).await;
        c.connect(None).await;
        let mut places = [a, b, c];
        for place in &mut places {
            place.device.engine.set_pace(Pace { deltas: 3, ..Pace::default() });
        }
        let mut written = BTreeSet::new();
        for step in 0..60 {
            let who = random.usize(0..3);
            match random.u8(0..10) {
                0..4 => {
                    let (name, word) = (format!("n{}.md", random.u8(0..4)), format!("t{step}\n"));
                    let is_there = places[who].device.path(&name).exists();
                    let before =
                        if is_there { places[who].device.read(&name) } else { String::new() };
                    places[who].device.write(&name, &(before + &word));
                    written.insert((name, word.trim().to_owned()));
                }
                4..7 => match places[who].try_sync().await {
                    Err(EngineError::Remote(RemoteError::Incomplete { .. })) | Ok(_) => {}
                    Err(error) => panic!("seed {seed}, step {step}: {error}"),
                },
                7 if random.bool() => drop(places[who].compact().await),
                _ => {
                    let which = random.usize(0..2);
                    let (left, right) = (&places[which].folder, &places[which + 1].folder);
                    let share = random.f64();
                    mirrors[which].copy(left, right, |_| random.f64() < share).await;
                }
            }
        }
        for _ in 0..6 {
            for which in [0, 1, 0] {
                mirrors[which].copy_all(&places[which].folder, &places[which + 1].folder).await;
            }
            for place in &mut places {
                let report = place.try_sync().await.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                assert!(
                    report.notes.iter().all(|n| n.kind != NoteKind::Damaged),
                    "{seed}: {report:?}"
                );
            }
        }
        let [a, b, c] = &places;
        assert!(a.device.names() == b.device.names() && a.device.names() == c.device.names());
        for name in a.device.names() {
            let text = a.device.read(&name);
            assert!(text == b.device.read(&name) && text == c.device.read(&name), "seed {seed}");
        }
        for (name, word) in written {
            let text = a.device.read(&name);
            assert!(text.lines().any(|line| line == word), "seed {seed}: {word} of {name} is lost");
        }
    }
}

#[tokio::test]
async fn texts_edited_at_once_are_merged_from_their_ancestor() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    a.device.write("note.md", "One two three.\n");
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    a.device.write("note.md", "One 2 three.\n");
    b.device.write("note.md", "One two 3.\n");
    a.device.sync().await;
    b.device.sync().await;
    for _ in 0..3 {
        mirror.copy_all(&a.folder, &b.folder).await;
        a.device.sync().await;
        b.device.sync().await;
    }
    assert_eq!(a.device.read("note.md"), "One 2 3.\n");
    assert_eq!(b.device.read("note.md"), "One 2 3.\n");
    assert_eq!(a.device.engine.store().conflict_counts().unwrap(), (0, 0));
}

#[tokio::test]
async fn a_committed_edit_comes_back_at_once_from_a_deletion_of_which_nothing_is_left() {
    let (mut a, mut b, mut mirror) = mirrored().await;
    let note = "---\ntitle: Milk\nstatus: open\n---\nHello\n";
    a.device.write("note.md", note);
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    fs::remove_file(b.device.path("note.md")).unwrap();
    b.device.sync().await;
    let edited = note.replace("open", "done");
    a.device.write("note.md", &edited);
    a.device.sync().await;
    for _ in 0..2 {
        b.pass_days(100);
        b.compact().await.unwrap();
    }
    // What b deleted comes to a, and nothing of a's to b, who has no more than the mark of it.
    mirror.copy(&a.folder, &b.folder, |name| b.folder.files().contains_key(name)).await;
    let report = a.device.sync().await;
    assert_eq!((a.device.read("note.md"), report.pushed), (edited.clone(), 1), "{report:?}");
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    assert_eq!(b.device.read("note.md"), edited);
    assert_eq!((a.device.sync().await.pushed, b.device.sync().await.pushed), (0, 0));
}

#[tokio::test]
async fn of_two_remotes_that_were_made_before_the_folder_was_mirrored_one_is_joined() {
    for has_files in [true, false] {
        let (mut a, mut b) = (place("laptop"), place("phone"));
        for (place, name) in [(&mut a, "a.md"), (&mut b, "b.md")] {
            place.connect(Some(CommitMode::Devices)).await;
            if has_files || name == "b.md" {
                place.device.write(name, "one\n");
                place.device.write("both.md", "both\n");
            }
            place.device.sync().await;
        }
        // That of the phone stays; what the program makes of the other is nobody's.
        let meta = RemotePath::new("meta.json").unwrap();
        let stays = b.folder.files()[&meta].clone();
        put(&a.folder, &meta, Some(&stays)).await;
        let mut mirror = Mirror::default();
        mirror.copy_all(&a.folder, &b.folder).await;
        let report = b.try_sync().await.unwrap();
        let is_told = report.notes.iter().any(|note| note.text.contains("of another remote"));
        assert_eq!(is_told, has_files, "{report:?}");
        let error = a.try_sync().await.unwrap_err();
        let is_foreign = matches!(error, EngineError::Brake(crate::engine::Brake::Foreign { .. }));
        assert!(is_foreign, "{error}");
        let own = a.device.engine.store().binding().unwrap().unwrap().id;
        a.device.engine.remove_remote(&own).unwrap();
        a.connect(None).await;
        for _ in 0..3 {
            for place in [&mut a, &mut b] {
                place.device.sync().await;
            }
            mirror.copy_all(&a.folder, &b.folder).await;
        }
        let names: &[&str] =
            if has_files { &["a.md", "b.md", "both.md"] } else { &["b.md", "both.md"] };
        for place in [&mut a, &mut b] {
            assert_eq!(place.device.names(), names);
            assert!(place.device.sync().await.notes.is_empty());
        }
    }
}
