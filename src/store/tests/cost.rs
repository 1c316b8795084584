//! What a turn that changes one record of many costs the database, in steps of SQLite's machine.

use std::sync::atomic::AtomicU64;

use rusqlite::StatementStatus;

use super::*;

/// A replica with so many settled records of nine devices.
fn replica_of(records: u64) -> Store {
    let mut store = bound(Store::in_memory().unwrap());
    let pattern = update(entity("pattern", "aaaa", &[1]), Agreed::Current);
    decide_with(&mut store, &[pattern], &[row("pattern.md", "pattern")], &[], 1).unwrap();
    store.settle_files(&[], &[], &[id("pattern")]).unwrap();
    let copies = format!(
        r#"CREATE TEMP TABLE copy AS
           WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {records})
           SELECT n, 'e' || n AS id, 'd000' || (n % 9) AS device, n || '.md' AS path FROM up;
           INSERT INTO entity
               (id, state, pending, kept, type, path, path_key, version, deleted, modified_ms)
           SELECT c.id, CAST(replace(CAST(state AS TEXT), '"pattern"', '"' || c.id || '"') AS BLOB),
               0, 0, type, c.path, c.path, 1, 0, 0
           FROM entity, temp.copy c;
           INSERT INTO edit (entity, device, counter) SELECT id, device, n FROM temp.copy;
           INSERT INTO file (path, entity, size, mtime_ns, ctime_ns, inode, sha256)
           SELECT c.path, c.id, size, mtime_ns, ctime_ns, inode, sha256
           FROM file, temp.copy c;
           INSERT INTO blob (entity, file, sha256, bytes)
           SELECT id, 'f' || n, '', n FROM temp.copy"#
    );
    store.connection.execute_batch(&copies).unwrap();
    store
}

/// How many steps it takes.
fn steps<T>(store: &mut Store, work: impl FnOnce(&mut Store) -> Result<T>) -> (u64, T) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let tick = move || {
        counter.fetch_add(1, SeqCst);
        false
    };
    store.connection.progress_handler(1, Some(tick)).unwrap();
    let value = work(store).unwrap();
    store.connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    (count.load(SeqCst), value)
}

/// Everything that a turn asks of the replica when one record was changed, but for what the scan
/// and the count of files need.
fn one_turn(store: &mut Store, records: u64) -> Result<()> {
    let knows = (0..9).map(|nth| (device(&format!("d000{nth}")), records)).collect();
    let changed = BTreeSet::from([id("e7")]);
    let (state, agreed) = (entity("e7", "aaaa", &[1, 2]), Agreed::Never);
    let intent = Intent { path: path("7.md"), entity: id("e7"), sha256: None, temp: None };
    assert_eq!(store.records(&changed)?.len(), 1);
    assert_eq!(store.claimants("7.md")?, changed);
    assert_eq!(store.ids_of_path("7.md")?, changed);
    assert_eq!(store.id_of_file(&path("7.md"))?, Some(id("e7")));
    let written = Update { replaced: Some(entity("e7", "aaaa", &[1])), ..update(state, agreed) };
    decide_with(store, &[written], &[row("7.md", "e7")], &[intent], 2)?;
    assert_eq!(store.unsent()?, changed);
    assert_eq!(store.unsettled(&knows)?, BTreeSet::from([id("pattern"), id("e7")]));
    assert_eq!(store.intents()?.len(), 1);
    store.keep_waiting(&[(&path("7.md"), Some("temp"))])?;
    assert!(store.new_blob_owners()?.is_empty());
    assert_eq!(store.empty_trash(2, 1)?, 0);
    store.settle_files(&[row("7.md", "e7")], &[], &[id("e7")])?;
    store.revisit(&[id("e7")])?;
    store.agree(&mark(2), &[id("e7")])?;
    assert_eq!(store.history(&id("e7"))?.len(), 1);
    assert_eq!(store.conflict_counts()?, (0, 0));
    assert_eq!(store.prune_history(1)?, 0);
    Ok(())
}

#[test]
fn one_change_costs_the_same_among_few_records_and_many() {
    let of = |records| {
        let mut store = replica_of(records);
        steps(&mut store, |store| one_turn(store, records)).0
    };
    let (few, many) = (of(100), of(100_000));
    assert!(many <= few + few / 10, "{few} steps among 100 records, {many} among 100,000");
}

#[test]
fn a_statement_is_compiled_once() {
    let store = replica_of(100);
    for nth in 1..=50 {
        assert!(store.record(&id(&format!("e{nth}"))).unwrap().is_some());
        assert_eq!(store.claimants(&format!("{nth}.md")).unwrap().len(), 1);
    }
    let statement = store.connection.prepare_cached(records::RECORD).unwrap();
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}

#[test]
fn records_are_counted_without_reading_them() {
    let store = replica_of(1);
    let sql = "EXPLAIN QUERY PLAN SELECT count(*) FROM entity WHERE deleted = 0";
    let plan: String = store.connection.query_row(sql, [], |row| row.get("detail")).unwrap();
    assert_eq!(plan, "SEARCH entity USING COVERING INDEX entity_by_deleted (deleted=?)");
    assert_eq!(store.live_count().unwrap(), 2);
}
