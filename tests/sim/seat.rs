//! What lies between one replica and the storage: time that passes, and servers that lie.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use larder_providers::{
    Body, Capabilities, Error, ErrorKind, Get, GetOptions, Listing, Move, Put, PutMode, RemotePath,
    Result, SharedStorage, Storage, StorageExt,
};

use super::{mirror::SharedMirror, replica::Line};

/// A replica's way to the storage. Each call takes a random time before and after it takes effect,
/// so that turns which run side by side interleave at every call.
#[derive(Debug)]
pub(crate) struct Seat {
    inner: SharedStorage,
    random: Mutex<fastrand::Rng>,
    manners: Manners,
    /// Nobody gets through.
    is_cut: Arc<AtomicBool>,
    /// What is called is a copy of a folder that is mirrored, and whose it is.
    mirror: Option<(SharedMirror, usize)>,
}

/// During one call in so many files arrive in a folder that is mirrored.
const ARRIVES_OF: u8 = 4;

/// At most so many at once.
const ARRIVALS_MAX: usize = 3;

/// What the server is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Its claims are not taken at their word.
    pub(crate) untrusted: bool,
    /// It takes no notice of conditions on writes.
    pub(crate) ignores_conditions: bool,
    /// Nor of the one that nothing may be there yet.
    pub(crate) ignores_creation: bool,
    /// It checks a condition, and writes a moment later.
    pub(crate) checks_early: bool,
}

impl Seat {
    pub(crate) fn new(inner: SharedStorage, seed: u64, manners: Manners, line: &Line) -> Self {
        let (is_cut, mirror) = (line.is_cut.clone(), line.mirror.clone());
        Self { inner, random: Mutex::new(fastrand::Rng::with_seed(seed)), manners, is_cut, mirror }
    }

    async fn pass_time(&self) {
        let millis = self.random.lock().unwrap().u64(0..40);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if let Some((mirror, number)) = &self.mirror {
            let mut random = self.random.lock().unwrap();
            if random.u8(..ARRIVES_OF) == 0 {
                mirror.lock().unwrap().arrive(*number, ARRIVALS_MAX, &mut random);
            }
        }
    }

    async fn set_out(&self, path: &RemotePath) -> Result<()> {
        self.pass_time().await;
        if self.is_cut.load(SeqCst) {
            let detail = "nobody gets through";
            return Err(Error::new(ErrorKind::Unreachable, "reach", path, detail));
        }
        Ok(())
    }

    /// Between the two, somebody else may write.
    async fn put_in_two_steps(&self, path: &RemotePath, body: Body, mode: &PutMode) -> Result<Put> {
        let found = match self.inner.read(path, u64::MAX).await {
            Ok((_, version)) => Some(version),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let holds = match (mode, found) {
            (PutMode::Update(wanted), Some(version)) => version.as_ref() == Some(wanted),
            (PutMode::Update(_), None) | (PutMode::Create, Some(_)) => false,
            _ => true,
        };
        self.pass_time().await;
        if holds { self.inner.put(path, body, PutMode::Overwrite).await } else { Ok(Put::Lost) }
    }
}

#[async_trait]
impl Storage for Seat {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.set_out(path).await?;
        let got = self.inner.get(path, options).await;
        self.pass_time().await;
        got
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.set_out(path).await?;
        let mode = match mode {
            PutMode::Update(_) if self.manners.ignores_conditions => PutMode::Overwrite,
            PutMode::Create if self.manners.ignores_creation => PutMode::Overwrite,
            mode => mode,
        };
        let put = if self.manners.checks_early && mode != PutMode::Overwrite {
            self.put_in_two_steps(path, body, &mode).await
        } else {
            self.inner.put(path, body, mode).await
        };
        self.pass_time().await;
        put
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.set_out(path).await?;
        let deleted = self.inner.delete(path).await;
        self.pass_time().await;
        deleted
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.set_out(folder).await?;
        let listed = self.inner.list(folder).await;
        self.pass_time().await;
        listed
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.set_out(from).await?;
        let moved = self.inner.move_exclusive(from, to).await;
        self.pass_time().await;
        moved
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.set_out(folder).await?;
        self.inner.make_folder(folder).await
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = self.inner.capabilities();
        Capabilities {
            trusted: capabilities.trusted && !self.manners.untrusted,
            mirrored_by: self.mirror.is_some().then_some("Syncthing"),
            ..capabilities
        }
    }
}
