//! Files: any length, any range, and nothing that was not sealed for its place.

use super::*;

/// A chunk as it is stored.
const STORED: usize = CHUNK_BYTES + 35;

async fn read(storage: &SharedStorage, at: &str) -> larder_providers::Result<Bytes> {
    storage.read(&path(at), u64::MAX).await.map(|(bytes, _)| bytes)
}

async fn read_range(
    storage: &SharedStorage,
    range: Range<u64>,
) -> larder_providers::Result<(Range<u64>, Bytes)> {
    let options = GetOptions { range: Some(range), if_none_match: None };
    let Get::Object(object) = storage.get(&path(PACK), options).await? else { panic!() };
    let covered = object.range.clone().unwrap();
    Ok((covered, collect(&path(PACK), object, u64::MAX).await?))
}

/// The one file that lies there, behind the wrapper's back.
fn stored(memory: &Memory) -> (RemotePath, Vec<u8>) {
    let (path, bytes) = memory.files().into_iter().next().unwrap();
    (path, bytes.to_vec())
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(read: larder_providers::Result<T>, why: &str) {
    assert_eq!(read.expect_err(why).kind(), ErrorKind::Damaged, "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_length_and_any_range_comes_back(
        chunks in 0..3_usize,
        beside in -2..3_i64,
        odd in 0..CHUNK_BYTES,
        is_odd: bool,
        at: prop::sample::Index,
        end: prop::sample::Index,
    ) {
        let whole = i64::try_from(chunks * CHUNK_BYTES).unwrap() + beside;
        let length = if is_odd { chunks * CHUNK_BYTES + odd } else { usize::try_from(whole.max(0)).unwrap() };
        let plain = content(length);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory = Memory::new();
            let storage = sealed(&memory);
            storage.write(&path(PACK), plain.clone().into()).await.unwrap();
            let (_, raw) = stored(&memory);
            assert_eq!(raw.len() as u64, sealed_bytes(length as u64));
            assert_eq!(plain_bytes(raw.len() as u64), Some(length as u64));
            let listing = storage.list(&path("packs")).await.unwrap();
            assert_eq!(listing.entries[0].path, path(PACK));
            assert_eq!(listing.entries[0].bytes, Some(length as u64));
            assert_eq!(read(&storage, PACK).await.unwrap(), plain);
            let (a, b) = (at.index(length + 1), end.index(length + 9));
            let range = a.min(b) as u64..a.max(b) as u64;
            let (covered, bytes) = read_range(&storage, range.clone()).await.unwrap();
            let expected = range.start.min(length as u64)..range.end.min(length as u64);
            assert_eq!(covered, expected);
            let at = |at| usize::try_from(at).unwrap();
            assert_eq!(bytes, plain[at(expected.start)..at(expected.end)]);
        });
    }

    #[test]
    fn a_length_that_no_file_has_is_none(length in 0..400_000_u64) {
        if let Some(plain) = plain_bytes(length) {
            prop_assert_eq!(sealed_bytes(plain), length);
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_is_noticed() {
    let memory = Memory::new();
    let storage = sealed(&memory);
    storage.write(&path(PACK), b"forty-two"[..].into()).await.unwrap();
    let (at, whole) = stored(&memory);
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        memory.insert_raw(&at, flipped);
        is_refused(read(&storage, PACK).await, &format!("bit {bit}"));
    }
    memory.insert_raw(&at, whole);
    assert_eq!(read(&storage, PACK).await.unwrap(), "forty-two");
}

#[tokio::test]
async fn a_file_cannot_be_cut_joined_or_mixed() {
    let memory = Memory::new();
    let storage = sealed(&memory);
    let plain = content(3 * CHUNK_BYTES + 100);
    storage.write(&path(PACK), plain.clone().into()).await.unwrap();
    let (at, whole) = stored(&memory);
    storage.write(&path(PACK), plain.clone().into()).await.unwrap();
    let (_, again) = stored(&memory);
    let chunk =
        |of: &[u8], n: usize| of[8 + n * STORED..(8 + (n + 1) * STORED).min(of.len())].to_vec();
    let mut wrong: Vec<(String, Vec<u8>)> = Vec::new();
    for n in 0..4 {
        for off in [0, 1, 19, 35] {
            wrong.push((format!("cut in {n} at {off}"), whole[..8 + n * STORED + off].to_vec()));
        }
        wrong.push((format!("without {n}"), {
            let kept = (0..4).filter(|m| *m != n).flat_map(|m| chunk(&whole, m));
            whole[..8].iter().copied().chain(kept).collect()
        }));
        wrong.push((format!("{n} of another writing"), {
            let mixed = (0..4).flat_map(|m| chunk(if m == n { &again } else { &whole }, m));
            whole[..8].iter().copied().chain(mixed).collect()
        }));
    }
    wrong.push(("joined".to_owned(), [&whole[..], &whole[8..]].concat()));
    wrong.push(("longer".to_owned(), [&whole[..], b"x"].concat()));
    wrong.push(("swapped".to_owned(), {
        let order = [1, 0, 2, 3].into_iter().flat_map(|m| chunk(&whole, m));
        whole[..8].iter().copied().chain(order).collect()
    }));
    wrong.push(("empty".to_owned(), Vec::new()));
    wrong.push(("plaintext".to_owned(), plain));
    for (what, bytes) in wrong {
        memory.insert_raw(&at, bytes);
        is_refused(read(&storage, PACK).await, &what);
    }
}

#[tokio::test]
async fn a_range_is_as_well_guarded() {
    let memory = Memory::new();
    let storage = sealed(&memory);
    storage.write(&path(PACK), content(3 * CHUNK_BYTES + 100).into()).await.unwrap();
    let (at, whole) = stored(&memory);
    for bit in [8, 8 + 19, 8 + STORED - 1].map(|byte| 8 * (byte + STORED)) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1;
        memory.insert_raw(&at, flipped);
        let range = CHUNK_BYTES as u64 + 5..CHUNK_BYTES as u64 + 6;
        is_refused(read_range(&storage, range).await, "a chunk in the middle");
        // What was not asked for is not looked at.
        assert!(read_range(&storage, 0..10).await.is_ok());
    }
    let other = [&whole[..8 + STORED], &whole[8..8 + STORED], &whole[8 + 2 * STORED..]].concat();
    memory.insert_raw(&at, other);
    let range = CHUNK_BYTES as u64..CHUNK_BYTES as u64 + 1;
    is_refused(read_range(&storage, range).await, "a chunk in another's place");
}

