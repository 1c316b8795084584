//! A folder on this device, or on a drive that is mounted on it.

mod mirror;
mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    Body, Capabilities, Clock, Entry, Error, ErrorKind, Get, GetOptions, Listing, Move, Object,
    Put, PutMode, RemotePath, Result, Storage, Traffic, Version, body,
};

/// How the names begin that this provider uses for itself and hides in listings.
const OWN_PREFIX: &str = ".larder-";

/// How old a temporary file is before it counts as left behind by a crash.
const STALE_AFTER: Duration = Duration::from_hours(24);

/// A storage in a folder.
///
/// Writes are a temporary file, an fsync, a rename and an fsync of the folder, so a reader never
/// sees half a file and a power cut loses none that was acknowledged. Conditional writes hold an
/// OS lock, so they are a true compare-and-swap among all processes on all machines whose file
/// system shares that lock. The version of a file is the SHA-256 of its content. The root itself is
/// made by `make_folder` only: a drive that is not mounted must not look like an empty remote.
#[derive(Debug, Clone)]
pub struct Local {
    root: Arc<Path>,
    clock: Clock,
    traffic: Traffic,
}

impl Local {
    /// A storage in the folder `root`, which may not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().into(), clock: Clock::default(), traffic: Traffic::default() }
    }

    /// The same folder, counting what is done with it in `traffic`.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// The folder everything lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs `work` where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &RemotePath,
        work: impl FnOnce(Place) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Place { root: Arc::clone(&self.root), operation, path: path.clone() };
        match tokio::task::spawn_blocking(move || work(place)).await {
            Ok(result) => result,
            Err(error) => Err(Error::new(
                ErrorKind::Unreachable,
                operation,
                path,
                "the work on the file was broken off",
            )
            .with_source(error)),
        }
    }
}

#[async_trait]
impl Storage for Local {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.traffic.request("get", path.as_str(), 0);
        let hashed = options.range.is_none() || options.if_none_match.is_some();
        let (file, len, version) =
            self.blocking("get", path, move |place| place.open(hashed)).await?;
        if version.is_some() && version == options.if_none_match {
            return Ok(Get::NotModified);
        }
        let range = options.range.map(|range| body::clip(&range, len));
        let covered = range.clone().unwrap_or(0..len);
        let bytes = covered.end - covered.start;
        let file = tokio::fs::File::from_std(file);
        self.traffic.received(bytes);
        Ok(Get::Object(Object {
            version,
            bytes: Some(bytes),
            range,
            server_time: Some(self.clock.now()),
            body: body::stream_range(path, file, covered.start, bytes).await?,
        }))
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.traffic.request("put", path.as_str(), body.len());
        self.blocking("put", path, move |place| place.put(&body, &mode)).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.traffic.request("delete", path.as_str(), 0);
        self.blocking("delete", path, |place| place.delete()).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.traffic.request("list", folder.as_str(), 0);
        let now = self.clock.now();
        let mut listing =
            self.blocking("list", folder, move |place| place.list(now.into())).await?;
        listing.server_time = Some(now);
        Ok(listing)
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.traffic.request("move", from.as_str(), 0);
        let to = to.clone();
        self.blocking("move", from, move |place| place.move_to(&to)).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.traffic.request("make_folder", folder.as_str(), 0);
        self.blocking("make_folder", folder, |place| place.make_folder()).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: true,
            move_exclusive: true,
            atomic_put: true,
            range: true,
            versions: true,
            trusted: true,
            at_hand: true,
            mirrored_by: mirror::mirrored_by(&self.root),
        }
    }
}

/// One call at work in the folder, with what its errors need to tell.
struct Place {
    root: Arc<Path>,
    operation: &'static str,
    path: RemotePath,
}

