//! Which contents of files the states of records name, and which of them the remote holds.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::{Result, Store, files, records::entity_id, remotes::Number, signed, unsigned};
use crate::model::{
    Blob, Entity, EntityId, KnownFile, VaultPath, blob,
    entity::{BLOB, DELETED},
};

/// How much older, at most, a file that nothing names is taken to be than at the look before, in
/// milliseconds: a clock that is set ahead by a year ages nothing by more.
pub(super) const LOOK_MS_MAX: i64 = 30 * 24 * 60 * 60 * 1000;

/// A content that some record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBlob {
    /// The content and its file on the remote.
    pub blob: Blob,
    /// Whether the remote is known to hold a state that names it, and so the file.
    pub agreed: bool,
}

impl Store {
    /// The names under which a content is known, those that the remote holds first.
    pub fn blobs_of(&self, sha256: &str) -> Result<Vec<NamedBlob>> {
        let sql = "SELECT file, bytes FROM blob WHERE sha256 = ?1
                   UNION SELECT file, bytes FROM held_blob WHERE sha256 = ?1 ORDER BY file";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([sha256])?;
        let mut named: Vec<NamedBlob> = Vec::new();
        while let Some(row) = rows.next()? {
            let (sha256, bytes) = (sha256.to_owned(), unsigned(row.get(1)?));
            let blob = Blob { sha256, bytes, file: row.get(0)? };
            let agreed = self.is_agreed_blob(&blob.file)?;
            named.push(NamedBlob { blob, agreed });
        }
        named.dedup_by(|one, other| one.blob.file == other.blob.file);
        named.sort_by_key(|named| !named.agreed);
        Ok(named)
    }

    /// Whether the remote is known to hold a state that names this file, and so the file.
    pub fn is_agreed_blob(&self, file: &str) -> Result<bool> {
        self.holds_blob("= ?2", file)
    }

    /// Whether another remote is known to hold a state that names this file, and so the file.
    pub fn is_held_elsewhere(&self, file: &str) -> Result<bool> {
        self.holds_blob("<> ?2", file)
    }

