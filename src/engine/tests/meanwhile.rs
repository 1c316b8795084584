//! What the user does while a turn is under way, or between a command and the next turn.

use serde_json::json;

use super::*;
use crate::{
    engine::{At, CompactOptions},
    remote::tiers::Pace,
};

/// Writes a file while the next turn is in its transaction of that number, of which the first comes
/// before anything is written to the vault. After `commits` of them the store fails, as if the process
/// had ended.
#[allow(clippy::disallowed_methods, reason = "a user does not write atomically either")]
fn write_in(device: &mut Device, transaction: u32, name: &str, text: &str, commits: u32) {
    let (path, text, mut number) = (device.path(name), text.to_owned(), 0);
    device.engine.store_mut().set_commit_gate(Box::new(move || {
        number += 1;
        if number == transaction {
            fs::write(&path, &text).unwrap();
        }
        number <= commits
    }));
}

fn write_meanwhile(device: &mut Device, name: &str, text: &str) {
    write_in(device, 1, name, text, u32::MAX);
}

fn fields(device: &mut Device, type_name: &str, id: Option<&str>, fields: serde_json::Value) {
    let serde_json::Value::Object(fields) = fields else { return };
    device.engine.put(type_name, id, fields).unwrap();
}

fn id_of(device: &Device, name: &str) -> String {
    device.engine.find(name).unwrap().to_string()
}

#[tokio::test]
async fn an_edit_made_between_scan_and_write_meets_what_came_from_the_remote() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\nstatus: open\n---\nHello\n";
    a.write("note.md", start);
    a.sync().await;
    b.sync().await;
    b.write("note.md", &start.replace("Milk", "Bread"));
    b.sync().await;
    write_meanwhile(&mut a, "note.md", &start.replace("open", "done"));
    a.sync().await;
    assert_eq!(a.read("note.md"), start.replace("open", "done"));
    a.sync().await;
    b.sync().await;
    let both = "---\ntitle: Bread\nstatus: done\n---\nHello\n";
    assert_eq!(a.read("note.md"), both);
    assert_eq!(b.read("note.md"), both);
    assert_eq!(a.engine.store().conflict_counts().unwrap(), (0, 0));
}

#[tokio::test]
async fn an_edit_made_while_a_merge_is_written_meets_the_merge() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\n---\nOne.\n\nTwo.\n\nThree.\n";
    a.write("note.md", start);
    a.sync().await;
    b.sync().await;
    b.write("note.md", &start.replace("One.", "One by b."));
    b.sync().await;
    let ours = start.replace("Two.", "Two by a.");
    a.write("note.md", &ours);
    write_meanwhile(&mut a, "note.md", &ours.replace("Milk", "Bread"));
    a.sync().await;
    a.sync().await;
    b.sync().await;
    let all = "---\ntitle: Bread\n---\nOne by b.\n\nTwo by a.\n\nThree.\n";
    assert_eq!(a.read("note.md"), all);
    assert_eq!(b.read("note.md"), all);
}

#[tokio::test]
async fn a_command_and_an_unscanned_edit_of_the_file_are_both_kept() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\n---\nHello\n";
    a.write("note.md", start);
    a.sync().await;
    let id = id_of(&a, "note.md");
    a.write("note.md", &start.replace("Hello", "Hello you"));
    fields(&mut a, "note", Some(&id), json!({"title": "Bread"}));
    a.sync().await;
    b.sync().await;
    let both = "---\ntitle: Bread\ntype: note\n---\nHello you\n";
    assert_eq!(a.read("note.md"), both);
    assert_eq!(b.read("note.md"), both);
}

#[tokio::test]
async fn three_edits_before_the_file_can_be_written_are_all_kept() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\nstatus: open\n---\nHello\n";
    a.write("note.md", start);
    a.sync().await;
    let id = id_of(&a, "note.md");
    a.write("note.md", &start.replace("Hello", "Hello you"));
    fields(&mut a, "note", Some(&id), json!({"title": "Bread"}));
    let later = a.read("note.md").replace("open", "done");
    write_meanwhile(&mut a, "note.md", &later);
    a.sync().await;
    write_meanwhile(&mut a, "note.md", &later.replace("you", "you two"));
    a.sync().await;
    a.sync().await;
    b.sync().await;
    let all = "---\ntitle: Bread\nstatus: done\ntype: note\n---\nHello you two\n";
    assert_eq!(a.read("note.md"), all);
    assert_eq!(b.read("note.md"), all);
}

#[tokio::test]
async fn a_record_made_by_command_gets_the_file_that_names_it() {
    let (mut a, mut b) = pair().await;
    fields(&mut a, "task", Some("t1"), json!({"title": "Milk", "status": "open"}));
    a.sync().await;
    a.write("t.md", "---\nid: t1\ntitle: Milk\n---\nHello\n");
    a.sync().await;
    b.sync().await;
    for device in [&a, &b] {
        let text = device.read("t.md");
        for line in ["title: Milk\n", "status: open\n", "type: task\n", "id: t1\n", "Hello\n"] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
    }
}

