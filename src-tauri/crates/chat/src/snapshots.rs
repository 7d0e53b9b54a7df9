//! The cache of states, for callers that must not block, and what was learned of this machine's pace.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reprise_store::{
    Budget, ContentHash, ConversationId, DataDir, Dropped, FileStamp, FreeDisk, HashCache, HistoryWriter,
    Pruned, SnapshotId, SnapshotInfo, SnapshotOpening, SnapshotReader, SnapshotStore, StoreError, Timestamp,
    VerifyReport, content_hash_all,
};

use crate::checkpoints;
use crate::identity::model_files;
use crate::pace::{Pace, Paces};
use crate::{Library, World};

/// Snapshots of one data folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Guards the writer: one change at a time. Held for one bounded transaction, never across an await.
    store: Mutex<SnapshotStore>,
    opening: SnapshotOpening,
    dir: DataDir,
    /// What was measured since the program started.
    paces: Paces,
    /// Guards the pairs of classes, at saving and now, that did not give the same bits; held for one look-up.
    unequal: Mutex<HashSet<(Class, Class)>>,
}

/// What decides whether two computations give equal bits: device, modules, threads.
type Class = BTreeMap<String, String>;

impl Snapshots {
    /// Opens the cache of the library's data folder. A file that cannot be used is set aside and a new one
    /// begun: nothing is lost with it but time.
    pub async fn open(library: &Library, world: &dyn World) -> Result<Self, StoreError> {
        let now = world.now();
        let (low, high) = (world.random().to_le_bytes(), world.random().to_le_bytes());
        let mut key = [0; 32];
        key[..16].copy_from_slice(&low);
        key[16..].copy_from_slice(&high);
        library
            .with(move |writer| {
                let dir = writer.data_dir().clone();
                let mut budget = default_budget(&dir);
                if let Some(chosen) = writer.snapshot_budget()? {
                    budget.bytes = chosen;
                }
                let (mut store, opening) = SnapshotStore::open(writer, budget, key, now)?;
                if let Err(error) = drop_states_of_nobody(writer, &mut store) {
                    // Erasing may need room that is not there; the next opening tries again.
                    tracing::warn!(code = error.code(), "states of erased conversations are still there");
                }
                let inner = Inner {
                    store: Mutex::new(store),
                    opening,
                    dir,
                    paces: Paces::default(),
                    unequal: Mutex::default(),
                };
                Ok(Self { inner: Arc::new(inner) })
            })
            .await
    }

    /// What opening found and did.
    #[must_use]
    pub fn opening(&self) -> &SnapshotOpening {
        &self.inner.opening
    }

