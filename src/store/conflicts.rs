//! The conflict journal.

use rusqlite::{Connection, params};

use super::{Result, Store, from_json, records::entity_id, to_json};
use crate::{
    model::{Conflict, ConflictState, EntityId, Update},
    mutant::{self, Mutant},
};

/// A conflict of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConflict {
    /// On which record.
    pub entity: EntityId,
    /// When this device met it, in milliseconds since 1970.
    pub detected_ms: i64,
    /// What excludes what.
    pub conflict: Conflict,
}

impl Store {
    /// The journal, the latest first; the resolved only if asked for.
    pub fn conflicts(&self, with_resolved: bool) -> Result<Vec<StoredConflict>> {
        let sql = "SELECT entity, detected_ms, conflict, state FROM conflict
                   WHERE ?1 OR state <> 'resolved' ORDER BY detected_ms DESC, id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([with_resolved])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (conflict, state): (Vec<u8>, String) = (row.get(2)?, row.get(3)?);
            let mut conflict: Conflict = from_json("the conflict journal", &conflict)?;
            if state == state_name(ConflictState::Resolved) {
                conflict.state = ConflictState::Resolved;
            }
            let (entity, detected_ms) = (entity_id(row.get(0)?)?, row.get(1)?);
            found.push(StoredConflict { entity, detected_ms, conflict });
        }
        Ok(found)
    }

    /// How many conflicts wait for a person, and how many a rule decided.
    pub fn conflict_counts(&self) -> Result<(u64, u64)> {
        let count = |state: &str| {
            let sql = "SELECT count(*) FROM conflict WHERE state = ?1";
            self.connection.query_row(sql, [state], |row| row.get::<_, i64>(0))
        };
        Ok((super::unsigned(count("open")?), super::unsigned(count("decided")?)))
    }
}

pub(super) fn keep(connection: &Connection, update: &Update, now_ms: i64) -> Result<()> {
    if mutant::is(Mutant::NoJournal) {
        return Ok(());
    }
    for id in &update.settled {
        let sql = "UPDATE conflict SET state = 'resolved' WHERE id = ?1";
        connection.prepare_cached(sql)?.execute([id])?;
    }
    for conflict in &update.conflicts {
        let sql = "INSERT INTO conflict (id, entity, state, detected_ms, conflict)
                   VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (id) DO UPDATE SET state = ?3, conflict = ?5";
        connection.prepare_cached(sql)?.execute(params![
            conflict.id,
            update.state.id.as_str(),
            state_name(conflict.state),
            now_ms,
            to_json(conflict)?,
        ])?;
    }
    Ok(())
}

fn state_name(state: ConflictState) -> &'static str {
    match state {
        ConflictState::Open => "open",
        ConflictState::Decided => "decided",
        ConflictState::Resolved => "resolved",
    }
}
