//! Answers while they are written: begun, grown, finished, or found abandoned at the next start.

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use crate::message::{find, hash, show, stored_words};
use crate::tokens::require_identity;
use crate::{
    HistoryWriter, Message, MessageState, NodeId, Notice, Role, StoreError, Timestamp, TokenSequence,
    conversation, search,
};

stored_words! {
    /// Why an answer ended.
    StopReason {
        /// The model had finished.
        End = "end",
        /// The limit of tokens was reached.
        Length = "length",
        /// The user stopped it.
        Cancelled = "cancelled",
        /// The engine failed.
        Failed = "failed",
    }
}

/// An answer that is about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// Its id; the moment in it is when it was begun.
    pub id: NodeId,
    /// The message that it answers.
    pub parent: NodeId,
    /// The model that writes it.
    pub model_name: Option<String>,
}

/// An answer that has been written, as it is to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedAnswer {
    /// All of its text.
    pub text: String,
    /// All of its token ids.
    pub tokens: Option<TokenSequence>,
    /// How far it got; anything but `Streaming`.
    pub state: MessageState,
    /// Why it ended.
    pub stop: Option<StopReason>,
    /// What it cost.
    pub stats: Option<serde_json::Value>,
    /// How its conversation was resumed for it.
    pub receipt: Option<serde_json::Value>,
    /// How it came to be, where there is something to say.
    pub notice: Option<Notice>,
    /// When it ended.
    pub finished: Timestamp,
}

impl HistoryWriter {
    /// Begins an empty answer to `parent` and shows the branch that it ends.
    pub fn begin_answer(&mut self, new: &NewAnswer) -> Result<Message, StoreError> {
        self.change(|tx| {
            let parent = find(tx, new.parent)?;
            if parent.state == MessageState::Streaming {
                return Err(StoreError::Conflict {
                    why: "the answer that it follows is still being written",
                });
            }
            let created = new.id.created();
            tx.execute(
                "INSERT INTO messages
                     (id, conversation, parent, role, text, text_hash, state, created, model_name)
                 VALUES (?1, ?2, ?3, ?4, '', ?5, ?6, ?7, ?8)",
                params![
                    new.id,
                    parent.conversation,
                    new.parent,
                    Role::Assistant,
                    hash(""),
                    MessageState::Streaming,
                    created,
                    new.model_name,
                ],
            )?;
            show(tx, parent.conversation, new.id, created)?;
            find(tx, new.id)
        })
    }

    /// Keeps what an answer has come to so far: all of its text, and all of its token ids.
    pub fn update_answer(
        &mut self,
        node: NodeId,
        text: &str,
        tokens: Option<&TokenSequence>,
    ) -> Result<(), StoreError> {
        require_identity(tokens)?;
        self.change(|tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE messages
                     SET text = ?2, text_hash = ?3, token_ids = ?4, token_identity = ?5
                     WHERE id = ?1 AND state = 'streaming'",
                )?
                .execute(params![
                    node,
                    text,
                    hash(text),
                    tokens.map(TokenSequence::to_blob),
                    tokens.map(|tokens| &tokens.identity),
                ])?;
            require_streaming(tx, changed, node)
        })
    }

    /// Ends an answer. From then on it never changes.
    pub fn finish_answer(&mut self, node: NodeId, answer: &FinishedAnswer) -> Result<Message, StoreError> {
        if answer.state == MessageState::Streaming {
            return Err(StoreError::Conflict {
                why: "a finished answer cannot be one that is still being written",
            });
        }
        let tokens = answer.tokens.as_ref();
        require_identity(tokens)?;
        self.change(|tx| {
            let changed = tx.execute(
                "UPDATE messages
                 SET text = ?2, text_hash = ?3, token_ids = ?4, token_identity = ?5, state = ?6,
                     stop = ?7, stats = ?8, receipt = ?9, notice = ?10, notice_code = ?11, finished = ?12
                 WHERE id = ?1 AND state = 'streaming'",
                params![
                    node,
                    answer.text,
                    hash(&answer.text),
                    tokens.map(TokenSequence::to_blob),
                    tokens.map(|tokens| &tokens.identity),
                    answer.state,
                    answer.stop,
                    answer.stats.as_ref().map(ToString::to_string),
                    answer.receipt.as_ref().map(ToString::to_string),
                    answer.notice.as_ref().map(|notice| &notice.text),
                    answer.notice.as_ref().map(|notice| &notice.code),
                    answer.finished,
                ],
            )?;
            require_streaming(tx, changed, node)?;
            search::put_message(tx, node, &answer.text)?;
            let message = find(tx, node)?;
            conversation::touch(tx, message.conversation, answer.finished)?;
            Ok(message)
        })
    }
}

/// Marks every answer that an earlier run left open as interrupted, and makes it findable.
/// Returns how many there were.
pub(crate) fn close_abandoned(writer: &mut HistoryWriter, now: Timestamp) -> Result<usize, StoreError> {
    let abandoned = {
        let mut statement = writer.conn.prepare("SELECT * FROM messages WHERE state = 'streaming'")?;
        let rows = statement.query_map([], Message::from_row)?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    if abandoned.is_empty() {
        return Ok(0);
    }
    writer.change(|tx| {
        for answer in &abandoned {
            tx.execute(
                "UPDATE messages SET state = 'interrupted', finished = ?2 WHERE id = ?1",
                params![answer.id, now],
            )?;
            search::put_message(tx, answer.id, &answer.text)?;
        }
        Ok(abandoned.len())
    })
}

/// Tells an answer that is finished from one that is not there.
fn require_streaming(tx: &Transaction<'_>, changed: usize, node: NodeId) -> Result<(), StoreError> {
    if changed == 1 {
        return Ok(());
    }
    find(tx, node)?;
    Err(StoreError::Conflict { why: "this answer is already finished" })
}
