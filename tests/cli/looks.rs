//! What programs read: the keys of every JSON answer.

use std::{fs, path::Path};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::{Device, Remote, pair, settle};

/// The keys of an object with the kinds of their values, in the order in which they stand.
fn keys(value: &Value) -> String {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    let keys = value.as_object().unwrap().iter();
    keys.map(|(key, value)| format!("{key}: {}", kind(value))).collect::<Vec<_>>().join(", ")
}

#[test]
fn turns() {
    let (device, remote) = (Device::new("laptop"), Remote::folder());
    let init = device.init(&remote).json();
    assert_snapshot!(keys(&init), @"commitMode: text, created: bool, device: text, encrypted: bool, entities: number, remote: text, remoteId: text, requests: number, vault: text");
    assert_eq!((&init["commitMode"], &init["device"]), (&json!("if-match"), &json!("laptop")));
    assert_eq!((&init["created"], &init["entities"]), (&json!(true), &json!(0)));
    device.write("note.md", "text\n");
    assert_snapshot!(keys(&device.sync().json()), @"bytesDown: number, bytesUp: number, conflicts: number, conflictsWaiting: number, deleted: number, durationMs: number, filesWaiting: number, generation: number, merged: number, notes: list, pulled: number, pushed: number, raced: number, renamed: number, requests: number, skipped: number");
    let status = device.run(&["status", "--json"]).exits(0).json();
    assert_snapshot!(keys(&status), @"conflicts: number, conflictsWaiting: number, device: text, deviceId: text, encrypted: bool, filesWaiting: number, generation: number, lastSyncAt: text, owedBytes: number, owedContents: number, pendingChanges: number, remote: text, state: text, vault: text");
    assert_eq!((&status["state"], &status["generation"]), (&json!("synced"), &json!(1)));
    device.edit("note.md", "text", "more");
    let status = device.run(&["status", "--json"]).json();
    assert_eq!((&status["state"], &status["pendingChanges"]), (&json!("pending"), &json!(1)));
    let compact = device.run(&["compact", "--json"]).exits(0).json();
    assert_snapshot!(keys(&compact), @"bytesAfter: number, bytesBefore: number, bytesDown: number, bytesUp: number, deltasFolded: number, durationMs: number, filesDeleted: number, generation: number, packsKept: number, packsWritten: number, requests: number, tombstonesDropped: number");
    assert_eq!((&compact["deltasFolded"], &compact["packsWritten"]), (&json!(2), &json!(1)));
    let check = device.run(&["check", "--read-data", "--json"]).exits(0).json();
    assert_snapshot!(keys(&check), @"bytesRead: number, filesRead: number, findings: list, ok: bool");
    let remote = device.run(&["remote", "show", "--json"]).exits(0).json();
    assert_snapshot!(keys(&remote), @"bytes: number, commitMode: text, deltas: number, devices: list, encrypted: bool, generation: number, lastSyncTimestamp: text, packs: number, remote: text, remoteId: text, retired: number");
    assert_eq!(remote["devices"][0]["name"], "laptop");
    let probe = device.run(&["remote", "probe", "--json"]).exits(0).json();
    assert!(probe["renameOk"] == true && probe["ifMatchOk"] == true, "{probe}");
}

