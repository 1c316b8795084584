//! Records: their states, what is agreed with the remote, and the transaction that keeps a plan.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params, types::ValueRef};

use super::{
    FileRow, Intent, Replica, Result, Store, agreed, blobs, conflicts, corrupt, files, from_json,
    history, remotes,
    replica::{StoredRules, get, set},
    signed, to_json, unsigned,
};
use crate::model::{
    Agreed, DeviceId, Entity, EntityId, Record, Update, VaultPath, VersionVector, json,
};

/// One record with its file.
pub(super) const RECORD: &str = "
    SELECT e.state, b.rowid IS NOT NULL, b.state, e.shown_state, e.kept, f.path, f.sha256
    FROM entity e LEFT JOIN file f ON f.entity = e.id
    LEFT JOIN behind b ON b.remote = ?2 AND b.entity = e.id WHERE e.id = ?1";

/// What a plan changes in the replica: kept in one transaction, or not at all.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The records.
    pub updates: &'a [Update],
    /// The records whose file has to be written, moved or removed.
    pub pending: &'a BTreeSet<EntityId>,
    /// The replica's own state, with its last edit.
    pub replica: &'a Replica,
    /// Files whose place in the books is new, as the scan saw them.
    pub seen: &'a [FileRow],
    /// Files that the scan found gone.
    pub gone: &'a [VaultPath],
    /// What is about to be done to the vault.
    pub intents: &'a [Intent],
    /// When the scan began, in milliseconds since 1970; nothing if there was none.
    pub scanned_ms: Option<i64>,
    /// When this is, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Store {
    /// A record; nothing if there is none of that id.
    pub fn record(&self, id: &EntityId) -> Result<Option<Record>> {
        let mut statement = self.connection.prepare_cached(RECORD)?;
        let raw = statement
            .query_row(params![id.as_str(), self.remote], |row| {
                Ok(RawRecord {
                    state: row.get(0)?,
                    behind: self.remote.is_some().then_some((row.get(1)?, row.get(2)?)),
                    shown_state: row.get(3)?,
                    kept: row.get(4)?,
                    file: row.get(5)?,
                    file_sha256: row.get(6)?,
                })
            })
            .optional()?;
        raw.map(|raw| raw.read(id)).transpose()
    }

    /// The records with these ids, as far as they exist.
    pub fn records(&self, ids: &BTreeSet<EntityId>) -> Result<BTreeMap<EntityId, Record>> {
        // In one transaction, or each look at a record would lock the database's file anew.
        let look = || self.connection.unchecked_transaction();
        let transaction = (ids.len() > 1).then(look).transpose()?;
        let mut records = BTreeMap::new();
        for id in ids {
            if let Some(record) = self.record(id)? {
                records.insert(id.clone(), record);
            }
        }
        transaction.map_or(Ok(()), Transaction::commit)?;
        Ok(records)
    }

    /// About how many bytes of memory a record takes once it is read; nothing if there is none of that id.
    pub fn weight(&self, id: &EntityId) -> Result<u64> {
        let sql = "SELECT e.state, e.shown_state, b.state FROM entity e
                   LEFT JOIN behind b ON b.remote = ?2 AND b.entity = e.id WHERE e.id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![id.as_str(), self.remote])?;
        let Some(row) = rows.next()? else { return Ok(0) };
        let mut sum = 0;
        for column in 0..3 {
            if let ValueRef::Blob(text) = row.get_ref(column)? {
                sum += json::weight(text);
            }
        }
        Ok(sum)
    }

    /// The records that need a look: with edits that a remote of these edits lacks, not known to be
    /// agreed, or whose file is behind.
    pub fn unsettled(&self, remote_knows: &VersionVector) -> Result<BTreeSet<EntityId>> {
        let mut ids = self.unagreed()?;
        ids.extend(self.pending()?);
        let sql = "SELECT entity FROM edit WHERE device = ?1 AND counter > ?2";
        self.each_edited(sql, remote_knows, |id, _| {
            ids.insert(id);
            Ok(())
        })?;
        Ok(ids)
    }

    /// The records whose file has to be looked at.
    pub fn pending(&self) -> Result<BTreeSet<EntityId>> {
        self.ids("SELECT id FROM entity WHERE pending = 1")
    }

    /// Calls `each` with what `sql` selects for each device and its edit in `knows`: ids first.
    pub(super) fn each_edited(
        &self,
        sql: &str,
        knows: &VersionVector,
        mut each: impl FnMut(EntityId, &Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for device in self.devices()? {
            let known = DeviceId::new(device.clone()).map_or(0, |device| knows.get(&device));
            let mut rows = statement.query(params![device, signed(known)])?;
            while let Some(row) = rows.next()? {
                each(entity_id(row.get(0)?)?, row)?;
            }
        }
        Ok(())
    }

    /// All ids, in order.
    pub fn all_ids(&self) -> Result<BTreeSet<EntityId>> {
        self.ids("SELECT id FROM entity")
    }

    /// Calls `each` with every record's state in order of the ids, without holding them all.
    pub fn each_state(&self, mut each: impl FnMut(Entity) -> Result<()>) -> Result<()> {
        let sql = "SELECT id, state FROM entity ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, state): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            each(from_json(&format!("record {id}"), &state)?)?;
        }
        Ok(())
    }

    /// Whether any record is kept on this device alone.
    pub fn keeps_any(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM entity WHERE kept = 1)";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// How many records there are, the deleted left out.
    pub fn live_count(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM entity WHERE deleted = 0";
        Ok(unsigned(self.connection.query_row(sql, [], |row| row.get(0))?))
    }

    /// The live records that want a path that folds to `key`.
    pub fn claimants(&self, key: &str) -> Result<BTreeSet<EntityId>> {
        let mut statement =
            self.connection.prepare_cached("SELECT id FROM entity WHERE path_key = ?1")?;
        let ids = statement.query_map([key], |row| row.get::<_, String>(0))?;
        ids.map(|id| entity_id(id?)).collect()
    }

    /// The records that lie or lay at this path, the deleted included.
    pub fn ids_of_path(&self, path: &str) -> Result<BTreeSet<EntityId>> {
        let mut statement =
            self.connection.prepare_cached("SELECT id FROM entity WHERE path = ?1")?;
        let ids = statement.query_map([path], |row| row.get::<_, String>(0))?;
        ids.map(|id| entity_id(id?)).collect()
    }

    /// The record whose file lies at this path.
    pub fn id_of_file(&self, path: &VaultPath) -> Result<Option<EntityId>> {
        let mut statement =
            self.connection.prepare_cached("SELECT entity FROM file WHERE path = ?1")?;
        let id = statement.query_row([path.as_str()], |row| row.get(0)).optional()?;
        id.map(entity_id).transpose()
    }

    /// Keeps what a plan decided.
    pub fn decide(&mut self, decided: &Decided<'_>) -> Result<()> {
        let remotes = self.sight()?;
        self.transact(|connection| {
            begin_life(connection, decided)?;
            for path in decided.gone {
                files::forget(connection, path)?;
            }
            for file in decided.seen {
                files::remember(connection, file)?;
            }
            for update in decided.updates {
                let pending = decided.pending.contains(&update.state.id);
                write_record(connection, &remotes, update, pending)?;
                if let Some(replaced) = &update.replaced {
                    history::keep(connection, replaced, decided.now_ms)?;
                }
                conflicts::keep(connection, update, decided.now_ms)?;
            }
            for intent in decided.intents {
                files::intend(connection, intent)?;
            }
            if let Some(scanned_ms) = decided.scanned_ms {
                set(connection, "last_scan_ms", &scanned_ms)?;
            }
            set(connection, "replica", decided.replica)
        })
    }

    /// Marks records for a look at their files in the next turn.
    pub fn revisit(&mut self, ids: &[EntityId]) -> Result<()> {
        self.transact(|connection| {
            let sql = "UPDATE entity SET pending = 1 WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            for id in ids {
                statement.execute([id.as_str()])?;
            }
            Ok(())
        })
    }

    /// Replaces what is derived from the rules, after these changed: types, deletions, paths, conflicts.
    pub fn rejudge(
        &mut self,
        updates: &[Update],
        pending: &BTreeSet<EntityId>,
        rules: &StoredRules,
        now_ms: i64,
    ) -> Result<()> {
        let remotes = self.sight()?;
        self.transact(|connection| {
            for update in updates {
                let pending = pending.contains(&update.state.id);
                write_record(connection, &remotes, update, pending)?;
                conflicts::keep(connection, update, now_ms)?;
            }
            set(connection, "rules", rules)
        })
    }

    fn devices(&self) -> Result<Vec<String>> {
        // A loose index scan: SQLite would read every row for SELECT DISTINCT.
        let sql = "WITH RECURSIVE d(x) AS (SELECT min(device) FROM edit UNION ALL
                   SELECT (SELECT min(device) FROM edit WHERE device > d.x) FROM d WHERE d.x IS NOT NULL)
                   SELECT x FROM d WHERE x IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let devices = statement.query_map([], |row| row.get(0))?;
        Ok(devices.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn ids(&self, sql: &str) -> Result<BTreeSet<EntityId>> {
        self.ids_of(sql, [])
    }

    pub(super) fn ids_of(&self, sql: &str, params: impl Params) -> Result<BTreeSet<EntityId>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids = statement.query_map(params, |row| row.get::<_, String>(0))?;
        ids.map(|id| entity_id(id?)).collect()
    }

    fn sight(&self) -> Result<Sight> {
        let others = remotes::others(&self.connection, self.remote)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM behind WHERE remote = ?1)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let is_behind = statement.query_row([self.remote], |row| row.get(0))?;
        Ok(Sight { remote: self.remote, others, is_behind })
    }
}

