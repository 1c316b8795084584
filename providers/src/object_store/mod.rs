//! Object stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

mod config;
mod http;
mod read;
mod status;
mod write;

use std::{fmt, sync::Arc};

use ::object_store::{ObjectStore, list::PaginatedListStore, path::Path};
use async_trait::async_trait;

pub use config::{BucketConfig, Credentials, Service};

use crate::{
    Body, Capabilities, Error, ErrorKind, Get, GetOptions, Listing, Move, Put, PutMode, RemotePath,
    Result, Storage, Traffic, Version,
    http::{fields, wrong},
};

/// A storage below a prefix of a bucket, which Azure calls a container.
///
/// The crate `object_store` signs requests and reads answers. Every request goes through
/// `http::Way`, which counts it and keeps what the crate leaves out: the service's clock, its
/// status and its own word for a fault. Nothing is tried twice in here; that is the layer's work.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<dyn Store>,
    service: Service,
    /// Who is asked, as errors name it.
    host: String,
    name: String,
    prefix: Path,
    is_own_endpoint: bool,
}

impl Bucket {
    /// A storage in the bucket that `config` names, which counts its requests in `traffic`; nothing
    /// is sent yet.
    ///
    /// The program must have installed a rustls provider before.
    pub fn new(config: BucketConfig, traffic: Traffic) -> Result<Self> {
        let prefix = Path::parse(&config.prefix)
            .map_err(|_| wrong(&format!("{:?} cannot be a prefix", config.prefix)))?;
        let way = http::Way::new(&config, traffic)?;
        Ok(Self {
            store: config.build(way)?,
            service: config.service,
            host: config.host(),
            is_own_endpoint: config.endpoint.is_some(),
            name: config.bucket,
            prefix,
        })
    }

    /// The key of `path`.
    fn key(&self, path: &RemotePath) -> Path {
        let parts = path.as_str().split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), |key, part| key.join(part))
    }

    /// The version that `e_tag` and `generation` stand for. Google takes a number in the condition
    /// of a write and a tag in that of a read, so there both are kept.
    fn version(&self, e_tag: Option<String>, generation: Option<String>) -> Option<Version> {
        let tag = fields::tag(&e_tag?)?;
        match (self.service, generation) {
            (Service::Gcs, Some(generation)) => Some(Version(format!("{generation} {}", tag.0))),
            (Service::Gcs, None) => None,
            _ => Some(tag),
        }
    }
}

/// Both ways to ask a store that are needed here.
trait Store: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Store for T {}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.host)
    }
}

#[async_trait]
impl Storage for Bucket {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.open(path, options).await
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.send(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.remove(path).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.entries(folder).await
    }

    /// None of the services can rename.
    async fn move_exclusive(&self, from: &RemotePath, _: &RemotePath) -> Result<Move> {
        let detail = "an object store cannot rename";
        Err(Error::new(ErrorKind::Unsupported, "move", from, detail))
    }

    /// A folder is there as long as something lies below it.
    async fn make_folder(&self, _: &RemotePath) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: true,
            move_exclusive: false,
            atomic_put: true,
            range: true,
            versions: true,
            // What Amazon, Google and Microsoft promise; who speaks like them may not keep it.
            trusted: !self.is_own_endpoint,
            at_hand: false,
            mirrored_by: None,
        }
    }
}

#[cfg(test)]
mod tests;
