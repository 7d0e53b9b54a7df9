//! Drafts: what was typed and not sent, one for each conversation and one for the next new one.

use rusqlite::{OptionalExtension, params};

use crate::{ConversationId, History, HistoryWriter, StoreError, conversation};

/// A draft goes with its conversation. The row without one is the next new conversation's.
pub(crate) const V2: &str = "
CREATE TABLE drafts (
    conversation TEXT UNIQUE REFERENCES conversations (id) ON DELETE CASCADE,
    text TEXT NOT NULL CHECK (text <> '')
) STRICT;
CREATE UNIQUE INDEX draft_of_none ON drafts ((1)) WHERE conversation IS NULL;
";

impl History {
    /// What was typed in `conversation` and not sent; `None` is the next new one. Empty where there
    /// is nothing.
    pub fn draft(&self, conversation: Option<ConversationId>) -> Result<String, StoreError> {
        let text = self
            .conn
            .prepare_cached("SELECT text FROM drafts WHERE conversation IS ?1")?
            .query_row([conversation], |row| row.get(0))
            .optional()?;
        Ok(text.unwrap_or_default())
    }
}

impl HistoryWriter {
    /// Keeps what is typed, in place of what was. An empty text leaves nothing.
    pub fn save_draft(&mut self, conversation: Option<ConversationId>, text: &str) -> Result<(), StoreError> {
        self.change(|tx| {
            if let Some(id) = conversation {
                conversation::find(tx, id)?;
            }
            tx.execute("DELETE FROM drafts WHERE conversation IS ?1", [conversation])?;
            if !text.is_empty() {
                tx.execute(
                    "INSERT INTO drafts (conversation, text) VALUES (?1, ?2)",
                    params![conversation, text],
                )?;
            }
            Ok(())
        })
    }
}
