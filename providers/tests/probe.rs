//! What the probe says about real servers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: what fails here should say where, and what was measured should be seen"
)]

use larder_providers::{
    Dropbox, ErrorKind, Local, RemotePath, Storage, Traffic, Verdict,
    probe::{Depth, ProbeReport, probe},
    testing::{DropboxLike, Kind, Server},
};

async fn probed(storage: &dyn Storage, traffic: &Traffic, depth: Depth) -> ProbeReport {
    let scratch = RemotePath::new("scratch").unwrap();
    storage.make_folder(&scratch).await.unwrap();
    let before = traffic.snapshot();
    let report = probe(storage, &scratch, depth).await.unwrap();
    let spent = traffic.snapshot().since(&before);
    let bad = report.checks.iter().filter(|check| check.verdict != Verdict::Good);
    let bad: Vec<_> = bad.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    println!("{depth:?} {} requests, {spent:?}, {bad:#?}", spent.requests);
    let allowed = if depth == Depth::Short { 12 } else { 300 };
    assert!(spent.requests <= allowed, "{spent:?}");
    match storage.list(&scratch).await {
        // An object store has no folder that could be gone.
        Ok(listing) => {
            let may_stay = depth == Depth::Short || !storage.capabilities().move_exclusive;
            assert!(may_stay && listing.entries.is_empty(), "{listing:?}");
        }
        Err(error) => {
            assert!(depth == Depth::Full && error.kind() == ErrorKind::NotFound, "{error}")
        }
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_carries_commits_by_moving() {
    for kind in [
        Kind::DavServer,
        Kind::DavServerBare,
        Kind::Apache,
        Kind::Lighttpd,
        Kind::Nginx,
        Kind::Rclone,
    ] {
        let Some(server) = Server::start(kind) else {
            continue;
        };
        println!("{kind:?}");
        let traffic = Traffic::new();
        let storage = server.storage().with_traffic(traffic.clone());
        let report = probed(&storage, &traffic, Depth::Short).await;
        assert!(report.rename_ok && !report.if_match_ok, "{kind:?} {report:#?}");
        let report = probed(&storage, &traffic, Depth::Full).await;
        assert!(report.rename_ok, "{kind:?} {report:#?}");
        if matches!(kind, Kind::Nginx | Kind::Rclone) {
            assert!(!report.if_match_ok, "{kind:?} ignores conditions");
            let verdict = report.check("wrongVersion").unwrap().verdict;
            assert_eq!(verdict, Verdict::Bad, "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_carries_both() {
    let dir = tempfile::tempdir().unwrap();
    let traffic = Traffic::new();
    let local = Local::new(dir.path()).with_traffic(traffic.clone());
    for depth in [Depth::Short, Depth::Full] {
        let report = probed(&local, &traffic, depth).await;
        assert!(report.rename_ok && report.if_match_ok, "{report:#?}");
    }
}

#[cfg(feature = "object-stores")]
#[tokio::test(flavor = "multi_thread")]
async fn object_stores_carry_commits_by_conditional_writes() {
    for kind in [Kind::Moto, Kind::Azurite, Kind::GoogleLike] {
        let Some(server) = Server::start(kind) else {
            continue;
        };
        println!("{kind:?}");
        let traffic = Traffic::new();
        let bucket = larder_providers::Bucket::new(server.bucket(), traffic.clone()).unwrap();
        for depth in [Depth::Short, Depth::Full] {
            let report = probed(&bucket, &traffic, depth).await;
            assert!(report.if_match_ok && !report.rename_ok, "{kind:?} {report:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropbox_carries_both() {
    let server = DropboxLike::start().unwrap();
    let traffic = Traffic::new();
    let dropbox = Dropbox::new(server.config("/notes"), traffic.clone()).unwrap();
    for depth in [Depth::Short, Depth::Full] {
        let report = probed(&dropbox, &traffic, depth).await;
        assert!(report.if_match_ok && report.rename_ok, "{report:#?}");
    }
}
