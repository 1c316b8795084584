mod accounts;
mod redirects;
mod script;

use std::time::Duration;

use script::{Script, answer};

use super::*;
use crate::{ErrorKind, StorageExt, Version, testing::path};

const MOVED_AWAY: &str = "<D:multistatus xmlns:D='DAV:'><D:response><D:href>/dav/a</D:href>\
    <D:status>HTTP/1.1 404 Not Found</D:status></D:response></D:multistatus>";
const STILL_THERE: &str = "<D:multistatus xmlns:D='DAV:'><D:response><D:href>/dav/a</D:href>\
    <D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>\
    </D:multistatus>";

async fn read_error(raw: &str) -> crate::Error {
    let script = Script::of(&[raw]);
    script.storage().read(&path("a"), 1000).await.unwrap_err()
}

#[tokio::test]
async fn statuses_mean_what_the_caller_reacts_to() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthorized),
        ("403 Forbidden", ErrorKind::Forbidden),
        ("404 Not Found", ErrorKind::NotFound),
        ("409 Conflict", ErrorKind::NotFound),
        ("410 Gone", ErrorKind::NotFound),
        ("418 I'm a teapot", ErrorKind::Protocol),
        ("423 Locked", ErrorKind::Busy),
        ("425 Too Early", ErrorKind::Busy),
        ("500 Oops", ErrorKind::Server),
        ("502 Bad Gateway", ErrorKind::Server),
        ("507 Insufficient Storage", ErrorKind::Full),
        ("429 Slow Down", ErrorKind::Throttled { retry_after: None }),
    ] {
        assert_eq!(read_error(&answer(status, "", "sorry")).await.kind(), kind, "{status}");
    }
    let error = read_error(&answer("503 Later", "Retry-After: 17\r\n", "")).await;
    let retry_after = Some(Duration::from_secs(17));
    assert_eq!(error.kind(), ErrorKind::Throttled { retry_after });
}

#[tokio::test]
async fn answers_that_make_no_sense_are_refused() {
    for raw in [
        answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<h1>Sign in</h1>"),
        answer("200 OK", "Content-Encoding: gzip\r\n", "x"),
        answer("206 Partial Content", "Content-Range: bytes 0-0/9\r\n", "x"),
        answer("303 See Other", "Location: /dav/a\r\n", ""),
    ] {
        assert_eq!(read_error(&raw).await.kind(), ErrorKind::Protocol, "{raw}");
    }
}

