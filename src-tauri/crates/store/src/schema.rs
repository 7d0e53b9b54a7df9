//! Versions of `history.db`: what a file is before it is opened, how it is made, how it is upgraded.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use crate::data_dir::{private_dir, private_file, sync_dir};
use crate::{
    DataDir, StoreError, Timestamp, checkpoint, choice, conversation, draft, known_model, message,
    preference, receipt, search,
};

/// One upgrade: the SQL of each table that it touches, in order.
pub(crate) type Step = &'static [&'static str];

/// Every released upgrade. Entries are only ever added: version N is the result of the first N.
pub(crate) const RELEASED: &[Step] = &[
    &[APPLICATION, conversation::V1, message::V1, search::V1],
    &[draft::V2, preference::V2, known_model::V2],
    &[message::V3],
    &[receipt::V4, checkpoint::V4, choice::V4, preference::V4],
];

/// `RPRS`: tells Reprise's files from any other SQLite database.
const APPLICATION_ID: u32 = 0x5250_5253;
const APPLICATION: &str = "PRAGMA application_id = 0x52505253;";

/// How `backups/` names the copies: `history-v{schema}-{moment}.db`.
const BACKUP_PREFIX: &str = "history-v";

/// A backup that is being made. One found at the start was cut off, and is removed.
const UNFINISHED: &str = "unfinished";

/// What lies at the database's path.
pub(crate) enum Found {
    /// No file.
    Absent,
    /// A database of Reprise, of this schema version.
    Version(u32),
}

/// Looks at the file without changing a byte of it or leaving anything beside it.
/// Refuses what is not a whole database of Reprise of a version up to `known`.
pub(crate) fn inspect(path: &Path, known: u32) -> Result<Found, StoreError> {
    let wal = beside(path, "-wal");
    let wal_bytes = fs::metadata(&wal).map_or(0, |meta| meta.len());
    let header = match Header::read(path) {
        Ok(header) => header?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if wal_bytes > 0 {
                let why = "it is missing, but its journal history.db-wal is there";
                return Err(StoreError::damaged(path, why));
            }
            return Ok(Found::Absent);
        }
        Err(error) => return Err(cannot_open(path, error)),
    };
    // While a journal is waiting to be merged the file alone does not tell.
    let (version, application) = if wal_bytes > 0 {
        let conn = open_reading(path)?;
        let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        (pragma("user_version")?, pragma("application_id")?)
    } else {
        header.whole(path)?;
        (header.user_version, header.application_id)
    };
    if application != APPLICATION_ID {
        return Err(StoreError::Unusable {
            path: path.to_owned(),
            why: "it is a database, but not one that Reprise made".to_owned(),
            source: None,
        });
    }
    if version > known {
        return Err(StoreError::Newer { file: path.to_owned(), found: version, known });
    }
    Ok(Found::Version(version))
}

/// The facts of SQLite's 100-byte header. <https://www.sqlite.org/fileformat2.html#the_database_header>
struct Header {
    file_bytes: u64,
    page_bytes: u64,
    pages: u64,
    pages_are_valid: bool,
    user_version: u32,
    application_id: u32,
}

impl Header {
    fn read(path: &Path) -> io::Result<Result<Self, StoreError>> {
        let mut file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut bytes = [0; 100];
        if let Err(error) = file.read_exact(&mut bytes) {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
            let why = format!("it holds only {file_bytes} bytes");
            return Ok(Err(StoreError::damaged(path, why)));
        }
        if !bytes.starts_with(b"SQLite format 3\0") {
            return Ok(Err(StoreError::damaged(path, "it is not a database")));
        }
        let u32_at = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        // 1 stands for 65,536, which does not fit the two bytes.
        let page_bytes = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65_536,
            size => u64::from(size),
        };
        Ok(Ok(Self {
            file_bytes,
            page_bytes,
            pages: u64::from(u32_at(28)),
            pages_are_valid: u32_at(24) == u32_at(92),
            user_version: u32_at(60),
            application_id: u32_at(68),
        }))
    }

    /// A file cut short, for instance by a copy that did not finish.
    fn whole(&self, path: &Path) -> Result<(), StoreError> {
        let expected = self.pages * self.page_bytes;
        if self.pages_are_valid && self.file_bytes < expected {
            let why = format!("it was cut short: {} of {expected} bytes are there", self.file_bytes);
            return Err(StoreError::damaged(path, why));
        }
        Ok(())
    }
}

/// Opens for reading only; where the folder cannot be written and no journal is waiting, as an
/// unchanging file, because SQLite would otherwise want to make its shared-memory file there.
pub(crate) fn open_reading(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let beside_a_writer = Connection::open_with_flags(path, flags).and_then(|conn| {
        conn.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())).map(|()| conn)
    });
    let error = match beside_a_writer {
        Ok(conn) => return Ok(conn),
        Err(error) => error,
    };
    let refused = matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
    );
    if !refused {
        return Err(error.into());
    }
    if fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > 0) {
        return Err(StoreError::ReadOnly {
            path: path.to_owned(),
            source: Some(io::Error::other(
                "recent changes wait in history.db-wal, and reading them needs a folder that can be written",
            )),
        });
    }
    open_unchanging(path)
}

/// Opens a file that nobody changes, leaving nothing beside it.
pub(crate) fn open_unchanging(path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let path = std::path::absolute(path).map_err(|error| cannot_open(path, error))?;
    let conn = Connection::open_with_flags(unchanging_uri(&path), flags)?;
    conn.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))?;
    Ok(conn)
}

