//! Keys, passphrases and envelopes.

use super::*;

fn id() -> RemoteId {
    RemoteId::new(ID).unwrap()
}

fn wrap(passphrase: &str) -> KeyFile {
    KeyFile::wrap(&id(), &key(7), &Passphrase::new(passphrase), CHEAP).unwrap()
}

#[tokio::test]
async fn a_passphrase_can_be_changed_and_the_old_one_opens_nothing() {
    let memory = Memory::new();
    let storage: SharedStorage = Arc::new(memory.clone());
    let told = KeyFiles::read(&storage, &id()).await.unwrap_err().to_string();
    assert_eq!(told, "the remote's key is missing or damaged: there is none in the folder keys");
    lock(&storage, &wrap("the first one")).await.unwrap();
    let open = async |typed: &str| {
        KeyFiles::read(&storage, &id()).await.unwrap().open(&Passphrase::new(typed))
    };
    assert_eq!(open("the first one").await.unwrap().bytes(), key(7).bytes());
    let wrong = open("the first two").await.unwrap_err();
    assert_eq!(wrong.to_string(), "the passphrase is wrong: it does not open this remote");
    lock(&storage, &wrap("the second one")).await.unwrap();
    assert_eq!(memory.files().len(), 1, "the old one is gone");
    assert!(matches!(open("the first one").await, Err(SealError::WrongPassphrase)));
    assert_eq!(open("the second one").await.unwrap().bytes(), key(7).bytes());
    // Two devices that change it at once: either opens it. What is torn or another's does not count.
    memory.insert_raw(&path("keys/2-another.json"), wrap("the other one").encode());
    memory.insert_raw(&path("keys/3-torn.json"), "{\"format\": 1");
    let foreign = KeyFile::wrap(
        &RemoteId::new("another-remote").unwrap(),
        &key(9),
        &Passphrase::new("the first one"),
        CHEAP,
    );
    memory.insert_raw(&path("keys/4-foreign.json"), foreign.unwrap().encode());
    memory.insert_raw(&path("keys/1-old.json"), wrap("the first one").encode());
    assert!(open("the second one").await.is_ok() && open("the other one").await.is_ok());
    assert!(matches!(open("the first one").await, Err(SealError::WrongPassphrase)));
}

#[test]
fn a_wrapped_key_is_bound_to_its_remote_and_its_cost() {
    let file = serde_json::to_value(wrap("correct horse")).unwrap();
    let passphrase = Passphrase::new("correct horse");
    for (at, value) in [
        ("/remoteId", Value::from("another-remote")),
        ("/kdf/iterations", Value::from(2)),
        ("/kdf/memoryKib", Value::from(8193)),
        ("/kdf/salt", Value::from(BASE64_NOPAD.encode(&[1; 16]))),
        ("/nonce", Value::from(BASE64_NOPAD.encode(&[1; 24]))),
        ("/wrapped", Value::from(BASE64_NOPAD.encode(&[1; 48]))),
    ] {
        let mut other = file.clone();
        *other.pointer_mut(at).unwrap() = value;
        let other = KeyFile::decode(other.to_string().as_bytes()).unwrap();
        assert!(matches!(other.unwrap(&passphrase), Err(SealError::WrongPassphrase)), "{at}");
    }
}

