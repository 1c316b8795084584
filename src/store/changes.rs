//! Which records changed between two states of the remote, and which are past keeping whole.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{Result, Store, blobs, from_json, remotes, to_json};
use crate::{
    model::{
        Entity, EntityId, Record, VersionVector,
        entity::{DELETED, TYPE},
    },
    mutant::{self, Mutant},
};

/// That all remotes hold a record as it is.
const HELD: &str = "NOT EXISTS (SELECT 1 FROM remote r JOIN behind b ON b.remote = r.number
    AND b.entity = entity.id)";

/// Two states of the remote, the later not given where it is the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Records with no edit beyond these are left out.
    pub after: VersionVector,
    /// Records with an edit beyond these are left out.
    pub up_to: Option<VersionVector>,
}

impl Span {
    fn holds(&self, seen: &VersionVector) -> bool {
        let is_later = !self.after.includes(seen);
        is_later && self.up_to.as_ref().is_none_or(|up_to| up_to.includes(seen))
    }
}

impl Store {
    /// The records, as the remote is to hold them, whose latest edits lie in `span`, in the order in
    /// which they were made: who lacks the latest of them lacks neighbours.
    pub fn changed_in(&self, span: &Span) -> Result<Vec<EntityId>> {
        let mut found = self.beyond(&span.after)?;
        if let Some(up_to) = &span.up_to {
            for later in self.beyond(up_to)? {
                found.remove(&later);
            }
        }
        // What is kept on this device has edits that no remote is to see.
        for id in self.ids("SELECT id FROM entity WHERE kept = 1")? {
            let Some(state) = self.record(&id)?.and_then(Record::on_remote) else { continue };
            if span.holds(&state.seen()) {
                let modified_ms = state.last_modified().map_or(0, |(at, _)| at.millis());
                found.insert((modified_ms, id));
            }
        }
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    /// The records with an edit beyond `knows`, with the time of their last one.
    fn beyond(&self, knows: &VersionVector) -> Result<BTreeSet<(i64, EntityId)>> {
        let sql = "SELECT e.id, e.modified_ms FROM edit JOIN entity e ON e.id = edit.entity
                   WHERE edit.device = ?1 AND edit.counter > ?2 AND e.kept = 0";
        let mut found = BTreeSet::new();
        self.each_edited(sql, knows, |id, row| {
            found.insert((row.get(1)?, id));
            Ok(())
        })?;
        Ok(found)
    }

    /// Reduces records that are deleted for so long, and that all remotes hold so, to the mark of
    /// their deletion; says how many. What they were is then gone for good. Both times are in
    /// milliseconds, `now_ms` since 1970 by the clock of the storage of the first remote: two clocks
    /// may be a year apart, so for another remote nothing is done.
    pub fn empty_trash(&mut self, now_ms: i64, keep_ms: i64) -> Result<usize> {
        if self.remote != remotes::first(&self.connection)? {
            return Ok(0);
        }
        self.transact(|connection| {
            let sql = format!(
                "UPDATE entity SET deleted_ms = ?1
                 WHERE deleted = 1 AND type <> '' AND deleted_ms IS NULL AND {HELD}"
            );
            connection.prepare_cached(&sql)?.execute([now_ms])?;
            let sql = format!(
                "SELECT id, state FROM entity
                 WHERE deleted = 1 AND type <> '' AND deleted_ms < ?1 AND {HELD}"
            );
            let mut old = connection.prepare_cached(&sql)?;
            let keep_ms = if mutant::is(Mutant::NoTrash) { -1 } else { keep_ms };
            let rows = old.query_map([now_ms - keep_ms], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
            // The empty type says that there is nothing more to take away. The record's own word for
            // it stays: rules for deletions and for what is kept here go by the type. Its path does
            // not, though it may have made the type: the name of a file is a part of what it was.
            let mut strip = connection.prepare_cached(
                "UPDATE entity SET state = ?2, type = '', path = NULL, path_key = NULL
                 WHERE id = ?1",
            )?;
            let mut forget = connection.prepare_cached("DELETE FROM conflict WHERE entity = ?1")?;
            let mut count = 0;
            for (id, state) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
                let mut state: Entity = from_json(&format!("record {id}"), &state)?;
                // A rule may let a deletion win over an edit that it had not seen, but that edit
                // must not be let go of.
                let is_unseen = !state.seen_by_deletions().includes(&state.seen());
                if is_unseen && !mutant::is(Mutant::StripsUnseen) {
                    continue;
                }
                let before = state.fields.len();
                let leaves_mark = !mutant::is(Mutant::DropsMarkers);
                state.fields.retain(|field, _| leaves_mark && (field == DELETED || field == TYPE));
                strip.execute(params![id, to_json(&state)?])?;
                forget.execute([&id])?;
                blobs::forget(connection, &id)?;
                count += usize::from(state.fields.len() < before);
            }
            Ok(count)
        })
    }
}
