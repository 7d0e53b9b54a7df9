//! Messages that the person gave a name, to come back to.

use rusqlite::params;

use crate::conversation::LossyText;
use crate::{ConversationId, History, HistoryWriter, NodeId, Role, StoreError, Timestamp, message};

/// The longest name, in characters.
const LONGEST_NAME: usize = 80;

/// A name goes with its message.
pub(crate) const V4: &str = "
CREATE TABLE checkpoints (
    seq INTEGER PRIMARY KEY,
    conversation TEXT NOT NULL,
    node TEXT NOT NULL,
    name TEXT NOT NULL CHECK (name <> ''),
    created INTEGER NOT NULL CHECK (created >= 0),
    UNIQUE (conversation, node),
    FOREIGN KEY (conversation, node) REFERENCES messages (conversation, id) ON DELETE CASCADE
) STRICT;
";

/// A message with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCheckpoint {
    /// The message.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// When it was first named.
    pub created: Timestamp,
}

impl History {
    /// The named messages of a conversation, in all branches, in the order in which they were named.
    pub fn checkpoints(&self, conversation: ConversationId) -> Result<Vec<NamedCheckpoint>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT node, name, created FROM checkpoints WHERE conversation = ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([conversation], |row| {
            Ok(NamedCheckpoint {
                node: row.get(0)?,
                name: row.get::<_, LossyText>(1)?.0,
                created: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl HistoryWriter {
    /// Gives a message a name, or another one. It keeps its place among the named ones.
    pub fn name_checkpoint(&mut self, node: NodeId, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(StoreError::Conflict { why: "a name needs at least one character" });
        }
        if name.chars().count() > LONGEST_NAME {
            return Err(StoreError::Conflict { why: "a name has at most 80 characters" });
        }
        self.change(|tx| {
            let message = message::find(tx, node)?;
            if message.role == Role::System {
                return Err(StoreError::Conflict { why: "a system prompt is no place to come back to" });
            }
            tx.execute(
                "INSERT INTO checkpoints (conversation, node, name, created) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (conversation, node) DO UPDATE SET name = excluded.name",
                params![message.conversation, node, name, now],
            )?;
            Ok(())
        })
    }

    /// Takes a message's name away; no error where it has none. The message stays.
    pub fn remove_checkpoint(&mut self, node: NodeId) -> Result<(), StoreError> {
        self.change(|tx| {
            let conversation = message::find(tx, node)?.conversation;
            tx.execute(
                "DELETE FROM checkpoints WHERE conversation = ?1 AND node = ?2",
                params![conversation, node],
            )?;
            Ok(())
        })
    }
}
