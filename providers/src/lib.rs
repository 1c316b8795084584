//! Storage providers: how bytes get to and from the place where a remote lies.
//!
//! The seam is [`Storage`], seven methods over checked names. Providers know nothing of sync: they
//! keep files. Layers (`layer`) wrap any provider to add one thing each: patience, counting, faults.

mod error;
mod path;
mod storage;

pub use error::{Error, ErrorKind, Result};
pub use path::{InvalidPath, NAME_BYTES_MAX, RemotePath};
pub use storage::{
    Body, Capabilities, Entry, Get, GetOptions, Listing, Move, Object, Put, PutMode, SharedStorage,
    Storage, StorageExt, Version, collect,
};