/// Which remote is looked at, and which are not.
struct Sight {
    remote: Option<remotes::Number>,
    others: Vec<remotes::Number>,
    /// Whether the remote is behind of any record: a bootstrap need not ask for each.
    is_behind: bool,
}

struct RawRecord {
    state: Vec<u8>,
    /// Whether the remote is behind, and the state that it holds; nothing if there is no remote.
    behind: Option<(bool, Option<Vec<u8>>)>,
    shown_state: Option<Vec<u8>>,
    kept: bool,
    file: Option<String>,
    file_sha256: Option<String>,
}

impl RawRecord {
    fn read(self, id: &EntityId) -> Result<Record> {
        let what = format!("record {id}");
        Ok(Record {
            state: from_json(&what, &self.state)?,
            agreed: agreed::read(self.behind, &what)?,
            shown: self.shown_state.map(|state| from_json(&what, &state)).transpose()?,
            file: self.file.map(|path| files::vault_path(&path)).transpose()?,
            file_sha256: self.file_sha256,
            kept: self.kept,
        })
    }
}

/// With a new device id the edits that were made again are no longer known by their old names, and
/// what was skipped as known when files were read may be what another life made under them. The head
/// of each remote is read anew: of what it says only a part may be the new device's.
fn begin_life(connection: &Connection, decided: &Decided<'_>) -> Result<()> {
    let Some(before) = get::<Replica>(connection, "replica")? else { return Ok(()) };
    if before.device == decided.replica.device {
        return Ok(());
    }
    let sql = "DELETE FROM edit WHERE entity = ?1 AND device = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    for update in decided.updates {
        statement.execute([update.state.id.as_str(), before.device.as_str()])?;
    }
    history::end_life(connection)?;
    remotes::forget_heads(connection)
}

