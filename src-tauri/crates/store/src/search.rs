//! Full-text search over messages and titles: the index, kept in the transaction that changes the
//! text, and the queries.
//!
//! The index holds its own copy of each text, cut for the tokenizer (`segment`). An entry's rowid is
//! the `seq` of its message, or minus the `seq` of the conversation whose title it is.

mod query;
mod segment;

use std::ops::Range;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::conversation::LossyText;
use crate::{ConversationId, History, HistoryWriter, IndexCheck, NodeId, StoreError};
use query::match_expression;
use segment::{MATCH_END, MATCH_START, segment, unsegment};

/// `secure-delete` makes FTS5 take the words of a deleted entry out of its index at once.
pub(crate) const V1: &str = "
CREATE VIRTUAL TABLE search_index USING fts5 (
    body,
    tokenize = 'unicode61 remove_diacritics 2',
    prefix = '1 2 3'
);
INSERT INTO search_index (search_index, rank) VALUES ('secure-delete', 1);
";

/// About how many words, or Chinese characters, a snippet shows. FTS5 allows up to 64.
const SNIPPET_TOKENS: u8 = 32;

/// How many matching messages, the newest first, compete for the best places.
const RANKED_MESSAGES: i64 = 5_000;

/// A place where the words were found.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchHit {
    /// The conversation.
    pub conversation: ConversationId,
    /// The message; `None` where it is the title that matches.
    pub message: Option<NodeId>,
    /// The conversation's title.
    pub title: String,
    /// The matching part of the text, with `…` where it was cut. Full-width letters are shown as
    /// plain ones.
    pub snippet: String,
    /// The matches in `snippet`, as ranges of bytes, in order.
    pub matches: Vec<Range<usize>>,
    /// How well it fits (BM25): the lower the better, and below zero.
    pub rank: f64,
}

impl SearchHit {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (snippet, matches) = unsegment(&row.get::<_, LossyText>("snippet")?.0);
        Ok(Self {
            conversation: row.get("conversation")?,
            message: row.get("message")?,
            title: row.get::<_, LossyText>("title")?.0,
            snippet,
            matches,
            rank: row.get("rank")?,
        })
    }
}

impl History {
    /// The best `limit` places that hold all the words, conversations in the trash left out. Of
    /// messages that match, the newest 5,000 are looked at; of titles, all.
    ///
    /// Words may come in any order; `\"quoted words\"` only as they stand. The last word may be
    /// unfinished, unless a space follows it. Case and accents do not matter. No input is an error:
    /// what holds no letter or digit finds nothing. Only the first 1,000 characters and 32 words
    /// count.
    pub fn search(&self, input: &str, limit: usize) -> Result<Vec<SearchHit>, StoreError> {
        self.search_among(input, limit, RANKED_MESSAGES)
    }

    fn search_among(&self, input: &str, limit: usize, ranked: i64) -> Result<Vec<SearchHit>, StoreError> {
        let Some(expression) = match_expression(input) else {
            return Ok(Vec::new());
        };
        let floor = self.oldest_ranked(&expression, ranked)?;
        // CROSS JOIN keeps the index outermost, so that it delivers the rows best first.
        let mut statement = self.conn.prepare_cached(
            "SELECT c.id AS conversation, m.id AS message, c.title AS title, s.rank AS rank,
                    snippet(search_index, 0, ?5, ?6, '…', ?7) AS snippet
             FROM search_index s
             LEFT JOIN messages m ON m.seq = s.rowid
             CROSS JOIN conversations c ON c.id = coalesce(
                 m.conversation, (SELECT t.id FROM conversations t WHERE t.seq = -s.rowid))
             WHERE search_index MATCH ?1 AND s.rowid BETWEEN ?2 AND ?3 AND c.trashed_at IS NULL
             ORDER BY s.rank
             LIMIT ?4",
        )?;
        let mut hits = Vec::new();
        for (first, last) in [(floor, i64::MAX), (i64::MIN, -1)] {
            let rows = statement.query_map(
                params![
                    expression,
                    first,
                    last,
                    i64::try_from(limit).unwrap_or(i64::MAX),
                    MATCH_START.to_string(),
                    MATCH_END.to_string(),
                    SNIPPET_TOKENS
                ],
                SearchHit::from_row,
            )?;
            for hit in rows {
                hits.push(hit?);
            }
        }
        hits.sort_by(|a, b| a.rank.total_cmp(&b.rank));
        hits.truncate(limit);
        Ok(hits)
    }

