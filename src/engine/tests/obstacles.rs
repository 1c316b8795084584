//! Things of the user's that stand where a record wants its file.

use super::*;
use crate::engine::{BatchSize, Brake, EngineError};

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
    let stopped = b.engine.turn(&b.storage, &Traffic::new(), TurnOptions::default(), &Silent).await;
    assert!(matches!(stopped, Err(EngineError::Brake(Brake::Incoming(_)))), "{stopped:?}");
    assert_eq!(b.read("old0.md"), "old 0\n");
}
