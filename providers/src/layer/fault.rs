//! Faults on order: the storage that tests should fear.

mod dice;
mod plan;

use dice::{Dice, head, tear};
pub use plan::FaultPlan;

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Body, Capabilities, Entry, Error, ErrorKind, Get, GetOptions, Listing, Move, Object, Put,
    PutMode, RemotePath, Result, Storage, StorageExt, Version, body, sync::lock,
};

/// A storage that fails as real ones do, the same way for the same seed.
///
/// Whether a call fails follows from the seed, the kind of call, the path, and how often this was
/// called before, so the order in which parallel tasks run does not matter.
#[derive(Debug)]
pub struct Fault<S> {
    inner: S,
    plan: FaultPlan,
    calm: AtomicBool,
    calls: AtomicU64,
    crash: Mutex<Option<(u64, Moment)>>,
    seen: Mutex<HashMap<(&'static str, RemotePath), u64>>,
    past_files: PastOf<(Bytes, Option<Version>)>,
    past_lists: PastOf<Listing>,
    /// How many writes still find the storage full.
    full: AtomicU64,
    /// Moves that the next lists show wrongly, by the folder.
    moving: Mutex<HashMap<RemotePath, Moving>>,
}

/// By then whatever kept an old answer has let go of it.
const PAST_FOR: TimeDelta = TimeDelta::days(2);

/// What was there until a moment ago.
#[derive(Debug, Clone)]
struct Past<T> {
    what: T,
    until: Option<DateTime<Utc>>,
}

type PastOf<T> = Mutex<HashMap<RemotePath, Past<T>>>;

impl<T: Clone> Past<T> {
    /// What may still be answered.
    fn at(&self, now: Option<DateTime<Utc>>) -> Option<T> {
        let age = now.zip(self.until).map(|(now, until)| now - until);
        age.is_none_or(|age| age < PAST_FOR).then(|| self.what.clone())
    }
}

/// A move as the lists have it for a while.
#[derive(Debug, Clone)]
struct Moving {
    from: RemotePath,
    to: RemotePath,
    /// Under both names, or under neither.
    both: bool,
    /// For how many lists.
    lists: u8,
}

/// When in a call the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it took effect.
    Before,
    /// After it took effect, before its answer came.
    After,
}

/// The cause of an error that stands for the death of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash;

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("crashed on order")
    }
}

impl StdError for Crash {}

/// Whether `error` stands for the death of the process, and so must not be handled at all.
pub fn is_crash(error: &Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.any(|cause| cause.is::<Crash>())
}