    /// Bytes that all of them together may take.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.store().budget().bytes
    }

    fn store(&self) -> MutexGuard<'_, SnapshotStore> {
        self.inner.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one query or change beside the async tasks.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SnapshotStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        blocking(move || work(&mut this.store())).await
    }

    /// The same, for a caller on a thread that may wait.
    pub(crate) fn blocking_with<T>(
        &self,
        work: impl FnOnce(&mut SnapshotStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(&mut self.store())
    }

    /// A reader for another thread.
    pub(crate) async fn reader(&self) -> Result<SnapshotReader, StoreError> {
        let dir = self.inner.dir.clone();
        blocking(move || SnapshotReader::open(&dir)).await
    }

    /// What was measured of a model since the program started.
    pub(crate) fn pace(&self, model: &str) -> Pace {
        self.inner.paces.of(model)
    }

    /// Notes that what was computed in one class does not give the same bits in another: until the program
    /// ends it is not tried again.
    pub(crate) fn found_unequal(&self, then: &Class, now: &Class) {
        let mut unequal = self.inner.unequal.lock().unwrap_or_else(PoisonError::into_inner);
        unequal.insert((then.clone(), now.clone()));
    }

    pub(crate) fn are_unequal(&self, then: &Class, now: &Class) -> bool {
        let unequal = self.inner.unequal.lock().unwrap_or_else(PoisonError::into_inner);
        unequal.contains(&(then.clone(), now.clone()))
    }

    pub(crate) fn learn(&self, model: &str, measured: impl FnOnce(&mut Pace)) {
        self.inner.paces.learn(model, measured);
    }

    /// The content hash (hex) of a model with all its shards; `None` where it cannot be read any more. A large
    /// model that was never hashed takes its time.
    pub(crate) async fn model_hash(&self, model: &Path) -> Option<String> {
        self.hash_of(model, ControlFlow::Continue(())).await
    }

    /// The same where it is known already, without reading the model.
    pub(crate) async fn known_model_hash(&self, model: &Path) -> Option<String> {
        self.hash_of(model, ControlFlow::Break(())).await
    }

    /// `each` says whether to go on after each piece that has to be read.
    async fn hash_of(&self, model: &Path, each: ControlFlow<()>) -> Option<String> {
        let files = model_files(model);
        let this = self.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
            content_hash_all(&files, &this, &mut |_| each)
        });
        match hashed.await {
            Ok(Ok(hash)) => hash.map(|hash| hash.to_string()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the model could not be hashed");
                None
            }
            Err(_) => None,
        }
    }

    /// Forgets a conversation's states: its text is being erased.
    pub async fn drop_conversation(&self, conversation: ConversationId) -> Result<Dropped, StoreError> {
        self.with(move |store| {
            checkpoints::forget(store, conversation)?;
            store.drop_conversation(conversation)
        })
        .await
    }

    /// Evicts the least recently used until all together take at most `bytes`.
    pub async fn prune(&self, bytes: u64) -> Result<Pruned, StoreError> {
        self.with(move |store| store.prune(bytes)).await
    }

    /// Drops all of them.
    pub async fn clear(&self) -> Result<Dropped, StoreError> {
        self.with(SnapshotStore::clear).await
    }
}

/// What snapshots may take where the person chose nothing. Those that are there count as free space: the budget
/// must not shrink as they grow.
pub(crate) fn default_budget(dir: &DataDir) -> Budget {
    let root = dir.root().to_owned();
    let free_disk: FreeDisk = Arc::new(move || reprise_hardware::disk_free(&root));
    let taken = std::fs::metadata(dir.snapshots_db()).map_or(0, |file| file.len());
    let free = free_disk().unwrap_or(u64::MAX).saturating_add(taken);
    Budget::default_for(free, free_disk)
}

/// States hold what was said. A conversation that was erased while the program died, or by an earlier
/// copy of the history put back, must not live on in them.
fn drop_states_of_nobody(history: &HistoryWriter, store: &mut SnapshotStore) -> Result<(), StoreError> {
    for conversation in store.conversations()? {
        if let Err(StoreError::NotFound { .. }) = history.conversation(conversation) {
            let dropped = store.drop_conversation(conversation)?;
            tracing::info!(snapshots = dropped.snapshots, "states of an erased conversation were dropped");
        }
    }
    Ok(())
}

/// The model's hash is computed beside everything else: the store is asked only for what it kept.
impl HashCache for Snapshots {
    fn find(&self, path: &Path, stamp: &FileStamp) -> Option<ContentHash> {
        self.store().find(path, stamp)
    }

    fn keep(&self, path: &Path, stamp: &FileStamp, hash: &ContentHash) {
        self.store().keep(path, stamp, hash);
    }
}

/// The list of snapshots, beside a live writer too.
pub fn list_snapshots(dir: &DataDir) -> Result<(Vec<SnapshotInfo>, u64), StoreError> {
    let reader = SnapshotReader::open(dir)?;
    Ok((reader.list()?, reader.total_bytes()?))
}

/// Reads every snapshot and compares, beside a live writer too.
pub fn verify_snapshots(dir: &DataDir) -> Result<VerifyReport, StoreError> {
    SnapshotReader::open(dir)?.verify(|_| ControlFlow::Continue(()))
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A panic in a query is a defect of ours; let it be seen where it is awaited.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(StoreError::Storage { detail: error.to_string() }),
        },
    }
}

/// A fresh id.
pub(crate) fn new_id(world: &dyn World) -> (SnapshotId, Timestamp) {
    let now = world.now();
    (SnapshotId::new(now, world.random()), now)
}
