//! Model files that were used or chosen before. The files themselves are never touched.

use rusqlite::{Row, params};

use crate::{History, HistoryWriter, ModelId, StoreError, Timestamp};

pub(crate) const V2: &str = "
CREATE TABLE known_models (
    id TEXT PRIMARY KEY CHECK (length(id) = 26),
    path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    last_used INTEGER NOT NULL CHECK (last_used >= 0),
    chosen INTEGER NOT NULL CHECK (chosen IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX one_chosen_model ON known_models (chosen) WHERE chosen = 1;
";

/// A model file that was used or chosen before. It may be missing by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownModel {
    /// Its id; the path is never told to a page.
    pub id: ModelId,
    /// The GGUF file.
    pub path: String,
    /// Its name for people.
    pub name: String,
    /// When it was last chosen or used.
    pub last_used: Timestamp,
    /// Whether new turns use it.
    pub chosen: bool,
}

impl KnownModel {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            path: row.get("path")?,
            name: row.get("name")?,
            last_used: row.get("last_used")?,
            chosen: row.get("chosen")?,
        })
    }
}

impl History {
    /// All that are known, the one used last first.
    pub fn known_models(&self) -> Result<Vec<KnownModel>, StoreError> {
        let mut statement =
            self.conn.prepare_cached("SELECT * FROM known_models ORDER BY last_used DESC, path")?;
        let rows = statement.query_map([], KnownModel::from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl HistoryWriter {
    /// Chooses a file. One that is known by its path keeps its id; another gets `id`.
    pub fn choose_model_file(
        &mut self,
        id: ModelId,
        path: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(|tx| {
            tx.execute("UPDATE known_models SET chosen = 0 WHERE chosen = 1", [])?;
            tx.execute(
                "INSERT INTO known_models (id, path, name, last_used, chosen) VALUES (?1, ?2, ?3, ?4, 1)
                 ON CONFLICT (path) DO UPDATE SET name = excluded.name, chosen = 1,
                     last_used = max(last_used, excluded.last_used)",
                params![id, path, name, now],
            )?;
            Ok(())
        })
    }

    /// Chooses one that is known.
    pub fn choose_model(&mut self, id: ModelId, now: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| {
            tx.execute("UPDATE known_models SET chosen = 0 WHERE chosen = 1", [])?;
            let changed = tx.execute(
                "UPDATE known_models SET chosen = 1, last_used = max(last_used, ?2) WHERE id = ?1",
                params![id, now],
            )?;
            require_found(changed, id)
        })
    }

    /// Notes that a known file was used. One that is not known stays so.
    pub fn model_was_used(&mut self, path: &str, now: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| {
            tx.execute(
                "UPDATE known_models SET last_used = max(last_used, ?2) WHERE path = ?1",
                params![path, now],
            )?;
            Ok(())
        })
    }

    /// Takes one off the list. No other is chosen in its place.
    pub fn forget_model(&mut self, id: ModelId) -> Result<(), StoreError> {
        self.change(|tx| {
            let changed = tx.execute("DELETE FROM known_models WHERE id = ?1", [id])?;
            require_found(changed, id)
        })
    }
}

fn require_found(changed: usize, id: ModelId) -> Result<(), StoreError> {
    if changed == 0 {
        return Err(StoreError::NotFound { noun: "model", id: id.to_string() });
    }
    Ok(())
}
