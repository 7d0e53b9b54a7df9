//! Messages: nodes of a conversation's tree. Nothing is overwritten but a title, a place in the
//! tree, or an answer that is still being written.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::tokens::require_identity;
use crate::{
    ConversationId, History, HistoryWriter, NodeId, StopReason, StoreError, Timestamp, TokenSequence,
    conversation, search,
};

/// A parent, and an active leaf, are of the same conversation: the foreign keys name both columns.
pub(crate) const V1: &str = "
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 26),
    conversation TEXT NOT NULL REFERENCES conversations (id),
    parent TEXT CHECK (parent <> id),
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    text TEXT NOT NULL,
    text_hash BLOB NOT NULL CHECK (length(text_hash) = 32),
    state TEXT NOT NULL CHECK (state IN ('complete', 'streaming', 'stopped', 'interrupted')),
    notice TEXT,
    token_ids BLOB CHECK (length(token_ids) % 4 = 0),
    token_identity TEXT CHECK (token_identity <> ''),
    stop TEXT CHECK (stop IN ('end', 'length', 'cancelled', 'failed')),
    created INTEGER NOT NULL CHECK (created >= 0),
    finished INTEGER CHECK (finished >= 0),
    stats TEXT CHECK (json_valid(stats)),
    receipt TEXT CHECK (json_valid(receipt)),
    model_name TEXT,
    UNIQUE (conversation, id),
    FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id),
    CHECK (role <> 'system' OR parent IS NULL),
    CHECK (role = 'assistant' OR state = 'complete'),
    CHECK ((token_ids IS NULL) = (token_identity IS NULL)),
    CHECK ((state = 'streaming') = (finished IS NULL))
) STRICT;
CREATE INDEX messages_by_parent ON messages (conversation, parent);
CREATE INDEX messages_by_size ON messages (conversation, role, octet_length(text));
CREATE INDEX messages_streaming ON messages (seq) WHERE state = 'streaming';
";

/// What a notice is about, for those who say it in another language.
pub(crate) const V3: &str = "
ALTER TABLE messages ADD COLUMN notice_code TEXT 
    CHECK (notice_code IS NULL OR (notice_code <> '' AND notice IS NOT NULL));
";

/// What there is to say about how a message came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable snake-case word; `None` where it was written before there were any.
    pub code: Option<String>,
    /// One sentence for people.
    pub text: String,
}

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: NodeId,
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// The message it follows; `None` at the root of a branch.
    pub parent: Option<NodeId>,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
    /// Whether the disk gave back something else than what was written. The text is then as it was
    /// found, and must not be taken for what was said.
    pub damaged: bool,
    /// How far it got.
    pub state: MessageState,
    /// How it came to be, where there is something to say.
    pub notice: Option<Notice>,
    /// Its token ids, where they are known.
    pub tokens: Option<TokenSequence>,
    /// Why an answer ended.
    pub stop: Option<StopReason>,
    /// When it was begun.
    pub created: Timestamp,
    /// When it ended; `None` while it is being written.
    pub finished: Option<Timestamp>,
    /// What it cost, as the writer of it noted.
    pub stats: Option<serde_json::Value>,
    /// How its conversation was resumed for it.
    pub receipt: Option<serde_json::Value>,
    /// The model that wrote it.
    pub model_name: Option<String>,
}

/// What the user, or a system prompt, says. Answers are begun with `begin_answer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its id; the moment in it is when it was written.
    pub id: NodeId,
    /// The conversation to add to.
    pub conversation: ConversationId,
    /// The message it follows; `None` begins a branch at the root. A system prompt is always a root.
    pub parent: Option<NodeId>,
    /// Who speaks. `Assistant` here is a complete answer from elsewhere, such as an import.
    pub role: Role,
    /// What is said.
    pub text: String,
}

macro_rules! stored_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word that stands for it in the database and in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = FromSqlError;

            fn from_str(word: &str) -> Result<Self, FromSqlError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(FromSqlError::InvalidType),
                }
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse()
            }
        }
    };
}
pub(crate) use stored_words;

stored_words! {
    /// Who speaks.
    Role {
        /// The system prompt.
        System = "system",
        /// The user.
        User = "user",
        /// The model.
        Assistant = "assistant",
    }
}

stored_words! {
    /// How far a message got.
    MessageState {
        /// Whole.
        Complete = "complete",
        /// An answer that is being written.
        Streaming = "streaming",
        /// An answer that the user stopped.
        Stopped = "stopped",
        /// An answer that was cut off: the engine failed, or the program ended.
        Interrupted = "interrupted",
    }
}

