//! Snapshots on a disk that is full: what cannot be done says so, nothing is lost, and all of them can be
//! cleared. Linux only, and only where a small disk can be mounted.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use reprise_store::{DataDir, History, HistoryWriter, SnapshotId, SnapshotReader, SnapshotStore, StoreError};
use rusqlite::Connection;
use serde_json::json;

use crate::states::{
    KEY, ROOMY, State, assert_clean, assert_is, budget, conversation, open, open_saying, save, try_save,
};
use crate::support::{Place, begin, me, say, texts, tick};

/// A small disk in memory; gone with this value.
struct SmallDisk {
    at: PathBuf,
    _place: Place,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let place = Place::new();
        let at = place.path("disk");
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&at);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self { at, _place: place });
        }
        // Past the capture, which shows nothing of a test that passes. Nobody may be listening.
        let _ = writeln!(
            io::stderr(),
            "skipped, because no small disk can be mounted here, so none can be filled"
        );
        None
    }

    fn data(&self) -> DataDir {
        DataDir::create(self.at.join("data")).unwrap()
    }

    fn writer(&self) -> HistoryWriter {
        History::open_writer(&self.data(), &me()).unwrap()
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.at.join("filler")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// About 1 MB each, with nothing in common.
fn state(seed: u32) -> State {
    State::new(seed, 125)
}

fn ids(reader: &SnapshotReader) -> Vec<SnapshotId> {
    reader.list().unwrap().iter().map(|row| row.id).collect()
}

#[track_caller]
fn full<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), "snapshots_full", "{error:?}");
    assert!(error.to_string().starts_with("The disk is full"), "{error}");
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn all_of_them_can_be_cleared() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let mut writer = disk.writer();
    let talk = begin(&mut writer, "kept");
    say(&mut writer, talk, None, "words");
    let mut store = open(&writer);
    let saved = [1, 2, 3].map(|n| save(&mut store, conversation(n), &state(n)).id);
    store.pin(saved[0]).unwrap();
    store.note("qualification", &json!({ "ok": true })).unwrap();
    let reader = store.another().unwrap();
    reader.list().unwrap();
    let going_on = store.begin_save(1).unwrap();
    disk.fill();
    full(store.drop_snapshot(saved[1]));

    let dropped = store.clear().unwrap();
    assert_eq!((dropped.snapshots, dropped.journal_erased), (3, true));
    assert!(dropped.bytes > 3_000_000, "{dropped:?}");
    assert_eq!(ids(&store), []);
    assert_eq!(store.noted("qualification").unwrap(), Some(json!({ "ok": true })), "no state, and no secret");
    assert!(file_bytes(&disk.data().snapshots_db()) < 1_500_000);
    assert_eq!(texts(&writer.active_path(talk).unwrap()), ["words"]);

    // It goes on as if it had been opened now, and whoever still looks at the file that is gone harms nothing.
    let reprise_store::Begun::Save(mut going_on) = going_on else { panic!() };
    assert_eq!(store.missing(&mut going_on, &[]).unwrap_err().code(), "snapshot_refused");
    let id = save(&mut store, conversation(4), &state(4)).id;
    drop(reader);
    assert_is(&store, id, &state(4));
    assert_eq!(ids(&store.another().unwrap()), [id]);
    assert_clean(&store);
    drop(store);
    let (store, opening) = open_saying(&writer);
    assert_eq!(opening, reprise_store::SnapshotOpening::default());
    assert_is(&store, id, &state(4));
}

