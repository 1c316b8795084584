//! Whole turns against a remote that may hold anything.
//!
//! An input is files, a name and a line end before each content. `vault:` before a name puts the
//! file into the vault. Where a manifest has `"sha256":"?"` the row is made true.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
};

use larder::{
    clock::Clock,
    digest::sha256_hex,
    engine::{CompactOptions, Engine, Silent, TurnOptions},
    model::{Stamp, VaultPath, VersionVector, limits::TEXT_BYTES_MAX},
    remote::codec,
    store::Store,
    vault::Vault,
};
use larder_providers::{Memory, RemotePath, SharedStorage, Traffic};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::pieces::Pieces;

/// Waits for nothing but work: time is put forward where all would sleep.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().expect("the system gives what it needs")
});

/// Whatever lies on a remote: turns end, nothing is written but files of the vault, and what the
/// user writes meanwhile stays.
pub(crate) fn hostile_remote(data: &[u8]) {
    let ground = tempfile::tempdir().expect("there is a folder for temporary files");
    let root = ground.path().join("vault");
    fs::create_dir(&root).expect("it is a new folder");
    fs::write(ground.path().join("beside.md"), "mine\n").expect("there is room");
    let storage = lay_out(data, &root);
    RUNTIME.block_on(async {
        let store = Store::in_memory().expect("a new replica");
        let vault = Vault::open(&root).expect("it is a folder");
        let clock = Clock::custom(|| Stamp::from_millis(1_795_000_000_000));
        let random = fastrand::Rng::with_seed(7);
        let mut engine =
            Engine::new(store, Some(vault), clock, random, "reader").expect("a new device");
        if engine.connect(&storage, None).await.is_err() {
            return;
        }
        let traffic = Traffic::new();
        for turn in 0..3 {
            if turn == 2 {
                fs::write(root.join("own 1.md"), "my own\n").expect("there is room");
            }
            let options = TurnOptions { accept_deletes: true, ..TurnOptions::default() };
            let _ = engine.turn(&storage, &traffic, options, &Silent).await;
        }
        let _ = engine.compact(&storage, &traffic, CompactOptions::default(), &Silent).await;
        let _ = engine.turn(&storage, &traffic, TurnOptions::default(), &Silent).await;
        assert!(traffic.snapshot().requests < 5_000, "{:?}", traffic.snapshot());
        let own = fs::read_to_string(root.join("own 1.md")).unwrap_or_default();
        assert!(own.contains("my own"), "the user's own file holds {own:?}");
    });
    let beside = fs::read_to_string(ground.path().join("beside.md"));
    assert_eq!(beside.ok().as_deref(), Some("mine\n"));
    assert_eq!(fs::read_dir(ground.path()).expect("it is there").count(), 2);
    holds_only_files(&root, &root);
}

/// Nothing but files at paths that a vault may have, none of more text than a record may have.
fn holds_only_files(root: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let kind = entry.file_type().expect("it is there");
        let (path, place) = (entry.path(), entry.path());
        let inside = place.strip_prefix(root).expect("it is below").to_str().expect("it is UTF-8");
        assert!(!kind.is_symlink(), "{inside}");
        if inside == ".larder" {
            let own = fs::read_dir(&path).expect("it is a folder").flatten();
            own.for_each(|entry| assert_eq!(entry.file_name(), "blobs"));
        } else if kind.is_dir() {
            holds_only_files(root, &path);
        } else {
            assert!(VaultPath::new(inside).is_ok(), "{inside:?}");
            let bytes = entry.metadata().expect("it is there").len();
            assert!(bytes <= 16 * TEXT_BYTES_MAX, "{inside:?} has {bytes} bytes");
        }
    }
}

/// Puts files where they belong.
fn lay_out(data: &[u8], root: &Path) -> SharedStorage {
    let memory = Memory::new();
    let mut files = BTreeMap::new();
    for piece in Pieces::of(data) {
        let end = piece.iter().position(|byte| *byte == b'\n').unwrap_or(piece.len());
        let (name, content) = piece.split_at(end);
        let content = content.get(1..).unwrap_or_default();
        let Ok(name) = str::from_utf8(name) else { continue };
        if let Some(name) = name.strip_prefix("vault:") {
            write_to_vault(root, name, content);
        } else if let Ok(path) = RemotePath::new(name) {
            let packed = name.ends_with(".zst") && content.first() == Some(&b'{');
            let packed = packed.then(|| zstd::bulk::compress(content, 1).ok()).flatten();
            files.insert(path, (packed.unwrap_or_else(|| content.to_vec()), content));
        }
    }
    for (path, (bytes, _)) in &files {
        let is_manifest = path.as_str() == "meta.json" || path.as_str().starts_with("meta/");
        let bytes = if is_manifest { completed(bytes, &files) } else { bytes.clone() };
        memory.insert_raw(path, bytes);
    }
    Arc::new(memory)
}

fn write_to_vault(root: &Path, name: &str, content: &[u8]) {
    let Ok(path) = VaultPath::new(name) else { return };
    let place = path.under(root);
    if let Some(folder) = place.parent() {
        // A file may stand where a folder should: then there is one file less.
        let _ = fs::create_dir_all(folder);
    }
    let _ = fs::write(place, content);
}

/// Makes true what a manifest says of its files, where it asks for that.
fn completed(manifest: &[u8], files: &BTreeMap<RemotePath, (Vec<u8>, &[u8])>) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(manifest) else { return manifest.to_vec() };
    for list in ["packs", "deltas"] {
        for row in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = row.get("file").and_then(Value::as_str).unwrap_or_default();
            let Some((bytes, text)) = RemotePath::new(name).ok().and_then(|name| files.get(&name))
            else {
                continue;
            };
            let is_packed = name.ends_with(".zst");
            if row.get("sha256").and_then(Value::as_str) != Some("?") {
                continue;
            }
            row["sha256"] = sha256_hex(bytes).into();
            row["bytes"] = bytes.len().into();
            if is_packed {
                row["textBytes"] = text.len().into();
            }
            let text = String::from_utf8_lossy(text);
            if row["entities"].is_null() {
                row["entities"] = text.lines().filter(|line| !line.is_empty()).count().into();
            }
            if row["holds"].is_null() {
                let mut holds = VersionVector::default();
                let entities = text.lines().filter_map(|line| codec::decode(line).ok());
                entities.for_each(|entity| holds.join(&entity.seen()));
                row["holds"] = serde_json::to_value(holds).unwrap_or_default();
            }
        }
    }
    value.to_string().into_bytes()
}
