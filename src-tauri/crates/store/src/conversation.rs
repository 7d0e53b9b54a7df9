//! Conversations: their table, their rows, and what can be done to one as a whole.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{ConversationId, History, HistoryWriter, NodeId, StoreError, Timestamp, search};

pub(crate) const V1: &str = "
CREATE TABLE conversations (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 26),
    title TEXT NOT NULL,
    title_is_custom INTEGER NOT NULL CHECK (title_is_custom IN (0, 1)),
    created INTEGER NOT NULL CHECK (created >= 0),
    updated INTEGER NOT NULL CHECK (updated >= 0),
    model_path TEXT,
    model_name TEXT,
    seed INTEGER NOT NULL,
    active_leaf TEXT,
    trashed_at INTEGER CHECK (trashed_at >= 0),
    FOREIGN KEY (id, active_leaf) REFERENCES messages (conversation, id)
        DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX conversations_by_update ON conversations (updated);
";

/// A conversation, without its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Its title; empty until one is given.
    pub title: String,
    /// Whether the user chose the title.
    pub title_is_custom: bool,
    /// When it was begun.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// The model it was last used with.
    pub model: Option<ModelRef>,
    /// What its sampling is seeded with.
    pub seed: u64,
    /// The end of the branch that is shown; `None` while there is no message.
    pub active_leaf: Option<NodeId>,
    /// When it was put in the trash.
    pub trashed_at: Option<Timestamp>,
}

/// Which model: the file, and its name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    /// The GGUF file.
    pub path: String,
    /// Its name for people.
    pub name: String,
}

/// What a new conversation starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConversation {
    /// Its id; the moment in it is when it was begun.
    pub id: ConversationId,
    /// Its title; may be empty.
    pub title: String,
    /// Where the title comes from.
    pub title_source: TitleSource,
    /// The model it is meant for.
    pub model: Option<ModelRef>,
    /// What its sampling is seeded with.
    pub seed: u64,
}

/// Who chose a title. A derived one never replaces one that the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TitleSource {
    /// The program made it from the text.
    Derived,
    /// The user chose it.
    Custom,
}

/// Which conversations to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListFilter {
    /// Those in the trash, instead of those that are not.
    pub trashed: bool,
}

/// A conversation as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationSummary {
    /// Its id.
    pub id: ConversationId,
    /// Its title.
    pub title: String,
    /// Whether the user chose the title.
    pub title_is_custom: bool,
    /// When it was begun.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it was put in the trash.
    pub trashed_at: Option<Timestamp>,
    /// The model it was last used with.
    pub model: Option<ModelRef>,
    /// Messages in the whole tree, all branches, without system prompts.
    pub messages: u64,
    /// Bytes of text (UTF-8) in the whole tree, with system prompts.
    pub text_bytes: u64,
}

/// Part of the list of conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPart {
    /// The rows from the wanted place on.
    pub rows: Vec<ConversationSummary>,
    /// Rows in the whole list.
    pub total: u32,
}

impl Conversation {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            title: row.get::<_, LossyText>("title")?.0,
            title_is_custom: row.get("title_is_custom")?,
            created: row.get("created")?,
            updated: row.get("updated")?,
            model: ModelRef::from_row(row)?,
            seed: row.get::<_, i64>("seed")?.cast_unsigned(),
            active_leaf: row.get("active_leaf")?,
            trashed_at: row.get("trashed_at")?,
        })
    }
}

impl ModelRef {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let path: Option<String> = row.get("model_path")?;
        let name: Option<String> = row.get("model_name")?;
        Ok(path.zip(name).map(|(path, name)| Self { path, name }))
    }
}

impl ConversationSummary {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let conversation = Conversation::from_row(row)?;
        Ok(Self {
            id: conversation.id,
            title: conversation.title,
            title_is_custom: conversation.title_is_custom,
            created: conversation.created,
            updated: conversation.updated,
            trashed_at: conversation.trashed_at,
            model: conversation.model,
            messages: row.get::<_, i64>("message_count")?.cast_unsigned(),
            text_bytes: row.get::<_, i64>("text_bytes")?.cast_unsigned(),
        })
    }
}

/// Text that is given even where a damaged disk has made some of it unreadable.
pub(crate) struct LossyText(pub(crate) String);

impl FromSql for LossyText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Text(bytes) => Ok(Self(String::from_utf8_lossy(bytes).into_owned())),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl History {
    /// One conversation, in the trash or not.
    pub fn conversation(&self, id: ConversationId) -> Result<Conversation, StoreError> {
        find(&self.conn, id)
    }

    /// Conversations, the last changed first.
    pub fn list(&self, filter: ListFilter) -> Result<Vec<ConversationSummary>, StoreError> {
        // The sums come from the index `messages_by_size` alone; no text is read.
        let mut statement = self.conn.prepare_cached(
            "SELECT c.*, coalesce(m.message_count, 0) AS message_count,
                    coalesce(m.text_bytes, 0) AS text_bytes
             FROM conversations c
             LEFT JOIN (
                 SELECT conversation, sum(role <> 'system') AS message_count,
                        sum(octet_length(text)) AS text_bytes
                 FROM messages INDEXED BY messages_by_size GROUP BY conversation
             ) m ON m.conversation = c.id
             WHERE (c.trashed_at IS NOT NULL) = ?1
             ORDER BY c.updated DESC, c.seq DESC",
        )?;
        let rows = statement.query_map([filter.trashed], ConversationSummary::from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Part of [`History::list`] without the trash: costs as much as the part, not as the whole.
    pub fn list_part(&self, offset: u32, limit: u32) -> Result<ListPart, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT c.*,
                    (SELECT coalesce(sum(role <> 'system'), 0) FROM messages m
                     WHERE m.conversation = c.id) AS message_count,
                    (SELECT coalesce(sum(octet_length(m.text)), 0) FROM messages m
                     WHERE m.conversation = c.id) AS text_bytes
             FROM (SELECT * FROM conversations WHERE trashed_at IS NULL
                   ORDER BY updated DESC, seq DESC LIMIT ?1 OFFSET ?2) c
             ORDER BY c.updated DESC, c.seq DESC",
        )?;
        let rows = statement.query_map([limit, offset], ConversationSummary::from_row)?;
        let rows = rows.collect::<Result<_, _>>()?;
        let sql = "SELECT count(*) FROM conversations WHERE trashed_at IS NULL";
        let total = self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(ListPart { rows, total })
    }
}

