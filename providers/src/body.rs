//! Bodies: opening, reading and checking what is to be written.

use std::{fmt::Write, path::Path};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
};

use crate::{Body, Error, ErrorKind, RemotePath, Result};

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A local file that is to be sent: where it lies, how much of it, and what it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) file: &'a Path,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<&'a str>,
}

/// Reads a whole body into memory.
pub(crate) async fn load(path: &RemotePath, body: Body) -> Result<Bytes> {
    match body {
        Body::Bytes(bytes) => Ok(bytes),
        Body::File { path: file, bytes, sha256 } => {
            let outgoing = Outgoing { file: &file, bytes, sha256: sha256.as_deref() };
            let mut stream = open(path, outgoing).await?;
            let mut loaded = BytesMut::new();
            while let Some(chunk) = stream.next().await {
                loaded.extend_from_slice(&chunk?);
            }
            Ok(loaded.freeze())
        }
    }
}

/// Opens a file as a stream of exactly so many bytes; one that is shorter is refused here, before
/// anything is sent.
pub(crate) async fn open(
    path: &RemotePath,
    outgoing: Outgoing<'_>,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let Outgoing { file, bytes, sha256 } = outgoing;
    let opened = File::open(file).await.map_err(|error| unreadable(path, outgoing, error))?;
    let metadata = opened.metadata().await.map_err(|error| unreadable(path, outgoing, error))?;
    if metadata.len() < bytes {
        let error = too_short(path, bytes - metadata.len());
        return Err(if sha256.is_some() { changed(path) } else { error });
    }
    let proof = sha256.map(|sha256| Proof { hasher: Sha256::new(), sha256: sha256.to_owned() });
    let reading =
        Reading { path: path.clone(), operation: "put", file: opened, left: bytes, proof };
    Ok(reading.stream())
}

/// The next `bytes` bytes of an open file, from `start` on.
pub(crate) async fn stream_range(
    path: &RemotePath,
    mut file: File,
    start: u64,
    bytes: u64,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    if start > 0 {
        file.seek(SeekFrom::Start(start)).await.map_err(|error| broken("get", path, error))?;
    }
    let path = path.clone();
    Ok(Reading { path, operation: "get", file, left: bytes, proof: None }.stream())
}

/// A stream that holds one value already in memory.
pub(crate) fn once(bytes: Bytes) -> BoxStream<'static, Result<Bytes>> {
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

/// A file on its way, and what its bytes have to be.
struct Reading {
    path: RemotePath,
    operation: &'static str,
    file: File,
    left: u64,
    proof: Option<Proof>,
}

/// What was read so far, and what all of it has to be.
struct Proof {
    hasher: Sha256,
    sha256: String,
}

impl Reading {
    fn stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, async |mut reading| {
            let chunk = reading.next().await?;
            Ok(chunk.map(|chunk| (chunk, reading)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            // Nothing is left to hold back if a file without bytes should have had some.
            return self.prove(Bytes::new()).await.map(|_| None);
        }
        let room = usize::try_from(self.left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = BytesMut::with_capacity(room);
        let read = (&mut self.file).take(room as u64).read_buf(&mut chunk).await;
        let read = read.map_err(|error| broken(self.operation, &self.path, error))?;
        if read == 0 {
            let is_proven = self.proof.is_some();
            let error = too_short(&self.path, self.left);
            return Err(if is_proven { changed(&self.path) } else { error });
        }
        self.left -= read as u64;
        self.prove(chunk.freeze()).await.map(Some)
    }

    /// Gives the chunk back, unless it is the last and all of them are not what they have to be.
    async fn prove(&mut self, chunk: Bytes) -> Result<Bytes> {
        let Some(mut proof) = self.proof.take() else { return Ok(chunk) };
        let is_last = self.left == 0;
        let hashing = tokio::task::spawn_blocking(move || {
            proof.hasher.update(&chunk);
            (proof, chunk)
        });
        let (proof, chunk) = hashing
            .await
            .map_err(|error| broken(self.operation, &self.path, std::io::Error::other(error)))?;
        if !is_last {
            self.proof = Some(proof);
            return Ok(chunk);
        }
        let found = hex(&proof.hasher.finalize());
        if found == proof.sha256 { Ok(chunk) } else { Err(changed(&self.path)) }
    }
}

/// A digest in hexadecimal digits.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The file to be sent is not what it was when it was chosen.
pub(crate) fn changed(path: &RemotePath) -> Error {
    Error::new(ErrorKind::Changed, "put", path, "the file to send changed meanwhile")
}

fn too_short(path: &RemotePath, missing: u64) -> Error {
    let detail =
        format!("the file has become shorter while it was read: {missing} bytes are missing");
    Error::new(ErrorKind::Protocol, "put", path, detail)
}

fn unreadable(path: &RemotePath, outgoing: Outgoing<'_>, error: std::io::Error) -> Error {
    let detail = format!("the file to send, {}, cannot be read", outgoing.file.display());
    let is_proven = outgoing.sha256.is_some();
    let kind = if is_proven { ErrorKind::Changed } else { ErrorKind::Config };
    Error::new(kind, "put", path, detail).with_source(error)
}

fn broken(operation: &'static str, path: &RemotePath, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, operation, path, "the file cannot be read on")
        .with_source(error)
}

/// Which part of a file of `len` bytes a wanted range covers: clipped to the file, never reversed.
pub(crate) fn clip(wanted: &std::ops::Range<u64>, len: u64) -> std::ops::Range<u64> {
    let start = wanted.start.min(len);
    start..wanted.end.clamp(start, len)
}