impl<S: Storage> Fault<S> {
    /// Wraps `inner` with the faults of `plan`.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        Self {
            inner,
            plan,
            calm: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            crash: Mutex::new(None),
            seen: Mutex::default(),
            past_files: Mutex::default(),
            past_lists: Mutex::default(),
            full: AtomicU64::new(0),
            moving: Mutex::default(),
        }
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Lets the process die in the `call`-th call, counted from 1 since the beginning; everything
    /// after it fails too.
    pub fn crash_at(&self, call: u64, moment: Moment) {
        *lock(&self.crash) = Some((call, moment));
    }

    /// Starts the process again.
    pub fn revive(&self) {
        *lock(&self.crash) = None;
    }

    /// Switches the random faults off, or on again.
    pub fn set_calm(&self, calm: bool) {
        self.calm.store(calm, Ordering::SeqCst);
    }

    /// The storage below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Runs one call through all that can befall it.
    async fn run<T, F: Future<Output = Result<T>> + Send>(
        &self,
        operation: &'static str,
        path: &RemotePath,
        dice: &mut Dice,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let crash = *lock(&self.crash);
        let dies =
            crash.is_some_and(|(at, moment)| call > at || call == at && moment == Moment::Before);
        if dies {
            return Err(crashed(operation, path));
        }
        if dice.falls(self.plan.slow) {
            tokio::time::sleep(self.plan.slow_for).await;
        }
        if dice.falls(self.plan.fail_before) {
            return Err(dice.error(operation, path, "before"));
        }
        if let Some(kind) = dice.denial(&self.plan).or_else(|| self.no_room(operation, dice)) {
            return Err(Error::new(kind, operation, path, "turned away on order"));
        }
        let done = work().await;
        if crash.is_some_and(|(at, _)| call == at) {
            return Err(crashed(operation, path));
        }
        if dice.falls(self.plan.fail_after) {
            done?;
            return Err(dice.error(operation, path, "after"));
        }
        done
    }

    fn dice(&self, operation: &'static str, path: &RemotePath) -> Dice {
        let nth = {
            let mut seen = lock(&self.seen);
            let nth = seen.entry((operation, path.clone())).or_default();
            *nth += 1;
            *nth
        };
        let mut hasher = DefaultHasher::new();
        (self.plan.seed, operation, path.as_str(), nth).hash(&mut hasher);
        Dice {
            rng: fastrand::Rng::with_seed(hasher.finish()),
            calm: self.calm.load(Ordering::SeqCst),
        }
    }

    /// Keeps what is there now, to answer with it when it is out of date.
    async fn remember(&self, path: &RemotePath) {
        if self.plan.stale <= 0.0 {
            return;
        }
        let until = self.server_time().await;
        if let Ok(what) = self.inner.read(path, u64::MAX).await {
            lock(&self.past_files).insert(path.clone(), Past { what, until });
        }
        if let Some(folder) = path.parent()
            && let Ok(what) = self.inner.list(&folder).await
        {
            lock(&self.past_lists).insert(folder, Past { what, until });
        }
    }

    /// What is out of date comes with the right time.
    async fn server_time(&self) -> Option<DateTime<Utc>> {
        self.inner.list(&RemotePath::root()).await.ok()?.server_time
    }

    /// Whether there is room for a write.
    fn no_room(&self, operation: &'static str, dice: &mut Dice) -> Option<ErrorKind> {
        let (fills, writes) = (dice.falls(self.plan.full), dice.rng.u64(1..15));
        if operation != "put" || dice.calm {
            return None;
        }
        if fills {
            self.full.fetch_max(writes, Ordering::SeqCst);
        }
        let left = self.full.load(Ordering::SeqCst);
        self.full.store(left.saturating_sub(1), Ordering::SeqCst);
        (left > 0).then_some(ErrorKind::Full)
    }

    /// Writes as a server does that checks the condition, empties the file, and then fills it.
    async fn put_in_place(
        &self,
        path: &RemotePath,
        body: Body,
        mode: PutMode,
        part: f64,
    ) -> Result<Put> {
        let found = match self.inner.read(path, u64::MAX).await {
            Ok((_, version)) => Some(version),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let holds = match (&mode, found) {
            (PutMode::Overwrite, _) | (PutMode::Create, None) => true,
            (PutMode::Update(wanted), Some(version)) => version.as_ref() == Some(wanted),
            _ => false,
        };
        if !holds {
            return Ok(Put::Lost);
        }
        let whole = body::load(path, body).await?;
        let half = if part < 0.3 { Bytes::new() } else { head(&whole, part) };
        self.inner.write(path, half).await?;
        tokio::time::sleep(Duration::from_millis(60)).await;
        self.inner.put(path, Body::Bytes(whole), PutMode::Overwrite).await
    }

    /// What a list shows of a folder in which a move is under way.
    fn amid_moves(&self, folder: &RemotePath, mut listing: Listing) -> Listing {
        let mut moving = lock(&self.moving);
        let calm = self.calm.load(Ordering::SeqCst);
        let Some(amid) = moving.get_mut(folder).filter(|amid| amid.lists > 0 && !calm) else {
            return listing;
        };
        amid.lists -= 1;
        let new = listing.entries.iter().find(|entry| entry.path == amid.to).cloned();
        match new {
            Some(new) if amid.both => {
                listing.entries.push(Entry { path: amid.from.clone(), ..new });
                listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
            }
            _ => listing.entries.retain(|entry| entry.path != amid.to),
        }
        listing
    }

    async fn stale_file(&self, path: &RemotePath, options: &GetOptions) -> Option<Get> {
        let now = self.server_time().await;
        let (bytes, version) = lock(&self.past_files).get(path)?.at(now)?;
        if options.range.is_some() {
            return None;
        }
        if version.is_some() && version == options.if_none_match {
            return Some(Get::NotModified);
        }
        Some(Get::Object(Object {
            version,
            bytes: Some(bytes.len() as u64),
            range: None,
            server_time: now,
            body: body::once(bytes),
        }))
    }

    async fn stale_list(&self, folder: &RemotePath) -> Option<Listing> {
        let server_time = self.server_time().await;
        let past = lock(&self.past_lists).get(folder)?.at(server_time)?;
        Some(Listing { server_time, ..past })
    }
}

