//! Reading snapshots: the list, a sealed description, the pieces.

use rusqlite::{MAIN_DB, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use crate::snapshots::db::Db;
use crate::snapshots::hash::{ChunkHash, ContentHash, Tag};
use crate::snapshots::key::{Key, KeyFile};
use crate::snapshots::manifest::{Manifest, Sealed};
use crate::snapshots::opening::check_schema;
use crate::{ConversationId, Damage, DataDir, NodeId, SnapshotId, StoreError, Timestamp};

/// Snapshots, for reading; may live beside the writer, in this process or another. One a thread:
/// several can read and verify different pieces at the same time.
#[derive(Debug)]
pub struct SnapshotReader {
    pub(crate) db: Db,
    pub(crate) dir: DataDir,
    /// Without it nothing passes for whole.
    pub(crate) key: Option<Key>,
}

/// Whether a snapshot may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SnapshotState {
    /// As saved.
    Ready,
    /// It once led to a failure and is not to be used; kept to find out why.
    Quarantined {
        /// What happened.
        why: String,
    },
}

/// A row of the list of snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
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
    /// Bytes that no other snapshot holds: what dropping it would free.
    pub own_bytes: u64,
    /// The hash of what has to be the same for it to be used.
    pub identity: ContentHash,
    /// When it was taken.
    pub created: Timestamp,
    /// When it was last saved or restored; where the clock was set back, just after every use before.
    pub last_used: Timestamp,
    /// Whether it may be used.
    pub state: SnapshotState,
    /// Whether it is never evicted.
    pub pinned: bool,
}

/// A piece to be read, as its manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkToRead {
    /// Its place among the snapshot's pieces, counted from 1.
    pub number: usize,
    /// How many pieces the snapshot has.
    pub of: usize,
    /// Its name.
    pub hash: ChunkHash,
    /// How many bytes it must have.
    pub bytes: u64,
}

impl Manifest {
    /// The pieces to be read, in order. Each can be read on another thread.
    pub fn to_read(&self) -> impl Iterator<Item = ChunkToRead> + '_ {
        let of = self.chunks.len();
        let piece = move |(index, chunk): (usize, &crate::Chunk)| ChunkToRead {
            number: index + 1,
            of,
            hash: chunk.hash,
            bytes: chunk.bytes,
        };
        self.chunks.iter().enumerate().map(piece)
    }
}

impl SnapshotReader {
    /// Opens for reading. An absent file reads as no snapshots, and nothing is made in its place.
    pub fn open(dir: &DataDir) -> Result<Self, StoreError> {
        let key = match KeyFile::read(dir)? {
            KeyFile::Good(key) => Some(key),
            KeyFile::Absent | KeyFile::Wrong => None,
        };
        Self::with_key(dir, key)
    }

    /// Another reader of the same snapshots, for another thread.
    pub fn another(&self) -> Result<Self, StoreError> {
        Self::with_key(&self.dir, self.key.clone())
    }

    fn with_key(dir: &DataDir, key: Option<Key>) -> Result<Self, StoreError> {
        let path = dir.snapshots_db();
        let db = if path.exists() { Db::open_reading(&path)? } else { Db::absent(&path)? };
        check_schema(&db)?;
        Ok(Self { db, dir: dir.clone(), key })
    }

