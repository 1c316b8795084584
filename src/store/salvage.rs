//! A database that is damaged: noticed, set aside, and what can be read of it taken over.
//!
//! What is taken over is a beginning only. The new replica claims to know nothing, so that it reads
//! the whole remote again; it has never scanned the vault, so that every file is read; and it lies in
//! another file, so that it takes a new device id, under which edits that were not sent are made again.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction, params_from_iter, types::Value};

use super::{
    Binding, Replica, Result, Store, StoreError, blobs, corrupt, from_json, history, remotes,
    replica, schema, signed,
};
use crate::model::{Entity, VersionVector};

/// What a file of SQLite begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The length of the header of a database.
const HEADER_BYTES: usize = 100;
/// What a write-ahead log begins with, but for the last bit.
const LOG_MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];

/// What was taken over from a damaged database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Where the damaged one lies now.
    pub aside: PathBuf,
    /// Records.
    pub records: u64,
    /// Records among them with edits that were not sent.
    pub unsent: u64,
    /// Files of the vault that are known to be in step.
    pub files: u64,
    /// Earlier states of records.
    pub history: u64,
    /// Whether all of the records and files could be read.
    pub is_whole: bool,
}

impl Store {
    /// Opens the database at `path` as [`Store::open`] does. If the last process to use it did not
    /// come to its end, makes sure first that it is whole.
    pub fn open_checked(path: &Path) -> Result<Self> {
        // Before SQLite makes a log in the likeness of a database that it may only read.
        for file in ["", "-wal", "-shm"].map(|end| beside(path, end)) {
            let opened = fs::File::options().write(true).open(&file);
            if opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
                return Err(StoreError::Forbidden { path: file });
            }
        }
        let log = beside(path, "-wal");
        let begin = beginning(&log, LOG_MAGIC.len()).unwrap_or_default();
        if !begin.is_empty() && begin != LOG_MAGIC {
            return Err(corrupt("the log of the replica", "its beginning is not what was written"));
        }
        let store = Self::open(path)?;
        if !begin.is_empty() {
            store.verify()?;
        }
        Ok(store)
    }

    /// Makes sure that every page is what it should be.
    pub fn verify(&self) -> Result<()> {
        let found: String =
            self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        match found.as_str() {
            "ok" => Ok(()),
            found => Err(corrupt("the replica", found)),
        }
    }

    /// Sets the database at `path` aside under its name with `.damaged-` and `date`, and makes a new
    /// one with what can be read of it.
    pub fn rebuild(path: &Path, date: &str) -> Result<(Self, Salvaged)> {
        let aside = beside(path, &format!(".damaged-{date}"));
        let copy = beside(path, ".salvage");
        for end in ["", "-wal", "-shm"] {
            let (from, to) = (beside(path, end), beside(&aside, end));
            // One that is left of a try before is a part of nothing.
            let _ = fs::remove_file(beside(&copy, end));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&from, error));
                }
                Ok(()) if end != "-shm" => {
                    fs::copy(&to, beside(&copy, end)).map_err(|error| failed(&to, error))?;
                }
                _ => {}
            }
        }
        let mut store = Self::open(path)?;
        let mut salvaged = Salvaged { aside, ..Salvaged::default() };
        if mend_header(&copy, path).is_ok()
            && let Ok(mut old) = Connection::open(&copy)
        {
            // What has an old form and cannot be brought to the new one has other columns.
            let _ = schema::migrate(&mut old, None);
            store.transact(|new| take_over(&old, new, &mut salvaged))?;
            store.remote = remotes::first(&store.connection)?;
        }
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&copy, end));
        }
        Ok((store, salvaged))
    }
}

/// The file beside a database whose name has this end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(end);
    path.with_file_name(name)
}

fn failed(path: &Path, error: io::Error) -> StoreError {
    corrupt(path.display().to_string(), error)
}