    /// The entry of the oldest message that is ranked: ranking costs a look at each match, and a
    /// word that half of the library holds says little about which of them is meant.
    fn oldest_ranked(&self, expression: &str, ranked: i64) -> Result<i64, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT rowid FROM search_index WHERE search_index MATCH ?1 AND rowid > 0
             ORDER BY rowid DESC LIMIT 1 OFFSET ?2",
        )?;
        let floor = statement.query_row(params![expression, ranked - 1], |row| row.get(0)).optional()?;
        Ok(floor.unwrap_or(0))
    }

    /// Compares the index with every text and title.
    pub fn check_index(&self) -> Result<IndexCheck, StoreError> {
        let mut check = IndexCheck::default();
        let mut statement = self.conn.prepare(&format!(
            "SELECT t.text, s.body FROM ({INDEXED}) t LEFT JOIN search_index s ON s.rowid = t.entry"
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: LossyText = row.get(0)?;
            match row.get::<_, Option<LossyText>>(1)? {
                None => check.missing += 1,
                Some(body) if body.0 == segment(&text.0) => check.good += 1,
                Some(_) => check.stale += 1,
            }
        }
        check.orphaned = self.conn.query_row(
            &format!(
                "SELECT count(*) FROM search_index
                 WHERE rowid NOT IN (SELECT entry FROM ({INDEXED}))"
            ),
            [],
            |row| row.get(0),
        )?;
        Ok(check)
    }
}

/// Every text that belongs in the index, with the rowid of its entry. Answers still being written
/// are entered when they end.
const INDEXED: &str = "
    SELECT seq AS entry, text AS text FROM messages WHERE state <> 'streaming'
    UNION ALL
    SELECT -seq, title FROM conversations";

impl HistoryWriter {
    /// Makes the index anew from the texts. Returns how many entries it then holds.
    pub fn rebuild_index(&mut self) -> Result<usize, StoreError> {
        self.change(|tx| {
            tx.execute("DELETE FROM search_index", [])?;
            let mut statement = tx.prepare(INDEXED)?;
            let mut rows = statement.query([])?;
            let mut entries = 0;
            while let Some(row) = rows.next()? {
                let text: LossyText = row.get(1)?;
                insert(tx, row.get(0)?, &text.0)?;
                entries += 1;
            }
            Ok(entries)
        })
    }
}

/// Enters a message's text, or replaces it.
pub(crate) fn put_message(tx: &Transaction<'_>, id: NodeId, text: &str) -> Result<(), StoreError> {
    let seq: i64 =
        tx.prepare_cached("SELECT seq FROM messages WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    put(tx, seq, text)
}

/// Enters a conversation's title, or replaces it.
pub(crate) fn put_title(tx: &Transaction<'_>, id: ConversationId, title: &str) -> Result<(), StoreError> {
    let seq: i64 = tx
        .prepare_cached("SELECT seq FROM conversations WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    put(tx, -seq, title)
}

/// Takes out a conversation's title and all of its messages.
pub(crate) fn remove_conversation(tx: &Transaction<'_>, id: ConversationId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM search_index WHERE rowid IN (
             SELECT seq FROM messages WHERE conversation = ?1
             UNION ALL
             SELECT -seq FROM conversations WHERE id = ?1)",
        [id],
    )?;
    Ok(())
}

fn put(tx: &Transaction<'_>, entry: i64, text: &str) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM search_index WHERE rowid = ?1")?.execute([entry])?;
    insert(tx, entry, text)
}

fn insert(tx: &Transaction<'_>, entry: i64, text: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO search_index (rowid, body) VALUES (?1, ?2)")?
        .execute(params![entry, segment(text)])?;
    Ok(())
}

#[cfg(test)]
mod tests;