    /// All snapshots, the most recently used first.
    pub fn list(&self) -> Result<Vec<SnapshotInfo>, StoreError> {
        let sql = "
            SELECT s.*, coalesce((
                SELECT sum(c.bytes) FROM snapshot_chunks sc JOIN chunks c ON c.id = sc.chunk
                WHERE sc.seq = s.seq AND c.refs = 1
            ), 0) AS own_bytes
            FROM snapshots s ORDER BY s.last_used DESC, s.seq DESC";
        self.db.read(|conn| {
            let mut statement = conn.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(SnapshotInfo {
                    id: row.get("id")?,
                    conversation: row.get("conversation")?,
                    node: row.get("node")?,
                    n_tokens: row.get("n_tokens")?,
                    bytes: row.get("bytes")?,
                    own_bytes: row.get("own_bytes")?,
                    identity: row.get("identity")?,
                    created: row.get("created")?,
                    last_used: row.get("last_used")?,
                    state: state_of(row)?,
                    pinned: row.get("pinned")?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The conversations that have snapshots: to find those that were erased while a program was
    /// stopped before it could erase their snapshots.
    pub fn conversations(&self) -> Result<Vec<ConversationId>, StoreError> {
        self.db.read(|conn| {
            let mut statement = conn.prepare("SELECT DISTINCT conversation FROM snapshots ORDER BY 1")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// How many snapshots there are, and how many of them are pinned.
    pub fn counts(&self) -> Result<(u32, u32), StoreError> {
        let sql = "SELECT count(*), coalesce(sum(pinned), 0) FROM snapshots";
        self.db
            .read(|conn| Ok(conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?))
    }

    /// Bytes that snapshots take on the disk, their descriptions and the space between them included.
    pub fn total_bytes(&self) -> Result<u64, StoreError> {
        self.db.used_bytes()
    }

    /// A snapshot's description: its seal is checked first, then it is read, then checked for sense.
    pub fn manifest(&self, id: SnapshotId) -> Result<Manifest, Damage> {
        let row = self.db.read(|conn| {
            let sql = "
                SELECT s.conversation, s.node, s.key_name, s.tag, m.manifest, t.tokens
                FROM snapshots s LEFT JOIN manifests m USING (seq) LEFT JOIN snapshot_tokens t USING (seq)
                WHERE s.id = ?1";
            Ok(conn.prepare_cached(sql)?.query_row([id], SealedRow::from_row).optional()?)
        });
        let row = row.map_err(|error| Damage::from(&error))?.ok_or(Damage::Gone)?;
        let key = self.key.as_ref().filter(|key| key.fingerprint() == row.key_name[..]);
        let key = key.ok_or(Damage::KeyGone)?;
        let sealed = row.sealed(id).ok_or(Damage::Tag)?;
        // Compared as BLAKE3 compares: in constant time.
        if blake3::Hash::from(*sealed.tag(key).as_bytes()) != blake3::Hash::from(*row.tag.as_bytes()) {
            return Err(Damage::Tag);
        }
        sealed.parse()
    }

    /// Reads a piece into `out`, whose earlier content goes and whose memory is used again, and
    /// compares it with its hash. Of a damaged piece nothing remains in `out`.
    pub fn read_chunk(&self, chunk: &ChunkToRead, out: &mut Vec<u8>) -> Result<(), Damage> {
        let result = self.fill(chunk, out);
        if result.is_err() {
            out.clear();
        }
        result
    }

    fn fill(&self, chunk: &ChunkToRead, out: &mut Vec<u8>) -> Result<(), Damage> {
        let ChunkToRead { number, of, hash, bytes: expected } = *chunk;
        let found = self.db.read(|conn| {
            let sql = "SELECT c.id FROM chunks c JOIN chunk_data d USING (id) WHERE c.hash = ?1";
            let id: Option<i64> = conn.prepare_cached(sql)?.query_row([hash], |row| row.get(0)).optional()?;
            let Some(id) = id else { return Ok(None) };
            let blob = conn.blob_open(MAIN_DB, "chunk_data", "data", id, true)?;
            let found = blob.len();
            if found as u64 == expected {
                out.resize(found, 0);
                blob.read_at_exact(out, 0)?;
            }
            Ok(Some(found as u64))
        });
        match found.map_err(|error| Damage::from(&error))? {
            None => Err(Damage::ChunkMissing { number, of }),
            Some(found) if found != expected => Err(Damage::ChunkLength { number, of, found, expected }),
            Some(_) if ChunkHash::of(out) != hash => Err(Damage::ChunkChanged { number, of }),
            Some(_) => Ok(()),
        }
    }
}

pub(crate) fn state_of(row: &Row<'_>) -> rusqlite::Result<SnapshotState> {
    let ready = row.get_ref("state")?.as_str().is_ok_and(|state| state == "ready");
    if ready {
        return Ok(SnapshotState::Ready);
    }
    let why: Option<String> = row.get("why")?;
    Ok(SnapshotState::Quarantined { why: why.unwrap_or_default() })
}

/// What is stored of a snapshot, nothing of it trusted.
struct SealedRow {
    conversation: ConversationId,
    node: NodeId,
    key_name: Vec<u8>,
    tag: Tag,
    manifest: Option<Vec<u8>>,
    tokens: Option<Vec<u8>>,
}

impl SealedRow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            conversation: row.get(0)?,
            node: row.get(1)?,
            key_name: row.get(2)?,
            tag: row.get(3)?,
            manifest: row.get(4)?,
            tokens: row.get(5)?,
        })
    }

    fn sealed(&self, id: SnapshotId) -> Option<Sealed<'_>> {
        Some(Sealed {
            id,
            conversation: self.conversation,
            node: self.node,
            manifest: self.manifest.as_deref()?,
            tokens: self.tokens.as_deref()?,
        })
    }
}
