//! Things of the user's that stand where a record wants its file.

use super::*;
use crate::engine::{At, BatchSize, Brake, EngineError};

#[tokio::test]
async fn a_folder_and_a_file_of_one_name_stop_nothing_else() {
    let (mut a, mut b) = pair().await;
    a.write("todo", "a file\n");
    b.write("todo/x.md", "in a folder\n");
    b.write("zebra.md", "Hello\n");
    a.sync().await;
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("zebra.md"), "Hello\n");
    b.write("zebra.md", "Hello you\n");
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("zebra.md"), "Hello you\n");
    assert_eq!(a.read("todo"), "a file\n");
    assert_eq!(b.read("todo/x.md"), "in a folder\n");
}

#[cfg(unix)]
#[tokio::test]
async fn a_symlink_in_the_way_stops_nothing_else() {
    let (mut a, mut b) = pair().await;
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), a.path("link")).unwrap();
    b.write("link/x.md", "through a link\n");
    b.write("zebra.md", "Hello\n");
    b.sync().await;
    a.sync().await;
    assert_eq!(a.read("zebra.md"), "Hello\n");
    assert!(names_in(outside.path()).is_empty());
    a.write("zebra.md", "Hello you\n");
    a.sync().await;
    b.sync().await;
    assert_eq!(b.read("zebra.md"), "Hello you\n");
}

#[tokio::test]
async fn what_comes_in_the_same_turn_does_not_hide_that_half_of_the_vault_would_go() {
    let (mut a, mut b) = pair().await;
    for number in 0..20 {
        a.write(&format!("old{number}.md"), &format!("old {number}\n"));
    }
    a.sync().await;
    b.sync().await;
    for number in 0..12 {
        fs::remove_file(a.path(&format!("old{number}.md"))).unwrap();
    }
    for number in 0..60 {
        a.write(&format!("new{number}.md"), &format!("new {number}\n"));
    }
    let options = TurnOptions { accept_deletes: true, ..TurnOptions::default() };
    a.engine.turn(&a.storage, &Traffic::new(), options, &Silent).await.unwrap();
    b.engine.set_batch_size(BatchSize { bytes: u64::MAX, records: 8 });
    for _ in 0..3 {
        // However often it is run again: what the first run brought is here by then.
        assert!(is_braked(&mut b).await);
        assert_eq!(b.read("old0.md"), "old 0\n");
    }
    assert_eq!(b.read("new59.md"), "new 59\n");
    b.engine.turn(&b.storage, &Traffic::new(), options, &Silent).await.unwrap();
    assert_eq!(b.names().len(), 68);
    assert_eq!(b.engine.store().files_before().unwrap(), None);
}

#[tokio::test]
async fn a_turn_that_was_cut_before_the_deletions_came_hides_them_no_more_than_one_that_was_not() {
    let (mut a, mut b) = pair().await;
    for number in 0..20 {
        a.write(&format!("old{number}.md"), &format!("old {number}\n"));
    }
    a.sync().await;
    b.sync().await;
    for number in 0..12 {
        fs::remove_file(a.path(&format!("old{number}.md"))).unwrap();
    }
    let options = TurnOptions { accept_deletes: true, ..TurnOptions::default() };
    a.engine.turn(&a.storage, &Traffic::new(), options, &Silent).await.unwrap();
    for number in 0..60 {
        a.write(&format!("new{number}.md"), &format!("new {number}\n"));
    }
    a.sync().await;
    b.engine.set_batch_size(BatchSize { bytes: u64::MAX, records: 8 });
    let mut left = 4;
    b.engine.store_mut().set_commit_gate(Box::new(move || {
        left -= 1;
        left >= 0
    }));
    assert!(!is_braked(&mut b).await);
    b.engine.store_mut().set_commit_gate(Box::new(|| true));
    assert!(b.names().len() > 20, "{:?}", b.names());
    assert!(is_braked(&mut b).await);
    // Where they are gone, the vault counts as it is again.
    for number in 0..12 {
        let id = a.engine.find(&format!("old{number}.md")).unwrap();
        a.engine.restore(&id, At::Before).unwrap();
    }
    a.sync().await;
    b.sync().await;
    assert_eq!(b.names().len(), 80);
    assert_eq!(b.engine.store().files_before().unwrap(), None);
}

/// Whether the brake stops a turn.
async fn is_braked(device: &mut Device) -> bool {
    let (traffic, options) = (Traffic::new(), TurnOptions::default());
    match device.engine.turn(&device.storage, &traffic, options, &Silent).await {
        Err(EngineError::Brake(Brake::Incoming(_))) => true,
        Err(EngineError::Store(crate::store::StoreError::Stopped)) => false,
        other => panic!("{other:?}"),
    }
}
