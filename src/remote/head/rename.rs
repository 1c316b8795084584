//! Commit mode rename: the name of the one file in `head/` is the state.
//!
//! Renaming a file away succeeds for exactly one of several rivals on every server measured, needs
//! no ETag, no lock and no time-out, and leaves no window in which a crash does harm.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use larder_providers::{ErrorKind, Move, RemotePath, SharedStorage, Storage, StorageExt};

use super::{
    Advance, Budget, CommitMode, Head, HeadRead, HeadState, Manifest, Others, Reader, Result,
    holds_commit, join_copies, readable, too_much,
};
use crate::{
    digest::sha256_hex,
    model::{
        DeviceId, RemoteId,
        limits::{MANIFEST_BYTES_MAX, TOKENS_MAX},
    },
    mutant::{self, Mutant},
    remote::{RemoteError, layout},
};

/// While a rename is under way some servers list no token, or both: then it is listed again.
const LOOKS: u32 = 5;

/// How long to wait before looking again, in milliseconds, times the number of looks so far.
const LOOK_AGAIN_MS: u64 = 30;

/// How many manifests are looked into where none is known to be current.
const MANIFESTS_MAX: usize = 32;

/// Commits by renaming the head token.
#[derive(Debug)]
pub struct Rename {
    storage: SharedStorage,
    id: RemoteId,
}

struct Tokens {
    names: Vec<String>,
    /// Copies of tokens, with the names that they are copies of.
    copies: Vec<(String, RemotePath)>,
    server_time: Option<DateTime<Utc>>,
}

/// What a token names.
enum Named {
    /// A manifest, and its digest.
    Manifest(Box<Manifest>, String),
    /// Nothing that is there.
    Nothing,
    /// A manifest that there is no room for.
    TooMuch,
}

impl Rename {
    /// The head of the remote `id` on `storage`.
    pub fn new(storage: SharedStorage, id: RemoteId) -> Self {
        Self { storage, id }
    }

