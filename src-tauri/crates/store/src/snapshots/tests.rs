//! What needs the connection's own settings, or many snapshots in a moment.

mod many;

use std::sync::Arc;

use serde_json::json;

use super::db::Db;
use super::save::{Begun, Saved};
use super::store::SnapshotStore;
use crate::{
    Budget, ChunkHash, ConversationId, DataDir, History, HistoryWriter, Holder, Layout, NewSnapshot, NodeId,
    SnapshotId, Split, StoreError, Timestamp, gather,
};

fn place() -> (tempfile::TempDir, HistoryWriter) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create(dir.path().join("data")).unwrap();
    let writer =
        History::open_writer(&data, &Holder::this_process("tests", Timestamp::from_millis(1))).unwrap();
    (dir, writer)
}

fn open(writer: &HistoryWriter) -> SnapshotStore {
    let budget = Budget { bytes: 1 << 30, keep_free: 0, free_disk: Arc::new(|| None) };
    SnapshotStore::open(writer, budget, [1; 32], Timestamp::from_millis(1)).unwrap().0
}

/// A state of `megabytes` that is like no other.
fn save(store: &mut SnapshotStore, n: u64, megabytes: usize) -> Result<Saved, StoreError> {
    let mut image = vec![0; megabytes << 20];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut image);
    let layout = Layout::opaque(image.len() as u64);
    let mut chunks = Vec::new();
    for spec in Split::of(&layout).unwrap().chunks {
        let mut bytes = Vec::new();
        gather(&spec, &layout, &image, &mut bytes).unwrap();
        chunks.push((spec, ChunkHash::of(&bytes), bytes));
    }
    let Begun::Save(mut save) = store.begin_save(layout.len)? else { panic!("too large") };
    for (_, hash, bytes) in &chunks {
        store.put_chunks(&mut save, &[(*hash, bytes)])?;
    }
    let at = Timestamp::from_millis(10 + n);
    let new = NewSnapshot {
        id: SnapshotId::new(at, 1),
        conversation: ConversationId::new(at, 1),
        node: NodeId::new(at, 1),
        identity: [("model".to_owned(), "m".to_owned())].into(),
        tokens: vec![1, 2, 3],
        layout,
        chunks: chunks.into_iter().map(|(spec, hash, _)| (spec, hash)).collect(),
        image_hash: None,
        challenge: json!(null),
        facts: json!(null),
        created: at,
        supersede: Vec::new(),
    };
    store.commit(save, &new)
}

#[test]
fn a_full_disk_undoes_the_save_and_shrinks_the_budget_once() {
    let (_dir, writer) = place();
    let mut store = open(&writer);
    let first = save(&mut store, 1, 3).unwrap();
    let second = save(&mut store, 2, 3).unwrap();
    let used = store.total_bytes().unwrap();
    // Room for two pieces of the next one.
    let pages = used / 65_536 + 40;
    store.db.read(|conn| Ok(conn.pragma_update(None, "max_page_count", pages.cast_signed())?)).unwrap();
    let error = save(&mut store, 3, 5).unwrap_err();
    let StoreError::SnapshotsFull { budget_shrunk: Some(budget) } = error else { panic!("{error:?}") };
    assert_eq!(error.code(), "snapshots_full");
    assert_eq!(store.budget().bytes, budget);
    // What fitted, less an eighth; the rest of the broken save went first, so nothing else had to.
    assert!(budget > used && budget < pages * 65_536, "{budget}, {used}");
    let left: Vec<SnapshotId> = store.list().unwrap().iter().map(|row| row.id).collect();
    assert_eq!(left, [second.id, first.id]);
    let report = store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(report.is_ok() && report.orphans == 0, "{report:?}");
    // From now on the budget makes room before the disk is full.
    let third = save(&mut store, 3, 3).unwrap();
    assert_eq!(third.evicted, [first.id]);
    store.manifest(third.id).unwrap();
}

#[test]
fn opening_goes_on_from_the_remains_of_a_save() {
    let (_dir, writer) = place();
    let mut store = open(&writer);
    save(&mut store, 1, 1).unwrap();
    let Begun::Save(mut cut) = store.begin_save(9).unwrap() else { panic!() };
    store.put_chunks(&mut cut, &[(ChunkHash::of(b"left"), b"left")]).unwrap();
    drop((cut, store));
    let budget = Budget { bytes: 1 << 30, keep_free: 0, free_disk: Arc::new(|| None) };
    let (store, opening) = SnapshotStore::open(&writer, budget, [1; 32], Timestamp::from_millis(1)).unwrap();
    assert_eq!(opening.orphans_collected, 1);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn a_save_of_another_store_is_refused() {
    let (_dir, writer) = place();
    let mut store = open(&writer);
    let Begun::Save(mut save) = store.begin_save(9).unwrap() else { panic!() };
    let (mut store, _) = store.start_over(&writer, [1; 32], Timestamp::from_millis(2)).unwrap();
    let error = store.missing(&mut save, &[ChunkHash::of(b"x")]).unwrap_err();
    assert_eq!(error.code(), "snapshot_refused");
}

/// The settings that the speed and the size of the file depend on.
#[test]
fn the_file_is_made_as_meant() {
    let (_dir, writer) = place();
    let store = open(&writer);
    let pragma = |name: &str| -> i64 {
        store.db.read(|conn| Ok(conn.pragma_query_value(None, name, |row| row.get(0))?)).unwrap()
    };
    assert_eq!(pragma("page_size"), 65_536);
    assert_eq!(pragma("auto_vacuum"), 2, "incremental");
    assert_eq!(pragma("synchronous"), 1, "normal");
    assert_eq!(pragma("secure_delete"), 2, "fast");
    let mode: String =
        store.db.read(|conn| Ok(conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn the_handles_can_go_to_another_thread() {
    fn goes<T: Send>() {}
    goes::<SnapshotStore>();
    goes::<crate::SnapshotReader>();
    goes::<crate::Save>();
    goes::<crate::Manifest>();
}

#[test]
fn what_sqlite_reports_is_never_told_as_the_history() {
    let db = Db::absent(std::path::Path::new("snapshots.db")).unwrap();
    let error = db.read(|conn| Ok(conn.execute("DROP TABLE nothing", [])?)).unwrap_err();
    assert_eq!(error.code(), "snapshots_damaged");
    assert!(!error.to_string().contains("history"), "{error}");
}