#[tokio::test]
async fn a_file_changed_while_its_deletion_arrives_stays_with_the_change() {
    let (mut a, mut b) = pair().await;
    a.write("note.md", "text\n");
    a.sync().await;
    b.sync().await;
    fs::remove_file(b.path("note.md")).unwrap();
    b.sync().await;
    write_meanwhile(&mut a, "note.md", "text\nmore\n");
    a.sync().await;
    a.sync().await;
    b.sync().await;
    assert_eq!(a.read("note.md"), "text\nmore\n");
    assert_eq!(b.read("note.md"), "text\nmore\n");
}

#[tokio::test]
async fn a_crash_before_the_vault_is_written_and_an_edit_after_it() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\nstatus: open\n---\nHello\n";
    a.write("note.md", start);
    a.sync().await;
    b.sync().await;
    b.write("note.md", &start.replace("Milk", "Bread"));
    b.sync().await;
    // The turn comes to the point where it would write the file, and ends there.
    write_in(&mut a, 1, "note.md", &start.replace("open", "done"), 1);
    let (storage, traffic) = (a.storage.clone(), Traffic::new());
    let turn = a.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
    assert!(turn.await.is_err());
    assert_eq!(a.engine.store().intents().unwrap().len(), 1);
    a.engine.store_mut().set_commit_gate(Box::new(|| true));
    a.sync().await;
    b.sync().await;
    let both = "---\ntitle: Bread\nstatus: done\n---\nHello\n";
    assert_eq!(a.read("note.md"), both);
    assert_eq!(b.read("note.md"), both);
}

/// Found by processes that were killed: in a text with empty lines what the cut turn had not written
/// yet was taken for something that its owner had removed.
#[tokio::test]
async fn a_crash_while_files_wait_for_their_places_and_an_edit_after_it() {
    for commits in [1, 2] {
        let (mut a, mut b) = pair().await;
        let start = "---\ntitle: Milk\nstatus: open\n---\nHello\n";
        a.write("note.md", start);
        a.sync().await;
        b.sync().await;
        b.write("note.md", &format!("{start}\nby the other\n"));
        b.sync().await;
        let edited = format!("{start}\nby the owner\n");
        write_in(&mut a, 2, "note.md", &edited, commits);
        let (storage, traffic) = (a.storage.clone(), Traffic::new());
        let turn = a.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
        assert!(turn.await.is_err());
        let intents = a.engine.store().intents().unwrap();
        assert_eq!((intents.len(), intents[0].temp.is_some()), (1, commits == 2));
        assert_eq!(a.read("note.md"), edited);
        a.engine.store_mut().set_commit_gate(Box::new(|| true));
        a.sync().await;
        b.sync().await;
        let both = a.read("note.md");
        assert_eq!(b.read("note.md"), both);
        for line in ["\nby the other\n", "\nby the owner\n"] {
            assert!(both.contains(line), "{line:?} is lost: {both}");
        }
        let names = fs::read_dir(a.path("")).unwrap().map(|file| file.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("tmp")));
    }
}

/// Found by processes that were killed: what the cut turn had written was taken for the work of the
/// file's owner, and won against what others wrote since.
#[tokio::test]
async fn a_crash_after_the_vault_is_written_and_an_edit_after_it() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\nstatus: open\nold: 1\n---\nHello\n\nMiddle\n\nEnd\n";
    a.write("note.md", start);
    a.sync().await;
    b.sync().await;
    let by_b =
        start.replace("Milk", "Bread").replace("Hello", "Hello there").replace("old: 1\n", "");
    b.write("note.md", &by_b);
    b.sync().await;
    let mut left = 2;
    a.engine.store_mut().set_commit_gate(Box::new(move || {
        left -= 1;
        left >= 0
    }));
    let (storage, traffic) = (a.storage.clone(), Traffic::new());
    let turn = a.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
    assert!(turn.await.is_err());
    a.engine.store_mut().set_commit_gate(Box::new(|| true));
    assert_eq!((a.read("note.md"), a.engine.store().intents().unwrap().len()), (by_b.clone(), 1));
    // The owner goes on from there, while the other changes again what was being written.
    a.write("note.md", &by_b.replace("open", "done").replace("End", "The end"));
    b.write("note.md", &by_b.replace("Bread", "Cake"));
    b.sync().await;
    a.sync().await;
    b.sync().await;
    let both = by_b.replace("Bread", "Cake").replace("open", "done").replace("End", "The end");
    assert_eq!(a.read("note.md"), both);
    assert_eq!(b.read("note.md"), both);
    assert_eq!(a.engine.store().conflict_counts().unwrap(), (0, 0));
}