    /// Whether one of these remotes holds a file. What is deleted there may be collected any day.
    fn holds_blob(&self, among: &str, file: &str) -> Result<bool> {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM blob b CROSS JOIN entity e ON e.id = b.entity
                 CROSS JOIN remote r WHERE b.file = ?1 AND e.deleted = 0 AND r.number {among}
                 AND NOT EXISTS (SELECT 1 FROM behind WHERE remote = r.number AND entity = e.id)
                 AND NOT EXISTS (SELECT 1 FROM owed_blob WHERE remote = r.number AND file = ?1))
             OR EXISTS (SELECT 1 FROM held_blob h WHERE h.file = ?1 AND h.remote {among}
                 AND NOT EXISTS (SELECT 1 FROM owed_blob WHERE remote = h.remote AND file = ?1))"
        );
        let row = params![file, self.remote];
        Ok(self.connection.prepare_cached(&sql)?.query_row(row, |row| row.get(0))?)
    }

    /// Whether a state of a record, present or agreed, names this file.
    pub fn names_blob(&self, file: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM blob WHERE file = ?1)
                   OR EXISTS (SELECT 1 FROM held_blob WHERE file = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([file], |row| row.get(0))?)
    }

    /// Whether the remote is known to hold any content.
    pub fn has_agreed_blobs(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM blob b CROSS JOIN entity e ON e.id = b.entity
                       WHERE e.deleted = 0 AND NOT EXISTS
                       (SELECT 1 FROM behind WHERE remote = ?1 AND entity = e.id))
                   OR EXISTS (SELECT 1 FROM held_blob WHERE remote = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([self.remote], |row| row.get(0))?)
    }

    /// The records that name a content.
    pub fn blob_owners(&self) -> Result<BTreeSet<EntityId>> {
        // Crossed, or SQLite begins with the records, of which there may be far more.
        self.ids(
            "SELECT DISTINCT b.entity FROM blob b CROSS JOIN entity e
             WHERE e.id = b.entity AND e.deleted = 0",
        )
    }

    /// The records that name a content which their agreed state does not.
    pub fn new_blob_owners(&self) -> Result<BTreeSet<EntityId>> {
        let sql = "SELECT DISTINCT d.entity FROM behind d CROSS JOIN blob b ON b.entity = d.entity
                   CROSS JOIN entity e ON e.id = d.entity
                   WHERE d.remote = ?1 AND e.deleted = 0 AND NOT EXISTS
                   (SELECT 1 FROM held_blob h
                    WHERE h.remote = ?1 AND h.entity = d.entity AND h.file = b.file)";
        self.ids_of(sql, [self.remote])
    }

    /// The contents that the remote is to get as soon as this device has them, as far as a record still
    /// names them.
    pub fn owed_blobs(&self) -> Result<BTreeSet<Blob>> {
        let sql = "SELECT DISTINCT b.file, b.sha256, b.bytes FROM owed_blob o
                   CROSS JOIN blob b ON b.file = o.file
                   CROSS JOIN entity e ON e.id = b.entity AND e.deleted = 0 AND e.kept = 0
                   WHERE o.remote = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([self.remote])?;
        let mut owed = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let (file, sha256, bytes) = (row.get(0)?, row.get(1)?, unsigned(row.get(2)?));
            owed.insert(Blob { sha256, bytes, file });
        }
        Ok(owed)
    }

    /// Keeps that the remote is to get a content later, or that it has it now.
    pub fn set_owed_blob(&mut self, file: &str, owed: bool) -> Result<()> {
        let remote = self.remote;
        self.transact(|connection| {
            let sql = match owed {
                true => "INSERT OR IGNORE INTO owed_blob (remote, file) VALUES (?1, ?2)",
                false => "DELETE FROM owed_blob WHERE remote = ?1 AND file = ?2",
            };
            connection.prepare_cached(sql)?.execute(params![remote, file])?;
            Ok(())
        })
    }

    /// The records whose present state names this file.
    pub fn owners_of_blob(&self, file: &str) -> Result<BTreeSet<EntityId>> {
        let sql = "SELECT entity FROM blob WHERE file = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids = statement.query_map([file], |row| row.get::<_, String>(0))?;
        ids.map(|id| entity_id(id?)).collect()
    }

    /// Every content that the present state of a record names, with one record that does.
    pub fn present_blobs(&self) -> Result<BTreeMap<Blob, EntityId>> {
        let sql = "SELECT file, sha256, bytes, min(entity) FROM blob GROUP BY file";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut named = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (sha256, bytes) = (row.get(1)?, unsigned(row.get(2)?));
            let blob = Blob { sha256, bytes, file: row.get(0)? };
            named.insert(blob, entity_id(row.get(3)?)?);
        }
        Ok(named)
    }

    /// The files of all contents that a state names, present, agreed or past.
    pub fn named_blobs(&self) -> Result<BTreeSet<String>> {
        let sql = "SELECT file FROM blob UNION SELECT file FROM held_blob";
        let mut statement = self.connection.prepare_cached(sql)?;
        let files = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut named: BTreeSet<String> = files.collect::<rusqlite::Result<_>>()?;
        let sql = "SELECT state FROM history WHERE instr(state, CAST(?1 AS BLOB)) > 0";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([format!("\"{BLOB}\"")])?;
        while let Some(row) = rows.next()? {
            let state: Entity = super::from_json("the history", &row.get::<_, Vec<u8>>(0)?)?;
            named.extend(blobs_in(&state).map(|blob| blob.file));
        }
        Ok(named)
    }

    /// Notes that nothing names these files of the remote as of now, in milliseconds since 1970 by the
    /// storage's clock, and forgets it of all others. Gives those of which that is known for `least_ms`,
    /// to which the time between two looks adds no more than 30 days.
    pub fn note_unnamed(
        &mut self,
        files: &BTreeSet<String>,
        now_ms: i64,
        least_ms: i64,
    ) -> Result<BTreeSet<String>> {
        let remote = self.remote;
        self.transact(|connection| {
            let sql = "SELECT file, age_ms, looked_ms FROM unnamed_file WHERE remote = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([remote], |row| {
                let (file, age_ms, looked_ms): (String, i64, i64) = row.try_into()?;
                let more_ms = now_ms.saturating_sub(looked_ms).clamp(0, LOOK_MS_MAX);
                Ok((file, age_ms.saturating_add(more_ms)))
            })?;
            let noted: BTreeMap<String, i64> = rows.collect::<rusqlite::Result<_>>()?;
            let sql = "DELETE FROM unnamed_file WHERE remote = ?1 AND file = ?2";
            let mut forget = connection.prepare_cached(sql)?;
            for file in noted.keys().filter(|file| !files.contains(*file)) {
                forget.execute(params![remote, file])?;
            }
            let sql = "INSERT OR REPLACE INTO unnamed_file (remote, file, age_ms, looked_ms)
                       VALUES (?1, ?2, ?3, ?4)";
            let mut note = connection.prepare_cached(sql)?;
            for file in files {
                let age_ms = noted.get(file).copied().unwrap_or(0);
                note.execute(params![remote, file, age_ms, now_ms])?;
            }
            let is_old = |file: &&String| noted.get(*file).is_some_and(|age| *age >= least_ms);
            Ok(files.iter().filter(is_old).cloned().collect())
        })
    }

    /// The files of the remote of which this device has known for `least_ms` that nothing names them, when
    /// it last looked.
    pub fn unnamed(&self, least_ms: i64) -> Result<BTreeSet<String>> {
        let sql = "SELECT file FROM unnamed_file WHERE remote = ?1 AND age_ms >= ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![self.remote, least_ms], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The files of the vault that held this content when they were last looked at.
    pub fn files_with(&self, sha256: &str) -> Result<Vec<(VaultPath, KnownFile)>> {
        let sql = "SELECT DISTINCT f.path, f.entity, f.size, f.mtime_ns, f.ctime_ns, f.inode,
                   f.sha256 FROM blob b JOIN file f ON f.entity = b.entity
                   WHERE b.sha256 = ?1 AND f.sha256 = ?1 ORDER BY f.path";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([sha256])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let file = files::read_row(row)?;
            found.push((file.path, file.known));
        }
        Ok(found)
    }

    /// Remembers that a content was sent under this name, before any state names it.
    pub fn note_sent_blob(&mut self, file: &str, now_ms: i64) -> Result<()> {
        let remote = self.remote;
        self.transact(|connection| {
            let sql =
                "INSERT OR REPLACE INTO sent_blob (remote, file, sent_ms) VALUES (?1, ?2, ?3)";
            connection.prepare_cached(sql)?.execute(params![remote, file, now_ms])?;
            Ok(())
        })
    }

    /// The names under which this device sent a content to the remote since `after_ms`, in milliseconds since
    /// 1970, whether or not anything came to name them.
    pub fn sent_blobs_of(&self, sha256: &str, after_ms: i64) -> Result<Vec<String>> {
        let sql = "SELECT file FROM sent_blob WHERE remote = ?4 AND file > ?1 AND file < ?2
                   AND sent_ms > ?3 ORDER BY sent_ms DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let start = format!("{}/{sha256}", blob::FOLDER);
        let bounds = params![format!("{start}-"), format!("{start}."), after_ms, self.remote];
        let files = statement.query_map(bounds, |row| row.get(0))?;
        Ok(files.collect::<rusqlite::Result<_>>()?)
    }
}

