//! What the storage that tests should fear does on order.

use std::sync::Arc;

use super::*;
use crate::{Clock, Memory, testing::path};

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

#[tokio::test]
async fn what_is_long_past_is_answered_no_more() {
    let hours = Arc::new(AtomicU64::new(0));
    let passed = hours.clone();
    let clock = Clock::new(move || {
        let hours = passed.load(Ordering::SeqCst).try_into().unwrap();
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    });
    let always = FaultPlan { stale: 1.0, ..FaultPlan::default() };
    let fault = Fault::new(Memory::with_clock(clock), always);
    fault.write(&path("a"), "old".into()).await.unwrap();
    fault.write(&path("a"), "new".into()).await.unwrap();
    for (hour, shown) in [(47, "old"), (48, "new")] {
        hours.store(hour, Ordering::SeqCst);
        assert_eq!(fault.read(&path("a"), 9).await.unwrap().0, shown);
    }
    fault.delete(&path("a")).await.unwrap();
    for (hour, listed) in [(95, 1), (96, 0)] {
        hours.store(hour, Ordering::SeqCst);
        assert_eq!(fault.list(&RemotePath::root()).await.unwrap().entries.len(), listed);
    }
}

#[tokio::test]
async fn a_commit_that_is_denied_stands_and_one_that_is_a_lie_does_not() {
    let fault = |plan| async move {
        let fault = Fault::new(Memory::new(), plan);
        fault.inner().insert_raw(&path("head/1"), "");
        fault
    };
    let denied = fault(FaultPlan { denied_after: 1.0, ..FaultPlan::default() }).await;
    let put = denied.put(&path("a"), "1".into(), PutMode::Create).await.unwrap();
    assert_eq!(put, Put::Lost);
    assert!(denied.inner().files().contains_key(&path("a")));
    let moved = denied.move_exclusive(&path("head/1"), &path("head/2")).await.unwrap();
    assert_eq!(moved, Move::Lost);
    assert!(denied.inner().files().contains_key(&path("head/2")));
    let lying = fault(FaultPlan { lying: 1.0, ..FaultPlan::default() }).await;
    let put = lying.put(&path("a"), "1".into(), PutMode::Create).await.unwrap();
    assert_eq!(put, Put::Done(None));
    let moved = lying.move_exclusive(&path("head/1"), &path("head/2")).await.unwrap();
    assert_eq!(moved, Move::Done);
    assert_eq!(lying.inner().files().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_in_place_is_read_by_half() {
    let plan = FaultPlan { in_place: 1.0, ..FaultPlan::default() };
    let fault = Arc::new(Fault::new(Memory::new(), plan));
    let writer = fault.clone();
    let write = async move { writer.write(&path("a"), "x".repeat(100).into()).await.unwrap() };
    let early = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        fault.read(&path("a"), 100).await.unwrap().0.len()
    };
    let (_, early) = futures::join!(write, early);
    assert!(early < 100);
    assert_eq!(fault.read(&path("a"), 100).await.unwrap().0.len(), 100);
}

#[tokio::test]
async fn a_move_under_way_is_listed_twice_or_not_at_all_and_then_right() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let plan = FaultPlan { seed, both_names: 1.0, ..FaultPlan::default() };
        let fault = Fault::new(Memory::new(), plan);
        fault.inner().insert_raw(&path("head/1"), "");
        fault.move_exclusive(&path("head/1"), &path("head/2")).await.unwrap();
        for _ in 0..5 {
            seen.insert(fault.list(&path("head")).await.unwrap().entries.len());
        }
        let last = fault.list(&path("head")).await.unwrap();
        assert_eq!(last.entries.iter().map(|e| e.path.name()).collect::<Vec<_>>(), ["2"]);
    }
    assert_eq!(seen, [0, 1, 2].into());
}

#[tokio::test]
async fn a_full_storage_takes_nothing_for_a_while_and_is_still_read() {
    let plan = FaultPlan { full: 0.2, seed: 3, ..FaultPlan::default() };
    let fault = Fault::new(Memory::new(), plan);
    let mut kinds = Vec::new();
    for i in 0..60 {
        let written = fault.write(&path(&format!("f{i}")), "x".into()).await;
        kinds.push(written.err().map(|error| error.kind()));
        fault.list(&RemotePath::root()).await.unwrap();
    }
    assert!(kinds.contains(&None));
    assert!(kinds.windows(2).any(|two| two == [Some(ErrorKind::Full); 2]));
}
