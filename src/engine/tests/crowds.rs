//! More heads, tokens and copies than anybody needs: what is beyond the limits is set aside, and the rest
//! goes on.

use larder_providers::{RemotePath, StorageExt};
use serde_json::{Value, json};

use super::*;
use crate::{
    engine::{CheckOptions, NoteKind},
    model::limits::{HEADS_MAX, TOKENS_MAX},
    remote::CommitMode,
};

/// A device with a note on a remote, and what lies there.
async fn founded(mode: CommitMode) -> (Device, Memory) {
    let memory = Memory::new();
    let storage: SharedStorage = Arc::new(memory.clone());
    let mut device = Device::new("laptop", &storage);
    device.engine.connect(&storage, Some(mode)).await.unwrap();
    device.write("note.md", "Milk\n");
    device.sync().await;
    (device, memory)
}

/// The only file in a folder, read as JSON.
fn only(memory: &Memory, folder: &str) -> (String, Value) {
    let files = memory.files();
    let mut found = files.iter().filter(|(name, _)| name.as_str().starts_with(folder));
    let (name, bytes) = found.next_back().unwrap();
    (name.name().to_owned(), serde_json::from_slice(bytes).unwrap())
}

/// What makes a manifest weigh about 4 MB, in a text of 120 kB.
fn heavy(manifest: &mut Value) {
    manifest["new"] = vec![0; 60_000].into();
}

async fn put(memory: &Memory, name: &str, text: impl Into<bytes::Bytes>) {
    let folder = RemotePath::new(name.split_once('/').map_or("", |(folder, _)| folder));
    let file = name.rsplit('/').next().unwrap();
    let folder = folder.unwrap_or_else(|_| RemotePath::root());
    let path = RemotePath::found(&folder, file).unwrap();
    memory.write(&path, text.into()).await.unwrap();
}

/// What a turn says of what it waits for, after it has sent and received.
async fn told(device: &mut Device, is_written: bool) -> Vec<String> {
    if is_written {
        device.write("own.md", "Oats\n");
    }
    let report = device.sync().await;
    assert_eq!(report.pushed, usize::from(is_written), "{:?}", report.notes);
    assert_eq!(device.read("note.md"), "Milk\n");
    let notes = report.notes.iter().filter(|note| note.kind == NoteKind::Waiting);
    notes.map(|note| format!("{} {}", note.subject, note.text)).collect()
}

/// As many heads of others, each made from the only one that there is.
async fn add_heads(memory: &Memory, count: usize, change: impl Fn(&mut Value)) {
    let (_, mut head) = only(memory, "heads/");
    head["generation"] = json!(0);
    change(&mut head);
    for number in 0..count {
        let device = format!("zz{number:04}");
        head["commit"] = json!({"id": device, "device": device, "prev": ""});
        put(memory, &format!("heads/{device}.json"), head.to_string()).await;
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_set_aside_and_named() {
    let (mut device, memory) = founded(CommitMode::Devices).await;
    add_heads(&memory, HEADS_MAX - 1, |_| {}).await;
    assert_eq!(told(&mut device, true).await, [] as [&str; 0]);

    let (mut device, memory) = founded(CommitMode::Devices).await;
    add_heads(&memory, HEADS_MAX + 2, |_| {}).await;
    let notes = told(&mut device, true).await;
    assert_eq!(notes, ["heads/zz0255.json is one of 3 beyond the 256 that are read"]);

    let (mut device, memory) = founded(CommitMode::Devices).await;
    add_heads(&memory, 12, heavy).await;
    let notes = told(&mut device, true).await;
    assert_eq!(notes.len(), 4, "{notes:?}");
    let why = "is set aside: what lies beside it takes the 32 MiB that heads may take in memory";
    assert!(notes.iter().all(|note| note.contains(why)), "{notes:?}");
    let storage = device.storage.clone();
    let check = CheckOptions { read_data: true };
    let found = device.engine.check(&storage, &Traffic::new(), check).await.unwrap();
    assert!(found.findings.iter().any(|finding| finding.detail.contains(why)), "{found:?}");
    // What they name stays, and once they are gone nothing is left of them.
    for name in memory.files().keys().filter(|name| name.as_str().starts_with("heads/zz")) {
        storage.delete(name).await.unwrap();
    }
    assert_eq!(told(&mut device, false).await, [] as [&str; 0]);
}

/// As many tokens, or copies of tokens, each of a higher generation than the one before.
async fn add_tokens(memory: &Memory, count: u64, ending: &str, change: impl Fn(&mut Value)) {
    let (_, mut manifest) = only(memory, "meta/");
    let generation = manifest["generation"].as_u64().unwrap();
    change(&mut manifest);
    for number in 1..=count {
        let token = format!("{}-abcdefghij", generation + number);
        manifest["generation"] = json!(generation + number);
        manifest["commit"]["id"] = json!("abcdefghij");
        put(memory, &format!("meta/{token}.json"), manifest.to_string()).await;
        put(memory, &format!("head/{token}{ending}"), "").await;
    }
}

#[tokio::test]
async fn tokens_beyond_the_limits_are_set_aside_and_named() {
    let most = TOKENS_MAX as u64;
    for (ending, count) in [("", most), (" (copy)", most + 1)] {
        let (mut device, memory) = founded(CommitMode::Rename).await;
        add_tokens(&memory, count + 2, ending, |_| {}).await;
        let notes = told(&mut device, true).await;
        assert_eq!(notes.len(), 1, "{notes:?}");
        // The head itself is one of the tokens, and the lowest of them.
        assert!(notes[0].contains("is one of 3 beyond the 16"), "{notes:?}");
        let left = memory.files().keys().filter(|n| n.as_str().starts_with("head/")).count();
        assert_eq!(left, 4, "those that were joined are gone: {:?}", memory.files().keys());
        let _ = told(&mut device, false).await;
    }
}

#[tokio::test]
async fn tokens_that_weigh_too_much_are_set_aside_and_named() {
    for ending in ["", " (copy)"] {
        let (mut device, memory) = founded(CommitMode::Rename).await;
        add_tokens(&memory, 12, ending, heavy).await;
        let notes = told(&mut device, true).await;
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("takes the 32 MiB")), "{notes:?}");
    }
}
