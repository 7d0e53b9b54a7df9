//! Saving: chunks first, in small transactions; the manifest last, in one. Until then nothing of it
//! is visible, and what remains of a save that was cut off is collected.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{OptionalExtension, Transaction, params};

use crate::snapshots::db::{Fault, PAGE_BYTES};
use crate::snapshots::hash::ChunkHash;
use crate::snapshots::layout::CHUNK_LIMIT;
use crate::snapshots::manifest::{NewSnapshot, Written, identity_hash, prefix_hash};
use crate::snapshots::store::{SnapshotStore, moment_of_use, remove_one};
use crate::{SnapshotId, StoreError};

/// Bytes of chunks that are stored in one transaction.
const BATCH_BYTES: u64 = 8 << 20;

/// A save that is going on. While it lives, the chunks that it counts on are not collected; dropped
/// before [`SnapshotStore::commit`], nothing of it remains visible.
#[derive(Debug)]
pub struct Save {
    protected: Arc<Mutex<Protected>>,
    chunks_new: usize,
    bytes_written: u64,
    evicted: Vec<SnapshotId>,
}

/// The chunks that a save counts on.
#[derive(Debug, Default)]
pub(crate) struct Protected {
    /// The chunk's id by its hash.
    chunks: HashMap<ChunkHash, i64>,
}

impl Protected {
    pub(crate) fn ids(&self) -> impl Iterator<Item = i64> {
        self.chunks.values().copied()
    }
}

/// What beginning a save came to.
#[derive(Debug)]
pub enum Begun {
    /// Go on.
    Save(Save),
    /// The state alone would take more than half of the budget. Nothing was written; the user is to be asked.
    TooLarge {
        /// Bytes of the state.
        bytes: u64,
        /// Bytes of the budget.
        budget: u64,
    },
}

/// What a save came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The snapshot.
    pub id: SnapshotId,
    /// Bytes of chunks that were written; the others were there already.
    pub bytes_written: u64,
    /// How many chunks were written.
    pub chunks_new: usize,
    /// How many different chunks were there already.
    pub chunks_shared: usize,
    /// Snapshots that were evicted to make room.
    pub evicted: Vec<SnapshotId>,
}