#[test]
fn a_key_that_would_cost_too_much_or_too_little_is_refused() {
    let file = serde_json::to_value(wrap("correct horse")).unwrap();
    for (at, value, why) in [
        (
            "/kdf/memoryKib",
            Value::from(131_073),
            "131073 KiB of memory, not between 8192 and 131072",
        ),
        ("/kdf/memoryKib", Value::from(8191), "8191 KiB of memory, not between 8192 and 131072"),
        ("/kdf/memoryKib", Value::from(u32::MAX), "not between"),
        ("/kdf/iterations", Value::from(17), "17 iterations, not between 1 and 16"),
        ("/kdf/iterations", Value::from(0), "0 iterations"),
        ("/kdf/parallelism", Value::from(9), "9 lanes, not between 1 and 8"),
        ("/kdf/name", Value::from("argon2d"), "made by \"argon2d\""),
        ("/kdf/salt", Value::from("AAAA"), "a salt of 3 bytes"),
        ("/format", Value::from(2), "form 2"),
        ("/kdf/memoryKib", Value::from(-1), "invalid value"),
        ("/nonce", Value::from("not base64!"), "invalid"),
    ] {
        let mut other = file.clone();
        *other.pointer_mut(at).unwrap() = value;
        let told = KeyFile::decode(other.to_string().as_bytes()).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
    let long = vec![b' '; usize::try_from(KEY_FILE_BYTES_MAX).unwrap() + 1];
    let told = KeyFile::decode(&long).unwrap_err().to_string();
    assert!(told.contains("16385 bytes, over 16384"), "{told}");
    let short = KeyFile::wrap(&id(), &key(7), &Passphrase::new("seven77"), CHEAP).unwrap_err();
    assert_eq!(short.to_string(), "a passphrase needs at least 8 characters");
}

#[test]
fn the_default_cost_is_within_what_is_taken() {
    let Cost { memory_kib, iterations, parallelism } = Cost::default();
    assert_eq!((memory_kib, iterations, parallelism), (65536, 3, 1));
}

#[tokio::test]
async fn a_meta_json_of_another_kind_is_refused_as_what_it_is() {
    let memory = Memory::new();
    let (raw, storage): (SharedStorage, _) = (Arc::new(memory.clone()), sealed(&memory));
    let meta = path("meta.json");
    let read = async || storage.read(&meta, 1000).await.map(|(bytes, _)| bytes);
    assert_eq!(inspect(&raw).await.unwrap(), Inspected::Nothing);
    storage.write(&meta, "{}"[..].into()).await.unwrap();
    assert_eq!(inspect(&raw).await.unwrap(), Inspected::Sealed(id()));
    assert_eq!(read().await.unwrap(), "{}");
    let envelope: Value = serde_json::from_slice(&memory.files()[&meta]).unwrap();
    for (at, value, why) in [
        ("/remoteId", Value::from("another-remote"), "belongs to another remote (another-remote)"),
        ("/encryption/version", Value::from(2), "version 2"),
        ("/encryption/cipher", Value::from("rot13"), "a cipher \"rot13\""),
        ("/minReader", Value::from(1), "speaks of a cipher"),
        ("/sealed", Value::from("{}"), "invalid"),
        ("/sealed", Value::from(BASE64_NOPAD.encode(b"{}")), "it is not encrypted"),
    ] {
        let mut other = envelope.clone();
        *other.pointer_mut(at).unwrap() = value;
        memory.insert_raw(&meta, other.to_string());
        let told = read().await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Damaged);
        assert!(told.to_string().contains(why), "{told}");
    }
    // That of a remote that is not encrypted, and one that is too new for both.
    let plain = r#"{"format":1,"minReader":1,"remoteId":"018f4e3a-7c00-7000-8000-0000000000e1","commitMode":"rename"}"#;
    memory.insert_raw(&meta, plain);
    assert_eq!(inspect(&raw).await.unwrap(), Inspected::Plain);
    let told = read().await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Config);
    assert!(told.to_string().contains("is not encrypted"), "{told}");
    memory.insert_raw(&meta, plain.replace("\"minReader\":1", "\"minReader\":3"));
    assert!(matches!(inspect(&raw).await, Err(SealError::NeedsNewer { needed: 3 })));
    assert_eq!(read().await.unwrap(), r#"{"minReader":3}"#);
    // Damaged or not, its version is told, for who writes it anew.
    let Get::Object(object) = storage.get(&meta, GetOptions::default()).await.unwrap() else {
        panic!()
    };
    assert!(object.version.is_some());
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?} {:?} {:?}", key(7), Passphrase::new("correct horse"), sealer());
    assert_eq!(shown, format!("DataKey(…) Passphrase(…) Sealer {{ remote_id: {ID:?}, .. }}"));
    assert_eq!(DataKey::from_text(&key(7).to_text()).unwrap().bytes(), key(7).bytes());
    for wrong in ["", "AAAA", "not base64!"] {
        assert!(DataKey::from_text(wrong).is_none());
    }
    assert_ne!(DataKey::random().unwrap().bytes(), DataKey::random().unwrap().bytes());
}

#[tokio::test]
async fn a_key_is_told_from_another_by_what_lies_there() {
    let memory = Memory::new();
    let storage: SharedStorage = Arc::new(memory.clone());
    let (right, wrong) = (sealer(), Sealer::new(ID, &key(8)));
    let fits =
        async || (fit(&storage, &right).await.unwrap(), fit(&storage, &wrong).await.unwrap());
    assert_eq!(fits().await, (Fit::Unknown, Fit::Unknown), "nothing lies there");
    let meta = Envelope::seal(&right, b"{}").unwrap().encode();
    memory.insert_raw(&path("meta.json"), meta.clone());
    assert_eq!(fits().await, (Fit::Opens, Fit::Refused));
    // That it is damaged is not told from a wrong key, until a name speaks for one.
    let (most, end) = meta.split_at(meta.rfind('"').unwrap() - 9);
    let other = if end.starts_with('A') { "B" } else { "A" };
    for damaged in [[most, other, &end[1..]].concat(), "{".to_owned()] {
        memory.insert_raw(&path("meta.json"), damaged);
        memory.insert_raw(&path("packs/sync-conflict.tmp"), "no name of ours");
        let before = fits().await;
        assert!(before.0 == before.1 && before.0 != Fit::Opens, "{before:?}");
        sealed(&memory).write(&path("packs/1-a.jsonl"), "x".into()).await.unwrap();
        assert_eq!(fits().await, (Fit::Opens, Fit::Refused));
        for file in memory.files().into_keys().filter(|file| file.as_str().starts_with("packs/")) {
            memory.delete(&file).await.unwrap();
        }
    }
    memory.insert_raw(&path("meta.json"), "{\"format\": 1, \"remoteId\": \"x\"}");
    assert_eq!(fits().await, (Fit::Unknown, Fit::Unknown), "it is in clear");
}

#[test]
fn a_fingerprint_is_that_of_one_key_on_one_remote() {
    let other = RemoteId::new("another-remote").unwrap();
    let all = [(7, id()), (8, id()), (7, other)].map(|(byte, id)| key(byte).fingerprint(&id));
    assert!(all.iter().all(|one| one.len() == 16), "{all:?}");
    assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2], "{all:?}");
    assert_eq!(all[0], key(7).fingerprint(&id()));
}