/// Others may take what the old file leaves, so that there is no room for an empty one either.
#[test]
fn without_room_for_an_empty_file_nothing_is_kept_until_there_is() {
    let Some(disk) = SmallDisk::mount(4) else { return };
    let writer = disk.writer();
    let mut store = open(&writer);
    let id = save(&mut store, conversation(1), &State::new(1, 4)).id;
    // A limit on files: the new one cannot be made, although the old one went.
    disk.fill();
    let in_the_way = disk.data().root().join("snapshots.db.new");
    fs::create_dir(&in_the_way).unwrap();
    store.clear().unwrap_err();
    assert_eq!(ids(&store), []);
    assert!(store.manifest(id).is_err());
    for error in [
        try_save(&mut store, &State::new(1, 4), &State::new(1, 4).snapshot(conversation(1))).unwrap_err(),
        store.note("a", &json!(1)).unwrap_err(),
    ] {
        assert!(error.to_string().contains("snapshots.db"), "{error}");
    }
    fs::remove_dir(&in_the_way).unwrap();
    disk.free();
    let state = State::new(2, 4);
    let id = save(&mut store, conversation(2), &state).id;
    assert_is(&store, id, &state);
    assert_clean(&store);
}

#[test]
fn a_disk_that_fills_while_snapshots_are_verified_loses_none() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let writer = disk.writer();
    let mut store = open(&writer);
    let saved = [1, 2, 3].map(|n| save(&mut store, conversation(n), &state(n)).id);
    drop(store);
    let conn = Connection::open(disk.data().snapshots_db()).unwrap();
    conn.execute("UPDATE chunk_data SET data = zeroblob(9) WHERE id = 1", []).unwrap();
    conn.execute("UPDATE chunks SET refs = 7 WHERE id = 2", []).unwrap();
    drop(conn);
    let mut store = open(&writer);
    let mut filled = false;
    let report = SnapshotReader::open(&disk.data())
        .unwrap()
        .verify(|_| {
            if !std::mem::replace(&mut filled, true) {
                disk.fill();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let bad: Vec<SnapshotId> = report.bad.iter().map(|bad| bad.id).collect();
    assert_eq!((bad.as_slice(), report.ok, report.wrong_counts), (&saved[..1], 2, 1));

    full(store.mend(&bad));
    full(store.prune(0));
    for (id, n) in [(saved[1], 2), (saved[2], 3)] {
        assert_is(&store, id, &state(n));
    }
    assert_eq!(ids(&store).len(), 3, "all or nothing");
    let all = store.verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!((all.bad.len(), all.ok), (1, 2));
    disk.free();
    store.mend(&bad).unwrap();
    assert_eq!(ids(&store), [saved[2], saved[1]]);
    save(&mut store, conversation(4), &state(4));
    assert_clean(&store);
}

/// What is left of a budget that was chosen while nothing could be removed.
#[test]
fn a_smaller_budget_holds_although_nothing_can_be_removed_yet() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let writer = disk.writer();
    let mut store = open(&writer);
    let saved = [1, 2, 3].map(|n| save(&mut store, conversation(n), &state(n)).id);
    disk.fill();
    full(store.set_budget(0));
    assert_eq!((store.budget().bytes, ids(&store).len()), (0, 3));
    disk.free();
    assert_eq!(store.prune(0).unwrap().evicted, saved);
    assert_clean(&store);
}

/// Opening takes room, too.
#[test]
fn a_file_that_cannot_be_opened_for_want_of_room_can_be_discarded() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let writer = disk.writer();
    let mut store = open(&writer);
    for n in 1..=3 {
        save(&mut store, conversation(n), &state(n));
    }
    drop(store);
    fs::write(disk.data().root().join("snapshots.db.damaged-19700101T000000Z"), "of no use").unwrap();
    disk.fill();
    full(SnapshotStore::open(&writer, budget(ROOMY), KEY, tick()));
    full(SnapshotReader::open(&disk.data()));
    assert!(SnapshotStore::discard(&writer).unwrap() > 3_000_000);
    assert_eq!(SnapshotStore::discard(&writer).unwrap(), 0);
    let names = fs::read_dir(disk.data().root()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("snapshots.db")).collect();
    assert_eq!(left, [""; 0]);
    let (store, opening) = open_saying(&writer);
    assert_eq!((opening.new_key, opening.recreated, ids(&store)), (false, None, vec![]));
}
