//! Replicas and remotes that are not what they were.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;

/// Has a remote lie there as it was.
fn set_back(line: &Line, files: &BTreeMap<RemotePath, Bytes>) {
    for path in line.inner().files().into_keys() {
        line.inner().remove_raw(&path);
    }
    for (path, content) in files {
        line.inner().insert_raw(path, content.clone());
    }
}

/// Has a device live on in another replica: one in `file`, as it is there.
fn revive(host: &mut Host, file: &Path, life: u64) {
    let vault = Vault::open(host.device.folder.path()).unwrap();
    let (random, clock) = (fastrand::Rng::with_seed(life), Clock::system());
    let store = Store::open(file).unwrap();
    host.device.engine = Engine::new(store, Some(vault), clock, random, "server").unwrap();
}

#[tokio::test]
async fn a_replica_that_went_back_asks_all_remotes_before_it_edits() {
    let (first, second) = (line(), line());
    let folder = tempfile::tempdir().unwrap();
    let (file, backup) = (folder.path().join("replica.db"), folder.path().join("backup"));
    let mut left = Host::new("laptop", &[&first]).await;
    left.device.write("note.md", "one\n");
    left.device.write("other.md", "one\n");
    left.sync().await;
    let mut both = Host::new("server", &[&first]).await;
    revive(&mut both, &file, 1);
    both.ways.clear();
    both.add(&first).await;
    both.add(&second).await;
    both.sync().await;
    let mut right = Host::new("phone", &[&second]).await;
    right.sync().await;
    // The copy is taken while nothing runs, and written over the file in its place.
    both.device.engine = Device::new("nobody", &(first.clone() as SharedStorage)).engine;
    fs::copy(&file, &backup).unwrap();
    revive(&mut both, &file, 2);
    first.set_calm(false);
    both.device.write("note.md", "one\nfor the second\n");
    assert!(both.try_sync().await[1].is_ok());
    right.sync().await;
    assert_eq!(right.device.read("note.md"), "one\nfor the second\n");
    both.device.engine = Device::new("nobody", &(first.clone() as SharedStorage)).engine;
    fs::copy(&backup, &file).unwrap();
    both.device.write("note.md", "one\n");
    both.device.write("other.md", "one\nfor all\n");
    revive(&mut both, &file, 3);
    first.set_calm(true);
    let notes = both.sync().await.notes;
    assert!(notes.iter().any(|note| note.kind == NoteKind::NewIdentity), "{notes:?}");
    for host in [&mut left, &mut right, &mut both] {
        host.sync().await;
        assert_eq!(host.device.read("note.md"), "one\nfor the second\n");
        assert_eq!(host.device.read("other.md"), "one\nfor all\n");
    }
}

#[tokio::test]
async fn what_came_of_a_damaged_remote_goes_to_another_once() {
    let (first, second, [mut left, mut both, mut right]) = chain().await;
    both.sync().await;
    right.sync().await;
    let old = second.inner().files();
    let before = first.inner().files();
    left.device.write("one.md", "one\n");
    left.sync().await;
    let is_data = |path: &RemotePath| !before.contains_key(path) && !is_head(path);
    let (lost, content) = first.inner().files().into_iter().find(|file| is_data(&file.0)).unwrap();
    left.device.write("two.md", "two\n");
    left.sync().await;
    first.inner().insert_raw(&lost, &b"damaged"[..]);
    both.sync().await;
    right.sync().await;
    assert_eq!(right.names().len(), 1, "what can be read is carried");
    let files = second.inner().files();
    for _ in 0..3 {
        both.sync().await;
        right.sync().await;
    }
    assert!(second.inner().files() == files, "and not again");
    // Another comes to it as it was before, and by its commits it looks as if it had only gone on.
    set_back(&second, &old);
    let mut other = Host::new("tablet", &[&second]).await;
    for number in 0..4 {
        other.device.write("three.md", &format!("{number}\n"));
        other.sync().await;
    }
    both.sync().await;
    other.sync().await;
    assert_eq!(other.device.read("two.md"), "two\n", "what is gone is sent again");
    first.inner().insert_raw(&lost, content);
    for host in [&mut both, &mut right, &mut left] {
        host.sync().await;
    }
    for host in [&left, &both, &right] {
        assert_eq!(host.names().len(), 3);
        assert!(host.device.engine.store().unsent().unwrap().is_empty());
    }
}
