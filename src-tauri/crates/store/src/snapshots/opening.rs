//! Opening `snapshots.db` whatever lies there: what is no whole database of this version is set
//! aside and a new one begun. It is only a cache.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data_dir::{private_file, sync_dir};
use crate::schema::beside;
use crate::snapshots::db::{APPLICATION_ID, Db, PAGE_BYTES, VERSION};
use crate::{DataDir, StoreError, Timestamp};

/// What a file that was set aside is called: `snapshots.db.damaged-{moment}`. There is at most one.
const SET_ASIDE: &str = "snapshots.db.damaged-";

/// A damaged file larger than this is deleted instead of set aside: it would hold space that
/// snapshots could use, and only serves to find out what happened.
pub(crate) const SET_ASIDE_LIMIT: u64 = 1 << 30;

/// What became of the file at opening.
pub(crate) struct Opened {
    pub(crate) db: Db,
    /// Why an earlier file was not used.
    pub(crate) recreated: Option<String>,
    /// Where that file is now.
    pub(crate) set_aside: Option<PathBuf>,
}

/// Opens for writing; makes the file where it is missing, and starts over where it cannot be used.
pub(crate) fn open_or_begin(dir: &DataDir, now: Timestamp) -> Result<Opened, StoreError> {
    let path = dir.snapshots_db();
    let (recreated, set_aside) = match look(&path)? {
        Look::Absent => (None, None),
        Look::Unfit(why) => (Some(why), set_aside(dir, now)?),
        Look::Fit => match open_checked(&path) {
            Ok(db) => return Ok(Opened { db, recreated: None, set_aside: None }),
            Err(StoreError::Snapshots { detail, damaged: true }) => (Some(detail), set_aside(dir, now)?),
            Err(error) => return Err(error),
        },
    };
    begin(&path)?;
    if let Some(why) = &recreated {
        tracing::warn!(%why, set_aside = ?set_aside, "snapshots.db was started over");
    }
    Ok(Opened { db: open_checked(&path)?, recreated, set_aside })
}

enum Look {
    Absent,
    Fit,
    Unfit(String),
}

/// Looks at the file from outside.
fn look(path: &Path) -> Result<Look, StoreError> {
    let cannot = |error| StoreError::io(path, error);
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link to nowhere is something, too: a disk that is not mounted.
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(cannot(error)),
                Err(_) => Ok(Look::Absent),
            };
        }
        Err(error) => return Err(cannot(error)),
    };
    if !meta.is_file() {
        return Ok(Look::Unfit("it is not a file".to_owned()));
    }
    let mut head = [0; 16];
    match File::open(path).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) if &head == b"SQLite format 3\0" => Ok(Look::Fit),
        Ok(()) => Ok(Look::Unfit("it is not a database".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Look::Unfit(format!("it holds only {} bytes", meta.len())))
        }
        Err(error) => Err(cannot(error)),
    }
}

/// Opens and checks all that is quick to check. The pieces are checked whenever one is read.
fn open_checked(path: &Path) -> Result<Db, StoreError> {
    let db = Db::open_writing(path)?;
    let unfit = |why: &str| Err(StoreError::Snapshots { detail: why.to_owned(), damaged: true });
    let (application, version, page) = db.read(|conn| {
        let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok((pragma("application_id")?, pragma("user_version")?, pragma("page_size")?))
    })?;
    if application != i64::from(APPLICATION_ID) {
        return unfit("it is a database, but not one of snapshots");
    }
    if version != i64::from(VERSION) || page != PAGE_BYTES.cast_signed() {
        return unfit("it was made by another version of Reprise");
    }
    // With the journal merged, the file has to be as long as it says. A reader in the way is no harm.
    if db.empty_journal(Duration::ZERO)? {
        let there = fs::metadata(path).map_err(|error| StoreError::io(path, error))?.len();
        let pages: i64 =
            db.read(|conn| Ok(conn.pragma_query_value(None, "page_count", |row| row.get(0))?))?;
        let expected = pages.cast_unsigned() * PAGE_BYTES;
        if there < expected {
            return unfit(&format!("it was cut short: {there} of {expected} bytes are there"));
        }
    }
    check_schema(&db)?;
    // The small tables, on which every statement depends. The large ones would take as long as
    // reading the whole file.
    for table in ["snapshots", "chunks", "snapshot_chunks", "file_hashes"] {
        let verdict: String = db.read(|conn| {
            Ok(conn.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))?)
        })?;
        if verdict != "ok" {
            return unfit(&verdict);
        }
    }
    Ok(db)
}

