//! What every provider has to do: one suite, held against each of them.

mod races;

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::{
    Body, Capabilities, ErrorKind, Get, GetOptions, Listing, Move, Object, Put, PutMode,
    RemotePath, SharedStorage, Storage, StorageExt, Version, collect,
};

/// Holds a provider against the contract of [`Storage`]; panics where it breaks it.
///
/// `make` is asked for a storage before every check. All of them may be one and the same: each
/// check works in a folder of its own. What is checked follows from the declared capabilities.
pub async fn run(make: impl AsyncFn() -> SharedStorage) {
    macro_rules! check {
        ($($check:path),* $(,)?) => {$(
            $check(&Bench::new(make().await, stringify!($check)).await).await;
        )*};
    }
    check!(
        keeps_what_it_is_given,
        makes_the_folders_above,
        tells_what_is_missing,
        lists_a_folder,
        takes_long_names,
        moves_a_file,
        creates_and_updates_on_condition,
        reads_ranges,
        knows_what_has_not_changed,
        streams_big_files,
        races::many_files_at_once,
        races::one_of_many_moves_it_away,
        races::one_of_many_creates_it,
        races::one_of_many_updates_it,
        races::readers_see_whole_files,
    );
}

/// One check's own folder in a storage.
pub(crate) struct Bench {
    pub(crate) storage: SharedStorage,
    pub(crate) folder: RemotePath,
}

impl Bench {
    async fn new(storage: SharedStorage, check: &str) -> Self {
        let name = check.rsplit(':').next().unwrap_or_default();
        let name = format!("{}-{:08x}", name.trim(), fastrand::u32(..));
        let folder = RemotePath::new(name).expect("a good name");
        storage.make_folder(&folder).await.expect("a folder below the root can be made");
        Self { storage, folder }
    }

    pub(crate) fn path(&self, name: &str) -> RemotePath {
        self.folder.join(name).expect("a good name")
    }

    pub(crate) fn can(&self) -> Capabilities {
        self.storage.capabilities()
    }

