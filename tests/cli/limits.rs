//! Bad input, from the vault and from the remote: it is named, and nothing else stops.

use std::{fmt::Write as _, fs, path::Path};

use insta::assert_snapshot;
use larder::digest::sha256_hex;
use serde_json::{Value, json};

use crate::common::{Device, Ran, Remote, pair, settle};

const STAMP: &str = "2026-11-20T10:00:00.123Z";

/// A remote on which somebody else has written one more record, as text.
fn with_record(line: &str) -> Remote {
    let remote = Remote::folder();
    let writer = Device::joined("writer", &remote);
    writer.write("fine.md", "all is well\n");
    writer.sync();
    let name = "entities/note.bad.1-0123456789abcdef.json";
    fs::create_dir_all(remote.dir().join("entities")).unwrap();
    fs::write(remote.dir().join(name), line).unwrap();
    let data = json!({
        "file": name, "bytes": line.len(), "sha256": sha256_hex(line.as_bytes()), "entities": 1,
        "fromGeneration": 2, "toGeneration": 2, "holds": {"zzzzzz": 1},
    });
    doctor(&remote, |manifest| {
        manifest["generation"] = 2.into();
        manifest["knows"]["zzzzzz"] = 1.into();
        manifest["deltas"].as_array_mut().unwrap().push(data);
    });
    remote
}

