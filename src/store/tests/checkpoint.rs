//! A process that is killed while SQLite brings the log into the database.

use std::{fs, path::Path};

use super::*;

const PAGE: usize = 8192;

/// A replica whose later half is in the log only, and its records.
fn with_a_log(at: &Path) -> Store {
    let mut store = Store::open(at).unwrap();
    store.connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for (half, counters) in [(0, vec![1]), (1, vec![1, 2])] {
        let updates: Vec<_> = (0..400)
            .filter(|n| half == 0 || n % 3 == 0)
            .map(|n| update(entity(&format!("e{n}"), "aaaa", &counters), Agreed::Never))
            .collect();
        decide(&mut store, &updates, 1).unwrap();
        if half == 0 {
            store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
    }
    store
}

fn records(store: &Store) -> Vec<Record> {
    (0..400).map(|n| store.record(&id(&format!("e{n}"))).unwrap().unwrap()).collect()
}

/// SQLite writes the pages of a checkpoint in their order: a kill leaves the first of them, and maybe
/// a part of the next.
#[test]
#[allow(clippy::disallowed_methods, reason = "what a kill leaves is not written atomically either")]
fn a_kill_during_a_checkpoint_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [database, log] = ["replica.db", "replica.db-wal"].map(|name| dir.path().join(name));
    let store = with_a_log(&database);
    let expected = records(&store);
    let (before, frames) = (fs::read(&database).unwrap(), fs::read(&log).unwrap());
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let after = fs::read(&database).unwrap();
    drop(store);

    let is_new = |page: &usize| {
        let at = page * PAGE;
        before.get(at..at + PAGE) != after.get(at..at + PAGE)
    };
    let changed: Vec<usize> = (0..after.len() / PAGE).filter(is_new).collect();
    assert!(changed.len() > 10, "too little to be killed in: {changed:?}");
    let mut cut = before;
    for page in changed {
        let at = page * PAGE;
        cut.resize(cut.len().max(at + PAGE), 0);
        for end in [at + 100, at + PAGE / 2, at + PAGE] {
            cut[at..end].copy_from_slice(&after[at..end]);
            let killed = tempfile::tempdir().unwrap();
            let database = killed.path().join("replica.db");
            fs::write(&database, &cut).unwrap();
            fs::write(killed.path().join("replica.db-wal"), &frames).unwrap();
            let store = Store::open_checked(&database).unwrap();
            assert_eq!(records(&store), expected, "page {page}, up to byte {end}");
        }
    }
}
