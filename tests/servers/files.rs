//! Files that come, move and go.

use crate::common::{Device, Remote, pair, settle};

super::on_every_remote!(
    rename_and_edit,
    delete_and_edit_by_default,
    delete_and_edit_where_deletes_win,
    create_and_create,
    first_sync_of_two_full_vaults,
    restore_what_was_deleted,
    restore_an_old_version,
);

fn rename_and_edit(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("old.md", "---\nx: 1\n---\nSome text.\n");
    settle(&[&a, &b]);
    a.rename("old.md", "sub/new.md");
    b.edit("old.md", "Some", "Some more");
    assert_eq!(a.sync().number("renamed"), 1);
    settle(&[&b, &a]);
    assert_eq!(a.names(), ["sub/new.md"]);
    assert_eq!(a.read("sub/new.md"), "---\nx: 1\n---\nSome more text.\n");
}

fn delete_and_edit(remote: &Remote, rules: &str) -> (Device, Device) {
    let (a, b) = pair(remote);
    a.write("larder.toml", rules);
    a.write("note.md", "Some text.\n");
    settle(&[&a, &b]);
    a.delete("note.md");
    b.edit("note.md", "Some", "Some more");
    settle(&[&a, &b]);
    (a, b)
}

fn delete_and_edit_by_default(remote: &Remote) {
    let (a, b) = delete_and_edit(remote, "");
    assert_eq!(a.read("note.md"), "Some more text.\n");
    let conflict = a.run(&["conflicts", "--json"]).json();
    assert_eq!((&conflict["kind"], &conflict["rule"]), (&"deletion".into(), &"edit_wins".into()));
    // A deletion that has seen the edit stands.
    b.delete("note.md");
    settle(&[&b, &a]);
    assert_eq!(a.names(), ["larder.toml"]);
}

fn delete_and_edit_where_deletes_win(remote: &Remote) {
    let (a, b) = delete_and_edit(remote, "[[type]]\nname = \"note\"\ndelete = \"delete_wins\"\n");
    assert_eq!(a.names(), ["larder.toml"]);
    let conflict = b.run(&["conflicts", "--json"]).json();
    assert_eq!((&conflict["kind"], &conflict["rule"]), (&"deletion".into(), &"delete_wins".into()));
    // The unseen edit is not lost: any device can bring it back.
    a.run(&["restore", "note.md"]).exits(0);
    settle(&[&a, &b]);
    assert_eq!(b.read("note.md"), "Some more text.\n");
}

fn create_and_create(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("same.md", "---\nx: 1\n---\nequal\nfrom a\n");
    b.write("same.md", "---\nx: 1\n---\nequal\nfrom b\n");
    a.write("equal.md", "nothing differs\n");
    b.write("equal.md", "nothing differs\n");
    settle(&[&a, &b]);
    assert_eq!(a.names(), ["equal.md", "same.md"]);
    let text = a.read("same.md");
    assert!(text.starts_with("---\nx: 1\n---\nequal\n"), "{text}");
    assert!(text.contains("from a\n") && text.contains("from b\n"), "{text}");
    assert_eq!(a.read("equal.md"), "nothing differs\n");
}

/// Joining moves nothing, and the first sync overwrites nothing.
fn first_sync_of_two_full_vaults(remote: &Remote) {
    let (a, b) = (Device::new("laptop"), Device::new("phone"));
    a.write("a.md", "only here\n");
    b.write("deep/b.md", "only there\n");
    for device in [&a, &b] {
        device.write("both.md", "the same\n");
        let before = device.files();
        device.init(remote);
        assert_eq!(device.files(), before);
    }
    settle(&[&a, &b]);
    assert_eq!(a.names(), ["a.md", "both.md", "deep/b.md"]);
}

fn restore_what_was_deleted(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("note.md", "---\nx: 1 # one\n---\nSome text.\n");
    settle(&[&a, &b]);
    let before = a.files();
    b.delete("note.md");
    assert_eq!(b.sync().number("deleted"), 1);
    a.sync();
    assert_eq!(a.names(), [""; 0]);
    a.run(&["restore", "note.md"]).exits(0);
    assert_eq!(a.files(), before, "it is back at once");
    settle(&[&a, &b]);
    assert_eq!(b.files(), before);
}

fn restore_an_old_version(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("note.md", "---\nx: 1 # one\n---\nFirst.\n");
    settle(&[&a, &b]);
    a.write("note.md", "---\nx: 2 # two\ny: 3\n---\nSecond.\n");
    settle(&[&a, &b]);
    assert_eq!(b.run(&["show", "note.md", "--json"]).number("version"), 2);
    b.run(&["restore", "note.md", "--at", "1"]).exits(0);
    settle(&[&b, &a]);
    assert_eq!(a.read("note.md"), "---\nx: 1 # one\n---\nFirst.\n");
    assert_eq!(a.run(&["show", "note.md", "--json"]).number("version"), 3);
}
