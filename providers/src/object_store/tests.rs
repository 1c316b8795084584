//! What needs no emulator, or shows how one is told of faults.

use super::*;
use crate::{
    Get, StorageExt,
    testing::{Kind, Server},
};

fn path(name: &str) -> RemotePath {
    RemotePath::new(name).unwrap()
}

fn key(secret: &str) -> Credentials {
    Credentials::Key { id: "ID".to_owned(), secret: crate::Password::new(secret), session: None }
}

fn started(kind: Kind) -> Option<(Server, BucketConfig, Traffic)> {
    let server = Server::start(kind)?;
    let config = server.bucket();
    Some((server, config, Traffic::new()))
}

#[test]
fn keys_lie_below_the_prefix() {
    crate::testing::install_crypto();
    for (prefix, whole, root) in [("", "meta.json", ""), ("a/b c", "a/b c/meta.json", "a/b c")] {
        let config = BucketConfig {
            prefix: prefix.to_owned(),
            ..BucketConfig::new(Service::S3, "b", key("s3cret"))
        };
        assert!(!format!("{config:?}").contains("s3cret"));
        let bucket = Bucket::new(config, Traffic::new()).unwrap();
        assert_eq!(bucket.key(&path("meta.json")).as_ref(), whole);
        assert_eq!(bucket.key(&RemotePath::root()).as_ref(), root);
        assert!(bucket.capabilities().trusted);
    }
}

#[test]
fn settings_that_make_no_sense_are_told_without_the_secret() {
    crate::testing::install_crypto();
    let refused = |config: BucketConfig| {
        let error = Bucket::new(config, Traffic::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    };
    refused(BucketConfig::new(Service::Azure, "b", key("s3cret: no base64")));
    refused(BucketConfig::new(Service::Gcs, "b", key("s3cret")));
    let text = Credentials::AccountText(crate::Password::new("{\"s3cret\": s3cret"));
    refused(BucketConfig::new(Service::Gcs, "b", text));
    let no_web = BucketConfig {
        endpoint: Some("ftp://host".parse().unwrap()),
        ..BucketConfig::new(Service::S3, "b", key("s3cret"))
    };
    refused(no_web);
}

#[test]
fn google_is_told_a_number_to_write_and_a_tag_to_read() {
    crate::testing::install_crypto();
    let text =
        r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;
    let text = Credentials::AccountText(crate::Password::new(text));
    let config = BucketConfig::new(Service::Gcs, "b", text);
    let bucket = Bucket::new(config, Traffic::new()).unwrap();
    let version = bucket.version(Some("\"tag\"".into()), Some("17".into())).unwrap();
    assert_eq!(version.0, "17 \"tag\"");
    assert_eq!(bucket.version(Some("\"tag\"".into()), None), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named() {
    for kind in [Kind::Moto, Kind::Azurite] {
        let Some((_server, config, traffic)) = started(kind) else { continue };
        let config = BucketConfig { bucket: "elsewhere".to_owned(), ..config };
        let bucket = Bucket::new(config, traffic).unwrap();
        let told = [
            bucket.read(&path("meta.json"), 10).await.map(drop).unwrap_err(),
            bucket.list(&RemotePath::root()).await.map(drop).unwrap_err(),
            bucket.write(&path("meta.json"), "x".into()).await.map(drop).unwrap_err(),
            bucket.put(&path("a"), "x".into(), PutMode::Create).await.map(drop).unwrap_err(),
        ];
        for error in told {
            assert_eq!(error.kind(), ErrorKind::Config, "{kind:?} {error}");
            assert!(error.detail().contains("there is no bucket \"elsewhere\""), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_and_not_told() {
    let Some((_server, config, traffic)) = started(Kind::Azurite) else { return };
    let secret = "d3Jvbmcgd3Jvbmcgd3Jvbmc=";
    let Credentials::Key { id, .. } = config.credentials.clone() else { return };
    let secret_key = crate::Password::new(secret);
    let credentials = Credentials::Key { id, secret: secret_key, session: None };
    let bucket = Bucket::new(BucketConfig { credentials, ..config }, traffic).unwrap();
    let error = bucket.list(&RemotePath::root()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Forbidden), "{error}");
    assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_unreachable() {
    crate::testing::install_crypto();
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let config = BucketConfig {
        endpoint: endpoint.parse().ok(),
        ..BucketConfig::new(Service::S3, "b", key("s3cret"))
    };
    let traffic = Traffic::new();
    let bucket = Bucket::new(config, traffic.clone()).unwrap();
    let error = bucket.get(&path("a"), GetOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.detail().contains("cannot be reached"), "{error}");
    assert_eq!(traffic.snapshot().requests, 1, "nothing is tried twice in here");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted() {
    for kind in [Kind::Moto, Kind::Azurite] {
        let Some((_server, config, traffic)) = started(kind) else { continue };
        let bucket = Bucket::new(config, traffic.clone()).unwrap();
        let before = traffic.snapshot();
        bucket.write(&path("a/b"), vec![7; 100_000].into()).await.unwrap();
        let wrote = traffic.snapshot().since(&before);
        assert_eq!(wrote.requests, 1, "{wrote:?}");
        assert!((100_200..102_000).contains(&wrote.bytes_up), "{kind:?} {wrote:?}");
        assert!((50..2_000).contains(&wrote.bytes_down), "{kind:?} {wrote:?}");
        let before = traffic.snapshot();
        let read = bucket.read(&path("a/b"), 1 << 20).await.unwrap();
        let got = traffic.snapshot().since(&before);
        assert_eq!((read.0.len(), got.requests), (100_000, 1));
        assert!((100_100..102_000).contains(&got.bytes_down), "{kind:?} {got:?}");
        let before = traffic.snapshot();
        let options = GetOptions { range: None, if_none_match: read.1 };
        assert!(matches!(bucket.get(&path("a/b"), options).await.unwrap(), Get::NotModified));
        let idle = traffic.snapshot().since(&before);
        assert!(idle.requests == 1 && idle.bytes_up + idle.bytes_down < 2_000, "{kind:?} {idle:?}");
    }
}