#[test]
fn records() {
    let (a, b) = pair(&Remote::folder());
    a.write("note.md", "---\nid: my-note\ntype: memo\nx: 1\n---\ntext\n");
    settle(&[&a, &b]);
    let row = b.run(&["list", "--json"]).exits(0).json();
    assert_snapshot!(keys(&row), @"id: text, isDeleted: bool, lastModifiedAt: text, lastModifiedBy: text, path: text, type: text, version: number");
    assert_eq!((&row["id"], &row["type"]), (&json!("my-note"), &json!("memo")));
    assert_eq!((&row["path"], &row["version"]), (&json!("note.md"), &json!(1)));
    assert_eq!(b.run(&["list", "--type", "task", "--json"]).exits(0).stdout, "");

    let shown = b.run(&["show", "note.md", "--json"]).exits(0).json();
    assert_eq!(shown, b.run(&["show", "my-note", "--json"]).json());
    assert_snapshot!(keys(&shown), @"conflicts: list, fields: object, fileWaits: bool, id: text, isDeleted: bool, lastModifiedAt: text, lastModifiedBy: text, path: text, type: text, version: number");
    assert_snapshot!(keys(&shown["fields"]), @"body: object, id: object, path: object, type: object, x: object");
    assert_eq!(shown["fields"]["x"]["value"], 1);

    b.edit("note.md", "text", "more text");
    let gone = b.run(&["rm", "note.md", "--json"]).exits(0).json();
    assert_eq!((&gone["isDeleted"], &gone["version"]), (&json!(true), &json!(3)), "edit, deletion");
    assert_eq!(b.names(), [""; 0]);
    settle(&[&b, &a]);
    assert_eq!(a.run(&["list", "--deleted", "--json"]).json()["isDeleted"], true);
    a.run(&["restore", "note.md"]).exits(0);
    assert!(a.read("note.md").ends_with("more text\n"), "what was edited before is not lost");
    a.run(&["rm", "note.md"]).exits(0);
    let log = a.run(&["log", "note.md", "--json"]).exits(0).rows();
    assert_snapshot!(keys(&log[0]), @"at: text, by: text, fields: list, id: text, isCurrent: bool, isDeleted: bool, path: text, version: number");
    assert_eq!((&log[0]["isCurrent"], &log[0]["isDeleted"]), (&json!(true), &json!(true)));
    assert_eq!(a.run(&["log", "--json"]).exits(0).rows().len(), 3);
}