/// Found by processes that were killed: the file had no row any more, and was a new one at its new place.
#[tokio::test]
async fn a_crash_while_a_file_is_written_and_a_rename_after_it() {
    for (old, new, start) in [
        ("note.md", "other.md", "text\n"),
        ("a.jpg", "sub/a.jpg", "\0\u{1}"),
        ("old/note.md", "new/note.md", "text\n"),
    ] {
        let edited = format!("{start}\nby the other\n");
        let mut cuts = 0;
        for commits in 1.. {
            let (mut a, mut b) = pair().await;
            a.write(old, start);
            a.sync().await;
            b.sync().await;
            b.write(old, &edited);
            b.sync().await;
            write_in(&mut a, 0, old, "", commits);
            let (storage, traffic) = (a.storage.clone(), Traffic::new());
            let turn = a.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
            if turn.await.is_ok() {
                break;
            }
            a.engine.store_mut().set_commit_gate(Box::new(|| true));
            cuts += 1;
            if old != "note.md" && a.read(old) == edited {
                // Open: nothing tells of a content that it took its place, and then left it, and of a
                // folder that is gone what was in it.
                continue;
            }
            match old.split_once('/') {
                Some((folder, _)) => fs::rename(a.path(folder), a.path("new")).unwrap(),
                None => {
                    fs::create_dir_all(a.path("sub")).unwrap();
                    fs::rename(a.path(old), a.path(new)).unwrap();
                }
            }
            for _ in 0..2 {
                a.sync().await;
                b.sync().await;
            }
            for device in [&a, &b] {
                assert_eq!(device.read(new), edited, "{new} after {commits} transactions");
                assert!(!device.path(old).exists(), "{old} after {commits} transactions");
            }
        }
        assert!(cuts > 2, "{old}: {cuts}");
    }
}

/// Found by processes that were killed: nothing ever took back that the file was behind.
#[tokio::test]
async fn a_crash_after_a_file_was_removed_leaves_none_behind() {
    let (mut a, mut b) = pair().await;
    a.write("note.md", "text\n");
    a.sync().await;
    b.sync().await;
    let id = b.engine.find("note.md").unwrap();
    fs::remove_file(a.path("note.md")).unwrap();
    a.sync().await;
    write_in(&mut b, 0, "note.md", "", 1);
    let (storage, traffic) = (b.storage.clone(), Traffic::new());
    let turn = b.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
    assert!(turn.await.is_err());
    assert_eq!(b.names(), [""; 0]);
    b.engine.store_mut().set_commit_gate(Box::new(|| true));
    b.sync().await;
    let record = b.engine.store().record(&id).unwrap().unwrap();
    assert_eq!((record.shown, record.file), (None, None));
}

#[tokio::test]
async fn what_was_made_under_an_old_identity_survives_merges_of_runs() {
    let storage: SharedStorage = Arc::new(Memory::new());
    let mut a = Device::new("laptop", &storage);
    a.connect().await;
    a.engine.set_pace(Pace { deltas: 1, entities: 1, factor: 2, bound: 0, ..Pace::default() });
    a.write("first.md", "first\n");
    a.sync().await;
    // Made here and not sent yet when the replica comes to lie elsewhere.
    let fields = serde_json::Map::from_iter([("title".to_owned(), "Kept".into())]);
    a.engine.put("task", None, fields).unwrap();
    let mut replica = a.engine.replica().unwrap();
    replica.body = Some("elsewhere".to_owned());
    a.engine.store.set_replica(&replica).unwrap();
    a.engine.settle_identity().unwrap();
    for number in 0..3 {
        a.write(&format!("{number}.md"), "more\n");
        a.sync().await;
    }
    a.engine.compact(&storage, &Traffic::new(), CompactOptions::default(), &Silent).await.unwrap();
    let mut b = Device::new("phone", &storage);
    b.connect().await;
    b.sync().await;
    assert_eq!(b.engine.store().all_ids().unwrap(), a.engine.store().all_ids().unwrap());
}

#[tokio::test]
async fn a_command_on_a_record_whose_file_was_moved_leaves_one_file() {
    let (mut a, _b) = pair().await;
    a.write("note.md", "---\ntitle: Milk\n---\nHello\n");
    a.sync().await;
    let id = id_of(&a, "note.md");
    fs::rename(a.path("note.md"), a.path("new.md")).unwrap();
    fields(&mut a, "note", Some(&id), json!({"title": "Oats"}));
    a.sync().await;
    a.sync().await;
    assert_eq!(a.names(), ["new.md"]);
    assert!(a.read("new.md").contains("title: Oats"));
}

/// Whoever gives a command has seen what they wrote into the file.
#[tokio::test]
async fn commands_go_by_what_the_file_says() {
    let note = "---\ntitle: Milk\ntype: note\n---\nHello\n";
    let (mut a, _b) = pair().await;
    a.write("note.md", note);
    a.sync().await;
    let id = id_of(&a, "note.md");
    a.write("note.md", &note.replace("Milk", "Oats"));
    fields(&mut a, "note", Some(&id), json!({"title": "Milk"}));
    assert_eq!(a.read("note.md"), note);
    a.write("note.md", &note.replace("Milk", "Oats"));
    a.sync().await;
    a.write("note.md", &note.replace("Milk", "Oats").replace("Hello", "Bye"));
    let id = a.engine.find("note.md").unwrap();
    a.engine.restore(&id, At::Version(1)).unwrap();
    assert_eq!(a.read("note.md"), note);
}
