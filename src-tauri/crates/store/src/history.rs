//! The handles: a reader, and the one writer.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::schema::{self, Found, RELEASED, Step};
use crate::{DataDir, Holder, StoreError, WriterLock, answer};

/// How long to wait for another connection's lock. The writer holds it for milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The library of conversations, for reading. May live beside a writer in another process, and sees
/// what that has committed.
#[derive(Debug)]
pub struct History {
    pub(crate) conn: Connection,
    pub(crate) dir: DataDir,
}

/// The library of conversations, for reading and writing. One per data folder.
///
/// Every method that changes something does so in one transaction, which is on the disk when the
/// method returns `Ok`.
#[derive(Debug)]
pub struct HistoryWriter {
    // Before the lock: dropped, and so closed, first.
    history: History,
    _lock: WriterLock,
    opening: Opening,
}

/// What opening for writing had to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opening {
    /// Answers found half-written, from a run that ended early, and now marked interrupted.
    pub interrupted: usize,
    /// The copy made before the file was upgraded from an older version.
    pub backup: Option<PathBuf>,
}

impl History {
    /// Opens for writing: takes the writer's lock, makes or upgrades the file, and closes answers
    /// that an earlier run left open. `holder.since` is taken as the present moment.
    pub fn open_writer(dir: &DataDir, holder: &Holder) -> Result<HistoryWriter, StoreError> {
        Self::open_writer_at(dir, holder, RELEASED)
    }

    /// Opens for reading. An absent file reads as an empty library, and nothing is made in its place.
    pub fn open_reader(dir: &DataDir) -> Result<Self, StoreError> {
        Self::open_reader_at(dir, RELEASED)
    }

    pub(crate) fn open_writer_at(
        dir: &DataDir,
        holder: &Holder,
        steps: &[Step],
    ) -> Result<HistoryWriter, StoreError> {
        let lock = WriterLock::acquire(dir, holder)?;
        let path = dir.history_db();
        let known = schema::version_of(steps);
        schema::remove_unfinished_backup(dir)?;
        let version = match schema::inspect(&path, known)? {
            Found::Version(version) => version,
            Found::Absent => {
                schema::create(&path, steps)?;
                known
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn =
            Connection::open_with_flags(&path, flags).map_err(|error| located(&path, error.into()))?;
        // Where the file itself may not be written, SQLite opens it for reading and says nothing.
        if conn.is_readonly(rusqlite::MAIN_DB)? {
            return Err(StoreError::ReadOnly { path, source: None });
        }
        let backup = configure_writer(&conn)
            .and_then(|()| schema::upgrade(&mut conn, dir, version, steps, holder.since))
            .map_err(|error| located(&path, error))?;
        let mut writer = HistoryWriter {
            history: Self { conn, dir: dir.clone() },
            _lock: lock,
            opening: Opening::default(),
        };
        let interrupted =
            answer::close_abandoned(&mut writer, holder.since).map_err(|error| located(&path, error))?;
        // After a crash the journal may still hold text that was erased since.
        writer.empty_journal(Duration::ZERO);
        writer.opening = Opening { interrupted, backup };
        Ok(writer)
    }

    pub(crate) fn open_reader_at(dir: &DataDir, steps: &[Step]) -> Result<Self, StoreError> {
        let path = dir.history_db();
        let known = schema::version_of(steps);
        let conn = match schema::inspect(&path, known)? {
            Found::Absent => {
                let mut conn = Connection::open_in_memory()?;
                schema::run(&mut conn, steps)?;
                conn
            }
            Found::Version(found) if found < known => {
                return Err(StoreError::Older { file: path, found, known });
            }
            Found::Version(_) => schema::open_reading(&path).map_err(|error| located(&path, error))?,
        };
        configure(&conn)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(Self { conn, dir: dir.clone() })
    }

    /// The data folder that this library lies in.
    #[must_use]
    pub fn data_dir(&self) -> &DataDir {
        &self.dir
    }
}

/// Gives SQLite's errors, which know no path, the file's full one.
fn located(file: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged { detail, .. } => StoreError::damaged(file, detail),
        StoreError::ReadOnly { source, .. } => StoreError::ReadOnly { path: file.to_owned(), source },
        error => error,
    }
}

fn configure(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(64);
    // The file may come from anywhere: its schema runs no functions of ours, and cannot be rewritten.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // Sorting must not leave text in a temporary file.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

fn configure_writer(conn: &Connection) -> Result<(), StoreError> {
    configure(conn)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // On macOS a plain fsync may leave data in the drive's cache.
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // Deleted text is overwritten, not only unlinked.
    conn.pragma_update(None, "secure_delete", true)?;
    Ok(())
}

impl HistoryWriter {
    /// What opening had to do.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Runs `change` in one transaction: all of it is on the disk, or none of it happened.
    pub(crate) fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Immediate: waits for the lock at the start, where the busy timeout still applies.
        let transaction = self.history.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

impl HistoryWriter {
    /// Moves the journal into the file and cuts it to nothing. False where a reader is in the way
    /// for longer than `patience`, or where the disk would not have it: the journal is then still
    /// whole, and nothing is lost.
    pub(crate) fn empty_journal(&self, patience: Duration) -> bool {
        let checkpoint = || -> rusqlite::Result<bool> {
            self.conn.busy_timeout(patience)?;
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            let busy: bool = self.conn.query_row(sql, [], |row| row.get(0))?;
            self.conn.busy_timeout(BUSY_TIMEOUT)?;
            Ok(!busy)
        };
        checkpoint().unwrap_or_else(|error| {
            tracing::warn!(%error, "the journal of history.db could not be emptied");
            // Setting a timeout cannot fail for a reason that would let anything else succeed.
            let _ = self.conn.busy_timeout(BUSY_TIMEOUT);
            false
        })
    }
}

impl Deref for HistoryWriter {
    type Target = History;

    fn deref(&self) -> &History {
        &self.history
    }
}

#[cfg(test)]
mod tests;
