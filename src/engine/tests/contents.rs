//! Files that are no text: sent, fetched, moved, brought together, lost and collected.

use std::io::Write as _;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use larder_providers::{
    Body, Capabilities, Clock as ServerClock, Error, ErrorKind, Get, GetOptions, Listing, Move,
    Put, PutMode, RemotePath, Result as ProviderResult, Storage,
    layer::{Fault, FaultPlan},
};
use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering::SeqCst},
};

use super::*;
use crate::{
    engine::{At, CheckOptions, CompactOptions, FindingKind, HISTORY_MS, NoteKind},
    merge::view,
    model::{Stamp, limits::TEXT_BYTES_MAX},
};

struct Pair {
    memory: Memory,
    now: Arc<Mutex<DateTime<Utc>>>,
    a: Device,
    b: Device,
}

impl Pair {
    async fn new() -> Self {
        let now = Arc::new(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let time = now.clone();
        let memory = Memory::with_clock(ServerClock::new(move || *time.lock().unwrap()));
        let storage: SharedStorage = Arc::new(memory.clone());
        let (mut a, mut b) = (Device::new("laptop", &storage), Device::new("phone", &storage));
        a.connect().await;
        b.connect().await;
        Self { memory, now, a, b }
    }

    async fn sync(&mut self) {
        for _ in 0..2 {
            self.a.sync().await;
            self.b.sync().await;
        }
    }

    fn pass(&self, hours: i64) {
        *self.now.lock().unwrap() += TimeDelta::hours(hours);
    }

    fn blobs(&self) -> Vec<(RemotePath, Bytes)> {
        let files = self.memory.files().into_iter();
        files.filter(|(path, _)| path.as_str().starts_with("blobs/")).collect()
    }

    fn agree(&self, names: &[&str]) {
        for device in [&self.a, &self.b] {
            assert_eq!(files(device), names);
        }
        for name in names {
            assert!(bytes(&self.a, name) == bytes(&self.b, name), "{name} differs");
        }
    }
}

fn files(device: &Device) -> Vec<String> {
    device.names().into_iter().filter(|name| name != ".larder").collect()
}

fn put(device: &Device, name: &str, content: &[u8]) {
    let mut file = fs::File::create(device.path(name)).unwrap();
    file.write_all(content).unwrap();
}

fn bytes(device: &Device, name: &str) -> Vec<u8> {
    fs::read(device.path(name)).unwrap_or_default()
}

fn photo(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::once(0).chain(std::iter::repeat_with(|| random.u8(..)).take(3_000)).collect()
}

#[tokio::test]
async fn photos_and_long_texts_come_to_the_other_side_once() {
    let mut pair = Pair::new().await;
    let long = "a line of text\n".repeat(usize::try_from(TEXT_BYTES_MAX).unwrap() / 10);
    put(&pair.a, "photo.jpg", &photo(1));
    put(&pair.a, "same.jpg", &photo(1));
    put(&pair.a, "long.md", long.as_bytes());
    put(&pair.a, "empty.jpg", b"");
    let report = pair.a.sync().await;
    assert_eq!((report.pushed, report.notes.len()), (4, 0), "{report:?}");
    assert_eq!(pair.blobs().len(), 2, "equal contents lie there once");
    let report = pair.b.sync().await;
    assert_eq!((report.pulled, report.notes.len()), (4, 0), "{report:?}");
    pair.agree(&["empty.jpg", "long.md", "photo.jpg", "same.jpg"]);
    assert!(
        bytes(&pair.b, "photo.jpg") == photo(1) && bytes(&pair.b, "long.md") == long.as_bytes()
    );
    let before = pair.memory.files();
    assert_eq!((pair.a.sync().await.pushed, pair.b.sync().await.pushed), (0, 0));
    assert!(pair.memory.files() == before);
    assert!(names_in(&pair.b.path(".larder/blobs")).is_empty());
}

/// The file lay elsewhere by then: the record went without its content, and nobody sent it ever after.
#[tokio::test]
async fn a_content_that_is_gone_and_was_moved_since_comes_back() {
    let mut pair = Pair::new().await;
    pair.sync().await;
    let old = pair.memory.files();
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    for path in pair.memory.files().into_keys() {
        pair.memory.remove_raw(&path);
    }
    for (path, content) in old {
        pair.memory.insert_raw(&path, content);
    }
    fs::create_dir(pair.b.path("sub")).unwrap();
    fs::rename(pair.b.path("photo.jpg"), pair.b.path("sub/sun.jpg")).unwrap();
    pair.b.sync().await;
    assert_eq!(pair.b.engine.store().owed_blobs().unwrap().len(), 1, "and it is told");
    pair.b.sync().await;
    assert_eq!((pair.blobs().len(), pair.b.engine.store().owed_blobs().unwrap().len()), (1, 0));
    let mut c = Device::new("tablet", &pair.b.storage);
    c.connect().await;
    assert_eq!(c.sync().await.notes, []);
    assert!(bytes(&c, "sub/sun.jpg") == photo(1));
}

#[tokio::test]
async fn a_new_name_or_a_copy_transfers_nothing() {
    let mut pair = Pair::new().await;
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    let blobs = pair.blobs();
    fs::create_dir(pair.a.path("sub")).unwrap();
    fs::rename(pair.a.path("photo.jpg"), pair.a.path("sub/sun.jpg")).unwrap();
    put(&pair.b, "copy.jpg", &photo(1));
    pair.sync().await;
    pair.agree(&["copy.jpg", "sub"]);
    assert!(bytes(&pair.b, "sub/sun.jpg") == photo(1) && bytes(&pair.a, "copy.jpg") == photo(1));
    assert!(pair.blobs() == blobs);
    fs::rename(pair.a.path("sub/sun.jpg"), pair.a.path("x")).unwrap();
    fs::rename(pair.a.path("copy.jpg"), pair.a.path("sub/sun.jpg")).unwrap();
    fs::rename(pair.a.path("x"), pair.a.path("copy.jpg")).unwrap();
    put(&pair.b, "sub/sun.jpg", &photo(2));
    pair.sync().await;
    pair.agree(&["copy.jpg", "sub"]);
}

#[tokio::test]
async fn of_two_contents_both_stay_on_both_devices() {
    let mut pair = Pair::new().await;
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    put(&pair.a, "photo.jpg", &photo(2));
    pair.a.sync().await;
    put(&pair.b, "photo.jpg", &photo(3));
    put(&pair.a, "new.jpg", &photo(4));
    put(&pair.b, "new.jpg", &photo(5));
    pair.sync().await;
    let names = ["new (from laptop).jpg", "new.jpg", "photo (from laptop).jpg", "photo.jpg"];
    assert_eq!(files(&pair.b), names);
    pair.agree(&names);
    assert!(bytes(&pair.a, "photo.jpg") == photo(3));
    assert!(bytes(&pair.b, "photo (from laptop).jpg") == photo(2));
    assert_eq!(pair.a.engine.store().conflict_counts().unwrap(), (0, 2));
    pair.sync().await;
    pair.agree(&names);
}

#[tokio::test]
async fn a_text_becomes_another_content_and_a_text_again() {
    let mut pair = Pair::new().await;
    pair.a.write("note.md", "---\ntitle: x\n---\nHello\n");
    pair.sync().await;
    put(&pair.a, "note.md", &photo(1));
    pair.sync().await;
    pair.agree(&["note.md"]);
    assert!(bytes(&pair.b, "note.md") == photo(1));
    pair.b.write("note.md", "---\ntitle: y\n---\nback\n");
    pair.sync().await;
    pair.agree(&["note.md"]);
    assert_eq!(pair.a.read("note.md"), "---\ntitle: y\n---\nback\n");
    let store = pair.a.engine.store();
    let id = store.all_ids().unwrap().pop_first().unwrap();
    let fields = view(&store.record(&id).unwrap().unwrap().state, pair.a.engine.rules()).fields;
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["$layout", "body", "path", "title"]);

