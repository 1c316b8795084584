//! The remotes of the vault, and what is remembered of each.
//!
//! The replica looks at one of them at a time: whatever it is asked about *the remote* is about that
//! one. At first it is the one that the vault was bound to first.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Result, Store, corrupt, from_json, replica, replica::as_text};
use crate::model::RemoteId;

/// What is remembered of the remote after a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteMark {
    /// Which remote.
    pub id: RemoteId,
    /// Its generation when it was last in agreement.
    pub generation: u64,
    /// The SHA-256 of its manifest then.
    pub manifest_sha256: String,
    /// The manifest then, as it was read.
    pub manifest: String,
    /// What the head was known by: a token's name or a version.
    pub head: String,
    /// What its heads named then for which the manifest has no use any more.
    #[serde(default)]
    pub outdone: BTreeSet<String>,
    /// When that was, in milliseconds since 1970 by this device's clock.
    pub synced_ms: i64,
}

/// How many commits are remembered as tried: a remote that came back from a backup may name an old one.
const TRIED_MAX: usize = 256;

/// Why the last turn with a remote did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What happened, as it was told.
    pub message: String,
    /// Whether the same turn may succeed a little later.
    pub is_temporary: bool,
    /// When that was, in milliseconds since 1970.
    pub since_ms: i64,
}

/// That the remote went back or was forked, which a turn has healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// What happened, as it was told.
    pub message: String,
    /// When a turn found it, in milliseconds since 1970 by this device's clock.
    pub at_ms: i64,
}

/// What was agreed and has not been there for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// What is missing, as it was told.
    pub what: String,
    /// Since when nothing of it came, in milliseconds since 1970 by this device's clock.
    pub since_ms: i64,
}

/// A remote that the vault belongs to, from the day it was connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Which remote.
    pub id: RemoteId,
    /// How commits are made there.
    pub commit_mode: String,
}

/// What other tables call a remote.
pub(super) type Number = i64;

impl Store {
    /// The remotes this vault belongs to, in the order in which it was bound to them.
    pub fn bindings(&self) -> Result<Vec<Binding>> {
        let sql = "SELECT value FROM remote_note WHERE key = 'binding' ORDER BY remote";
        let mut statement = self.connection.prepare_cached(sql)?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
        texts.map(|text| from_json("binding", text?.as_bytes())).collect()
    }

    /// The remote that is looked at.
    pub fn binding(&self) -> Result<Option<Binding>> {
        self.note("binding")
    }

    /// Looks at another remote from now on; says whether the vault belongs to it.
    pub fn look_at(&mut self, id: &RemoteId) -> Result<bool> {
        let number = number_of(&self.connection, id)?;
        self.remote = number.or(self.remote);
        Ok(number.is_some())
    }

    /// Binds the vault to a remote and looks at it. Of one that is new nothing is known: not that it
    /// holds anything.
    pub fn bind(&mut self, binding: &Binding) -> Result<()> {
        let number = self.transact(|connection| {
            let known = number_of(connection, &binding.id)?;
            let number = match known {
                Some(number) => number,
                None => add(connection, &binding.id)?,
            };
            set_note(connection, Some(number), "binding", binding)?;
            Ok(number)
        })?;
        self.remote = Some(number);
        Ok(())
    }

    /// Whether it was kept that a remote of the vault is encrypted.
    pub fn is_encrypted(&self, id: &RemoteId) -> Result<bool> {
        let number = number_of(&self.connection, id)?;
        Ok(get_note(&self.connection, number, "encrypted")?.unwrap_or(false))
    }

    /// Keeps that a remote of the vault is encrypted.
    pub fn set_encrypted(&mut self, id: &RemoteId) -> Result<()> {
        let number = number_of(&self.connection, id)?;
        self.transact(|connection| set_note(connection, number, "encrypted", &true))
    }