    pub(crate) async fn write(&self, path: &RemotePath, bytes: &Bytes) -> Option<Version> {
        let written = self.storage.write(path, bytes.clone()).await;
        written.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads a file. A storage without atomic writes may first answer with a torn one: lighttpd
    /// tells the old length for a second after a file was overwritten with nothing.
    pub(crate) async fn read(&self, path: &RemotePath) -> Bytes {
        for _ in 0..30 {
            match self.storage.read(path, 1 << 26).await {
                Ok((bytes, _)) => return bytes,
                Err(error) if error.is_temporary() && !self.can().atomic_put => {}
                Err(error) => panic!("{error}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{path} cannot be read for three seconds");
    }

    async fn open(&self, path: &RemotePath, options: GetOptions) -> Get {
        let got = self.storage.get(path, options).await;
        got.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn list(&self) -> Listing {
        let listing = self.storage.list(&self.folder).await;
        listing.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn assert_missing(&self, path: &RemotePath) {
        let error = self.storage.get(path, GetOptions::default()).await;
        assert_eq!(error.expect_err("there is nothing").kind(), ErrorKind::NotFound);
    }

    /// The version of a file. A server of unknown make may need a while before it has one: Apache
    /// gives weak tags to files younger than a second.
    pub(crate) async fn version(&self, path: &RemotePath) -> Version {
        for _ in 0..30 {
            if let Get::Object(object) = self.open(path, GetOptions::default()).await
                && let Some(version) = object.version
            {
                return version;
            }
            assert!(!self.can().trusted, "a file without a version");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the storage declares versions and tells none");
    }
}

fn unwrap_object(got: Get) -> Object {
    match got {
        Get::Object(object) => object,
        Get::NotModified => panic!("not modified, though nothing was said about a version"),
    }
}

async fn keeps_what_it_is_given(bench: &Bench) {
    let path = bench.path("file");
    let every_byte = Bytes::from_iter(0..=255);
    for bytes in [every_byte, Bytes::new(), Bytes::from_static(b"shorter"), Bytes::new()] {
        bench.write(&path, &bytes).await;
        assert_eq!(bench.read(&path).await, bytes);
        let object = unwrap_object(bench.open(&path, GetOptions::default()).await);
        assert!(object.range.is_none());
        assert!(object.bytes.is_none_or(|told| told == bytes.len() as u64));
        assert!(object.server_time.is_some(), "no clock");
    }
    bench.write(&path, &Bytes::from_static(b"abc")).await;
    let refused = bench.storage.read(&path, 2).await.expect_err("three bytes do not fit into two");
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
}

async fn makes_the_folders_above(bench: &Bench) {
    let path = bench.path("a/b/c");
    bench.write(&path, &Bytes::from_static(b"deep")).await;
    assert_eq!(bench.read(&path).await, "deep");
    // A server may answer in the middle of a long body, and hang up.
    let (path_of_big, big) = (bench.path("e/f"), Bytes::from(vec![7; 6 << 20]));
    bench.write(&path_of_big, &big).await;
    assert!(bench.read(&path_of_big).await == big);
    for folder in ["a", "d"] {
        for _ in 0..2 {
            let made = bench.storage.make_folder(&bench.path(folder)).await;
            made.unwrap_or_else(|error| panic!("making {folder}: {error}"));
        }
    }
    assert_eq!(bench.read(&path).await, "deep", "making a folder again must not empty it");
}

async fn tells_what_is_missing(bench: &Bench) {
    bench.assert_missing(&bench.path("nothing")).await;
    bench.assert_missing(&bench.path("no/folder/here")).await;
    match bench.storage.list(&bench.path("nowhere")).await {
        Ok(listing) => assert_eq!(listing.entries, [], "nothing is listed where nothing is"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
    }
    let path = bench.path("file");
    bench.write(&path, &Bytes::from_static(b"x")).await;
    for _ in 0..2 {
        let deleted = bench.storage.delete(&path).await;
        deleted.unwrap_or_else(|error| panic!("{error}"));
    }
    bench.assert_missing(&path).await;
    // An object store has no empty folders: there it is gone with its last file.
    let folder = bench.path("folder");
    bench.write(&bench.path("folder/file"), &Bytes::from_static(b"x")).await;
    for path in [bench.path("folder/file"), folder.clone(), folder] {
        let deleted = bench.storage.delete(&path).await;
        deleted.unwrap_or_else(|error| panic!("{error}"));
    }
    let left = bench.list().await.entries;
    assert!(!left.iter().any(|entry| entry.path.name() == "folder"), "{left:?}");
    if bench.can().move_exclusive {
        let moved = bench.storage.move_exclusive(&path, &bench.path("to")).await;
        assert_eq!(moved.unwrap_or_else(|error| panic!("{error}")), Move::Lost);
    }
}

async fn lists_a_folder(bench: &Bench) {
    assert_eq!(bench.list().await.entries, [], "a new folder is empty");
    for name in ["b", "a.json", "c-1_2", "sub/inner"] {
        bench.write(&bench.path(name), &Bytes::from_static(b"12345")).await;
    }
    let listing = bench.list().await;
    assert!(listing.server_time.is_some(), "no clock");
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.path.name()).collect();
    assert_eq!(names, ["a.json", "b", "c-1_2", "sub"]);
    for entry in &listing.entries {
        assert_eq!(entry.path.parent().as_ref(), Some(&bench.folder));
        assert_eq!(entry.is_folder, entry.path.name() == "sub");
        if !entry.is_folder {
            assert!(entry.bytes.is_none_or(|bytes| bytes == 5));
            assert!(entry.modified.is_some(), "no date");
        }
    }
    let named = bench.storage.list_names(&bench.folder).await;
    let named = named.unwrap_or_else(|error| panic!("{error}"));
    let rows = |listing: &Listing| -> Vec<_> {
        listing.entries.iter().map(|entry| (entry.path.clone(), entry.is_folder)).collect()
    };
    assert_eq!(rows(&named), rows(&listing), "the names alone are other names");
    assert!(named.server_time.is_some(), "no clock with the names alone");
    let root = bench.storage.list(&RemotePath::root()).await;
    let root = root.unwrap_or_else(|error| panic!("{error}")).entries;
    assert!(root.iter().any(|entry| entry.path == bench.folder && entry.is_folder));
}

async fn takes_long_names(bench: &Bench) {
    let long = format!("{}.json", "n".repeat(crate::NAME_BYTES_MAX - 5));
    for name in [long.as_str(), "0", "a..b", "-x_", "con.txt-"] {
        let path = bench.path(name);
        bench.write(&path, &Bytes::from_static(b"x")).await;
        assert_eq!(bench.read(&path).await, "x", "{name}");
    }
    assert!(bench.list().await.entries.iter().any(|entry| entry.path.name() == long));
}

async fn moves_a_file(bench: &Bench) {
    if !bench.can().move_exclusive {
        return;
    }
    let [from, to, other] = ["from", "to", "other"].map(|name| bench.path(name));
    bench.write(&from, &Bytes::from_static(b"moved")).await;
    let moved = bench.storage.move_exclusive(&from, &to).await;
    assert_eq!(moved.unwrap_or_else(|error| panic!("{error}")), Move::Done);
    bench.assert_missing(&from).await;
    assert_eq!(bench.read(&to).await, "moved");
    bench.write(&other, &Bytes::from_static(b"other")).await;
    let refused = bench.storage.move_exclusive(&other, &to).await;
    assert!(refused.is_err(), "a move onto a file that is there: {refused:?}");
    assert_eq!(bench.read(&to).await, "moved");
    assert_eq!(bench.read(&other).await, "other");
    let empty = bench.path("empty");
    bench.write(&empty, &Bytes::new()).await;
    let moved = bench.storage.move_exclusive(&empty, &bench.path("head/1-a")).await;
    assert_eq!(moved.unwrap_or_else(|error| panic!("{error}")), Move::Done);
}

async fn creates_and_updates_on_condition(bench: &Bench) {
    if !bench.can().compare_and_swap {
        return;
    }
    let path = bench.path("file");
    let put = async |bytes: &'static str, mode: PutMode| {
        let put = bench.storage.put(&path, Body::from(bytes), mode).await;
        put.unwrap_or_else(|error| panic!("{error}"))
    };
    let nobodys = Version("nobody's".to_owned());
    assert_eq!(put("x", PutMode::Update(nobodys.clone())).await, Put::Lost);
    bench.assert_missing(&path).await;
    let Put::Done(Some(first)) = put("one", PutMode::Create).await else {
        panic!("the first create is refused, or tells no version");
    };
    assert_eq!(put("two", PutMode::Create).await, Put::Lost);
    assert_eq!(put("two", PutMode::Update(nobodys)).await, Put::Lost);
    assert_eq!(bench.read(&path).await, "one");
    assert_eq!(bench.version(&path).await, first);
    let Put::Done(Some(second)) = put("two", PutMode::Update(first.clone())).await else {
        panic!("the right version is refused");
    };
    assert_ne!(first, second);
    assert_eq!(put("three", PutMode::Update(first)).await, Put::Lost);
    assert_eq!(bench.read(&path).await, "two");
}

async fn reads_ranges(bench: &Bench) {
    if !bench.can().range {
        return;
    }
    let path = bench.path("file");
    bench.write(&path, &Bytes::from_static(b"0123456789")).await;
    let read = async |range: Range<u64>| {
        let options = GetOptions { range: Some(range), if_none_match: None };
        let object = unwrap_object(bench.open(&path, options).await);
        let covered = object.range.clone().expect("the range is told");
        let bytes = collect(&path, object, 100).await.unwrap_or_else(|error| panic!("{error}"));
        (covered, bytes)
    };
    for (asked, covered, bytes) in [
        (0..10, 0..10, "0123456789"),
        (3..7, 3..7, "3456"),
        (9..10, 9..10, "9"),
        (8..100, 8..10, "89"),
        (4..4, 4..4, ""),
    ] {
        assert_eq!(read(asked).await, (covered, Bytes::from_static(bytes.as_bytes())));
    }
    assert_eq!(read(20..30).await.1, "", "past the end there is nothing");
}

async fn knows_what_has_not_changed(bench: &Bench) {
    if !bench.can().versions {
        return;
    }
    let path = bench.path("file");
    bench.write(&path, &Bytes::from_static(b"one")).await;
    let version = bench.version(&path).await;
    let options = GetOptions { range: None, if_none_match: Some(version) };
    assert!(matches!(bench.open(&path, options.clone()).await, Get::NotModified));
    // Another length: tags that are made of seconds and lengths are common.
    bench.write(&path, &Bytes::from_static(b"another")).await;
    let object = unwrap_object(bench.open(&path, options).await);
    assert_eq!(collect(&path, object, 100).await.expect("it is read"), "another");
}

async fn streams_big_files(bench: &Bench) {
    const BYTES: usize = 16 << 20;
    let mut rng = fastrand::Rng::with_seed(7);
    let block: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(1 << 20).collect();
    let dir = tempfile::tempdir().expect("a folder for the file");
    let file = dir.path().join("big");
    let written = tokio::fs::write(&file, block.repeat(BYTES >> 20)).await;
    written.expect("the file is written");
    let path = bench.path("big");
    let hashed = |bytes: &[u8]| crate::body::hex(&Sha256::digest(bytes));
    let body =
        |sha256| Body::File { path: file.clone(), bytes: BYTES as u64, sha256: Some(sha256) };
    let other = body(hashed(b"something else"));
    let put = bench.storage.put(&path, other, PutMode::Overwrite).await;
    let kind = put.expect_err("another content is refused").kind();
    assert_eq!(kind, ErrorKind::Changed, "another content is refused as what it is");
    let left = bench.storage.get(&path, GetOptions::default()).await;
    if let Ok(Get::Object(object)) = left {
        let whole = collect(&path, object, u64::MAX).await.map_or(0, |left| left.len());
        assert!(whole < BYTES, "all bytes of another content lie there");
    }
    let body = body(hashed(&block.repeat(BYTES >> 20)));
    let put = bench.storage.put(&path, body, PutMode::Overwrite).await;
    assert!(matches!(put.unwrap_or_else(|error| panic!("{error}")), Put::Done(_)));
    let object = unwrap_object(bench.open(&path, GetOptions::default()).await);
    let mut body = object.body;
    let (mut read, mut chunks) = (0, 0);
    while let Some(chunk) = body.try_next().await.unwrap_or_else(|error| panic!("{error}")) {
        let expected = chunk
            .iter()
            .enumerate()
            .all(|(i, byte)| block.get((read + i) % block.len()) == Some(byte));
        assert!(expected, "other bytes after {read}");
        read += chunk.len();
        chunks += 1;
    }
    assert_eq!(read, BYTES);
    assert!(chunks > 0);
}
