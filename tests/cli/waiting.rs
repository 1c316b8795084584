//! What larder may not write, move, remove or read yet.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use crate::common::{Device, Ran, Remote, nobody::ran_as_nobody, pair, settle};

fn set_mode(device: &Device, path: &str, mode: u32) {
    fs::set_permissions(device.root().join(path), Permissions::from_mode(mode)).unwrap();
}

/// What a sync tells a person, without what it cost.
fn summary(ran: &Ran) -> &str {
    ran.stdout.split(". (").next().unwrap()
}

#[test]
fn a_vault_that_may_not_be_written() {
    if ran_as_nobody("cli::waiting::a_vault_that_may_not_be_written") {
        return;
    }
    let (a, b) = pair(&Remote::folder());
    for name in ["edited.md", "gone.md", "moved.md"] {
        a.write(name, format!("{name}\n"));
    }
    settle(&[&a, &b]);
    a.edit("edited.md", "edited", "changed");
    a.delete("gone.md");
    a.rename("moved.md", "to.md");
    a.write("new.md", "new\n");
    a.sync();
    set_mode(&b, "", 0o555);
    let ran = b.run(&["sync", "-v"]).exits(0);
    assert_eq!(
        summary(&ran),
        "4 received, 1 moved, 1 deleted; 3 records in step, but 4 files wait here"
    );
    for line in ["update edited.md", "create new.md", "remove gone.md", "move moved.md -> to.md"] {
        assert!(ran.stdout.contains(&format!("  {line} (waits)\n")), "{ran}");
    }
    let ran = b.run(&["sync"]).exits(0);
    assert_eq!(summary(&ran), "Nothing to do: 3 records in step, but 4 files wait here");
    let ran = b.run(&["status"]).exits(0);
    let told = "waiting    4 files here, until a sync can write, move or remove them: ";
    assert!(ran.stdout.contains(told) && ran.stdout.contains(", 1 more\n"), "{ran}");
    assert!(!b.run(&["status", "-v"]).exits(0).stdout.contains("1 more"));
    let status = b.run(&["status", "--json"]).exits(0).json();
    assert_eq!((&status["state"], &status["filesWaiting"]), (&"pending".into(), &4.into()));
    set_mode(&b, "", 0o755);
    let ran = b.run(&["sync", "-v"]).exits(0);
    assert_eq!(summary(&ran), "4 files that waited brought up to date; 3 records in step");
    assert!(ran.stdout.contains("  update edited.md\n"), "{ran}");
    assert_eq!((b.state().as_str(), a.files()), ("synced", b.files()));
}

/// The content of a photo lies on the remote alone once it was replaced.
#[test]
fn a_photo_that_is_brought_back() {
    let device = Device::joined("laptop", &Remote::folder());
    for content in [[0xff; 100], [0xfe; 100]] {
        device.write("p.jpg", content);
        device.sync();
    }
    let ran = device.run(&["restore", "p.jpg"]).exits(0);
    let told = "Restored p.jpg as of v1; its content is not here, and comes with the next sync.\n";
    assert_eq!(ran.stdout, told);
    assert!(
        device.run(&["show", "p.jpg"]).stdout.contains("\nfile      waits for the next sync\n")
    );
    assert_eq!(device.run(&["show", "p.jpg", "--json"]).json()["fileWaits"], true);
    assert_eq!(device.run(&["status", "--json"]).json()["filesWaiting"], 1);
    device.sync();
    assert_eq!(fs::read(device.root().join("p.jpg")).unwrap(), [0xff; 100]);
    assert_eq!(device.run(&["show", "p.jpg", "--json"]).json()["fileWaits"], false);
    device.write("note.md", "text\n");
    device.sync();
    device.delete("p.jpg");
    device.delete("note.md");
    let ran = device.run(&["restore", "--missing"]).exits(0);
    assert_eq!(ran.stdout, "Put 1 file back; 1 waits for the next sync.\n");
    device.sync();
    assert_eq!(device.names(), ["note.md", "p.jpg"]);
    device.delete("note.md");
    assert_eq!(device.run(&["restore", "--missing"]).stdout, "Put 1 file back.\n");
}

