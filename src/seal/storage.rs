//! The storage that seals what goes out and opens what comes in.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use larder_providers::{
    Body, Capabilities, Entry, Error, ErrorKind, Get, GetOptions, Listing, Move, Object, Put,
    PutMode, RemotePath, Result, SharedStorage, Storage, StorageExt, collect,
};
use sha2::{Digest, Sha256};

use super::{
    Envelope, SealError, Sealer,
    chunks::{CHUNK_BYTES, Part, Sealing, Unsealing},
    envelope::{ENVELOPE_BYTES_MAX, META},
    key_file::FOLDER as KEYS,
    plain_bytes, sealed_bytes,
};
use crate::{
    digest::hex,
    model::{SEALED_MARK as MARK, limits::SEALED_NAME_BYTES_MAX},
};

/// The folders in which names are sealed: they are made of types, ids and digests of contents. The
/// names elsewhere are numbers and what is drawn at random, and copies are recognised by them.
pub const SEALED_FOLDERS: [&str; 4] = ["blobs", "deltas", "entities", "packs"];
/// Manifests, each under a name of its own.
const MANIFESTS: &str = "meta";
/// A manifest for each device.
const HEADS: &str = "heads";
/// A body of more bytes is sealed where blocking is allowed.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// A storage whose files and names only those can read who have the key.
#[derive(Debug)]
pub struct Sealed {
    inner: SharedStorage,
    sealer: Arc<Sealer>,
    scratch: Option<PathBuf>,
}

impl Sealed {
    /// Wraps `inner`.
    pub fn new(inner: SharedStorage, sealer: Sealer) -> Self {
        Self { inner, sealer: Arc::new(sealer), scratch: None }
    }

    /// Has local files that are to be sent sealed into this folder first, not into the system's for
    /// temporary files.
    #[must_use]
    pub fn with_scratch(self, folder: impl Into<PathBuf>) -> Self {
        Self { scratch: Some(folder.into()), ..self }
    }

    /// Where a file really lies.
    fn stored(&self, operation: &'static str, path: &RemotePath) -> Result<RemotePath> {
        let Some(folder) = path.parent().filter(is_sealed) else {
            return Ok(path.clone());
        };
        let too_long = || {
            let detail = format!("its name is longer than {SEALED_NAME_BYTES_MAX} bytes");
            Error::new(ErrorKind::Unsupported, operation, path, detail)
        };
        if path.name().len() > SEALED_NAME_BYTES_MAX {
            return Err(too_long());
        }
        let name = self.sealer.seal_name(folder.as_str(), path.name());
        folder.join(&name).map_err(|_| too_long())
    }

    /// A listing with the names and lengths that were sealed.
    fn opened(&self, folder: &RemotePath, mut listing: Listing) -> Listing {
        let found = std::mem::take(&mut listing.entries);
        for mut entry in found {
            if folder.is_root() && entry.path.name() == KEYS {
                continue;
            }
            if is_sealed(folder) && !entry.is_folder {
                let name = self.sealer.open_name(folder.as_str(), entry.path.name());
                match name.and_then(|name| folder.join(&name).ok()) {
                    Some(path) => entry.path = path,
                    None => {
                        listing.foreign.push(entry.path.name().to_owned());
                        continue;
                    }
                }
            }
            let is_envelope = place_of(&entry.path) == META;
            // What no sealed file can be long is as good as empty.
            let length = |bytes| if is_envelope { None } else { plain_bytes(bytes).or(Some(0)) };
            listing.entries.push(Entry { bytes: entry.bytes.and_then(length), ..entry });
        }
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        listing
    }

    fn unsealed(&self, path: &RemotePath, part: Option<Part>, object: Object) -> Object {
        // A storage without ranges answers with everything.
        let part = part.zip(object.range.clone()).map(|(part, came)| {
            let covered = part.covered(&came);
            (part, covered)
        });
        let (bytes, range) = match &part {
            Some((_, covered)) => (Some(covered.end - covered.start), Some(covered.clone())),
            None => (object.bytes.and_then(plain_bytes), None),
        };
        let unsealing = Unsealing {
            sealer: Arc::clone(&self.sealer),
            path: path.clone(),
            place: place_of(path),
            body: object.body,
            announced: object.bytes,
            part,
        };
        let body = unsealing.stream();
        let folder = path.parent().unwrap_or_else(RemotePath::root);
        if [HEADS, MANIFESTS].contains(&folder.as_str()) {
            let (inner, sealer) = (Arc::clone(&self.inner), Arc::clone(&self.sealer));
            let body = body.then(move |chunk| explained(inner.clone(), sealer.clone(), chunk));
            return Object { bytes, range, body: body.boxed(), ..object };
        }
        Object { bytes, range, body, ..object }
    }

