//! A server that renames nothing.

use larder_providers::{
    Body, Capabilities, Error, ErrorKind, Get, GetOptions, Listing, Move, Put, PutMode, RemotePath,
    Result as ProviderResult, Storage,
};

use super::*;
use crate::{engine::EngineError, remote::CommitMode};

/// Refuses each rename, which it claims to do, as a WebDAV server without MOVE.
#[derive(Debug)]
struct Stiff(Memory);

#[async_trait::async_trait]
impl Storage for Stiff {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> ProviderResult<Get> {
        self.0.get(path, options).await
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> ProviderResult<Put> {
        self.0.put(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> ProviderResult<()> {
        self.0.delete(path).await
    }

    async fn list(&self, folder: &RemotePath) -> ProviderResult<Listing> {
        self.0.list(folder).await
    }

    async fn move_exclusive(&self, from: &RemotePath, _: &RemotePath) -> ProviderResult<Move> {
        Err(Error::new(ErrorKind::Busy, "move", from, "the server refused the move (405)"))
    }

    async fn make_folder(&self, folder: &RemotePath) -> ProviderResult<()> {
        self.0.make_folder(folder).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { trusted: false, move_exclusive: true, ..self.0.capabilities() }
    }
}

#[tokio::test]
async fn mode_devices_needs_no_rename() {
    let storage: SharedStorage = Arc::new(Stiff(Memory::new()));
    let (mut a, mut b) = (Device::new("laptop", &storage), Device::new("phone", &storage));
    let refused = a.engine.connect(&storage, Some(CommitMode::Rename)).await;
    assert!(matches!(refused, Err(EngineError::Remote(_))), "{refused:?}");
    let made = a.engine.connect(&storage, Some(CommitMode::Devices)).await.unwrap();
    assert!(made.created && made.mode == CommitMode::Devices, "{made:?}");
    b.connect().await;
    a.write("note.md", "Hello\n");
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("note.md"), "Hello\n");
}
