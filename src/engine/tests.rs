//! Two devices and a remote in memory.

mod contents;
mod crowds;
mod hostile;
mod lagging;
mod meanwhile;
mod mirrored;
mod obstacles;
mod remotes;
mod repair;
mod rules;
mod runs;
mod stiff;
#[cfg(target_os = "linux")]
mod swapped;
mod trash;

use std::{fs, path::Path, sync::Arc};

use larder_providers::{Memory, SharedStorage, Traffic};

use super::{Engine, Report, Silent, TurnOptions};
use crate::{clock::Clock, model::Stamp, store::Store, vault::Vault};

struct Device {
    folder: tempfile::TempDir,
    engine: Engine,
    storage: SharedStorage,
}

impl Device {
    fn new(name: &str, storage: &SharedStorage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_memory().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let random = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
        let engine = Engine::new(store, Some(vault), Clock::system(), random, name).unwrap();
        Self { folder, engine, storage: storage.clone() }
    }

    async fn connect(&mut self) {
        self.engine.connect(&self.storage, None).await.unwrap();
    }

    async fn sync(&mut self) -> Report {
        let options = TurnOptions::default();
        self.engine.turn(&self.storage, &Traffic::new(), options, &Silent).await.unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    #[allow(clippy::disallowed_methods, reason = "a user does not write atomically either")]
    fn write(&self, name: &str, text: &str) {
        if let Some(parent) = self.path(name).parent() {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| format!("<{error}>"))
    }

    fn names(&self) -> Vec<String> {
        names_in(self.folder.path())
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

async fn pair() -> (Device, Device) {
    let storage: SharedStorage = Arc::new(Memory::new());
    let (mut a, mut b) = (Device::new("laptop", &storage), Device::new("phone", &storage));
    a.connect().await;
    b.connect().await;
    (a, b)
}

/// Both have the note; then each edits its own copy, and both sync until all is quiet.
async fn concurrently(start: &str, edit_a: &str, edit_b: &str) -> (Device, Device) {
    let (mut a, mut b) = pair().await;
    a.write("note.md", start);
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("note.md"), start);
    a.write("note.md", edit_a);
    b.write("note.md", edit_b);
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("note.md"), b.read("note.md"));
    (a, b)
}

#[tokio::test]
async fn edits_of_different_fields_are_both_kept() {
    let start = "---\ntitle: Milk # why\nstatus: open\ntags:\n  - a\n  - b\n---\nHello\n";
    let (a, _) = concurrently(
        start,
        &start.replace("open", "done"),
        &start.replace("Milk", "Oat milk").replace("  - b\n", "  - b\n  - c\n"),
    )
    .await;
    assert_eq!(
        a.read("note.md"),
        "---\ntitle: Oat milk # why\nstatus: done\ntags:\n  - a\n  - b\n  - c\n---\nHello\n"
    );
    assert_eq!(a.engine.store().conflict_counts().unwrap(), (0, 0));
}

#[tokio::test]
async fn edits_of_one_field_leave_a_conflict_on_both_devices() {
    let start = "---\ntitle: Milk\n---\nHello\n";
    let (a, b) =
        concurrently(start, &start.replace("Milk", "Bread"), &start.replace("Milk", "Oat milk"))
            .await;
    assert_eq!(a.read("note.md"), start.replace("Milk", "Oat milk"));
    let ids = |device: &Device| {
        let conflicts = device.engine.store().conflicts(false).unwrap();
        conflicts.into_iter().map(|c| c.conflict.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&a).len(), 1);
    assert_eq!(ids(&a), ids(&b));
}

#[tokio::test]
async fn edits_of_one_text_are_merged_by_lines_and_words() {
    let (a, _) = concurrently(
        "One two three.\n\nFour.\n",
        "One 2 three.\n\nFour.\nFive.\n",
        "One two 3.\n\nFour!\n",
    )
    .await;
    assert_eq!(a.read("note.md"), "One 2 3.\n\nFour!\nFive.\n");
}

#[tokio::test]
async fn a_rename_and_an_edit_both_survive() {
    let (mut a, mut b) = pair().await;
    a.write("old.md", "text\n");
    a.sync().await;
    b.sync().await;
    fs::create_dir(a.path("sub")).unwrap();
    fs::rename(a.path("old.md"), a.path("sub/new.md")).unwrap();
    b.write("old.md", "text\nmore\n");
    a.sync().await;
    let report = b.sync().await;
    assert_eq!(report.conflicts, 0);
    a.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.names(), ["sub"]);
        assert_eq!(device.read("sub/new.md"), "text\nmore\n");
    }
}

#[tokio::test]
async fn an_edit_beats_a_deletion_that_had_not_seen_it() {
    let (mut a, mut b) = pair().await;
    a.write("note.md", "text\n");
    a.sync().await;
    b.sync().await;
    fs::remove_file(a.path("note.md")).unwrap();
    b.write("note.md", "text\nmore\n");
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("note.md"), "text\nmore\n");
    assert_eq!(b.read("note.md"), "text\nmore\n");
    fs::remove_file(b.path("note.md")).unwrap();
    b.sync().await;
    a.sync().await;
    assert!(a.names().is_empty() && b.names().is_empty());
}