#[tokio::test]
async fn a_file_counts_only_where_it_was_written() {
    let memory = Memory::new();
    let storage = sealed(&memory);
    let names = [
        "packs/1-a.jsonl.zst",
        "deltas/1-k3v9x2-a.jsonl.zst",
        "meta/3-a.json",
        "heads/k3v9x2.json",
        "meta.json",
        "blobs/aa-bb",
    ];
    for name in names {
        storage.write(&path(name), name.as_bytes().into()).await.unwrap();
    }
    let raw = memory.files();
    let stored: Vec<(&str, RemotePath)> = names
        .iter()
        .map(|name| {
            let folder = path(name).parent().unwrap();
            let is_named = SEALED_FOLDERS.contains(&folder.as_str());
            let own = sealer().seal_name(folder.as_str(), path(name).name());
            (*name, if is_named { folder.join(&own).unwrap() } else { path(name) })
        })
        .collect();
    for (name, at) in &stored {
        assert_eq!(read(&storage, name).await.unwrap(), name.as_bytes());
        for (other, from) in &stored {
            if from != at {
                memory.insert_raw(at, raw[from].clone());
                is_refused(read(&storage, name).await, &format!("{other} at {name}"));
            }
        }
        // Nor what another remote with the same key holds there, nor another key.
        for strange in [Sealer::new("another-remote", &key(7)), Sealer::new(ID, &key(8))] {
            let foreign = strange.seal(name, b"x").unwrap();
            memory.insert_raw(at, foreign);
            is_refused(read(&storage, name).await, name);
        }
        memory.insert_raw(at, raw[at].clone());
    }
    // An older state of a head is what it is: that the remote went back is seen by what it knows.
    let old = memory.snapshot();
    storage.write(&path("heads/k3v9x2.json"), "new"[..].into()).await.unwrap();
    memory.restore(&old);
    assert_eq!(read(&storage, "heads/k3v9x2.json").await.unwrap(), "heads/k3v9x2.json");
}

