//! What the person chose: one value, whose shape is the caller's affair; and how much snapshots may take, which
//! stands here because `snapshots.db` may be deleted.

use rusqlite::OptionalExtension;

use crate::{History, HistoryWriter, StoreError};

pub(crate) const V2: &str = "
CREATE TABLE preferences (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    value TEXT NOT NULL CHECK (json_valid(value))
) STRICT;
";

/// Absent where nothing was chosen.
pub(crate) const V4: &str = "
CREATE TABLE snapshot_budget (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;
";

impl History {
    /// What was kept last; `None` where nothing was, or where it is unreadable.
    pub fn preferences(&self) -> Result<Option<serde_json::Value>, StoreError> {
        let text: Option<String> =
            self.conn.query_row("SELECT value FROM preferences", [], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Bytes that all snapshots together may take, where the person chose that.
    pub fn snapshot_budget(&self) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT bytes FROM snapshot_budget";
        let bytes: Option<i64> = self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
        Ok(bytes.map(i64::cast_unsigned))
    }
}

impl HistoryWriter {
    /// Keeps a value in place of the one before.
    pub fn save_preferences(&mut self, value: &serde_json::Value) -> Result<(), StoreError> {
        self.change(|tx| {
            tx.execute(
                "INSERT INTO preferences (only, value) VALUES (1, ?1)
                 ON CONFLICT (only) DO UPDATE SET value = excluded.value",
                [value.to_string()],
            )?;
            Ok(())
        })
    }

    /// Chooses how many bytes all snapshots together may take; `None` leaves it to the program again.
    pub fn set_snapshot_budget(&mut self, bytes: Option<u64>) -> Result<(), StoreError> {
        self.change(|tx| {
            tx.execute("DELETE FROM snapshot_budget", [])?;
            if let Some(bytes) = bytes {
                // As much as SQLite can hold is more than any disk does.
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                tx.execute("INSERT INTO snapshot_budget (only, bytes) VALUES (1, ?1)", [bytes])?;
            }
            Ok(())
        })
    }
}