/// At most so many bytes from the beginning of a file.
fn beginning(path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    fs::File::open(path)?.take(bytes as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

/// Gives a database whose header was overwritten that of a new one of the same form. How many pages
/// it has SQLite counts itself then.
fn mend_header(file: &Path, new: &Path) -> io::Result<()> {
    if beginning(file, MAGIC.len())? == MAGIC {
        return Ok(());
    }
    let mut header = beginning(new, HEADER_BYTES)?;
    // The number of pages, and the first and the number of the free ones.
    if let Some(counts) = header.get_mut(28..40) {
        counts.fill(0);
    }
    let mut file = fs::File::options().write(true).open(file)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)
}

/// A table that is taken over, and the order in which it can be read from both ends.
struct Table {
    name: &'static str,
    order: &'static str,
}

const RECORDS: Table = Table { name: "entity", order: "rowid" };
const FILES: Table = Table { name: "file", order: "path" };
const HISTORY: Table = Table { name: "history", order: "rowid" };
const KEYS: Table = Table { name: "replica", order: "key" };
const NOTES: Table = Table { name: "remote_note", order: "key" };
const BEHIND: Table = Table { name: "behind", order: "rowid" };
const OTHERS: [Table; 4] = [
    Table { name: "conflict", order: "rowid" },
    Table { name: "intent", order: "path" },
    Table { name: "owed_blob", order: "file" },
    Table { name: "sent_blob", order: "file" },
];

/// What of the replica's own notes is as true in the new one.
const KEYS_KEPT: [&str; 2] = ["replica", "rules"];

fn take_over(old: &Connection, new: &Transaction<'_>, salvaged: &mut Salvaged) -> Result<()> {
    copy(old, new, &KEYS, |row| match row {
        [Value::Text(key), Value::Text(value)] => {
            let reads = serde_json::from_str::<serde_json::Value>(value).is_ok();
            KEYS_KEPT.contains(&key.as_str()) && reads
        }
        _ => false,
    })?;
    let before: Option<Replica> = replica::get(new, "replica").ok().flatten();
    if before.is_none() {
        new.execute("DELETE FROM replica WHERE key = 'replica'", [])?;
    }
    take_over_remotes(old, new)?;
    let mut is_whole = copy(old, new, &RECORDS, is_record)?;
    let knows_behind = copy(old, new, &BEHIND, |row| match row {
        [_, _, Value::Blob(state)] => serde_json::from_slice::<Entity>(state).is_ok(),
        row => row.len() == 3,
    })?;
    is_whole &= knows_behind;
    if !knows_behind {
        suppose_behind(new, before.as_ref())?;
    }
    take_over_records(new, before.is_some(), salvaged)?;
    is_whole &= copy(old, new, &FILES, |_| true)?;
    // A file whose record is lost, or what it shows of it, is a new file.
    let sql = "DELETE FROM file WHERE entity NOT IN (SELECT id FROM entity)";
    new.execute(sql, [])?;
    let is_json = |row: &[Value]| {
        row.iter().all(|value| match value {
            Value::Blob(bytes) => serde_json::from_slice::<serde_json::Value>(bytes).is_ok(),
            _ => true,
        })
    };
    copy(old, new, &HISTORY, is_json)?;
    history::end_life(new)?;
    for table in &OTHERS {
        copy(old, new, table, is_json)?;
    }
    let count = |sql: &str| new.query_row(sql, [], |row| row.get::<_, i64>(0));
    salvaged.files = super::unsigned(count("SELECT count(*) FROM file")?);
    salvaged.history = super::unsigned(count("SELECT count(*) FROM history")?);
    salvaged.unsent = super::unsigned(count("SELECT count(DISTINCT entity) FROM behind")?);
    salvaged.is_whole = is_whole && before.is_some();
    if let Some(before) = before {
        let (knows, body) = (VersionVector::default(), Some("salvaged".to_owned()));
        replica::set(new, "replica", &Replica { knows, body, ..before })?;
    }
    Ok(())
}

/// Takes over which remotes there are, and nothing that is remembered of them.
fn take_over_remotes(old: &Connection, new: &Transaction<'_>) -> Result<()> {
    copy(old, new, &NOTES, |row| match row {
        [_, Value::Text(key), Value::Text(value)] => {
            key == "binding" && serde_json::from_str::<Binding>(value).is_ok()
        }
        _ => false,
    })?;
    // A remote is what its binding says it is.
    new.execute(
        "INSERT OR IGNORE INTO remote (number, id)
         SELECT remote, json_extract(value, '$.id') FROM remote_note WHERE key = 'binding'",
        [],
    )?;
    Ok(())
}

/// Where it cannot be read which records the remotes lack: those that this replica edited, for who
/// does not take a new name for an edit that was not sent claims to have sent all before it.
fn suppose_behind(new: &Transaction<'_>, before: Option<&Replica>) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let mut select = new.prepare("SELECT id, state FROM entity")?;
    let mut behind =
        new.prepare("INSERT OR IGNORE INTO behind (remote, entity) SELECT number, ?1 FROM remote")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, state): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let state: Entity = from_json(&id, &state)?;
        if state.clock.contains_key(&before.device) {
            behind.execute([&id])?;
        }
    }
    Ok(())
}