impl Message {
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = match row.get_ref("text")? {
            ValueRef::Text(bytes) => bytes,
            _ => b"",
        };
        let hash: Option<[u8; 32]> = row.get("text_hash").ok();
        let stats = Details::read(row, "stats")?;
        let receipt = Details::read(row, "receipt")?;
        Ok(Self {
            id: row.get("id")?,
            conversation: row.get("conversation")?,
            parent: row.get("parent")?,
            role: row.get("role")?,
            damaged: hash != Some(*blake3::hash(text).as_bytes()) || stats.unreadable || receipt.unreadable,
            text: String::from_utf8_lossy(text).into_owned(),
            state: row.get("state")?,
            notice: match row.get("notice")? {
                Some(text) => Some(Notice { code: row.get("notice_code")?, text }),
                None => None,
            },
            tokens: TokenSequence::from_row(row)?,
            stop: row.get("stop")?,
            created: row.get("created")?,
            finished: row.get("finished")?,
            stats: stats.value,
            receipt: receipt.value,
            model_name: row.get("model_name")?,
        })
    }
}

/// A JSON column, which does not take the message down with it where it is unreadable.
struct Details {
    value: Option<serde_json::Value>,
    unreadable: bool,
}

impl Details {
    fn read(row: &Row<'_>, column: &str) -> rusqlite::Result<Self> {
        Ok(match row.get_ref(column)? {
            ValueRef::Null => Self { value: None, unreadable: false },
            ValueRef::Text(json) => {
                let value = serde_json::from_slice(json).ok();
                Self { unreadable: value.is_none(), value }
            }
            _ => Self { value: None, unreadable: true },
        })
    }
}

impl History {
    /// One message.
    pub fn message(&self, node: NodeId) -> Result<Message, StoreError> {
        find(&self.conn, node)
    }

    /// The messages from the root of its branch down to `node`, both included.
    pub fn path_to(&self, node: NodeId) -> Result<Vec<Message>, StoreError> {
        path_to(&self.conn, node)
    }

    /// The branch that is shown: from the root to the active leaf. Empty where there is none.
    pub fn active_path(&self, conversation: ConversationId) -> Result<Vec<Message>, StoreError> {
        match self.conversation(conversation)?.active_leaf {
            Some(leaf) => self.path_to(leaf),
            None => Ok(Vec::new()),
        }
    }

    /// The whole tree, in the order in which the messages were added: parents before children.
    pub fn messages(&self, conversation: ConversationId) -> Result<Vec<Message>, StoreError> {
        self.conversation(conversation)?;
        self.messages_where("SELECT * FROM messages WHERE conversation = ?1 ORDER BY seq", [conversation])
    }

    /// What follows `node`, one for each branch, in the order in which they were added.
    pub fn children(&self, node: NodeId) -> Result<Vec<Message>, StoreError> {
        let conversation = self.message(node)?.conversation;
        self.messages_where(
            "SELECT * FROM messages WHERE conversation = ?1 AND parent = ?2 ORDER BY seq",
            params![conversation, node],
        )
    }

    /// `node` and its alternatives: all that follow the same message, or all the roots, in the
    /// order in which they were added.
    pub fn siblings(&self, node: NodeId) -> Result<Vec<Message>, StoreError> {
        let message = self.message(node)?;
        self.messages_where(
            "SELECT * FROM messages WHERE conversation = ?1 AND parent IS ?2 ORDER BY seq",
            params![message.conversation, message.parent],
        )
    }

    /// The versions beside each message of `path`, itself included, oldest first: all of its role that
    /// follow the same message. What is said first in the conversation, behind whichever system prompt or
    /// behind none, counts as following the same.
    pub fn versions_along(&self, path: &[Message]) -> Result<Vec<Vec<NodeId>>, StoreError> {
        let Some(conversation) = path.first().map(|message| message.conversation) else {
            return Ok(Vec::new());
        };
        let prompts = self.system_prompts(conversation)?;
        let place = |parent: Option<NodeId>, role: Role| (parent.filter(|id| !prompts.contains(id)), role);
        // One look at the tree, not one a message.
        let mut statement = self
            .conn
            .prepare_cached("SELECT parent, role, id FROM messages WHERE conversation = ?1 ORDER BY seq")?;
        let mut beside: HashMap<(Option<NodeId>, Role), Vec<NodeId>> =
            path.iter().map(|message| (place(message.parent, message.role), Vec::new())).collect();
        let mut rows = statement.query([conversation])?;
        while let Some(row) = rows.next()? {
            if let Some(versions) = beside.get_mut(&place(row.get(0)?, row.get(1)?)) {
                versions.push(row.get(2)?);
            }
        }
        let of = |message: &Message| beside.get(&place(message.parent, message.role)).cloned();
        Ok(path.iter().map(|message| of(message).unwrap_or_default()).collect())
    }

