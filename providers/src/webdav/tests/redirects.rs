//! Where a redirect may lead, and what it never gets.

use super::{
    path,
    script::{Script, Seen, answer},
};
use crate::{Body, ErrorKind, Move, PutMode, RemotePath, Storage, StorageExt, http};

const STATUSES: [&str; 4] = ["301 x", "302 x", "307 x", "308 x"];

#[tokio::test]
async fn another_host_gets_neither_account_nor_data() {
    let other = Script::of(&[&answer("200 OK", "", "stolen")]);
    let location = format!("Location: {}a?token=t\r\n", other.url);
    for status in STATUSES {
        let script = Script::of(&[&answer(status, &location, "")]);
        let storage = script.storage_of_ann();
        let (a, b) = (path("a"), path("b"));
        let failed = [
            storage.write(&a, "private".into()).await.map(drop).unwrap_err(),
            storage.put(&a, "x".into(), PutMode::Create).await.map(drop).unwrap_err(),
            storage.read(&a, 99).await.map(drop).unwrap_err(),
            storage.delete(&a).await.unwrap_err(),
            storage.make_folder(&a).await.unwrap_err(),
            storage.move_exclusive(&a, &b).await.map(drop).unwrap_err(),
            storage.list(&RemotePath::root()).await.map(drop).unwrap_err(),
        ];
        for error in failed {
            assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
            assert!(error.to_string().contains(http::place(&other.url).as_str()), "{error}");
            assert!(!error.to_string().contains("token"), "{error}");
        }
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn another_port_or_scheme_is_another_host_and_its_address_is_told() {
    for (location, told) in [
        ("https://127.0.0.1/dav/a", "elsewhere, to https://127.0.0.1/dav/"),
        ("http://127.0.0.1:1/s3cret/a", "elsewhere, to http://127.0.0.1:1"),
        ("https://127.0.0.1/s3cret", "elsewhere, to https://127.0.0.1"),
        ("//ann:s3cret@elsewhere/dav/a", "elsewhere, to http://elsewhere/dav/"),
        ("/login/s3cret?next=a", "elsewhere, to http://127.0.0.1:"),
    ] {
        let script = Script::of(&[&answer("302 x", &format!("Location: {location}\r\n"), "")]);
        let error = script.storage_of_ann().read(&path("a"), 99).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

/// A server whose WebDAV moved from `/dav` to `/remote.php/dav`.
fn moved(status: &'static str) -> Script {
    Script::start(move |seen, _| match seen.path.strip_prefix("/dav/") {
        Some(below) => answer(status, &format!("Location: /remote.php/dav/{below}\r\n"), ""),
        None if seen.method == "GET" => answer("200 OK", "", "here"),
        None => answer("201 Done", "", ""),
    })
}

#[tokio::test]
async fn a_folder_that_moved_within_its_host_is_followed_with_method_and_body() {
    for status in STATUSES {
        let script = moved(status);
        let storage = script.storage_of_ann();
        let (a, b) = (path("head/a"), path("head/b"));
        storage.put(&a, Body::from("whole".as_bytes()), PutMode::Create).await.unwrap();
        assert_eq!(storage.read(&a, 99).await.unwrap().0, "here");
        storage.delete(&b).await.unwrap();
        assert_eq!(storage.move_exclusive(&a, &b).await.unwrap(), Move::Done);
        let arrived = |seen: &Seen| seen.path.starts_with("/remote.php/");
        let seen: Vec<Seen> = script.seen().into_iter().filter(arrived).collect();
        let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
        assert_eq!(methods, ["PUT", "GET", "DELETE", "MOVE"], "{status}");
        assert_eq!(
            (seen[0].body.as_slice(), seen[0].header("if-none-match")),
            (&b"whole"[..], Some("*"))
        );
        assert!(seen.iter().all(|seen| seen.header("authorization").is_some()));
        let destination = seen[3].header("destination").unwrap();
        assert!(destination.ends_with("/remote.php/dav/head/b"), "{destination}");
        // What moved for good is asked at its new place at once.
        let requests = if matches!(status, "301 x" | "308 x") { 5 } else { 8 };
        assert_eq!(script.seen().len(), requests, "{status}");
    }
}

#[tokio::test]
async fn see_other_never_makes_a_get_of_a_put() {
    let script = Script::of(&[&answer("303 x", "Location: /dav/a\r\n", "")]);
    let error = script.storage_of_ann().write(&path("a"), "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(script.methods(), ["PUT"]);
}

#[tokio::test]
async fn a_redirect_without_end_is_given_up() {
    let script = Script::of(&[&answer("307 x", "Location: /dav/loop\r\n", "")]);
    let error = script.storage().read(&path("loop"), 99).await.unwrap_err();
    assert!(error.to_string().contains("redirects without end"), "{error}");
    assert_eq!(script.seen().len(), 4);
}