    /// The `meta.json`, which is opened when it is read: that it is damaged is no reason not to tell
    /// its version.
    fn unwrapped(&self, path: &RemotePath, object: Object) -> Object {
        let (sealer, path) = (Arc::clone(&self.sealer), path.clone());
        let Object { version, server_time, .. } = object;
        let object = Object { version: None, ..object };
        let opened = async move {
            let bytes = collect(&path, object, ENVELOPE_BYTES_MAX).await?;
            open_meta(&sealer, &bytes).map_err(|error| told(&path, "get", error))
        };
        Object {
            version,
            server_time,
            bytes: None,
            range: None,
            body: stream::once(opened).boxed(),
        }
    }

    async fn sealed(&self, path: &RemotePath, body: Body) -> Result<Outgoing> {
        let place = place_of(path);
        match body {
            Body::Bytes(bytes) => {
                let sealer = Arc::clone(&self.sealer);
                let length = bytes.len();
                let seal = move || match place.as_str() {
                    META => Envelope::seal(&sealer, &bytes).map(|e| e.encode().into_bytes()),
                    place => sealer.seal(place, &bytes),
                };
                let sealed = if length > INLINE_BYTES_MAX { blocking(seal).await? } else { seal() };
                let sealed = sealed.map_err(|error| told(path, "put", error))?;
                Ok(Outgoing { body: Body::Bytes(Bytes::from(sealed)), _file: None })
            }
            Body::File { path: file, bytes, sha256 } => {
                let (sealer, scratch) = (Arc::clone(&self.sealer), self.scratch.clone());
                let path = path.clone();
                let source = Source { file, bytes, sha256 };
                blocking(move || seal_file(&sealer, &path, &source, scratch.as_deref())).await?
            }
        }
    }
}

impl Sealer {
    /// A file as it was before it was sealed, for who looks at a storage past the wrapper; nothing if it
    /// was not sealed there.
    pub fn reveal(&self, stored: &RemotePath, bytes: &[u8]) -> Option<(RemotePath, Bytes)> {
        let path = match stored.parent().filter(is_sealed) {
            Some(folder) => {
                let name = self.open_name(folder.as_str(), stored.name())?;
                folder.join(&name).ok()?
            }
            None => stored.clone(),
        };
        let place = place_of(&path);
        let plain = match place.as_str() {
            META => open_meta(self, bytes).ok()?,
            place => Bytes::from(self.open(place, bytes).ok()?),
        };
        Some((path, plain))
    }
}

