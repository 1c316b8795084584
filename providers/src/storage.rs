//! The seam between larder and any storage: seven methods over checked names and bytes, and two that
//! only have to be written where more can be done, or cheaper.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, RemotePath, Result};

/// A place where files can be kept.
///
/// Every method may be called from many tasks at once. A conditional write that loses is an
/// outcome, never an error: the caller decides what losing means.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// Reads a file, or a range of it, or learns that it is still what the caller has.
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get>;

    /// Writes a file; folders above it are made as needed.
    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put>;

    /// Removes a file, or a folder in which nothing is left. One that is not there is as good as
    /// removed.
    async fn delete(&self, path: &RemotePath) -> Result<()>;

    /// Lists what lies directly in a folder. A folder that is not there is `NotFound`; storages
    /// without folders answer with an empty listing.
    async fn list(&self, folder: &RemotePath) -> Result<Listing>;

    /// [`list`](Self::list) for a caller who only looks at names, at what is a folder, and at the
    /// clock: a storage that can answer that in fewer bytes leaves out the rest.
    async fn list_names(&self, folder: &RemotePath) -> Result<Listing> {
        self.list(folder).await
    }

    /// Renames a file to a name nobody else uses. Of several rivals that move the same file away,
    /// exactly one is answered [`Move::Done`].
    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move>;

    /// Makes a folder whose parent exists; one that is there already is fine. Storages without
    /// folders do nothing.
    async fn make_folder(&self, folder: &RemotePath) -> Result<()>;

    /// Comes back when something in the root may have changed since the last call came back: a hint
    /// to look soon, and no more. A storage that cannot tell never comes back.
    async fn changed(&self) -> Result<()> {
        std::future::pending().await
    }

    /// What this storage claims to do. The probe finds out whether it is true.
    fn capabilities(&self) -> Capabilities;
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        (**self).get(path, options).await
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        (**self).put(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        (**self).delete(path).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        (**self).list(folder).await
    }

    async fn list_names(&self, folder: &RemotePath) -> Result<Listing> {
        (**self).list_names(folder).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        (**self).move_exclusive(from, to).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        (**self).make_folder(folder).await
    }

    async fn changed(&self) -> Result<()> {
        (**self).changed().await
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
}

/// A storage shared by many tasks.
pub type SharedStorage = Arc<dyn Storage>;

/// Which state of a file was seen: an ETag, a revision, a hash. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// How to read a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Only these bytes, the end excluded; what lies past the end of the file is left out. A
    /// storage without ranges may answer with everything: see [`Object::range`].
    pub range: Option<Range<u64>>,
    /// Answer [`Get::NotModified`] if this is still the file's version.
    pub if_none_match: Option<Version>,
}

/// The answer to [`Storage::get`].
#[derive(Debug)]
pub enum Get {
    /// The file's bytes.
    Object(Object),
    /// The file is what the caller has.
    NotModified,
}

/// A file being read.
pub struct Object {
    /// Its version, where the storage has such a thing.
    pub version: Option<Version>,
    /// How many bytes the body will have, if the storage said so.
    pub bytes: Option<u64>,
    /// The range that the body really covers; nothing for the whole file.
    pub range: Option<Range<u64>>,
    /// The storage's own clock when it answered.
    pub server_time: Option<DateTime<Utc>>,
    /// The bytes. A stream that ends early yields an error, never a silent end.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl Object {
    /// What reading none of a file's bytes, at `start`, comes to.
    pub(crate) fn nothing(
        start: u64,
        version: Option<Version>,
        server_time: Option<DateTime<Utc>>,
    ) -> Self {
        let body = stream::empty().boxed();
        Self { version, bytes: Some(0), range: Some(start..start), server_time, body }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("version", &self.version)
            .field("bytes", &self.bytes)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// What to write. Either form can be sent again after a failure.
#[derive(Debug, Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// The content of a local file, streamed; `bytes` is its length when it was chosen.
    File {
        /// Where it lies on this device.
        path: PathBuf,
        /// How many bytes of it are sent; a file that has become shorter is an error.
        bytes: u64,
        /// The SHA-256 of these bytes in hexadecimal digits, if they have to be proven: a file that
        /// holds something else ends before its last byte, with [`ErrorKind::Changed`].
        sha256: Option<String>,
    },
}

impl Body {
    /// How many bytes the body has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    /// Whether the body has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// On what condition a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutMode {
    /// Whatever is there.
    Overwrite,
    /// Only if nothing is there.
    Create,
    /// Only over this version.
    Update(Version),
}

/// The answer to [`Storage::put`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Written; with the new version, if the storage tells it.
    Done(Option<Version>),
    /// The condition did not hold; nothing was written.
    Lost,
}

