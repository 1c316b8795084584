//! Checks and repairs of a mirrored folder while files are on their way.

use larder_providers::{RemotePath, Storage as _, StorageExt as _};

use super::{mirrored::*, *};
use crate::{
    engine::{CheckOptions, CheckReport, EngineError, FindingKind, RepairOptions},
    remote::{CommitMode, RemoteError},
    store::Awaited,
};

async fn check(place: &mut Place) -> CheckReport {
    let (storage, options) = (place.device.storage.clone(), CheckOptions { read_data: true });
    place.device.engine.check(&storage, &Traffic::new(), options).await.unwrap()
}

async fn repair(place: &mut Place, accept_loss: bool) -> Result<CheckReport, EngineError> {
    let storage = place.device.storage.clone();
    let options = RepairOptions { read_data: true, accept_loss };
    place.device.engine.repair(&storage, &Traffic::new(), options, &Silent).await
}

fn kinds(report: &CheckReport) -> Vec<FindingKind> {
    report.findings.iter().map(|found| found.kind).collect()
}

/// Two devices that agree, of which only the first has a head; its next is there before its files.
async fn ahead_of_its_files(has_head: bool) -> (Place, Place, Mirror) {
    let (mut a, mut b, mut mirror) = mirrored().await;
    for name in ["gone.md", "text.md"] {
        a.device.write(name, &format!("{name}\n"));
    }
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    if has_head {
        b.device.write("b.md", "b\n");
    }
    b.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    a.device.sync().await;
    a.device.write("text.md", "text 2.md\n");
    a.device.sync().await;
    mirror.copy_all(&a.folder, &b.folder).await;
    b.device.sync().await;
    fs::remove_file(a.device.path("gone.md")).unwrap();
    a.device.write("text.md", "text 3.md\n");
    a.device.sync().await;
    mirror.copy(&a.folder, &b.folder, |name| name.as_str().starts_with("heads/")).await;
    (a, b, mirror)
}

#[tokio::test]
async fn what_is_on_its_way_is_no_damage_and_nothing_to_repair() {
    for has_head in [false, true] {
        let (mut a, mut b, mut mirror) = ahead_of_its_files(has_head).await;
        let report = check(&mut b).await;
        assert!(report.is_ok() && kinds(&report) == [FindingKind::Waiting], "{report:?}");
        let before = b.folder.files();
        let report = repair(&mut b, false).await.unwrap();
        assert!(report.repaired.is_empty() && report.is_ok(), "{report:?}");
        assert!(b.folder.files() == before, "{has_head}");
        mirror.copy_all(&a.folder, &b.folder).await;
        b.device.sync().await;
        mirror.copy_all(&a.folder, &b.folder).await;
        a.device.sync().await;
        for place in [&a, &b] {
            assert_eq!(place.device.read("text.md"), "text 3.md\n");
            assert!(!place.device.names().contains(&"gone.md".to_owned()));
        }
    }
}

#[tokio::test]
async fn what_was_agreed_and_is_gone_is_given_up_after_a_day_or_when_told() {
    for is_told in [false, true] {
        let (_, mut b, _) = ahead_of_its_files(true).await;
        let read = b.names("entities/");
        for name in read {
            b.folder.delete(&RemotePath::new(&name).unwrap()).await.unwrap();
        }
        let waits = |error: &EngineError| {
            matches!(error, EngineError::Remote(RemoteError::Incomplete { .. }))
        };
        assert!(b.try_sync().await.is_err_and(|error| waits(&error)));
        assert!(repair(&mut b, false).await.is_err_and(|error| waits(&error)));
        if !is_told {
            let awaited = b.device.engine.store().awaited().unwrap().unwrap();
            let long_ago = Awaited { since_ms: 0, ..awaited };
            b.device.engine.store_mut().set_awaited(Some(&long_ago)).unwrap();
        }
        let report = repair(&mut b, is_told).await.unwrap();
        assert!(!report.repaired.is_empty(), "{report:?}");
        assert_eq!(b.device.names(), ["b.md", "gone.md", "text.md"]);
    }
}

/// Else it would use the names again of what it sent after the backup, which others know.
#[tokio::test]
async fn who_makes_a_lost_head_anew_takes_a_new_id_where_no_head_tells_of_other_lives() {
    for mode in [CommitMode::IfMatch, CommitMode::Rename] {
        let storage: SharedStorage = Arc::new(Memory::new());
        let mut a = Device::new("laptop", &storage);
        a.engine.connect(&storage, Some(mode)).await.unwrap();
        a.write("one.md", "1\n");
        a.sync().await;
        let before = a.engine.replica().unwrap().device;
        for file in ["meta.json", "head", "meta"] {
            let file = RemotePath::new(file).unwrap();
            let inside = storage.list_if_there(&file).await.unwrap().entries;
            for path in inside.into_iter().map(|entry| entry.path).chain([file]) {
                drop(storage.delete(&path).await);
            }
        }
        let options = RepairOptions::default();
        a.engine.repair(&storage, &Traffic::new(), options, &Silent).await.unwrap();
        assert_ne!(a.engine.replica().unwrap().device, before, "{mode:?}");
        assert_eq!(a.sync().await.pushed, 0);
        let mut b = Device::new("phone", &storage);
        b.connect().await;
        b.sync().await;
        assert_eq!(b.names(), ["one.md"]);
    }
}
