//! What was found out about models and machines and is worth keeping: small facts by name, sealed, so that
//! a changed file cannot make one machine's findings pass for another's. As rebuildable as all of this file.

use rusqlite::types::Value as Stored;
use rusqlite::{OptionalExtension, params, params_from_iter};
use serde_json::Value;

use crate::snapshots::db::Db;
use crate::snapshots::hash::Tag;
use crate::snapshots::key::Key;
use crate::{SnapshotReader, SnapshotStore, StoreError};

/// No note may be longer than this, in bytes: they are figures, not documents.
const LIMIT: usize = 64 << 10;

impl SnapshotStore {
    /// Keeps a note in place of an earlier one of the same name.
    pub fn note(&mut self, name: &str, value: &Value) -> Result<(), StoreError> {
        let text = value.to_string();
        if name.len() > LIMIT || text.len() > LIMIT {
            return Err(StoreError::SnapshotRefused { why: "a note is too long".to_owned() });
        }
        let Some(key) = self.reader.key.as_ref() else {
            return Err(StoreError::SnapshotRefused {
                why: "there is no key to seal a note with".to_owned(),
            });
        };
        let tag = seal(key, name, &text);
        self.reader.db.change(|tx| {
            let sql = "INSERT OR REPLACE INTO notes (name, value, tag) VALUES (?1, ?2, ?3)";
            tx.prepare_cached(sql)?.execute(params![name, text, tag])?;
            Ok(())
        })
    }

    /// Forgets a note; no error where there is none.
    pub fn forget_note(&mut self, name: &str) -> Result<(), StoreError> {
        self.reader.db.change(|tx| {
            tx.prepare_cached("DELETE FROM notes WHERE name = ?1")?.execute([name])?;
            Ok(())
        })
    }
}

impl SnapshotReader {
    /// The note of this name. One that was changed, or sealed with another key, is none.
    pub fn noted(&self, name: &str) -> Result<Option<Value>, StoreError> {
        let Some(key) = self.key.as_ref() else { return Ok(None) };
        let found: Option<(String, Tag)> = self.db.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT value, tag FROM notes WHERE name = ?1")?;
            Ok(statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })?;
        let whole = found.filter(|(text, tag)| seal(key, name, text) == *tag);
        Ok(whole.and_then(|(text, _)| serde_json::from_str(&text).ok()))
    }

    /// All whole notes whose names begin so, by name.
    pub fn notes(&self, prefix: &str) -> Result<Vec<(String, Value)>, StoreError> {
        let names: Vec<String> = self.db.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT name FROM notes WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name",
            )?;
            let rows = statement.query_map([prefix], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let mut notes = Vec::with_capacity(names.len());
        for name in names {
            if let Some(value) = self.noted(&name)? {
                notes.push((name, value));
            }
        }
        Ok(notes)
    }
}

fn seal(key: &Key, name: &str, value: &str) -> Tag {
    key.seal("reprise: note", &[name.as_bytes(), value.as_bytes()])
}

/// What was found out about models and their files, as it is stored: it outlives the snapshots where the file is
/// begun anew. The seals go with it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    notes: Vec<Vec<Stored>>,
    file_hashes: Vec<Vec<Stored>>,
}

impl Findings {
    pub(crate) fn of(db: &Db) -> Result<Self, StoreError> {
        let all = |sql: &str| {
            db.read(|conn| {
                let mut statement = conn.prepare(sql)?;
                let columns = statement.column_count();
                let rows =
                    statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
        };
        Ok(Self {
            notes: all("SELECT name, value, tag FROM notes")?,
            file_hashes: all("SELECT path, stamp, hash, tag FROM file_hashes")?,
        })
    }

    pub(crate) fn put(self, db: &mut Db) -> Result<(), StoreError> {
        db.change(|tx| {
            for (sql, rows) in [
                ("INSERT OR IGNORE INTO notes (name, value, tag) VALUES (?1, ?2, ?3)", self.notes),
                (
                    "INSERT OR IGNORE INTO file_hashes (path, stamp, hash, tag) VALUES (?1, ?2, ?3, ?4)",
                    self.file_hashes,
                ),
            ] {
                let mut insert = tx.prepare(sql)?;
                for row in rows {
                    insert.execute(params_from_iter(row))?;
                }
            }
            Ok(())
        })
    }
}
