//! What the replica knows of itself and of its remote.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Result, Store, from_json, to_json};
use crate::model::{DeviceId, RemoteId, Stamp, VersionVector};

/// What the replica knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// This life of this replica.
    pub device: DeviceId,
    /// The counter of its last edit.
    pub counter: u64,
    /// Its highest edit that was ever about to be sent. A remote that knows a higher one has met
    /// another life of this replica.
    pub attempted: u64,
    /// The latest stamp made or believed.
    pub last_stamp: Stamp,
    /// The edits it holds, of each device all up to some counter.
    pub knows: VersionVector,
    /// What the database's file is known by, to notice that it was copied or restored.
    pub body: Option<String>,
}

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
    /// When that was, in milliseconds since 1970 by this device's clock.
    pub synced_ms: i64,
}

/// How many commits are remembered as tried: a remote that came back from a backup may name an old one.
const TRIED_MAX: usize = 256;

/// Why the last turn did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What happened, as it was told.
    pub message: String,
    /// Whether the same turn may succeed a little later.
    pub is_temporary: bool,
    /// When that was, in milliseconds since 1970.
    pub since_ms: i64,
}

/// What was agreed and has not been there for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// What is missing, as it was told.
    pub what: String,
    /// Since when nothing of it came, in milliseconds since 1970 by this device's clock.
    pub since_ms: i64,
}

/// The rules by which types and deletions were last judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRules {
    /// The digest of the file they came from.
    pub digest: String,
    /// The file's text.
    pub text: String,
}

/// Which remote the vault belongs to, from the day it was connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Which remote.
    pub id: RemoteId,
    /// How commits are made there.
    pub commit_mode: String,
}

impl Store {
    /// What the replica knows of itself; nothing before its first use.
    pub fn replica(&self) -> Result<Option<Replica>> {
        get(&self.connection, "replica")
    }

    /// Keeps what the replica knows of itself.
    pub fn set_replica(&mut self, replica: &Replica) -> Result<()> {
        self.transact(|connection| set(connection, "replica", replica))
    }

    /// What is remembered of the remote.
    pub fn remote_mark(&self) -> Result<Option<RemoteMark>> {
        get(&self.connection, "remote")
    }

    /// Why the last turn did not come to its end; nothing if it did.
    pub fn trouble(&self) -> Result<Option<Trouble>> {
        Ok(get(&self.connection, "trouble")?.flatten())
    }

    /// Keeps why a turn did not come to its end, or that one did.
    pub fn set_trouble(&mut self, trouble: Option<&Trouble>) -> Result<()> {
        self.transact(|connection| set(connection, "trouble", &trouble))
    }

    /// The remote this vault belongs to.
    pub fn binding(&self) -> Result<Option<Binding>> {
        get(&self.connection, "binding")
    }

    /// Binds the vault to a remote.
    pub fn bind(&mut self, binding: &Binding) -> Result<()> {
        self.transact(|connection| set(connection, "binding", binding))
    }

    /// When the vault was last scanned, in milliseconds since 1970.
    pub fn last_scan_ms(&self) -> Result<i64> {
        Ok(get(&self.connection, "last_scan_ms")?.unwrap_or(0))
    }

    /// Keeps when the vault was last scanned.
    pub fn set_last_scan_ms(&mut self, scanned_ms: i64) -> Result<()> {
        self.transact(|connection| set(connection, "last_scan_ms", &scanned_ms))
    }

    /// The data files that were read whole while others of the same turn have yet to be: a turn that
    /// was cut short goes on where it was.
    pub fn files_read(&self) -> Result<BTreeSet<String>> {
        Ok(get(&self.connection, "files_read")?.unwrap_or_default())
    }

    /// Keeps which data files were read whole.
    pub fn set_files_read(&mut self, files: &BTreeSet<String>) -> Result<()> {
        self.transact(|connection| set(connection, "files_read", files))
    }

    /// The ids of the last commits that this replica tried to make.
    pub fn tried(&self) -> Result<Vec<String>> {
        Ok(get(&self.connection, "tried")?.unwrap_or_default())
    }

    /// Keeps that a commit is about to be tried. Until it is known what came of it the head may be
    /// anything: what it was known by is forgotten.
    pub fn note_try(&mut self, id: &str) -> Result<()> {
        let mut tried = self.tried()?;
        tried.push(id.to_owned());
        tried.drain(..tried.len().saturating_sub(TRIED_MAX));
        let mark = self.remote_mark()?;
        self.transact(|connection| {
            if let Some(mark) = mark {
                set(connection, "remote", &RemoteMark { head: String::new(), ..mark })?;
            }
            set(connection, "tried", &tried)
        })
    }

    /// When this device last looked whether all that the heads name is there, in milliseconds since 1970
    /// by its clock.
    pub fn looked_ms(&self) -> Result<Option<i64>> {
        Ok(get(&self.connection, "looked_ms")?.flatten())
    }

    /// Keeps when it looked; nothing has it look in the next turn.
    pub fn set_looked_ms(&mut self, looked_ms: Option<i64>) -> Result<()> {
        self.transact(|connection| set(connection, "looked_ms", &looked_ms))
    }

    /// What the replica waits for, if it does.
    pub fn awaited(&self) -> Result<Option<Awaited>> {
        Ok(get(&self.connection, "awaited")?.flatten())
    }

    /// Keeps what the replica waits for.
    pub fn set_awaited(&mut self, awaited: Option<&Awaited>) -> Result<()> {
        self.transact(|connection| set(connection, "awaited", &awaited))
    }

    /// How many files the vault had before a turn that was begun and has not come to its end.
    pub fn files_before(&self) -> Result<Option<usize>> {
        Ok(get(&self.connection, "files_before")?.flatten())
    }

    /// Keeps how many files the vault has before a turn is begun; nothing when it came to its end.
    pub fn set_files_before(&mut self, files: Option<usize>) -> Result<()> {
        self.transact(|connection| set(connection, "files_before", &files))
    }

    /// The rules by which types and deletions were last judged.
    pub fn rules(&self) -> Result<Option<StoredRules>> {
        get(&self.connection, "rules")
    }
}

pub(super) fn get<T: DeserializeOwned>(connection: &Connection, key: &str) -> Result<Option<T>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM replica WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(key, text.as_bytes())).transpose()
}

pub(super) fn set<T: Serialize>(connection: &Connection, key: &str, value: &T) -> Result<()> {
    let text = String::from_utf8_lossy(&to_json(value)?).into_owned();
    connection
        .prepare_cached("INSERT OR REPLACE INTO replica (key, value) VALUES (?1, ?2)")?
        .execute(params![key, text])?;
    Ok(())
}