#[test]
fn files_and_folders_that_cannot_be_read() {
    if ran_as_nobody("cli::waiting::files_and_folders_that_cannot_be_read") {
        return;
    }
    let (a, b) = pair(&Remote::folder());
    a.write("note.md", "one\n");
    a.write("sub/below.md", "below\n");
    settle(&[&a, &b]);
    a.edit("note.md", "one", "two");
    a.sync();
    b.write("note.md", "one\nthree\n");
    set_mode(&b, "note.md", 0);
    set_mode(&b, "sub", 0);
    let ran = b.run(&["sync"]).exits(0);
    assert!(ran.stdout.contains("note.md: waits: what lies there cannot be read"), "{ran}");
    assert!(ran.stdout.contains("2 files or folders are left alone"), "{ran}");
    set_mode(&b, "note.md", 0o644);
    set_mode(&b, "sub", 0o755);
    settle(&[&b, &a]);
    assert_eq!(a.read("note.md"), "two\nthree\n");
}

#[test]
fn what_has_the_place_of_a_file_is_named() {
    let (a, b) = pair(&Remote::folder());
    for name in ["folder.md", "link.md", "ignored.md"] {
        a.write(name, "theirs\n");
    }
    fs::create_dir(b.root().join("folder.md")).unwrap();
    std::os::unix::fs::symlink("elsewhere", b.root().join("link.md")).unwrap();
    b.write(".larderignore", "ignored.md\n");
    b.write("ignored.md", "own\n");
    a.sync();
    let ran = b.run(&["sync"]).exits(0);
    for (name, why) in [
        ("folder.md", "the name is taken by a folder; rename one of the two"),
        ("link.md", "the name is taken by a symbolic link; rename one of the two"),
        ("ignored.md", "a file that `.larderignore` names has its place"),
    ] {
        let line = ran.stdout.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.contains(why)), "{ran}");
    }
    fs::remove_dir(b.root().join("folder.md")).unwrap();
    b.delete("link.md");
    b.delete("ignored.md");
    b.sync();
    assert_eq!((b.read("folder.md"), b.read("link.md")), ("theirs\n".into(), "theirs\n".into()));
    assert_eq!(b.read("ignored.md"), "theirs\n");
}

#[test]
fn a_replica_that_may_not_be_written() {
    if ran_as_nobody("cli::waiting::a_replica_that_may_not_be_written") {
        return;
    }
    let device = Device::joined("laptop", &Remote::folder());
    device.write("note.md", "text\n");
    device.sync();
    let told = |ran: &Ran, file: &str| {
        let why = format!("/.larder/{file}: no permission; make replica.db, replica.db-wal and");
        assert!(ran.stderr.contains(&why), "{ran}");
    };
    set_mode(&device, ".larder/replica.db", 0o400);
    told(&device.run(&["put", "--type", "x", "{}"]).exits(1), "replica.db");
    told(&device.run(&["sync"]).exits(1), "replica.db");
    assert!(!device.root().join(".larder/replica.db-wal").exists(), "none that may not be written");
    // Who only looks needs no more, and leaves such files.
    device.run(&["list"]).exits(0);
    set_mode(&device, ".larder/replica.db", 0o600);
    told(&device.run(&["sync"]).exits(1), "replica.db-wal");
    set_mode(&device, ".larder/replica.db-wal", 0o600);
    told(&device.run(&["sync"]).exits(1), "replica.db-shm");
    set_mode(&device, ".larder/replica.db-shm", 0o600);
    device.sync();
    set_mode(&device, ".larder/replica.db", 0);
    for args in [&["sync"][..], &["list"]] {
        told(&device.run(args).exits(1), "replica.db");
    }
}
