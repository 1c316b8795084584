//! WebDAV: any server that keeps files, with no trust in its word.

mod auth;
mod client;
mod config;
mod list;
mod multistatus;
mod read;
mod redirect;
mod status;
mod write;

use async_trait::async_trait;

pub use config::WebDavConfig;
#[cfg(feature = "fuzzing")]
pub use list::read_listing;

use self::client::Client;
use crate::{
    Body, Capabilities, Get, GetOptions, Listing, Move, Put, PutMode, RemotePath, Result, Storage,
    Traffic,
};

/// A storage in a folder of a WebDAV server.
///
/// Nothing is believed that measured servers get wrong: a multi-status is no success, a refused
/// move counts as lost only when the source is seen to be gone, weak tags are no versions, and
/// conditions are sent but not claimed to be a compare-and-swap.
#[derive(Debug)]
pub struct WebDav {
    client: Client,
}

impl WebDav {
    /// A storage at the folder that `config` names; nothing is sent yet.
    ///
    /// The program must have installed a rustls provider before.
    pub fn new(config: WebDavConfig) -> Result<Self> {
        let client = Client::new(config, Traffic::default())?;
        Ok(Self { client })
    }

    /// The same folder, counting requests in `traffic`.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.client.transport.traffic = traffic;
        self
    }
}

#[async_trait]
impl Storage for WebDav {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.client.get(path, options).await
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.client.put(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.client.delete(path).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.client.list(folder).await
    }

    async fn list_names(&self, folder: &RemotePath) -> Result<Listing> {
        self.client.list_names(folder).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.client.move_exclusive(from, to).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.client.make_folder(folder).await.map(|_| ())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: false,
            move_exclusive: true,
            atomic_put: false,
            range: true,
            versions: true,
            trusted: false,
            at_hand: false,
            mirrored_by: None,
        }
    }
}

#[cfg(test)]
mod tests;
