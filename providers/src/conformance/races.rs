//! What happens when many want the same: exactly one gets it.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Barrier;

use super::Bench;
use crate::{Body, Move, Put, PutMode, RemotePath, Result, SharedStorage};

/// How many want the same thing.
const RIVALS: usize = 8;

/// How often they try.
const ROUNDS: usize = 10;

pub(super) async fn many_files_at_once(bench: &Bench) {
    let name = |i: usize| bench.path(&format!("file-{i:02}"));
    join_all((0..24).map(async |i| bench.write(&name(i), &Bytes::from(vec![7; i])).await)).await;
    join_all((0..24).map(async |i| assert_eq!(bench.read(&name(i)).await.len(), i))).await;
    assert_eq!(bench.list().await.entries.len(), 24);
}

pub(super) async fn one_of_many_moves_it_away(bench: &Bench) {
    if !bench.can().move_exclusive {
        return;
    }
    for round in 0..ROUNDS {
        let from = bench.path(&format!("{round}-from"));
        bench.write(&from, &Bytes::new()).await;
        let to = |rival| bench.path(&format!("{round}-to-{rival}"));
        let moved = all_at_once(bench, |storage, rival| {
            let (from, to) = (from.clone(), to(rival));
            async move { storage.move_exclusive(&from, &to).await }
        })
        .await;
        let winners = winners(bench, &moved, |moved| *moved == Move::Done);
        assert_eq!(winners.len(), 1, "round {round}: {moved:?}");
        let prefix = format!("{round}-to-");
        let targets = bench.list().await.entries.into_iter().map(|entry| entry.path);
        let targets: BTreeSet<RemotePath> =
            targets.filter(|path| path.name().starts_with(&prefix)).collect();
        assert_eq!(targets, winners.into_iter().map(to).collect(), "round {round}");
    }
}

pub(super) async fn one_of_many_creates_it(bench: &Bench) {
    if !bench.can().compare_and_swap {
        return;
    }
    for round in 0..ROUNDS {
        let path = bench.path(&format!("{round}"));
        one_of_many_writes(bench, &path, &PutMode::Create).await;
    }
}

pub(super) async fn one_of_many_updates_it(bench: &Bench) {
    if !bench.can().compare_and_swap {
        return;
    }
    let path = bench.path("file");
    bench.write(&path, &Bytes::from_static(b"before")).await;
    for _ in 0..ROUNDS {
        let version = bench.version(&path).await;
        one_of_many_writes(bench, &path, &PutMode::Update(version)).await;
    }
}

async fn one_of_many_writes(bench: &Bench, path: &RemotePath, mode: &PutMode) {
    let nonce = fastrand::u64(..);
    let text = |rival: usize| format!("{nonce} {rival} {}", "x".repeat(rival * 1000));
    let put = all_at_once(bench, |storage, rival| {
        let (path, mode, body) = (path.clone(), mode.clone(), Body::from(text(rival)));
        async move { storage.put(&path, body, mode).await }
    })
    .await;
    let winners = winners(bench, &put, |put| matches!(put, Put::Done(_)));
    assert_eq!(winners.len(), 1, "{path}: {put:?}");
    let expected = winners.first().copied().map(text).unwrap_or_default();
    assert!(bench.read(path).await == expected, "{path} holds somebody else's bytes");
}

pub(super) async fn readers_see_whole_files(bench: &Bench) {
    if !bench.can().atomic_put {
        return;
    }
    let path = bench.path("file");
    let content =
        |i: usize| Bytes::from(vec![b'0' + u8::try_from(i % 10).unwrap_or(0); 1000 * (i + 1)]);
    bench.write(&path, &content(0)).await;
    let write = async {
        for i in 1..60 {
            bench.write(&path, &content(i)).await;
        }
    };
    let read = async {
        for _ in 0..120 {
            let bytes = bench.read(&path).await;
            let whole = content(bytes.len() / 1000 - 1);
            assert!(bytes == whole, "a torn file of {} bytes", bytes.len());
        }
    };
    futures::join!(write, read);
}

/// What `work` yields for each rival, all of them let go at the same moment on tasks of their own.
async fn all_at_once<T, F>(
    bench: &Bench,
    work: impl Fn(SharedStorage, usize) -> F,
) -> Vec<Result<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(RIVALS));
    let tasks = (0..RIVALS).map(|rival| {
        let work = work(Arc::clone(&bench.storage), rival);
        let barrier = Arc::clone(&barrier);
        tokio::spawn(async move {
            barrier.wait().await;
            work.await
        })
    });
    let tasks: Vec<_> = tasks.collect();
    join_all(tasks).await.into_iter().map(|joined| joined.expect("no rival panics")).collect()
}

/// Who won. Losers of a storage that can be trusted are told so; others may get a passing error.
fn winners<T>(bench: &Bench, outcomes: &[Result<T>], won: impl Fn(&T) -> bool) -> Vec<usize> {
    let mut winners = Vec::new();
    for (rival, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(outcome) if won(outcome) => winners.push(rival),
            Ok(_) => {}
            Err(error) => assert!(!bench.can().trusted && error.is_temporary(), "{error}"),
        }
    }
    winners
}
