//! Bodies: opening, reading and checking what is to be written.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
};

use crate::{Body, Error, ErrorKind, RemotePath, Result};

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Reads a whole body into memory.
pub(crate) async fn load(path: &RemotePath, body: Body) -> Result<Bytes> {
    match body {
        Body::Bytes(bytes) => Ok(bytes),
        Body::File { path: file, bytes } => {
            let mut stream = open(path, &file, bytes).await?;
            let mut loaded = BytesMut::new();
            while let Some(chunk) = stream.next().await {
                loaded.extend_from_slice(&chunk?);
            }
            Ok(loaded.freeze())
        }
    }
}

/// Opens `file` as a stream of exactly `bytes` bytes; a file that is shorter is refused here,
/// before anything is sent.
pub(crate) async fn open(
    path: &RemotePath,
    file: &Path,
    bytes: u64,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let opened = File::open(file).await.map_err(|error| unreadable(path, file, error))?;
    let metadata = opened.metadata().await.map_err(|error| unreadable(path, file, error))?;
    if metadata.len() < bytes {
        return Err(too_short(path, bytes - metadata.len()));
    }
    Ok(stream(path.clone(), "put", opened, bytes))
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
    Ok(stream(path.clone(), "get", file, bytes))
}

/// A stream that holds one value already in memory.
pub(crate) fn once(bytes: Bytes) -> BoxStream<'static, Result<Bytes>> {
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

fn stream(
    path: RemotePath,
    operation: &'static str,
    file: File,
    bytes: u64,
) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((file, bytes), move |(mut file, left)| {
        let path = path.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let room = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let mut chunk = BytesMut::with_capacity(room);
            let read = (&mut file)
                .take(room as u64)
                .read_buf(&mut chunk)
                .await
                .map_err(|error| broken(operation, &path, error))?;
            if read == 0 {
                return Err(too_short(&path, left));
            }
            Ok(Some((chunk.freeze(), (file, left - read as u64))))
        }
    })
    .boxed()
}

fn too_short(path: &RemotePath, missing: u64) -> Error {
    let detail =
        format!("the file has become shorter while it was read: {missing} bytes are missing");
    Error::new(ErrorKind::Protocol, "put", path, detail)
}

fn unreadable(path: &RemotePath, file: &Path, error: std::io::Error) -> Error {
    let detail = format!("the file to send, {}, cannot be read", file.display());
    Error::new(ErrorKind::Config, "put", path, detail).with_source(error)
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