    /// Forgets a remote and everything that is known of it but the commits tried there; says whether the vault belonged to it.
    pub fn unbind(&mut self, id: &RemoteId) -> Result<bool> {
        let Some(number) = number_of(&self.connection, id)? else { return Ok(false) };
        self.transact(|connection| {
            // Should it be joined again, this device's last commit there is still its own.
            if let Some(tried) = get_note::<Vec<String>>(connection, Some(number), "tried")? {
                replica::set(connection, &tried_of(id), &tried)?;
            }
            for table in ["remote_note", "behind", "held_blob", "owed_blob", "sent_blob"] {
                connection.execute(&format!("DELETE FROM {table} WHERE remote = ?1"), [number])?;
            }
            connection.execute("DELETE FROM unnamed_file WHERE remote = ?1", [number])?;
            // The days in the trash were counted by the clock of a storage, maybe of this one's.
            connection.execute("UPDATE entity SET deleted_ms = NULL", [])?;
            connection.execute("DELETE FROM remote WHERE number = ?1", [number])?;
            Ok(())
        })?;
        self.remote = first(&self.connection)?;
        Ok(true)
    }

    /// What is remembered of the remote.
    pub fn remote_mark(&self) -> Result<Option<RemoteMark>> {
        self.note("remote")
    }

    /// Whether the replica was ever in agreement with the remote.
    pub fn has_agreed(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM remote_note WHERE remote = ?1 AND key = 'remote')";
        Ok(self.connection.prepare_cached(sql)?.query_row([self.remote], |row| row.get(0))?)
    }

    /// What any remote knew when it was last in agreement, each as its manifest said it.
    pub fn manifests(&self) -> Result<Vec<String>> {
        let sql = "SELECT value FROM remote_note WHERE key = 'remote' ORDER BY remote";
        let mut statement = self.connection.prepare_cached(sql)?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mark = |text: rusqlite::Result<String>| from_json("remote", text?.as_bytes());
        texts.map(|text| mark(text).map(|mark: RemoteMark| mark.manifest)).collect()
    }

    /// Why the last turn with the remote did not come to its end; nothing if it did.
    pub fn trouble(&self) -> Result<Option<Trouble>> {
        Ok(self.note("trouble")?.flatten())
    }

    /// Keeps why a turn did not come to its end, or that one did.
    pub fn set_trouble(&mut self, trouble: Option<&Trouble>) -> Result<()> {
        self.set_note("trouble", &trouble)
    }

    /// What was last healed on the remote.
    pub fn healed(&self) -> Result<Option<Healed>> {
        self.note("healed")
    }

    /// Keeps what a turn has healed.
    pub fn set_healed(&mut self, healed: &Healed) -> Result<()> {
        self.set_note("healed", healed)
    }

    /// The data files that were read whole while others of the same turn have yet to be: a turn that
    /// was cut short goes on where it was.
    pub fn files_read(&self) -> Result<BTreeSet<String>> {
        Ok(self.note("files_read")?.unwrap_or_default())
    }

    /// Keeps which data files were read whole.
    pub fn set_files_read(&mut self, files: &BTreeSet<String>) -> Result<()> {
        self.set_note("files_read", files)
    }

    /// The ids of the last commits that this replica tried to make.
    pub fn tried(&self) -> Result<Vec<String>> {
        Ok(self.note("tried")?.unwrap_or_default())
    }

    /// Keeps that a commit is about to be tried. Until it is known what came of it the head may be
    /// anything: what it was known by is forgotten.
    pub fn note_try(&mut self, id: &str) -> Result<()> {
        let mut tried = self.tried()?;
        tried.push(id.to_owned());
        tried.drain(..tried.len().saturating_sub(TRIED_MAX));
        let (mark, remote) = (self.remote_mark()?, self.remote);
        self.transact(|connection| {
            if let Some(mark) = mark {
                let mark = RemoteMark { head: String::new(), ..mark };
                set_note(connection, remote, "remote", &mark)?;
            }
            set_note(connection, remote, "tried", &tried)
        })
    }

    /// When this device last looked whether all that the heads name is there, in milliseconds since 1970
    /// by its clock.
    pub fn looked_ms(&self) -> Result<Option<i64>> {
        Ok(self.note("looked_ms")?.flatten())
    }

    /// Keeps when it looked; nothing has it look in the next turn.
    pub fn set_looked_ms(&mut self, looked_ms: Option<i64>) -> Result<()> {
        self.set_note("looked_ms", &looked_ms)
    }

    /// What the replica waits for, if it does.
    pub fn awaited(&self) -> Result<Option<Awaited>> {
        Ok(self.note("awaited")?.flatten())
    }

    /// Keeps what the replica waits for.
    pub fn set_awaited(&mut self, awaited: Option<&Awaited>) -> Result<()> {
        self.set_note("awaited", &awaited)
    }

    /// How many files the vault had before a turn that was begun and has not come to its end.
    pub fn files_before(&self) -> Result<Option<usize>> {
        Ok(self.note("files_before")?.flatten())
    }

    /// Keeps how many files the vault has before a turn is begun; nothing when it came to its end.
    pub fn set_files_before(&mut self, files: Option<usize>) -> Result<()> {
        self.set_note("files_before", &files)
    }

    /// Whether a turn with another remote was begun and has not come to its end.
    pub fn is_cut_elsewhere(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM remote_note
                   WHERE key = 'files_before' AND value <> 'null' AND remote <> ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([self.remote], |row| row.get(0))?)
    }

    fn note<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        get_note(&self.connection, self.remote, key)
    }

    fn set_note<T: Serialize>(&mut self, key: &str, value: &T) -> Result<()> {
        let remote = self.remote;
        self.transact(|connection| set_note(connection, remote, key, value))
    }
}

