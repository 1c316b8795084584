//! Deletions of long ago: what they were is gone, that they happened is not.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::SeqCst},
};

use super::*;
use crate::{
    engine::{At, CompactOptions, HISTORY_MS},
    model::{
        Stamp,
        entity::{DELETED, TYPE},
    },
};

const NOTE: &str = "---\ntitle: Milk\nstatus: open\n---\nHello\n";

/// Devices whose time can be moved on.
struct Years {
    now_ms: Arc<AtomicI64>,
    memory: Arc<Memory>,
    storage: SharedStorage,
}

impl Years {
    fn new() -> Self {
        let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
        let now = now_ms.clone();
        let clock = larder_providers::Clock::new(move || {
            chrono::DateTime::from_timestamp_millis(now.load(SeqCst)).unwrap()
        });
        let memory = Arc::new(Memory::with_clock(clock));
        Self { now_ms, storage: memory.clone(), memory }
    }

    async fn device(&self, name: &str) -> Device {
        let mut device = Device::new(name, &self.storage);
        let now = self.now_ms.clone();
        device.engine.clock = Clock::custom(move || Stamp::from_millis(now.load(SeqCst)));
        device.connect().await;
        device
    }

    fn pass(&self) {
        self.now_ms.fetch_add(HISTORY_MS + 1_000, SeqCst);
    }
}

/// Two devices with a note.
async fn with_note() -> (Years, Device, Device) {
    let years = Years::new();
    let (mut a, mut b) = (years.device("laptop").await, years.device("phone").await);
    a.write("note.md", NOTE);
    a.sync().await;
    b.sync().await;
    (years, a, b)
}

/// Two devices with a note that the first deleted so long ago that its trash is empty.
async fn long_deleted() -> (Years, Device, Device) {
    long_deleted_by(None, NOTE).await
}

async fn long_deleted_by(rules: Option<&str>, text: &str) -> (Years, Device, Device) {
    let years = Years::new();
    let (mut a, mut b) = (years.device("laptop").await, years.device("phone").await);
    if let Some(rules) = rules {
        a.write("larder.toml", rules);
    }
    a.write("note.md", text);
    a.sync().await;
    b.sync().await;
    fs::remove_file(a.path("note.md")).unwrap();
    a.sync().await;
    commit_of_two(&years, &mut a, 1).await;
    years.pass();
    commit_of_two(&years, &mut a, 2).await;
    (years, a, b)
}

/// The device finds that somebody committed, by which it learns the time, and commits something too.
async fn commit_of_two(years: &Years, device: &mut Device, number: u32) {
    let mut other = years.device("somebody").await;
    other.sync().await;
    other.write("other.md", &format!("{number}\n"));
    other.sync().await;
    device.write("mine.md", &format!("{number}\n"));
    device.sync().await;
}

async fn compact(device: &mut Device) {
    let (storage, traffic) = (device.storage.clone(), Traffic::new());
    device.engine.compact(&storage, &traffic, CompactOptions::default(), &Silent).await.unwrap();
}

fn marker_of(device: &Device) -> crate::model::Entity {
    let mut found = Vec::new();
    let is_deleted = |state: &crate::model::Entity| state.fields.contains_key(DELETED);
    let each = |state| {
        found.extend(Some(state).filter(is_deleted));
        Ok(())
    };
    device.engine.store().each_state(each).unwrap();
    found.remove(0)
}

#[tokio::test]
async fn after_ninety_days_only_the_mark_is_left() {
    let (years, mut a, mut b) = long_deleted().await;
    let marker = marker_of(&a);
    assert!(marker.fields.keys().eq([DELETED]), "{marker:?}");
    assert!(a.engine.restore(&marker.id, At::Before).is_err());
    compact(&mut a).await;
    // The mark reaches who was away, and who comes new.
    b.sync().await;
    assert_eq!(b.names(), ["mine.md", "other.md"]);
    let mut c = years.device("tablet").await;
    c.sync().await;
    assert_eq!(c.names(), ["mine.md", "other.md"]);
    assert_eq!(marker_of(&c).clock, marker.clock);
}

#[tokio::test]
async fn an_edit_that_had_not_seen_the_deletion_brings_all_of_it_back() {
    let (_years, mut a, mut b) = long_deleted().await;
    compact(&mut a).await;
    let edited = NOTE.replace("open", "done");
    b.write("note.md", &edited);
    b.sync().await;
    assert_eq!(b.read("note.md"), edited);
    a.sync().await;
    assert_eq!(a.read("note.md"), edited);
}

