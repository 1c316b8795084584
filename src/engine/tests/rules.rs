//! Rules that change while files and records do.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::{
    engine::{CompactOptions, EngineError},
    store::StoreError,
};

/// Two devices that both have this note.
async fn pair_with(note: &str) -> (Device, Device) {
    let (mut a, mut b) = pair().await;
    a.write("note.md", note);
    a.sync().await;
    b.sync().await;
    (a, b)
}

#[tokio::test]
async fn new_rules_and_an_edit_in_one_turn() {
    let start = "---\ntitle: Milk\n---\nHello\n";
    let (mut a, mut b) = pair_with(start).await;
    a.write("note.md", &start.replace("Milk", "Bread"));
    b.write("note.md", &start.replace("Milk", "Oats"));
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("note.md"), start.replace("Milk", "Oats"));
    a.write("larder.toml", "[[type]]\nname = \"note\"\n[type.fields]\ntitle = \"oldest\"\n");
    a.write("note.md", "---\ntitle: Oats\n---\nHello you\n");
    a.sync().await;
    b.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.md"), "---\ntitle: Bread\n---\nHello you\n");
        let (open, decided) = device.engine.store().conflict_counts().unwrap();
        assert_eq!((open, decided), (0, 1));
    }
}

#[tokio::test]
async fn what_waits_is_what_it_was_when_new_rules_and_a_deletion_meet_an_edit() {
    let start = "---\ntitle: Milk\n---\nHello\n";
    let (mut a, mut b) = pair_with(start).await;
    a.write("note.md", &start.replace("Milk", "Bread"));
    a.sync().await;
    b.write("note.md", &start.replace("Milk", "Oats"));
    fs::remove_file(a.path("note.md")).unwrap();
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("note.md"), start.replace("Milk", "Oats"));
    a.write("larder.toml", "[[type]]\nname = \"note\"\ndelete = \"delete_wins\"\n");
    a.sync().await;
    b.write("note.md", &start.replace("Milk", "Oats").replace("Hello", "Hello you"));
    b.sync().await;
    a.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.md"), "---\ntitle: Oats\n---\nHello you\n");
        let listed = device.engine.store().conflicts(false).unwrap();
        assert!(format!("{listed:?}").contains("Bread"), "{listed:?}");
    }
}

#[tokio::test]
async fn a_deleted_private_file_does_not_come_back_when_its_type_is_shared() {
    let (mut a, mut b) = pair().await;
    a.write("larder.toml", "[[type]]\nname = \"secret\"\nfiles = [\"s/**\"]\nsync = false\n");
    a.write("s/gone.md", "gone\n");
    a.write("s/kept.md", "kept\n");
    a.sync().await;
    fs::remove_file(a.path("s/gone.md")).unwrap();
    a.sync().await;
    a.write("larder.toml", "[[type]]\nname = \"secret\"\nfiles = [\"s/**\"]\n");
    a.sync().await;
    b.sync().await;
    for device in [&a, &b] {
        assert_eq!(names_in(&device.path("s")), ["kept.md"]);
    }
}

#[tokio::test]
async fn private_files_of_a_second_device_stay_there_from_the_first_turn_on() {
    let (mut a, mut b) = pair().await;
    a.write("larder.toml", "[[type]]\nname = \"secret\"\nfiles = [\"s/**\"]\nsync = false\n");
    a.sync().await;
    b.write("s/mine.md", "private\n");
    b.write("ours.md", "shared\n");
    b.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.names(), ["larder.toml", "ours.md"]);
    assert_eq!(b.read("s/mine.md"), "private\n");
}

#[tokio::test]
async fn two_versions_too_long_for_one_file_do_not_fall_out_of_sync() {
    let (mut a, mut b) = pair().await;
    a.write("long.md", "start\n");
    a.sync().await;
    b.sync().await;
    a.write("long.md", &"of the laptop ".repeat(50_000));
    b.write("long.md", &"of the phone ".repeat(50_000));
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("long.md"), b.read("long.md"));
    assert_eq!(a.engine.store().conflict_counts().unwrap(), (1, 0));
    a.write("long.md", "short\n");
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("long.md"), "short\n");
}

