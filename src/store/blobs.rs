//! Which contents of files the states of records name, and which of them the remote holds.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::{Result, Store, files, records::entity_id, signed, unsigned};
use crate::model::{
    Agreed, Blob, Entity, EntityId, KnownFile, Update, VaultPath, blob,
    entity::{BLOB, DELETED},
};

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
        let sql = "SELECT file, bytes, max(agreed) FROM blob WHERE sha256 = ?1
                   GROUP BY file ORDER BY max(agreed) DESC, file";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([sha256])?;
        let mut named = Vec::new();
        while let Some(row) = rows.next()? {
            let (sha256, bytes) = (sha256.to_owned(), unsigned(row.get(1)?));
            let blob = Blob { sha256, bytes, file: row.get(0)? };
            named.push(NamedBlob { blob, agreed: row.get(2)? });
        }
        Ok(named)
    }

    /// Whether the remote is known to hold a state that names this file.
    pub fn is_agreed_blob(&self, file: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM blob WHERE file = ?1 AND agreed = 1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([file], |row| row.get(0))?)
    }

    /// Whether a state of a record, present or agreed, names this file.
    pub fn names_blob(&self, file: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM blob WHERE file = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([file], |row| row.get(0))?)
    }

    /// Whether the remote is known to hold any content.
    pub fn has_agreed_blobs(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM blob WHERE agreed = 1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The records that name a content, or only those that name one which their agreed state does
    /// not.
    pub fn blob_owners(&self, only_new: bool) -> Result<BTreeSet<EntityId>> {
        // Crossed, or SQLite begins with the records, of which there may be far more.
        let sql = if only_new {
            "SELECT DISTINCT b.entity FROM blob b CROSS JOIN entity e
             WHERE e.id = b.entity AND b.own = 1 AND b.agreed = 0 AND e.deleted = 0"
        } else {
            "SELECT DISTINCT b.entity FROM blob b CROSS JOIN entity e
             WHERE e.id = b.entity AND b.own = 1 AND e.deleted = 0"
        };
        self.ids(sql)
    }

    /// The records whose present state names this file.
    pub fn owners_of_blob(&self, file: &str) -> Result<BTreeSet<EntityId>> {
        let sql = "SELECT entity FROM blob WHERE file = ?1 AND own = 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids = statement.query_map([file], |row| row.get::<_, String>(0))?;
        ids.map(|id| entity_id(id?)).collect()
    }

    /// Every content that the present state of a record names, with one record that does.
    pub fn present_blobs(&self) -> Result<BTreeMap<Blob, EntityId>> {
        let sql = "SELECT file, sha256, bytes, min(entity) FROM blob WHERE own = 1 GROUP BY file";
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
        let mut statement = self.connection.prepare_cached("SELECT DISTINCT file FROM blob")?;
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

    /// Notes that no state names these files any more, and forgets it of all others. Gives those of
    /// which it was noted until `until_ms`. Both times are in milliseconds since 1970 by the
    /// storage's clock.
    pub fn note_unnamed_blobs(
        &mut self,
        files: &BTreeSet<String>,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<BTreeSet<String>> {
        self.transact(|connection| {
            let sql = "SELECT file, since_ms FROM unnamed_blob";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let noted: BTreeMap<String, i64> = rows.collect::<rusqlite::Result<_>>()?;
            let mut forget =
                connection.prepare_cached("DELETE FROM unnamed_blob WHERE file = ?1")?;
            for file in noted.keys().filter(|file| !files.contains(*file)) {
                forget.execute([file])?;
            }
            let sql = "INSERT OR IGNORE INTO unnamed_blob (file, since_ms) VALUES (?1, ?2)";
            let mut note = connection.prepare_cached(sql)?;
            for file in files {
                note.execute(params![file, now_ms])?;
            }
            let is_old = |file: &&String| noted.get(*file).is_some_and(|since| *since <= until_ms);
            Ok(files.iter().filter(is_old).cloned().collect())
        })
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
        self.transact(|connection| {
            let sql = "INSERT OR REPLACE INTO sent_blob (file, sent_ms) VALUES (?1, ?2)";
            connection.prepare_cached(sql)?.execute(params![file, now_ms])?;
            Ok(())
        })
    }

    /// The names under which this device sent a content since `after_ms`, in milliseconds since
    /// 1970, whether or not anything came to name them.
    pub fn sent_blobs_of(&self, sha256: &str, after_ms: i64) -> Result<Vec<String>> {
        let sql = "SELECT file FROM sent_blob WHERE file > ?1 AND file < ?2 AND sent_ms > ?3
                   ORDER BY sent_ms DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let start = format!("{}/{sha256}", blob::FOLDER);
        let bounds = params![format!("{start}-"), format!("{start}."), after_ms];
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

/// Keeps what the states of a record name.
pub(super) fn keep(connection: &Connection, update: &Update) -> Result<()> {
    keep_states(connection, &update.state, &update.agreed)
}

/// Keeps what a state names, and what is agreed of it.
pub(super) fn keep_states(connection: &Connection, state: &Entity, agreed: &Agreed) -> Result<()> {
    let id = state.id.as_str();
    forget(connection, id)?;
    let agreed = match agreed {
        Agreed::Never => None,
        Agreed::Current => Some(state),
        Agreed::Earlier(earlier) => Some(&**earlier),
    };
    // What is deleted there may be collected any day.
    let agreed = agreed.filter(|state| !state.fields.contains_key(DELETED));
    let mut named: BTreeMap<Blob, (bool, bool)> = BTreeMap::new();
    for blob in blobs_in(state) {
        named.entry(blob).or_default().0 = true;
    }
    for blob in agreed.into_iter().flat_map(blobs_in) {
        named.entry(blob).or_default().1 = true;
    }
    let sql = "INSERT OR REPLACE INTO blob (entity, file, sha256, bytes, own, agreed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for (blob, (own, agreed)) in named {
        let row = params![id, blob.file, blob.sha256, signed(blob.bytes), own, agreed];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

/// Keeps that the remote holds the record as it is.
pub(super) fn agree(connection: &Connection, id: &EntityId) -> Result<()> {
    let forget = "DELETE FROM blob WHERE entity = ?1 AND own = 0";
    connection.prepare_cached(forget)?.execute([id.as_str()])?;
    let agree = "UPDATE blob SET agreed = 1 WHERE entity = ?1
                 AND NOT EXISTS (SELECT 1 FROM entity WHERE id = ?1 AND deleted = 1)";
    connection.prepare_cached(agree)?.execute([id.as_str()])?;
    Ok(())
}

/// Forgets what was sent before `before_ms`, in milliseconds since 1970: it is named, or collected.
pub(super) fn prune(connection: &Connection, before_ms: i64) -> Result<()> {
    let sql = "DELETE FROM sent_blob WHERE sent_ms < ?1";
    connection.prepare_cached(sql)?.execute([before_ms])?;
    Ok(())
}