/// The contents that a state names, in siblings and alternatives.
fn blobs_in(state: &Entity) -> impl Iterator<Item = Blob> + '_ {
    state.siblings(BLOB).iter().flat_map(|sibling| {
        let alternatives = sibling.alternatives.iter().map(|alternative| &alternative.content);
        let contents = std::iter::once(&sibling.content).chain(alternatives);
        contents.filter_map(|content| Blob::read(&content.value).ok())
    })
}

/// Forgets what a record named.
pub(super) fn forget(connection: &Connection, id: &str) -> Result<()> {
    connection.prepare_cached("DELETE FROM blob WHERE entity = ?1")?.execute([id])?;
    Ok(())
}

/// Keeps what the present state of a record names.
pub(super) fn keep(connection: &Connection, state: &Entity) -> Result<()> {
    let id = state.id.as_str();
    forget(connection, id)?;
    let named: BTreeSet<Blob> = blobs_in(state).collect();
    let sql = "INSERT OR REPLACE INTO blob (entity, file, sha256, bytes) VALUES (?1, ?2, ?3, ?4)";
    for blob in named {
        let row = params![id, blob.file, blob.sha256, signed(blob.bytes)];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

/// Keeps what the earlier state of a record names that a remote holds.
pub(super) fn hold(connection: &Connection, remote: Number, held: &Entity) -> Result<()> {
    // What is deleted there may be collected any day.
    if held.fields.contains_key(DELETED) {
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO held_blob (remote, entity, file, sha256, bytes)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    for blob in blobs_in(held).collect::<BTreeSet<_>>() {
        let row = params![remote, held.id.as_str(), blob.file, blob.sha256, signed(blob.bytes)];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

/// Forgets what the earlier state of a record named that a remote held.
pub(super) fn release(connection: &Connection, remote: Number, id: &EntityId) -> Result<()> {
    let sql = "DELETE FROM held_blob WHERE remote = ?1 AND entity = ?2";
    connection.prepare_cached(sql)?.execute(params![remote, id.as_str()])?;
    Ok(())
}

/// Forgets what was sent before `before_ms`, in milliseconds since 1970: it is named, or collected.
pub(super) fn prune(connection: &Connection, before_ms: i64) -> Result<()> {
    let sql = "DELETE FROM sent_blob WHERE sent_ms < ?1";
    connection.prepare_cached(sql)?.execute([before_ms])?;
    Ok(())
}
