//! Remotes that lie.

use larder_providers::{Body, PutMode, RemotePath, Storage, StorageExt};
use serde_json::{Value, json};

use super::*;
use crate::{
    digest::sha256_hex,
    engine::{CheckOptions, CompactOptions},
    remote::{CommitMode, tiers::Pace},
};

fn path(name: &str) -> RemotePath {
    RemotePath::new(name).unwrap()
}

async fn manifest(storage: &SharedStorage) -> Value {
    let (bytes, _) = storage.read(&path("meta.json"), 1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn put(storage: &SharedStorage, name: &str, text: String) {
    storage.put(&path(name), Body::Bytes(text.into()), PutMode::Overwrite).await.unwrap();
}

fn entity(id: &str, device: &str, counter: u64, fields: &[(&str, Value)]) -> Value {
    let at = "2026-11-20T10:30:00.123Z";
    let fields: serde_json::Map<String, Value> = fields
        .iter()
        .map(|(field, value)| {
            let sibling = json!({"dot": format!("{device}:{counter}"), "at": at, "value": value});
            ((*field).to_owned(), json!([sibling]))
        })
        .collect();
    json!({"id": id, "clock": {device: [counter, 1, at]}, "fields": fields})
}

/// Adds an entity file whose edits `holds` names and `knows` may not.
async fn plant(storage: &SharedStorage, entity: &Value, name: &str) {
    let text = format!("{entity}\n");
    let mut manifest = manifest(storage).await;
    let holds: serde_json::Map<String, Value> = entity["clock"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(device, last)| (device.clone(), last[0].clone()))
        .collect();
    let generation = manifest["generation"].as_u64().unwrap() + 1;
    manifest["generation"] = json!(generation);
    manifest["deltas"].as_array_mut().unwrap().push(json!({
        "file": name, "bytes": text.len(), "sha256": sha256_hex(text.as_bytes()), "entities": 1,
        "fromGeneration": generation, "toGeneration": generation, "holds": holds,
    }));
    put(storage, name, text).await;
    put(storage, "meta.json", format!("{manifest}\n")).await;
}

async fn refused(device: &mut Device) -> String {
    let (storage, traffic) = (device.storage.clone(), Traffic::new());
    let turn = device.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
    turn.await.unwrap_err().to_string()
}

#[tokio::test]
async fn edits_that_the_remote_ascribes_to_this_device_take_none_of_its_own() {
    let (mut a, mut b) = pair().await;
    a.write("note.md", "text\n");
    a.sync().await;
    b.sync().await;
    let id = a.engine.find("note.md").unwrap().to_string();
    let device = a.engine.replica().unwrap().device.to_string();
    let lie = entity(&id, &device, 1_000, &[("path", json!("note.md")), ("body", json!("lie\n"))]);
    plant(&a.storage, &lie, "entities/note.x.1-0123456789abcdef.json").await;
    a.sync().await;
    assert_ne!(a.engine.replica().unwrap().device.as_str(), device);
    a.write("note.md", "mine\n");
    a.sync().await;
    b.sync().await;
    assert_eq!(a.read("note.md"), "mine\n");
    assert_eq!(b.read("note.md"), "mine\n");
}

#[tokio::test]
async fn edits_that_nobody_vouches_for_come_once() {
    let traffic = Traffic::new();
    let storage: SharedStorage = Arc::new(Memory::new().with_traffic(traffic.clone()));
    let [mut a, mut b] = ["laptop", "phone"].map(|name| Device::new(name, &storage));
    a.connect().await;
    b.connect().await;
    a.write("note.md", "text\n");
    a.sync().await;
    // The edit before it may have gone with a remote that went back.
    let fields = [("path", json!("far.md")), ("body", json!("far\n"))];
    let far = entity("far", "zzzz", 2, &fields);
    plant(&storage, &far, "entities/note.far.1-0123456789abcdef.json").await;
    for device in [&mut a, &mut b] {
        device.sync().await;
        assert_eq!(device.read("far.md"), "far\n");
        // Who sent it again reads that once, too.
        device.sync().await;
        let before = traffic.snapshot();
        let report = device.sync().await;
        assert_eq!((report.pulled, report.pushed), (0, 0));
        assert_eq!(traffic.snapshot().since(&before).requests, 1);
        let options = CheckOptions { read_data: true };
        let found = device.engine.check(&storage, &Traffic::new(), options).await.unwrap();
        assert_eq!(found.findings, []);
    }
    b.write("far.md", "far and near\n");
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("far.md"), "far and near\n");
}

#[tokio::test]
async fn numbers_without_measure_are_refused() {
    for number in [json!(18_446_744_073_709_549_568_u64), json!(9_007_199_254_740_992_u64)] {
        let (mut a, _) = pair().await;
        a.write("note.md", "text\n");
        let mut lie = manifest(&a.storage).await;
        lie["generation"] = number.clone();
        put(&a.storage, "meta.json", lie.to_string()).await;
        let told = refused(&mut a).await;
        assert!(told.contains("generation"), "{told}");
    }
}

#[tokio::test]
async fn counts_that_do_not_add_up_stop_nobody() {
    let (mut a, _) = pair().await;
    let mut lie = manifest(&a.storage).await;
    let row = |name: &str| {
        json!({
            "file": name, "bytes": 18_446_744_073_709_549_568_u64, "sha256": "0".repeat(64),
            "entities": 18_446_744_073_709_549_568_u64, "fromGeneration": 1, "toGeneration": 1,
            "holds": {"zzzz": 1},
        })
    };
    lie["deltas"] = json!([row("deltas/1-zzzz-a.json"), row("deltas/1-zzzz-b.json")]);
    put(&a.storage, "meta.json", lie.to_string()).await;
    let mut c = Device::new("tablet", &a.storage);
    c.connect().await;
    a.write("note.md", "text\n");
    let report = a.sync().await;
    assert_eq!(report.pushed, 1);
    let (storage, traffic) = (a.storage.clone(), Traffic::new());
    let options = CompactOptions { dry_run: true, force: false };
    let _ = a.engine.compact(&storage, &traffic, options, &Silent).await;
}

#[tokio::test]
async fn a_record_of_absurd_age_spoils_no_file_that_is_written_with_it() {
    let (mut a, mut b) = pair().await;
    let most = 9_007_199_254_740_991_u64;
    let at = "2026-11-20T10:30:00.123Z";
    let old = json!({
        "id": "old", "clock": {"yyyy": [most, most, at], "zzzz": [most, most - 1, at]},
        "fields": {"path": [{"dot": "zzzz:7", "at": at, "value": "old.md"}]},
    });
    plant(&a.storage, &old, "entities/note.old.1-0123456789abcdef.json").await;
    a.sync().await;
    a.write("old.md", "edited\n");
    a.write("new.md", "new\n");
    a.sync().await;
    let report = b.sync().await;
    assert_eq!(report.notes, []);
    assert_eq!((b.read("old.md"), b.read("new.md")), ("edited\n".into(), "new\n".into()));
}

#[tokio::test]
async fn names_of_manifests_beyond_all_counting() {
    let storage: SharedStorage = Arc::new(Memory::new());
    let mut a = Device::new("laptop", &storage);
    a.engine.connect(&storage, Some(CommitMode::Rename)).await.unwrap();
    a.write("note.md", "text\n");
    a.sync().await;
    put(&storage, "meta/18446744073709551615-x.json", "{}".to_owned()).await;
    let traffic = Traffic::new();
    let options = CompactOptions::default();
    a.engine.compact(&storage, &traffic, options, &Silent).await.unwrap();
    assert!(storage.read(&path("meta/18446744073709551615-x.json"), 9).await.is_ok());
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_written_nowhere() {
    let (mut a, _) = pair().await;
    let paths = [
        "../x.md",
        "/tmp/larder-x.md",
        ".larder/config.toml",
        "a/../../x",
        ".GIT/hooks",
        "a\u{0}b",
    ];
    for (number, place) in paths.into_iter().enumerate() {
        let id = format!("e{number}");
        let fields = [("path", json!(place)), ("body", json!("evil\n"))];
        let entity = entity(&id, &format!("zzz{number}"), 1, &fields);
        plant(&a.storage, &entity, &format!("entities/note.{id}.1-0123456789abcdef.json")).await;
    }
    let layout = "---\nevil: 1\n\u{0}t\u{0}\n---\nmore\n";
    let fields = [("path", json!("fine.md")), ("$layout", json!(layout)), ("t", json!("x"))];
    let mut odd = entity("odd", "zzzz9", 1, &fields);
    odd["fields"]["t"][0]["source"] = json!("x\n---\ninjected: yes\n---\n");
    plant(&a.storage, &odd, "entities/note.odd.1-0123456789abcdef.json").await;
    let report = a.sync().await;
    assert_eq!(a.names(), ["fine.md"]);
    assert!(!a.read("fine.md").contains("injected"), "{}", a.read("fine.md"));
    assert!(report.notes.len() >= paths.len());
}

#[tokio::test]
async fn a_file_whose_record_goes_elsewhere_stays_where_it_is() {
    let (mut a, _) = pair().await;
    a.write("note.md", "text\n");
    a.sync().await;
    let id = a.engine.find("note.md").unwrap();
    let mut moved = entity(id.as_str(), "zzzz", 1, &[("path", json!("../note.md"))]);
    moved["fields"]["body"] =
        json!([{"dot": "zzzz:1", "at": "2036-11-20T10:30:00.123Z", "value": "more\n"}]);
    let seen = &a.engine.store().record(&id).unwrap().unwrap().state.clock;
    for (device, last) in seen {
        moved["clock"][device.as_str()] = json!(last);
    }
    plant(&a.storage, &moved, "entities/note.x.1-0123456789abcdef.json").await;
    for _ in 0..2 {
        a.sync().await;
        assert_eq!((a.names(), a.read("note.md")), (vec!["note.md".into()], "more\n".into()));
    }
    let fields = serde_json::Map::from_iter([("path".to_owned(), json!("../x.md"))]);
    let told = a.engine.put("note", None, fields).unwrap_err().to_string();
    assert!(told.contains("cannot be set"), "{told}");
}

#[tokio::test]
async fn a_dry_run_makes_no_remote() {
    let (mut a, _) = pair().await;
    let empty: SharedStorage = Arc::new(Memory::new());
    let options = TurnOptions { dry_run: true, recreate_remote: true, accept_deletes: false };
    let traffic = Traffic::new();
    assert!(a.engine.turn(&empty, &traffic, options, &Silent).await.is_err());
    assert!(empty.list(&RemotePath::root()).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_counter_that_counts_too_far_spoils_no_file() {
    let (mut a, mut b) = pair().await;
    a.write("larder.toml", "[[type]]\nname = \"note\"\n[type.fields]\nn = \"counter\"\n");
    a.write("note.md", "---\nn: 1\n---\n");
    a.sync().await;
    b.sync().await;
    b.sync().await;
    a.write("note.md", "---\nn: 9007199254740992\n---\n");
    b.write("note.md", "---\nn: 9007199254740990\n---\n");
    a.sync().await;
    b.write("other.md", "other\n");
    b.sync().await;
    let report = a.sync().await;
    assert_eq!(report.notes, []);
    assert_eq!(a.read("other.md"), "other\n");
    assert_eq!(a.read("note.md"), b.read("note.md"));
}

#[tokio::test]
async fn a_compaction_that_finds_lost_edits_says_what_its_packs_hold() {
    let (mut a, mut b) = pair().await;
    a.engine.set_pace(Pace { orphan_hours: 0, ..Pace::default() });
    a.write("note.md", "---\ntitle: Milk\n---\n");
    a.sync().await;
    b.sync().await;
    let id = a.engine.find("note.md").unwrap().to_string();
    let orphan = entity(&id, "zzzz", 5, &[("title", json!("Oats"))]);
    put(&a.storage, "entities/note.x.0-0123456789abcdef.json", format!("{orphan}\n")).await;
    let (storage, traffic) = (a.storage.clone(), Traffic::new());
    let mut was_retired = false;
    for _ in 0..4 {
        a.engine.compact(&storage, &traffic, CompactOptions::default(), &Silent).await.unwrap();
        let manifest = manifest(&storage).await;
        for row in ["packs", "deltas"].iter().flat_map(|list| manifest[*list].as_array().unwrap()) {
            for (device, counter) in row["holds"].as_object().unwrap() {
                let known = manifest["knows"][device].as_u64().unwrap_or(0);
                assert!(counter.as_u64().unwrap() <= known, "{device} in {manifest}");
            }
        }
        // Nobody takes it up again who finds it there all the same.
        let retired = manifest["retired"].as_array().unwrap().iter();
        let mut retired = retired.map(|old| old["file"].as_str().unwrap());
        let orphan = "entities/note.x.0-0123456789abcdef.json";
        was_retired |= retired.any(|file| file == orphan);
        a.sync().await;
        b.sync().await;
    }
    assert!(was_retired);
    let orphans = storage.read(&path("entities/note.x.0-0123456789abcdef.json"), 1 << 10).await;
    assert!(orphans.is_err(), "the orphan was taken over and is still there");
    assert_eq!(a.read("note.md"), b.read("note.md"));
    let version = a.engine.store().record(&a.engine.find("note.md").unwrap()).unwrap();
    assert!(version.unwrap().state.version() <= 3);
}

/// Its writer may have been cut off, and sends the same edit again: taken over, it would be an edit
/// that a deletion of the record has not seen.
#[tokio::test]
async fn a_file_that_nobody_names_is_left_to_its_writer_for_a_day() {
    let (mut a, _) = pair().await;
    a.write("note.md", "---\ntitle: Milk\n---\n");
    a.sync().await;
    let id = a.engine.find("note.md").unwrap();
    let orphan = entity(id.as_str(), "zzzz", 5, &[("title", json!("Oats"))]);
    let file = "entities/note.x.0-0123456789abcdef.json";
    put(&a.storage, file, format!("{orphan}\n")).await;
    let storage = a.storage.clone();
    for _ in 0..4 {
        let options = CompactOptions::default();
        a.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    }
    assert!(storage.read(&path(file), 1 << 10).await.is_ok());
    assert_eq!(a.engine.store().record(&id).unwrap().unwrap().state.version(), 1);
}

#[tokio::test]
async fn a_compaction_does_not_replace_what_is_shown_by_what_was_lost() {
    let (mut a, mut b) = pair().await;
    a.engine.set_pace(Pace { orphan_hours: 0, ..Pace::default() });
    a.write("note.md", "---\ntitle: Milk\n---\n");
    a.sync().await;
    b.sync().await;
    let id = a.engine.find("note.md").unwrap().to_string();
    for (device, title) in [("yyyy", "Oats"), ("zzzz", "Rye")] {
        let orphan = entity(&id, device, 5, &[("title", json!(title))]);
        let name = format!("entities/{device}.x.0-0123456789abcdef.json");
        put(&a.storage, &name, format!("{orphan}\n")).await;
    }
    let (storage, traffic) = (a.storage.clone(), Traffic::new());
    let mut versions = Vec::new();
    for _ in 0..6 {
        a.engine.compact(&storage, &traffic, CompactOptions::default(), &Silent).await.unwrap();
        a.sync().await;
        let id = a.engine.find("note.md").unwrap();
        versions.push(a.engine.store().record(&id).unwrap().unwrap().state.version());
    }
    b.sync().await;
    assert_eq!(versions.last(), versions.iter().rev().nth(2), "{versions:?}");
    let conflicts = b.engine.store().conflicts(false).unwrap();
    let values: Vec<String> = conflicts
        .iter()
        .flat_map(|c| &c.conflict.values)
        .filter_map(|value| value.content.as_ref()?.value.as_str().map(str::to_owned))
        .collect();
    for title in ["Milk", "Oats", "Rye"] {
        assert!(values.iter().any(|value| value == title), "{title} is gone: {values:?}");
    }
}

#[tokio::test]
async fn only_files_of_records_are_taken_away_whatever_a_manifest_calls_retired() {
    let (mut a, _b) = pair().await;
    a.write("note.md", "one\n");
    a.sync().await;
    let mut now = manifest(&a.storage).await;
    now["retired"] = json!([
        { "file": "heads/zzzz.json", "since": "2020-01-01T00:00:00.000Z" },
        { "file": "photos/mine.jpg", "since": "2020-01-01T00:00:00.000Z" },
    ]);
    put(&a.storage, "meta.json", now.to_string()).await;
    for file in ["heads/zzzz.json", "photos/mine.jpg"] {
        put(&a.storage, file, "mine".to_owned()).await;
    }
    let (storage, options) = (a.storage.clone(), CompactOptions { force: true, dry_run: false });
    a.engine.compact(&storage, &Traffic::new(), options, &Silent).await.unwrap();
    for file in ["heads/zzzz.json", "photos/mine.jpg"] {
        storage.read(&path(file), 1 << 10).await.unwrap();
    }
}
