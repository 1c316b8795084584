//! The scan's memory of the vault, and what was about to be done to it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Result, Store, corrupt, records::entity_id, signed, unsigned};
use crate::model::{Books, ContentHash, EntityId, FileStat, KnownFile, VaultPath};

/// A file of the vault, as the books have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Where it lies.
    pub path: VaultPath,
    /// Whose file it is.
    pub entity: EntityId,
    /// What it was when it was last read or written.
    pub known: KnownFile,
}

/// Something about to be done to a file: after a crash the next scan knows its own work by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Which file.
    pub path: VaultPath,
    /// Whose file it is.
    pub entity: EntityId,
    /// The SHA-256 of what it is to hold; nothing if it is to go.
    pub sha256: Option<String>,
    /// The temporary file that waits for the place, or that took it if it is gone by now; nothing
    /// before there is one, and after the place was refused to it.
    pub temp: Option<String>,
}

/// What a row of a file is read from.
const COLUMNS: &str = "path, entity, size, mtime_ns, ctime_ns, inode, sha256";

impl Store {
    /// Every file of the vault that is known.
    pub fn files(&self) -> Result<Books> {
        let mut books = Books::with_capacity(self.file_count()?);
        let sql = format!("SELECT {COLUMNS} FROM file ORDER BY path");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // Every turn reads all of them: nothing is copied before it is in its place.
            let (path, entity) = (text(row, 0)?, text(row, 1)?);
            if !books.enter_read(path, entity, known(row)?) {
                // Says what is wrong with it.
                let file = read_row(row)?;
                books.enter(&file.path, &file.entity, file.known);
            }
        }
        Ok(books)
    }

    /// One file of the vault, if it is known.
    pub fn file_at(&self, path: &VaultPath) -> Result<Option<FileRow>> {
        let sql = format!("SELECT {COLUMNS} FROM file WHERE path = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_row([path.as_str()], |row| Ok(read_row(row))).optional()?.transpose()
    }

    /// How many files of the vault are known.
    fn file_count(&self) -> Result<usize> {
        let mut statement = self.connection.prepare_cached("SELECT count(*) FROM file")?;
        let count: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// What was about to be done to the vault when a turn was cut short.
    pub fn intents(&self) -> Result<Vec<Intent>> {
        let sql = "SELECT path, entity, sha256, temp FROM intent ORDER BY path";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut intents = Vec::new();
        while let Some(row) = rows.next()? {
            intents.push(Intent {
                path: vault_path(&row.get::<_, String>(0)?)?,
                entity: entity_id(row.get(1)?)?,
                sha256: row.get(2)?,
                temp: row.get(3)?,
            });
        }
        Ok(intents)
    }

    /// Keeps which temporary files wait for which places; nothing: none does any more.
    pub fn keep_waiting(&mut self, waiting: &[(&VaultPath, Option<&str>)]) -> Result<()> {
        self.transact(|connection| {
            let sql = "UPDATE intent SET temp = ?2 WHERE path = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            for (path, temp) in waiting {
                statement.execute(params![path.as_str(), temp])?;
            }
            Ok(())
        })
    }

    /// Keeps what was done to the vault: files written, files removed, and the records whose file
    /// now shows their state. Nothing is about to be done any more.
    pub fn settle_files(
        &mut self,
        written: &[FileRow],
        removed: &[VaultPath],
        settled: &[EntityId],
    ) -> Result<()> {
        let sql = "UPDATE entity SET pending = 0, shown_state = NULL WHERE id = ?1";
        self.enter_files(written, removed, settled, sql)
    }

    /// Keeps what a turn that was cut short had done to the vault. The records stay marked; of
    /// those in `shows` the file was written.
    pub fn recover_files(
        &mut self,
        written: &[FileRow],
        removed: &[VaultPath],
        shows: &[EntityId],
    ) -> Result<()> {
        let sql = "UPDATE entity SET shown_state = NULL WHERE id = ?1";
        self.enter_files(written, removed, shows, sql)
    }

    fn enter_files(
        &mut self,
        written: &[FileRow],
        removed: &[VaultPath],
        ids: &[EntityId],
        update: &str,
    ) -> Result<()> {
        self.transact(|connection| {
            for path in removed {
                forget(connection, path)?;
            }
            for file in written {
                remember(connection, file)?;
            }
            let mut statement = connection.prepare_cached(update)?;
            for id in ids {
                statement.execute([id.as_str()])?;
            }
            connection.prepare_cached("DELETE FROM intent")?.execute([])?;
            Ok(())
        })
    }

    /// Brings the books of files that only moved in time up to date.
    pub fn touch_files(&mut self, touched: &[FileRow]) -> Result<()> {
        self.transact(|connection| touched.iter().try_for_each(|file| remember(connection, file)))
    }
}

pub(super) fn remember(connection: &Connection, file: &FileRow) -> Result<()> {
    let stat = &file.known.stat;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO file (path, entity, size, mtime_ns, ctime_ns, inode, sha256)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            file.path.as_str(),
            file.entity.as_str(),
            signed(stat.size),
            stat.mtime_ns,
            stat.ctime_ns,
            signed(stat.inode),
            file.known.sha256.to_string(),
        ])?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, path: &VaultPath) -> Result<()> {
    connection.prepare_cached("DELETE FROM file WHERE path = ?1")?.execute([path.as_str()])?;
    Ok(())
}

pub(super) fn intend(connection: &Connection, intent: &Intent) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO intent (path, entity, sha256, temp) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            intent.path.as_str(),
            intent.entity.as_str(),
            intent.sha256,
            intent.temp,
        ])?;
    Ok(())
}

pub(super) fn vault_path(text: &str) -> Result<VaultPath> {
    VaultPath::new(text).map_err(|error| corrupt(format!("the path {text:?}"), error))
}

pub(super) fn read_row(row: &Row<'_>) -> Result<FileRow> {
    let entity = entity_id(text(row, 1)?.to_owned())?;
    Ok(FileRow { path: vault_path(text(row, 0)?)?, entity, known: known(row)? })
}

fn known(row: &Row<'_>) -> Result<KnownFile> {
    let stat = FileStat {
        size: unsigned(row.get(2)?),
        mtime_ns: row.get(3)?,
        ctime_ns: row.get(4)?,
        inode: unsigned(row.get(5)?),
    };
    let sha256 = text(row, 6)?;
    let sha256 = ContentHash::parse(sha256).ok_or_else(|| {
        let path = text(row, 0).unwrap_or_default();
        corrupt(format!("the row of {path}"), format!("{sha256:?} is no digest"))
    })?;
    Ok(KnownFile { stat, sha256 })
}

/// A column as it lies in the page.
fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}
