//! What the replica knows of itself.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Result, Store, from_json, to_json};
use crate::model::{DeviceId, Stamp, VersionVector};

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

/// The rules by which types and deletions were last judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRules {
    /// The digest of the file they came from.
    pub digest: String,
    /// The file's text.
    pub text: String,
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

    /// When the vault was last scanned, in milliseconds since 1970.
    pub fn last_scan_ms(&self) -> Result<i64> {
        Ok(get(&self.connection, "last_scan_ms")?.unwrap_or(0))
    }

    /// Keeps when the vault was last scanned.
    pub fn set_last_scan_ms(&mut self, scanned_ms: i64) -> Result<()> {
        self.transact(|connection| set(connection, "last_scan_ms", &scanned_ms))
    }

    /// The latest that was noted of what the clocks of storages say, in milliseconds since 1970.
    pub fn told_ms(&self) -> Result<Option<i64>> {
        get(&self.connection, "told_ms")
    }

    /// Notes what a storage's clock says.
    pub fn set_told_ms(&mut self, told_ms: i64) -> Result<()> {
        self.transact(|connection| set(connection, "told_ms", &told_ms))
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
    connection
        .prepare_cached("INSERT OR REPLACE INTO replica (key, value) VALUES (?1, ?2)")?
        .execute(params![key, as_text(value)?])?;
    Ok(())
}

pub(super) fn as_text<T: Serialize>(value: &T) -> Result<String> {
    Ok(String::from_utf8_lossy(&to_json(value)?).into_owned())
}
