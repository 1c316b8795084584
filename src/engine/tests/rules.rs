//! Rules that change while files and records do.

use super::*;

#[tokio::test]
async fn new_rules_and_an_edit_in_one_turn() {
    let (mut a, mut b) = pair().await;
    let start = "---\ntitle: Milk\n---\nHello\n";
    a.write("note.md", start);
    a.sync().await;
    b.sync().await;
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
    b.sync().await;
    for device in [&a, &b] {
        assert_eq!(device.read("note.md"), "---\ntitle: Bread\n---\nHello you\n");
        let (open, decided) = device.engine.store().conflict_counts().unwrap();
        assert_eq!((open, decided), (0, 1));
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