#[async_trait]
impl Storage for Sealed {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let stored = self.stored("get", path)?;
        let is_envelope = place_of(path) == META;
        let part = options.range.filter(|_| !is_envelope).map(Part::new);
        let range = part.as_ref().map(Part::stored);
        let options = GetOptions { range, if_none_match: options.if_none_match };
        let got = self.inner.get(&stored, options).await;
        match got.map_err(|error| error.about(path))? {
            Get::NotModified => Ok(Get::NotModified),
            Get::Object(object) if is_envelope => Ok(Get::Object(self.unwrapped(path, object))),
            Get::Object(object) => Ok(Get::Object(self.unsealed(path, part, object))),
        }
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        let stored = self.stored("put", path)?;
        let outgoing = self.sealed(path, body).await?;
        let put = self.inner.put(&stored, outgoing.body.clone(), mode).await;
        put.map_err(|error| error.about(path))
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        let stored = self.stored("delete", path)?;
        self.inner.delete(&stored).await.map_err(|error| error.about(path))
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        Ok(self.opened(folder, self.inner.list(folder).await?))
    }

    async fn list_names(&self, folder: &RemotePath) -> Result<Listing> {
        Ok(self.opened(folder, self.inner.list_names(folder).await?))
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        let (stored_from, stored_to) = (self.stored("move", from)?, self.stored("move", to)?);
        let moved = self.inner.move_exclusive(&stored_from, &stored_to).await;
        moved.map_err(|error| error.about(from))
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.inner.make_folder(folder).await
    }

    async fn changed(&self) -> Result<()> {
        self.inner.changed().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

/// A body as it is sent, and the file that it lies in until it was.
struct Outgoing {
    body: Body,
    _file: Option<tempfile::TempPath>,
}

/// A local file that is to be sealed.
struct Source {
    file: PathBuf,
    bytes: u64,
    sha256: Option<String>,
}

fn is_sealed(folder: &RemotePath) -> bool {
    SEALED_FOLDERS.contains(&folder.as_str())
}

/// What a file is bound to: the path that larder gave it. A copy that another program made of a head
/// is bound to what it is a copy of. In folders that are none of the format's a file is bound to the
/// folder: there, and in `head/`, files are renamed.
fn place_of(path: &RemotePath) -> String {
    let (folder, name) = (path.parent().unwrap_or_else(RemotePath::root), path.name());
    match folder.as_str() {
        "" if name.to_lowercase().starts_with(MANIFESTS) && name.contains(".json") => {
            META.to_owned()
        }
        HEADS => {
            let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let end = name.find(|c| !is_part(c)).unwrap_or(name.len());
            format!("{HEADS}/{}.json", name.get(..end).unwrap_or(name))
        }
        "" | MANIFESTS => path.as_str().to_owned(),
        sealed if SEALED_FOLDERS.contains(&sealed) => path.as_str().to_owned(),
        other => format!("{other}/"),
    }
}

fn open_meta(sealer: &Sealer, bytes: &[u8]) -> super::Result<Bytes> {
    match Envelope::decode(bytes) {
        Ok(Some(envelope)) => envelope.open(sealer).map(Bytes::from),
        Ok(None) => Err(SealError::NotEncrypted),
        // Whoever reads it will refuse it for what it is.
        Err(SealError::NeedsNewer { needed }) => {
            Ok(Bytes::from(serde_json::json!({ "minReader": needed }).to_string()))
        }
        Err(error) => Err(error),
    }
}

/// The head of another remote looks like a damaged one of this: before that is believed, the folder is
/// asked what it is.
async fn explained(
    inner: SharedStorage,
    sealer: Arc<Sealer>,
    chunk: Result<Bytes>,
) -> Result<Bytes> {
    let error = match chunk {
        Err(error) if error.kind() == ErrorKind::Damaged => error,
        chunk => return chunk,
    };
    let path = error.path().clone();
    let Ok(meta) = RemotePath::new(META) else { return Err(error) };
    let Ok((bytes, _)) = inner.read(&meta, ENVELOPE_BYTES_MAX).await else { return Err(error) };
    match Envelope::decode(&bytes) {
        Ok(Some(envelope)) => envelope.check(&sealer).map_err(|error| told(&path, "get", error))?,
        Ok(None) => return Err(told(&path, "get", SealError::NotEncrypted)),
        Err(_) => {}
    }
    Err(error)
}

fn told(path: &RemotePath, operation: &'static str, error: SealError) -> Error {
    match error {
        SealError::Storage(error) => error.about(path),
        SealError::Foreign(foreign) => {
            let detail = foreign.to_string();
            Error::new(ErrorKind::Damaged, operation, path, detail).with_source(foreign)
        }
        SealError::Damaged { detail, .. } => {
            Error::new(ErrorKind::Damaged, operation, path, detail)
        }
        error => Error::new(ErrorKind::Config, operation, path, error.to_string()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        let detail = "the encryption was stopped before its end";
        Error::new(ErrorKind::Unreachable, "put", &RemotePath::root(), detail).with_source(error)
    })
}

/// Seals a local file into another one. All of it, before anything is sent: what is sent again after
/// a failure must be the same bytes, for another content under the same nonces would give both away;
/// and a file that changed meanwhile is noticed before a server has any of it.
fn seal_file(
    sealer: &Sealer,
    path: &RemotePath,
    source: &Source,
    scratch: Option<&Path>,
) -> Result<Outgoing> {
    let place = place_of(path);
    let changed = || {
        let kind = if source.sha256.is_some() { ErrorKind::Changed } else { ErrorKind::Config };
        Error::new(kind, "put", path, "the file to send changed meanwhile, or cannot be read")
    };
    let unwritten = |error: std::io::Error| {
        let detail = "the encrypted copy of the file to send cannot be written";
        Error::new(ErrorKind::Config, "put", path, detail).with_source(error)
    };
    let file = std::fs::File::open(&source.file);
    let mut file = file.map_err(|error| changed().with_source(error))?.take(source.bytes);
    let mut out = open_scratch(scratch).map_err(unwritten)?;
    let mut hasher = Sha256::new();
    let mut sealing = Sealing::new(sealer, &place).map_err(|error| told(path, "put", error))?;
    out.write_all(MARK).map_err(unwritten)?;
    let (mut plain, mut left) = (Vec::with_capacity(CHUNK_BYTES), source.bytes);
    loop {
        plain.clear();
        let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut plain);
        let read = read.map_err(|error| changed().with_source(error))? as u64;
        left = left.checked_sub(read).ok_or_else(changed)?;
        if left > 0 && read < CHUNK_BYTES as u64 {
            return Err(changed());
        }
        hasher.update(&plain);
        let stored = sealing.chunk(&plain, left == 0).ok_or_else(changed)?;
        out.write_all(&stored).map_err(unwritten)?;
        if left == 0 {
            break;
        }
    }
    if source.sha256.as_ref().is_some_and(|sha256| *sha256 != hex(&hasher.finalize())) {
        return Err(changed());
    }
    let temp = out.into_temp_path();
    let body =
        Body::File { path: temp.to_path_buf(), bytes: sealed_bytes(source.bytes), sha256: None };
    Ok(Outgoing { body, _file: Some(temp) })
}

fn open_scratch(folder: Option<&Path>) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("sealed-");
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            builder.tempfile_in(folder)
        }
        None => builder.tempfile(),
    }
}
