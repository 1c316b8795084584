use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use larder_providers::{
    Body, ErrorKind, Get, GetOptions, Local, Memory, PutMode, RemotePath, SharedStorage, Storage,
    StorageExt, collect, conformance,
};
use proptest::prelude::*;
use serde_json::Value;

use super::{chunks::CHUNK_BYTES, *};
use crate::{
    digest::sha256_hex,
    model::{
        RemoteId,
        limits::{KEY_FILE_BYTES_MAX, SEALED_NAME_BYTES_MAX},
    },
};

mod files;
mod keys;

const ID: &str = "018f4e3a-7c00-7000-8000-0000000000e1";
const PACK: &str = "packs/3-056b89613e42b9ac-qwerty.jsonl.zst";

/// What a guess costs here.
const CHEAP: Cost = Cost { memory_kib: 8 << 10, iterations: 1, parallelism: 1 };

fn path(text: &str) -> RemotePath {
    RemotePath::new(text).unwrap()
}

fn key(byte: u8) -> DataKey {
    DataKey::from_bytes(&[byte; 32]).unwrap()
}

fn sealer() -> Sealer {
    Sealer::new(ID, &key(7))
}

fn sealed(memory: &Memory) -> SharedStorage {
    Arc::new(Sealed::new(Arc::new(memory.clone()), sealer()))
}

/// The content that the vectors are about.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../fixtures/encryption/vectors.json")).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn is_a_storage_like_any_other() {
    conformance::run(async || sealed(&Memory::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_a_storage_like_any_other_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(async || {
        let local = Arc::new(Local::new(dir.path()));
        let sealed = Sealed::new(local, sealer()).with_scratch(dir.path().join("scratch"));
        Arc::new(sealed) as SharedStorage
    })
    .await;
}

#[test]
fn what_an_independent_program_sealed_is_opened() {
    let vectors = vectors();
    let key = DataKey::from_text(text(&vectors, "dataKey")).unwrap();
    let sealer = Sealer::new(text(&vectors, "remoteId"), &key);
    for name in vectors["names"].as_array().unwrap() {
        let (folder, sealed) = (text(name, "folder"), text(name, "sealed"));
        assert_eq!(sealer.seal_name(folder, text(name, "name")), sealed);
        assert_eq!(sealer.open_name(folder, sealed).unwrap(), text(name, "name"));
    }
    for file in vectors["files"].as_array().unwrap() {
        let length = usize::try_from(file["contentBytes"].as_u64().unwrap()).unwrap();
        let sealed_len = file["sealedBytes"].as_u64().unwrap();
        assert_eq!(sealed_bytes(length as u64), sealed_len);
        assert_eq!(plain_bytes(sealed_len), Some(length as u64));
        let prefix = HEXLOWER.decode(text(file, "prefix").as_bytes()).unwrap();
        let made = sealer.seal_with(text(file, "place"), &content(length), &prefix);
        assert_eq!(sha256_hex(&made), text(file, "sha256"), "{length}");
        assert_eq!(sealer.open(text(file, "place"), &made).unwrap(), content(length));
        if let Some(whole) = file["sealed"].as_str() {
            assert_eq!(HEXLOWER.encode(&made), whole);
        }
    }
    let file = KeyFile::decode(vectors["keyFile"].to_string().as_bytes()).unwrap();
    let opened = file.unwrap(&Passphrase::new(text(&vectors, "passphrase"))).unwrap();
    assert_eq!(*opened.to_text(), text(&vectors, "dataKey"));
    let meta = &vectors["meta"];
    let envelope = Envelope::decode(meta["envelope"].to_string().as_bytes()).unwrap().unwrap();
    assert_eq!(envelope.open(&sealer).unwrap(), text(meta, "plain").as_bytes());
}

#[test]
fn names_are_short_enough_for_every_storage_and_tell_nothing() {
    let sealer = sealer();
    let longest = "n".repeat(SEALED_NAME_BYTES_MAX);
    let sealed = sealer.seal_name("entities", &longest);
    assert_eq!(sealed.len(), larder_providers::NAME_BYTES_MAX);
    assert_eq!(sealer.open_name("entities", &sealed).unwrap(), longest);
    assert!(RemotePath::new(format!("entities/{sealed}")).is_ok());
    // The same name elsewhere, or on another remote, is another one.
    let name = "3-056b89613e42b9ac-qwerty.jsonl.zst";
    let here = sealer.seal_name("packs", name);
    assert_ne!(here, sealer.seal_name("deltas", name));
    assert_ne!(here, Sealer::new("another-remote", &key(7)).seal_name("packs", name));
    assert_eq!(sealer.open_name("deltas", &here), None);
}

proptest! {
    #[test]
    fn a_name_comes_back_and_no_other_text_is_one(name in "[a-z0-9_-][a-z0-9._-]{0,100}", at: prop::sample::Index) {
        let sealer = sealer();
        let sealed = sealer.seal_name("packs", &name);
        prop_assert_eq!(sealer.open_name("packs", &sealed), Some(name.clone()));
        let mut other = sealed.into_bytes();
        let at = at.index(other.len());
        other[at] = if other[at] == b'a' { b'b' } else { b'a' };
        prop_assert_eq!(sealer.open_name("packs", &String::from_utf8(other).unwrap()), None);
        prop_assert_eq!(sealer.open_name("packs", &name), None);
    }

    #[test]
    fn what_larder_did_not_name_is_no_name(name in ".{0,40}|[a-z2-7]{0,200}") {
        prop_assert_eq!(sealer().open_name("blobs", &name), None);
    }

    #[test]
    fn envelopes_and_keys_of_anything_are_refused_or_read(text in ".{0,60}|\\{.{0,60}\\}") {
        let _ = Envelope::decode(text.as_bytes());
        prop_assert!(KeyFile::decode(text.as_bytes()).is_err());
        let _ = sealer().open(PACK, text.as_bytes()).is_err();
    }
}
