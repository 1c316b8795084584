//! What goes wrong, and what becomes of it.

use super::*;

#[test]
fn every_published_fault_is_told_apart() {
    let seconds =
        |seconds| ErrorKind::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
    let now = ErrorKind::Throttled { retry_after: None };
    let table: &[(&str, ErrorKind, &str)] = &[
        ("400-bad-input", ErrorKind::Protocol, "does not understand"),
        ("401-expired", ErrorKind::LoggedOut, "(status 401, expired_access_token)"),
        ("401-invalid", ErrorKind::LoggedOut, "(status 401, invalid_access_token)"),
        ("401-missing-scope", ErrorKind::Forbidden, "tick files.content.write under Permissions"),
        ("401-suspended", ErrorKind::Forbidden, "is suspended"),
        ("403-no-permission", ErrorKind::Forbidden, "may not do this"),
        ("409-append-offset", ErrorKind::Busy, "disagree on how much was sent"),
        ("409-delete-not-found", ErrorKind::NotFound, "no such file"),
        ("409-hash", ErrorKind::Busy, "other bytes arrived"),
        ("409-large", ErrorKind::Unsupported, "of this size"),
        ("409-malformed", ErrorKind::Config, "takes no file of this name"),
        ("409-move-not-found", ErrorKind::NotFound, "no such file"),
        ("409-not-file", ErrorKind::NotFound, "there is a folder"),
        ("409-not-found", ErrorKind::NotFound, "(status 409, path/not_found)"),
        ("409-reset", ErrorKind::Busy, "from the beginning"),
        ("409-restricted", ErrorKind::Forbidden, "does not hand out"),
        ("409-unknown", ErrorKind::Protocol, "(status 409, other)"),
        ("409-upload-busy", now, "others write"),
        ("409-upload-conflict", ErrorKind::Protocol, "in the way"),
        ("409-upload-full", ErrorKind::Full, "is full"),
        ("409-upload-name", ErrorKind::Config, "of this name"),
        ("409-upload-over-folder", ErrorKind::Protocol, "in the way"),
        ("409-upload-permission", ErrorKind::Forbidden, "may not write there"),
        ("429-plain", seconds(15), "asks for patience"),
        ("429-too-many-requests", seconds(300), "asks for patience"),
        ("429-too-many-writes", seconds(1), "others write"),
        ("500-page", ErrorKind::Server, "has a fault"),
        ("oauth-invalid-grant", ErrorKind::Protocol, "(status 400, invalid_grant)"),
    ];
    for (name, kind, words) in table {
        let error = fault(name).error("Dropbox", "put", &path("a"));
        assert_eq!(
            (error.kind(), error.detail().contains(words)),
            (*kind, true),
            "{name}: {error}"
        );
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/http/dropbox");
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let faults = names.filter(|name| !name.to_string_lossy().starts_with("result-")).count();
    assert_eq!(faults, table.len(), "a fixture that nobody reads");
}

#[test]
fn conditions_contention_and_tokens_are_told_from_other_faults() {
    let all = |is: fn(&Fault) -> bool, names: &[&str]| names.iter().all(|name| is(&fault(name)));
    assert!(all(Fault::is_lost_condition, &["409-upload-conflict"]));
    assert!(!fault("409-upload-over-folder").is_lost_condition());
    assert!(!fault("409-upload-full").is_lost_condition());
    assert!(all(Fault::is_contention, &["429-too-many-writes", "409-upload-busy"]));
    assert!(!fault("429-too-many-requests").is_contention() && !fault("429-plain").is_contention());
    assert!(all(Fault::is_token, &["401-expired", "401-invalid"]));
    assert!(!fault("401-missing-scope").is_token() && !fault("401-suspended").is_token());
    let session = fault("409-upload-conflict").session.unwrap();
    assert!(session.starts_with("pid_upload_session:"));
}

/// What the server that the tests use says is shaped as what was published.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_like_dropbox_answers_as_is_published() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    let kind = async |trouble: Trouble| {
        server.trouble("files/list_folder", trouble);
        dropbox.list(&RemotePath::root()).await.unwrap_err().kind()
    };
    for (trouble, name) in [
        (Trouble::TooManyRequests(300), "429-too-many-requests"),
        (Trouble::TooManyRequestsInPlainText(15), "429-plain"),
        (Trouble::TooManyWrites, "429-too-many-writes"),
        (Trouble::Status(500), "500-page"),
    ] {
        let published = fault(name).error("Dropbox", "list", &path("a")).kind();
        assert_eq!(kind(trouble).await, published, "{name}");
    }
    let detail = |error: Error| error.detail().to_owned();
    let missing = dropbox.get(&path("a"), GetOptions::default()).await.unwrap_err();
    assert!(detail(missing).contains("path/not_found"));
    server.set_quota(10);
    let full = put(&dropbox, "a", "0123456789x", PutMode::Create).await.unwrap_err();
    assert_eq!(
        (full.kind(), detail(full).contains("path/insufficient_space")),
        (ErrorKind::Full, true)
    );
    server.put("/notes/a/b", b"x");
    let folder = put(&dropbox, "a", "x", PutMode::Create).await.unwrap_err();
    assert!(detail(folder).contains("path/conflict/folder"));
    let ancestor = put(&dropbox, "a/b/c", "x", PutMode::Create).await.unwrap_err();
    assert!(detail(ancestor).contains("path/conflict/file_ancestor"));
    let folder = dropbox.get(&path("a"), GetOptions::default()).await.unwrap_err();
    assert!(detail(folder).contains("path/not_file"));
    server.take_scope("files.content.write");
    let scope = put(&dropbox, "x", "x", PutMode::Create).await.unwrap_err();
    assert!(detail(scope).contains("tick files.content.write"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_are_verified_both_ways() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    server.trouble("files/upload", Trouble::Damaged);
    let damaged = put(&dropbox, "a", "content", PutMode::Create).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Busy, "{damaged}");
    assert!(damaged.detail().contains("content_hash_mismatch"), "{damaged}");
    put(&dropbox, "a", "content", PutMode::Create).await.unwrap();
    server.trouble("files/download", Trouble::Damaged);
    let damaged = dropbox.read(&path("a"), 100).await.unwrap_err();
    assert!(damaged.detail().contains("other bytes arrived"), "{damaged}");
    assert_eq!(read(&dropbox, "a").await, "content");
    // Pieces, too.
    let config = DropboxConfig { piece_bytes: 4, ..server.config("") };
    let pieces = Dropbox::new(config, Traffic::new()).unwrap();
    server.trouble("append_v2", Trouble::Damaged);
    let damaged = put(&pieces, "b", "content", PutMode::Create).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Busy, "{damaged}");
}