#[async_trait]
impl<S: Storage> Storage for Fault<S> {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let mut dice = self.dice("get", path);
        let (stale, torn) = (dice.falls(self.plan.stale), dice.falls(self.plan.torn));
        let past = if stale { self.stale_file(path, &options).await } else { None };
        let got = self
            .run("get", path, &mut dice, async || match past {
                Some(past) => Ok(past),
                None => self.inner.get(path, options).await,
            })
            .await?;
        match got {
            Get::Object(object) if torn => Ok(Get::Object(tear(path, object, &mut dice).await?)),
            got => Ok(got),
        }
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        let mut dice = self.dice("put", path);
        let is_conditional = mode != PutMode::Overwrite;
        let torn = dice.falls(self.plan.torn) && !is_conditional;
        let denied = dice.falls(self.plan.denied_after) && is_conditional;
        let lying = dice.falls(self.plan.lying) && is_conditional;
        let in_place = dice.falls(self.plan.in_place);
        self.remember(path).await;
        let part = dice.part();
        self.run("put", path, &mut dice, async || {
            if lying {
                return Ok(Put::Done(None));
            }
            if torn {
                let whole = body::load(path, body).await?;
                self.inner.write(path, head(&whole, part)).await?;
                return Err(unreachable("put", path, "the upload was cut"));
            }
            let put = if in_place {
                self.put_in_place(path, body, mode, part).await?
            } else {
                self.inner.put(path, body, mode).await?
            };
            Ok(if denied { Put::Lost } else { put })
        })
        .await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        let mut dice = self.dice("delete", path);
        self.remember(path).await;
        self.run("delete", path, &mut dice, || self.inner.delete(path)).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        let mut dice = self.dice("list", folder);
        let stale = dice.falls(self.plan.stale);
        let past = if stale { self.stale_list(folder).await } else { None };
        self.run("list", folder, &mut dice, async || match past {
            Some(past) => Ok(past),
            None => Ok(self.amid_moves(folder, self.inner.list(folder).await?)),
        })
        .await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        let mut dice = self.dice("move", from);
        let denied = dice.falls(self.plan.denied_after);
        let lying = dice.falls(self.plan.lying);
        let amid = dice.falls(self.plan.both_names);
        let (both, lists) = (dice.rng.bool(), dice.rng.u8(1..5));
        self.remember(from).await;
        self.run("move", from, &mut dice, async || {
            if lying {
                return Ok(Move::Done);
            }
            let moved = self.inner.move_exclusive(from, to).await?;
            if let (true, Move::Done, Some(folder)) = (amid, moved, to.parent()) {
                let moving = Moving { from: from.clone(), to: to.clone(), both, lists };
                lock(&self.moving).insert(folder, moving);
            }
            Ok(if denied { Move::Lost } else { moved })
        })
        .await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        let mut dice = self.dice("make_folder", folder);
        let work = || self.inner.make_folder(folder);
        self.run("make_folder", folder, &mut dice, work).await
    }

    fn capabilities(&self) -> Capabilities {
        let torn = self.plan.torn > 0.0 || self.plan.in_place > 0.0;
        let capabilities = self.inner.capabilities();
        Capabilities { atomic_put: capabilities.atomic_put && !torn, ..capabilities }
    }
}

fn unreachable(operation: &'static str, path: &RemotePath, detail: &str) -> Error {
    Error::new(ErrorKind::Unreachable, operation, path, detail)
}

fn crashed(operation: &'static str, path: &RemotePath) -> Error {
    Error::new(ErrorKind::Config, operation, path, "the process has died").with_source(Crash)
}

#[cfg(test)]
mod tests;
