//! Faults on order: the storage that tests should fear.

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
use futures::stream::{self, StreamExt};

use crate::{
    Body, Capabilities, Error, ErrorKind, Get, GetOptions, Listing, Move, Object, Put, PutMode,
    RemotePath, Result, Storage, StorageExt, Version, body, sync::lock,
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
    past_files: Mutex<HashMap<RemotePath, (Bytes, Option<Version>)>>,
    past_lists: Mutex<HashMap<RemotePath, Listing>>,
}

/// How likely each fault is, from 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultPlan {
    /// Where the randomness starts.
    pub seed: u64,
    /// A call fails without any effect.
    pub fail_before: f64,
    /// A call takes effect, and its answer is lost.
    pub fail_after: f64,
    /// A call takes its time.
    pub slow: f64,
    /// How much.
    pub slow_for: Duration,
    /// A read or a list answers with what was there before the last change.
    pub stale: f64,
    /// A read is cut, told or not; an unconditional write leaves half the file and fails.
    pub torn: f64,
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
        if let Ok(file) = self.inner.read(path, u64::MAX).await {
            lock(&self.past_files).insert(path.clone(), file);
        }
        if let Some(folder) = path.parent()
            && let Ok(listing) = self.inner.list(&folder).await
        {
            lock(&self.past_lists).insert(folder, listing);
        }
    }

    fn stale_file(&self, path: &RemotePath, options: &GetOptions) -> Option<Get> {
        let (bytes, version) = lock(&self.past_files).get(path).cloned()?;
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
            server_time: None,
            body: body::once(bytes),
        }))
    }
}

#[async_trait]
impl<S: Storage> Storage for Fault<S> {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let mut dice = self.dice("get", path);
        let (stale, torn) = (dice.falls(self.plan.stale), dice.falls(self.plan.torn));
        let past = if stale { self.stale_file(path, &options) } else { None };
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
        let torn = dice.falls(self.plan.torn) && mode == PutMode::Overwrite;
        self.remember(path).await;
        let part = dice.part();
        self.run("put", path, &mut dice, async || {
            if !torn {
                return self.inner.put(path, body, mode).await;
            }
            let whole = body::load(path, body).await?;
            self.inner.write(path, head(&whole, part)).await?;
            Err(unreachable("put", path, "the upload was cut"))
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
        let past = lock(&self.past_lists).get(folder).filter(|_| stale).cloned();
        self.run("list", folder, &mut dice, async || match past {
            Some(past) => Ok(past),
            None => self.inner.list(folder).await,
        })
        .await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        let mut dice = self.dice("move", from);
        self.remember(from).await;
        let work = || self.inner.move_exclusive(from, to);
        self.run("move", from, &mut dice, work).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        let mut dice = self.dice("make_folder", folder);
        let work = || self.inner.make_folder(folder);
        self.run("make_folder", folder, &mut dice, work).await
    }

    fn capabilities(&self) -> Capabilities {
        let torn = self.plan.torn > 0.0;
        let capabilities = self.inner.capabilities();
        Capabilities { atomic_put: capabilities.atomic_put && !torn, ..capabilities }
    }
}

/// The fate of one call.
struct Dice {
    rng: fastrand::Rng,
    calm: bool,
}

impl Dice {
    fn falls(&mut self, likelihood: f64) -> bool {
        // Always thrown, so that one likelihood does not change the fate of the others.
        let thrown = self.rng.f64();
        !self.calm && thrown < likelihood
    }

    fn part(&mut self) -> f64 {
        self.rng.f64()
    }