#[tokio::test]
async fn the_same_new_path_on_two_devices_is_one_record() {
    let (mut a, mut b) = pair().await;
    a.write("same.md", "---\nx: 1\n---\nequal\nfrom a\n");
    b.write("same.md", "---\nx: 1\n---\nequal\nfrom b\n");
    a.write("equal.md", "nothing differs\n");
    b.write("equal.md", "nothing differs\n");
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.names(), ["equal.md", "same.md"]);
    assert_eq!(a.names(), b.names());
    // The phone's was written before the laptop's was synced.
    assert_eq!(a.read("same.md"), "---\nx: 1\n---\nequal\nfrom b\nfrom a\n");
    assert_eq!(b.read("same.md"), a.read("same.md"));
}

#[tokio::test]
async fn nothing_to_do_is_one_request_and_one_change_few() {
    let storage: SharedStorage = Arc::new(Memory::new());
    let mut a = Device::new("laptop", &storage);
    a.connect().await;
    for number in 0..300 {
        a.write(&format!("n{number}.md"), &format!("---\ntitle: {number}\n---\nbody\n"));
    }
    let first = a.sync().await;
    assert_eq!((first.pushed, first.generation), (300, 1));
    let idle = a.sync().await;
    assert_eq!((idle.pushed, idle.pulled, idle.generation), (0, 0, 1));
}

#[tokio::test]
async fn two_files_that_swap_their_names() {
    let (mut a, mut b) = pair().await;
    a.write("one.md", "1\n");
    a.write("two.md", "2\n");
    a.sync().await;
    b.sync().await;
    fs::rename(a.path("one.md"), a.path("tmp")).unwrap();
    fs::rename(a.path("two.md"), a.path("one.md")).unwrap();
    fs::rename(a.path("tmp"), a.path("two.md")).unwrap();
    a.sync().await;
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        assert_eq!((device.read("one.md"), device.read("two.md")), ("2\n".into(), "1\n".into()));
        assert_eq!(device.names(), ["one.md", "two.md"]);
    }
}

#[tokio::test]
async fn a_field_that_a_text_had_no_place_for_is_not_removed_by_moving_it() {
    let (mut a, mut b) = pair().await;
    a.write("note.txt", "Hello\n");
    a.sync().await;
    b.sync().await;
    let id = b.engine.find("note.txt").unwrap().to_string();
    let title = serde_json::Map::from_iter([("title".to_owned(), "Milk".into())]);
    b.engine.put("note", Some(&id), title).unwrap();
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.txt"), "Hello\n");
    }
    fs::rename(a.path("note.txt"), a.path("note.md")).unwrap();
    a.sync().await;
    b.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.md"), "---\ntitle: Milk\ntype: note\n---\nHello\n");
        assert_eq!(device.names(), ["note.md"]);
    }
}

#[tokio::test]
async fn a_field_that_was_edited_while_its_note_was_made_a_text_waits_once_it_is_none() {
    let (mut a, mut b) = pair().await;
    a.write("note.md", "---\ntitle: one\n---\nHello\n");
    a.sync().await;
    b.sync().await;
    b.write("note.md", "---\ntitle: two\n---\nHello\n");
    b.sync().await;
    fs::rename(a.path("note.md"), a.path("note.txt")).unwrap();
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("note.txt"), "---\ntitle: one\n---\nHello\n");
    fs::rename(b.path("note.txt"), b.path("note.md")).unwrap();
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.md"), "---\ntitle: one\n---\nHello\n");
        let conflicts = device.engine.store().conflicts(false).unwrap();
        let [stored] = conflicts.as_slice() else { panic!("{conflicts:?}") };
        let values = stored.conflict.values.iter().filter_map(|value| value.content.as_ref());
        assert!(values.into_iter().any(|content| content.value == "two"), "{stored:?}");
    }
}

#[tokio::test]
async fn front_matter_that_is_edited_as_text_is_front_matter_again() {
    let (mut a, mut b) = pair().await;
    a.write("note.md", "---\ntitle: one\ntype: task\nold: 1\n---\nHello\n");
    a.sync().await;
    fs::rename(a.path("note.md"), a.path("note.txt")).unwrap();
    a.sync().await;
    b.sync().await;
    b.write("note.txt", "---\ntitle: two\ntype: task\n---\nHello\n");
    b.sync().await;
    fs::rename(b.path("note.txt"), b.path("note.md")).unwrap();
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.md"), "---\ntitle: two\ntype: task\n---\nHello\n");
        assert_eq!(device.engine.store().conflicts(false).unwrap(), []);
    }
}