impl Save {
    fn protected(&self) -> MutexGuard<'_, Protected> {
        self.protected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotStore {
    /// Begins saving a state of `bytes` bytes. Refuses with `disk_low` where less than the reserve is free already.
    pub fn begin_save(&mut self, bytes: u64) -> Result<Begun, StoreError> {
        let budget = self.budget.bytes;
        if bytes > budget / 2 {
            return Ok(Begun::TooLarge { bytes, budget });
        }
        // There was no room for a file when the last one was deleted.
        if self.db.is_absent() {
            self.begin_anew()?;
        }
        self.require_disk(0)?;
        let protected = self.protect();
        Ok(Begun::Save(Save { protected, chunks_new: 0, bytes_written: 0, evicted: Vec::new() }))
    }

    /// Which of these chunks have to be put; the others are there, and stay there for this save.
    pub fn missing(&mut self, save: &mut Save, hashes: &[ChunkHash]) -> Result<Vec<bool>, StoreError> {
        self.check_save(save)?;
        let mut protected = save.protected();
        self.db.read(|conn| {
            let mut statement = conn.prepare_cached(FIND)?;
            let mut missing = Vec::with_capacity(hashes.len());
            for hash in hashes {
                let id: Option<i64> = statement.query_row([hash], |row| row.get(0)).optional()?;
                if let Some(id) = id {
                    protected.chunks.insert(*hash, id);
                }
                missing.push(id.is_none());
            }
            Ok(missing)
        })
    }

    /// Stores chunks that are not there yet, about 8 MB in a transaction. Each is hashed again; one that
    /// is not what its hash says is refused, with the whole batch.
    pub fn put_chunks(&mut self, save: &mut Save, batch: &[(ChunkHash, &[u8])]) -> Result<(), StoreError> {
        self.check_save(save)?;
        for (hash, bytes) in batch {
            let wrong = if bytes.is_empty() || bytes.len() as u64 > CHUNK_LIMIT {
                format!("a piece of {} bytes", bytes.len())
            } else if ChunkHash::of(bytes) != *hash {
                "a piece changed on its way".to_owned()
            } else {
                continue;
            };
            return Err(StoreError::SnapshotRefused { why: wrong });
        }
        let mut rest = batch;
        while !rest.is_empty() {
            let mut weight = 0;
            let fits = rest.iter().take_while(|(_, bytes)| {
                let first = weight == 0;
                weight += bytes.len() as u64;
                first || weight <= BATCH_BYTES
            });
            let (now, later) = rest.split_at(fits.count());
            self.put(save, now)?;
            rest = later;
        }
        Ok(())
    }

    fn put(&mut self, save: &mut Save, batch: &[(ChunkHash, &[u8])]) -> Result<(), StoreError> {
        // Each chunk fills whole pages, and some of the tables' own change.
        let pages: u64 = batch.iter().map(|(_, bytes)| (bytes.len() as u64).div_ceil(PAGE_BYTES)).sum();
        save.evicted.extend(self.admit(pages * PAGE_BYTES)?);
        let put = self.reader.db.change(|tx| put(tx, batch));
        let put = put.map_err(|error| self.when_full(error, save))?;
        for ((hash, bytes), (id, new)) in batch.iter().zip(put) {
            save.protected().chunks.insert(*hash, id);
            if new {
                save.chunks_new += 1;
                save.bytes_written += bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// Makes the snapshot visible, and those that it supersedes invisible, in one transaction; then makes
    /// room in the budget again. Where one that it supersedes was pinned, it is pinned too. Fails with `chunk_missing` where a chunk was never put.
    pub fn commit(&mut self, mut save: Save, new: &NewSnapshot) -> Result<Saved, StoreError> {
        self.check_save(&save)?;
        let written = new.write()?;
        let Some(key) = &self.reader.key else {
            return Err(StoreError::SnapshotRefused { why: "there is no key to seal it with".to_owned() });
        };
        let tag = crate::snapshots::manifest::Sealed {
            id: new.id,
            conversation: new.conversation,
            node: new.node,
            manifest: &written.manifest,
            tokens: &written.tokens,
        }
        .tag(key);
        let key_name = key.fingerprint();
        let inserted = self.reader.db.change(|tx| {
            let distinct = insert(tx, new, &written, &key_name, tag.as_bytes())?;
            for id in new.supersede.iter().filter(|id| **id != new.id) {
                // What was pinned was the conversation's state, not these bytes.
                tx.prepare_cached(
                    "UPDATE snapshots SET pinned = 1
                     WHERE id = ?1 AND EXISTS (SELECT 1 FROM snapshots WHERE id = ?2 AND pinned)",
                )?
                .execute(params![new.id, id])?;
                remove_one(tx, *id)?;
            }
            Ok(distinct)
        });
        let distinct = inserted.map_err(|error| self.when_full(error, &save))?;
        let mut evicted = std::mem::take(&mut save.evicted);
        let (chunks_new, bytes_written) = (save.chunks_new, save.bytes_written);
        // From here on its chunks are held by the snapshot.
        drop(save);
        self.tidy_after(new.id, &mut evicted);
        Ok(Saved {
            id: new.id,
            bytes_written,
            chunks_new,
            chunks_shared: distinct.saturating_sub(chunks_new),
            evicted,
        })
    }

    /// The snapshot is saved; what fails now is made up for at the next save or opening.
    fn tidy_after(&mut self, saved: SnapshotId, evicted: &mut Vec<SnapshotId>) {
        let tidied = self
            .collect_orphans(usize::MAX)
            .and_then(|_| self.make_room(self.budget.bytes, Some(saved)))
            .and_then(|pruned| {
                evicted.extend(pruned.evicted);
                self.give_back_space(AFTER_SAVE_BYTES)
            });
        if let Err(error) = tidied {
            tracing::warn!(%error, "tidying after a save failed");
        }
    }

    /// A full disk ends the save: what it wrote is the first thing to go.
    fn when_full(&mut self, error: StoreError, save: &Save) -> StoreError {
        match error {
            StoreError::SnapshotsFull { .. } => {
                save.protected().chunks.clear();
                StoreError::SnapshotsFull { budget_shrunk: self.shrink_budget() }
            }
            error => error,
        }
    }

    /// A save belongs to the store that began it.
    fn check_save(&self, save: &Save) -> Result<(), StoreError> {
        let ours = self.saves.iter().any(|known| known.as_ptr() == Arc::as_ptr(&save.protected));
        if ours {
            return Ok(());
        }
        Err(StoreError::SnapshotRefused { why: "it was begun before snapshots were started over".to_owned() })
    }
}

/// Bytes given back to the disk after a save at most, so that saving stays short.
const AFTER_SAVE_BYTES: u64 = 64 << 20;

const FIND: &str = "SELECT id FROM chunks WHERE hash = ?1";

/// Returns for each chunk its id, and whether it is new.
pub(super) fn put(tx: &Transaction<'_>, batch: &[(ChunkHash, &[u8])]) -> Result<Vec<(i64, bool)>, Fault> {
    let mut find = tx.prepare_cached(FIND)?;
    let mut name = tx.prepare_cached("INSERT INTO chunks (hash, bytes, refs) VALUES (?1, ?2, 0)")?;
    let mut keep = tx.prepare_cached("INSERT INTO chunk_data (id, data) VALUES (?1, ?2)")?;
    let put = batch.iter().map(|(hash, bytes)| {
        if let Some(id) = find.query_row([hash], |row| row.get(0)).optional()? {
            return Ok((id, false));
        }
        let id = name.insert(params![hash, bytes.len() as u64])?;
        keep.execute(params![id, bytes])?;
        Ok((id, true))
    });
    put.collect()
}

/// Returns how many different chunks the snapshot has.
pub(super) fn insert(
    tx: &Transaction<'_>,
    new: &NewSnapshot,
    written: &Written,
    key_name: &[u8],
    tag: &[u8],
) -> Result<usize, Fault> {
    let of = written.chunks.len();
    let mut find = tx.prepare_cached("SELECT id, bytes FROM chunks WHERE hash = ?1")?;
    let mut ids = HashSet::with_capacity(of);
    for (index, chunk) in written.chunks.iter().enumerate() {
        let found: Option<(i64, u64)> =
            find.query_row([chunk.hash], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((id, bytes)) if bytes == chunk.bytes => ids.insert(id),
            Some((_, bytes)) => {
                let why = format!("piece {} of {of} has {bytes} bytes instead of {}", index + 1, chunk.bytes);
                return Err(StoreError::SnapshotRefused { why }.into());
            }
            None => return Err(StoreError::ChunkMissing { number: index + 1, of }.into()),
        };
    }
    let taken = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE id = ?1)";
    if tx.prepare_cached(taken)?.query_row([new.id], |row| row.get(0))? {
        return Err(
            StoreError::SnapshotRefused { why: "there is one of this name already".to_owned() }.into()
        );
    }
    let sql = "INSERT INTO snapshots (id, conversation, node, identity, prefix, n_tokens, key_name, tag,
                   bytes, created, last_used, state, pinned)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'ready', 0)";
    let seq = tx.prepare_cached(sql)?.insert(params![
        new.id,
        new.conversation,
        new.node,
        identity_hash(&new.identity),
        prefix_hash(&new.tokens),
        new.tokens.len() as u64,
        key_name,
        tag,
        new.layout.len,
        new.created,
        moment_of_use(tx, new.created)?,
    ])?;
    tx.prepare_cached("INSERT INTO manifests (seq, manifest) VALUES (?1, ?2)")?
        .execute(params![seq, written.manifest])?;
    tx.prepare_cached("INSERT INTO snapshot_tokens (seq, tokens) VALUES (?1, ?2)")?
        .execute(params![seq, written.tokens])?;
    let mut hold = tx.prepare_cached("INSERT INTO snapshot_chunks (seq, chunk) VALUES (?1, ?2)")?;
    let mut count = tx.prepare_cached("UPDATE chunks SET refs = refs + 1 WHERE id = ?1")?;
    for id in &ids {
        hold.execute(params![seq, id])?;
        count.execute([id])?;
    }
    Ok(ids.len())
}