#[tokio::test]
async fn bodies_that_are_cut_or_stall_are_errors() {
    let cut = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf";
    let chunked =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let stalled = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    for raw in [cut, chunked, stalled, "", "HTTP/1.1 200 OK\r\nConnection: close\r\n"] {
        assert_eq!(read_error(raw).await.kind(), ErrorKind::Unreachable, "{raw}");
    }
    let long = answer("200 OK", "", &"x".repeat(2000));
    assert_eq!(read_error(&long).await.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn every_request_refuses_compression_and_every_listing_names_its_depth() {
    let script = Script::of(&[&answer("207 Multi", "", STILL_THERE), &answer("204 Done", "", "")]);
    let storage = script.storage();
    let _ = storage.list(&RemotePath::root()).await;
    storage.write(&path("a"), "x".into()).await.unwrap();
    storage.delete(&path("a")).await.unwrap();
    let seen = script.seen();
    assert!(seen.iter().all(|seen| seen.header("accept-encoding") == Some("identity")));
    assert_eq!(seen[0].header("depth"), Some("1"));
    assert_eq!((seen[0].path.as_str(), seen[1].path.as_str()), ("/dav/", "/dav/a"));
    assert_eq!((seen[1].header("content-length"), seen[1].body.as_slice()), (Some("1"), &b"x"[..]));
}

#[tokio::test]
async fn names_alone_are_asked_for_briefly_and_more_if_that_is_not_understood() {
    let bad = answer("400 Bad Request", "", "");
    let script = Script::of(&[&answer("207 Multi", "", STILL_THERE)]);
    let storage = script.storage();
    let names = storage.list_names(&RemotePath::root()).await.unwrap().entries;
    assert_eq!(names.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["a"]);
    let asked = |nth: usize| String::from_utf8(script.seen()[nth].body.clone()).unwrap();
    assert!(asked(0).contains("resourcetype") && !asked(0).contains("getetag"), "{}", asked(0));
    assert!(script.seen()[0].bytes < 350, "{} bytes", script.seen()[0].bytes);

    let script = Script::of(&[&bad, &answer("207 Multi", "", STILL_THERE)]);
    assert_eq!(script.storage().list_names(&RemotePath::root()).await.unwrap().entries.len(), 1);
    assert!(String::from_utf8(script.seen()[1].body.clone()).unwrap().contains("getetag"));
    let script = Script::of(&[&bad]);
    assert!(script.storage().list_names(&RemotePath::root()).await.is_err());
    assert_eq!(script.methods(), ["PROPFIND"; 2]);
}

#[tokio::test]
async fn conditions_go_out_and_losing_is_no_error() {
    let lost = answer("412 Precondition Failed", "", "");
    let script = Script::of(&[&lost]);
    let storage = script.storage();
    let version = Version("\"v1\"".into());
    for mode in [PutMode::Create, PutMode::Update(version.clone())] {
        assert_eq!(storage.put(&path("a"), "x".into(), mode).await.unwrap(), Put::Lost);
    }
    let seen = script.seen();
    assert_eq!(seen[0].header("if-none-match"), Some("*"));
    assert_eq!(seen[1].header("if-match"), Some("\"v1\""));
    let refused = storage.write(&path("a"), "x".into()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Protocol);

    let script = Script::of(&[&answer("304 Not Modified", "", "")]);
    let options = GetOptions { range: None, if_none_match: Some(version) };
    assert!(matches!(script.storage().get(&path("a"), options).await, Ok(Get::NotModified)));
    assert_eq!(script.seen()[0].header("if-none-match"), Some("\"v1\""));
}

#[tokio::test]
async fn a_read_whose_condition_is_not_understood_is_made_without_it() {
    let refused = answer("412 Precondition Failed", "", "");
    let script = Script::of(&[&refused, &answer("200 OK", "", "x")]);
    let options = GetOptions { range: None, if_none_match: Some(Version("\"v1\"".into())) };
    assert!(matches!(script.storage().get(&path("a"), options).await, Ok(Get::Object(_))));
    assert_eq!(script.seen()[1].header("if-none-match"), None);
}

#[tokio::test]
async fn a_server_that_does_not_know_its_own_address_is_told_a_path() {
    let (bad, there) = (answer("502 Bad Gateway", "", ""), answer("207 M", "", STILL_THERE));
    let script = Script::of(&[&bad, &there, &answer("201 Created", "", "")]);
    let storage = script.storage();
    for _ in 0..2 {
        let moved = storage.move_exclusive(&path("a"), &path("b")).await.unwrap();
        assert_eq!(moved, Move::Done);
    }
    let seen = script.seen();
    let destinations: Vec<_> = seen.iter().filter_map(|seen| seen.header("destination")).collect();
    assert_eq!(destinations[1..], ["/dav/b", "/dav/b"]);
    assert_eq!(script.methods(), ["MOVE", "PROPFIND", "MOVE", "MOVE"]);
}

#[tokio::test]
async fn a_multistatus_is_no_successful_write() {
    let script = Script::of(&[&answer("207 Multi-Status", "", STILL_THERE)]);
    let storage = script.storage();
    let error = storage.write(&path("a"), "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(storage.delete(&path("a")).await.unwrap_err().kind(), ErrorKind::Server);
}

#[tokio::test]
async fn no_refusal_of_a_move_is_believed() {
    let (gone, there) = (answer("207 M", "", MOVED_AWAY), answer("207 M", "", STILL_THERE));
    let missing = answer("404 Not Found", "", "");
    for status in ["400 x", "403 x", "404 x", "405 x", "409 x", "412 x", "423 x", "500 x", "207 x"]
    {
        let refused = answer(status, "", "");
        for verification in [&gone, &missing] {
            let script = Script::of(&[&refused, verification]);
            let moved = script.storage().move_exclusive(&path("a"), &path("b")).await.unwrap();
            assert_eq!(moved, Move::Lost, "{status}");
            assert_eq!(script.methods(), ["MOVE", "PROPFIND"]);
            assert_eq!(script.seen()[1].header("depth"), Some("0"));
        }
        let script = Script::of(&[&refused, &there]);
        let error = script.storage().move_exclusive(&path("a"), &path("b")).await.unwrap_err();
        let expected = [ErrorKind::Busy, ErrorKind::Server, ErrorKind::Forbidden];
        assert!(expected.contains(&error.kind()), "{status} {error}");
    }
    let script = Script::of(&[&answer("201 Created", "", "")]);
    let moved = script.storage().move_exclusive(&path("a"), &path("h/b")).await.unwrap();
    assert_eq!(moved, Move::Done);
    let destination = script.url.join("h/b").unwrap();
    assert_eq!(script.seen()[0].header("destination"), Some(destination.as_str()));
    assert_eq!(script.seen()[0].header("overwrite"), Some("F"));
}

#[tokio::test]
async fn a_missing_folder_is_made_and_the_write_sent_once_more() {
    let done = answer("201 Created", "", "");
    for status in ["404 Not Found", "409 Conflict", "500 Oops"] {
        let refused = answer(status, "", "");
        let script = Script::of(&[&refused, &done]);
        script.storage().write(&path("a/b/c"), "x".into()).await.unwrap();
        let paths: Vec<_> = script.seen().into_iter().map(|seen| seen.path).collect();
        assert_eq!(paths, ["/dav/a/b/c", "/dav/a/", "/dav/a/b/", "/dav/a/b/c"], "{status}");
        assert_eq!(script.methods(), ["PUT", "MKCOL", "MKCOL", "PUT"], "{status}");
    }
    // With all folders there, a 500 was about something else, and the write may have happened.
    let script = Script::of(&[&answer("500 Oops", "", ""), &answer("405 There", "", "")]);
    let error = script.storage().put(&path("a/b"), "x".into(), PutMode::Create).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Server);
    assert_eq!(script.methods(), ["PUT", "MKCOL"]);
}

#[tokio::test]
async fn a_folder_that_somebody_else_made_meanwhile_is_there() {
    for status in ["403 Forbidden", "423 Locked", "500 Oops"] {
        for (found, is_there) in [(STILL_THERE, true), (MOVED_AWAY, false)] {
            let answers = [&answer(status, "", ""), &answer("207 Multi", "", found)];
            let script = Script::of(&answers.map(String::as_str));
            let made = script.storage().make_folder(&path("a")).await;
            assert_eq!(made.is_ok(), is_there, "{status}");
            assert_eq!(script.methods(), ["MKCOL", "PROPFIND"]);
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_on_a_long_body_may_lack_its_folder() {
    let long = Body::from(vec![7; 100_000]);
    for (made, sent) in [("201 Created", 3), ("405 There", 2)] {
        let made = answer(made, "", "");
        let script = Script::of(&["Connection: close", &made, &answer("201 Created", "", "")]);
        let put = script.storage().put(&path("a/b"), long.clone(), PutMode::Create).await;
        assert_eq!((put.is_ok(), script.seen().len()), (sent == 3, sent));
    }
}

#[tokio::test]
async fn a_web_page_is_no_proof_of_anything() {
    let page = answer("200 OK", "Content-Type: text/html\r\n", "<h1>Sign in</h1>");
    let script = Script::of(&[&page]);
    let storage = script.storage();
    for error in [
        storage.write(&path("a"), "x".into()).await.unwrap_err(),
        storage.delete(&path("a")).await.unwrap_err(),
        storage.make_folder(&path("a")).await.unwrap_err(),
        storage.list(&path("a")).await.unwrap_err(),
        storage.move_exclusive(&path("a"), &path("b")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn files_are_streamed_with_their_length_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), &[7; 100_000]).unwrap();
    let script = Script::of(&[&answer("201 Created", "ETag: \"new\"\r\n", "")]);
    let traffic = Traffic::new();
    let storage = script.storage().with_traffic(traffic.clone());
    let body = Body::File { path: file.clone(), bytes: 99_999, sha256: None };
    let put = storage.put(&path("a"), body, PutMode::Overwrite).await.unwrap();
    assert_eq!(put, Put::Done(Some(Version("\"new\"".into()))));
    let seen = &script.seen()[0];
    assert_eq!(seen.header("content-length"), Some("99999"));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.body.len(), 99_999);
    let spent = traffic.snapshot();
    assert!((99_999..101_000).contains(&spent.bytes_up), "{spent:?}");
    assert_eq!((spent.requests, spent.by_method.get("PUT")), (1, Some(&1)));

    let short = Body::File { path: file, bytes: 100_001, sha256: None };
    let error = storage.put(&path("a"), short, PutMode::Overwrite).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Protocol, 1));
}

#[tokio::test]
async fn every_byte_of_every_request_is_counted_hidden_ones_too() {
    let missing = answer("409 Conflict", "", "no folder");
    let created = answer("201 Created", "ETag: \"v\"\r\n", "");
    let read = answer("200 OK", "", "content");
    let script = Script::of(&[&missing, &created, &created, &read]);
    let traffic = Traffic::new();
    let storage = WebDav::new(script.config().with_account("ann", "x")).unwrap();
    let storage = storage.with_traffic(traffic.clone());
    storage.write(&path("a/b"), "x".into()).await.unwrap();
    storage.read(&path("a/b"), 99).await.unwrap();
    let spent = traffic.snapshot();
    assert_eq!((spent.requests, spent.by_method.get("MKCOL")), (4, Some(&1)));
    let sent: usize = script.seen().iter().map(|seen| seen.bytes).sum();
    assert_eq!(spent.bytes_up, sent as u64);
    let received = missing.len() + 2 * created.len() + read.len();
    assert_eq!(spent.bytes_down, received as u64);
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    crate::testing::install_crypto();
    let storage = WebDav::new(WebDavConfig::new(url.parse().unwrap())).unwrap();
    let error = storage.delete(&path("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}
