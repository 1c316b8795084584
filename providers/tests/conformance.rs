//! Every provider against the one suite.

use std::sync::Arc;

use larder_providers::{
    Local, Memory, SharedStorage, conformance,
    testing::{Kind, Server},
};

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    conformance::run(async || Arc::new(Memory::new()) as SharedStorage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(async || Arc::new(Local::new(dir.path())) as SharedStorage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_dav_server() {
    webdav(Kind::DavServer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_bare_dav_server() {
    webdav(Kind::DavServerBare).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_apache() {
    webdav(Kind::Apache).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_apache_with_basic() {
    webdav(Kind::ApacheBasic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_apache_with_digest() {
    webdav(Kind::ApacheDigest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_lighttpd() {
    webdav(Kind::Lighttpd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_nginx() {
    webdav(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webdav_on_rclone() {
    webdav(Kind::Rclone).await;
}

#[cfg(feature = "object-stores")]
#[tokio::test(flavor = "multi_thread")]
async fn s3_on_moto() {
    bucket(Kind::Moto).await;
}

#[cfg(feature = "object-stores")]
#[tokio::test(flavor = "multi_thread")]
async fn azure_on_azurite() {
    bucket(Kind::Azurite).await;
}

#[cfg(feature = "object-stores")]
#[tokio::test(flavor = "multi_thread")]
async fn google_on_a_server_like_it() {
    bucket(Kind::GoogleLike).await;
}

#[cfg(feature = "object-stores")]
async fn bucket(kind: Kind) {
    let Some(server) = Server::start(kind) else {
        return;
    };
    conformance::run(async || server.shared("a folder/in it")).await;
}

async fn webdav(kind: Kind) {
    let Some(server) = Server::start(kind) else {
        return;
    };
    conformance::run(async || Arc::new(server.storage()) as SharedStorage).await;
}