/// The edit lies in a file that nobody committed, and its device is gone.
#[tokio::test]
async fn an_edit_that_a_compaction_finds_brings_all_of_it_back() {
    for emptied_first in [false, true] {
        let (years, mut a, mut b) = with_note().await;
        let (before, named) = (years.memory.snapshot(), years.memory.files());
        let edited = NOTE.replace("open", "done");
        b.write("note.md", &edited);
        b.sync().await;
        let mut left = years.memory.files();
        left.retain(|path, _| path.as_str().starts_with("entities/") && !named.contains_key(path));
        assert_eq!(left.len(), 1);
        years.memory.restore(&before);
        left.iter().for_each(|(path, bytes)| years.memory.insert_raw(path, bytes.clone()));
        drop(b);
        fs::remove_file(a.path("note.md")).unwrap();
        a.sync().await;
        commit_of_two(&years, &mut a, 1).await;
        // From here on no commit can name the file any more.
        compact(&mut a).await;
        years.pass();
        if emptied_first {
            commit_of_two(&years, &mut a, 2).await;
            assert!(marker_of(&a).fields.keys().eq([DELETED]));
        }
        compact(&mut a).await;
        a.sync().await;
        assert_eq!(a.read("note.md"), edited, "{emptied_first}");
    }
}

#[tokio::test]
async fn a_restored_record_is_whole_where_the_trash_is_empty() {
    let (years, mut a, mut b) = with_note().await;
    fs::remove_file(a.path("note.md")).unwrap();
    a.sync().await;
    b.sync().await;
    commit_of_two(&years, &mut a, 1).await;
    years.pass();
    commit_of_two(&years, &mut a, 2).await;
    // The other device still has it in its trash.
    let id = marker_of(&b).id;
    b.engine.restore(&id, At::Before).unwrap();
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("note.md"), NOTE);
    assert_eq!(b.read("note.md"), NOTE);
}

#[tokio::test]
async fn an_edit_brings_all_back_though_the_remote_still_has_what_was_deleted() {
    let (years, mut a, mut b) = long_deleted().await;
    let edited = NOTE.replace("open", "done");
    b.write("note.md", &edited);
    b.sync().await;
    assert_eq!(b.read("note.md"), edited);
    a.sync().await;
    assert_eq!(a.read("note.md"), edited);
    let mut c = years.device("tablet").await;
    c.sync().await;
    assert_eq!(c.read("note.md"), edited);
    b.sync().await;
    assert_eq!(b.read("note.md"), edited);
}

#[tokio::test]
async fn other_rules_bring_back_what_was_edited_whole_and_what_was_not_not_at_all() {
    let rules = |wins: &str| format!("[[type]]\nname = \"note\"\ndelete = \"{wins}\"\n");
    for edited in
        [None, Some(NOTE.replace("open", "done")), Some(NOTE.replace("status: open\n", ""))]
    {
        let (years, mut a, mut b) = long_deleted_by(Some(&rules("delete_wins")), NOTE).await;
        let options = CompactOptions { force: true, dry_run: false };
        a.engine.compact(&a.storage.clone(), &Traffic::new(), options, &Silent).await.unwrap();
        if let Some(edited) = &edited {
            b.write("note.md", edited);
        }
        b.sync().await;
        a.sync().await;
        assert!(!a.path("note.md").exists() && !b.path("note.md").exists());
        a.write("larder.toml", &rules("edit_wins"));
        a.sync().await;
        b.sync().await;
        let mut c = years.device("tablet").await;
        c.sync().await;
        for device in [&a, &b, &c] {
            assert_eq!(device.path("note.md").exists(), edited.is_some(), "{edited:?}");
            assert!(edited.iter().all(|edited| device.read("note.md") == *edited), "{edited:?}");
            let live = device.engine.store().live_count().unwrap();
            assert_eq!(live, 3 + u64::from(edited.is_some()), "{edited:?}");
        }
    }
}

#[tokio::test]
async fn the_mark_of_a_deletion_says_of_which_type_the_record_was() {
    let rules = "[[type]]\nname = \"task\"\ndelete = \"newest\"\n";
    let text = NOTE.replace("status", "type: task\nstatus");
    let (_years, a, _) = long_deleted_by(Some(rules), &text).await;
    let marker = marker_of(&a);
    assert!(marker.fields.keys().eq([DELETED, TYPE]), "{marker:?}");
    assert_eq!(crate::merge::view(&marker, a.engine.rules()).type_name, "task");
}

