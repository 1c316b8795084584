//! Writing and deleting.

use std::{path::PathBuf, time::Duration};

use ::object_store::{
    MultipartUpload, ObjectStoreExt, PutOptions, PutPayload, PutResult, UpdateVersion,
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use super::{
    Bucket, Service,
    http::{Seen, watched},
};
use crate::{Body, Put, PutMode, RemotePath, Result, Version, body};

/// How much of a large file goes in one part, and the largest file that goes in one piece.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// The most parts of one file, a few below what S3 takes.
const PARTS_MAX: u64 = 9_000;

/// How often a conditional write is made that the service calls off because others write too.
const TRIES: u32 = 4;

impl Bucket {
    /// Writes in one request, and a large file of this device in parts. Only what is written
    /// whatever is there can go in parts; nothing large is written on a condition.
    pub(super) async fn send(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        match (body, mode) {
            (Body::File { path: file, bytes, sha256 }, PutMode::Overwrite)
                if bytes > PART_BYTES =>
            {
                self.write_in_parts(path, &file, bytes, sha256.as_deref()).await
            }
            (body, mode) => {
                let bytes = body::load(path, body).await?;
                self.write_at_once(path, bytes, mode).await
            }
        }
    }

    async fn write_at_once(&self, path: &RemotePath, bytes: Bytes, mode: PutMode) -> Result<Put> {
        let key = self.key(path);
        let has_condition = mode != PutMode::Overwrite;
        let mode = self.mode(mode);
        let mut tried = 0;
        loop {
            tried += 1;
            let payload = PutPayload::from_bytes(bytes.clone());
            let options = PutOptions { mode: mode.clone(), ..Default::default() };
            let (put, seen) = watched(false, self.store.put_opts(&key, payload, options)).await;
            let error = match put {
                Ok(done) => return Ok(self.done(done)),
                Err(error) => error,
            };
            if !has_condition || !is_condition(&error, &seen) {
                return Err(self.failure("put", path, &error, &seen));
            }
            if !is_called_off(&seen) {
                return Ok(Put::Lost);
            }
            if tried == TRIES {
                return Err(self.failure("put", path, &error, &seen));
            }
            // By then the other write is done, and tells whether the condition still holds.
            tokio::time::sleep(Duration::from_millis(50 * u64::from(tried))).await;
        }
    }

    fn mode(&self, mode: PutMode) -> ::object_store::PutMode {
        match mode {
            PutMode::Overwrite => ::object_store::PutMode::Overwrite,
            PutMode::Create => ::object_store::PutMode::Create,
            PutMode::Update(Version(version)) => {
                let (e_tag, version) = match self.service {
                    // A version that is none of ours must not be one of theirs.
                    Service::Gcs => {
                        let number = version.split_once(' ').map_or("1", |(number, _)| number);
                        (None, Some(number.to_owned()))
                    }
                    _ => (Some(version), None),
                };
                ::object_store::PutMode::Update(UpdateVersion { e_tag, version })
            }
        }
    }

    fn done(&self, result: PutResult) -> Put {
        Put::Done(self.version(result.e_tag, result.version))
    }

    async fn write_in_parts(
        &self,
        path: &RemotePath,
        file: &PathBuf,
        bytes: u64,
        sha256: Option<&str>,
    ) -> Result<Put> {
        let outgoing = body::Outgoing { file, bytes, sha256 };
        let parts = self.open_upload(path).await?;
        let (sent, mut upload) = self.send_parts(path, outgoing, parts).await;
        let Err(error) = sent else { return sent };
        // What stays there of a cut upload costs, so it is taken away; if that fails too, the
        // service's own rule for unfinished uploads has to do it.
        let (_, _) = watched(false, upload.abort()).await;
        Err(error)
    }

    async fn open_upload(&self, path: &RemotePath) -> Result<Box<dyn MultipartUpload>> {
        let key = self.key(path);
        let (upload, seen) = watched(false, self.store.put_multipart(&key)).await;
        upload.map_err(|error| self.failure("put", path, &error, &seen))
    }

    async fn send_parts(
        &self,
        path: &RemotePath,
        outgoing: body::Outgoing<'_>,
        mut upload: Box<dyn MultipartUpload>,
    ) -> (Result<Put>, Box<dyn MultipartUpload>) {
        let sent = async {
            let part_bytes = part_bytes(outgoing.bytes);
            let mut stream = body::open(path, outgoing).await?;
            let mut part = BytesMut::new();
            while let Some(chunk) = stream.try_next().await? {
                part.extend_from_slice(&chunk);
                while part.len() >= part_bytes {
                    let full = part.split_to(part_bytes).freeze();
                    self.send_part(path, upload.as_mut(), full).await?;
                }
            }
            if !part.is_empty() {
                self.send_part(path, upload.as_mut(), part.freeze()).await?;
            }
            let (done, seen) = watched(false, upload.complete()).await;
            let done = done.map_err(|error| self.failure("put", path, &error, &seen))?;
            Ok(self.done(done))
        }
        .await;
        (sent, upload)
    }

    async fn send_part(
        &self,
        path: &RemotePath,
        upload: &mut dyn MultipartUpload,
        part: Bytes,
    ) -> Result<()> {
        let (sent, seen) = watched(false, upload.put_part(PutPayload::from_bytes(part))).await;
        sent.map_err(|error| self.failure("put", path, &error, &seen))
    }

    pub(super) async fn remove(&self, path: &RemotePath) -> Result<()> {
        let key = self.key(path);
        let (removed, seen) = watched(false, self.store.delete(&key)).await;
        match removed {
            Ok(()) => Ok(()),
            // A bucket that is not there is another matter.
            Err(::object_store::Error::NotFound { .. }) if !is_without_bucket(&seen) => Ok(()),
            Err(error) => Err(self.failure("delete", path, &error, &seen)),
        }
    }
}

/// How long the parts of a file of so many bytes are: all but the last of one length.
fn part_bytes(bytes: u64) -> usize {
    let wanted = bytes.div_ceil(PARTS_MAX).max(PART_BYTES);
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

/// Whether a conditional write failed for its condition.
fn is_condition(error: &::object_store::Error, seen: &Seen) -> bool {
    use ::object_store::Error::{AlreadyExists, NotFound, NotModified, Precondition};
    match error {
        AlreadyExists { .. } | NotModified { .. } | Precondition { .. } => !is_without_bucket(seen),
        // Something was to be replaced that is not there.
        NotFound { .. } => matches!(seen.code.as_deref(), Some("NoSuchKey" | "BlobNotFound")),
        _ => false,
    }
}

fn is_without_bucket(seen: &Seen) -> bool {
    matches!(seen.code.as_deref(), Some("NoSuchBucket" | "ContainerNotFound"))
}

/// Whether a conditional write was called off because another one was under way: nothing is known of
/// its condition.
fn is_called_off(seen: &Seen) -> bool {
    seen.status.is_some_and(|status| status.as_u16() == 409)
        && matches!(
            seen.code.as_deref(),
            Some("ConditionalRequestConflict" | "OperationAborted" | "ConflictingOperation")
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_has_more_parts_than_a_service_takes() {
        for bytes in [1, PART_BYTES + 1, 80 << 30, 5 << 40] {
            let part = part_bytes(bytes) as u64;
            assert!(part >= PART_BYTES && bytes.div_ceil(part) <= PARTS_MAX, "{bytes}");
        }
    }
}