/// Changes the manifest behind everybody's back.
fn doctor(remote: &Remote, change: impl FnOnce(&mut Value)) {
    let file = remote.dir().join("meta.json");
    let mut manifest = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

/// A record of a stranger with these fields.
fn record(fields: &Value, at: &str) -> String {
    let siblings = fields.as_object().unwrap().iter().map(|(field, value)| {
        (field.clone(), json!([{"dot": "zzzzzz:1", "at": at, "value": value}]))
    });
    let fields: serde_json::Map<String, Value> = siblings.collect();
    json!({"id": "bad", "clock": {"zzzzzz": [1, 1, at]}, "fields": fields}).to_string()
}

/// A device that joined such a remote, and what its first turn said.
fn reader(remote: &Remote) -> (Device, Ran) {
    let device = Device::joined("reader", remote);
    let ran = device.run(&["sync"]).exits(0);
    assert_eq!(device.read("fine.md"), "all is well\n", "the rest is here: {ran}");
    (device, ran)
}

#[test]
fn a_record_that_is_too_long() {
    let text = "x".repeat(16 << 20);
    let (device, ran) = reader(&with_record(&record(&json!({"body": text}), STAMP)));
    assert!(ran.stdout.contains("entities/note.bad.1-0123456789abcdef.json: "), "{ran}");
    assert!(ran.stdout.contains("over 16777216"), "{ran}");
    assert_eq!(device.names(), ["fine.md"]);
    let check = device.run(&["check", "--read-data"]).exits(1);
    assert!(check.stdout.contains("note.bad.1-0123456789abcdef.json"), "{check}");
}

#[test]
fn a_manifest_that_is_too_long() {
    let remote = with_record(&record(&json!({"body": "x"}), STAMP));
    doctor(&remote, |manifest| manifest["pad"] = " ".repeat(8 << 20).into());
    let device = Device::new("reader");
    let ran = device.run(&["init", "--remote", remote.url()]).exits(1);
    assert!(ran.stderr.contains("meta.json"), "{ran}");
    assert!(ran.stderr.contains("8388608"), "{ran}");
}

#[test]
fn a_remote_of_a_later_form() {
    let remote = with_record(&record(&json!({"body": "x"}), STAMP));
    let device = Device::joined("reader", &remote);
    doctor(&remote, |manifest| {
        manifest["format"] = 7.into();
        manifest["minReader"] = 7.into();
        manifest["deltas"] = json!("of another form");
    });
    let ran = device.run(&["sync"]).exits(6);
    assert_snapshot!(ran.stderr, @"
    error: the remote needs a newer larder (form 7)
      update larder on this device; nothing was changed
    ");
    let told = device.run(&["sync", "--json"]).exits(6).json();
    assert_eq!(told["error"]["kind"], "needsNewer");
    Device::new("other").run(&["init", "--remote", remote.url()]).exits(6);
}

#[test]
fn a_stamp_far_ahead() {
    let line = record(&json!({"body": "x\n", "path": "ahead.md"}), "2099-01-01T00:00:00.000Z");
    let remote = with_record(&line);
    let (device, ran) = reader(&remote);
    assert!(
        ran.stdout.contains("bad: was edited on a device whose clock is over a day ahead"),
        "{ran}"
    );
    assert_eq!(device.read("ahead.md"), "x\n");
    // It is not believed: what is edited here is stamped by this device's clock.
    device.write("new.md", "new\n");
    device.sync();
    let shown = device.run(&["show", "new.md", "--json"]).json();
    assert!(shown["lastModifiedAt"].as_str().unwrap() < "2099", "{shown}");
    let check = device.run(&["check"]).exits(1);
    assert!(check.stdout.contains("clock is over a day ahead"), "{check}");
}

#[test]
fn paths_that_lead_out_of_the_vault() {
    for (path, why) in [
        ("../evil.md", "a part of it is `.` or `..`"),
        ("/etc/evil.md", "it is not relative to the vault"),
        (".larder/config.toml", "it lies in a folder that larder does not touch"),
        (".git/hooks/post-commit", "it lies in a folder that larder does not touch"),
        ("a//b.md", "a part of it is empty"),
        ("con.md", "the name of a device on Windows"),
        ("a\\b.md", "it holds a backslash"),
        ("a\nb.md", "it holds a control character"),
    ] {
        let line = record(&json!({"body": "x\n", "path": path}), STAMP);
        let (device, ran) = reader(&with_record(&line));
        assert!(ran.stdout.contains("is not written to disk: "), "{path:?}: {ran}");
        assert!(ran.stdout.contains(why), "{path:?}: {ran}");
        assert_eq!(device.names(), ["fine.md"], "{path:?}");
        let around = crate::common::tree(device.root().parent().unwrap());
        assert!(around.keys().all(|path| !path.contains("evil")), "{around:?}");
        // It is kept, shown, and can be put right by whoever has a better name.
        let check = device.run(&["check"]).exits(1);
        assert!(check.stdout.contains("is not written to disk"), "{path:?}: {check}");
        device.run(&["put", "--type", "note", "--id", "bad", r#"{"path":"good.md"}"#]).exits(0);
        assert_eq!(device.read("good.md"), "---\ntype: note\n---\nx\n");
    }
}

/// What stands in the way of one file stops no other, and gives way when it is taken away.
#[test]
fn places_that_are_taken() {
    let remote = with_record(&record(&json!({"body": "x\n", "path": "taken/new.md"}), STAMP));
    let obstacles: [fn(&Device); 4] = [
        |device| std::os::unix::fs::symlink(device.home(), device.root().join("taken")).unwrap(),
        |device| device.write("taken", "a file\n"),
        |device| fs::create_dir_all(device.root().join("taken/new.md")).unwrap(),
        |device| {
            fs::create_dir(device.root().join("taken")).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", device.root().join("taken/new.md"))
                .unwrap();
        },
    ];
    for (number, obstacle) in obstacles.iter().enumerate() {
        let device = Device::joined("reader", &remote);
        obstacle(&device);
        let before = fs::read_dir(device.home()).unwrap().count();
        let ran = device.run(&["sync"]).exits(0);
        assert!(ran.stdout.contains("taken/new.md: "), "{number}: {ran}");
        assert_eq!(device.read("fine.md"), "all is well\n", "{number}: {ran}");
        assert_eq!(fs::read_dir(device.home()).unwrap().count(), before, "{number}: {ran}");
        device.rename("taken", "../home/away");
        device.run(&["sync"]).exits(0);
        assert_eq!(device.read("taken/new.md"), "x\n", "{number}");
        device.run(&["check"]).exits(0);
    }
}

/// The damaged folders that are kept as fixtures, as a user meets them.
#[test]
fn damaged_remotes() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/remote/damaged");
    for fixture in fs::read_dir(fixtures).unwrap() {
        let fixture = fixture.unwrap().path();
        let name = fixture.file_name().unwrap().to_str().unwrap().to_owned();
        let remote = Remote::folder();
        for (path, text) in crate::common::tree(&fixture.join("remote")) {
            let path = remote.dir().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.0).unwrap();
        }
        // Some need a check to be found.
        let Ok(expected) = fs::read_to_string(fixture.join("expected.txt")) else { continue };
        let expected = expected.trim_end().trim_end_matches('…').trim_end();
        let device = Device::new("reader");
        device.write("own.md", "own\n");
        let ran = device.run(&["sync", "--remote", remote.url()]);
        assert!(ran.said().contains(expected), "{name}: {expected}\n{ran}");
        assert_eq!(device.read("own.md"), "own\n");
        match ran.code {
            // Everything but the damaged file is here, and a check says what is damaged.
            0 => {
                assert!(device.names().contains(&"keep.md".to_owned()), "{name}: {ran}");
                let check = device.run(&["check", "--read-data"]).exits(1);
                let file = expected.split(": ").next().unwrap();
                let line = check.stdout.lines().find(|line| line.contains(file));
                assert_eq!(
                    line.unwrap().matches(file).count(),
                    1,
                    "its name is told once: {check}"
                );
            }
            1 | 6 => assert_eq!(device.names(), ["own.md"], "{name}"),
            code => panic!("{name}: {code}\n{ran}"),
        }
    }
}

#[test]
fn fields_that_nobody_could_read() {
    let device = Device::joined("laptop", &Remote::folder());
    let refused = |fields: &str| {
        let ran = device.run_with(&["put", "--type", "x", "--id", "bad", "-"], fields);
        assert!([1, 2].contains(&ran.code), "{ran}");
        ran.stderr.lines().next().unwrap().to_owned()
    };
    let many: Vec<String> = (0..1001).map(|n| format!("\"f{n}\":1")).collect();
    assert_snapshot!(refused(&format!("{{{}}}", many.join(","))), @"error: the record has 1001 fields; a record has at most 1000");
    assert_snapshot!(refused(r#"{"a":1,"a":2}"#), @r#"error: the fields are not JSON: the key "a" stands twice at line 1 column 13"#);
    assert_snapshot!(refused(r#"{"a":9007199254740993}"#), @"error: the fields are not JSON: the number 9007199254740993 is larger than a double can hold; quote it");
    assert!(refused("{\"a\":1e999}").contains("number out of range"));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(65), "]".repeat(65));
    assert!(refused(&deep).contains("nested deeper than 64 levels"));
    let long = format!("{{\"{}\":1}}", "n".repeat(257));
    assert!(refused(&long).contains("its name is longer than 256 bytes"));
    assert!(refused(r#"{"$deleted":1}"#).contains("names that begin with $ are larder's own"));
    assert!(refused(r#"{"path":7}"#).contains("it has to be a text"));
    assert_snapshot!(refused(r#"{"path":"num.md","body":5}"#), @r#"error: the field "body" cannot be set: of a record with a file it is the file's text, and has to be a text"#);
    assert!(refused(r#"{"path":"a.json","body":null}"#).contains("has to be a text"));
    assert_snapshot!(refused(r#"{"type":"y"}"#), @r#"error: the field "type" cannot be set: `--type` says otherwise"#);
    for name in ["my task", "", "~", "ä", &"x".repeat(65)] {
        let ran = device.run(&["put", "--type", name, "{}"]).exits(2);
        assert!(ran.stderr.contains("--type <T>"), "{ran}");
    }
    let big = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    assert!(refused(&big).contains("a record has at most 1048576"));
    let ran = device.run(&["put", "--type", "x", "--id", "../x", "{}"]).exits(1);
    assert!(ran.stderr.contains("is not a valid id"), "{ran}");
    assert_eq!(device.run(&["list"]).stdout, "No records.\n");
}

/// A body without a file may be anything; one that gets a file is its text.
#[test]
fn fields_that_a_file_cannot_show() {
    let device = Device::joined("laptop", &Remote::folder());
    let put = |fields: &str| device.run(&["put", "--type", "x", "--id", "a", fields]);
    put(r#"{"body":5,"type":"x"}"#).exits(0);
    assert!(put(r#"{"path":"a.md"}"#).exits(1).stderr.contains("has to be a text"));
    put(r#"{"path":"a.md","body":"text"}"#).exits(0);
    assert!(put(r#"{"body":[]}"#).exits(1).stderr.contains("has to be a text"));
    let ran = put(r#"{"title":"told"}"#).exits(0);
    assert_eq!(ran.stderr, "");
    let ran = put(r#"{"path":"a b.txt","title":"kept","due":1,"body":"plain"}"#).exits(0);
    assert_snapshot!(ran.stderr, @"note: the record alone keeps due, title, as a file like a b.txt has no fields: `larder show 'a b.txt'`");
    assert!(ran.stdout.contains("title: kept"), "{ran}");
    device.sync();
    assert_eq!(device.read("a b.txt"), "plain");
    device.write("a b.txt", "plain text");
    device.sync();
    assert!(device.run(&["show", "a b.txt"]).stdout.contains("title: kept"));
}

/// Whatever a user has in the vault: it arrives elsewhere as it is, or is left alone and named.
#[test]
fn files_at_the_limits() {
    let (a, b) = pair(&Remote::folder());
    let keys = |count: usize| {
        (0..count).fold(String::from("---\n"), |mut text, n| {
            let _ = writeln!(text, "k{n}: {n}");
            text
        }) + "---\nbody\n"
    };
    let deep =
        |levels: usize| format!("{{\"a\": {}1{}}}\n", "[".repeat(levels), "]".repeat(levels));
    for count in [996, 999, 1000, 1001] {
        a.write(&format!("keys {count}.md"), keys(count));
    }
    for levels in [59, 60, 61, 62, 63, 64, 65, 200] {
        a.write(&format!("deep {levels}.json"), deep(levels));
        let flow = "[".repeat(levels) + &"]".repeat(levels);
        a.write(&format!("deep {levels}.md"), format!("---\na: {flow}\n---\n"));
    }
    for length in [254, 255, 256, 257] {
        a.write(&format!("name {length}.md"), format!("---\n{}: 1\n---\n", "n".repeat(length)));
    }
    a.write("empty key.json", "{\"\": 1, \"a\": 2}\n");
    a.write("empty key.md", "---\n\"\": 1\n---\n");
    a.write("number.json", "{\"a\": 9007199254740993, \"b\": 1e999}\n");
    a.write("twice.json", "{\"a\": 1, \"a\": 2}\n");
    a.write("controls.md", "\u{1}\u{2}".repeat(100_000));
    a.write("full.md", "x".repeat(1 << 20));
    for n in 0..40 {
        a.write(&format!("big/{n}.md"), format!("{n}\n").repeat(300_000));
    }
    let sent = a.sync();
    assert_eq!(sent.number("skipped"), 0, "{sent}");
    b.sync();
    assert_eq!(a.names(), b.names());
    settle(&[&a, &b]);
    // Edits of them travel, too.
    a.edit("keys 1000.md", "k7: 7\n", "k7: 8\n");
    b.edit("keys 1000.md", "body\n", "text\n");
    a.edit("deep 64.json", "[1]", "[2]");
    settle(&[&a, &b]);
    assert!(a.read("keys 1000.md").contains("k7: 8\n"));
    a.write("too large.md", "x".repeat((1 << 20) + 1));
    fs::write(a.root().join("binary.md"), [0xff, 0xfe, 0]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", a.root().join("link.md")).unwrap();
    let told = a.sync().json();
    let notes = told["notes"].as_array().unwrap().iter();
    let mut skipped: Vec<String> = notes
        .filter(|note| note["kind"] == "skipped")
        .map(|note| format!("{}: {}", note["subject"], note["text"]))
        .collect();
    skipped.sort();
    assert_snapshot!(skipped.join("\n"), @r#"
    "link.md": "it is a symlink"
    "#);
    settle(&[&b]);
    assert_eq!(b.read("too large.md").len(), (1 << 20) + 1);
    assert_eq!(fs::read(b.root().join("binary.md")).unwrap(), [0xff, 0xfe, 0]);
    a.is_sound();
}
