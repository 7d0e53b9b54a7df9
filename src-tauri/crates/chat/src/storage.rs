//! What snapshots take and may take; their list; what a person does to them. Messages are never among what goes.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reprise_store::{
    DataDir, ListedSnapshot, SnapshotId, SnapshotOrder, SnapshotStore, StoreError, VerifyProgress,
};
use tokio::sync::watch;

use crate::snapshots::{Snapshots, blocking, default_budget};
use crate::view::MOST_ROWS;
use crate::{Chat, NotSaved, checkpoints};

/// A check that goes on says so this often.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// About as many bytes go, or as many snapshots, while everything else waits.
const STEP: u64 = 256 << 20;
const STEP_SNAPSHOTS: u64 = 64;

/// Less is removed at once: that is the shorter wait.
const MUCH: u64 = 1 << 30;

/// What snapshots take and may take. All sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageFacts {
    /// Snapshots that are kept.
    pub snapshots: u32,
    /// Of these, pinned ones.
    pub pinned: u32,
    /// What all of them take together.
    pub bytes: u64,
    /// What they may take.
    pub budget: u64,
    /// What that is where the person chose nothing.
    pub default_budget: u64,
    /// Whether the person chose it.
    pub chosen: bool,
    /// What is free on the disk; `None` where that cannot be told.
    pub free: Option<u64>,
    /// What the history takes: messages, which nothing evicts.
    pub history: u64,
    /// The folder.
    pub folder: PathBuf,
    /// Why there are no snapshots, where their file cannot be used.
    pub unusable: Option<NotSaved>,
}

/// A snapshot in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotInList {
    /// What is known of it.
    pub snapshot: ListedSnapshot,
    /// The title of its conversation; may be empty.
    pub title: String,
    /// Name of the model that its conversation was last used with.
    pub model: Option<String>,
}

/// A part of the list of snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotPart {
    /// The rows from the wanted place on.
    pub rows: Vec<SnapshotInList>,
    /// Rows in the whole list.
    pub total: u32,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    /// How many snapshots.
    pub snapshots: usize,
    /// Bytes that are free again.
    pub bytes: u64,
}

/// What a check of all snapshots came to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Verified {
    /// Snapshots that are whole.
    pub whole: usize,
    /// Snapshots that were damaged, and are removed.
    pub removed: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// What it took, in milliseconds.
    pub ms: f64,
    /// Whether it was stopped before it had seen all.
    pub stopped: bool,
}

impl Chat {
    /// What snapshots take and may take.
    pub async fn storage(&self) -> Result<StorageFacts, StoreError> {
        let (chosen, dir) = self.library.with(|w| Ok((w.snapshot_budget()?, w.data_dir().clone()))).await?;
        let mut unusable = self.snapshots_off.clone();
        let mut kept = Kept { budget: chosen, ..Kept::default() };
        if let Some(snapshots) = &self.snapshots {
            match snapshots.with(|store| Kept::of(store)).await {
                Ok(found) => kept = found,
                Err(error) => unusable = Some((&error).into()),
            }
        }
        blocking(move || {
            let budget = default_budget(&dir);
            // Free space comes and goes; what is in force stays until it is chosen anew.
            let in_force = kept.budget.filter(|_| chosen.is_none());
            let default_budget = in_force.unwrap_or(budget.bytes);
            Ok(StorageFacts {
                snapshots: kept.snapshots,
                pinned: kept.pinned,
                bytes: kept.bytes,
                budget: kept.budget.unwrap_or(default_budget),
                default_budget,
                chosen: chosen.is_some(),
                free: (budget.free_disk)(),
                history: history_bytes(&dir),
                folder: dir.root().to_owned(),
                unusable,
            })
        })
        .await
    }

    /// A part of the list of snapshots.
    pub async fn snapshot_page(
        &self,
        order: SnapshotOrder,
        offset: u32,
        limit: u32,
    ) -> Result<SnapshotPart, StoreError> {
        let Some(snapshots) = &self.snapshots else { return Ok(SnapshotPart { rows: Vec::new(), total: 0 }) };
        let (listed, total) =
            snapshots.with(move |store| store.page(order, offset, limit.min(MOST_ROWS))).await?;
        self.library
            .with(move |w| {
                let named = |snapshot: ListedSnapshot| match w.conversation(snapshot.conversation) {
                    Ok(found) => {
                        let model = found.model.map(|model| model.name);
                        Ok(SnapshotInList { snapshot, title: found.title, model })
                    }
                    // It is being erased.
                    Err(StoreError::NotFound { .. }) => {
                        Ok(SnapshotInList { snapshot, title: String::new(), model: None })
                    }
                    Err(error) => Err(error),
                };
                let rows = listed.into_iter().map(named).collect::<Result<_, _>>()?;
                Ok(SnapshotPart { rows, total })
            })
            .await
    }

