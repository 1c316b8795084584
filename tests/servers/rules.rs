//! What `larder.toml` says about types.

use serde_json::Value;

use crate::common::{Device, Remote, pair, settle};

super::on_every_remote!(rules_of_fields, whole_records, types_that_stay_at_home);

const FIELDS: &str = r#"
[[type]]
name = "task"
files = ["tasks/**"]
[type.fields]
status = "done_wins"
priority = "highest"
due = "earliest"
count = "counter"
owner = "immutable"
summary = "longest"
title = "manual"
watchers = "union"
"#;

const TASK: &str = "---
status: open
priority: 2
due: 2026-05-10
count: 10
owner: ann
summary: short
title: Buy milk
watchers: [ann]
---
";

fn shown(device: &Device, path: &str) -> Value {
    let shown = device.run(&["show", path, "--json"]).exits(0).json();
    let fields = shown["fields"].as_object().unwrap().iter();
    fields.map(|(name, field)| (name.clone(), field["value"].clone())).collect()
}

fn rules_of_fields(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("larder.toml", FIELDS);
    a.write("tasks/a.md", TASK);
    settle(&[&a, &b]);
    a.write(
        "tasks/a.md",
        "---\nstatus: done\npriority: 9\ndue: 2026-05-12\ncount: 13\nowner: cy\n\
         summary: much longer than the other\ntitle: Buy bread\nwatchers: [ann, bob]\n---\n",
    );
    b.write(
        "tasks/a.md",
        "---\nstatus: waiting\npriority: 3\ndue: 2026-05-08\ncount: 15\nowner: bob\n\
         summary: tiny\ntitle: Buy eggs\nwatchers: [ann, cy]\n---\n",
    );
    a.sync();
    b.sync().exits(3);
    a.sync().exits(3);
    assert_eq!(a.files(), b.files());
    let fields = shown(&a, "tasks/a.md");
    assert_eq!(fields["status"], "done");
    assert_eq!(fields["priority"], 9);
    assert_eq!(fields["due"], "2026-05-08");
    assert_eq!(fields["count"], 18);
    assert_eq!(fields["owner"], "cy", "the first edit stays");
    assert_eq!(fields["summary"], "much longer than the other");
    assert_eq!(fields["title"], "Buy milk", "it waits for a person");
    assert_eq!(fields["watchers"], serde_json::json!(["ann", "bob", "cy"]));
    assert_eq!(a.run(&["list", "--type", "task", "--json"]).rows().len(), 1);
    let rows = a.run(&["conflicts", "--json"]).rows();
    let waiting: Vec<_> = rows.iter().filter(|row| row["state"] == "open").collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!((&waiting[0]["field"], &waiting[0]["rule"]), (&"title".into(), &"manual".into()));
}

const WHOLE: &str = r#"
[[type]]
name = "last"
files = ["last/**"]
conflict = "newest_wins"
[[type]]
name = "mine"
files = ["mine/**"]
conflict = "local_wins"
[[type]]
name = "theirs"
files = ["theirs/**"]
conflict = "remote_wins"
[[type]]
name = "asked"
files = ["asked/**"]
conflict = "manual"
"#;

fn whole_records(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("larder.toml", WHOLE);
    let folders = ["last", "mine", "theirs", "asked"];
    for folder in folders {
        a.write(&format!("{folder}/n.md"), "---\nx: 0\ny: 0\n---\n");
    }
    settle(&[&a, &b]);
    for folder in folders {
        a.write(&format!("{folder}/n.md"), "---\nx: 1\ny: 0\n---\n");
        b.write(&format!("{folder}/n.md"), "---\nx: 2\ny: 2\n---\n");
    }
    a.sync();
    // The second to sync meets the conflict, and is "local".
    b.sync().exits(3);
    a.sync().exits(3);
    assert_eq!(a.files(), b.files());
    let of = |folder: &str| a.read(&format!("{folder}/n.md"));
    assert_eq!(of("last"), "---\nx: 2\ny: 2\n---\n");
    assert_eq!(of("mine"), "---\nx: 2\ny: 2\n---\n");
    assert_eq!(of("theirs"), "---\nx: 1\ny: 0\n---\n");
    assert_eq!(of("asked").lines().nth(1), Some("x: 0"), "it waits for a person");
}

fn types_that_stay_at_home(remote: &Remote) {
    let (a, b) = pair(remote);
    a.write("larder.toml", "[[type]]\nname = \"diary\"\nfiles = [\"diary/**\"]\nsync = false\n");
    a.write("diary/today.md", "for nobody else\n");
    a.write("note.md", "for all\n");
    a.sync();
    b.sync();
    assert_eq!(b.names(), ["larder.toml", "note.md"]);
    a.delete("diary/today.md");
    a.sync();
    let told = remote.files();
    assert!(told.values().all(|text| !format!("{text:?}").contains("for nobody")));
}
