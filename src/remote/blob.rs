//! Contents of files that are no records, on their way to and from the remote.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use larder_providers::{
    Body, Error, ErrorKind, Get, GetOptions, Object, Put, PutMode, RemotePath, SharedStorage,
    Storage,
};
use sha2::{Digest, Sha256};

use super::{RemoteError, Result, layout};
use crate::{digest::hex, model::Blob};

/// How much of a content is gathered before it is written, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Sends a content that lies in a file of this device. What goes up is hashed on its way: a file that
/// holds something else by now is [`ErrorKind::Changed`], and no server has it whole.
pub async fn upload(storage: &SharedStorage, blob: &Blob, from: PathBuf) -> Result<()> {
    let path = layout::path(&blob.file)?;
    let body = Body::File { path: from, bytes: blob.bytes, sha256: Some(blob.sha256.clone()) };
    match storage.put(&path, body, PutMode::Overwrite).await? {
        Put::Done(_) => Ok(()),
        Put::Lost => {
            let detail = "the server refused an unconditional write as if it had a condition";
            Err(Error::new(ErrorKind::Protocol, "put", &path, detail).into())
        }
    }
}

/// Carries a content to a remote under the name that it has on another. A name is written once: if
/// something lies there already it is left alone. Says whether the content is there then.
pub async fn carry(storage: &SharedStorage, blob: &Blob, from: PathBuf) -> Result<bool> {
    let path = layout::path(&blob.file)?;
    let body = Body::File { path: from, bytes: blob.bytes, sha256: Some(blob.sha256.clone()) };
    match storage.put(&path, body, PutMode::Create).await? {
        Put::Done(_) => Ok(true),
        Put::Lost => is_there(storage, blob).await,
    }
}