    /// Chooses how many bytes all snapshots together may take, and evicts what is too much; `None` is the default.
    pub async fn set_budget(&self, bytes: Option<u64>) -> Result<StorageFacts, StoreError> {
        let dir = self
            .library
            .with(move |w| {
                w.set_snapshot_budget(bytes)?;
                Ok(w.data_dir().clone())
            })
            .await?;
        if let Some(snapshots) = &self.snapshots {
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => blocking(move || Ok(default_budget(&dir).bytes)).await?,
            };
            evict_in_steps(snapshots, bytes).await?;
            snapshots.with(move |store| store.set_budget(bytes)).await?;
        }
        self.storage().await
    }

    /// Keeps a snapshot from being evicted, or lets it be evicted again.
    pub async fn pin_snapshot(&self, id: SnapshotId, pinned: bool) -> Result<(), StoreError> {
        self.usable()?
            .with(move |store| {
                if !pinned {
                    return store.unpin(id);
                }
                checkpoints::pinned_by_hand(store, id)?;
                store.pin(id)
            })
            .await
    }

    /// Removes one snapshot, whether or not it is pinned.
    pub async fn drop_snapshot(&self, id: SnapshotId) -> Result<Cleared, StoreError> {
        let snapshots = self.usable()?;
        let bytes = snapshots
            .with(move |store| {
                let before = store.total_bytes()?;
                if !store.drop_snapshot(id)? {
                    return Err(StoreError::NotFound { noun: "snapshot", id: id.to_string() });
                }
                Ok(before.saturating_sub(store.total_bytes()?))
            })
            .await?;
        give_back_in_steps(snapshots).await?;
        Ok(Cleared { snapshots: 1, bytes })
    }

    /// Removes all snapshots, pinned ones too.
    pub async fn clear_snapshots(&self) -> Result<Cleared, StoreError> {
        let snapshots = self.usable()?;
        let mut cleared = match evict_in_steps(snapshots, MUCH).await {
            Ok(cleared) => cleared,
            // A full disk, say: clearing knows what to do about it.
            Err(error) => {
                tracing::info!(code = error.code(), "snapshots are cleared all at once");
                Cleared::default()
            }
        };
        let rest = snapshots.clear().await?;
        cleared.snapshots += rest.snapshots;
        cleared.bytes += rest.bytes;
        Ok(cleared)
    }

    /// Reads every snapshot and compares, beside everything else; removes those that are damaged. Ends soon once
    /// `stop` holds `true`; what was found damaged until then is removed. `progress` hears of it ten times a
    /// second at most.
    pub async fn verify_snapshots(
        &self,
        stop: watch::Receiver<bool>,
        mut progress: impl FnMut(VerifyProgress) + Send + 'static,
    ) -> Result<Verified, StoreError> {
        let began = Instant::now();
        let snapshots = self.usable()?;
        // One of its own: whoever saves or resumes does not wait for it.
        let reader = snapshots.reader().await?;
        let report = blocking(move || {
            let mut told: Option<Instant> = None;
            reader.verify(|now| {
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    progress(now);
                    told = Some(Instant::now());
                }
                if *stop.borrow() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        })
        .await?;
        let bad: Vec<SnapshotId> = report.bad.iter().map(|bad| bad.id).collect();
        for found in &report.bad {
            tracing::warn!(snapshot = %found.id, why = %found.why, "a snapshot is damaged");
        }
        if !bad.is_empty() || report.wrong_counts > 0 || report.stray > 0 {
            snapshots.with(move |store| store.mend(&bad)).await?;
        }
        Ok(Verified {
            whole: report.ok,
            removed: report.bad.len(),
            bytes: report.bytes,
            ms: began.elapsed().as_secs_f64() * 1000.0,
            stopped: report.cancelled,
        })
    }

    fn usable(&self) -> Result<&Snapshots, StoreError> {
        self.snapshots.as_ref().ok_or_else(|| {
            let why = self.snapshots_off.as_ref().map(|why| why.message.clone());
            let detail = why.unwrap_or_else(|| "they are switched off".to_owned());
            StoreError::Snapshots { detail, damaged: false }
        })
    }
}

/// What the file of snapshots says.
#[derive(Default)]
struct Kept {
    snapshots: u32,
    pinned: u32,
    bytes: u64,
    budget: Option<u64>,
}

impl Kept {
    fn of(store: &SnapshotStore) -> Result<Self, StoreError> {
        let (snapshots, pinned) = store.counts()?;
        Ok(Self { snapshots, pinned, bytes: store.total_bytes()?, budget: Some(store.budget().bytes) })
    }
}

/// Evicts until all together take at most `bytes`, in steps between which others get their turn.
async fn evict_in_steps(snapshots: &Snapshots, bytes: u64) -> Result<Cleared, StoreError> {
    let mut cleared = Cleared::default();
    loop {
        let (used, pruned) = snapshots
            .with(move |store| {
                let (used, (count, _)) = (store.total_bytes()?, store.counts()?);
                let few = used / (u64::from(count) / STEP_SNAPSHOTS).max(1);
                let target = bytes.max(used.saturating_sub(STEP.min(few)));
                let pruned = store.prune(target)?;
                Ok((store.total_bytes()?, pruned))
            })
            .await?;
        cleared.snapshots += pruned.evicted.len();
        cleared.bytes += pruned.bytes;
        if used <= bytes || pruned.bytes == 0 {
            break;
        }
    }
    give_back_in_steps(snapshots).await?;
    Ok(cleared)
}

async fn give_back_in_steps(snapshots: &Snapshots) -> Result<(), StoreError> {
    let mut left = u64::MAX;
    loop {
        let now = snapshots.with(|store| store.give_back_space(STEP)).await?;
        if now == 0 || now >= left {
            return Ok(());
        }
        left = now;
    }
}

/// With its journal.
fn history_bytes(dir: &DataDir) -> u64 {
    let file = dir.history_db();
    let mut journal = file.clone().into_os_string();
    journal.push("-wal");
    [file, PathBuf::from(journal)]
        .iter()
        .map(|file| std::fs::metadata(file).map_or(0, |file| file.len()))
        .sum()
}
