//! Dropbox, by its HTTP API v2.

mod auth;
mod config;
mod fault;
pub(crate) mod hash;
mod json;
mod lane;
mod login;
mod read;
mod wire;
mod write;

use std::{fmt, sync::Mutex, time::Duration};

use async_trait::async_trait;

pub use config::{DropboxConfig, Hosts};
pub use login::DropboxLogin;

use self::{lane::Lane, wire::Wire};
use crate::{
    Body, Capabilities, Get, GetOptions, Listing, Move, Put, PutMode, RemotePath, Result, Storage,
    Traffic,
};

/// A storage in a folder of somebody's Dropbox.
///
/// Its versions are Dropbox's revisions. Dropbox writes in an account one thing after the other and
/// turns away what comes at once, so here one call at a time writes; what else is to be written
/// meanwhile is brought to Dropbox aside, and takes its place in one batch with the others: `lane`.
#[derive(Debug)]
pub struct Dropbox {
    wire: Wire,
    lane: Lane,
    watching: Mutex<Watching>,
}

/// What the next wait for changes begins with.
#[derive(Debug, Default)]
struct Watching {
    /// How the remote's folder was when it was looked at last.
    cursor: Option<String>,
    /// How long Dropbox wants to be left alone before.
    pause: Duration,
}

impl Dropbox {
    /// A storage in the folder that `config` names, which counts its requests in `traffic`; nothing is
    /// sent yet.
    ///
    /// The program must have installed a rustls provider before.
    pub fn new(config: DropboxConfig, traffic: Traffic) -> Result<Self> {
        Ok(Self {
            wire: Wire::new(config, traffic)?,
            lane: Lane::default(),
            watching: Mutex::default(),
        })
    }

    /// `path` as Dropbox calls it: the root of all is the empty text.
    fn key(&self, path: &RemotePath) -> String {
        let folder = &self.wire.config.folder;
        if path.is_root() { folder.clone() } else { format!("{folder}/{}", path.as_str()) }
    }
}

impl fmt::Display for Dropbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/ at {}", self.wire.config.folder, self.wire.host)
    }
}

#[async_trait]
impl Storage for Dropbox {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.open(path, options).await
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.store(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.remove(path).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.entries(folder).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.rename(from, to).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.make(folder).await
    }

    async fn changed(&self) -> Result<()> {
        self.watch().await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: true,
            move_exclusive: true,
            atomic_put: true,
            range: true,
            versions: true,
            // There is one Dropbox, and it promises all of this.
            trusted: true,
            at_hand: false,
            mirrored_by: None,
        }
    }
}

#[cfg(test)]
mod tests;
