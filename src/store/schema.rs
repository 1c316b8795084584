//! The database's form and how it came to be: one migration a version, with a copy of the database
//! set aside before each, unless the database is new.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::{Result, StoreError};

/// Each step takes a database from its index to the next version.
const MIGRATIONS: &[&str] =
    &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7];

const VERSION_1: &str = "
CREATE TABLE replica (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row a record. `agreed` is what the remote is known to hold of it: 0 nothing, 1 the state
-- itself, 2 the earlier state in `agreed_state`. `shown_state` is what its file shows where the
-- file is behind, and `pending` marks the records whose file has to be looked at. With a rowid, as
-- all tables that hold states: without one a row longer than a quarter of a page spills over.
CREATE TABLE entity (
    id TEXT PRIMARY KEY,
    state BLOB NOT NULL,
    agreed INTEGER NOT NULL,
    agreed_state BLOB,
    shown_state BLOB,
    pending INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    type TEXT NOT NULL,
    path TEXT,
    path_key TEXT,
    version INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    deleted_ms INTEGER
) STRICT;
CREATE INDEX entity_kept ON entity (id) WHERE kept = 1;
CREATE INDEX entity_trash ON entity (deleted_ms) WHERE deleted = 1 AND type <> '';
CREATE INDEX entity_by_own_path ON entity (path);
CREATE INDEX entity_by_path ON entity (path_key) WHERE path_key IS NOT NULL;
CREATE INDEX entity_unsettled ON entity (id) WHERE agreed <> 1;
CREATE INDEX entity_pending ON entity (id) WHERE pending = 1;

-- The last edit of each device on each record, to find what a remote lacks without reading all.
CREATE TABLE edit (
    entity TEXT NOT NULL,
    device TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (entity, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX edit_by_device ON edit (device, counter);

-- The scan's memory of the vault.
CREATE TABLE file (
    path TEXT PRIMARY KEY,
    entity TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What a turn is about to do to the vault, so that after a crash its own work is not taken for the
-- user's. No sha256: the file is to go.
CREATE TABLE intent (
    path TEXT PRIMARY KEY,
    entity TEXT NOT NULL,
    sha256 TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    entity TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (entity, recorded_ms, version)
) STRICT;
CREATE INDEX history_by_age ON history (recorded_ms);

CREATE TABLE conflict (
    id TEXT PRIMARY KEY,
    entity TEXT NOT NULL,
    state TEXT NOT NULL,
    detected_ms INTEGER NOT NULL,
    conflict BLOB NOT NULL
) STRICT;
CREATE INDEX conflict_by_entity ON conflict (entity);
";

const VERSION_2: &str = "
-- One row for each content of a file that a state of a record names: its present one (`own`), or the
-- one that the remote is known to hold (`agreed`).
CREATE TABLE blob (
    entity TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    own INTEGER NOT NULL,
    agreed INTEGER NOT NULL,
    PRIMARY KEY (entity, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_by_content ON blob (sha256);
CREATE INDEX blob_by_file ON blob (file);

-- Contents that were sent: a turn that was cut before anything named them sends none twice.
CREATE TABLE sent_blob (
    file TEXT PRIMARY KEY,
    sent_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const VERSION_3: &str = "
-- Contents on the remote that no state of a record names, and since when this device has seen them so
-- by the storage's clock.
CREATE TABLE unnamed_blob (
    file TEXT PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const VERSION_4: &str = "
-- Every turn ends with the number of records: without this all of their states were read for it.
CREATE INDEX entity_by_deleted ON entity (deleted);
";

const VERSION_5: &str = "
-- The temporary file that waits for the path, or that took it if it is gone by now: only this tells a
-- file that was written, and edited by its owner after a crash, from one that was not.
ALTER TABLE intent ADD COLUMN temp TEXT;

-- What may have to be sent is found without a look at all contents.
CREATE INDEX blob_unsent ON blob (entity) WHERE own = 1 AND agreed = 0;
";

const VERSION_6: &str = "
-- The remotes of the vault, and what is remembered of each. What is known of the one that there was
-- becomes that of the first.
CREATE TABLE remote (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE remote_note (
    remote INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (remote, key)
) STRICT, WITHOUT ROWID;
INSERT INTO remote (number, id)
    SELECT 1, json_extract(value, '$.id') FROM replica WHERE key = 'binding';
INSERT INTO remote_note (remote, key, value)
    SELECT number, key, value FROM remote, replica WHERE key IN ('binding', 'remote', 'trouble',
        'files_read', 'tried', 'looked_ms', 'awaited', 'files_before');
DELETE FROM replica WHERE key IN ('binding', 'remote', 'trouble', 'files_read', 'tried',
    'looked_ms', 'awaited', 'files_before');

-- One row for each remote and each record of which the remote is not known to hold the present state:
-- with the earlier state that it holds, or without one if it holds nothing. While all is in step it is
-- empty, however many records and remotes there are.
CREATE TABLE behind (
    remote INTEGER NOT NULL,
    entity TEXT NOT NULL,
    state BLOB,
    UNIQUE (remote, entity)
) STRICT;
INSERT INTO behind (remote, entity, state)
    SELECT number, entity.id, agreed_state FROM remote, entity WHERE agreed <> 1;
DROP INDEX entity_unsettled;
ALTER TABLE entity DROP COLUMN agreed_state;
ALTER TABLE entity DROP COLUMN agreed;

-- The contents that the present states of records name. What else a remote holds is what the earlier
-- states in `behind` name.
CREATE TABLE held_blob (
    remote INTEGER NOT NULL,
    entity TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (remote, entity, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_blob_by_content ON held_blob (sha256);
CREATE INDEX held_blob_by_file ON held_blob (file);
INSERT INTO held_blob (remote, entity, file, sha256, bytes)
    SELECT b.remote, blob.entity, blob.file, blob.sha256, blob.bytes
    FROM blob JOIN behind b ON b.entity = blob.entity WHERE blob.agreed = 1;
DELETE FROM blob WHERE own = 0;
DROP INDEX blob_unsent;
ALTER TABLE blob DROP COLUMN agreed;
ALTER TABLE blob DROP COLUMN own;

-- Contents that a remote is to get as soon as this device has them: it was sent records that name
-- them, and another remote holds them.
CREATE TABLE owed_blob (
    remote INTEGER NOT NULL,
    file TEXT NOT NULL,
    PRIMARY KEY (remote, file)
) STRICT, WITHOUT ROWID;

ALTER TABLE sent_blob RENAME TO sent_blob_before;
CREATE TABLE sent_blob (
    remote INTEGER NOT NULL,
    file TEXT NOT NULL,
    sent_ms INTEGER NOT NULL,
    PRIMARY KEY (remote, file)
) STRICT, WITHOUT ROWID;
INSERT INTO sent_blob (remote, file, sent_ms)
    SELECT number, file, sent_ms FROM remote, sent_blob_before;
DROP TABLE sent_blob_before;

ALTER TABLE unnamed_blob RENAME TO unnamed_blob_before;
CREATE TABLE unnamed_blob (
    remote INTEGER NOT NULL,
    file TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (remote, file)
) STRICT, WITHOUT ROWID;
INSERT INTO unnamed_blob (remote, file, since_ms)
    SELECT number, file, since_ms FROM remote, unnamed_blob_before;
DROP TABLE unnamed_blob_before;
";

const VERSION_7: &str = "
-- Files on the remote that nothing names, as far as this device knows: for how long that has been so
-- as of the last look, and when that was, by the storage's clock.
CREATE TABLE unnamed_file (
    remote INTEGER NOT NULL,
    file TEXT NOT NULL,
    age_ms INTEGER NOT NULL,
    looked_ms INTEGER NOT NULL,
    PRIMARY KEY (remote, file)
) STRICT, WITHOUT ROWID;
INSERT INTO unnamed_file (remote, file, age_ms, looked_ms)
    SELECT remote, file, 0, since_ms FROM unnamed_blob;
DROP TABLE unnamed_blob;
";

/// Brings the database to the current version; `file` is where it lies, if it lies in a file.
pub(super) fn migrate(connection: &mut Connection, file: Option<&Path>) -> Result<()> {
    run(connection, file, MIGRATIONS)
}

/// Makes a database as it was at an earlier version.
#[cfg(test)]
pub(super) fn make_old(file: &Path, version: usize, fill: impl FnOnce(&Connection)) {
    let mut connection = Connection::open(file).unwrap();
    run(&mut connection, None, &MIGRATIONS[..version]).unwrap();
    fill(&connection);
}

fn run(connection: &mut Connection, file: Option<&Path>, migrations: &[&str]) -> Result<()> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| {
        row.get::<_, u32>(0).map(|version| version as usize)
    })?;
    if version > migrations.len() {
        return Err(StoreError::TooNew { version, known: migrations.len() });
    }
    if version == 0 {
        return make(connection, migrations);
    }
    for (step, migration) in migrations.iter().enumerate().skip(version) {
        if let Some(file) = file {
            back_up(connection, file, step)?;
        }
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        set_version(&transaction, step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// A new database holds nothing yet that could be set aside; it comes to be in one piece, so that
/// none is found later that was made by half and looks like an old one.
fn make(connection: &mut Connection, migrations: &[&str]) -> Result<()> {
    let transaction = connection.transaction()?;
    for migration in migrations {
        transaction.execute_batch(migration)?;
    }
    set_version(&transaction, migrations.len())?;
    Ok(transaction.commit()?)
}

fn set_version(transaction: &Transaction<'_>, version: usize) -> Result<()> {
    let version = u32::try_from(version).unwrap_or(u32::MAX);
    Ok(transaction.pragma_update(None, "user_version", version)?)
}

/// Sets a whole copy of the database aside, beside it, before it is changed for good.
fn back_up(connection: &Connection, file: &Path, version: usize) -> Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".v{version}.backup"));
    let copy = file.with_file_name(name);
    if !copy.exists() {
        connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_set_aside_before_a_migration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("replica.db");
        let mut connection = Connection::open(&file).unwrap();
        run(&mut connection, Some(&file), &["CREATE TABLE a (x); INSERT INTO a VALUES (7)"])
            .unwrap();
        let later = ["CREATE TABLE a (x); INSERT INTO a VALUES (7)", "DROP TABLE a"];
        run(&mut connection, Some(&file), &later).unwrap();
        assert!(connection.prepare("SELECT x FROM a").is_err());
        let backup = Connection::open(folder.path().join("replica.db.v1.backup")).unwrap();
        let kept: i64 = backup.query_row("SELECT x FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 7);
    }

    #[test]
    fn a_new_database_has_the_form_of_a_migrated_one_and_leaves_no_copies() {
        let folder = tempfile::tempdir().unwrap();
        let form = |connection: &Connection| {
            let mut rows =
                connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
            let form = rows.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
            (form.map(|sql| sql.unwrap()).collect::<Vec<_>>(), version.unwrap())
        };
        let file = folder.path().join("replica.db");
        let mut new = Connection::open(&file).unwrap();
        migrate(&mut new, Some(&file)).unwrap();
        let expected: (Vec<_>, u32) = form(&new);
        migrate(&mut new, Some(&file)).unwrap();
        drop(new);
        let files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [file]);

        let mut old = Connection::open_in_memory().unwrap();
        for version in 1..=MIGRATIONS.len() {
            run(&mut old, None, &MIGRATIONS[..version]).unwrap();
        }
        assert_eq!(form(&old), expected);
        assert_eq!(expected.1 as usize, MIGRATIONS.len());
    }

    #[test]
    fn a_new_database_that_fails_to_be_made_stays_empty() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(run(&mut connection, None, &["CREATE TABLE a (x)", "nonsense"]).is_err());
        assert!(connection.prepare("SELECT x FROM a").is_err());
        run(&mut connection, None, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
        assert!(connection.prepare("SELECT x FROM b").is_ok());
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, None, &["CREATE TABLE a (x)"]).unwrap();
        let broken = ["CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense"];
        assert!(run(&mut connection, None, &broken).is_err());
        assert!(connection.prepare("SELECT x FROM b").is_err());
        assert!(connection.prepare("SELECT x FROM a").is_ok());
    }

    #[test]
    fn a_database_from_the_future_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection, None).unwrap_err();
        assert!(error.to_string().contains("made by a newer larder"), "{error}");
    }
}
