//! Encrypted remotes: the envelope, wrapped keys, sealed files and sealed names.

use std::sync::{Arc, LazyLock};

use larder::seal::{DataKey, Envelope, KeyFile, Sealed, Sealer, plain_bytes, sealed_bytes};
use larder_providers::{
    Get, GetOptions, Memory, RemotePath, SharedStorage, Storage, StorageExt, collect,
};

use crate::{pieces::Pieces, turn::RUNTIME};

const ID: &str = "018f4e3a-7c00-7000-8000-0000000000e1";

static KEY: LazyLock<DataKey> = LazyLock::new(|| DataKey::random().expect("there is chance"));

fn path(text: &str) -> RemotePath {
    RemotePath::new(text).expect("it is a name")
}

fn sealed(memory: &Memory) -> SharedStorage {
    Arc::new(Sealed::new(Arc::new(memory.clone()), Sealer::new(ID, &KEY)))
}

/// Whatever lies on a remote is read without a panic, and nothing of it is believed that was not sealed
/// there; of what was sealed no other byte is, wherever it is changed.
pub(crate) fn files(data: &[u8]) {
    let _ = KeyFile::decode(data);
    if let Ok(Some(envelope)) = Envelope::decode(data) {
        let text = serde_json::to_vec(&envelope).expect("it was read from JSON");
        assert_eq!(Envelope::decode(&text).ok(), Some(Some(envelope)));
    }
    RUNTIME.block_on(async {
        strange(data).await;
        changed(data).await;
    });
}

/// Files of anything under any name.
async fn strange(data: &[u8]) {
    let memory = Memory::new();
    let storage = sealed(&memory);
    if let Some(plain) = plain_bytes(data.len() as u64) {
        assert_eq!(sealed_bytes(plain), data.len() as u64);
    }
    for (folder, name) in [("heads", "k3v9x2.json"), ("meta", "1-a.json"), ("", "meta.json")] {
        let at = if folder.is_empty() { path(name) } else { path(&format!("{folder}/{name}")) };
        memory.insert_raw(&at, data.to_vec());
        if let Ok((bytes, _)) = storage.read(&at, u64::MAX).await {
            // Only that the remote is too new is passed on of what is in clear.
            assert!(at.as_str() == "meta.json" && bytes.starts_with(b"{\"minReader\":"), "{at}");
        }
    }
    let mut pieces = Pieces::of(data);
    if let Ok(at) = RemotePath::new(format!("packs/{}", pieces.text())) {
        memory.insert_raw(&at, data.to_vec());
    }
    let listing = storage.list(&path("packs")).await.expect("it is in memory");
    // A folder is nobody's file, whoever made it.
    assert!(listing.entries.iter().all(|entry| entry.is_folder), "{listing:?}");
}

/// A file that was sealed, with one byte of it another one, or its end gone.
async fn changed(data: &[u8]) {
    let memory = Memory::new();
    let storage = sealed(&memory);
    let mut pieces = Pieces::of(data);
    let (at, by) = (pieces.number(1 << 20), pieces.number(255));
    let content = pieces.next().unwrap_or_default().repeat(1 + usize::from(at > 1 << 16) * 64);
    let pack = path("packs/1-a");
    storage.write(&pack, content.clone().into()).await.expect("it is in memory");
    let (stored, mut bytes) =
        memory.files().into_iter().map(|(at, bytes)| (at, bytes.to_vec())).next().expect("one");
    let (length, number) = (content.len() as u64, usize::try_from(at).unwrap_or_default());
    let start = at.min(length);
    let range = start..(start + by).min(length);
    let options = GetOptions { range: Some(range.clone()), if_none_match: None };
    let Get::Object(object) = storage.get(&pack, options).await.expect("it is there") else {
        panic!("nothing was said about a version")
    };
    assert_eq!(object.range, Some(range.clone()));
    let got = collect(&pack, object, u64::MAX).await.expect("it is whole");
    let part = |at: u64| usize::try_from(at).unwrap_or_default();
    assert_eq!(got, content[part(range.start)..part(range.end)]);
    match u8::try_from(by) {
        Ok(0) | Err(_) => bytes.truncate(number % bytes.len()),
        Ok(by) => {
            let at = number % bytes.len();
            bytes[at] ^= by;
        }
    }
    memory.insert_raw(&stored, bytes);
    assert!(storage.read(&pack, u64::MAX).await.is_err(), "a changed file is believed");
}
