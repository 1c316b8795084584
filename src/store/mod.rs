//! The replica: a vault's state on this device, in SQLite. The only user of rusqlite.

mod agreed;
mod blobs;
mod changes;
mod conflicts;
mod files;
mod history;
mod records;
mod remotes;
mod replica;
mod salvage;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs,
    io::ErrorKind::PermissionDenied,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, ErrorCode, Transaction,
    backup::{Backup, StepResult},
    config::DbConfig,
};

pub use blobs::NamedBlob;
pub use changes::Span;
pub use conflicts::StoredConflict;
pub use files::{FileRow, Intent};
pub use history::Past;
pub use records::Decided;
pub use remotes::{Awaited, Binding, Healed, RemoteMark, Trouble};
pub use replica::{Replica, StoredRules};
pub use salvage::Salvaged;

/// The result of a call on the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the replica could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite failed.
    #[error("the replica's database failed: {0}")]
    Sqlite(rusqlite::Error),
    /// The system does not let us read or write the database, or what belongs to it.
    #[error(
        "{}: no permission; make replica.db, replica.db-wal and replica.db-shm readable and writable, \
         as far as they are there, and their folder",
        path.display()
    )]
    Forbidden {
        /// The file in question.
        path: PathBuf,
    },
    /// There is no room for the database; it is as it was before.
    #[error("the disk is full: the replica's database could not be written")]
    Full,
    /// A row holds something else than larder wrote.
    #[error("the replica's database is damaged: {what} does not read: {detail}")]
    Corrupt {
        /// Which row.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The database has a form that this program does not know.
    #[error(
        "the replica was made by a newer larder (form {version}, this one knows {known}); \
         update larder on this device"
    )]
    TooNew {
        /// The database's form.
        version: usize,
        /// The newest form known here.
        known: usize,
    },
    /// A test stopped the store before a commit.
    #[error("the store was stopped before a commit, by a test")]
    Stopped,
}

impl StoreError {
    /// Whether the database is not what larder and SQLite have written.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            Self::Corrupt { .. } => true,
            Self::Full | Self::Forbidden { .. } | Self::TooNew { .. } | Self::Stopped => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}

/// Asked before each commit; `false` stops the store there as a crash would.
pub type CommitGate = Box<dyn FnMut() -> bool + Send>;

/// A vault's state on this device.
pub struct Store {
    connection: Connection,
    file: Option<PathBuf>,
    gate: Option<CommitGate>,
    /// The remote that is looked at; none before the vault belongs to one.
    remote: Option<remotes::Number>,
}

impl Store {
    /// Opens the database at `path` or makes it, and brings it to the current form.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = Connection::open(path).map_err(StoreError::from);
        let opened = opened.and_then(|connection| Self::set_up(connection, Some(path.to_owned())));
        opened.map_err(|error| match error {
            StoreError::Sqlite(error) if is_forbidden(path, &error) => {
                StoreError::Forbidden { path: path.to_owned() }
            }
            error => error,
        })
    }

    /// A store that lives in memory, for tests. It is a copy of one that each thread makes once: to make
    /// the tables takes as long as a short story of the simulation.
    pub fn in_memory() -> Result<Self> {
        thread_local! {
            static EMPTY: Result<Store> = Connection::open_in_memory()
                .map_err(StoreError::from)
                .and_then(|connection| Store::set_up(connection, None));
        }
        let mut connection = Connection::open_in_memory()?;
        EMPTY.with(|empty| match empty {
            Ok(empty) => Ok(Backup::new(&empty.connection, &mut connection)?.step(-1)?),
            // Then it cannot be made without it either, and says why.
            Err(_) => Ok::<_, StoreError>(StepResult::Done),
        })?;
        Self::set_up(connection, None)
    }

    fn set_up(mut connection: Connection, file: Option<PathBuf>) -> Result<Self> {
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        // Of a new database: some notes to a page, where in SQLite's own 4096 bytes there is one.
        connection.pragma_update(None, "page_size", 8192)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // An edit is sent under the dot that was written here: the dot must survive a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        // Otherwise a statement on a table with partial indexes is compiled again at each call, in
        // case its arguments recommend another index.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // Room for all statements that there are: a turn compiles none twice.
        connection.set_prepared_statement_cache_capacity(96);
        schema::migrate(&mut connection, file.as_deref())?;
        let remote = remotes::first(&connection)?;
        Ok(Self { connection, file, gate: None, remote })
    }

    /// Where the database lies, if it lies in a file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Has `gate` asked before each commit from now on.
    pub fn set_commit_gate(&mut self, gate: CommitGate) {
        self.gate = Some(gate);
    }

    /// Runs `work` in one transaction: all of it is kept, or nothing.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let transaction = self.connection.transaction()?;
        let value = work(&transaction)?;
        if self.gate.as_mut().is_some_and(|gate| !gate()) {
            return Err(StoreError::Stopped);
        }
        transaction.commit()?;
        Ok(value)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.file).finish_non_exhaustive()
    }
}

fn is_forbidden(path: &Path, error: &rusqlite::Error) -> bool {
    let may_read =
        || fs::File::open(path).err().is_none_or(|error| error.kind() != PermissionDenied);
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => true,
        Some(ErrorCode::CannotOpen) => !may_read(),
        _ => false,
    }
}

fn corrupt(what: impl Into<String>, detail: impl fmt::Display) -> StoreError {
    StoreError::Corrupt { what: what.into(), detail: detail.to_string() }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| corrupt("a value to be written", error))
}

fn from_json<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(what, error))
}

/// SQLite has signed numbers only; larder's counters never come near the sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
