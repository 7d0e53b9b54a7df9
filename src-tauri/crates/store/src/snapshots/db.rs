//! The connection to `snapshots.db`: its schema, its settings, and what its errors mean.
//! Everything that speaks SQL to this file goes through [`Db::read`] and [`Db::change`], so that no
//! error of the cache is ever told as one of the history.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::StoreError;
use crate::error::is_disk_full;

/// `RPSN`: tells this file from any other SQLite database, and from `history.db`.
pub(crate) const APPLICATION_ID: u32 = 0x5250_534E;

/// The only version that is read; a file of another one is started over.
pub(crate) const VERSION: u32 = 2;

/// Bytes of a page. Large, because the rows that matter are.
pub(crate) const PAGE_BYTES: u64 = 65_536;

/// `chunk_data` is apart from `chunks` so that counting references does not rewrite the bytes, and
/// `manifests` from `snapshots` so that looking for one does not read the descriptions of all.
pub(crate) const SCHEMA: &str = "
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    -- How many snapshots hold it: rows of snapshot_chunks.
    refs INTEGER NOT NULL
);
CREATE INDEX chunks_orphaned ON chunks (id) WHERE refs = 0;
CREATE TABLE chunk_data (
    id INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);
CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    conversation TEXT NOT NULL,
    node TEXT NOT NULL,
    identity BLOB NOT NULL,
    prefix BLOB NOT NULL,
    n_tokens INTEGER NOT NULL,
    key_name BLOB NOT NULL,
    tag BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    state TEXT NOT NULL,
    why TEXT,
    pinned INTEGER NOT NULL
);
CREATE INDEX snapshots_by_conversation ON snapshots (conversation, last_used);
CREATE INDEX snapshots_by_prefix ON snapshots (prefix, last_used);
CREATE TABLE manifests (
    seq INTEGER PRIMARY KEY,
    manifest BLOB NOT NULL
);
CREATE TABLE snapshot_tokens (
    seq INTEGER PRIMARY KEY,
    -- Four bytes each, little endian.
    tokens BLOB NOT NULL
);
CREATE TABLE snapshot_chunks (
    seq INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    PRIMARY KEY (seq, chunk)
) WITHOUT ROWID;
CREATE TABLE file_hashes (
    path BLOB PRIMARY KEY,
    stamp BLOB NOT NULL,
    hash BLOB NOT NULL,
    tag BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    tag BLOB NOT NULL
) WITHOUT ROWID;
";

/// How long to wait for another connection's lock. The writer holds it for milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages kept in memory, in KiB. The pieces themselves pass through once; more would not help.
const CACHE_KIB: i64 = 8 * 1024;

/// Pages that the journal gathers before they are moved into the file: 16 MiB.
const CHECKPOINT_PAGES: i64 = 256;

/// What went wrong inside a [`Db`] operation.
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An open `snapshots.db`.
#[derive(Debug)]
pub(crate) struct Db {
    conn: Connection,
    path: PathBuf,
    /// Whether there is no file, so that nothing can be kept.
    absent: bool,
}

impl Db {
    /// Opens an existing file for writing.
    pub(crate) fn open_writing(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(|error| explain(path, &error))?;
        let db = Self { conn, path: path.to_owned(), absent: false };
        // Where the file itself may not be written, SQLite opens it for reading and says nothing.
        if db.read(|conn| Ok(conn.is_readonly(rusqlite::MAIN_DB)?))? {
            return Err(StoreError::ReadOnly { path: path.to_owned(), source: None });
        }
        db.configure()?;
        db.read(|conn| {
            conn.pragma_update(None, "journal_mode", "WAL")?;
            conn.pragma_update(None, "synchronous", "NORMAL")?;
            // Deleted rows are overwritten where their page is written anyway. Whole pages are given
            // back to the disk instead when something is erased.
            conn.query_row("PRAGMA secure_delete = FAST", [], |_| Ok(()))?;
            conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            conn.pragma_update(None, "journal_size_limit", 2 * CHECKPOINT_PAGES * PAGE_BYTES.cast_signed())?;
            Ok(())
        })?;
        Ok(db)
    }

