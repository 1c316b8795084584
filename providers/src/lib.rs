//! Storage providers: how bytes get to and from the place where a remote lies.
//!
//! The seam is [`Storage`], seven methods over checked names, and two that need not be written. Providers know nothing of sync: they
//! keep files, and count in a [`Traffic`] what that costs. A [`layer`] wraps any provider and adds one
//! thing to it; the [`probe`](mod@probe) finds out what a storage can really do.

mod body;
mod clock;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod dropbox;
mod error;
mod http;
pub mod layer;
mod local;
mod memory;
#[cfg(feature = "object-stores")]
mod object_store;
mod password;
mod path;
pub mod probe;
mod storage;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod traffic;
pub mod webdav;

#[cfg(feature = "object-stores")]
pub use self::object_store::{Bucket, BucketConfig, Credentials, Service};
pub use clock::Clock;
pub use dropbox::{Dropbox, DropboxConfig, DropboxLogin, Hosts};
pub use error::{Error, ErrorKind, Result};
pub use http::HttpConfig;
pub use local::Local;
pub use memory::{Memory, MemorySnapshot, Tags};
pub use password::Password;
pub use path::{InvalidPath, NAME_BYTES_MAX, RemotePath};
pub use probe::{Check, Depth, ProbeReport, Verdict, probe, probe_at};
pub use storage::{
    Body, Capabilities, Entry, Get, GetOptions, Listing, Move, Object, Put, PutMode, SharedStorage,
    Storage, StorageExt, Version, collect,
};
pub use traffic::{Traffic, TrafficSnapshot};
pub use webdav::{WebDav, WebDavConfig};
