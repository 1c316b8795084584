//! Every provider against the one suite.

use std::sync::Arc;

use larder_providers::{
    Dropbox, DropboxConfig, Local, Memory, Password, RemotePath, SharedStorage, Storage, Traffic,
    conformance,
    layer::Retry,
    testing::{DropboxLike, Kind, Server},
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

#[tokio::test(flavor = "multi_thread")]
async fn dropbox_on_a_server_like_it() {
    let Some(server) = Server::start(Kind::DropboxLike) else {
        return;
    };
    conformance::run(async || server.shared("A folder/in it")).await;
}

/// What is larger than a megabyte in pieces, and the root of the app's folder as the remote.
#[tokio::test(flavor = "multi_thread")]
async fn dropbox_in_pieces() {
    let server = DropboxLike::start().unwrap();
    let config = DropboxConfig { piece_bytes: 1 << 20, ..server.config("") };
    let storage = Dropbox::new(config, Traffic::new()).unwrap();
    let storage = Arc::new(storage) as SharedStorage;
    conformance::run(async || Arc::clone(&storage)).await;
}

/// An account of your own, which gets a folder `larder-conformance` in the app's folder.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "an account is handed in by the environment, and who runs the tests must see what was skipped"
)]
#[tokio::test(flavor = "multi_thread")]
async fn dropbox_itself() {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (token, key) = (var("LARDER_TEST_DROPBOX_TOKEN"), var("LARDER_TEST_DROPBOX_APP_KEY"));
    let (Some(token), Some(key)) = (token, key) else {
        eprintln!("skipped: no LARDER_TEST_DROPBOX_TOKEN and LARDER_TEST_DROPBOX_APP_KEY");
        return;
    };
    larder_providers::testing::install_crypto();
    let config = DropboxConfig::new("/larder-conformance", key, Password::new(token));
    let storage = Retry::new(Dropbox::new(config, Traffic::new()).unwrap());
    let storage = Arc::new(storage) as SharedStorage;
    storage.make_folder(&RemotePath::root()).await.unwrap();
    conformance::run(async || Arc::clone(&storage)).await;
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
