//! Erasing for good: rows, search entries and the journal's old pages; and saying what is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Transaction;

use crate::schema::{list_backups, open_unchanging};
use crate::{ConversationId, HistoryWriter, StoreError, conversation, search};

/// How long to wait for readers that still look at the journal.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(500);

/// What was erased, and where copies of it remain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurgeReport {
    /// The conversations that were erased.
    pub conversations: Vec<ConversationId>,
    /// How many messages went with them.
    pub messages: usize,
    /// Whether the journal was emptied too. Where a reader was still looking at it, the erased text
    /// stays in the journal until the next purge, the next start, or the last user's closing the library.
    pub journal_erased: bool,
    /// Backups that still hold one of these conversations, or that could not be read to find out.
    /// They are kept: only the user deletes a backup.
    pub backups: Vec<PathBuf>,
}

impl HistoryWriter {
    /// Erases one conversation, in the trash or not. It cannot be brought back.
    pub fn purge(&mut self, id: ConversationId) -> Result<PurgeReport, StoreError> {
        conversation::find(&self.conn, id)?;
        self.erase(&[id])
    }

    /// Erases every conversation in the trash.
    pub fn empty_trash(&mut self) -> Result<PurgeReport, StoreError> {
        let trashed: Vec<ConversationId> = {
            let mut statement =
                self.conn.prepare("SELECT id FROM conversations WHERE trashed_at IS NOT NULL")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        };
        self.erase(&trashed)
    }

    fn erase(&mut self, ids: &[ConversationId]) -> Result<PurgeReport, StoreError> {
        // Looked at first: once the rows are gone nothing may fail any more.
        let backups = list_backups(&self.dir)?
            .into_iter()
            .filter(|backup| ids.iter().any(|id| may_hold(backup, *id)))
            .collect();
        let messages = self.change(|tx| ids.iter().map(|id| erase_one(tx, *id)).sum())?;
        Ok(PurgeReport {
            conversations: ids.to_vec(),
            messages,
            journal_erased: self.empty_journal(JOURNAL_PATIENCE),
            backups,
        })
    }
}

fn erase_one(tx: &Transaction<'_>, id: ConversationId) -> Result<usize, StoreError> {
    search::remove_conversation(tx, id)?;
    tx.execute("UPDATE conversations SET active_leaf = NULL WHERE id = ?1", [id])?;
    let messages = tx.execute("DELETE FROM messages WHERE conversation = ?1", [id])?;
    tx.execute("DELETE FROM conversations WHERE id = ?1", [id])?;
    Ok(messages)
}

fn may_hold(backup: &Path, id: ConversationId) -> bool {
    open_unchanging(backup)
        .and_then(|conn| {
            let sql = "SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)";
            Ok(conn.query_row(sql, [id], |row| row.get(0))?)
        })
        .unwrap_or(true)
}
