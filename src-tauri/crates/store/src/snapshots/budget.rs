//! How much of the disk snapshots may take, and what goes when it is too much.

use std::fmt;
use std::sync::Arc;

use crate::snapshots::db::PAGE_BYTES;
use crate::snapshots::store::SnapshotStore;
use crate::{SnapshotId, StoreError};

/// The largest budget that is chosen without asking, in bytes.
const DEFAULT_BYTES: u64 = 20_000_000_000;

/// Bytes that stay free on the disk unless something else is chosen.
const DEFAULT_KEEP_FREE: u64 = 2_000_000_000;

/// Pages given back to the disk in one step: 8 MiB.
const VACUUM_PAGES: u64 = 128;

/// Snapshots that are picked at once to be evicted.
const LOOKED_AHEAD: usize = 32;

/// Unused pages that are kept for the next save: 64 MiB.
const SPARE_PAGES: u64 = 1024;

/// Asks how many bytes are free on the disk of the data folder; `None` where that is not known.
pub type FreeDisk = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// How much of the disk snapshots may take.
#[derive(Clone)]
pub struct Budget {
    /// Bytes that all snapshots together may take.
    pub bytes: u64,
    /// Bytes that a save must leave free on the disk.
    pub keep_free: u64,
    /// How many bytes are free.
    pub free_disk: FreeDisk,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("bytes", &self.bytes)
            .field("keep_free", &self.keep_free)
            .finish_non_exhaustive()
    }
}

impl Budget {
    /// The smaller of 20 GB and a fifth of the free space, in bytes. Snapshots that are there already
    /// should be counted as free space, or the budget shrinks as they grow.
    #[must_use]
    pub const fn default_bytes(free: u64) -> u64 {
        if free / 5 < DEFAULT_BYTES { free / 5 } else { DEFAULT_BYTES }
    }

    /// The default for a disk with this many bytes free.
    #[must_use]
    pub fn default_for(free: u64, free_disk: FreeDisk) -> Self {
        Self { bytes: Self::default_bytes(free), keep_free: DEFAULT_KEEP_FREE, free_disk }
    }
}

/// What making room took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// The snapshots that went, the least recently used first.
    pub evicted: Vec<SnapshotId>,
    /// Bytes that they took.
    pub bytes: u64,
}

impl SnapshotStore {
    /// The budget in force.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Puts another budget in force and makes room for it. With one of zero nothing but pinned snapshots is
    /// kept, and nothing is saved.
    pub fn set_budget(&mut self, bytes: u64) -> Result<Pruned, StoreError> {
        self.budget.bytes = bytes;
        let pruned = self.prune(self.budget.bytes)?;
        self.give_back_space(u64::MAX)?;
        Ok(pruned)
    }

    /// Evicts whole snapshots until all together take at most `bytes`: quarantined ones first, then the
    /// least recently used; never pinned ones. Each goes in a transaction of its own, so that no more go than
    /// have to; where all have to, many go in one.
    pub fn prune(&mut self, bytes: u64) -> Result<Pruned, StoreError> {
        self.make_room(bytes, None)
    }

    /// As [`SnapshotStore::prune`], but never `spare`.
    pub(crate) fn make_room(&mut self, bytes: u64, spare: Option<SnapshotId>) -> Result<Pruned, StoreError> {
        let before = self.total_bytes()?;
        let mut pruned = Pruned::default();
        let mut used = before;
        if used > bytes && self.collect_orphans(usize::MAX)? > 0 {
            // Left behind by saves that did not finish: nothing is lost with them.
            used = self.total_bytes()?;
        }
        // Where nothing may stay there is no looking after each whether it was enough.
        let at_once = if bytes == 0 { LOOKED_AHEAD } else { 1 };
        while used > bytes {
            let next = self.least_wanted(spare)?;
            if next.is_empty() {
                break;
            }
            for some in next.chunks(at_once) {
                if used <= bytes {
                    break;
                }
                self.remove(some)?;
                self.collect_orphans(usize::MAX)?;
                pruned.evicted.extend(some);
                used = self.total_bytes()?;
            }
        }
        pruned.bytes = before.saturating_sub(used);
        Ok(pruned)
    }

