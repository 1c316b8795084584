//! Who learns the account, and how.

use super::{
    super::WebDavConfig,
    path,
    script::{Script, answer},
};
use crate::{Body, ErrorKind, Password, PutMode, Storage, StorageExt, WebDav};

const BASIC: &str = "Basic YW5uOnMzY3JldA==";

fn digest(nonce: &str, stale: bool) -> String {
    let asked = format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", stale={stale}");
    answer("401 Who", &format!("WWW-Authenticate: {asked}\r\n"), "")
}

#[tokio::test]
async fn basic_is_sent_at_once() {
    let script = Script::of(&[&answer("204 Done", "", "")]);
    script.storage_of_ann().delete(&path("a")).await.unwrap();
    script.storage().delete(&path("a")).await.unwrap();
    let seen = script.seen();
    assert_eq!(
        (seen[0].header("authorization"), seen[1].header("authorization")),
        (Some(BASIC), None)
    );
}

#[tokio::test]
async fn a_refused_account_is_named_and_its_password_is_not() {
    let refused = answer("401 No", "WWW-Authenticate: Basic realm=\"r\"\r\n", "");
    let script = Script::of(&[&refused]);
    let error = script.storage_of_ann().delete(&path("a")).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Unauthorized, 1));
    let shown = format!("{error} {error:?} {:?}", script.storage_of_ann());
    assert!(error.to_string().contains("\"ann\"") && error.to_string().contains("127.0.0.1"));
    assert!(!shown.contains("s3cret") && !shown.contains("YW5uOnMz"), "{shown}");

    let error = script.storage().delete(&path("a")).await.unwrap_err();
    assert!(error.to_string().contains("wants an account"), "{error}");
}

#[tokio::test]
async fn an_account_in_the_address_is_used_and_not_shown() {
    let script = Script::of(&[&answer("403 No", "", "")]);
    let mut url = script.url.clone();
    url.set_username("ann").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let storage = WebDav::new(WebDavConfig::new(url)).unwrap();
    let error = storage.delete(&path("a")).await.unwrap_err();
    assert_eq!(script.seen()[0].header("authorization"), Some(BASIC));
    assert!(!format!("{error} {error:?} {storage:?}").contains("s3cret"));
}

#[tokio::test]
async fn digest_is_taken_up_where_it_is_the_only_one_and_bodies_are_always_whole() {
    let script = Script::start(|seen, _| match seen.header("authorization") {
        Some(shown) if shown.starts_with("Digest") => answer("204 Done", "", ""),
        _ => digest("n1", false),
    });
    let storage = script.storage_of_ann();
    storage.write(&path("a"), "whole".into()).await.unwrap();
    storage.write(&path("b"), "whole".into()).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen.len(), 3, "the nonce is used again");
    assert!(seen.iter().all(|seen| seen.body == b"whole"));
    let shown = seen[2].header("authorization").unwrap();
    assert!(shown.contains("uri=\"/dav/b\"") && shown.contains("nc=00000002"), "{shown}");
}

#[tokio::test]
async fn a_stale_nonce_is_replaced_by_the_new_one() {
    let script = Script::start(|seen, nth| {
        let shown = seen.header("authorization").unwrap_or_default();
        let nonce = if nth < 3 { "n1" } else { "n2" };
        if shown.contains(&format!("nonce=\"{nonce}\"")) {
            return answer("204 Done", "", "");
        }
        digest(nonce, shown.starts_with("Digest"))
    });
    let storage = script.storage_of_ann();
    for _ in 0..3 {
        storage.delete(&path("a")).await.unwrap();
    }
    assert_eq!(script.seen().len(), 5);
}

#[tokio::test]
async fn a_wrong_password_under_digest_is_given_up_after_one_try() {
    let script = Script::start(|_, nth| digest(&format!("n{nth}"), false));
    let error = script.storage_of_ann().delete(&path("a")).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Unauthorized, 2));
}

#[tokio::test]
async fn a_long_body_waits_until_the_account_is_settled() {
    let script = Script::start(|seen, _| match seen.header("authorization") {
        Some(shown) if shown.starts_with("Digest") => answer("204 Done", "", ""),
        _ => digest("n1", false),
    });
    let storage = script.storage_of_ann();
    let long = Body::from(vec![7; 1 << 20]);
    for _ in 0..2 {
        storage.put(&path("a"), long.clone(), PutMode::Overwrite).await.unwrap();
    }
    assert_eq!(script.methods(), ["PROPFIND", "PROPFIND", "PUT", "PUT"]);
}

#[test]
fn a_password_cannot_be_printed() {
    assert_eq!(format!("{:?}", Password::new("s3cret")), "[REDACTED]");
}
