//! What the person chose: one value, whose shape is the caller's affair.

use rusqlite::OptionalExtension;

use crate::{History, HistoryWriter, StoreError};

pub(crate) const V2: &str = "
CREATE TABLE preferences (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    value TEXT NOT NULL CHECK (json_valid(value))
) STRICT;
";

impl History {
    /// What was kept last; `None` where nothing was, or where it is unreadable.
    pub fn preferences(&self) -> Result<Option<serde_json::Value>, StoreError> {
        let text: Option<String> =
            self.conn.query_row("SELECT value FROM preferences", [], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
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
}
