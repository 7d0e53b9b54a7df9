//! Parts of the list of snapshots for a screen, and what a mark in a list of conversations is made from. A part
//! means a look at one small row of each snapshot, marks one at those that are asked for; neither reads pieces.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Row};

use crate::snapshots::find::OWN;
use crate::snapshots::manifest::{identity_hash, peek_identity};
use crate::snapshots::reader::{SnapshotReader, state_of};
use crate::{ConversationId, NodeId, SnapshotId, SnapshotState, StoreError, Timestamp};

/// How a list of snapshots is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotOrder {
    /// Largest first.
    Size,
    /// Saved last first.
    Age,
    /// Used last first.
    Used,
}

/// A row of a part of the list: a [`crate::SnapshotInfo`] without what only looking at its pieces tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSnapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Whose state it is.
    pub conversation: ConversationId,
    /// The message at whose end it was taken.
    pub node: NodeId,
    /// How many tokens it has seen.
    pub n_tokens: u32,
    /// Bytes of the state.
    pub bytes: u64,
    /// When it was taken.
    pub created: Timestamp,
    /// When it was last saved or restored; where the clock was set back, just after every use before.
    pub last_used: Timestamp,
    /// Whether it may be used.
    pub state: SnapshotState,
    /// Whether it is never evicted.
    pub pinned: bool,
}

/// What can be told of a snapshot without reading its state. A hint: nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// Its name.
    pub id: SnapshotId,
    /// Whose state it is.
    pub conversation: ConversationId,
    /// The message at whose end it was taken.
    pub node: NodeId,
    /// How many tokens it has seen.
    pub n_tokens: u32,
    /// Bytes of the state.
    pub bytes: u64,
    /// What it says has to be the same for it to be used; empty where that cannot be read.
    pub identity: BTreeMap<String, String>,
    /// Whether it may be used.
    pub state: SnapshotState,
    /// Whether it is never evicted.
    pub pinned: bool,
}

impl SnapshotReader {
    /// Part of the list of snapshots, and how many there are in all.
    pub fn page(
        &self,
        order: SnapshotOrder,
        offset: u32,
        limit: u32,
    ) -> Result<(Vec<ListedSnapshot>, u32), StoreError> {
        // Sorted by narrow rows; only those of the part are read whole. Ages by the order of saving: clocks jump.
        let by = match order {
            SnapshotOrder::Size => "bytes DESC, seq DESC",
            SnapshotOrder::Age => "seq DESC",
            SnapshotOrder::Used => "last_used DESC, seq DESC",
        };
        let sql = format!(
            "SELECT * FROM snapshots WHERE seq IN (SELECT seq FROM snapshots ORDER BY {by} LIMIT ?1 OFFSET ?2)
             ORDER BY {by}"
        );
        self.db.read(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map([limit, offset], ListedSnapshot::from_row)?;
            let rows = rows.collect::<Result<_, _>>()?;
            let total = "SELECT count(*) FROM snapshots";
            Ok((rows, conn.prepare_cached(total)?.query_row([], |row| row.get(0))?))
        })
    }

    /// What can be told of the snapshots of these conversations without reading their states, the most recently
    /// used first; of one conversation at most 128.
    pub fn briefs(&self, conversations: &[ConversationId]) -> Result<Vec<Brief>, StoreError> {
        let sql = format!(
            "SELECT * FROM snapshots WHERE conversation = ?1 ORDER BY last_used DESC, seq DESC LIMIT {OWN}"
        );
        let wanted: BTreeSet<ConversationId> = conversations.iter().copied().collect();
        self.db.read(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let mut known = HashMap::new();
            let mut found = Vec::new();
            for conversation in wanted {
                let mut rows = statement.query([conversation])?;
                while let Some(row) = rows.next()? {
                    let when: (i64, i64) = (row.get("last_used")?, row.get("seq")?);
                    let identity = claimed_identity(conn, row, &mut known)?;
                    found.push((when, Brief::new(ListedSnapshot::from_row(row)?, identity)));
                }
            }
            found.sort_by_key(|(when, _)| Reverse(*when));
            Ok(found.into_iter().map(|(_, brief)| brief).collect())
        })
    }
}

/// Reads the description of a snapshot only where none with the same identity was read: it is long, and almost
/// all say the same.
fn claimed_identity(
    conn: &Connection,
    row: &Row<'_>,
    known: &mut HashMap<[u8; 32], BTreeMap<String, String>>,
) -> rusqlite::Result<BTreeMap<String, String>> {
    let hash: Option<[u8; 32]> = row.get("identity").ok();
    if let Some(identity) = hash.and_then(|hash| known.get(&hash)) {
        return Ok(identity.clone());
    }
    let mut describe = conn.prepare_cached("SELECT manifest FROM manifests WHERE seq = ?1")?;
    let manifest: Option<Vec<u8>> =
        describe.query_row([row.get::<_, i64>("seq")?], |row| row.get(0)).optional()?;
    let identity = manifest.as_deref().and_then(peek_identity).unwrap_or_default();
    // One that is not what its row names says nothing of others.
    if let Some(hash) = hash.filter(|hash| *hash == identity_hash(&identity)) {
        known.insert(hash, identity.clone());
    }
    Ok(identity)
}

impl ListedSnapshot {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            conversation: row.get("conversation")?,
            node: row.get("node")?,
            n_tokens: row.get("n_tokens")?,
            bytes: row.get("bytes")?,
            created: row.get("created")?,
            last_used: row.get("last_used")?,
            state: state_of(row)?,
            pinned: row.get("pinned")?,
        })
    }
}

impl Brief {
    fn new(row: ListedSnapshot, identity: BTreeMap<String, String>) -> Self {
        let ListedSnapshot { id, conversation, node, n_tokens, bytes, state, pinned, .. } = row;
        Self { id, conversation, node, n_tokens, bytes, identity, state, pinned }
    }
}