const SHARED: &str = "[[type]]\nname = \"own\"\nfiles = [\"own/**\"]\n";
const PRIVATE: &str = "[[type]]\nname = \"own\"\nfiles = [\"own/**\"]\nsync = false\n";

/// What a device that comes new finds below `own/`, once everything was written anew.
async fn what_was_sent(from: &mut Device) -> String {
    let options = crate::engine::CompactOptions { force: true, dry_run: false };
    for _ in 0..2 {
        from.engine
            .compact(&from.storage.clone(), &Traffic::new(), options, &Silent)
            .await
            .unwrap();
    }
    let mut new = Device::new("tablet", &from.storage);
    new.connect().await;
    new.sync().await;
    new.read("own/x.md")
}

#[tokio::test]
async fn rules_that_come_in_a_later_batch_keep_what_an_earlier_one_found() {
    for rules in [None, Some(SHARED)] {
        let (mut a, mut b) = pair().await;
        if let Some(rules) = rules {
            a.write("larder.toml", rules);
        }
        a.write("own/x.md", "one\n");
        a.sync().await;
        b.sync().await;
        a.write("larder.toml", PRIVATE);
        a.sync().await;
        b.write("own/x.md", "two, and private by now\n");
        b.engine.set_batch_size(crate::engine::BatchSize { bytes: u64::MAX, records: 1 });
        b.sync().await;
        assert_eq!(b.read("own/x.md"), "two, and private by now\n");
        assert_eq!(what_was_sent(&mut b).await, "one\n");
    }
}

#[tokio::test]
async fn rules_in_the_place_of_others_are_in_force_in_the_turn_that_brings_them() {
    let (mut a, mut b) = pair().await;
    a.write("larder.toml", SHARED);
    a.write("own/x.md", "one\n");
    a.sync().await;
    b.sync().await;
    a.write("larder.toml", PRIVATE);
    a.sync().await;
    b.write("own/x.md", "two, and private by now\n");
    b.write("own/new.bin", "no text: \0");
    let report = b.sync().await;
    assert_eq!(report.pushed, 0);
    assert_eq!(what_was_sent(&mut b).await, "one\n");
    let folder = larder_providers::RemotePath::new("blobs").unwrap();
    let contents = b.storage.list(&folder).await.map(|listing| listing.entries);
    assert!(contents.is_ok_and(|contents| contents.is_empty()), "a private content was sent");
}

#[tokio::test]
async fn rules_that_have_no_file_yet_are_in_force() {
    let (mut a, mut b) = pair().await;
    a.write("larder.toml", PRIVATE);
    a.sync().await;
    fs::create_dir_all(b.path("larder.toml/in-its-place")).unwrap();
    b.write("own/x.md", "private\n");
    for _ in 0..2 {
        assert_eq!(b.sync().await.pushed, 0);
    }
}

#[tokio::test]
async fn a_deletion_that_a_later_batch_lets_win_takes_the_file() {
    let rules = |wins: &str| format!("[[type]]\nname = \"note\"\ndelete = \"{wins}\"\n");
    for (before, after, is_there) in
        [("edit_wins", "delete_wins", false), ("delete_wins", "edit_wins", true)]
    {
        let (mut a, mut b) = pair().await;
        a.write("larder.toml", &rules(before));
        a.write("x.md", "one\n");
        a.sync().await;
        b.sync().await;
        fs::remove_file(a.path("x.md")).unwrap();
        a.sync().await;
        a.write("larder.toml", &rules(after));
        a.sync().await;
        b.write("x.md", "two\n");
        b.engine.set_batch_size(crate::engine::BatchSize { bytes: u64::MAX, records: 1 });
        b.sync().await;
        a.sync().await;
        for device in [&a, &b] {
            assert_eq!(device.path("x.md").exists(), is_there, "{after}");
        }
    }
}

