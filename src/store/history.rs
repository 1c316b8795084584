//! States that were replaced, kept so that they can be listed and brought back.

use rusqlite::{Connection, params};

use super::{
    Result, Store, blobs, from_json,
    replica::{get, set},
    signed, to_json,
};
use crate::{
    model::{Entity, EntityId},
    mutant::{self, Mutant},
};

/// Under what the last row of former lives is kept.
const FORMER_LIVES: &str = "former_lives";

/// A state that was replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// When it was replaced on this device, in milliseconds since 1970.
    pub recorded_ms: i64,
    /// The state.
    pub state: Entity,
}

impl Store {
    /// The states that a record had before, the latest first: by the order in which they were put away,
    /// for their times are those of clocks that may have been wrong.
    pub fn history(&self, id: &EntityId) -> Result<Vec<Past>> {
        let sql = "SELECT recorded_ms, state FROM history WHERE entity = ?1 ORDER BY rowid DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id.as_str()])?;
        let mut past = Vec::new();
        while let Some(row) = rows.next()? {
            let state: Vec<u8> = row.get(1)?;
            let state = from_json(&format!("the history of {id}"), &state)?;
            past.push(Past { recorded_ms: row.get(0)?, state });
        }
        Ok(past)
    }

    /// The latest state that a record had before, of those that are meant. Only the last `limit` are
    /// looked at, one at a time, and none of a former life of the replica: its edits have other names
    /// now, and others may have the old ones.
    pub fn latest_past(
        &self,
        id: &EntityId,
        limit: u32,
        is_meant: impl Fn(&Entity) -> bool,
    ) -> Result<Option<Entity>> {
        let former: i64 = get(&self.connection, FORMER_LIVES)?.unwrap_or(0);
        // Chosen by the index alone: states may be large.
        let sql = "SELECT state FROM history WHERE rowid IN (
                       SELECT rowid FROM history WHERE entity = ?1 AND rowid > ?2
                       ORDER BY rowid DESC LIMIT ?3)
                   ORDER BY rowid DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![id.as_str(), former, limit])?;
        while let Some(row) = rows.next()? {
            let state: Vec<u8> = row.get(0)?;
            let state = from_json(&format!("the history of {id}"), &state)?;
            if is_meant(&state) {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// The latest replacements in the whole vault, the latest first, at most `limit`.
    pub fn recent_history(&self, limit: u32) -> Result<Vec<Past>> {
        let sql = "SELECT recorded_ms, state FROM history ORDER BY rowid DESC LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([limit])?;
        let mut past = Vec::new();
        while let Some(row) = rows.next()? {
            let state: Vec<u8> = row.get(1)?;
            past.push(Past { recorded_ms: row.get(0)?, state: from_json("the history", &state)? });
        }
        Ok(past)
    }

    /// Drops what was replaced before `before_ms`, in milliseconds since 1970.
    pub fn prune_history(&mut self, before_ms: i64) -> Result<usize> {
        self.transact(|connection| {
            blobs::prune(connection, before_ms)?;
            let sql = "DELETE FROM history WHERE recorded_ms < ?1";
            let pruned = connection.prepare_cached(sql)?.execute([before_ms])?;
            // The numbers of rows that are gone from the end are given again.
            let (former, last) = (get::<i64>(connection, FORMER_LIVES)?, last_row(connection)?);
            if former.is_some_and(|former| former > last) {
                set(connection, FORMER_LIVES, &last)?;
            }
            Ok(pruned)
        })
    }
}

/// Keeps that what is in the history so far is of another life of the replica.
pub(super) fn end_life(connection: &Connection) -> Result<()> {
    set(connection, FORMER_LIVES, &last_row(connection)?)
}

fn last_row(connection: &Connection) -> Result<i64> {
    let sql = "SELECT coalesce(max(rowid), 0) FROM history";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

pub(super) fn keep(connection: &Connection, replaced: &Entity, now_ms: i64) -> Result<()> {
    if mutant::is(Mutant::NoHistory) {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO history (entity, recorded_ms, version, state)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            replaced.id.as_str(),
            now_ms,
            signed(replaced.version()),
            to_json(replaced)?
        ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Changes, DeviceId, Dot, Stamp};

    #[test]
    fn the_latest_is_what_was_put_away_last_whatever_the_clock_said() {
        let store = Store::in_memory().unwrap();
        let id = EntityId::new("e").unwrap();
        let mut state = Entity::new(id.clone());
        for (counter, recorded_ms) in [(1, 500), (2, 100), (3, 300)] {
            let dot = Dot::new(DeviceId::new("dev0").unwrap(), counter);
            state.edit(&dot, Stamp::from_millis(1), Changes::new());
            keep(&store.connection, &state, recorded_ms).unwrap();
        }
        let times = |past: Vec<Past>| past.into_iter().map(|p| p.recorded_ms).collect::<Vec<_>>();
        assert_eq!(times(store.history(&id).unwrap()), [300, 100, 500]);
        assert_eq!(times(store.recent_history(2).unwrap()), [300, 100]);
        assert_eq!(store.latest_past(&id, 64, |_| true).unwrap(), Some(state));
        assert_eq!(store.latest_past(&id, 2, |past| past.version() == 1).unwrap(), None);
    }

    #[test]
    fn what_a_former_life_kept_is_no_past_of_this_one() {
        let store = Store::in_memory().unwrap();
        let mut state = Entity::new(EntityId::new("e").unwrap());
        let mut keep_next = |counter| {
            let dot = Dot::new(DeviceId::new("dev0").unwrap(), counter);
            state.edit(&dot, Stamp::from_millis(1), Changes::new());
            keep(&store.connection, &state, 1).unwrap();
            state.clone()
        };
        let latest = || store.latest_past(&EntityId::new("e").unwrap(), 64, |_| true).unwrap();
        let former = keep_next(1);
        assert_eq!(latest(), Some(former));
        end_life(&store.connection).unwrap();
        assert_eq!(latest(), None);
        let own = keep_next(2);
        assert_eq!(latest(), Some(own));
    }
}