/// Whether the file of a content lies on the remote with its whole length.
pub async fn is_there(storage: &SharedStorage, blob: &Blob) -> Result<bool> {
    let path = layout::path(&blob.file)?;
    let last = blob.bytes.saturating_sub(1);
    let range = Some(last..blob.bytes);
    match storage.get(&path, GetOptions { range, if_none_match: None }).await {
        Ok(Get::Object(Object { range: Some(range), .. })) => Ok(range == (last..blob.bytes)),
        Ok(Get::Object(Object { range: None, bytes, .. })) => Ok(bytes == Some(blob.bytes)),
        Ok(Get::NotModified) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Fetches a content into the file `part`, from where an earlier try ended there if the storage knows
/// ranges. It is open for reading and writing, and its path is for messages. When it is done the file holds all of it, verified and on the disk; until then it holds its
/// beginning. `came` is told how many bytes came.
pub async fn download(
    storage: &SharedStorage,
    blob: &Blob,
    part: (&File, &Path),
    came: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let path = layout::path(&blob.file)?;
    loop {
        let mut partial = Partial::open(part, blob.bytes).await?;
        let resumed = partial.len > 0;
        if partial.len < blob.bytes {
            fetch_rest(storage, &path, blob, &mut partial, came).await?;
        }
        if partial.finish().await? == blob.sha256 {
            return Ok(());
        }
        let emptied = part.0.set_len(0);
        emptied.map_err(|source| RemoteError::Local { path: part.1.to_owned(), source })?;
        if !resumed {
            let detail = "its content is not what was written (SHA-256)";
            return Err(RemoteError::damaged(&blob.file, detail));
        }
    }
}

/// Reads a content from the remote and says what is wrong with it, if anything.
pub async fn verify(storage: &SharedStorage, blob: &Blob) -> Result<()> {
    let path = layout::path(&blob.file)?;
    let Get::Object(mut object) = storage.get(&path, GetOptions::default()).await? else {
        return Err(RemoteError::damaged(&blob.file, "it was not given out"));
    };
    let (mut hasher, mut len) = (Sha256::new(), 0);
    while let Some(chunk) = object.body.next().await {
        let chunk = chunk?;
        len += chunk.len() as u64;
        if len > blob.bytes {
            break;
        }
        hasher.update(&chunk);
    }
    check_length(blob, len)?;
    if hex(&hasher.finalize()) != blob.sha256 {
        let detail = "its content is not what was written (SHA-256)";
        return Err(RemoteError::damaged(&blob.file, detail));
    }
    Ok(())
}

fn check_length(blob: &Blob, len: u64) -> Result<()> {
    if len == blob.bytes {
        return Ok(());
    }
    let detail = format!("{len} bytes long instead of {}", blob.bytes);
    Err(RemoteError::damaged(&blob.file, detail))
}

async fn fetch_rest(
    storage: &SharedStorage,
    path: &RemotePath,
    blob: &Blob,
    partial: &mut Partial,
    came: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let range = (partial.len > 0).then_some(partial.len..blob.bytes);
    let got = storage.get(path, GetOptions { range, if_none_match: None }).await?;
    let Get::Object(mut object) = got else {
        return Err(RemoteError::damaged(&blob.file, "it was not given out"));
    };
    let start = object.range.as_ref().map_or(0, |range| range.start);
    if object.range.as_ref().is_some_and(|range| range.is_empty()) {
        return check_length(blob, partial.len);
    }
    if start != partial.len {
        // The storage knows no ranges and begins anew.
        partial.rewind()?;
    }
    let mut gathered = BytesMut::new();
    let failed = loop {
        match object.body.next().await {
            None => break None,
            Some(Err(error)) => break Some(error),
            Some(Ok(chunk)) => {
                came(chunk.len() as u64);
                gathered.extend_from_slice(&chunk);
            }
        }
        if partial.len + gathered.len() as u64 > blob.bytes {
            check_length(blob, partial.len + gathered.len() as u64)?;
        }
        if gathered.len() >= CHUNK_BYTES {
            partial.append(gathered.split().freeze()).await?;
        }
    };
    partial.append(gathered.freeze()).await?;
    match failed {
        Some(error) => Err(error.into()),
        // A server may end early without a word; whether the file is short is seen by asking.
        None if partial.len < blob.bytes => {
            if object.bytes.is_some_and(|bytes| start + bytes == partial.len) {
                return check_length(blob, partial.len);
            }
            let detail = format!("the answer was cut: {} of {} bytes", partial.len, blob.bytes);
            Err(Error::new(ErrorKind::Unreachable, "get", path, detail).into())
        }
        None => Ok(()),
    }
}

/// The beginning of a content in a file, and the digest of it so far.
struct Partial {
    at: PathBuf,
    writer: Option<(File, Sha256)>,
    len: u64,
}

impl Partial {
    async fn open((file, at): (&File, &Path), bytes_max: u64) -> Result<Self> {
        let mut partial = Self { at: at.to_owned(), writer: None, len: 0 };
        let file = partial.ours(file.try_clone())?;
        let opened = tokio::task::spawn_blocking(move || read_part(file, bytes_max)).await;
        let (file, hasher, len) = partial.ours(flat(opened))?;
        partial.writer = Some((file, hasher));
        partial.len = len;
        Ok(partial)
    }

    async fn append(&mut self, chunk: Bytes) -> Result<()> {
        let Some((mut file, mut hasher)) = self.writer.take() else { return Ok(()) };
        let len = chunk.len() as u64;
        let writing = tokio::task::spawn_blocking(move || {
            file.write_all(&chunk)?;
            hasher.update(&chunk);
            Ok((file, hasher))
        });
        self.writer = Some(self.ours(flat(writing.await))?);
        self.len += len;
        Ok(())
    }

    fn rewind(&mut self) -> Result<()> {
        let Some((mut file, _)) = self.writer.take() else { return Ok(()) };
        let rewound = file.set_len(0).and_then(|()| file.rewind());
        self.ours(rewound)?;
        self.writer = Some((file, Sha256::new()));
        self.len = 0;
        Ok(())
    }

    /// Brings everything to the disk and says what it is.
    async fn finish(&mut self) -> Result<String> {
        let Some((file, hasher)) = self.writer.take() else { return Ok(String::new()) };
        let syncing = tokio::task::spawn_blocking(move || file.sync_all().map(|()| hasher));
        let hasher = self.ours(flat(syncing.await))?;
        Ok(hex(&hasher.finalize()))
    }

    fn ours<T>(&self, done: std::io::Result<T>) -> Result<T> {
        done.map_err(|source| RemoteError::Local { path: self.at.clone(), source })
    }
}

fn flat<T>(done: Result<std::io::Result<T>, tokio::task::JoinError>) -> std::io::Result<T> {
    done.map_err(std::io::Error::other)?
}

/// What is there already, read through once for its digest.
fn read_part(mut file: File, bytes_max: u64) -> std::io::Result<(File, Sha256, u64)> {
    file.rewind()?;
    if file.metadata()?.len() > bytes_max {
        file.set_len(0)?;
    }
    let (mut hasher, mut len) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else { break };
        hasher.update(read);
        len += read.len() as u64;
    }
    file.seek(SeekFrom::Start(len))?;
    Ok((file, hasher, len))
}

#[cfg(test)]
mod tests;
