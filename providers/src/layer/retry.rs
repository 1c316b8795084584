//! Patience: calls that failed for now are made again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use crate::{
    Body, Capabilities, Error, ErrorKind, Get, GetOptions, Listing, Move, Object, Put, PutMode,
    RemotePath, Result, Storage, Version, sync::lock,
};

/// A storage whose passing faults are waited out.
///
/// Reads, lists, deletes and unconditional writes are repeated; a body that breaks midway is read on
/// from where it broke. A conditional write or a move whose outcome is unknown is *not* repeated:
/// the repeat would meet the first one's success and call it lost. Its error goes to the caller, who
/// alone can read back what happened.
#[derive(Debug)]
pub struct Retry<S> {
    inner: Arc<S>,
    patience: Arc<Patience>,
}

/// How long and how often to wait.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How long to wait before the second try, the third, and so on; after the last it is given up.
    pub waits: Vec<Duration>,
    /// By which part of itself a wait is made longer or shorter at random, so that devices that
    /// failed together do not come back together.
    pub jitter: f64,
    /// The longest wait that a server can ask for. If it asks for more, the call fails at once and
    /// its error tells for how long.
    pub retry_after_max: Duration,
    /// Where the randomness starts; nothing for another one every time.
    pub seed: Option<u64>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            waits: [2, 4, 8, 16, 32].map(Duration::from_secs).to_vec(),
            jitter: 0.25,
            retry_after_max: Duration::from_mins(5),
            seed: None,
        }
    }
}

impl<S: Storage> Retry<S> {
    /// Wraps `inner` with the usual patience.
    pub fn new(inner: S) -> Self {
        Self::with_policy(inner, RetryPolicy::default())
    }

    /// Wraps `inner`, waiting as `policy` says.
    pub fn with_policy(inner: S, policy: RetryPolicy) -> Self {
        let rng = policy.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            inner: Arc::new(inner),
            patience: Arc::new(Patience { policy, rng: Mutex::new(rng) }),
        }
    }

    /// The storage below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    async fn patiently<T, F>(
        &self,
        may_repeat: fn(ErrorKind) -> bool,
        attempt: impl Fn() -> F + Send + Sync,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut try_number = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !may_repeat(error.kind()) || !self.patience.waited(try_number, &error).await {
                return Err(error);
            }
            try_number += 1;
        }
    }
}

#[async_trait]
impl<S: Storage + 'static> Storage for Retry<S> {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let get = || self.inner.get(path, options.clone());
        let object = match self.patiently(ErrorKind::is_temporary, get).await? {
            Get::Object(object) => object,
            Get::NotModified => return Ok(Get::NotModified),
        };
        let inner = Arc::clone(&self.inner) as Arc<dyn Storage>;
        let patience = Arc::clone(&self.patience);
        Ok(Get::Object(resumable(inner, patience, path, object)))
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        let may_repeat = match mode {
            PutMode::Overwrite => ErrorKind::is_temporary,
            PutMode::Create | PutMode::Update(_) => had_no_effect,
        };
        let put = || self.inner.put(path, body.clone(), mode.clone());
        self.patiently(may_repeat, put).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.patiently(ErrorKind::is_temporary, || self.inner.delete(path)).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.patiently(ErrorKind::is_temporary, || self.inner.list(folder)).await
    }

    async fn list_names(&self, folder: &RemotePath) -> Result<Listing> {
        self.patiently(ErrorKind::is_temporary, || self.inner.list_names(folder)).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.patiently(had_no_effect, || self.inner.move_exclusive(from, to)).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.patiently(ErrorKind::is_temporary, || self.inner.make_folder(folder)).await
    }

    /// Who waits for a hint has other ways to look.
    async fn changed(&self) -> Result<()> {
        self.inner.changed().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

/// Whether a call that failed like this was turned away before it did anything.
fn had_no_effect(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Throttled { .. } | ErrorKind::Busy)
}

#[derive(Debug)]
struct Patience {
    policy: RetryPolicy,
    rng: Mutex<fastrand::Rng>,
}

impl Patience {
    /// Waits after the failed try `try_number`, counted from 0; false if patience is at its end.
    async fn waited(&self, try_number: usize, error: &Error) -> bool {
        let Some(planned) = self.policy.waits.get(try_number) else {
            return false;
        };
        let random = lock(&self.rng).f64() * 2.0 - 1.0;
        let mut wait = planned.mul_f64((1.0 + self.policy.jitter * random).max(0.0));
        if let ErrorKind::Throttled { retry_after: Some(asked) } = error.kind() {
            if asked > self.policy.retry_after_max {
                return false;
            }
            wait = wait.max(asked);
        }
        tracing::info!("{}; trying again in {:.0} s", error.detail(), wait.as_secs_f64());
        tokio::time::sleep(wait).await;
        true
    }
}

/// `object` with a body that is read on after it broke, if the storage knows ranges and tells
/// versions: bytes of two states must not be mixed.
fn resumable(
    inner: Arc<dyn Storage>,
    patience: Arc<Patience>,
    path: &RemotePath,
    object: Object,
) -> Object {
    let (Some(version), Some(bytes), true) =
        (object.version.clone(), object.bytes, inner.capabilities().range)
    else {
        return object;
    };
    let at = object.range.as_ref().map_or(0, |range| range.start);
    let reading = Reading {
        inner,
        patience,
        path: path.clone(),
        version,
        at,
        end: at.saturating_add(bytes),
        tries: 0,
        body: object.body,
    };
    let body = stream::try_unfold(reading, async |mut reading| {
        let chunk = reading.next().await?;
        Ok(chunk.map(|chunk| (chunk, reading)))
    });
    Object { body: body.boxed(), ..object }
}

/// A body being read.
struct Reading {
    inner: Arc<dyn Storage>,
    patience: Arc<Patience>,
    path: RemotePath,
    version: Version,
    at: u64,
    end: u64,
    tries: usize,
    body: BoxStream<'static, Result<Bytes>>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let error = match self.body.next().await {
                Some(Ok(chunk)) => {
                    self.at += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                None if self.at >= self.end => return Ok(None),
                None => {
                    let detail = format!("the answer ended {} bytes early", self.end - self.at);
                    Error::new(ErrorKind::Unreachable, "get", &self.path, detail)
                }
                Some(Err(error)) => error,
            };
            self.resume(error).await?;
        }
    }

    /// Opens the rest of the body; gives `broken` back if there is no way.
    async fn resume(&mut self, broken: Error) -> Result<()> {
        let mut cause = broken;
        while cause.is_temporary() && self.patience.waited(self.tries, &cause).await {
            self.tries += 1;
            let options = GetOptions { range: Some(self.at..self.end), if_none_match: None };
            match self.inner.get(&self.path, options).await {
                Ok(Get::Object(rest)) if self.goes_on(&rest) => {
                    self.body = rest.body;
                    return Ok(());
                }
                Ok(_) => return Err(cause),
                Err(error) => cause = error,
            }
        }
        Err(cause)
    }

    fn goes_on(&self, rest: &Object) -> bool {
        rest.range == Some(self.at..self.end) && rest.version.as_ref() == Some(&self.version)
    }
}

#[cfg(test)]
mod tests;