#[tokio::test]
async fn a_new_device_shows_what_the_rules_choose_though_they_come_last() {
    let (mut a, mut b) = pair().await;
    let note = |title: &str| format!("---\ntitle: {title}\n---\nHello\n");
    // The latest files come first.
    a.write("larder.toml", "[[type]]\nname = \"note\"\n[type.fields]\ntitle = \"oldest\"\n");
    a.sync().await;
    a.write("note.md", &note("Milk"));
    a.sync().await;
    b.sync().await;
    a.write("note.md", &note("Bread"));
    b.write("note.md", &note("Oats"));
    a.sync().await;
    b.sync().await;
    let mut c = Device::new("tablet", &a.storage);
    c.connect().await;
    c.engine.set_batch_size(crate::engine::BatchSize { bytes: u64::MAX, records: 1 });
    let report = c.sync().await;
    assert_eq!(c.read("note.md"), note("Bread"));
    assert_eq!((report.pushed, report.pulled, report.notes), (0, 2, Vec::new()));
}

#[tokio::test]
async fn a_conflict_that_new_rules_do_not_know_is_settled() {
    let (mut a, mut b) = pair().await;
    let note = |tag: &str| format!("---\ntags: [{tag}]\n---\nHello\n");
    let rules =
        |rule: &str| format!("[[type]]\nname = \"note\"\n[type.fields]\ntags = \"{rule}\"\n");
    a.write("larder.toml", &rules("newest"));
    a.write("note.md", &note("milk"));
    a.sync().await;
    b.sync().await;
    a.write("note.md", &note("bread"));
    b.write("note.md", &note("oats"));
    a.sync().await;
    b.sync().await;
    a.sync().await;
    for (rule, decided) in [("union", 0), ("longest", 1)] {
        for device in [&a, &b] {
            let counts = device.engine.store().conflict_counts().unwrap();
            assert_eq!(counts, (0, 1 - decided), "before {rule}");
        }
        a.write("larder.toml", &rules(rule));
        a.sync().await;
        b.sync().await;
    }
    assert_eq!(a.engine.store().conflict_counts().unwrap(), (0, 1));
    // The disk is full while the records are judged anew.
    let may_commit = Arc::new(AtomicBool::new(false));
    let gate = may_commit.clone();
    a.engine.store.set_commit_gate(Box::new(move || gate.load(SeqCst)));
    a.write("larder.toml", &rules("union"));
    let (storage, options) = (a.storage.clone(), TurnOptions::default());
    let stopped = a.engine.turn(&storage, &Traffic::new(), options, &Silent).await.unwrap_err();
    assert!(matches!(stopped, EngineError::Store(StoreError::Stopped)), "{stopped}");
    may_commit.store(true, SeqCst);
    a.sync().await;
    assert_eq!(a.engine.store().conflict_counts().unwrap(), (0, 0));
}

#[tokio::test]
async fn a_dry_run_keeps_no_rules() {
    let (mut a, mut b) = pair().await;
    a.write("larder.toml", "[[type]]\nname = \"secret\"\nfiles = [\"s/**\"]\n");
    a.sync().await;
    let before = b.engine.store().rules().unwrap();
    let (storage, options) =
        (b.storage.clone(), TurnOptions { dry_run: true, ..TurnOptions::default() });
    b.engine.turn(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    let after = b.engine.store().rules().unwrap();
    assert_eq!(
        after.map(|rules| rules.text),
        before.map(|rules| rules.text).or(Some(String::new()))
    );
}

#[tokio::test]
async fn what_is_kept_here_stays_on_a_remote_that_is_left_and_joined_again() {
    let (mut a, mut b) = pair().await;
    a.write("s/x.md", "shared\n");
    a.write("y.md", "other\n");
    a.sync().await;
    b.sync().await;
    a.write("larder.toml", "[[type]]\nname = \"own\"\nfiles = [\"s/**\"]\nsync = false\n");
    a.sync().await;
    a.write("s/x.md", "edited since\n");
    a.sync().await;
    let id = a.engine.store().bindings().unwrap()[0].id.clone();
    a.engine.remove_remote(&id).unwrap();
    a.connect().await;
    a.sync().await;
    let (storage, options) = (a.storage.clone(), CompactOptions { force: true, dry_run: false });
    a.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    let mut c = Device::new("tablet", &storage);
    c.connect().await;
    c.sync().await;
    assert_eq!((c.read("y.md"), c.read("s/x.md")), ("other\n".to_owned(), "shared\n".to_owned()));
}