#[tokio::test]
async fn what_a_command_replaced_under_a_slow_clock_is_not_old_once_that_is_right() {
    let years = Years::new();
    let mut device = years.device("laptop").await;
    device.write("note.md", "first\n");
    device.sync().await;
    // The next process, at a time when the clock is a year behind.
    let Device { folder, engine, storage } = device;
    let (store, vault) = (engine.into_store(), Vault::open(folder.path()).unwrap());
    let random = fastrand::Rng::with_seed(7);
    let slow = years.now_ms.load(SeqCst) - 4 * HISTORY_MS;
    let clock = Clock::custom(move || Stamp::from_millis(slow));
    let engine = Engine::new(store, Some(vault), clock, random, "laptop").unwrap();
    let mut device = Device { folder, engine, storage };
    let id = device.engine.store().all_ids().unwrap().into_iter().next().unwrap();
    device.engine.remove(&id).unwrap();
    let now = years.now_ms.clone();
    device.engine.clock = Clock::custom(move || Stamp::from_millis(now.load(SeqCst)));
    commit_of_two(&years, &mut device, 1).await;
    assert_eq!(device.engine.store().history(&id).unwrap().len(), 1);
    device.engine.restore(&id, At::Before).unwrap();
    assert_eq!(device.read("note.md"), "first\n");
}

#[tokio::test]
async fn what_is_replaced_before_the_first_sync_under_a_slow_clock_is_kept() {
    let years = Years::new();
    let mut a = years.device("laptop").await;
    let (now, slow) = (years.now_ms.clone(), Arc::new(AtomicI64::new(2 * HISTORY_MS)));
    let behind = slow.clone();
    a.engine.clock =
        Clock::custom(move || Stamp::from_millis(now.load(SeqCst) - behind.load(SeqCst)));
    let title = |title: &str| {
        serde_json::json!({ "title": title }).as_object().cloned().unwrap_or_default()
    };
    let id = a.engine.put("note", None, title("Milk")).unwrap();
    a.engine.put("note", Some(id.as_str()), title("Bread")).unwrap();
    slow.store(0, SeqCst);
    a.sync().await;
    let kept = a.engine.store().history(&id).unwrap();
    assert!(format!("{kept:?}").contains("Milk"), "{kept:?}");
}

#[tokio::test]
async fn a_name_means_what_was_deleted_there_last() {
    let years = Years::new();
    let mut a = years.device("laptop").await;
    let names: Vec<String> = (0..6).map(|number| format!("{number}.md")).collect();
    let accepts = TurnOptions { accept_deletes: true, ..TurnOptions::default() };
    for text in ["old\n", "new\n"] {
        names.iter().for_each(|name| a.write(name, text));
        a.sync().await;
        names.iter().for_each(|name| fs::remove_file(a.path(name)).unwrap());
        a.engine.turn(&years.storage, &Traffic::new(), accepts, &Silent).await.unwrap();
        years.now_ms.fetch_add(1_000, SeqCst);
    }
    for name in &names {
        let id = a.engine.find(name).unwrap();
        a.engine.restore(&id, At::Before).unwrap();
        a.sync().await;
        assert_eq!(a.read(name), "new\n");
    }
}

/// The deletion was met while the file could not be taken away, and its edit is taken up only now.
#[tokio::test]
async fn an_edit_that_waited_for_longer_than_the_trash_is_kept_whole() {
    let edited = NOTE.replace("open", "done");
    for empties_here in [true, false] {
        let (years, mut a, mut b) = with_note().await;
        b.write(".larderignore", "note.md\n");
        b.sync().await;
        b.write("note.md", &edited);
        fs::remove_file(a.path("note.md")).unwrap();
        a.sync().await;
        b.sync().await;
        assert_eq!(b.read("note.md"), edited);
        let device = if empties_here { &mut b } else { &mut a };
        commit_of_two(&years, device, 1).await;
        years.pass();
        commit_of_two(&years, device, 2).await;
        compact(&mut a).await;
        fs::remove_file(b.path(".larderignore")).unwrap();
        b.sync().await;
        assert_eq!(b.read("note.md"), edited, "{empties_here}");
        let mut c = years.device("tablet").await;
        c.sync().await;
        assert_eq!(c.read("note.md"), edited, "{empties_here}");
    }
}

#[tokio::test]
async fn a_deleted_file_with_an_id_of_its_own_can_be_put_back_as_it_was() {
    let text = NOTE.replace("title", "id: x1\ntitle");
    let (mut a, mut b) = pair().await;
    a.write("note.md", &text);
    a.sync().await;
    b.sync().await;
    fs::remove_file(a.path("note.md")).unwrap();
    a.sync().await;
    b.sync().await;
    a.write("note.md", &text);
    a.sync().await;
    b.sync().await;
    assert_eq!((a.read("note.md"), b.read("note.md")), (text.clone(), text));
}