/// The answer to [`Storage::move_exclusive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// This call renamed the file.
    Done,
    /// The source is not there (any more): somebody else was first.
    Lost,
}

/// What lies in a folder, with the storage's own clock when it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files and folders, in order of their names.
    pub entries: Vec<Entry>,
    /// Names that no [`RemotePath`] can have: somebody else's files, named so that they can be told.
    pub foreign: Vec<String>,
    /// The storage's own clock.
    pub server_time: Option<DateTime<Utc>>,
}

/// One file or folder in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its whole path below the remote's root.
    pub path: RemotePath,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Its length in bytes, if told.
    pub bytes: Option<u64>,
    /// Its version, if told.
    pub version: Option<Version>,
    /// When the storage saw it change last, by the storage's own clock.
    pub modified: Option<DateTime<Utc>>,
}

/// What a storage claims to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// [`PutMode::Update`] and [`PutMode::Create`] are a true compare-and-swap under races.
    pub compare_and_swap: bool,
    /// [`Storage::move_exclusive`] works.
    pub move_exclusive: bool,
    /// A reader never sees a half-written file.
    pub atomic_put: bool,
    /// Ranges are honoured.
    pub range: bool,
    /// Files come with versions, and `if_none_match` is honoured.
    pub versions: bool,
    /// Whether what is claimed here can be taken as it is. It cannot where the other side is some
    /// server of unknown make: there only the probe knows.
    pub trusted: bool,
    /// The files lie on this device: looking at them costs next to nothing.
    pub at_hand: bool,
    /// The program that copies the files to other devices in its own time, if one is seen to.
    pub mirrored_by: Option<&'static str>,
}

/// Comfort over [`Storage`] that no provider has to write.
#[async_trait]
pub trait StorageExt: Storage {
    /// Reads a whole file into memory, refusing one of more than `bytes_max` bytes.
    async fn read(&self, path: &RemotePath, bytes_max: u64) -> Result<(Bytes, Option<Version>)> {
        match self.get(path, GetOptions::default()).await? {
            Get::Object(object) => {
                let version = object.version.clone();
                Ok((collect(path, object, bytes_max).await?, version))
            }
            Get::NotModified => Err(Error::new(
                ErrorKind::Protocol,
                "get",
                path,
                "the server answered 'not modified' to an unconditional request",
            )),
        }
    }

    /// What lies in a folder: nothing, where no folder is.
    async fn list_if_there(&self, folder: &RemotePath) -> Result<Listing> {
        match self.list(folder).await {
            Err(error) if error.is_not_found() => Ok(Listing::default()),
            listed => listed,
        }
    }

    /// Writes bytes whatever is there.
    async fn write(&self, path: &RemotePath, bytes: Bytes) -> Result<Option<Version>> {
        match self.put(path, Body::Bytes(bytes), PutMode::Overwrite).await? {
            Put::Done(version) => Ok(version),
            Put::Lost => Err(Error::new(
                ErrorKind::Protocol,
                "put",
                path,
                "the server refused an unconditional write as if it had a condition",
            )),
        }
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}

/// Collects the body of `object`, refusing more than `bytes_max` bytes and a length that lies.
pub async fn collect(path: &RemotePath, object: Object, bytes_max: u64) -> Result<Bytes> {
    let too_large = || {
        let detail = format!("the file is larger than the {bytes_max} bytes allowed here");
        Error::new(ErrorKind::TooLarge, "get", path, detail)
    };
    if object.bytes.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    let mut body = object.body;
    let mut collected = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if (collected.len() + chunk.len()) as u64 > bytes_max {
            return Err(too_large());
        }
        collected.extend_from_slice(&chunk);
    }
    if let Some(bytes) = object.bytes
        && bytes != collected.len() as u64
    {
        let detail = format!("the answer was cut: {} of {bytes} bytes came", collected.len());
        return Err(Error::new(ErrorKind::Unreachable, "get", path, detail));
    }
    Ok(collected.freeze())
}
