//! What a merge of runs leaves out lies elsewhere.

use super::*;
use crate::{
    engine::{CompactOptions, CompactReport},
    remote::{HeadRead, Reader, tiers::Pace},
    store::Replica,
};

async fn compact(device: &mut Device) -> CompactReport {
    let options = CompactOptions::default();
    let (storage, traffic) = (device.storage.clone(), Traffic::new());
    device.engine.compact(&storage, &traffic, options, &Silent).await.unwrap()
}

/// A pace at which runs are merged from so many on.
fn pace(factor: u64) -> Pace {
    Pace { deltas: 1, factor, ..Pace::default() }
}

/// The device's replica, moved to another disk.
fn moved(device: Device) -> Device {
    let Device { folder, engine, storage } = device;
    let mut store = engine.into_store();
    let replica = store.replica().unwrap().unwrap();
    store.set_replica(&Replica { body: Some("elsewhere".to_owned()), ..replica }).unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    let random = fastrand::Rng::with_seed(77);
    let engine = Engine::new(store, Some(vault), Clock::system(), random, "moved").unwrap();
    Device { folder, engine, storage }
}

#[tokio::test]
async fn a_record_that_was_renumbered_stays_in_the_runs_that_its_maker_merges() {
    let (mut a, mut b) = pair().await;
    a.write("first.md", "1\n");
    a.sync().await;
    // Edits that were never sent, under a name that nobody uses any more.
    let fields = serde_json::json!({"body": "mine\n", "path": "moved.md"});
    let serde_json::Value::Object(fields) = fields else { unreachable!() };
    a.engine.put("note", None, fields).unwrap();
    let mut a = moved(a);
    a.sync().await;
    b.engine.set_pace(pace(100));
    for name in ["one.md", "two.md", "three.md"] {
        b.sync().await;
        b.write(name, "b\n");
        b.sync().await;
        compact(&mut b).await;
    }
    a.engine.set_pace(pace(2));
    a.sync().await;
    let report = compact(&mut a).await;
    assert!(report.packs_written > 0, "{report:?}");
    let storage = a.storage.clone();
    let mut c = Device::new("tablet", &storage);
    c.connect().await;
    c.sync().await;
    assert_eq!(c.names(), a.names());
    assert_eq!(c.read("moved.md"), a.read("moved.md"));
}

#[tokio::test]
async fn a_merge_leaves_out_no_record_with_an_edit_that_the_remote_lacks() {
    let (mut a, _) = pair().await;
    a.engine.set_pace(pace(100));
    for name in ["one.md", "two.md", "three.md"] {
        a.write(name, "a\n");
        a.sync().await;
        compact(&mut a).await;
    }
    let id = a.engine.find("two.md").unwrap();
    let fields = serde_json::json!({"body": "not sent yet\n"});
    let serde_json::Value::Object(fields) = fields else { unreachable!() };
    a.engine.put("note", Some(id.as_str()), fields).unwrap();
    a.engine.set_pace(pace(2));
    let remote = a.engine.remote(&a.storage.clone()).unwrap();
    let (mut adopted, mut report) = (Default::default(), CompactReport::default());
    let options = CompactOptions::default();
    let outcome = a.engine.try_compact(&remote, options, &mut adopted, &Silent, &mut report).await;
    outcome.unwrap();
    assert!(report.packs_written > 0, "{report:?}");
    let storage = a.storage.clone();
    let mut c = Device::new("tablet", &storage);
    c.connect().await;
    c.sync().await;
    assert_eq!(c.names(), a.names());
}

/// Has the device's turn end after the commit, before the replica learns of it.
async fn end_after_commit(device: &mut Device) {
    let remote = device.engine.remote(&device.storage.clone()).unwrap();
    let id = device.engine.replica().unwrap().device;
    let generation = async || match remote.head.read(&Reader::new(&id)).await.unwrap() {
        HeadRead::Current(head) => head.manifest.generation,
        other => panic!("{other:?}"),
    };
    let before = generation().await;
    for transactions in 0..8_u32 {
        let mut left = transactions;
        device.engine.store_mut().set_commit_gate(Box::new(move || {
            left = left.saturating_sub(1);
            left > 0
        }));
        let (storage, traffic) = (device.storage.clone(), Traffic::new());
        let turn = device.engine.turn(&storage, &traffic, TurnOptions::default(), &Silent);
        assert!(turn.await.is_err());
        if generation().await > before {
            break;
        }
    }
    assert!(generation().await > before);
    device.engine.store_mut().set_commit_gate(Box::new(|| true));
}

#[tokio::test]
async fn what_was_sent_before_its_type_was_kept_stays_where_it_is() {
    let (mut a, mut b) = pair().await;
    a.sync().await;
    let fields = serde_json::json!({"title": "sent"});
    let serde_json::Value::Object(fields) = fields else { unreachable!() };
    let id = a.engine.put("memo", None, fields).unwrap();
    end_after_commit(&mut a).await;
    a.write("larder.toml", "[[type]]\nname = \"memo\"\nsync = false\n");
    a.sync().await;
    compact(&mut a).await;
    b.sync().await;
    assert!(b.engine.store().record(&id).unwrap().is_some());
}