    /// The next to go, in their order: finding them means a look at all.
    fn least_wanted(&self, spare: Option<SnapshotId>) -> Result<Vec<SnapshotId>, StoreError> {
        let sql = format!(
            "SELECT id FROM snapshots WHERE NOT pinned AND id IS NOT ?1
             ORDER BY state = 'ready', last_used, seq LIMIT {LOOKED_AHEAD}"
        );
        self.db.read(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map([spare], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Makes room in the budget for `bytes` more, or says why there is none.
    pub(crate) fn admit(&mut self, bytes: u64) -> Result<Vec<SnapshotId>, StoreError> {
        self.require_disk(bytes)?;
        // Asked first: nothing is evicted for a save that cannot be admitted anyway.
        if self.pinned_bytes()? + bytes > self.budget.bytes {
            return Err(StoreError::BudgetFull { budget: self.budget.bytes });
        }
        let pruned = self.make_room(self.budget.bytes.saturating_sub(bytes), None)?;
        if self.total_bytes()? + bytes > self.budget.bytes {
            return Err(StoreError::BudgetFull { budget: self.budget.bytes });
        }
        Ok(pruned.evicted)
    }

    /// Refuses where writing `bytes` more would leave less free than is to stay free.
    pub(crate) fn require_disk(&mut self, bytes: u64) -> Result<(), StoreError> {
        match self.check_disk(bytes) {
            // The remains of unfinished saves are the first thing that can go.
            Err(StoreError::DiskLow { .. }) if self.collect_orphans(usize::MAX)? > 0 => {
                self.check_disk(bytes)
            }
            result => result,
        }
    }

    fn check_disk(&self, bytes: u64) -> Result<(), StoreError> {
        // Unused pages of the file are written again before it grows.
        let reusable = self.db.free_pages()? * PAGE_BYTES;
        let keep_free = self.budget.keep_free;
        match (self.budget.free_disk)() {
            Some(free) if free.saturating_add(reusable) < keep_free.saturating_add(bytes) => {
                Err(StoreError::DiskLow { needed: bytes, free, keep_free })
            }
            _ => Ok(()),
        }
    }

    fn pinned_bytes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(bytes), 0) FROM chunks WHERE id IN
                   (SELECT chunk FROM snapshot_chunks JOIN snapshots USING (seq) WHERE pinned)";
        self.db.read(|conn| Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
    }

    /// When the disk turns out to be full: what is used is too much already.
    pub(crate) fn shrink_budget(&mut self) -> Option<u64> {
        let used = self.total_bytes().ok()?;
        // An eighth less, so that there is room for the journal and for others.
        let smaller = used - used / 8;
        if smaller >= self.budget.bytes {
            return None;
        }
        self.budget.bytes = smaller;
        tracing::warn!(bytes = smaller, "the disk is full; the budget for snapshots was made smaller");
        // Where even deleting needs space that is not there, the next save tries again.
        if let Err(error) = self.prune(smaller) {
            tracing::warn!(%error, "no room could be made");
        }
        Some(smaller)
    }

    /// Gives unused space in the file back to the disk, in steps of 8 MiB and at most `limit` bytes, so
    /// that a caller can do other things in between. Some is kept for the next save. Returns how many
    /// bytes could still be given back.
    pub fn give_back_space(&mut self, limit: u64) -> Result<u64, StoreError> {
        self.give_back(limit, SPARE_PAGES)
    }

    pub(crate) fn give_back(&mut self, limit: u64, spare: u64) -> Result<u64, StoreError> {
        let mut budget = limit / PAGE_BYTES;
        loop {
            let rest = self.db.free_pages()?.saturating_sub(spare);
            let step = rest.min(VACUUM_PAGES).min(budget);
            if step == 0 {
                return Ok(rest * PAGE_BYTES);
            }
            self.db.vacuum(step)?;
            budget -= step;
        }
    }
}