    put(&pair.a, "note.md", &photo(2));
    pair.b.write("note.md", "---\ntitle: y\n---\nback again\n");
    pair.sync().await;
    pair.agree(&["note (from phone).md", "note.md"]);
    assert_eq!(pair.a.read("note (from phone).md"), "---\ntitle: y\n---\nback again\n");
    assert!(bytes(&pair.b, "note.md") == photo(2));
}

#[tokio::test]
async fn what_is_damaged_is_told_and_holds_up_nothing() {
    let mut pair = Pair::new().await;
    put(&pair.a, "photo.jpg", &photo(1));
    put(&pair.a, "other.jpg", &photo(2));
    pair.a.write("note.md", "Hello\n");
    pair.a.sync().await;
    let (broken, whole) = pair.blobs().into_iter().find(|(_, b)| *b == photo(1)).unwrap();
    pair.memory.insert_raw(&broken, photo(3));
    let report = pair.b.sync().await;
    assert_eq!(report.notes.len(), 1, "{report:?}");
    assert_eq!((report.notes[0].kind, &*report.notes[0].subject), (NoteKind::Damaged, "photo.jpg"));
    assert_eq!(files(&pair.b), ["note.md", "other.jpg"]);
    pair.memory.remove_raw(&broken);
    assert_eq!(pair.b.sync().await.notes.len(), 1);
    let check = async |device: &mut Device, read_data| {
        let options = CheckOptions { read_data };
        let checked = device.engine.check(&device.storage, &Traffic::new(), options).await;
        checked.unwrap().findings.into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    assert_eq!(check(&mut pair.a, false).await, [FindingKind::Missing]);
    pair.memory.insert_raw(&broken, photo(3));
    assert_eq!(check(&mut pair.a, false).await, []);
    assert_eq!(check(&mut pair.a, true).await, [FindingKind::Damaged]);
    pair.memory.insert_raw(&broken, whole);
    assert_eq!(check(&mut pair.a, true).await, []);
    pair.sync().await;
    pair.agree(&["note.md", "other.jpg", "photo.jpg"]);
}

#[tokio::test]
async fn a_remote_that_lost_its_contents_gets_them_again() {
    let mut pair = Pair::new().await;
    pair.a.write("note.md", "Hello\n");
    pair.sync().await;
    let before = pair.memory.snapshot();
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    pair.memory.restore(&before);
    pair.sync().await;
    assert_eq!(pair.blobs().len(), 1);
    let mut c = Device::new("tablet", &pair.a.storage);
    c.connect().await;
    c.sync().await;
    assert!(bytes(&c, "photo.jpg") == photo(1));
    for file in pair.memory.files().into_keys() {
        pair.memory.remove_raw(&file);
    }
    let options = TurnOptions { recreate_remote: true, ..TurnOptions::default() };
    let a = &mut pair.a;
    a.engine.turn(&a.storage, &Traffic::new(), options, &Silent).await.unwrap();
    assert_eq!(pair.blobs().len(), 1);
    pair.sync().await;
    pair.agree(&["note.md", "photo.jpg"]);
}

#[tokio::test]
async fn what_nothing_names_is_collected_and_nothing_else() {
    let mut pair = Pair::new().await;
    put(&pair.a, "photo.jpg", &photo(1));
    put(&pair.a, "gone.jpg", &photo(2));
    pair.sync().await;
    let orphan = RemotePath::new(format!("blobs/{}-qwerty", "ab".repeat(32))).unwrap();
    pair.memory.insert_raw(&orphan, "cut");
    let compact = async |device: &mut Device| {
        let options = CompactOptions::default();
        device.engine.compact(&device.storage, &Traffic::new(), options, &Silent).await.unwrap()
    };
    for _ in 0..3 {
        compact(&mut pair.a).await;
        assert_eq!(pair.blobs().len(), 3, "some history may name it");
        pair.pass(25);
    }
    // A clock that is set ahead is not believed at once; then it is retired, and not removed.
    for hours in [24 * 365, 25, 24 * 30, 24 * 30] {
        pair.pass(hours);
        compact(&mut pair.a).await;
        assert_eq!(pair.blobs().len(), 3);
    }
    pair.pass(25);
    compact(&mut pair.a).await;
    assert_eq!(pair.blobs().len(), 2);

    // The trash keeps its content, and so does the history.
    fs::remove_file(pair.a.path("gone.jpg")).unwrap();
    put(&pair.a, "photo.jpg", &photo(3));
    pair.sync().await;
    for _ in 0..3 {
        pair.pass(25);
        compact(&mut pair.a).await;
    }
    assert_eq!(pair.blobs().len(), 3);
    let id = pair.a.engine.find("photo.jpg").unwrap();
    pair.a.engine.restore(&id, At::Before).unwrap();
    let id = pair.a.engine.find("gone.jpg").unwrap();
    pair.a.engine.restore(&id, At::Before).unwrap();
    pair.sync().await;
    pair.agree(&["gone.jpg", "photo.jpg"]);
    assert!(bytes(&pair.b, "photo.jpg") == photo(1) && bytes(&pair.b, "gone.jpg") == photo(2));

    // Another device knows nothing of that history.
    put(&pair.a, "photo.jpg", &photo(4));
    pair.sync().await;
    pair.b.engine.store_mut().prune_history(i64::MAX).unwrap();
    for _ in 0..3 {
        compact(&mut pair.b).await;
        pair.pass(25);
    }
    assert_eq!(pair.blobs().len(), 4);
    let id = pair.a.engine.find("photo.jpg").unwrap();
    pair.a.engine.restore(&id, At::Version(1)).unwrap();
    pair.sync().await;
    assert!(bytes(&pair.b, "photo.jpg") == photo(1));
    put(&pair.a, "photo.jpg", &photo(5));
    pair.sync().await;
    pair.b.engine.store_mut().prune_history(i64::MAX).unwrap();

    // Nor has it to, after so long a time.
    for _ in 0..4 {
        compact(&mut pair.b).await;
        pair.pass(24 * 30);
    }
    compact(&mut pair.b).await;
    assert_eq!(pair.blobs().len(), 2);
    let id = pair.a.engine.find("photo.jpg").unwrap();
    let first = At::Version(1);
    pair.a.engine.restore(&id, first).unwrap();
    let report = pair.a.sync().await;
    assert!(
        report.notes.iter().any(|note| note.text.contains("its content is gone")),
        "{report:?}"
    );
    pair.sync().await;
    pair.agree(&["gone.jpg", "photo.jpg"]);
    assert!(bytes(&pair.a, "photo.jpg") == photo(5));
}

#[tokio::test]
async fn a_name_that_is_retired_is_not_used_again() {
    let mut pair = Pair::new().await;
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    // Offline, a copy is made of what somebody else lets go of meanwhile.
    put(&pair.b, "photo.jpg", &photo(2));
    pair.b.sync().await;
    pair.b.engine.store_mut().prune_history(i64::MAX).unwrap();
    let options = CompactOptions::default();
    for _ in 0..4 {
        let b = &mut pair.b;
        b.engine.compact(&b.storage, &Traffic::new(), options, &Silent).await.unwrap();
        pair.pass(24 * 30);
    }
    put(&pair.a, "copy.jpg", &photo(1));
    pair.sync().await;
    pair.agree(&["copy.jpg", "photo.jpg"]);
    assert_eq!(pair.blobs().len(), 3);
    pair.pass(25);
    let b = &mut pair.b;
    b.engine.compact(&b.storage, &Traffic::new(), options, &Silent).await.unwrap();
    let mut c = Device::new("tablet", &pair.a.storage);
    c.connect().await;
    assert_eq!(c.sync().await.notes, []);
    assert!(bytes(&c, "copy.jpg") == photo(1) && bytes(&c, "photo.jpg") == photo(2));
}

#[tokio::test]
async fn they_arrive_over_a_line_that_tears() {
    for seed in 0..8 {
        let memory = Memory::new();
        let plan = FaultPlan {
            seed,
            torn: 0.3,
            fail_before: 0.1,
            fail_after: 0.1,
            ..FaultPlan::default()
        };
        let fault = Arc::new(Fault::new(memory.clone(), plan));
        fault.set_calm(true);
        let storage: SharedStorage = fault.clone();
        let (mut a, mut b) = (Device::new("laptop", &storage), Device::new("phone", &storage));
        a.connect().await;
        b.connect().await;
        fault.set_calm(false);
        for number in 0..5 {
            put(&a, &format!("{number}.jpg"), &photo(number));
        }
        put(&b, "0.jpg", &photo(9));
        for round in 0..40 {
            fault.set_calm(round > 30);
            let options = TurnOptions::default();
            for device in [&mut a, &mut b] {
                let _ = device.engine.turn(&storage, &Traffic::new(), options, &Silent).await;
            }
        }
        assert_eq!(files(&a).len(), 6, "seed {seed}");
        assert_eq!(files(&a), files(&b), "seed {seed}");
        for name in files(&a) {
            assert!(bytes(&a, &name) == bytes(&b, &name), "seed {seed}: {name}");
        }
    }
}

/// A server that takes no contents over so many bytes.
#[derive(Debug)]
struct Narrow(Memory, u64);

#[async_trait::async_trait]
impl Storage for Narrow {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> ProviderResult<Get> {
        self.0.get(path, options).await
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> ProviderResult<Put> {
        if body.len() > self.1 {
            let detail = "the server takes no file of this size (status 413)";
            return Err(Error::new(ErrorKind::Unsupported, "put", path, detail));
        }
        self.0.put(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> ProviderResult<()> {
        self.0.delete(path).await
    }

    async fn list(&self, folder: &RemotePath) -> ProviderResult<Listing> {
        self.0.list(folder).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> ProviderResult<Move> {
        self.0.move_exclusive(from, to).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> ProviderResult<()> {
        self.0.make_folder(folder).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

#[tokio::test]
async fn a_file_that_the_server_does_not_take_holds_up_nothing() {
    let memory = Memory::new();
    let storage: SharedStorage = Arc::new(Narrow(memory.clone(), 100_000));
    let (mut a, mut b) = (Device::new("laptop", &storage), Device::new("phone", &storage));
    a.connect().await;
    b.connect().await;
    put(&a, "film.mp4", &vec![0; 200_000]);
    put(&a, "photo.jpg", &photo(1));
    a.write("note.md", "Hello\n");
    let report = a.sync().await;
    assert_eq!((report.pushed, report.notes.len()), (2, 1), "{report:?}");
    assert_eq!((report.notes[0].kind, &*report.notes[0].subject), (NoteKind::Waiting, "film.mp4"));
    b.sync().await;
    assert_eq!(files(&b), ["note.md", "photo.jpg"]);
    fs::rename(a.path("film.mp4"), a.path("movie.mp4")).unwrap();
    a.storage = Arc::new(memory);
    a.sync().await;
    b.sync().await;
    assert_eq!(files(&b), ["movie.mp4", "note.md", "photo.jpg"]);
}

#[tokio::test]
async fn a_copy_made_while_away_names_no_content_that_was_collected() {
    let mut pair = Pair::new().await;
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    put(&pair.a, "photo.jpg", &photo(2));
    pair.a.sync().await;
    // Somebody who never had the first content in its history collects it.
    let storage: SharedStorage = Arc::new(pair.memory.clone());
    let mut c = Device::new("tablet", &storage);
    c.connect().await;
    c.sync().await;
    for _ in 0..5 {
        pair.pass(24 * 90);
        let options = CompactOptions::default();
        c.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    }
    assert_eq!(pair.blobs().len(), 1);
    put(&pair.b, "copy.jpg", &photo(1));
    pair.b.sync().await;
    let report = pair.a.sync().await;
    assert_eq!(report.notes.len(), 0, "{report:?}");
    assert!(bytes(&pair.a, "copy.jpg") == photo(1));
}

#[tokio::test]
async fn a_content_that_was_kept_here_is_sent_when_the_rules_let_it_go() {
    let mut pair = Pair::new().await;
    let rules = "[[type]]\nname = \"own\"\nfiles = [\"*.jpg\"]\nsync = false\n";
    pair.a.write("larder.toml", rules);
    put(&pair.a, "photo.jpg", &photo(1));
    let report = pair.a.sync().await;
    assert!(pair.blobs().is_empty(), "{report:?}");
    pair.a.write("larder.toml", &rules.replace("false", "true"));
    pair.sync().await;
    pair.agree(&["larder.toml", "photo.jpg"]);
    assert!(bytes(&pair.b, "photo.jpg") == photo(1));
}

#[tokio::test]
async fn a_new_name_given_long_after_a_deletion_brings_the_content_back() {
    let mut pair = Pair::new().await;
    let now_ms = Arc::new(AtomicI64::new(1_800_000_000_000));
    for device in [&mut pair.a, &mut pair.b] {
        let now = now_ms.clone();
        device.engine.clock = Clock::custom(move || Stamp::from_millis(now.load(SeqCst)));
    }
    put(&pair.a, "photo.jpg", &photo(1));
    pair.sync().await;
    fs::remove_file(pair.a.path("photo.jpg")).unwrap();
    pair.a.sync().await;
    // By both clocks: what one of them holds to be young is kept.
    pair.pass(24 * 91);
    now_ms.fetch_add(HISTORY_MS + 1_000, SeqCst);
    pair.a.write("other.md", "so that there is a commit\n");
    pair.a.sync().await;
    for _ in 0..8 {
        pair.pass(24 * 91);
        let (storage, options) = (pair.a.storage.clone(), CompactOptions::default());
        pair.a.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    }
    assert!(pair.blobs().is_empty());
    fs::rename(pair.b.path("photo.jpg"), pair.b.path("sun.jpg")).unwrap();
    pair.b.sync().await;
    pair.a.sync().await;
    pair.agree(&["other.md", "sun.jpg"]);
    assert!(bytes(&pair.a, "sun.jpg") == photo(1));
}

/// A text takes the place that a photo leaves: the photo is all there is of it.
#[tokio::test]
async fn a_photo_makes_way_for_a_text_before_that_is_written() {
    let Pair { mut a, mut b, .. } = Pair::new().await;
    a.write("larder.toml", "[[type]]\nname = \"own\"\nfiles = [\"s/**\"]\nsync = false\n");
    a.sync().await;
    b.sync().await;
    fs::create_dir(a.path("s")).unwrap();
    put(&a, "s/p.dat", &photo(1));
    a.sync().await;
    let fields = serde_json::json!({"path": "s/p.dat", "body": "text\n"});
    b.engine.put("note", Some("0"), fields.as_object().cloned().unwrap()).unwrap();
    b.sync().await;
    a.sync().await;
    a.sync().await;
    let names = names_in(&a.path("s"));
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().any(|name| bytes(&a, &format!("s/{name}")) == photo(1)), "{names:?}");
}

#[tokio::test]
async fn a_photo_whose_place_a_text_takes_is_moved_and_not_fetched() {
    let mut pair = Pair::new().await;
    put(&pair.a, "p.dat", &photo(1));
    pair.sync().await;
    fs::rename(pair.a.path("p.dat"), pair.a.path("q.dat")).unwrap();
    pair.a.sync().await;
    pair.a.write("p.dat", "text\n");
    pair.a.sync().await;
    for (path, _) in pair.blobs() {
        pair.memory.remove_raw(&path);
    }
    pair.b.sync().await;
    assert_eq!(pair.b.read("p.dat"), "text\n");
    assert!(bytes(&pair.b, "q.dat") == photo(1));
}

#[tokio::test]
async fn a_title_set_while_the_note_became_a_photo_gets_a_file_of_its_own() {
    let mut pair = Pair::new().await;
    let note = "---\ntitle: Milk\n---\nHello\n";
    pair.a.write("note.md", note);
    pair.sync().await;
    pair.a.write("note.md", &note.replace("Milk", "Oats"));
    pair.a.sync().await;
    put(&pair.b, "note.md", &photo(1));
    pair.b.sync().await;
    pair.sync().await;
    pair.agree(&["note (from laptop).md", "note.md"]);
    assert_eq!(pair.b.read("note (from laptop).md"), note.replace("Milk", "Oats"));
}
