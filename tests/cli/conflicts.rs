//! Conflicts are listed, explained, and settled either way.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::{Device, Remote, pair, settle};

/// Two devices that both have edited one field and one word.
fn at_odds() -> (Device, Device) {
    let (a, b) = pair(&Remote::folder());
    a.write("note.md", "---\ntitle: Milk\n---\nOne two three.\n");
    settle(&[&a, &b]);
    a.write("note.md", "---\ntitle: Bread\n---\nOne TWO three.\n");
    b.write("note.md", "---\ntitle: Eggs\n---\nOne zwei three.\n");
    a.sync();
    b.sync().exits(3);
    a.sync().exits(3);
    (a, b)
}

fn conflict(device: &Device, field: &str) -> Value {
    let rows = device.run(&["conflicts", "list", "--all", "--json"]).exits(0).rows();
    rows.into_iter().find(|row| row["field"] == field).unwrap()
}

#[track_caller]
fn resolved(keep: &str, field: &str) -> String {
    let (a, b) = at_odds();
    let id = conflict(&a, field)["id"].as_str().unwrap().to_owned();
    let told = a.run(&["conflicts", "resolve", &id[..6], "--keep", keep, "--json"]).exits(0).json();
    assert_eq!((&told["id"], &told["state"]), (&json!(id), &json!("resolved")));
    settle(&[&a, &b]);
    for device in [&a, &b] {
        let left = device.run(&["conflicts", "--json"]).exits(0).rows();
        assert!(left.iter().all(|row| row["field"] != field), "{device}: {left:?}");
    }
    assert_eq!(conflict(&a, field)["state"], "resolved");
    a.read("note.md")
}

#[test]
fn what_is_told_of_a_conflict() {
    let (a, b) = at_odds();
    let told = conflict(&a, "title");
    for key in ["id", "entityId", "path", "field", "kind", "rule", "values", "chosen", "detectedAt"]
    {
        assert!(!told[key].is_null(), "{key}: {told}");
    }
    assert_eq!((&told["rule"], &told["chosen"]), (&json!("newest"), &json!("Eggs")));
    assert_eq!((&told["kind"], &told["state"]), (&json!("values"), &json!("decided")));
    assert_eq!(conflict(&b, "title")["id"], told["id"], "every device lists the same");
    let value = &told["values"][0];
    assert!(["device", "deviceName", "at", "value"].iter().all(|key| !value[key].is_null()));

    let list = a.run(&["conflicts"]).exits(0).stdout;
    assert!(list.contains("  note.md: body  waits for you\n"), "{list}");
    assert!(list.contains("  note.md: title  decided by rule newest\n"), "{list}");
    let shown = a.run(&["conflicts", "show", told["id"].as_str().unwrap()]).exits(0).stdout;
    // Which value stands first is drawn with the devices' ids.
    let mut lines: Vec<&str> =
        shown.lines().map(|line| line.split(" at 2").next().unwrap()).collect();
    assert!(lines.windows(2).any(|two| two == ["  laptop (this device)", "    Bread"]), "{shown}");
    assert!(lines.windows(2).any(|two| two == ["  phone", "    Eggs"]), "{shown}");
    lines.sort_unstable();
    assert_snapshot!(lines.join("\n").replace(told["id"].as_str().unwrap(), "ID"), @"
        Bread
        Eggs
      laptop (this device)
      larder conflicts resolve ID --keep local|remote|merged|both
      phone
    The rule newest decided. To decide otherwise:
    These edits did not know of each other, and only one can be shown:
    note.md: title
    ");
}

#[test]
fn the_value_of_this_device() {
    assert!(resolved("local", "title").starts_with("---\ntitle: Bread\n---\n"));
    assert_eq!(resolved("local", "body").lines().last(), Some("One TWO three."));
}

#[test]
fn the_value_of_the_other_device() {
    assert!(resolved("remote", "title").starts_with("---\ntitle: Eggs\n---\n"));
    assert_eq!(resolved("remote", "body").lines().last(), Some("One zwei three."));
}

#[test]
fn the_value_that_is_shown() {
    assert!(resolved("merged", "title").starts_with("---\ntitle: Eggs\n---\n"));
    let text = resolved("merged", "body");
    assert!(text.contains("TWO") && text.contains("zwei"), "{text}");
}

#[test]
fn both_values() {
    let text = resolved("both", "title");
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains("Bread") && line.contains("Eggs"), "{text}");
    let text = resolved("both", "body");
    assert!(text.contains("TWO") && text.contains("zwei"), "{text}");
}

#[test]
fn a_deletion_and_an_edit() {
    let (a, b) = pair(&Remote::folder());
    a.write("note.md", "One.\n");
    settle(&[&a, &b]);
    a.delete("note.md");
    b.edit("note.md", "One", "Two");
    settle(&[&a, &b]);
    assert_eq!(a.read("note.md"), "Two.\n");
    let id = conflict(&a, "$deleted")["id"].as_str().unwrap().to_owned();
    let shown = a.run(&["conflicts", "show", &id]).exits(0).stdout;
    assert!(shown.contains("note.md: deletion\nOne device deleted the record"), "{shown}");
    a.run(&["conflicts", "resolve", &id, "--keep", "local"]).exits(0);
    assert_eq!(a.names(), [""; 0]);
    settle(&[&a, &b]);
    assert_eq!(b.names(), [""; 0]);
}

#[test]
fn two_contents_of_a_photo() {
    let (a, b) = pair(&Remote::folder());
    a.write("q.jpg", [0xff; 100]);
    settle(&[&a, &b]);
    a.write("q.jpg", [0xfe; 2_000]);
    b.write("q.jpg", [0xfd; 3_000]);
    settle(&[&a, &b, &a]);
    assert_eq!(a.names(), ["q (from laptop).jpg", "q.jpg"]);
    let id = conflict(&a, "$blob")["id"].as_str().unwrap().to_owned();
    let list = a.run(&["conflicts"]).exits(0).stdout;
    assert!(list.contains("  q.jpg: content  decided by rule newest\n"), "{list}");
    let shown = a.run(&["conflicts", "show", &id]).exits(0).stdout;
    for line in ["2.0 kB, in q (from laptop).jpg", "3.0 kB, in q.jpg"] {
        assert!(shown.contains(&format!("    {line}\n")), "{shown}");
    }
    a.delete("q (from laptop).jpg");
    a.sync();
    let shown = a.run(&["conflicts", "show", &id]).exits(0).stdout;
    assert!(shown.contains("    2.0 kB, which no file here has\n"), "{shown}");
}