    /// The tokens in `head/`, the highest generation first.
    async fn tokens(&self) -> Result<Option<Tokens>> {
        let folder = layout::path(layout::HEAD)?;
        let mut looks = 0;
        loop {
            looks += 1;
            let listing = match self.storage.list_names(&folder).await {
                Ok(listing) => listing,
                // So sabre/dav says that a file in the folder was renamed while it listed it.
                Err(error) if error.is_not_found() && looks < LOOKS => {
                    look_again(looks).await;
                    continue;
                }
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let files = listing.entries.iter().filter(|entry| !entry.is_folder);
            let names = files.map(|entry| entry.path.name());
            let names = names.chain(listing.foreign.iter().map(String::as_str));
            let (mut found, mut copies) = (Vec::new(), Vec::new());
            for name in names {
                match (layout::token_generation(name), layout::token_of(name)) {
                    (_, Some(token)) if token != name => {
                        let file = RemotePath::found(&folder, name).ok();
                        copies.extend(file.map(|file| (token.to_owned(), file)));
                    }
                    (Some(generation), _) => found.push((generation, name.to_owned())),
                    (None, _) => {}
                }
            }
            if found.len() == 1 || looks >= LOOKS {
                found.sort_by(|a, b| b.cmp(a));
                let names = found.into_iter().map(|(_, name)| name).collect();
                return Ok(Some(Tokens { names, copies, server_time: listing.server_time }));
            }
            look_again(looks).await;
        }
    }

    async fn manifest(&self, token: &str, budget: &mut Budget) -> Result<Named> {
        if layout::token_generation(token) == Some(0) {
            // Nobody has committed yet: there is nothing to read.
            return Ok(Named::Manifest(Box::new(self.first()), String::new()));
        }
        let file = layout::manifest_file(token)?;
        match self.storage.read(&file, MANIFEST_BYTES_MAX).await {
            Ok((bytes, _)) if budget.take(&bytes) => {
                let manifest = Manifest::decode(file.as_str(), &bytes)?;
                Ok(Named::Manifest(Box::new(manifest), sha256_hex(&bytes)))
            }
            Ok(_) => Ok(Named::TooMuch),
            Err(error) if error.is_not_found() => Ok(Named::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    fn first(&self) -> Manifest {
        // The device of a commit that nobody made; it takes part in nothing.
        let nobody = DeviceId::new("0000").ok();
        let nobody = nobody.unwrap_or_else(|| DeviceId::random(&mut fastrand::Rng::with_seed(0)));
        Manifest::empty(self.id.clone(), CommitMode::Rename, nobody)
    }

    async fn load(&self, tokens: Tokens) -> Result<HeadRead> {
        let (mut state, mut budget): (Option<HeadState>, _) = (None, Budget::default());
        let (mut left, mut looks) = (tokens.names.len(), 0);
        for token in tokens.names {
            if let Some(state) = state.as_mut().filter(|_| looks >= TOKENS_MAX) {
                let why = format!("is one of {left} beyond the {TOKENS_MAX} tokens that are read");
                state.others.set_aside(layout::head_token(&token)?, why);
                break;
            }
            left -= 1;
            let named = self.manifest(&token, &mut budget).await?;
            looks += usize::from(!matches!(named, Named::Nothing));
            match (named, &mut state) {
                (Named::Nothing, _) | (Named::TooMuch, None) => {}
                (Named::TooMuch, Some(state)) => {
                    state.others.set_aside(layout::head_token(&token)?, too_much());
                }
                (Named::Manifest(manifest, sha256), None) => {
                    state = Some(HeadState {
                        mark: token,
                        strays: Vec::new(),
                        is_stale: false,
                        manifest: *manifest,
                        sha256,
                        server_time: tokens.server_time,
                        others: Others::default(),
                    });
                }
                (Named::Manifest(manifest, _), Some(state)) => {
                    state.manifest.join(&manifest);
                    state.strays.push(layout::head_token(&token)?);
                }
            }
        }
        if let Some(state) = &mut state {
            self.join_copies(state, tokens.copies, &mut budget).await?;
        }
        Ok(state.map_or(HeadRead::Missing, |state| HeadRead::Current(Box::new(state))))
    }

    /// Joins what the copies of tokens stand for, those of the highest generations first.
    async fn join_copies(
        &self,
        state: &mut HeadState,
        mut copies: Vec<(String, RemotePath)>,
        budget: &mut Budget,
    ) -> Result<()> {
        copies.sort_by_key(|(token, _)| std::cmp::Reverse(layout::token_generation(token)));
        let mut others = Vec::new();
        for (token, file) in copies {
            // A copy of the token that stands says nothing new.
            if token == state.mark {
                state.strays.push(file);
            } else if layout::token_generation(&token) > Some(0) {
                others.push((file, layout::manifest_file(&token)?));
            }
        }
        join_copies(&self.storage, state, others, budget).await
    }

    /// Reads the head whole, again if what was listed is gone by the time it is read.
    async fn current(&self, known: Option<&str>) -> Result<HeadRead> {
        for _ in 0..LOOKS {
            let Some(tokens) = self.tokens().await? else { return Ok(HeadRead::Missing) };
            if let ([only], Some(known)) = (tokens.names.as_slice(), known)
                && only == known
                && tokens.copies.is_empty()
            {
                return Ok(HeadRead::Unchanged);
            }
            let is_empty = tokens.names.is_empty();
            match self.load(tokens).await? {
                HeadRead::Missing if !is_empty => {}
                read => return Ok(read),
            }
        }
        let detail = "the manifest that head/ names is not there".to_owned();
        Err(RemoteError::HeadMissing { detail })
    }

    /// Takes away tokens whose manifests are part of the one that is current now.
    async fn clear(&self, strays: &[RemotePath]) {
        for stray in strays {
            // One that stays is joined and taken away by the next commit.
            let _ = self.storage.delete(stray).await;
        }
    }
}

#[async_trait]
impl Head for Rename {
    fn mode(&self) -> CommitMode {
        CommitMode::Rename
    }

    async fn read(&self, reader: &Reader<'_>) -> Result<HeadRead> {
        self.current(reader.mark()).await
    }

    async fn advance(&self, seen: &HeadState, next: Manifest) -> Result<Advance> {
        let token = format!("{}-{}", next.generation, next.commit.id);
        let (text, sha256) = next.encode();
        self.storage.write(&layout::manifest_file(&token)?, Bytes::from(text)).await?;
        let (from, to) = (layout::head_token(&seen.mark)?, layout::head_token(&token)?);
        let moved = self.storage.move_exclusive(&from, &to).await;
        if let Some(answered) = believed(&moved, &token, &next, &sha256) {
            return Ok(answered);
        }
        if let Err(error) = moved {
            let is_final = matches!(
                error.kind(),
                ErrorKind::Unauthorized
                    | ErrorKind::LoggedOut
                    | ErrorKind::Forbidden
                    | ErrorKind::Full
            );
            if is_final {
                return Err(error.into());
            }
        }
        // Whatever the answer was: what stands in head/ now is the truth.
        let Some(tokens) = self.tokens().await? else {
            let detail = "the folder head/ is gone".to_owned();
            return Err(RemoteError::HeadMissing { detail });
        };
        if tokens.names.contains(&token) {
            self.clear(&seen.strays).await;
            return Ok(Advance::Committed(Box::new(HeadState {
                mark: token,
                strays: Vec::new(),
                is_stale: false,
                manifest: next,
                sha256,
                server_time: tokens.server_time,
                others: Others::default(),
            })));
        }
        match self.current(None).await? {
            HeadRead::Current(now) if holds_commit(&now.manifest, &next) => {
                Ok(Advance::Committed(now))
            }
            _ => Ok(Advance::Raced),
        }
    }

    /// Makes the first token by the very step that every commit will rest on, and makes sure that
    /// what was renamed away is gone, so that nobody else can rename it.
    async fn found(&self, first: &Manifest) -> Result<()> {
        let id = first.remote_id.as_str();
        let name: String = id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let scratch = layout::head_token(&format!("new-{}", first.commit.device))?;
        // Named after the remote, so that whoever makes this remote's head makes the same one.
        let token = layout::head_token(&format!("0-{name}"))?;
        self.storage.write(&scratch, Bytes::new()).await?;
        let moved = self.storage.move_exclusive(&scratch, &token).await;
        let listing = self.storage.list_names(&layout::path(layout::HEAD)?).await?;
        let lies = |path: &RemotePath| listing.entries.iter().any(|entry| entry.path == *path);
        match moved {
            Ok(Move::Done) if lies(&scratch) => {
                let detail = "a file that was renamed is still there under its old name".to_owned();
                Err(RemoteError::NoCommit { detail })
            }
            Ok(Move::Done) => Ok(()),
            // Whoever joins a remote that has no head yet makes the same one.
            _ if lies(&token) => Ok(self.storage.delete(&scratch).await?),
            Ok(Move::Lost) => {
                let detail = "a file that was just written could not be renamed".to_owned();
                Err(RemoteError::NoCommit { detail })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn manifests(&self) -> Result<Vec<Manifest>> {
        let listing = self.storage.list_if_there(&layout::path(layout::MANIFESTS)?).await?;
        let files = listing.entries.into_iter().filter(|entry| !entry.is_folder);
        let mut files: Vec<_> = files.map(|entry| entry.path).collect();
        files.sort_by_key(|file| std::cmp::Reverse(layout::token_generation(file.name())));
        files.truncate(MANIFESTS_MAX);
        readable(&self.storage, files).await
    }

    /// By the step that every commit rests on: the token that leads nowhere is renamed away, which
    /// one of several rivals can do. Where there is none, one is made to be renamed.
    async fn rebuild(&self, reader: &Reader<'_>, next: Manifest) -> Result<Advance> {
        let token = format!("{}-{}", next.generation, next.commit.id);
        let before = self.tokens().await?.map(|tokens| tokens.names).unwrap_or_default();
        match self.current(None).await {
            Ok(HeadRead::Current(_) | HeadRead::Unchanged) => return Ok(Advance::Raced),
            Ok(HeadRead::Missing)
            | Err(RemoteError::HeadMissing { .. } | RemoteError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let from = match before.first() {
            Some(name) => layout::head_token(name)?,
            None => {
                let scratch = layout::head_token(&format!("new-{}", reader.device))?;
                self.storage.write(&scratch, Bytes::new()).await?;
                scratch
            }
        };
        let text = Bytes::from(next.encode().0);
        self.storage.write(&layout::manifest_file(&token)?, text).await?;
        match self.storage.move_exclusive(&from, &layout::head_token(&token)?).await {
            Err(error) if !error.is_temporary() => return Err(error.into()),
            _ => {}
        }
        let Some(tokens) = self.tokens().await?.filter(|now| now.names.contains(&token)) else {
            return Ok(Advance::Raced);
        };
        // Others that lead nowhere would keep everybody from reading this one.
        let dead = tokens.names.iter().filter(|name| before.contains(name));
        let dead: Vec<RemotePath> =
            dead.map(|name| layout::head_token(name)).collect::<Result<_>>()?;
        self.clear(&dead).await;
        match self.current(None).await? {
            HeadRead::Current(now) if now.mark == token => Ok(Advance::Committed(now)),
            _ => Ok(Advance::Raced),
        }
    }

    async fn forget(&self, _: &DeviceId, _: &Manifest) -> Result<()> {
        Ok(())
    }
}

/// Waits until a rename that is under way should be over.
async fn look_again(looks: u32) {
    let pause = LOOK_AGAIN_MS * u64::from(looks);
    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
}

/// What came of a commit for somebody who takes a server at its word, as only mutants do.
fn believed(
    moved: &larder_providers::Result<Move>,
    token: &str,
    next: &Manifest,
    sha256: &str,
) -> Option<Advance> {
    match moved {
        Ok(Move::Lost) if mutant::is(Mutant::LostMeansLost) => Some(Advance::Raced),
        Ok(Move::Done) if mutant::is(Mutant::DoneMeansDone) => {
            Some(Advance::Committed(Box::new(HeadState {
                mark: token.to_owned(),
                strays: Vec::new(),
                is_stale: false,
                manifest: next.clone(),
                sha256: sha256.to_owned(),
                server_time: None,
                others: Others::default(),
            })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use larder_providers::{
        Body, Capabilities, Error, Get, GetOptions, Listing, Memory, Put, PutMode, Result as Answer,
    };

    use super::*;

    /// Says so many times of the folder `head` that it is not there.
    #[derive(Debug)]
    struct Shy(Memory, AtomicU32);

    #[async_trait]
    impl Storage for Shy {
        async fn get(&self, path: &RemotePath, options: GetOptions) -> Answer<Get> {
            self.0.get(path, options).await
        }

        async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Answer<Put> {
            self.0.put(path, body, mode).await
        }

        async fn delete(&self, path: &RemotePath) -> Answer<()> {
            self.0.delete(path).await
        }

        async fn list(&self, folder: &RemotePath) -> Answer<Listing> {
            let left = self.1.load(Ordering::Relaxed);
            if left > 0 {
                self.1.store(left - 1, Ordering::Relaxed);
                return Err(Error::new(ErrorKind::NotFound, "list", folder, "status 404"));
            }
            self.0.list(folder).await
        }

        async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Answer<Move> {
            self.0.move_exclusive(from, to).await
        }

        async fn make_folder(&self, folder: &RemotePath) -> Answer<()> {
            self.0.make_folder(folder).await
        }

        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_not_there_for_a_moment_is_looked_at_again() {
        for (refusals, is_found) in [(0, true), (1, true), (LOOKS - 1, true), (LOOKS, false)] {
            let memory = Memory::new();
            memory.insert_raw(&layout::head_token("0-remote").unwrap(), "");
            let storage: SharedStorage = Arc::new(Shy(memory, AtomicU32::new(refusals)));
            let head = Rename::new(storage, RemoteId::new("remote-1").unwrap());
            let read = head.current(None).await.unwrap();
            assert_eq!(matches!(read, HeadRead::Current(_)), is_found, "{refusals} refusals");
        }
    }
}
