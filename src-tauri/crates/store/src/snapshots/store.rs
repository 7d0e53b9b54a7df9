//! The writer: opening, what becomes of snapshots after they are saved, and what is left of those that are not.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use crate::snapshots::db::{Db, Fault};
use crate::snapshots::key::{Key, KeyFile, make_private};
use crate::snapshots::notes::Findings;
use crate::snapshots::opening::{self, Opened};
use crate::snapshots::reader::SnapshotReader;
use crate::snapshots::save::Protected;
use crate::{Budget, ConversationId, HistoryWriter, SnapshotId, StoreError, Timestamp};

/// Chunks deleted in one transaction. With pieces of up to 1 MiB: a moment's work.
const ORPHANS_AT_ONCE: usize = 32;

/// Chunks of unfinished saves that opening removes at most; the rest goes when there is time.
const ORPHANS_AT_OPENING: usize = 1024;

/// How long to wait for readers that still look at the journal.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(500);

/// Snapshots, for reading and writing. One per data folder, in the process that holds its writer's
/// lock, and not to be used after that was given up.
#[derive(Debug)]
pub struct SnapshotStore {
    pub(crate) reader: SnapshotReader,
    pub(crate) budget: Budget,
    /// Chunks of saves that go on. A save that is dropped needs no farewell.
    pub(crate) saves: Vec<Weak<Mutex<Protected>>>,
}

/// What opening found and did. None of it concerns a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotOpening {
    /// Why the file that was there was not used.
    pub recreated: Option<String>,
    /// Where that file is now; `None` also where it was too large to be kept.
    pub set_aside: Option<PathBuf>,
    /// Whether a new key was made. Snapshots sealed with an earlier one cannot be used.
    pub new_key: bool,
    /// Snapshots that were dropped because the key file was no key.
    pub dropped: usize,
    /// Chunks of unfinished saves that were removed.
    pub orphans_collected: usize,
}

/// What was removed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// How many snapshots.
    pub snapshots: usize,
    /// Bytes that they took and no other snapshot needs.
    pub bytes: u64,
    /// Whether the journal was emptied too. Where a reader was still looking at it, what was removed
    /// stays in the journal until the store is closed or opened again.
    pub journal_erased: bool,
}

impl SnapshotStore {
    /// Opens for writing. `writer` shows that this process may write the data folder. A file that cannot
    /// be used is set aside and a new one begun; a missing or unusable key is replaced by `fresh_key`,
    /// 32 random bytes.
    pub fn open(
        writer: &HistoryWriter,
        budget: Budget,
        fresh_key: [u8; 32],
        now: Timestamp,
    ) -> Result<(Self, SnapshotOpening), StoreError> {
        let dir = writer.data_dir().clone();
        let (key, new_key, wrong) = match KeyFile::read(&dir)? {
            KeyFile::Good(key) => (key, false, false),
            KeyFile::Absent => (Key::write(&dir, fresh_key)?, true, false),
            KeyFile::Wrong => (Key::write(&dir, fresh_key)?, true, true),
        };
        make_private(&dir.snapshots_key()).map_err(|error| StoreError::io(&dir.snapshots_key(), error))?;
        let Opened { db, recreated, set_aside } = opening::open_or_begin(&dir, now)?;
        let reader = SnapshotReader { db, dir, key: Some(key) };
        let mut store = Self { reader, budget, saves: Vec::new() };
        let dropped = if wrong { store.drop_where("TRUE", [])? } else { 0 };
        let orphans_collected = store.collect_orphans(ORPHANS_AT_OPENING)?;
        let opening = SnapshotOpening { recreated, set_aside, new_key, dropped, orphans_collected };
        Ok((store, opening))
    }

    /// Sets the file aside and begins an empty one, after an error said that it is damaged. Saves that
    /// are going on are refused.
    pub fn start_over(
        self,
        writer: &HistoryWriter,
        fresh_key: [u8; 32],
        now: Timestamp,
    ) -> Result<(Self, SnapshotOpening), StoreError> {
        let Self { reader, budget, .. } = self;
        drop(reader);
        let set_aside = opening::set_aside(writer.data_dir(), now)?;
        let (store, mut opening) = Self::open(writer, budget, fresh_key, now)?;
        opening.set_aside = set_aside;
        opening.recreated = Some("it was found damaged".to_owned());
        Ok((store, opening))
    }

    /// Deletes the file of snapshots without opening it, which takes room, too: for where it cannot be opened.
    /// No store of it may be open. Returns the bytes that went.
    pub fn discard(writer: &HistoryWriter) -> Result<u64, StoreError> {
        let dir = writer.data_dir();
        opening::remove_set_aside(dir)?;
        opening::delete(&dir.snapshots_db())
    }