/// The remote that the vault was bound to first.
pub(super) fn first(connection: &Connection) -> Result<Option<Number>> {
    Ok(connection.query_row("SELECT min(number) FROM remote", [], |row| row.get(0))?)
}

/// All remotes but this one.
pub(super) fn others(connection: &Connection, but: Option<Number>) -> Result<Vec<Number>> {
    let sql = "SELECT number FROM remote WHERE number IS NOT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let numbers = statement.query_map([but], |row| row.get(0))?;
    Ok(numbers.collect::<rusqlite::Result<_>>()?)
}

fn number_of(connection: &Connection, id: &RemoteId) -> Result<Option<Number>> {
    let sql = "SELECT number FROM remote WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([id.as_str()], |row| row.get(0)).optional()?)
}

fn add(connection: &Transaction<'_>, id: &RemoteId) -> Result<Number> {
    connection.execute("INSERT INTO remote (id) VALUES (?1)", [id.as_str()])?;
    let number = connection.last_insert_rowid();
    let sql = "INSERT INTO behind (remote, entity, state) SELECT ?1, id, NULL FROM entity";
    connection.execute(sql, [number])?;
    if let Some(tried) = replica::get::<Vec<String>>(connection, &tried_of(id))? {
        set_note(connection, Some(number), "tried", &tried)?;
        connection.execute("DELETE FROM replica WHERE key = ?1", [tried_of(id)])?;
    }
    Ok(number)
}

/// Under which key it is kept which commits were tried on a remote that was removed.
fn tried_of(id: &RemoteId) -> String {
    format!("tried on {id}")
}

fn get_note<T: DeserializeOwned>(
    connection: &Connection,
    remote: Option<Number>,
    key: &str,
) -> Result<Option<T>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM remote_note WHERE remote = ?1 AND key = ?2")?
        .query_row(params![remote, key], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(key, text.as_bytes())).transpose()
}

/// Keeps something of a remote; of none there is nothing to be kept.
fn set_note<T: Serialize>(
    connection: &Connection,
    remote: Option<Number>,
    key: &str,
    value: &T,
) -> Result<()> {
    let Some(remote) = remote else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO remote_note (remote, key, value) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![remote, key, as_text(value)?])?;
    Ok(())
}

/// Has every head read anew, and everything that was read of it.
pub(super) fn forget_heads(connection: &Connection) -> Result<()> {
    for remote in others(connection, None)? {
        if let Some(mark) = get_note::<RemoteMark>(connection, Some(remote), "remote")? {
            let mark = RemoteMark { head: String::new(), ..mark };
            set_note(connection, Some(remote), "remote", &mark)?;
        }
        set_note(connection, Some(remote), "files_read", &BTreeSet::<String>::new())?;
    }
    Ok(())
}

/// Keeps the mark of a remote.
pub(super) fn set_mark(connection: &Connection, mark: &RemoteMark) -> Result<()> {
    match number_of(connection, &mark.id)? {
        Some(number) => set_note(connection, Some(number), "remote", mark),
        None => Err(corrupt("the mark of a remote", format!("{} is none of them", mark.id))),
    }
}