    fn error(&mut self, operation: &'static str, path: &RemotePath, when: &str) -> Error {
        let kinds = [ErrorKind::Unreachable, ErrorKind::Server, ErrorKind::Unreachable];
        let kind = self.rng.choice(kinds).unwrap_or(ErrorKind::Unreachable);
        Error::new(kind, operation, path, format!("failed on order, {when} it took effect"))
    }
}

/// Cuts a body: with an error, with a length that lies, or with nothing to tell it by.
async fn tear(path: &RemotePath, object: Object, dice: &mut Dice) -> Result<Object> {
    let (version, range, server_time) =
        (object.version.clone(), object.range.clone(), object.server_time);
    let whole = crate::collect(path, object, u64::MAX).await?;
    let part = head(&whole, dice.part());
    let told = match dice.rng.u8(0..3) {
        0 => Some(whole.len() as u64),
        1 => Some(part.len() as u64),
        _ => None,
    };
    let body = body::once(part);
    let broken = unreachable("get", path, "the answer was cut");
    Ok(Object {
        version,
        bytes: told,
        range,
        server_time,
        body: if told == Some(whole.len() as u64) {
            body.chain(stream::iter([Err(broken)])).boxed()
        } else {
            body
        },
    })
}

/// The first `part` of `whole`, at least one byte less than all of it.
fn head(whole: &Bytes, part: f64) -> Bytes {
    let per_mille = Duration::from_millis(1000).mul_f64(part.clamp(0.0, 0.999)).as_millis();
    let per_mille = usize::try_from(per_mille).unwrap_or_default();
    whole.slice(..whole.len() * per_mille / 1000)
}

fn unreachable(operation: &'static str, path: &RemotePath, detail: &str) -> Error {
    Error::new(ErrorKind::Unreachable, operation, path, detail)
}

fn crashed(operation: &'static str, path: &RemotePath) -> Error {
    Error::new(ErrorKind::Config, operation, path, "the process has died").with_source(Crash)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Memory;

    fn path(text: &str) -> RemotePath {
        RemotePath::new(text).unwrap()
    }

    async fn story(plan: FaultPlan) -> Vec<String> {
        let fault = Fault::new(Memory::new(), plan);
        let mut story = Vec::new();
        for i in 0..60 {
            let file = path(&format!("f{}", i % 5));
            let written = fault.write(&file, format!("{i}").repeat(50).into()).await.is_ok();
            let read = fault.read(&file, 1000).await.map(|(bytes, _)| bytes);
            let listed = fault.list(&RemotePath::root()).await.map(|list| list.entries.len());
            story.push(format!("{written} {:?} {:?}", read.ok(), listed.ok()));
        }
        story
    }

    #[tokio::test]
    async fn the_same_seed_tells_the_same_story() {
        let plan = |seed| FaultPlan {
            seed,
            fail_before: 0.1,
            fail_after: 0.1,
            stale: 0.2,
            torn: 0.2,
            ..FaultPlan::default()
        };
        let told = story(plan(7)).await;
        assert_eq!(told, story(plan(7)).await);
        assert_ne!(told, story(plan(8)).await);
        assert!(told.iter().any(|line| line.contains("None")));
    }

    #[tokio::test]
    async fn without_faults_it_keeps_the_contract() {
        let make = async || Arc::new(Fault::new(Memory::new(), FaultPlan::default())) as Arc<_>;
        crate::conformance::run(make).await;
    }

    #[tokio::test]
    async fn a_lost_answer_is_not_a_lost_write() {
        let always = FaultPlan { fail_after: 1.0, ..FaultPlan::default() };
        let fault = Fault::new(Memory::new(), always);
        assert!(fault.write(&path("a"), "x".into()).await.unwrap_err().is_temporary());
        fault.set_calm(true);
        assert_eq!(fault.read(&path("a"), 9).await.unwrap().0, "x");
    }

    #[tokio::test]
    async fn a_crash_ends_everything_until_it_is_revived() {
        for (moment, survives) in [(Moment::Before, false), (Moment::After, true)] {
            let fault = Fault::new(Memory::new(), FaultPlan::default());
            fault.crash_at(2, moment);
            fault.write(&path("a"), "1".into()).await.unwrap();
            let error = fault.write(&path("b"), "2".into()).await.unwrap_err();
            assert!(is_crash(&error) && !error.is_temporary(), "{error}");
            assert!(is_crash(&fault.read(&path("a"), 9).await.unwrap_err()));
            assert_eq!(fault.inner().files().contains_key(&path("b")), survives);
            fault.revive();
            fault.read(&path("a"), 9).await.unwrap();
            assert_eq!(fault.calls(), 4);
        }
    }

    #[tokio::test]
    async fn stale_answers_are_those_of_before() {
        let always = FaultPlan { stale: 1.0, ..FaultPlan::default() };
        let fault = Fault::new(Memory::new(), always);
        fault.write(&path("a"), "old".into()).await.unwrap();
        fault.write(&path("a"), "new".into()).await.unwrap();
        assert_eq!(fault.read(&path("a"), 9).await.unwrap().0, "old");
        fault.delete(&path("a")).await.unwrap();
        assert_eq!(fault.list(&RemotePath::root()).await.unwrap().entries.len(), 1);
    }
}