/// A write whose answer is lost is not made again in here: only the caller can tell what it came to.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_an_unknown_outcome() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, _) = storage(&server);
    put(&dropbox, "warm", "up", PutMode::Create).await.unwrap();
    server.trouble("files/upload", Trouble::AnswerLost);
    let lost = put(&dropbox, "a", "one", PutMode::Create).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unreachable, "{lost}");
    assert_eq!(read(&dropbox, "a").await, "one");
    assert_eq!(put(&dropbox, "a", "one", PutMode::Create).await.unwrap(), Put::Lost);
    // What may be written whatever is there takes its place again, and makes no new revision.
    let (_, version) = dropbox.read(&path("a"), 10).await.unwrap();
    let again = put(&dropbox, "a", "one", PutMode::Overwrite).await.unwrap();
    assert_eq!(again, Put::Done(version));
    put(&dropbox, "a", "two", PutMode::Overwrite).await.unwrap();
    assert_eq!(read(&dropbox, "a").await, "two");
}

/// A piece has its place, so one whose answer was lost is brought again, and is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_piece_whose_answer_is_lost_is_brought_again() {
    let server = DropboxLike::start().unwrap();
    let config = DropboxConfig { piece_bytes: 4, ..server.config("") };
    let dropbox = Dropbox::new(config, Traffic::new()).unwrap();
    server.trouble("append_v2", Trouble::AnswerLost);
    put(&dropbox, "middle", "0123456789", PutMode::Create).await.unwrap();
    assert_eq!(read(&dropbox, "middle").await, "0123456789");
    // The last one: then the session is closed already.
    server.trouble("append_v2", Trouble::AnswerLost);
    put(&dropbox, "last", "01234567", PutMode::Create).await.unwrap();
    assert_eq!(read(&dropbox, "last").await, "01234567");
    server.trouble("append_v2", Trouble::Status(502));
    put(&dropbox, "failed", "01234567", PutMode::Create).await.unwrap();
    assert_eq!(read(&dropbox, "failed").await, "01234567");
    for _ in 0..3 {
        server.trouble("append_v2", Trouble::Status(502));
    }
    let error = put(&dropbox, "given-up", "01234567", PutMode::Create).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Server);
}

#[tokio::test(flavor = "multi_thread")]
async fn contention_that_does_not_end_is_given_up() {
    let server = DropboxLike::start().unwrap();
    let (dropbox, traffic) = storage(&server);
    for _ in 0..3 {
        server.trouble("files/upload", Trouble::TooManyWrites);
    }
    put(&dropbox, "a", "x", PutMode::Create).await.unwrap();
    assert_eq!(traffic.snapshot().put_off, 3);
    // A rate limit is the work of the layer above.
    server.trouble("files/upload", Trouble::TooManyRequests(7));
    let error = put(&dropbox, "b", "x", PutMode::Create).await.unwrap_err();
    let wait = Some(Duration::from_secs(7));
    assert_eq!(error.kind(), ErrorKind::Throttled { retry_after: wait });
}