    /// Opens an existing file for reading, beside a writer.
    pub(crate) fn open_reading(path: &Path) -> Result<Self, StoreError> {
        let conn = crate::schema::open_reading(path).map_err(|error| match error {
            error @ StoreError::ReadOnly { .. } => error,
            StoreError::DiskFull => StoreError::SnapshotsFull { budget_shrunk: None },
            error => StoreError::Snapshots {
                damaged: matches!(error, StoreError::Damaged { .. }),
                detail: error.to_string(),
            },
        })?;
        let db = Self { conn, path: path.to_owned(), absent: false };
        db.configure()?;
        db.read(|conn| Ok(conn.pragma_update(None, "query_only", true)?))?;
        Ok(db)
    }

    /// An empty database in memory, for reading where there is no file at `path`.
    pub(crate) fn absent(path: &Path) -> Result<Self, StoreError> {
        let conn = Connection::open_in_memory().map_err(|error| explain(path, &error))?;
        let db = Self { conn, path: path.to_owned(), absent: true };
        db.read(|conn| {
            conn.execute_batch(SCHEMA)?;
            Ok(conn.pragma_update(None, "query_only", true)?)
        })?;
        Ok(db)
    }

    /// Whether it stands for a file that is not there.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent
    }

    /// Fills an empty file with the schema.
    pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
        let conn = Connection::open(path).map_err(|error| explain(path, &error))?;
        let fill = || {
            // Both count only before the first table is made.
            conn.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
            conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            conn.pragma_update(None, "journal_mode", "WAL")?;
            let versions =
                format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
            conn.execute_batch(&format!("BEGIN;{SCHEMA}{versions}COMMIT;"))
        };
        fill().map_err(|error| explain(path, &error))?;
        conn.close().map_err(|(_, error)| explain(path, &error))
    }

    fn configure(&self) -> Result<(), StoreError> {
        self.read(|conn| {
            conn.busy_timeout(BUSY_TIMEOUT)?;
            conn.set_prepared_statement_cache_capacity(64);
            // The file is not trusted: its schema runs nothing, and cannot be rewritten.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            conn.pragma_update(None, "cell_size_check", true)?;
            conn.pragma_update(None, "temp_store", "MEMORY")?;
            conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
            Ok(())
        })
    }

    /// Runs statements that stand for themselves.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        read(&self.conn).map_err(|fault| self.explain(fault))
    }

    /// Runs `change` in one transaction: all of it happened, or none of it.
    pub(crate) fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let run = || {
            // Immediate: waits for the lock at the start, where the busy timeout still applies.
            let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|fault| self.explain(fault))
    }

    fn explain(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Store(error) => error,
            Fault::Sql(error) => explain(&self.path, &error),
        }
    }

    /// Bytes of the file that hold something, the journal not counted.
    pub(crate) fn used_bytes(&self) -> Result<u64, StoreError> {
        Ok((self.pages("page_count")? - self.free_pages()?) * PAGE_BYTES)
    }

    /// Pages of the file that hold nothing.
    pub(crate) fn free_pages(&self) -> Result<u64, StoreError> {
        self.pages("freelist_count")
    }

    fn pages(&self, pragma: &str) -> Result<u64, StoreError> {
        self.read(|conn| {
            let pages: i64 = conn.pragma_query_value(None, pragma, |row| row.get(0))?;
            Ok(pages.cast_unsigned())
        })
    }

    /// Gives up to `pages` unused pages back to the disk.
    pub(crate) fn vacuum(&self, pages: u64) -> Result<(), StoreError> {
        self.read(|conn| {
            // One step frees one page; the statement has to be run to its end.
            let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        })
    }

    /// Moves the journal into the file and cuts it to nothing. False where a reader is in the way.
    pub(crate) fn empty_journal(&self, patience: Duration) -> Result<bool, StoreError> {
        let result = self.read(|conn| {
            conn.busy_timeout(patience)?;
            Ok(conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))?)
        });
        self.read(|conn| Ok(conn.busy_timeout(BUSY_TIMEOUT)?))?;
        Ok(!result?)
    }
}

/// What an error of SQLite means for the cache.
fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::Error as E;
    let detail = error.to_string();
    let damaged = match error {
        E::SqliteFailure(failure, _) => match failure.code {
            _ if is_disk_full(*failure) => return StoreError::SnapshotsFull { budget_shrunk: None },
            ErrorCode::ReadOnly => return StoreError::ReadOnly { path: path.to_owned(), source: None },
            // The system's doing, or another program's. Anything else is in the file.
            ErrorCode::PermissionDenied
            | ErrorCode::OperationAborted
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged
            | ErrorCode::ApiMisuse
            | ErrorCode::NoLargeFileSupport => false,
            _ => true,
        },
        _ => true,
    };
    StoreError::Snapshots { detail, damaged }
}
