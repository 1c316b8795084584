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

use super::{
    late::{Late, Write},
    mirror::SharedMirror,
    replica::Line,
};

/// A replica's way to the storage. Each call takes a random time before and after it takes effect,
/// so that turns which run side by side interleave at every call.
#[derive(Debug)]
pub(crate) struct Seat {
    inner: SharedStorage,
    random: Mutex<fastrand::Rng>,
    manners: Manners,
    /// Nobody gets through.
    is_cut: Arc<AtomicBool>,
    /// What was given up, and the server has not done yet, where it goes on with that.
    late: Option<Arc<Late>>,
    /// All faults are over.
    is_calm: Arc<AtomicBool>,
    /// What is called is a copy of a folder that is mirrored, and whose it is.
    mirror: Option<(SharedMirror, usize)>,
}

/// One write in so many is done late, where writes are.
const LATE_OF: u8 = 12;

/// It is done before one of so many calls.
const DONE_OF: u8 = 3;

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
    /// It may do a write only after its client gave that up, and went on.
    pub(crate) is_late: bool,
}

impl Seat {
    pub(crate) fn new(inner: SharedStorage, seed: u64, manners: Manners, line: &Line) -> Self {
        let (is_cut, mirror) = (line.is_cut.clone(), line.mirror.clone());
        let late = line.late.clone().filter(|_| manners.is_late);
        let is_calm = line.is_calm.clone();
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { inner, random, manners, is_cut, late, is_calm, mirror }
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
        if let Some(late) = &self.late {
            let (is_calm, mut random) = (self.is_calm.load(SeqCst), self.random.lock().unwrap());
            late.do_some(|| is_calm || random.u8(..DONE_OF) == 0);
        }
        Ok(())
    }

    /// Whether the connection breaks, and the server does this later.
    fn puts_off(&self, path: &RemotePath, write: impl FnOnce() -> Option<Write>) -> Result<()> {
        let may_be = self.late.as_ref().filter(|_| !self.is_calm.load(SeqCst));
        let Some(late) = may_be.filter(|_| self.random.lock().unwrap().u8(..LATE_OF) == 0) else {
            return Ok(());
        };
        write().into_iter().for_each(|write| late.put_off(write));
        let detail = "the connection broke, and the server went on";
        Err(Error::new(ErrorKind::Unreachable, "write", path, detail))
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
        // What comes from a file is lost.
        self.puts_off(path, || match &body {
            Body::Bytes(bytes) => Some(Write::Put(path.clone(), bytes.clone(), mode.clone())),
            _ => None,
        })?;
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
        self.puts_off(path, || Some(Write::Delete(path.clone())))?;
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
        self.puts_off(from, || Some(Write::Move(from.clone(), to.clone())))?;
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
