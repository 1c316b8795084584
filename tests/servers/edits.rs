//! Two and three devices that edit one note.

use crate::common::{Device, Remote, pair, settle};

super::on_every_remote!(
    different_fields,
    same_field,
    same_paragraph,
    overlapping_words,
    lists,
    three_devices,
);

const TASK: &str = "---
title: Buy milk   # the good one
status: open
tags:
  - shop
  - food
---
One two three.

Four.
";

/// Both devices have the note, edit it without hearing of each other, and end with the same.
fn both_edit(remote: &Remote, here: &[(&str, &str)], there: &[(&str, &str)]) -> (Device, Device) {
    let (a, b) = pair(remote);
    a.write("task.md", TASK);
    settle(&[&a, &b]);
    here.iter().for_each(|(from, to)| a.edit("task.md", from, to));
    there.iter().for_each(|(from, to)| b.edit("task.md", from, to));
    settle(&[&a, &b]);
    (a, b)
}

fn different_fields(remote: &Remote) {
    let (a, _) = both_edit(remote, &[("open", "done")], &[("Buy milk", "Buy oat milk")]);
    assert_eq!(a.read("task.md"), TASK.replace("open", "done").replace("milk", "oat milk"));
    assert_eq!(a.run(&["conflicts", "--json"]).exits(0).stdout, "");
}

fn same_field(remote: &Remote) {
    let (a, b) = both_edit(remote, &[("Buy milk", "Buy bread")], &[("Buy milk", "Buy oat milk")]);
    assert_eq!(a.read("task.md"), TASK.replace("milk", "oat milk"), "the newest wins");
    for device in [&a, &b] {
        let conflict = device.run(&["conflicts", "--json"]).exits(0).json();
        assert_eq!((&conflict["field"], &conflict["state"]), (&"title".into(), &"decided".into()));
        let values: Vec<_> = conflict["values"].as_array().unwrap().iter().collect();
        let has = |text| values.iter().any(|value| value["value"] == text);
        assert!(values.len() == 2 && has("Buy bread") && has("Buy oat milk"), "{conflict}");
    }
}

fn same_paragraph(remote: &Remote) {
    let (a, _) = both_edit(
        remote,
        &[("One two", "One 2"), ("Four.\n", "Four.\nFive.\n")],
        &[("three.", "3."), ("Four.", "Four!")],
    );
    assert!(
        a.read("task.md").ends_with("---\nOne 2 3.\n\nFour!\nFive.\n"),
        "{}",
        a.read("task.md")
    );
    assert_eq!(a.run(&["conflicts"]).exits(0).stdout, "No conflicts.\n");
}

fn overlapping_words(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("task.md", TASK);
    settle(&[&a, &b]);
    a.edit("task.md", "two", "TWO");
    b.edit("task.md", "two", "zwei");
    a.sync().exits(0);
    let met = b.sync().exits(3);
    assert_eq!((met.number("merged"), met.number("conflictsWaiting")), (1, 1));
    a.sync().exits(3);
    assert_eq!(a.files(), b.files());
    let text = a.read("task.md");
    assert!(text.contains("TWO") && text.contains("zwei"), "{text}");
    let conflict = a.run(&["conflicts", "--json"]).json();
    assert_eq!((&conflict["kind"], &conflict["state"]), (&"overlap".into(), &"open".into()));
    // Whoever edits the text settles it, on every device.
    b.write("task.md", TASK.replace("two", "2"));
    b.sync().exits(0);
    a.sync().exits(0);
    assert_eq!(a.read("task.md"), TASK.replace("two", "2"));
}

fn lists(remote: &Remote) {
    let (a, _) = both_edit(
        remote,
        &[("  - food\n", "  - food\n  - today\n")],
        &[("  - shop\n", ""), ("  - food\n", "  - food\n  - cheap\n")],
    );
    let shown = a.run(&["show", "task.md", "--json"]).exits(0).json();
    let mut tags: Vec<_> = shown["fields"]["tags"]["value"].as_array().unwrap().clone();
    tags.sort_by_key(ToString::to_string);
    assert_eq!(tags, ["cheap", "food", "today"]);
    assert_eq!(shown["conflicts"], serde_json::json!([]));
}

fn three_devices(remote: &Remote) {
    let (a, b) = pair(remote);
    let c = Device::joined("tablet", remote);
    a.write("task.md", TASK);
    settle(&[&a, &b, &c]);
    a.edit("task.md", "open", "done");
    b.edit("task.md", "Buy milk", "Buy oat milk");
    c.edit("task.md", "Four.", "Four, and five.");
    c.write("new.md", "from the third\n");
    settle(&[&c, &a, &b]);
    let expected = TASK.replace("open", "done").replace("milk", "oat milk");
    assert_eq!(a.read("task.md"), expected.replace("Four.", "Four, and five."));
    assert_eq!(b.names(), ["new.md", "task.md"]);
}
