//! What the person chose for one conversation.

use rusqlite::{OptionalExtension, params};

use crate::{ConversationId, History, HistoryWriter, StoreError, conversation};

/// Choices go with their conversation.
pub(crate) const V4: &str = "
CREATE TABLE choices (
    conversation TEXT PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    always_replay INTEGER NOT NULL CHECK (always_replay IN (0, 1)),
    always_cpu INTEGER NOT NULL CHECK (always_cpu IN (0, 1))
) STRICT, WITHOUT ROWID;
";

/// What the person chose for one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConversationChoices {
    /// Its text is read each time: no state is restored or kept.
    pub always_replay: bool,
    /// It is computed on the processor, whatever else there is.
    pub always_cpu: bool,
}

impl History {
    /// What was chosen for a conversation; nothing where nothing was.
    pub fn choices(&self, conversation: ConversationId) -> Result<ConversationChoices, StoreError> {
        let found = self
            .conn
            .prepare_cached("SELECT always_replay, always_cpu FROM choices WHERE conversation = ?1")?
            .query_row([conversation], |row| {
                Ok(ConversationChoices { always_replay: row.get(0)?, always_cpu: row.get(1)? })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }
}

impl HistoryWriter {
    /// Chooses for a conversation, in place of what was chosen before.
    pub fn choose(
        &mut self,
        conversation: ConversationId,
        choices: ConversationChoices,
    ) -> Result<(), StoreError> {
        self.change(|tx| {
            conversation::find(tx, conversation)?;
            tx.execute(
                "INSERT INTO choices (conversation, always_replay, always_cpu) VALUES (?1, ?2, ?3)
                 ON CONFLICT (conversation) DO UPDATE SET always_replay = excluded.always_replay,
                     always_cpu = excluded.always_cpu",
                params![conversation, choices.always_replay, choices.always_cpu],
            )?;
            Ok(())
        })
    }
}
