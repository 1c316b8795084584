//! What each remote is known to hold of each record.
//!
//! Only of records that a remote is behind of anything is kept: the earlier state that it holds, or
//! that it holds nothing. While all is in step there is nothing to keep, for any number of remotes.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{RemoteMark, Result, Store, blobs, from_json, remotes, to_json};
use crate::{
    model::{Agreed, DeviceId, Entity, EntityId, LastEdit},
    mutant::{self, Mutant},
};

impl Store {
    /// The records of which the remote does not hold the present state, those among them that are
    /// kept on this device included.
    pub fn unagreed(&self) -> Result<BTreeSet<EntityId>> {
        self.ids_of("SELECT entity FROM behind WHERE remote = ?1", [self.remote])
    }

    /// Whether there are records that the remote is to have and is not known to hold as they are.
    pub fn is_behind(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM behind b CROSS JOIN entity e ON e.id = b.entity
                   WHERE b.remote = ?1 AND e.kept = 0)";
        Ok(self.connection.prepare_cached(sql)?.query_row([self.remote], |row| row.get(0))?)
    }

    /// The records with edits that some remote has not acknowledged, as far as known without asking.
    pub fn unsent(&self) -> Result<BTreeSet<EntityId>> {
        if self.remote.is_none() {
            return self.ids("SELECT id FROM entity WHERE kept = 0");
        }
        self.ids(
            "SELECT DISTINCT b.entity FROM behind b CROSS JOIN entity e ON e.id = b.entity
             WHERE e.kept = 0",
        )
    }

    /// The records whose present state no remote is known to hold.
    pub fn held_nowhere(&self) -> Result<BTreeSet<EntityId>> {
        if self.remote.is_none() {
            return self.all_ids();
        }
        self.ids(
            "SELECT entity FROM behind GROUP BY entity
             HAVING count(*) = (SELECT count(*) FROM remote)",
        )
    }

    /// The last edit of a device on a record that no remote holds as it is, as far as any holds it.
    pub fn held_edit(&self, id: &EntityId, device: &DeviceId) -> Result<Option<LastEdit>> {
        let sql = "SELECT b.state FROM remote r JOIN behind b ON b.remote = r.number
                   AND b.entity = ?1 WHERE b.state IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id.as_str()])?;
        let mut held: Option<LastEdit> = None;
        while let Some(row) = rows.next()? {
            let state: Entity = from_json(&format!("record {id}"), &row.get::<_, Vec<u8>>(0)?)?;
            let last = state.clock.get(device).copied();
            held = held.into_iter().chain(last).max_by_key(|last| last.counter);
        }
        Ok(held)
    }

    /// Keeps that the remote of this mark now holds these records as they are.
    pub fn agree(&mut self, mark: &RemoteMark, ids: &[EntityId]) -> Result<()> {
        let remote = self.remote;
        self.transact(|connection| {
            for id in ids {
                set(connection, remote, id, &Agreed::Current)?;
            }
            remotes::set_mark(connection, mark)
        })
    }
}

/// Keeps what a remote holds of a record.
pub(super) fn set(
    connection: &Connection,
    remote: Option<remotes::Number>,
    id: &EntityId,
    agreed: &Agreed,
) -> Result<()> {
    let Some(remote) = remote else { return Ok(()) };
    let state = match agreed {
        Agreed::Current => {
            let sql = "DELETE FROM behind WHERE remote = ?1 AND entity = ?2
                       RETURNING state IS NOT NULL";
            let mut delete = connection.prepare_cached(sql)?;
            let held =
                delete.query_row(params![remote, id.as_str()], |row| row.get(0)).optional()?;
            // What was nowhere on it named nothing.
            return if held == Some(true) {
                blobs::release(connection, remote, id)
            } else {
                Ok(())
            };
        }
        Agreed::Never => None,
        Agreed::Earlier(earlier) => Some(earlier),
    };
    let text = state.map(to_json).transpose()?;
    let row = params![remote, id.as_str(), text];
    let sql = "INSERT OR IGNORE INTO behind (remote, entity, state) VALUES (?1, ?2, ?3)";
    if connection.prepare_cached(sql)?.execute(row)? == 0 {
        let sql = "UPDATE behind SET state = ?3 WHERE remote = ?1 AND entity = ?2";
        connection.prepare_cached(sql)?.execute(row)?;
        blobs::release(connection, remote, id)?;
    }
    state.map_or(Ok(()), |state| blobs::hold(connection, remote, state))
}

/// Keeps, before a record changes to `state`, that the other remotes hold what it was until now: of
/// those that are behind already it is known what they hold.
pub(super) fn leave_behind(
    connection: &Connection,
    others: &[remotes::Number],
    state: &Entity,
) -> Result<()> {
    if others.is_empty() || mutant::is(Mutant::AgreesWithAll) {
        return Ok(());
    }
    let id = state.id.as_str();
    let sql = "SELECT state FROM entity WHERE id = ?1";
    let before: Option<Vec<u8>> =
        connection.prepare_cached(sql)?.query_map([id], |row| row.get(0))?.next().transpose()?;
    if before.as_ref() == Some(&to_json(state)?) {
        return Ok(());
    }
    let before: Option<Entity> =
        before.map(|before| from_json(&format!("record {id}"), &before)).transpose()?;
    let text = before.as_ref().map(to_json).transpose()?;
    for remote in others {
        let sql = "INSERT OR IGNORE INTO behind (remote, entity, state) VALUES (?1, ?2, ?3)";
        let is_new = connection.prepare_cached(sql)?.execute(params![remote, id, text])? > 0;
        if let Some(before) = before.as_ref().filter(|_| is_new) {
            blobs::hold(connection, *remote, before)?;
        }
    }
    Ok(())
}

pub(super) fn read(row: Option<(bool, Option<Vec<u8>>)>, what: &str) -> Result<Agreed> {
    Ok(match row {
        Some((false, _)) => Agreed::Current,
        Some((true, Some(state))) => Agreed::Earlier(Box::new(from_json(what, &state)?)),
        Some((true, None)) | None => Agreed::Never,
    })
}