fn write_record(
    connection: &Connection,
    sight: &Sight,
    update: &Update,
    pending: bool,
) -> Result<()> {
    let state = &update.state;
    agreed::leave_behind(connection, &sight.others, state)?;
    if sight.is_behind || update.agreed != Agreed::Current {
        agreed::set(connection, sight.remote, &state.id, &update.agreed)?;
    }
    let shown = update.shown.as_ref().map(to_json).transpose()?;
    let path = update.view.path().filter(|_| !update.view.is_deleted);
    let key = path.and_then(|path| VaultPath::new(path).ok()).map(|path| path.key());
    connection
        .prepare_cached(
            "INSERT INTO entity (id, state, shown_state, pending,
             kept, type, path, path_key, version, deleted, modified_ms, deleted_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL)
             ON CONFLICT (id) DO UPDATE SET state = ?2, shown_state = ?3, pending = ?4, kept = ?5,
             type = ?6, path = ?7, path_key = ?8, version = ?9, deleted = ?10, modified_ms = ?11,
             deleted_ms = CASE WHEN ?10 THEN deleted_ms END",
        )?
        .execute(params![
            state.id.as_str(),
            to_json(state)?,
            shown,
            pending,
            update.kept,
            update.view.type_name,
            update.view.path(),
            key,
            signed(state.version()),
            update.view.is_deleted,
            state.last_modified().map_or(0, |(at, _)| at.millis()),
        ])?;
    let mut edit = connection.prepare_cached(
        "INSERT INTO edit (entity, device, counter) VALUES (?1, ?2, ?3)
         ON CONFLICT (entity, device) DO UPDATE SET counter = ?3 WHERE counter <> ?3",
    )?;
    for (device, last) in &state.clock {
        edit.execute(params![state.id.as_str(), device.as_str(), signed(last.counter)])?;
    }
    blobs::keep(connection, state)
}

pub(super) fn entity_id(text: String) -> Result<EntityId> {
    EntityId::new(text).map_err(|error| corrupt("an id", error))
}
