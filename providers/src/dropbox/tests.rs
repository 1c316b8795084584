//! How Dropbox is asked and understood, on a server like it and on shapes that were published.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    fault::Fault,
    json::{Cursor, Finished, FinishedEntry, Metadata, Page, Session, Waited},
    *,
};
use crate::{
    Error, ErrorKind, Password, StorageExt, Version,
    testing::{DROPBOX_APP_KEY, DropboxLike, Trouble, path},
};

mod faults;
mod logins;

/// One documented or recorded answer.
#[derive(Debug, Deserialize)]
struct Fixture {
    status: u16,
    headers: std::collections::BTreeMap<String, String>,
    body: Value,
}

fn fixture(name: &str) -> Fixture {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/http/dropbox");
    let text = std::fs::read(dir.join(format!("{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn result<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(fixture(name).body).unwrap()
}

fn storage(server: &DropboxLike) -> (Arc<Dropbox>, Traffic) {
    let traffic = Traffic::new();
    (Arc::new(Dropbox::new(server.config("/notes"), traffic.clone()).unwrap()), traffic)
}

async fn put(dropbox: &Dropbox, name: &str, text: &str, mode: PutMode) -> Result<Put> {
    dropbox.put(&path(name), text.to_owned().into(), mode).await
}

async fn read(dropbox: &Dropbox, name: &str) -> String {
    let (bytes, _) = dropbox.read(&path(name), 1 << 26).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn results_are_read_as_they_are_published() {
    let file: Metadata = result("result-upload");
    assert_eq!((file.rev.as_deref(), file.size), (Some("a1c10ce0dd78"), Some(7212)));
    assert!(file.content_hash.unwrap().starts_with("e3b0c442"));
    let page: Page = result("result-list");
    let tags: Vec<_> = page.entries.iter().map(|entry| entry.tag.as_str()).collect();
    assert_eq!((tags, page.has_more), (vec!["file", "folder", "deleted"], false));
    assert!(page.cursor.starts_with("ZtkX9_"));
    assert!(result::<Cursor>("result-cursor").cursor.starts_with("ZtkX9_"));
    assert!(result::<Waited>("result-longpoll").changes);
    let waited: Waited = result("result-longpoll-backoff");
    assert_eq!((waited.changes, waited.backoff), (false, Some(60)));
    assert!(result::<Session>("result-session").session_id.starts_with("pid_upload_session:"));
    let finished: Finished = result("result-batch");
    let told: Vec<String> = finished
        .entries
        .into_iter()
        .map(|entry| match entry {
            FinishedEntry::Success(metadata) => metadata.rev.unwrap(),
            FinishedEntry::Failure { failure } => Fault::in_batch(&failure).tags.join("/"),
        })
        .collect();
    let wanted = [
        "a1c10ce0dd78",
        "too_many_write_operations",
        "path/conflict/file",
        "lookup_failed/not_found",
    ];
    assert_eq!(told, wanted);
    let granted: auth::Granted = result("result-token");
    assert!(granted.refresh_token.is_some() && granted.expires_in == 14_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_look_is_one_small_request() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, traffic) = storage(&server);
    put(&dropbox, "meta.json", &"x".repeat(20_000), PutMode::Create).await.unwrap();
    let (_, version) = dropbox.read(&path("meta.json"), 1 << 20).await.unwrap();
    server.log();
    let before = traffic.snapshot();
    let options = GetOptions { range: None, if_none_match: version };
    assert!(matches!(dropbox.get(&path("meta.json"), options).await.unwrap(), Get::NotModified));
    let idle = traffic.snapshot().since(&before);
    assert_eq!((idle.requests, server.log().len()), (1, 1));
    assert!(idle.bytes_up + idle.bytes_down < 1_000, "{idle:?}");
    // A look at another version than the one that is there brings the file.
    let options = GetOptions { range: None, if_none_match: Some(Version("0123456789".into())) };
    assert!(matches!(dropbox.get(&path("meta.json"), options).await.unwrap(), Get::Object(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_strict() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    let Put::Done(Some(first)) = put(&dropbox, "a", "one", PutMode::Create).await.unwrap() else {
        panic!("it is new");
    };
    // The same content is a conflict too, and so is what was deleted.
    assert_eq!(put(&dropbox, "a", "one", PutMode::Create).await.unwrap(), Put::Lost);
    let second = put(&dropbox, "a", "two", PutMode::Update(first.clone())).await.unwrap();
    assert!(matches!(second, Put::Done(Some(ref second)) if *second != first));
    assert_eq!(put(&dropbox, "a", "two", PutMode::Update(first.clone())).await.unwrap(), Put::Lost);
    dropbox.delete(&path("a")).await.unwrap();
    assert_eq!(put(&dropbox, "a", "three", PutMode::Update(first)).await.unwrap(), Put::Lost);
    // A version that is no revision is never sent.
    server.log();
    let nobodys = PutMode::Update(Version("\"etag\"".into()));
    assert_eq!(put(&dropbox, "a", "three", nobodys).await.unwrap(), Put::Lost);
    assert_eq!(server.log(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_at_once_is_finished_in_few_batches_one_at_a_time() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, traffic) = storage(&server);
    put(&dropbox, "before", "x", PutMode::Overwrite).await.unwrap();
    server.log();
    let before = traffic.snapshot();
    let writes = (0..40).map(|n| {
        let dropbox = Arc::clone(&dropbox);
        tokio::spawn(async move {
            put(&dropbox, &format!("file-{n}"), &format!("{n}"), PutMode::Overwrite).await
        })
    });
    for written in join_all(writes).await {
        assert!(matches!(written.unwrap().unwrap(), Put::Done(Some(_))));
    }
    let (batches, spent) = (server.batches(), traffic.snapshot().since(&before));
    let log = server.log();
    let called = |route: &str| log.iter().filter(|called| *called == route).count();
    let entries: usize = batches.iter().sum();
    assert_eq!(entries + called("files/upload"), 40, "{batches:?} {log:?}");
    assert!(batches.len() < 20, "{batches:?}");
    assert_eq!(spent.put_off, 0, "nobody was in anybody's way: {log:?}");
    for n in 0..40 {
        assert_eq!(read(&dropbox, &format!("file-{n}")).await, format!("{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_no_more_entries_than_dropbox_takes() {
    let server = DropboxLike::start().unwrap();
    server.set_write_time(Duration::from_millis(100), Duration::from_secs(5));
    let config = DropboxConfig { batch_max: 3, ..server.config("/notes") };
    let dropbox = Arc::new(Dropbox::new(config, Traffic::new()).unwrap());
    let writes = (0..11).map(|n| {
        let dropbox = Arc::clone(&dropbox);
        tokio::spawn(async move { put(&dropbox, &format!("f{n}"), "x", PutMode::Overwrite).await })
    });
    for written in join_all(writes).await {
        assert!(matches!(written.unwrap().unwrap(), Put::Done(Some(_))));
    }
    let batches = server.batches();
    assert!(batches.iter().all(|entries| *entries <= 3) && batches.len() >= 3, "{batches:?}");
    assert_eq!(DropboxConfig::new("", "key1", Password::new("")).batch_max, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_batch_that_were_called_off_come_again() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    put(&dropbox, "there", "old", PutMode::Create).await.unwrap();
    server.set_write_time(Duration::from_millis(100), Duration::from_secs(5));
    server.trouble("finish_batch_v2", Trouble::BatchBusy);
    server.trouble("finish_batch_v2", Trouble::TooManyWrites);
    let names = ["first", "a", "b", "c", "there"];
    let writes = names.map(|name| {
        let dropbox = Arc::clone(&dropbox);
        tokio::spawn(async move { put(&dropbox, name, "new", PutMode::Overwrite).await })
    });
    for written in join_all(writes).await {
        assert!(matches!(written.unwrap().unwrap(), Put::Done(Some(_))));
    }
    for name in names {
        assert_eq!(read(&dropbox, name).await, "new", "{name}");
    }
}

/// Two clients of one account are in each other's way, and wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn others_who_write_are_waited_for() {
    let server = DropboxLike::start().unwrap();
    server.set_write_time(Duration::from_millis(50), Duration::from_millis(1));
    let (one, first) = storage(&server);
    let (other, second) = storage(&server);
    let writes = (0..6).flat_map(|n| [(Arc::clone(&one), n), (Arc::clone(&other), n + 10)]);
    let writes = writes.map(|(dropbox, n)| {
        tokio::spawn(async move { put(&dropbox, &format!("f{n}"), "x", PutMode::Create).await })
    });
    for written in join_all(writes).await {
        assert!(matches!(written.unwrap().unwrap(), Put::Done(Some(_))));
    }
    assert!(first.snapshot().put_off + second.snapshot().put_off > 0, "they never met");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_one_request_goes_in_pieces() {
    let server = DropboxLike::start().unwrap();
    server.set_payload_max(4 << 20);
    let traffic = Traffic::new();
    let config = DropboxConfig { piece_bytes: 4 << 20, ..server.config("/notes") };
    let dropbox = Dropbox::new(config, traffic.clone()).unwrap();
    for (bytes, calls) in [(4 << 20, 1), ((4 << 20) + 1, 3), (12 << 20, 4)] {
        let (name, content) = (path(&format!("f{bytes}")), Bytes::from(vec![7; bytes]));
        server.log();
        dropbox.write(&name, content.clone()).await.unwrap();
        let log = server.log();
        assert_eq!(log.iter().filter(|route| route.contains("upload")).count(), calls, "{log:?}");
        assert!(dropbox.read(&name, 1 << 30).await.unwrap().0 == content, "{bytes}");
    }
    let whole = Dropbox::new(server.config("/notes"), traffic).unwrap();
    let refused = whole.write(&path("whole"), Bytes::from(vec![7; 5 << 20])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_is_folded_and_what_is_not_ours_is_named() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    for name in ["Meta.JSON", "meta (Ann's conflicted copy).json", "Käse.md", "Packs/A.zst"] {
        server.put(&format!("/Notes/{name}"), b"x");
    }
    let listing = dropbox.list(&RemotePath::root()).await.unwrap();
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(names, ["meta.json", "packs"]);
    assert_eq!(listing.foreign, ["Käse.md", "meta (Ann's conflicted copy).json"]);
    assert_eq!(read(&dropbox, "meta.json").await, "x");
    assert_eq!(read(&dropbox, "packs/a.zst").await, "x");
    let copy = RemotePath::found(&RemotePath::root(), "Käse.md").unwrap();
    assert_eq!(dropbox.read(&copy, 10).await.unwrap().0, "x");
    assert_eq!(put(&dropbox, "meta.json", "y", PutMode::Create).await.unwrap(), Put::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_something_in_it_is_not_deleted() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    put(&dropbox, "folder/file", "x", PutMode::Create).await.unwrap();
    let refused = dropbox.delete(&path("folder")).await.unwrap_err();
    assert!(refused.detail().contains("not empty"), "{refused}");
    assert_eq!(read(&dropbox, "folder/file").await, "x");
    dropbox.delete(&path("folder/file")).await.unwrap();
    dropbox.delete(&path("folder")).await.unwrap();
    server.log();
    dropbox.delete(&path("folder")).await.unwrap();
    assert_eq!(server.log(), ["files/get_metadata"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_comes_in_pages() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    for n in 0..45 {
        server.put(&format!("/notes/f{n:02}"), b"x");
    }
    server.log();
    assert_eq!(dropbox.list(&RemotePath::root()).await.unwrap().entries.len(), 45);
    assert_eq!(server.log().len(), 4, "a token, and three pages of 20");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_at_once_and_none_is_missed() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    put(&dropbox, "meta.json", "1", PutMode::Create).await.unwrap();
    let soon = Duration::from_millis(300);
    assert!(tokio::time::timeout(soon, dropbox.changed()).await.is_err(), "nothing changed");
    // What happened while nobody waited is told by the next wait.
    server.put("/notes/meta.json", b"2");
    tokio::time::timeout(Duration::from_secs(10), dropbox.changed()).await.unwrap().unwrap();
    let waiting = tokio::spawn({
        let dropbox = Arc::clone(&dropbox);
        async move { dropbox.changed().await }
    });
    tokio::time::sleep(soon).await;
    assert!(!waiting.is_finished());
    server.put("/elsewhere/meta.json", b"3");
    server.put("/notes/packs/1.zst", b"3");
    tokio::time::sleep(soon).await;
    assert!(!waiting.is_finished(), "what lies elsewhere or deeper is no news");
    server.put("/notes/meta.json", b"3");
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap().unwrap();
    // Dropbox may ask for a pause, and may be done before anything happened.
    server.set_wait(Duration::from_millis(10), Some(3600));
    server.log();
    assert!(tokio::time::timeout(Duration::from_secs(2), dropbox.changed()).await.is_err());
    assert_eq!(server.log(), ["files/list_folder/longpoll"]);
    // News are told before the pause, not after it.
    server.put("/notes/meta.json", b"4");
    tokio::time::timeout(Duration::from_secs(5), dropbox.changed()).await.unwrap().unwrap();
    server.log();
    assert!(tokio::time::timeout(soon, dropbox.changed()).await.is_err());
    assert_eq!(server.log(), Vec::<String>::new());
}

/// What is counted is about what goes over the line.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_as_they_are() {
    use std::io::{Read, Write};
    crate::testing::install_crypto();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let answers = [
        r#"{"access_token":"sl.x","expires_in":14400,"token_type":"bearer"}"#,
        r#"{"name":"b","rev":"a1c10ce0dd78","size":10}"#,
    ]
    .map(|body| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let sent: usize = answers.iter().map(String::len).sum();
    let line = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut came, mut chunk) = (Vec::new(), [0; 4096]);
        for (end, answer) in [("client_id=key1", &answers[0]), ("0123456789", &answers[1])] {
            while !came.ends_with(end.as_bytes()) {
                let read = stream.read(&mut chunk).unwrap();
                came.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
        came.len() as u64
    });
    let mut config = DropboxConfig::new("/x", "key1", Password::new("s3cret"));
    config.hosts = Hosts::at(&url).unwrap();
    let traffic = Traffic::new();
    let dropbox = Dropbox::new(config, traffic.clone()).unwrap();
    dropbox.write(&path("a/b"), "0123456789".into()).await.unwrap();
    let spent = traffic.snapshot();
    let came = tokio::task::spawn_blocking(|| line.join().unwrap()).await.unwrap();
    assert_eq!((spent.requests, spent.bytes_up, spent.bytes_down), (2, came, sent as u64));
}

fn headers(fixture: &Fixture) -> HeaderMap {
    let field = |(name, value): (&String, &String)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    fixture.headers.iter().map(field).collect()
}

fn fault(name: &str) -> Fault {
    let fixture = fixture(name);
    let body = fixture.body.as_str().map_or_else(|| fixture.body.to_string(), str::to_owned);
    let status = StatusCode::from_u16(fixture.status).unwrap();
    Fault::read(status, &headers(&fixture), body.as_bytes())
}

#[test]
fn debug_texts_hold_no_secrets() {
    crate::testing::install_crypto();
    let config = DropboxConfig::new("", DROPBOX_APP_KEY, Password::new("s3cret"));
    let dropbox = Dropbox::new(config, Traffic::new()).unwrap();
    assert!(!format!("{dropbox:?} {dropbox}").contains("s3cret"));
}