impl HistoryWriter {
    /// Begins a conversation.
    pub fn create_conversation(&mut self, new: &NewConversation) -> Result<Conversation, StoreError> {
        self.change(|tx| {
            let created = new.id.created();
            tx.execute(
                "INSERT INTO conversations
                     (id, title, title_is_custom, created, updated, model_path, model_name, seed)
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7)",
                params![
                    new.id,
                    new.title,
                    new.title_source == TitleSource::Custom,
                    created,
                    new.model.as_ref().map(|model| &model.path),
                    new.model.as_ref().map(|model| &model.name),
                    new.seed.cast_signed(),
                ],
            )?;
            search::put_title(tx, new.id, &new.title)?;
            find(tx, new.id)
        })
    }

    /// Gives a title. A derived one leaves a title that the user chose as it is.
    pub fn rename(
        &mut self,
        id: ConversationId,
        title: &str,
        source: TitleSource,
    ) -> Result<Conversation, StoreError> {
        self.change(|tx| {
            let custom = source == TitleSource::Custom;
            if find(tx, id)?.title_is_custom && !custom {
                return find(tx, id);
            }
            tx.execute(
                "UPDATE conversations SET title = ?2, title_is_custom = ?3 WHERE id = ?1",
                params![id, title, custom],
            )?;
            search::put_title(tx, id, title)?;
            find(tx, id)
        })
    }

    /// Notes the model that the conversation is used with.
    pub fn set_model(&mut self, id: ConversationId, model: Option<&ModelRef>) -> Result<(), StoreError> {
        self.change(|tx| {
            let changed = tx.execute(
                "UPDATE conversations SET model_path = ?2, model_name = ?3 WHERE id = ?1",
                params![id, model.map(|m| &m.path), model.map(|m| &m.name)],
            )?;
            require_found(changed, id)
        })
    }

    /// Shows the branch that ends at `leaf`, a message of this conversation. It need not be a last
    /// one: showing an earlier message is how a new branch begins there. `None` shows none, so
    /// that the first message can be written anew.
    pub fn set_active_leaf(&mut self, id: ConversationId, leaf: Option<NodeId>) -> Result<(), StoreError> {
        self.change(|tx| {
            find(tx, id)?;
            if let Some(leaf) = leaf {
                crate::message::require_in(tx, leaf, id)?;
            }
            tx.execute("UPDATE conversations SET active_leaf = ?2 WHERE id = ?1", params![id, leaf])?;
            Ok(())
        })
    }

    /// Shows the branch that ends at this message, whatever follows it: the next message begins another
    /// branch there. The conversation keeps its place in the list.
    pub fn jump_to(&mut self, node: NodeId) -> Result<(), StoreError> {
        self.change(|tx| {
            let conversation = crate::message::find(tx, node)?.conversation;
            tx.execute(
                "UPDATE conversations SET active_leaf = ?2 WHERE id = ?1",
                params![conversation, node],
            )?;
            Ok(())
        })
    }

    /// Moves the conversation to the top of the list.
    pub fn touch(&mut self, id: ConversationId, now: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| touch(tx, id, now))
    }

    /// Puts the conversation in the trash. One that is there already keeps its moment.
    pub fn trash(&mut self, id: ConversationId, now: Timestamp) -> Result<(), StoreError> {
        self.change(|tx| {
            let changed = tx.execute(
                "UPDATE conversations SET trashed_at = coalesce(trashed_at, ?2) WHERE id = ?1",
                params![id, now],
            )?;
            require_found(changed, id)
        })
    }

    /// Takes the conversation out of the trash, unchanged.
    pub fn restore(&mut self, id: ConversationId) -> Result<(), StoreError> {
        self.change(|tx| {
            let changed =
                tx.execute("UPDATE conversations SET trashed_at = NULL WHERE id = ?1", params![id])?;
            require_found(changed, id)
        })
    }
}

pub(crate) fn find(conn: &Connection, id: ConversationId) -> Result<Conversation, StoreError> {
    conn.prepare_cached("SELECT * FROM conversations WHERE id = ?1")?
        .query_row([id], Conversation::from_row)
        .optional()?
        .ok_or_else(|| not_found(id))
}

/// A clock that was set back does not move a conversation back.
pub(crate) fn touch(tx: &Transaction<'_>, id: ConversationId, now: Timestamp) -> Result<(), StoreError> {
    let changed =
        tx.execute("UPDATE conversations SET updated = max(updated, ?2) WHERE id = ?1", params![id, now])?;
    require_found(changed, id)
}

fn require_found(changed: usize, id: ConversationId) -> Result<(), StoreError> {
    if changed == 0 {
        return Err(not_found(id));
    }
    Ok(())
}

fn not_found(id: ConversationId) -> StoreError {
    StoreError::NotFound { noun: "conversation", id: id.to_string() }
}