#[tokio::test]
async fn a_text_under_a_name_of_json_stays_a_text_when_its_object_is_edited() {
    let (mut a, mut b) = pair().await;
    a.write("c.json", "{\n  \"title\": \"t4\"\n}\n");
    b.write("c.json", "Hello\nthere\n");
    b.sync().await;
    a.sync().await;
    let shown = "{\n  \"title\": \"t4\",\n  \"body\": \"Hello\\nthere\\n\"\n}\n";
    assert_eq!(a.read("c.json"), shown);
    a.write("c.json", &shown.replace("t4", "t8"));
    b.write("c.json", "Hello you\nthere\n");
    a.sync().await;
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        let shown = "{\n  \"title\": \"t8\",\n  \"body\": \"Hello you\\nthere\\n\"\n}\n";
        assert_eq!(device.read("c.json"), shown);
    }
    a.write("c.json", &a.read("c.json").replace("there", "again"));
    b.write("c.json", &b.read("c.json").replace("you", "all"));
    a.sync().await;
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        assert!(device.read("c.json").contains("Hello all\\nagain\\n"));
    }
}

#[tokio::test]
async fn a_text_under_a_name_of_json_has_its_place_beside_any_field() {
    let (mut a, mut b) = pair().await;
    a.write("c.json", "{\"body\": \"mine\"}\n");
    b.write("c.json", "yours\n");
    b.sync().await;
    a.sync().await;
    b.sync().await;
    for device in [&a, &b] {
        let read = device.read("c.json");
        assert!(read.contains("\"body\": \"mine\"") && read.contains("\"body (2)\": \"yours\\n\""));
    }
    a.write("c.json", &a.read("c.json").replace("mine", "thine"));
    a.sync().await;
    b.sync().await;
    let read = b.read("c.json");
    assert!(read.contains("\"thine\"") && read.contains("\"body (2)\": \"yours\\n\""), "{read}");
}

/// Two notes of one name lie side by side, and which is which has to be found again.
#[tokio::test]
async fn a_lost_replica_takes_up_the_files_that_lie_beside_their_places() {
    let (mut a, mut b) = pair().await;
    let files = [("md", "text\n"), ("json", "{\"x\": 1}\n"), ("jpg", "\0")];
    for (kind, text) in files {
        a.write(&format!("a.{kind}"), text);
        b.write(&format!("b.{kind}"), &format!("{text} "));
    }
    a.sync().await;
    b.sync().await;
    for (kind, _) in files {
        fs::rename(a.path(&format!("a.{kind}")), a.path(&format!("n.{kind}"))).unwrap();
        fs::rename(b.path(&format!("b.{kind}")), b.path(&format!("n.{kind}"))).unwrap();
    }
    for _ in 0..2 {
        a.sync().await;
        b.sync().await;
    }
    let names = b.names();
    assert_eq!(names[1..], ["n (2).jpg", "n (2).json", "n (2).md", "n.jpg", "n.json", "n.md"]);
    for _ in 0..3 {
        lose_replica(&mut b);
        b.connect().await;
        b.sync().await;
        b.sync().await;
        a.sync().await;
        assert_eq!(b.names(), names);
        assert_eq!(a.names(), names);
        assert_eq!(b.engine.store().all_ids().unwrap().len(), files.len() * 2);
    }
}

fn lose_replica(device: &mut Device) {
    let (store, vault) = (Store::in_memory().unwrap(), Vault::open(device.folder.path()).unwrap());
    let random = fastrand::Rng::new();
    device.engine = Engine::new(store, Some(vault), Clock::system(), random, "phone").unwrap();
}

#[tokio::test]
async fn a_copy_that_somebody_made_is_no_file_beside_its_place() {
    for (name, copy, text) in [("n.md", "n (2).md", "one\n\ntwo\n"), ("p.jpg", "p (2).jpg", "\0")] {
        let (mut a, mut b) = pair().await;
        a.write(name, text);
        a.sync().await;
        b.sync().await;
        let id = a.engine.find(name).unwrap();
        b.write(copy, text);
        b.write(name, &format!("{text}\nmore\n"));
        lose_replica(&mut b);
        b.connect().await;
        b.sync().await;
        a.sync().await;
        for device in [&a, &b] {
            assert_eq!(device.read(copy), text);
            assert_eq!(device.engine.find(name).unwrap(), id);
        }
    }
}

#[tokio::test]
async fn a_clock_before_1970_is_one_that_is_behind() {
    let (mut a, mut b) = pair().await;
    a.engine.clock = Clock::custom(|| Stamp::from_millis(-86_400_000));
    a.write("note.md", "---\ntitle: one\n---\ntext\n");
    a.sync().await;
    b.sync().await;
    b.write("note.md", "---\ntitle: two\n---\ntext\n");
    b.sync().await;
    a.write("other.md", "text\n");
    a.sync().await;
    b.sync().await;
    assert_eq!(a.read("note.md"), "---\ntitle: two\n---\ntext\n");
    assert_eq!(b.read("other.md"), "text\n");
}
