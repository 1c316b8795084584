use std::collections::VecDeque;

use futures::stream;
use tokio::time::Instant;

use super::*;
use crate::{Memory, StorageExt, testing::path};

/// A storage whose answers to every kind of call start with errors: before the call took effect,
/// or after it.
#[derive(Debug, Default)]
struct Moody {
    inner: Memory,
    errors: Mutex<VecDeque<(ErrorKind, bool)>>,
    /// After how many bytes each of the next bodies breaks.
    breaks: Mutex<VecDeque<usize>>,
    calls: Mutex<Vec<&'static str>>,
}

impl Moody {
    fn failing(kind: ErrorKind, times: usize) -> Self {
        let moody = Self::default();
        lock(&moody.errors).extend((0..times).map(|_| (kind, false)));
        moody
    }

    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        lock(&self.calls).push(name);
        let error = lock(&self.errors).pop_front();
        let failed = |kind| Error::new(kind, name, &RemotePath::root(), "moody");
        match error {
            Some((kind, false)) => Err(failed(kind)),
            Some((kind, true)) => work.await.and(Err(failed(kind))),
            None => work.await,
        }
    }
}

#[async_trait]
impl Storage for Moody {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        let Get::Object(object) = self.call("get", self.inner.get(path, options)).await? else {
            return Ok(Get::NotModified);
        };
        let Some(at) = lock(&self.breaks).pop_front() else {
            return Ok(Get::Object(object));
        };
        let (version, bytes, range) = (object.version.clone(), object.bytes, object.range.clone());
        let whole = crate::collect(path, object, u64::MAX).await?;
        let broken = Error::new(ErrorKind::Unreachable, "get", path, "broke");
        Ok(Get::Object(Object {
            version,
            bytes,
            range,
            server_time: None,
            body: stream::iter([Ok(whole.slice(..at.min(whole.len()))), Err(broken)]).boxed(),
        }))
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.call("put", self.inner.put(path, body, mode)).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.call("delete", self.inner.delete(path)).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.call("list", self.inner.list(folder)).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.call("move", self.inner.move_exclusive(from, to)).await
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.call("make_folder", self.inner.make_folder(folder)).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

fn patient(moody: Moody) -> Retry<Moody> {
    let policy = RetryPolicy { seed: Some(1), ..RetryPolicy::default() };
    Retry::with_policy(moody, policy)
}

fn calls(retry: &Retry<Moody>) -> usize {
    lock(&retry.inner().calls).len()
}

#[tokio::test(start_paused = true)]
async fn five_tries_in_about_a_minute() {
    let retry = patient(Moody::failing(ErrorKind::Server, 5));
    let started = Instant::now();
    retry.write(&path("a"), "x".into()).await.unwrap();
    let spent = started.elapsed();
    assert!(spent > Duration::from_secs(46) && spent < Duration::from_secs(78), "{spent:?}");
    assert_eq!(calls(&retry), 6);

    let retry = patient(Moody::failing(ErrorKind::Server, 6));
    assert_eq!(retry.delete(&path("a")).await.unwrap_err().kind(), ErrorKind::Server);
    assert_eq!(calls(&retry), 6);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_not_waited_for() {
    for kind in [ErrorKind::NotFound, ErrorKind::Unauthorized, ErrorKind::Full, ErrorKind::Protocol]
    {
        let retry = patient(Moody::failing(kind, 1));
        let started = Instant::now();
        assert_eq!(retry.list(&path("a")).await.unwrap_err().kind(), kind);
        assert_eq!((calls(&retry), started.elapsed()), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_patience_gets_it() {
    let asked = |seconds| ErrorKind::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
    let retry = patient(Moody::failing(asked(120), 1));
    let started = Instant::now();
    retry.make_folder(&path("a")).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 120);

    let retry = patient(Moody::failing(asked(1800), 1));
    let started = Instant::now();
    assert_eq!(retry.make_folder(&path("a")).await.unwrap_err().kind(), asked(1800));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn our_own_success_is_never_turned_into_a_loss() {
    for kind in [ErrorKind::Unreachable, ErrorKind::Server] {
        let moody = Moody::default();
        lock(&moody.errors).push_back((kind, true));
        let retry = patient(moody);
        let error = retry.put(&path("a"), "x".into(), PutMode::Create).await.unwrap_err();
        assert_eq!((error.kind(), calls(&retry)), (kind, 1));
        assert_eq!(retry.read(&path("a"), 9).await.unwrap().0, "x", "it did take effect");

        lock(&retry.inner().errors).push_back((kind, true));
        let error = retry.move_exclusive(&path("a"), &path("b")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        retry.read(&path("b"), 9).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_turned_away_untouched_is_tried_again() {
    for kind in [ErrorKind::Busy, ErrorKind::Throttled { retry_after: None }] {
        let retry = patient(Moody::failing(kind, 2));
        let put = retry.put(&path("a"), "x".into(), PutMode::Create).await.unwrap();
        assert!(matches!(put, Put::Done(_)));
        lock(&retry.inner().errors).push_back((kind, false));
        assert_eq!(retry.move_exclusive(&path("a"), &path("b")).await.unwrap(), Move::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_read_on() {
    let moody = Moody::default();
    moody.inner.insert_raw(&path("a"), "0123456789");
    lock(&moody.breaks).extend([4, 3]);
    let retry = patient(moody);
    assert_eq!(retry.read(&path("a"), 99).await.unwrap().0, "0123456789");
    assert_eq!(calls(&retry), 3);

    lock(&retry.inner().breaks).extend([1, 1]);
    let options = GetOptions { range: Some(2..8), if_none_match: None };
    let Get::Object(object) = retry.get(&path("a"), options).await.unwrap() else {
        panic!("nothing was said about a version");
    };
    assert_eq!(crate::collect(&path("a"), object, 99).await.unwrap(), "234567");
}

#[tokio::test(start_paused = true)]
async fn bytes_of_two_states_are_never_mixed() {
    let moody = Moody::default();
    let memory = moody.inner.clone();
    memory.insert_raw(&path("a"), "0123456789");
    lock(&moody.breaks).push_back(4);
    let retry = patient(moody);
    let Get::Object(object) = retry.get(&path("a"), GetOptions::default()).await.unwrap() else {
        panic!("nothing was said about a version");
    };
    memory.insert_raw(&path("a"), "abcdefghij");
    let error = crate::collect(&path("a"), object, 99).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract() {
    crate::conformance::run(async || Arc::new(Retry::new(Memory::new())) as Arc<_>).await;
}
