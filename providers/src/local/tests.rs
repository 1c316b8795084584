use std::time::SystemTime;

use super::*;
use crate::{StorageExt, testing::path};

fn names(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| entry.path.name()).collect()
}

#[tokio::test]
async fn keeps_bytes_and_shows_no_files_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::new(dir.path());
    let version = local.write(&path("a/b/x"), "hello".into()).await.unwrap();
    assert_eq!(local.read(&path("a/b/x"), 10).await.unwrap(), ("hello".into(), version.clone()));
    let stale = local
        .put(&path("a/b/x"), "two".into(), PutMode::Update(Version("no".into())))
        .await
        .unwrap();
    assert_eq!(stale, Put::Lost);
    let fresh = local.put(&path("a/b/x"), "two".into(), PutMode::Update(version.unwrap())).await;
    assert!(matches!(fresh.unwrap(), Put::Done(Some(_))));
    assert_eq!(names(&local.list(&RemotePath::root()).await.unwrap()), ["a"]);
    assert_eq!(names(&local.list(&path("a/b")).await.unwrap()), ["x"]);
}

#[tokio::test]
async fn a_root_that_is_not_there_is_made_by_make_folder_only() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::new(dir.path().join("drive"));
    let error = local.write(&path("a"), "x".into()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(local.list(&RemotePath::root()).await.unwrap_err().is_not_found());
    local.make_folder(&RemotePath::root()).await.unwrap();
    local.make_folder(&RemotePath::root()).await.unwrap();
    local.write(&path("a"), "x".into()).await.unwrap();
}

#[tokio::test]
async fn foreign_names_are_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".stfolder", "Meta (conflicted copy).json", "ok.json"] {
        std::fs::File::create(dir.path().join(name)).unwrap();
    }
    let listing = Local::new(dir.path()).list(&RemotePath::root()).await.unwrap();
    assert_eq!(names(&listing), ["ok.json"]);
    assert_eq!(listing.foreign, [".stfolder", "Meta (conflicted copy).json"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_is_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::File::create(outside.path().join("secret")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
    let local = Local::new(dir.path());
    for error in [
        local.read(&path("out/secret"), 10).await.unwrap_err(),
        local.write(&path("out/new"), "x".into()).await.unwrap_err(),
        local.delete(&path("out/secret")).await.unwrap_err(),
        local.list(&path("out")).await.unwrap_err(),
        local.move_exclusive(&path("out/secret"), &path("here")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    assert!(outside.path().join("secret").exists());
    assert_eq!(local.list(&RemotePath::root()).await.unwrap().foreign, ["out"]);
}

#[tokio::test]
async fn temporary_files_of_a_crash_go_away_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let old = std::fs::File::create(dir.path().join(".larder-tmp-old")).unwrap();
    let new = dir.path().join(".larder-tmp-new");
    std::fs::File::create(&new).unwrap();
    let two_days_ago = SystemTime::from(Clock::default().now()) - 2 * STALE_AFTER;
    old.set_modified(two_days_ago).unwrap();
    assert_eq!(Local::new(dir.path()).list(&RemotePath::root()).await.unwrap().entries, []);
    assert!(!dir.path().join(".larder-tmp-old").exists());
    assert!(new.exists());
}

#[tokio::test]
async fn a_body_that_became_shorter_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::File::create(&source).unwrap();
    let local = Local::new(dir.path());
    let body = Body::File { path: source, bytes: 10, sha256: None };
    let error = local.put(&path("x"), body, PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(local.read(&path("x"), 10).await.unwrap_err().is_not_found());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_full_disk_says_so() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let place = Place { root: Path::new("/").into(), operation: "put", path: path("x") };
    let mut file = std::fs::File::options().write(true).open(full).unwrap();
    let error = io::Write::write_all(&mut file, b"x").unwrap_err();
    assert_eq!(place.failed(error).kind(), ErrorKind::Full);
}
