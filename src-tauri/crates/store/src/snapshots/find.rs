//! Finding the snapshot with the longest beginning in common with a prompt.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};

use crate::snapshots::manifest::{
    PREFIX_TOKENS, first_difference, identity_hash, peek_identity, prefix_hash,
};
use crate::snapshots::reader::{SnapshotReader, state_of};
use crate::{ConversationId, NodeId, SnapshotId, SnapshotState, StoreError};

/// How many of the conversation's own snapshots are compared with the prompt: the most recent ones.
pub(crate) const OWN: u32 = 128;

/// How many of other conversations with the same beginning. A common system prompt may be the
/// beginning of thousands, and all of those share the same rows of it.
const OTHERS: u32 = 16;

/// A snapshot that might be used. A hint: only [`SnapshotReader::manifest`] tells whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: SnapshotId,
    /// Whose state it is. Not always the conversation that was asked for.
    pub conversation: ConversationId,
    /// The message at whose end it was taken.
    pub node: NodeId,
    /// How many tokens it has seen.
    pub n_tokens: u32,
    /// How many of them, from the first on, are the prompt's.
    pub common: u32,
    /// Bytes of the state.
    pub bytes: u64,
    /// The first name under which its identity differs from the one asked for.
    pub identity_differs: Option<String>,
    /// Whether it may be used.
    pub state: SnapshotState,
    /// Whether it is never evicted.
    pub pinned: bool,
}

struct Found {
    seq: i64,
    identity: Vec<u8>,
    candidate: Candidate,
    last_used: i64,
}

impl SnapshotReader {
    /// Snapshots of this conversation, and of others that begin with the same [`PREFIX_TOKENS`] tokens:
    /// the longest common beginning first; among equals those of the same identity, then ready ones, then
    /// the shortest, then the most recently used.
    pub fn candidates(
        &self,
        identity: &BTreeMap<String, String>,
        conversation: ConversationId,
        tokens: &[i32],
        limit: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        let wanted = identity_hash(identity);
        let mut found = self.with_tokens("conversation = ?1", [conversation], OWN, tokens)?;
        if tokens.len() >= PREFIX_TOKENS {
            let prefix = prefix_hash(tokens);
            let others = self.with_tokens("prefix = ?1", [prefix.as_slice()], OTHERS, tokens)?;
            found.extend(others.into_iter().filter(|other| other.candidate.conversation != conversation));
        }
        found.sort_by_key(|found| {
            (
                Reverse(found.candidate.common),
                found.identity != wanted,
                found.candidate.state != SnapshotState::Ready,
                found.candidate.n_tokens,
                Reverse(found.last_used),
                found.seq,
            )
        });
        found.truncate(limit);
        let named = found.into_iter().map(|found| {
            let mut candidate = found.candidate;
            if found.identity != wanted {
                candidate.identity_differs = Some(self.difference(found.seq, identity)?);
            }
            Ok(candidate)
        });
        named.collect()
    }

    /// The tokens of the longest state of the first of these messages that has any. A hint like a candidate: nothing
    /// says that they are what was sealed.
    pub fn latest_tokens(
        &self,
        conversation: ConversationId,
        nodes: &[NodeId],
    ) -> Result<Option<Vec<i32>>, StoreError> {
        let sql = "SELECT t.tokens FROM snapshots s JOIN snapshot_tokens t USING (seq)
                   WHERE s.conversation = ?1 AND s.node = ?2 ORDER BY s.n_tokens DESC LIMIT 1";
        self.db.read(|conn| {
            let mut statement = conn.prepare_cached(sql)?;
            for node in nodes {
                let found: Option<Vec<u8>> =
                    statement.query_row(params![conversation, node], |row| row.get(0)).optional()?;
                if let Some(bytes) = found {
                    let (tokens, _) = bytes.as_chunks();
                    return Ok(Some(tokens.iter().map(|token| i32::from_le_bytes(*token)).collect()));
                }
            }
            Ok(None)
        })
    }

    fn with_tokens(
        &self,
        which: &str,
        value: impl rusqlite::Params,
        limit: u32,
        tokens: &[i32],
    ) -> Result<Vec<Found>, StoreError> {
        // By the index alone first; the tokens are read only of those that are left.
        let sql = format!(
            "SELECT s.*, t.tokens FROM
                (SELECT * FROM snapshots WHERE {which} ORDER BY last_used DESC LIMIT {limit}) s
             JOIN snapshot_tokens t USING (seq)"
        );
        self.db.read(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map(value, |row| found(row, tokens))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn difference(&self, seq: i64, identity: &BTreeMap<String, String>) -> Result<String, StoreError> {
        let manifest: Option<Vec<u8>> = self.db.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT manifest FROM manifests WHERE seq = ?1")?;
            Ok(statement.query_row([seq], |row| row.get(0)).optional()?)
        })?;
        let stored = manifest.as_deref().and_then(peek_identity);
        // A manifest that cannot be read, or that agrees although its hash does not, is damaged; the
        // seal will tell.
        Ok(stored
            .and_then(|stored| first_difference(identity, &stored))
            .unwrap_or_else(|| "identity".to_owned()))
    }
}

fn found(row: &Row<'_>, tokens: &[i32]) -> rusqlite::Result<Found> {
    let stored = row.get_ref("tokens")?.as_blob().unwrap_or_default();
    let (stored, _) = stored.as_chunks();
    let common = stored.iter().zip(tokens).take_while(|(one, other)| i32::from_le_bytes(**one) == **other);
    Ok(Found {
        seq: row.get("seq")?,
        identity: row.get("identity")?,
        candidate: Candidate {
            id: row.get("id")?,
            conversation: row.get("conversation")?,
            node: row.get("node")?,
            n_tokens: row.get("n_tokens")?,
            common: u32::try_from(common.count()).unwrap_or(u32::MAX),
            bytes: row.get("bytes")?,
            identity_differs: None,
            state: state_of(row)?,
            pinned: row.get("pinned")?,
        },
        last_used: row.get("last_used")?,
    })
}