#[tokio::test]
async fn copies_of_heads_are_read_and_somebody_elses_files_are_told() {
    let memory = Memory::new();
    let storage = sealed(&memory);
    for name in ["heads/k3v9x2.json", "meta.json"] {
        storage.write(&path(name), name.as_bytes().into()).await.unwrap();
    }
    let raw = memory.files();
    let heads = path("heads");
    let copies = [
        (heads.clone(), "k3v9x2 (Ann's conflicted copy).json", "heads/k3v9x2.json"),
        (heads.clone(), "k3v9x2.sync-conflict-20261120-101500-ABCDEFG.json", "heads/k3v9x2.json"),
        (RemotePath::root(), "Meta (1).json", "meta.json"),
        (RemotePath::root(), "meta.sync-conflict-20261120-101500-ABCDEFG.json", "meta.json"),
    ];
    for (folder, name, of) in &copies {
        let copy = RemotePath::found(folder, name).unwrap();
        memory.insert_raw(&copy, raw[&path(of)].clone());
        let (bytes, _) = storage.read(&copy, 1000).await.unwrap();
        assert_eq!(bytes, of.as_bytes(), "{name}");
    }
    memory.insert_raw(&path("packs/stranger"), "x");
    memory.insert_raw(&path("keys/1-abcdef.json"), "x");
    let packs = storage.list(&path("packs")).await.unwrap();
    assert_eq!((packs.entries.len(), packs.foreign), (0, vec!["stranger".to_owned()]));
    let root = storage.list_names(&RemotePath::root()).await.unwrap();
    let names: Vec<&str> = root.entries.iter().map(|entry| entry.path.name()).collect();
    assert_eq!(names, ["heads", "meta.json", "packs"]);
}

#[tokio::test]
async fn a_name_that_would_not_fit_is_refused() {
    let storage = sealed(&Memory::new());
    let long = format!("packs/{}", "n".repeat(SEALED_NAME_BYTES_MAX + 1));
    let refused = read(&storage, &long).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("longer than 109 bytes"), "{refused}");
}

#[tokio::test]
async fn a_local_file_is_sealed_on_its_way_and_proven_before() {
    let dir = tempfile::tempdir().unwrap();
    let (file, scratch) = (dir.path().join("photo"), dir.path().join("scratch"));
    let plain = content(2 * CHUNK_BYTES + 17);
    tokio::fs::write(&file, &plain).await.unwrap();
    let memory = Memory::new();
    let inner: SharedStorage = Arc::new(memory.clone());
    let storage: SharedStorage = Arc::new(Sealed::new(inner, sealer()).with_scratch(&scratch));
    let body = |bytes, sha256: &str| {
        let (path, sha256) = (file.clone(), Some(sha256.to_owned()));
        Body::File { path, bytes, sha256 }
    };
    let put = async |body| storage.put(&path("blobs/aa-bb"), body, PutMode::Overwrite).await;
    let length = plain.len() as u64;
    for wrong in [body(length, &sha256_hex(b"other")), body(length + 1, &sha256_hex(&plain))] {
        assert_eq!(put(wrong).await.unwrap_err().kind(), ErrorKind::Changed);
        assert!(memory.files().is_empty(), "nothing of it was sent");
    }
    put(body(length, &sha256_hex(&plain))).await.unwrap();
    assert_eq!(read(&storage, "blobs/aa-bb").await.unwrap(), plain);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing stays behind");
}