    /// Notes that a snapshot was used: after all others, also where the clock was set back.
    pub fn touch(&mut self, id: SnapshotId, now: Timestamp) -> Result<(), StoreError> {
        let when = self.db.read(|conn| moment_of_use(conn, now))?;
        self.update_one(id, "UPDATE snapshots SET last_used = ?2 WHERE id = ?1", params![id, when])
    }

    /// Keeps a snapshot from being used, because of what happened when it was. It is the first to be evicted.
    pub fn quarantine(&mut self, id: SnapshotId, why: &str) -> Result<(), StoreError> {
        let sql = "UPDATE snapshots SET state = 'quarantined', why = ?2 WHERE id = ?1";
        self.update_one(id, sql, params![id, why])
    }

    /// Keeps a snapshot from being evicted.
    pub fn pin(&mut self, id: SnapshotId) -> Result<(), StoreError> {
        self.update_one(id, "UPDATE snapshots SET pinned = 1 WHERE id = ?1", params![id])
    }

    /// Lets a snapshot be evicted again.
    pub fn unpin(&mut self, id: SnapshotId) -> Result<(), StoreError> {
        self.update_one(id, "UPDATE snapshots SET pinned = 0 WHERE id = ?1", params![id])
    }

    fn update_one(
        &mut self,
        id: SnapshotId,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<(), StoreError> {
        self.reader.db.change(|tx| {
            if tx.prepare_cached(sql)?.execute(values)? == 0 {
                return Err(StoreError::NotFound { noun: "snapshot", id: id.to_string() }.into());
            }
            Ok(())
        })
    }

    /// Removes one snapshot, and the chunks that no other has. False where it was gone already.
    pub fn drop_snapshot(&mut self, id: SnapshotId) -> Result<bool, StoreError> {
        let there = self.remove(&[id])? > 0;
        self.collect_orphans(usize::MAX)?;
        Ok(there)
    }

    /// Erases all snapshots of a conversation, as far as files can be erased: every unused page goes back
    /// to the disk, those of snapshots evicted earlier too, the journal is emptied, damaged files that were
    /// set aside are deleted. Chunks that another conversation shares stay: they are its own words too.
    pub fn drop_conversation(&mut self, conversation: ConversationId) -> Result<Dropped, StoreError> {
        self.erase("conversation = ?1", params![conversation])
    }

    /// Erases all snapshots, pinned ones too. Where the file cannot be written, because the disk is full or it
    /// is damaged, the whole file goes and an empty one is begun; saves that are going on are then refused.
    pub fn clear(&mut self) -> Result<Dropped, StoreError> {
        if self.db.is_absent() {
            self.begin_anew()?;
        }
        let snapshots = self.count("FROM snapshots").unwrap_or_default();
        match self.erase("TRUE", []) {
            Err(error @ (StoreError::SnapshotsFull { .. } | StoreError::Snapshots { .. })) => {
                tracing::warn!(%error, "snapshots could not be erased one by one; their file is deleted");
                let bytes = self.begin_anew()?;
                opening::remove_set_aside(&self.dir)?;
                Ok(Dropped { snapshots, bytes, journal_erased: true })
            }
            result => result,
        }
    }

    /// Deletes the file and begins an empty one, which keeps what was found out about models. Returns the bytes
    /// that went. Where there is no room even for an empty one, nothing is kept until there is.
    pub(crate) fn begin_anew(&mut self) -> Result<u64, StoreError> {
        let path = self.dir.snapshots_db();
        let findings = Findings::of(&self.reader.db).unwrap_or_default();
        self.saves.clear();
        // Closed first: what is open cannot be deleted everywhere.
        self.reader.db = Db::absent(&path)?;
        let deleted = opening::delete(&path);
        self.reader.db = opening::open_or_begin(&self.dir, Timestamp::default())?.db;
        if let Err(error) = findings.put(&mut self.reader.db) {
            tracing::warn!(%error, "what was found out about models is found out again");
        }
        deleted
    }

    fn erase(&mut self, which: &str, values: impl rusqlite::Params) -> Result<Dropped, StoreError> {
        let before = self.total_bytes()?;
        let snapshots = self.drop_where(which, values)?;
        self.collect_orphans(usize::MAX)?;
        opening::remove_set_aside(&self.dir)?;
        let bytes = before.saturating_sub(self.total_bytes()?);
        self.give_back(u64::MAX, 0)?;
        let journal_erased = self.db.empty_journal(JOURNAL_PATIENCE)?;
        Ok(Dropped { snapshots, bytes, journal_erased })
    }

    fn drop_where(&mut self, which: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
        let sql = format!("SELECT id FROM snapshots WHERE {which}");
        let ids: Vec<SnapshotId> = self.db.read(|conn| {
            let mut statement = conn.prepare(&sql)?;
            let rows = statement.query_map(values, |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        self.remove(&ids)
    }

    /// Removes snapshots in one transaction. Their chunks stay until [`SnapshotStore::collect_orphans`].
    pub(crate) fn remove(&mut self, ids: &[SnapshotId]) -> Result<usize, StoreError> {
        self.reader.db.change(|tx| ids.iter().map(|id| remove_one(tx, *id)).sum())
    }

    /// Removes up to `limit` chunks that belong to no snapshot and to no save that is going on, a few in
    /// each transaction. Returns how many went.
    pub fn collect_orphans(&mut self, limit: usize) -> Result<usize, StoreError> {
        let protected = self.protected();
        let mut collected = 0;
        let mut after = i64::MIN;
        while collected < limit {
            let most = ORPHANS_AT_ONCE.min(limit - collected);
            let (gone, last) = self.reader.db.change(|tx| collect(tx, after, most, &protected))?;
            collected += gone;
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        Ok(collected)
    }

    /// The chunks of all saves that go on, sorted.
    fn protected(&mut self) -> Vec<i64> {
        self.saves.retain(|save| save.strong_count() > 0);
        let mut ids: Vec<i64> = Vec::new();
        for save in self.saves.iter().filter_map(Weak::upgrade) {
            ids.extend(save.lock().unwrap_or_else(PoisonError::into_inner).ids());
        }
        ids.sort_unstable();
        ids
    }

    /// A new set of protected chunks.
    pub(crate) fn protect(&mut self) -> Arc<Mutex<Protected>> {
        let protected = Arc::new(Mutex::new(Protected::default()));
        self.saves.push(Arc::downgrade(&protected));
        protected
    }
}

/// The moment of a use: later than every use before, so that what was used last stays last to go, and is found
/// first, also where the clock was set back.
pub(crate) fn moment_of_use(conn: &Connection, now: Timestamp) -> Result<Timestamp, Fault> {
    let mut statement = conn.prepare_cached("SELECT max(last_used) FROM snapshots")?;
    // What is no moment in a damaged file is no reason not to save.
    let last: Option<i64> = statement.query_row([], |row| Ok(row.get(0).ok()))?;
    let next = last.map_or(0, |last| last.saturating_add(1));
    Ok(now.max(Timestamp::from_millis(u64::try_from(next).unwrap_or_default())))
}

/// Deletes orphans after the chunk `after`; returns how many, and where to go on from.
fn collect(
    tx: &Transaction<'_>,
    after: i64,
    most: usize,
    protected: &[i64],
) -> Result<(usize, Option<i64>), Fault> {
    let sql = "SELECT id FROM chunks WHERE refs = 0 AND id > ?1 ORDER BY id";
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query([after])?;
    let mut orphans: Vec<i64> = Vec::new();
    while orphans.len() < most {
        let Some(row) = rows.next()? else { break };
        let id = row.get(0)?;
        if protected.binary_search(&id).is_err() {
            orphans.push(id);
        }
    }
    drop(rows);
    for id in &orphans {
        tx.prepare_cached("DELETE FROM chunk_data WHERE id = ?1")?.execute([id])?;
        tx.prepare_cached("DELETE FROM chunks WHERE id = ?1")?.execute([id])?;
    }
    Ok((orphans.len(), orphans.last().copied()))
}

/// Removes a snapshot's rows; 0 where there is none.
pub(crate) fn remove_one(tx: &Transaction<'_>, id: SnapshotId) -> Result<usize, Fault> {
    use rusqlite::OptionalExtension;
    let seq: Option<i64> = tx
        .prepare_cached("SELECT seq FROM snapshots WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(seq) = seq else { return Ok(0) };
    // Never below nothing: a wrong count in a damaged file must not keep snapshots from being removed.
    let release = "UPDATE chunks SET refs = max(refs - 1, 0)
                   WHERE id IN (SELECT chunk FROM snapshot_chunks WHERE seq = ?1)";
    for sql in [
        release,
        "DELETE FROM snapshot_chunks WHERE seq = ?1",
        "DELETE FROM snapshot_tokens WHERE seq = ?1",
        "DELETE FROM manifests WHERE seq = ?1",
        "DELETE FROM snapshots WHERE seq = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([seq])?;
    }
    Ok(1)
}

impl Deref for SnapshotStore {
    type Target = SnapshotReader;

    fn deref(&self) -> &SnapshotReader {
        &self.reader
    }
}