/// Records need no files, and files need no editor.
#[test]
fn records_by_command() {
    let (a, b) = pair(&Remote::folder());
    let put = a.run(&["put", "--type", "task", "--id", "t1", r#"{"title":"Buy milk","n":[1,2]}"#]);
    let put = put.exits(0);
    assert!(put.stdout.starts_with("t1\nid        t1\ntype      task\nversion   1\n"), "{put}");
    let text = "{\"path\":\"tasks/t2.md\",\"title\":\"Bread\",\"body\":\"Two.\\n\"}";
    a.run_with(&["put", "--type", "task", "--id", "t2", "-"], text).exits(0);
    assert_eq!(a.names(), ["tasks/t2.md"]);
    settle(&[&a, &b]);
    let text = b.read("tasks/t2.md");
    assert!(text.contains("title: Bread\n") && text.ends_with("---\nTwo.\n"), "{text}");
    assert_eq!(b.run(&["list", "--type", "task", "--json"]).rows().len(), 2);
    b.run(&["put", "--type", "task", "--id", "t1", r#"{"title":"Buy oat milk"}"#]).exits(0);
    a.run(&["put", "--type", "task", "--id", "t1", r#"{"due":"2026-12-01"}"#]).exits(0);
    a.run(&["put", "--type", "task", "--id", "t2", r#"{"title":"Rye bread"}"#]).exits(0);
    assert_eq!(a.read("tasks/t2.md"), text.replace("Bread", "Rye bread"));
    settle(&[&a, &b]);
    let shown = a.run(&["show", "t1", "--json"]).json();
    let value = |field: &str| shown["fields"][field]["value"].clone();
    assert_eq!((value("title"), value("due")), (json!("Buy oat milk"), json!("2026-12-01")));
    assert_eq!((value("n"), &shown["path"]), (json!([1, 2]), &Value::Null));
    a.run(&["rm", "t2"]).exits(0);
    assert_eq!(a.names(), [""; 0]);
    settle(&[&a, &b]);
    b.run(&["restore", "t2"]).exits(0);
    settle(&[&b, &a]);
    assert_eq!(a.read("tasks/t2.md"), text.replace("Bread", "Rye bread"));
}

#[test]
fn quiet_and_verbose() {
    let device = Device::joined("laptop", &Remote::folder());
    device.write("note.md", "text\n");
    fs::write(device.root().join("photo.jpg"), [0, 159, 146, 150]).unwrap();
    fs::write(device.root().join("CON.md"), "no name for every system\n").unwrap();
    let ran = device.run(&["sync", "-v"]).exits(0);
    assert!(ran.stdout.contains("  send note.md\n"), "{ran}");
    assert!(ran.stdout.contains("  send photo.jpg\n"), "{ran}");
    assert!(ran.stdout.contains("CON.md: left alone, "), "{ran}");
    device.edit("note.md", "text", "more");
    assert_eq!(device.run(&["sync", "-q"]).exits(0).said(), "");
    let ran = device.run(&["sync"]).exits(0);
    assert!(
        ran.stdout.contains("1 file or folder is left alone: larder sync -v says which"),
        "{ran}"
    );
    assert!(!ran.stdout.contains('\x1b'), "no colours on a pipe: {ran}");
    assert_eq!(device.run(&["sync", "--json"]).number("skipped"), 1);
}

/// Only the sync that takes it up sees that a file does not parse; a check sees it at any time.
#[test]
fn why_a_file_is_kept_as_plain_text() {
    let (a, b) = pair(&Remote::folder());
    a.write("good.md", "---\ntitle: fine\n---\ntext\n");
    a.write("plain.md", "text\n");
    a.write("bad.md", "---\ntitle: [\n---\ntext\n");
    let ran = a.run(&["sync"]).exits(0);
    let told = "1 file does not parse and is kept as plain text: larder check says why\n";
    assert!(ran.stdout.contains(told), "{ran}");
    a.write("bad.json", "{\"a\":");
    a.write("worse.json", "[");
    let ran = a.run(&["sync"]).exits(0);
    let told = "2 files do not parse and are kept as plain text: larder check says why\n";
    assert!(ran.stdout.contains(told), "{ran}");
    b.sync();
    for device in [&a, &b] {
        let ran = device.run(&["check"]).exits(0);
        assert!(ran.stdout.contains("bad.md: is kept as plain text: line "), "{ran}");
        let found = device.run(&["check", "--json"]).exits(0).json();
        let mut files: Vec<_> = found["findings"].as_array().unwrap().iter().collect();
        assert!(files.iter().all(|finding| finding["kind"] == "unparsed"), "{found}");
        files.sort_by_key(|finding| finding["file"].as_str());
        let files: Vec<_> = files.iter().map(|finding| &finding["file"]).collect();
        assert_eq!(files, ["bad.json", "bad.md", "worse.json"], "{found}");
        assert_eq!(found["ok"], true);
    }
    a.write("bad.md", "---\ntitle: good\n---\ntext\n");
    a.sync();
    assert!(!a.run(&["check"]).exits(0).stdout.contains("bad.md"));
}

/// A demo leaves two devices that are in step.
#[test]
fn a_demo() {
    let device = Device::new("laptop");
    let ran = device.run(&["demo", "shown"]).exits(0);
    assert!(ran.stdout.contains("What the journal says"), "{ran}");
    assert!(!ran.stdout.contains("they differ"), "{ran}");
    let files = |name: &str| {
        let mut files = crate::common::tree(&Path::new(&device.root()).join("shown").join(name));
        files.retain(|path, _| !path.starts_with(".larder/"));
        files
    };
    assert_eq!(files("laptop"), files("phone"));
    assert_eq!(files("laptop").len(), 4);
}

#[test]
fn records_that_had_one_place_are_told_apart_by_their_ids() {
    let device = Device::joined("laptop", &Remote::folder());
    device.write("other.md", "text\n");
    for id in ["first", "second"] {
        device.write("note.md", format!("---\nid: {id}\n---\ntext\n"));
        device.sync();
        device.delete("note.md");
        device.sync();
    }
    let list = device.run(&["list", "--deleted"]).exits(0);
    assert_snapshot!(list.stdout, @r"
    note       v2    note.md  deleted  first
    note       v2    note.md  deleted  second
    note       v1    other.md
    ");
}