/// Copies the rows that `is_good`, from both ends up to where it cannot be read; says whether it
/// could be read through.
fn copy(
    old: &Connection,
    new: &Transaction<'_>,
    table: &Table,
    is_good: impl Fn(&[Value]) -> bool,
) -> Result<bool> {
    for direction in ["ASC", "DESC"] {
        if copy_from(old, new, table, direction, &is_good)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn copy_from(
    old: &Connection,
    new: &Transaction<'_>,
    Table { name, order }: &Table,
    direction: &str,
    is_good: &impl Fn(&[Value]) -> bool,
) -> Result<bool> {
    // What of a history came after what is told by the numbers of its rows.
    let number = if *name == HISTORY.name { "rowid, " } else { "" };
    let select = format!("SELECT {number}* FROM {name} ORDER BY {order} {direction}");
    let Ok(mut statement) = old.prepare(&select) else { return Ok(false) };
    let columns = statement.column_names().collect::<Vec<_>>().join(", ");
    let width = statement.column_count();
    let marks = vec!["?"; width].join(", ");
    let insert = new.prepare(&format!("INSERT OR IGNORE INTO {name} ({columns}) VALUES ({marks})"));
    let Ok(mut insert) = insert else { return Ok(false) };
    let before = usize::from(!number.is_empty());
    let Ok(mut rows) = statement.query([]) else { return Ok(false) };
    let mut is_through = true;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(is_through),
            Err(_) => return Ok(false),
        };
        let values: rusqlite::Result<Vec<Value>> = (0..width).map(|at| row.get(at)).collect();
        match values {
            // What a table refuses is no row that was written to one like it.
            Ok(values) if is_good(values.get(before..).unwrap_or_default()) => {
                drop(insert.execute(params_from_iter(values)));
            }
            Ok(_) => is_through &= *name == KEYS.name,
            Err(_) => is_through = false,
        }
    }
}

/// Whether the states of a row of records are states of it.
fn is_record(row: &[Value]) -> bool {
    let [Value::Text(id), Value::Blob(state), others @ ..] = row else { return false };
    let reads = |bytes: &[u8]| {
        serde_json::from_slice::<Entity>(bytes).is_ok_and(|entity| entity.id.as_str() == id)
    };
    reads(state)
        && others.iter().all(|value| match value {
            Value::Blob(bytes) => reads(bytes),
            _ => true,
        })
}

/// Derives what follows from the records, and takes back what cannot be told without knowing whose
/// edits are this replica's own.
fn take_over_records(
    new: &Transaction<'_>,
    knows_itself: bool,
    salvaged: &mut Salvaged,
) -> Result<()> {
    if !knows_itself {
        // Its edits would go out under names that the next edits of another life may have. The files
        // show them, and are taken for new ones.
        new.execute(
            "DELETE FROM entity WHERE shown_state IS NOT NULL OR id IN (SELECT entity FROM behind
             GROUP BY entity HAVING count(*) = (SELECT count(*) FROM remote))
             OR NOT EXISTS (SELECT 1 FROM remote)",
            [],
        )?;
    }
    let sql = "DELETE FROM behind WHERE entity NOT IN (SELECT id FROM entity)
               OR remote NOT IN (SELECT number FROM remote)";
    new.execute(sql, [])?;
    let mut edit =
        new.prepare("INSERT OR REPLACE INTO edit (entity, device, counter) VALUES (?1, ?2, ?3)")?;
    let mut select = new.prepare("SELECT id, state FROM entity")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, state): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let state: Entity = from_json(&id, &state)?;
        for (device, last) in &state.clock {
            edit.execute((&id, device.as_str(), signed(last.counter)))?;
        }
        blobs::keep(new, &state)?;
        salvaged.records += 1;
    }
    let mut select =
        new.prepare("SELECT remote, entity, state FROM behind WHERE state IS NOT NULL")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (remote, id, state): (_, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        blobs::hold(new, remote, &from_json(&id, &state)?)?;
    }
    Ok(())
}