    fn system_prompts(&self, conversation: ConversationId) -> Result<HashSet<NodeId>, StoreError> {
        let sql = "SELECT id FROM messages WHERE conversation = ?1 AND role = 'system'";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([conversation], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The end of the branch below `node` that was added to last; `node` itself where nothing follows.
    pub fn newest_end(&self, node: NodeId) -> Result<NodeId, StoreError> {
        let newest: Option<NodeId> = self
            .conn
            .prepare_cached(
                "WITH RECURSIVE below (id, seq) AS (
                     SELECT id, seq FROM messages WHERE id = ?1
                     UNION
                     SELECT m.id, m.seq FROM messages m JOIN below ON m.parent = below.id
                     WHERE m.conversation = (SELECT conversation FROM messages WHERE id = ?1)
                 )
                 SELECT id FROM below ORDER BY seq DESC LIMIT 1",
            )?
            .query_row([node], |row| row.get(0))
            .optional()?;
        newest.ok_or_else(|| not_found(node))
    }

    /// Each message of a conversation with the one that it follows. No text is read.
    pub fn parents(
        &self,
        conversation: ConversationId,
    ) -> Result<HashMap<NodeId, Option<NodeId>>, StoreError> {
        let sql = "SELECT id, parent FROM messages WHERE conversation = ?1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([conversation], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn messages_where(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Message>, StoreError> {
        messages_where(&self.conn, sql, params)
    }
}

fn messages_where(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Message>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params, Message::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The messages from the root of its branch down to `node`, both included.
pub(crate) fn path_to(conn: &Connection, node: NodeId) -> Result<Vec<Message>, StoreError> {
    // UNION, not UNION ALL: ends also where a damaged file holds a circle.
    let mut path = messages_where(
        conn,
        "WITH RECURSIVE path (id, parent) AS (
             SELECT id, parent FROM messages WHERE id = ?1
             UNION
             SELECT m.id, m.parent FROM messages m JOIN path ON m.id = path.parent
         )
         SELECT m.* FROM path JOIN messages m ON m.id = path.id",
        [node],
    )?;
    if path.is_empty() {
        return Err(not_found(node));
    }
    order_by_parent(&mut path, node);
    Ok(path)
}

/// Puts a path in order, root first, by following the parents up from `leaf`.
fn order_by_parent(path: &mut Vec<Message>, leaf: NodeId) {
    let mut by_id: HashMap<NodeId, Message> = path.drain(..).map(|message| (message.id, message)).collect();
    let mut next = Some(leaf);
    while let Some(message) = next.and_then(|id| by_id.remove(&id)) {
        next = message.parent;
        path.push(message);
    }
    path.reverse();
}

impl HistoryWriter {
    /// Adds a message and shows the branch that it ends.
    pub fn append_message(&mut self, new: &NewMessage) -> Result<Message, StoreError> {
        self.change(|tx| {
            conversation::find(tx, new.conversation)?;
            if let Some(parent) = new.parent {
                require_follows(tx, parent, new.conversation, new.role)?;
            }
            let created = new.id.created();
            insert(tx, new, created)?;
            show(tx, new.conversation, new.id, created)?;
            find(tx, new.id)
        })
    }

    /// Keeps the token ids of a message, replacing those it had.
    pub fn set_tokens(&mut self, node: NodeId, tokens: &TokenSequence) -> Result<(), StoreError> {
        require_identity(Some(tokens))?;
        self.change(|tx| {
            let changed = tx.execute(
                "UPDATE messages SET token_ids = ?2, token_identity = ?3 WHERE id = ?1",
                params![node, tokens.to_blob(), tokens.identity],
            )?;
            if changed == 0 {
                return Err(not_found(node));
            }
            Ok(())
        })
    }
}

/// Adds a whole message and its entry in the index.
pub(crate) fn insert(tx: &Transaction<'_>, new: &NewMessage, created: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO messages
             (id, conversation, parent, role, text, text_hash, state, created, finished)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        params![
            new.id,
            new.conversation,
            new.parent,
            new.role,
            new.text,
            hash(&new.text),
            MessageState::Complete,
            created,
        ],
    )?;
    search::put_message(tx, new.id, &new.text)
}

pub(crate) fn hash(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

pub(crate) fn find(conn: &Connection, node: NodeId) -> Result<Message, StoreError> {
    conn.prepare_cached("SELECT * FROM messages WHERE id = ?1")?
        .query_row([node], Message::from_row)
        .optional()?
        .ok_or_else(|| not_found(node))
}

/// Makes `node` the active leaf, and its conversation the last changed.
pub(crate) fn show(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    node: NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("UPDATE conversations SET active_leaf = ?2 WHERE id = ?1", params![conversation, node])?;
    conversation::touch(tx, conversation, now)
}

/// Refuses a message that is of another conversation.
pub(crate) fn require_in(
    conn: &Connection,
    node: NodeId,
    conversation: ConversationId,
) -> Result<Message, StoreError> {
    let message = find(conn, node)?;
    if message.conversation != conversation {
        return Err(StoreError::Conflict { why: "the message belongs to another conversation" });
    }
    Ok(message)
}

/// Refuses a place in the tree where a message of this role cannot stand.
fn require_follows(
    conn: &Connection,
    parent: NodeId,
    conversation: ConversationId,
    role: Role,
) -> Result<(), StoreError> {
    let parent = require_in(conn, parent, conversation)?;
    if parent.state == MessageState::Streaming {
        return Err(StoreError::Conflict { why: "the answer that it follows is still being written" });
    }
    if role == Role::System {
        return Err(StoreError::Conflict {
            why: "a system prompt stands at the beginning of a conversation",
        });
    }
    Ok(())
}

pub(crate) fn not_found(node: NodeId) -> StoreError {
    StoreError::NotFound { noun: "message", id: node.to_string() }
}