/// Nothing but our own tables: no view, no trigger that a stranger put there.
pub(crate) fn check_schema(db: &Db) -> Result<(), StoreError> {
    if schema_of(db)? == schema_of(&Db::absent(Path::new(":memory:"))?)? {
        return Ok(());
    }
    let detail = "its tables are not the ones that Reprise makes".to_owned();
    Err(StoreError::Snapshots { detail, damaged: true })
}

fn schema_of(db: &Db) -> Result<Vec<Option<String>>, StoreError> {
    db.read(|conn| {
        let mut statement = conn.prepare("SELECT sql FROM sqlite_schema ORDER BY type, name")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// Makes an empty database. It gets its name only when it is whole.
fn begin(path: &Path) -> Result<(), StoreError> {
    let fresh = beside(path, ".new");
    remove(&fresh)?;
    // A journal without its file would be read into the new one.
    for stale in [path, fresh.as_path()] {
        remove_journal(stale)?;
    }
    private_file(&fresh).map_err(|error| StoreError::io(path, error))?;
    Db::create(&fresh)?;
    let publish = || {
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), sync_dir)
    };
    publish().map_err(|error| StoreError::io(path, error))
}

/// Moves the file out of the way, or deletes one that is too large to be kept for curiosity.
pub(crate) fn set_aside(dir: &DataDir, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let path = dir.snapshots_db();
    remove_set_aside(dir)?;
    remove_journal(&path)?;
    let meta = fs::symlink_metadata(&path).map_err(|error| StoreError::io(&path, error))?;
    if meta.is_file() && meta.len() > SET_ASIDE_LIMIT {
        remove(&path)?;
        return Ok(None);
    }
    let aside = dir.root().join(format!("{SET_ASIDE}{}", now.file_stamp()));
    fs::rename(&path, &aside).map_err(|error| StoreError::io(&path, error))?;
    Ok(Some(aside))
}

/// Deletes what was set aside before. Folders and links that somebody put there are not ours to delete.
pub(crate) fn remove_set_aside(dir: &DataDir) -> Result<(), StoreError> {
    let cannot = |error| StoreError::io(dir.root(), error);
    for entry in fs::read_dir(dir.root()).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(SET_ASIDE.as_bytes());
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Deletes the file and its journal. Returns the bytes that the two took.
pub(crate) fn delete(path: &Path) -> Result<u64, StoreError> {
    let mut taken = 0;
    for file in [path, &beside(path, "-wal")] {
        // Emptied first: what a reader still has open would hold its space until it is closed. The reader finds
        // damage. The third file is mapped into its memory, and must not shrink.
        match File::options().write(true).open(file) {
            Ok(file) => {
                taken += file.metadata().map_or(0, |meta| meta.len());
                // Not everywhere can a file in use be emptied; removing it is what counts.
                let _ = file.set_len(0);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(file, error)),
        }
    }
    // Before its journal: a file without one would pass for an earlier state of itself.
    remove(path)?;
    remove_journal(path)?;
    Ok(taken)
}

fn remove_journal(path: &Path) -> Result<(), StoreError> {
    remove(&beside(path, "-wal"))?;
    remove(&beside(path, "-shm"))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        _ => Ok(()),
    }
}
