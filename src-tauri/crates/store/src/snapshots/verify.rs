//! Checking all snapshots: seals, descriptions, every piece; and the books about who holds which piece.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::snapshots::reader::SnapshotReader;
use crate::snapshots::store::SnapshotStore;
use crate::{ChunkHash, Damage, SnapshotId, StoreError};

/// What a check of all snapshots found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Snapshots that were checked.
    pub checked: usize,
    /// Those that are as they were saved.
    pub ok: usize,
    /// Those that are not, and why.
    pub bad: Vec<BadSnapshot>,
    /// Bytes of pieces that were read.
    pub bytes: u64,
    /// Pieces that are counted as held by more or fewer snapshots than hold them.
    /// [`SnapshotStore::mend`] counts anew.
    pub wrong_counts: usize,
    /// Pieces that no snapshot holds: remains of a save that was cut off, or one that is going on.
    pub orphans: usize,
    /// Bytes without a name, or names without bytes. [`SnapshotStore::mend`] removes them.
    pub stray: usize,
    /// Whether it was stopped before the end.
    pub cancelled: bool,
}

/// A snapshot that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSnapshot {
    /// Its name.
    pub id: SnapshotId,
    /// What is wrong with it.
    pub why: Damage,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Snapshots checked so far.
    pub checked: usize,
    /// All snapshots.
    pub of: usize,
    /// Bytes of pieces read so far.
    pub bytes: u64,
}

impl VerifyReport {
    /// Whether every snapshot is whole and the books are right. Orphans are no fault.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.bad.is_empty() && self.wrong_counts == 0 && self.stray == 0 && !self.cancelled
    }
}

/// Names without bytes, then bytes without a name.
const STRAY: [&str; 2] = [
    "FROM chunks WHERE id NOT IN (SELECT id FROM chunk_data)",
    "FROM chunk_data WHERE id NOT IN (SELECT id FROM chunks)",
];

const WRONG_COUNTS: &str = "
    FROM chunks LEFT JOIN (SELECT chunk, count(*) AS holders FROM snapshot_chunks GROUP BY chunk) held
    ON held.chunk = chunks.id WHERE refs <> coalesce(holders, 0)";

impl SnapshotReader {
    /// Reads everything and compares. `progress` is called after every piece, and stops the check by
    /// answering so. A piece that several snapshots share is read once.
    pub fn verify(
        &self,
        mut progress: impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyReport, StoreError> {
        let ids = self.ids()?;
        let of = ids.len();
        let mut report = VerifyReport::default();
        let mut seen: HashMap<ChunkHash, Option<Damage>> = HashMap::new();
        let mut buffer = Vec::new();
        for id in ids {
            let mut damage = None;
            match self.manifest(id) {
                Err(found) => damage = Some(found),
                Ok(manifest) => {
                    for chunk in manifest.to_read() {
                        let known = seen.entry(chunk.hash).or_insert_with(|| {
                            report.bytes += chunk.bytes;
                            self.read_chunk(&chunk, &mut buffer).err()
                        });
                        if damage.is_none() && known.is_some() {
                            // Read again where it was met before, so that the piece is told by its number here.
                            damage = self.read_chunk(&chunk, &mut buffer).err();
                        }
                        let now = VerifyProgress { checked: report.checked, of, bytes: report.bytes };
                        if progress(now).is_break() {
                            report.cancelled = true;
                            return Ok(report);
                        }
                    }
                }
            }
            match damage {
                // It went while the check was going on, which is no fault.
                Some(_) if !self.exists(id)? => continue,
                Some(why) => report.bad.push(BadSnapshot { id, why }),
                None => report.ok += 1,
            }
            report.checked += 1;
        }
        report.wrong_counts = self.count(WRONG_COUNTS)?;
        report.orphans = self.count("FROM chunks WHERE refs = 0")?;
        report.stray = self.count(STRAY[0])? + self.count(STRAY[1])?;
        Ok(report)
    }

    fn ids(&self) -> Result<Vec<SnapshotId>, StoreError> {
        self.db.read(|conn| {
            let mut statement = conn.prepare("SELECT id FROM snapshots ORDER BY seq")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn exists(&self, id: SnapshotId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE id = ?1)";
        self.db.read(|conn| Ok(conn.prepare_cached(sql)?.query_row([id], |row| row.get(0))?))
    }

    pub(crate) fn count(&self, from: &str) -> Result<usize, StoreError> {
        let count: i64 = self
            .db
            .read(|conn| Ok(conn.query_row(&format!("SELECT count(*) {from}"), [], |row| row.get(0))?))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
}

impl SnapshotStore {
    /// Puts the books in order: drops these snapshots, counts anew who holds which piece, and removes what
    /// has no name, no bytes or no snapshot. To be given what [`SnapshotReader::verify`] found bad.
    pub fn mend(&mut self, bad: &[SnapshotId]) -> Result<(), StoreError> {
        self.remove(bad)?;
        self.reader.db.change(|tx| {
            let [no_bytes, no_name] = STRAY;
            tx.execute(&format!("DELETE {no_name}"), [])?;
            tx.execute(&format!("DELETE {no_bytes}"), [])?;
            for gone in [
                "DELETE FROM snapshot_chunks WHERE seq NOT IN (SELECT seq FROM snapshots)",
                "DELETE FROM snapshot_tokens WHERE seq NOT IN (SELECT seq FROM snapshots)",
                "DELETE FROM manifests WHERE seq NOT IN (SELECT seq FROM snapshots)",
            ] {
                tx.execute(gone, [])?;
            }
            let count = "UPDATE chunks SET refs = coalesce(holders, 0) FROM
                (SELECT c.id AS id, holders FROM chunks c LEFT JOIN
                    (SELECT chunk, count(*) AS holders FROM snapshot_chunks GROUP BY chunk) h ON h.chunk = c.id
                ) held
                WHERE held.id = chunks.id AND refs <> coalesce(holders, 0)";
            tx.execute(count, [])?;
            Ok(())
        })?;
        self.collect_orphans(usize::MAX)?;
        Ok(())
    }
}
