use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::{
    Body, Capabilities, Get, GetOptions, Listing, Memory, Move, Put, PutMode, Traffic, Version,
};

/// Which of its promises a storage breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    IgnoresConditions,
    CopiesInsteadOfMoving,
    OneVersionForAll,
    ClaimsLess,
}

#[derive(Debug)]
struct Liar {
    inner: Memory,
    lie: Lie,
    moves: bool,
    calls: AtomicU64,
    /// From so many calls on it asks for patience.
    tires_after: u64,
}

impl Liar {
    fn new(lie: Lie) -> Self {
        Self {
            inner: Memory::new(),
            lie,
            moves: true,
            calls: AtomicU64::new(0),
            tires_after: u64::MAX,
        }
    }

    fn count(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Storage for Liar {
    async fn get(&self, path: &RemotePath, options: GetOptions) -> Result<Get> {
        self.count();
        if self.calls.load(Ordering::SeqCst) > self.tires_after {
            let kind = ErrorKind::Throttled { retry_after: None };
            return Err(Error::new(kind, "get", path, "too many requests"));
        }
        let mut got = self.inner.get(path, options).await?;
        if let Get::Object(object) = &mut got
            && self.lie == Lie::OneVersionForAll
        {
            object.version = Some(Version("\"same\"".into()));
        }
        Ok(got)
    }

    async fn put(&self, path: &RemotePath, body: Body, mode: PutMode) -> Result<Put> {
        self.count();
        let mode = match self.lie {
            Lie::IgnoresConditions => PutMode::Overwrite,
            _ => mode,
        };
        self.inner.put(path, body, mode).await
    }

    async fn delete(&self, path: &RemotePath) -> Result<()> {
        self.count();
        self.inner.delete(path).await
    }

    async fn list(&self, folder: &RemotePath) -> Result<Listing> {
        self.count();
        self.inner.list(folder).await
    }

    async fn move_exclusive(&self, from: &RemotePath, to: &RemotePath) -> Result<Move> {
        self.count();
        let kept = self.inner.files().get(from).cloned();
        let moved = self.inner.move_exclusive(from, to).await?;
        if let Some(bytes) = kept
            && self.lie == Lie::CopiesInsteadOfMoving
        {
            self.inner.insert_raw(from, bytes);
        }
        Ok(moved)
    }

    async fn make_folder(&self, folder: &RemotePath) -> Result<()> {
        self.count();
        self.inner.make_folder(folder).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: self.lie != Lie::ClaimsLess,
            move_exclusive: self.moves,
            ..self.inner.capabilities()
        }
    }
}

async fn probed(lie: Lie, depth: Depth) -> (ProbeReport, u64) {
    probed_as(Liar::new(lie), depth).await
}

async fn probed_as(liar: Liar, depth: Depth) -> (ProbeReport, u64) {
    let lie = liar.lie;
    let scratch = RemotePath::new("probe").unwrap();
    let report = probe(&liar, &scratch, depth).await.unwrap();
    assert!(liar.inner.files().is_empty(), "{lie:?} leaves {:?}", liar.inner.files());
    (report, liar.calls.into_inner())
}

#[tokio::test]
async fn the_short_form_asks_for_little() {
    let (report, calls) = probed(Lie::ClaimsLess, Depth::Short).await;
    assert_eq!((report.rename_ok, report.if_match_ok, calls), (true, false, 4));
    let (report, calls) = probed(Lie::None, Depth::Short).await;
    assert_eq!((report.rename_ok, report.if_match_ok, calls), (true, true, 8));
}

#[tokio::test(start_paused = true)]
async fn lies_are_found_out_in_either_form() {
    for depth in [Depth::Short, Depth::Full] {
        for (lie, rename_ok, if_match_ok) in [
            (Lie::None, true, true),
            (Lie::IgnoresConditions, true, false),
            (Lie::CopiesInsteadOfMoving, false, true),
            (Lie::ClaimsLess, true, depth == Depth::Full),
        ] {
            let (report, _) = probed(lie, depth).await;
            let found = (report.rename_ok, report.if_match_ok);
            assert_eq!(found, (rename_ok, if_match_ok), "{lie:?} {depth:?} {report:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_renamed_the_conditions_are_all_there_is() {
    for (lie, depth, if_match_ok) in [
        (Lie::None, Depth::Short, true),
        (Lie::None, Depth::Full, true),
        (Lie::IgnoresConditions, Depth::Short, false),
        (Lie::IgnoresConditions, Depth::Full, false),
    ] {
        let liar = Liar { moves: false, ..Liar::new(lie) };
        let (report, calls) = probed_as(liar, depth).await;
        let found = (report.rename_ok, report.if_match_ok);
        assert_eq!(found, (false, if_match_ok), "{lie:?} {depth:?} {report:#?}");
        assert!(depth == Depth::Full || calls <= 7, "{calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_full_form_notices_versions_that_say_nothing() {
    let (report, calls) = probed(Lie::OneVersionForAll, Depth::Full).await;
    assert!(!report.if_match_ok && report.rename_ok);
    assert_eq!(report.check("sameSecondVersions").unwrap().verdict, Verdict::Bad);
    assert!(calls <= 300, "{calls}");
}

#[tokio::test]
async fn a_report_is_written_in_camel_case() {
    let (report, _) = probed(Lie::None, Depth::Short).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ifMatchOk"], true);
    assert_eq!(json["checks"][0]["name"], "moveAway");
    assert_eq!(json["checks"][0]["verdict"], "good");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let traffic = Traffic::new();
    let memory = Memory::new().with_traffic(traffic.clone());
    let slow = Clock::new(|| Clock::default().now() - chrono::TimeDelta::minutes(10));
    let scratch = RemotePath::new("probe").unwrap();
    let report = probe_at(&memory, &scratch, Depth::Full, &slow).await.unwrap();
    assert_eq!(report.check("clock").unwrap().verdict, Verdict::Bad);
    assert!(report.clock_offset_ms.unwrap() >= 599_000);
    assert!(report.rename_ok && report.if_match_ok, "a wrong clock rules nothing out");
    assert!(traffic.snapshot().requests < 300, "{:?}", traffic.snapshot());
}

#[tokio::test]
async fn a_storage_that_asks_for_too_much_patience_ends_a_probe_with_what_was_seen() {
    let tired = Liar { tires_after: 30, ..Liar::new(Lie::None) };
    let scratch = RemotePath::new("scratch").unwrap();
    let report = probe(&tired, &scratch, Depth::Full).await.unwrap();
    assert!(report.stopped.as_ref().is_some_and(|why| why.contains("too many requests")));
    assert_eq!(report.check("readAfterWrite").unwrap().verdict, Verdict::Good);
    assert!(report.check("range").is_none());
    assert!(!report.if_match_ok && !report.rename_ok && !report.own_files_ok);
    assert!(tired.inner.files().is_empty(), "{:?}", tired.inner.files());
    // Where nothing was seen, there is nothing to tell.
    let tired = Liar { tires_after: 0, ..Liar::new(Lie::None) };
    assert!(probe(&tired, &scratch, Depth::Full).await.is_err());
}
