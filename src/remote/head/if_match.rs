//! Commit mode if-match: `meta.json` is the manifest, replaced on a condition.

use async_trait::async_trait;
use bytes::Bytes;
use larder_providers::{
    Body, Get, GetOptions, Object, Put, PutMode, RemotePath, SharedStorage, Storage, Version,
    collect,
};

use super::{
    Advance, Budget, CommitMode, Head, HeadRead, HeadState, Manifest, Others, Reader, Result,
    holds_commit, join_copies, readable,
};
use crate::{
    digest::sha256_hex,
    model::{DeviceId, limits::MANIFEST_BYTES_MAX},
    mutant::{self, Mutant},
    remote::{RemoteError, layout},
};

/// Commits by a conditional write of `meta.json`, on storage with a true compare-and-swap.
#[derive(Debug)]
pub struct IfMatch {
    storage: SharedStorage,
}

impl IfMatch {
    /// The head on `storage`.
    pub fn new(storage: SharedStorage) -> Self {
        Self { storage }
    }

    async fn get(&self, known: Option<&str>) -> Result<HeadRead> {
        let meta = meta()?;
        let if_none_match = known.map(|mark| Version(mark.to_owned()));
        let options = GetOptions { range: None, if_none_match };
        let object = match self.storage.get(&meta, options).await {
            Ok(Get::NotModified) => return Ok(HeadRead::Unchanged),
            Ok(Get::Object(object)) => object,
            Err(error) if error.is_not_found() => return Ok(HeadRead::Missing),
            Err(error) => return Err(error.into()),
        };
        let (version, server_time) = (object.version.clone(), object.server_time);
        let bytes = collect(&meta, object, MANIFEST_BYTES_MAX).await?;
        let Some(version) = version else {
            let detail =
                "the server gives meta.json no version, so nothing can be made to depend on it";
            return Err(RemoteError::NoCommit { detail: detail.to_owned() });
        };
        let mut budget = Budget::default();
        budget.take(&bytes);
        let mut state = HeadState {
            mark: version.0,
            strays: Vec::new(),
            is_stale: false,
            manifest: Manifest::decode(layout::META, &bytes)?,
            sha256: sha256_hex(&bytes),
            server_time,
            others: Others::default(),
        };
        // They come where `meta.json` was replaced, so where it is as it was nobody has to look.
        if self.storage.capabilities().at_hand {
            let copies = self.copies().await?.into_iter().map(|file| (file.clone(), file));
            join_copies(&self.storage, &mut state, copies.collect(), &mut budget).await?;
        }
        Ok(HeadRead::Current(Box::new(state)))
    }

    /// What programs that mirror folders leave beside `meta.json` where two devices wrote it.
    async fn copies(&self) -> Result<Vec<RemotePath>> {
        let root = RemotePath::root();
        let listing = self.storage.list(&root).await?;
        let names = listing.entries.iter().filter(|entry| !entry.is_folder);
        let names =
            names.map(|entry| entry.path.name()).chain(listing.foreign.iter().map(|n| &**n));
        let is_copy = |name: &&str| {
            let name = name.to_lowercase();
            name.starts_with("meta") && name.contains(".json") && name != layout::META
        };
        Ok(names.filter(is_copy).filter_map(|name| RemotePath::found(&root, name).ok()).collect())
    }

    async fn clear(&self, strays: &[RemotePath]) {
        for stray in strays {
            // One that stays is joined and taken away by the next commit.
            let _ = self.storage.delete(stray).await;
        }
    }

    /// After an answer that proves nothing: what is there now decides.
    async fn look_again(&self, wanted: &Manifest) -> Result<Advance> {
        match self.get(None).await? {
            HeadRead::Current(now) if holds_commit(&now.manifest, wanted) => {
                Ok(Advance::Committed(now))
            }
            _ => Ok(Advance::Raced),
        }
    }
}

#[async_trait]
impl Head for IfMatch {
    fn mode(&self) -> CommitMode {
        CommitMode::IfMatch
    }

    async fn read(&self, reader: &Reader<'_>) -> Result<HeadRead> {
        self.get(reader.mark()).await
    }

    async fn advance(&self, seen: &HeadState, mut next: Manifest) -> Result<Advance> {
        next.pad.clear();
        let before = seen.manifest.encode().0.len();
        if next.encode().0.len() == before {
            next.pad.push(' ');
        }
        let (text, sha256) = next.encode();
        let body = Body::Bytes(Bytes::from(text));
        let condition = PutMode::Update(Version(seen.mark.clone()));
        let put = self.storage.put(&meta()?, body, condition).await;
        match put {
            Ok(Put::Done(Some(version))) if self.storage.capabilities().trusted => {
                self.clear(&seen.strays).await;
                Ok(Advance::Committed(Box::new(HeadState {
                    mark: version.0,
                    strays: Vec::new(),
                    is_stale: false,
                    manifest: next,
                    sha256,
                    server_time: seen.server_time,
                    others: Others::default(),
                })))
            }
            Ok(Put::Lost) if mutant::is(Mutant::LostMeansLost) => Ok(Advance::Raced),
            Ok(_) => self.look_again(&next).await,
            Err(error) if error.is_temporary() => self.look_again(&next).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn found(&self, first: &Manifest) -> Result<()> {
        let (text, _) = first.encode();
        let body = Body::Bytes(Bytes::from(text));
        self.storage.put(&meta()?, body, PutMode::Create).await?;
        Ok(())
    }

    async fn manifests(&self) -> Result<Vec<Manifest>> {
        readable(&self.storage, self.copies().await?).await
    }

    async fn rebuild(&self, _: &Reader<'_>, next: Manifest) -> Result<Advance> {
        let meta = meta()?;
        let condition = match self.storage.get(&meta, GetOptions::default()).await {
            Ok(Get::Object(Object { version: Some(version), .. })) => PutMode::Update(version),
            Ok(_) => {
                let detail = "the server gives meta.json no version";
                return Err(RemoteError::NoCommit { detail: detail.to_owned() });
            }
            Err(error) if error.is_not_found() => PutMode::Create,
            Err(error) => return Err(error.into()),
        };
        match self.get(None).await {
            Ok(HeadRead::Missing) | Err(RemoteError::Damaged { .. }) => {}
            Ok(_) => return Ok(Advance::Raced),
            Err(error) => return Err(error),
        }
        let body = Body::Bytes(Bytes::from(next.encode().0));
        match self.storage.put(&meta, body, condition).await {
            Err(error) if !error.is_temporary() => return Err(error.into()),
            _ => {}
        }
        match self.get(None).await? {
            HeadRead::Current(now) if now.manifest.commit.id == next.commit.id => {
                Ok(Advance::Committed(now))
            }
            _ => Ok(Advance::Raced),
        }
    }

    async fn forget(&self, _: &DeviceId, _: &Manifest) -> Result<()> {
        Ok(())
    }
}

fn meta() -> Result<RemotePath> {
    layout::path(layout::META)
}
