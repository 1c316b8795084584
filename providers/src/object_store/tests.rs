//! What needs no emulator, or shows how one is told of faults.

use super::*;
use crate::{
    Get, StorageExt,
    testing::{Kind, Server, path},
};

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
    for kind in [Kind::Moto, Kind::Azurite, Kind::GoogleLike] {
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
    for kind in [Kind::Moto, Kind::Azurite, Kind::GoogleLike] {
        let Some((_server, config, traffic)) = started(kind) else { continue };
        let bucket = Bucket::new(config, traffic.clone()).unwrap();
        let before = traffic.snapshot();
        bucket.write(&path("a/b"), vec![7; 100_000].into()).await.unwrap();
        let wrote = traffic.snapshot().since(&before);
        assert_eq!(wrote.requests, 1, "{wrote:?}");
        assert!((100_100..102_000).contains(&wrote.bytes_up), "{kind:?} {wrote:?}");
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

/// What is counted is what goes over the line, to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_as_they_are() {
    use std::io::{Read, Write};
    crate::testing::install_crypto();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = "HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n";
    let line = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut came, mut chunk) = (Vec::new(), [0; 4096]);
        while !came.ends_with(b"0123456789") {
            let read = stream.read(&mut chunk).unwrap();
            came.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        came.len() as u64
    });
    let config = BucketConfig {
        endpoint: endpoint.parse().ok(),
        ..BucketConfig::new(Service::S3, "b", key("s3cret"))
    };
    let traffic = Traffic::new();
    let bucket = Bucket::new(config, traffic.clone()).unwrap();
    bucket.write(&path("a/b"), "0123456789".into()).await.unwrap();
    let spent = traffic.snapshot();
    let came = tokio::task::spawn_blocking(|| line.join().unwrap()).await.unwrap();
    assert_eq!((spent.bytes_up, spent.bytes_down), (came, answer.len() as u64));
}

/// A bucket of S3 whose service gives these answers, one after the other.
fn answering(answers: &'static [&'static str]) -> (Bucket, Traffic) {
    use std::io::{BufRead, BufReader, Read, Write};
    crate::testing::install_crypto();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut body_bytes = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some((_, bytes)) = line.split_once("content-length: ") {
                    body_bytes = bytes.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            std::io::copy(&mut reader.take(body_bytes), &mut std::io::sink()).unwrap();
            let (head, body) = answer.split_once("\n\n").unwrap();
            let head = head.replace('\n', "\r\n");
            let fields = format!("content-length: {}\r\nconnection: close", body.len());
            write!(stream, "HTTP/1.1 {head}\r\n{fields}\r\n\r\n{body}").unwrap();
        }
    });
    let config = BucketConfig {
        endpoint: endpoint.parse().ok(),
        ..BucketConfig::new(Service::S3, "b", key("s3cret"))
    };
    let traffic = Traffic::new();
    (Bucket::new(config, traffic.clone()).unwrap(), traffic)
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_in_our_words() {
    let seconds = |seconds| ErrorKind::Throttled {
        retry_after: Some(std::time::Duration::from_secs(seconds)),
    };
    let cases: [(&'static [&'static str], ErrorKind, &str); 8] = [
        (
            &["403 F\n\n<Error><Code>AccessDenied</Code></Error>"],
            ErrorKind::Forbidden,
            "(status 403, AccessDenied)",
        ),
        (
            &[
                "403 F\n\n<Error><Code>SignatureDoesNotMatch</Code><Message>s3cret</Message></Error>",
            ],
            ErrorKind::Unauthorized,
            "refused the credentials",
        ),
        (
            &["403 F\n\n<Error><Code>RequestTimeTooSkewed</Code></Error>"],
            ErrorKind::Config,
            "the clock of this device is wrong",
        ),
        (
            &[
                "301 M\nx-amz-bucket-region: eu-west-1\n\n<Error><Code>PermanentRedirect</Code></Error>",
            ],
            ErrorKind::Config,
            "add region=eu-west-1",
        ),
        (
            &["503 S\nretry-after: 7\n\n<Error><Code>SlowDown</Code></Error>"],
            seconds(7),
            "asks for patience",
        ),
        (&["500 I\n\n<Error><Code>InternalError</Code></Error>"], ErrorKind::Server, "has a fault"),
        (&["507 F\n\n<Error><Code>XMinioStorageFull</Code></Error>"], ErrorKind::Full, "is full"),
        (
            &["404 N\n\n<Error><Code>NoSuchKey</Code></Error>"],
            ErrorKind::NotFound,
            "no such object",
        ),
    ];
    for (answers, kind, words) in cases {
        let (bucket, traffic) = answering(answers);
        let error = bucket.get(&path("a"), GetOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.detail().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert_eq!(traffic.snapshot().requests, 1);
    }
}

/// S3 calls a conditional write off while another one is under way: that says nothing of its condition.
#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_write_that_was_called_off_is_made_again() {
    const CONFLICT: &str = "409 C\n\n<Error><Code>ConditionalRequestConflict</Code></Error>";
    let update = || PutMode::Update(Version("\"x\"".to_owned()));
    let (bucket, traffic) = answering(&[CONFLICT, "412 P\n\n<Error/>"]);
    let put = bucket.put(&path("a"), "x".into(), update()).await.unwrap();
    assert_eq!((put, traffic.snapshot().requests), (Put::Lost, 2));
    let (bucket, _) = answering(&[CONFLICT, "200 O\netag: \"y\"\n\n"]);
    let put = bucket.put(&path("a"), "x".into(), update()).await.unwrap();
    assert_eq!(put, Put::Done(Some(Version("\"y\"".to_owned()))));
    let (bucket, traffic) = answering(&[CONFLICT; 4]);
    let error = bucket.put(&path("a"), "x".into(), update()).await.unwrap_err();
    assert_eq!((error.kind(), traffic.snapshot().requests), (ErrorKind::Busy, 4));
    // An outcome that is unknown is left to the caller.
    let (bucket, traffic) = answering(&["500 I\n\n<Error/>"]);
    let error = bucket.put(&path("a"), "x".into(), update()).await.unwrap_err();
    assert_eq!((error.kind(), traffic.snapshot().requests), (ErrorKind::Server, 1));
}

#[tokio::test]
async fn a_redirect_is_told_and_gets_nothing() {
    let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    other.set_nonblocking(true).unwrap();
    let to = format!(
        "http://ann:s3cret@{}/b/s3cret?X-Amz-Signature=s3cret",
        other.local_addr().unwrap()
    );
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer =
            format!("{status}\nlocation: {to}\n\n<Error><Code>TemporaryRedirect</Code></Error>");
        let answers: &[&str] = vec![&*answer.leak(); 3].leak();
        let (bucket, _) = answering(answers);
        for error in [
            bucket.read(&path("a"), 10).await.map(drop).unwrap_err(),
            bucket.write(&path("a"), "x".into()).await.map(drop).unwrap_err(),
            bucket.list(&RemotePath::root()).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
            assert!(error.detail().contains("sends us elsewhere, to http://127.0.0.1:"), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }
    assert!(other.accept().is_err(), "nobody came");
}