/// <https://www.sqlite.org/uri.html>: every byte that is not plain is escaped.
fn unchanging_uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    if !path.has_root() || cfg!(windows) {
        uri.push('/');
    }
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b':' => {
                uri.push(char::from(*byte));
            }
            _ => uri.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

const fn hex_digit(nibble: u8) -> char {
    b"0123456789ABCDEF"[nibble as usize % 16] as char
}

/// Makes an empty database of the newest version. It gets its name only when it is whole, so a
/// `history.db` without a schema is always damage and never a beginning.
pub(crate) fn create(path: &Path, steps: &[Step]) -> Result<(), StoreError> {
    let fresh = beside(path, ".new");
    for stale in [
        fresh.clone(),
        beside(&fresh, "-wal"),
        beside(&fresh, "-shm"),
        beside(path, "-wal"),
        beside(path, "-shm"),
    ] {
        match fs::remove_file(&stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(&stale, error));
            }
            _ => {}
        }
    }
    private_file(&fresh).map_err(|error| StoreError::io(path, error))?;
    let mut conn = Connection::open(&fresh)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    run(&mut conn, steps)?;
    conn.close().map_err(|(_, error)| error)?;
    publish(&fresh, path)
}

/// Brings an opened database to the newest version: all steps or none, after a backup.
/// Returns the backup, if one was needed.
pub(crate) fn upgrade(
    conn: &mut Connection,
    dir: &DataDir,
    from: u32,
    steps: &[Step],
    now: Timestamp,
) -> Result<Option<PathBuf>, StoreError> {
    if from == version_of(steps) {
        return Ok(None);
    }
    let backup = back_up(conn, dir, from, now)
        .map_err(|source| StoreError::Upgrade { backup: None, source: Box::new(source) })?;
    tracing::info!(from, to = version_of(steps), backup = %backup.display(), "upgrading history.db");
    run(conn, steps)
        .map_err(|source| StoreError::Upgrade { backup: Some(backup.clone()), source: Box::new(source) })?;
    Ok(Some(backup))
}

/// The version that these steps lead to.
pub(crate) fn version_of(steps: &[Step]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// Runs the steps that the database lacks, in one transaction.
pub(crate) fn run(conn: &mut Connection, steps: &[Step]) -> Result<(), StoreError> {
    let sql: Vec<String> = steps.iter().map(|step| step.concat()).collect();
    let migrations = Migrations::new(sql.iter().map(|sql| M::up(sql).foreign_key_check()).collect());
    migrations.to_latest(conn).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
        error => StoreError::Storage { detail: error.to_string() },
    })
}

/// Copies the database, compacted and checked, to `backups/`.
fn back_up(conn: &Connection, dir: &DataDir, version: u32, now: Timestamp) -> Result<PathBuf, StoreError> {
    let folder = dir.backups();
    if !folder.is_dir() {
        private_dir(&folder, false).map_err(|error| StoreError::io(&folder, error))?;
        sync_dir(dir.root()).map_err(|error| StoreError::io(dir.root(), error))?;
    }
    let partial = folder.join(UNFINISHED);
    let io_error = |error| StoreError::io(&partial, error);
    // VACUUM INTO accepts an empty file; made beforehand so that only its owner may read it.
    private_file(&partial).and_then(|file| file.set_len(0)).map_err(io_error)?;
    // Bound as bytes: a path need not be UTF-8.
    conn.execute("VACUUM INTO CAST(?1 AS TEXT)", [partial.as_os_str().as_encoded_bytes()])?;
    let verdict: String =
        open_unchanging(&partial)?.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::damaged(&dir.history_db(), verdict));
    }
    let stem = format!("{BACKUP_PREFIX}{version}-{}", now.file_stamp());
    let mut path = folder.join(format!("{stem}.db"));
    let mut copies = 1;
    while path.exists() {
        copies += 1;
        path = folder.join(format!("{stem}-{copies}.db"));
    }
    publish(&partial, &path)?;
    Ok(path)
}

/// Removes a backup that was cut off: it is no backup, and it may hold text that is erased since.
pub(crate) fn remove_unfinished_backup(dir: &DataDir) -> Result<(), StoreError> {
    let partial = dir.backups().join(UNFINISHED);
    match fs::remove_file(&partial) {
        Err(error) if partial.exists() => Err(StoreError::io(&partial, error)),
        _ => Ok(()),
    }
}

/// Gives a finished file its name, durably: data, then name.
fn publish(from: &Path, to: &Path) -> Result<(), StoreError> {
    let publish = || {
        private_file(from)?.sync_all()?;
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), sync_dir)
    };
    publish().map_err(|error| StoreError::io(to, error))
}

/// The backups of a data folder, oldest schema and moment first.
pub fn list_backups(dir: &DataDir) -> Result<Vec<PathBuf>, StoreError> {
    let folder = dir.backups();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io(&folder, error)),
    };
    let mut backups = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| StoreError::io(&folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "db") {
            backups.push(path);
        }
    }
    backups.sort();
    Ok(backups)
}

/// `history.db` to `history.db-wal` and the like.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn cannot_open(path: &Path, error: io::Error) -> StoreError {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "you are not allowed to read it".to_owned(),
        _ => error.to_string(),
    };
    StoreError::Unusable { path: path.to_owned(), why, source: Some(error) }
}

#[cfg(test)]
mod tests;