impl Place {
    /// Where `path` lies on disk, having made sure that no part of it below the root is a
    /// symbolic link: it could lead anywhere.
    fn locate(&self, path: &RemotePath) -> Result<PathBuf> {
        let mut located = self.root.to_path_buf();
        if path.is_root() {
            return Ok(located);
        }
        for part in path.as_str().split('/') {
            located.push(part);
            match fs::symlink_metadata(&located) {
                Ok(metadata) if metadata.is_symlink() => {
                    let text = format!(
                        "{path} is reached by a symbolic link, and larder follows none in a \
                         remote: put there what it leads to"
                    );
                    return Err(self.error(ErrorKind::Config, &text));
                }
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(located)
    }

    fn open(&self, hashed: bool) -> Result<(fs::File, u64, Option<Version>)> {
        use io::{Seek, SeekFrom};
        let located = self.locate(&self.path)?;
        let mut file = fs::File::open(&located).map_err(|error| self.failed(error))?;
        let metadata = file.metadata().map_err(|error| self.failed(error))?;
        if metadata.is_dir() {
            return Err(self.error(ErrorKind::NotFound, "it is a folder"));
        }
        let mut version = None;
        if hashed {
            version = Some(hash(&mut file).map_err(|error| self.failed(error))?);
            file.seek(SeekFrom::Start(0)).map_err(|error| self.failed(error))?;
        }
        Ok((file, metadata.len(), version))
    }

    fn list(&self, now: std::time::SystemTime) -> Result<Listing> {
        let folder = self.locate(&self.path)?;
        let mut listing = Listing::default();
        for found in fs::read_dir(folder).map_err(|error| self.failed(error))? {
            let found = found.map_err(|error| self.failed(error))?;
            let name = found.file_name().to_string_lossy().into_owned();
            // A file that goes away while the folder is read is no fault.
            let Ok(metadata) = found.metadata() else {
                continue;
            };
            if name.starts_with(OWN_PREFIX) {
                write::clean_stale(&found.path(), &name, &metadata, now);
                continue;
            }
            match self.path.join(&name) {
                Ok(path) if !metadata.is_symlink() => listing.entries.push(entry(path, &metadata)),
                _ => listing.foreign.push(name),
            }
        }
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        listing.foreign.sort();
        Ok(listing)
    }

    fn failed(&self, error: io::Error) -> Error {
        let (kind, detail) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                (ErrorKind::NotFound, "there is no such file or folder")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (ErrorKind::Forbidden, "the system does not allow it")
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => (ErrorKind::Full, "the disk is full"),
            io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => {
                (ErrorKind::Busy, "somebody else is using it")
            }
            io::ErrorKind::Unsupported => (ErrorKind::Unsupported, "the file system cannot do it"),
            _ => (ErrorKind::Unreachable, "the file system answered with an error"),
        };
        self.error(kind, &format!("{detail} ({error})")).with_source(error)
    }

    fn error(&self, kind: ErrorKind, detail: &str) -> Error {
        let detail = format!("{detail}, in {}", self.root.display());
        Error::new(kind, self.operation, &self.path, detail)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn entry(path: RemotePath, metadata: &fs::Metadata) -> Entry {
    Entry {
        path,
        is_folder: metadata.is_dir(),
        bytes: metadata.is_file().then_some(metadata.len()),
        version: None,
        modified: metadata.modified().ok().map(Into::into),
    }
}

fn hash(reader: &mut impl io::Read) -> io::Result<Version> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(version_of(hasher)),
            Ok(read) => hasher.update(chunk.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn version_of(hasher: Sha256) -> Version {
    Version(body::hex(&hasher.finalize()))
}

/// The body of a write as a reader, and how many bytes it must yield.
fn reader(body: &Body) -> io::Result<Box<dyn io::Read + '_>> {
    use io::Read;
    Ok(match body {
        Body::Bytes(bytes) => Box::new(io::Cursor::new(Bytes::clone(bytes))),
        Body::File { path, bytes, .. } => Box::new(fs::File::open(path)?.take(*bytes)),
    })
}

#[cfg(test)]
mod tests;
