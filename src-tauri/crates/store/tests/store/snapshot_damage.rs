//! Snapshots that are not what was saved: each kind is told, none is used, and none stops the app.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use reprise_store::{Damage, SnapshotId, SnapshotReader, SnapshotStore};
use rusqlite::{Connection, params};

use crate::states::{
    KEY, State, assert_clean, assert_is, budget, conversation, open, open_saying, restore, save,
};
use crate::support::{Place, begin, say, tick};

/// A library of a text and two snapshots that share nothing, closed.
struct Saved {
    place: Place,
    first: (SnapshotId, State),
    second: (SnapshotId, State),
}

impl Saved {
    fn new() -> Self {
        Self::with(260)
    }

    fn with(n_tokens: u32) -> Self {
        let place = Place::new();
        let mut writer = place.writer();
        let id = begin(&mut writer, "precious");
        say(&mut writer, id, None, "words");
        let mut store = open(&writer);
        let [first, second] = [State::new(1, n_tokens), State::new(2, n_tokens)];
        let first = (save(&mut store, conversation(1), &first).id, first);
        let second = (save(&mut store, conversation(2), &second).id, second);
        drop((store, writer));
        Self { place, first, second }
    }

    fn db(&self) -> PathBuf {
        self.place.data().snapshots_db()
    }

    fn edit(&self, sql: &str, values: impl rusqlite::Params) {
        let changed = Connection::open(self.db()).unwrap().execute(sql, values).unwrap();
        assert!(changed > 0, "{sql}");
    }

    /// The id in the database of the `n`th chunk of the first state.
    fn chunk(&self, n: usize) -> i64 {
        let hash = self.first.1.chunks()[n].1;
        let conn = Connection::open(self.db()).unwrap();
        conn.query_row("SELECT id FROM chunks WHERE hash = ?1", [&hash.as_bytes()[..]], |row| row.get(0))
            .unwrap()
    }

    /// The first is damaged in this way; the second is whole, and so is the text.
    #[track_caller]
    fn told(&self, expect: &Damage) {
        let writer = self.place.writer();
        let (mut store, opening) = open_saying(&writer);
        assert_eq!(opening.recreated, None);
        let (id, _) = self.first;
        assert_eq!(restore(&store, id).unwrap_err(), *expect);
        assert_is(&store, self.second.0, &self.second.1);
        let report = store.verify(|_| ControlFlow::Continue(())).unwrap();
        let bad: Vec<_> = report.bad.iter().map(|bad| (bad.id, bad.why.clone())).collect();
        assert_eq!((bad, report.ok, report.checked), (vec![(id, expect.clone())], 1, 2));
        assert!(writer.integrity_check().unwrap().is_ok());
        // Mended, it is gone and everything is in order; and it can be saved again.
        store.mend(&[id]).unwrap();
        assert_clean(&store);
        let again = save(&mut store, conversation(1), &self.first.1).id;
        assert_is(&store, again, &self.first.1);
    }
}

const OF: usize = 4;

#[test]
fn a_flipped_bit_in_a_chunk() {
    for at in [0, 70_000, 500_000] {
        let saved = Saved::new();
        let id = saved.chunk(1);
        let sql = "SELECT data FROM chunk_data WHERE id = ?1";
        let mut data: Vec<u8> =
            Connection::open(saved.db()).unwrap().query_row(sql, [id], |row| row.get(0)).unwrap();
        data[at] ^= 4;
        saved.edit("UPDATE chunk_data SET data = ?2 WHERE id = ?1", params![id, data]);
        saved.told(&Damage::ChunkChanged { number: 2, of: OF });
    }
}

#[test]
fn a_chunk_cut_short() {
    let saved = Saved::new();
    let expected = saved.first.1.chunks()[0].2.len() as u64;
    saved.edit(
        "UPDATE chunk_data SET data = substr(data, 1, length(data) - 1) WHERE id = ?1",
        [saved.chunk(0)],
    );
    saved.told(&Damage::ChunkLength { number: 1, of: OF, found: expected - 1, expected });
}

#[test]
fn a_missing_chunk() {
    let saved = Saved::new();
    saved.edit("DELETE FROM chunk_data WHERE id = ?1", [saved.chunk(2)]);
    saved.told(&Damage::ChunkMissing { number: 3, of: OF });
    let saved = Saved::new();
    saved.edit("DELETE FROM chunks WHERE id = ?1", [saved.chunk(2)]);
    saved.told(&Damage::ChunkMissing { number: 3, of: OF });
}

#[test]
fn two_chunks_swapped_and_one_in_the_place_of_another() {
    let saved = Saved::new();
    let [one, other] = [saved.chunk(0), saved.chunk(1)];
    saved.edit(
        "UPDATE chunk_data SET id = CASE id WHEN ?1 THEN -1 ELSE -2 END WHERE id IN (?1, ?2)",
        [one, other],
    );
    saved.edit("UPDATE chunk_data SET id = CASE id WHEN -1 THEN ?2 ELSE ?1 END WHERE id < 0", [one, other]);
    saved.told(&Damage::ChunkChanged { number: 1, of: OF });
    let saved = Saved::new();
    let sql = "UPDATE chunk_data SET data = (SELECT data FROM chunk_data WHERE id = ?1) WHERE id = ?2";
    saved.edit(sql, [saved.chunk(0), saved.chunk(1)]);
    saved.told(&Damage::ChunkChanged { number: 2, of: OF });
}

/// Whoever can write the file can make every plain hash agree, but not the seal.
#[test]
fn a_chunk_rewritten_with_its_hash_everywhere() {
    let saved = Saved::new();
    let id = saved.chunk(0);
    let (_, old, mut bytes) = saved.first.1.chunks().swap_remove(0);
    bytes[9] ^= 1;
    let new = reprise_store::ChunkHash::of(&bytes);
    saved.edit("UPDATE chunk_data SET data = ?2 WHERE id = ?1", params![id, bytes]);
    saved.edit("UPDATE chunks SET hash = ?2 WHERE id = ?1", params![id, &new.as_bytes()[..]]);
    let sql =
        "UPDATE manifests SET manifest = CAST(replace(manifest, ?1, ?2) AS BLOB) WHERE instr(manifest, ?1)";
    saved.edit(sql, params![old.to_string(), new.to_string()]);
    saved.told(&Damage::Tag);
}

#[test]
fn what_the_seal_covers() {
    for sql in [
        "UPDATE snapshots SET tag = zeroblob(32) WHERE seq = 1",
        "UPDATE snapshots SET tag = (SELECT tag FROM snapshots WHERE seq = 2) WHERE seq = 1",
        "UPDATE snapshots SET node = (SELECT node FROM snapshots WHERE seq = 2) WHERE seq = 1",
        "UPDATE snapshots SET conversation = (SELECT conversation FROM snapshots WHERE seq = 2) WHERE seq = 1",
        "UPDATE manifests SET manifest = (SELECT manifest FROM manifests WHERE seq = 2) WHERE seq = 1",
        "UPDATE manifests SET manifest = CAST(manifest || ' ' AS BLOB) WHERE seq = 1",
        "DELETE FROM manifests WHERE seq = 1",
        "UPDATE snapshot_tokens SET tokens = (SELECT tokens FROM snapshot_tokens WHERE seq = 2) WHERE seq = 1",
        "UPDATE snapshot_tokens SET tokens = CAST(substr(tokens, 5) AS BLOB) WHERE seq = 1",
        "DELETE FROM snapshot_tokens WHERE seq = 1",
    ] {
        let saved = Saved::new();
        saved.edit(sql, []);
        saved.told(&Damage::Tag);
    }
}

/// Everything of another conversation's snapshot, under this one's names.
#[test]
fn the_manifest_of_another_conversation() {
    let saved = Saved::new();
    let columns = "tag, key_name, identity, prefix, n_tokens, bytes";
    let set = format!(
        "UPDATE snapshots SET ({columns}) = (SELECT {columns} FROM snapshots WHERE seq = 2) WHERE seq = 1"
    );
    saved.edit(&set, []);
    saved.edit(
        "UPDATE manifests SET manifest = (SELECT manifest FROM manifests WHERE seq = 2) WHERE seq = 1",
        [],
    );
    let sql = "UPDATE snapshot_tokens SET tokens = (SELECT tokens FROM snapshot_tokens WHERE seq = 2) WHERE seq = 1";
    saved.edit(sql, []);
    saved.told(&Damage::Tag);
}

#[test]
fn a_lost_key_or_another_means_replay_and_nothing_else() {
    for key in [None, Some([8; 32])] {
        let saved = Saved::new();
        let path = saved.place.data().snapshots_key();
        match key {
            None => fs::remove_file(&path).unwrap(),
            Some(key) => fs::write(&path, key).unwrap(),
        }
        // A reader makes no key.
        let reader = SnapshotReader::open(&saved.place.data()).unwrap();
        assert_eq!(reader.manifest(saved.first.0), Err(Damage::KeyGone));
        let writer = saved.place.writer();
        let (mut store, opening) = SnapshotStore::open(&writer, budget(1 << 30), [9; 32], tick()).unwrap();
        assert_eq!((opening.new_key, opening.dropped), (key.is_none(), 0));
        for id in [saved.first.0, saved.second.0] {
            assert_eq!(store.manifest(id).unwrap_err(), Damage::KeyGone);
            assert_eq!(store.manifest(id).unwrap_err().to_string(), "the key is gone");
        }
        let new = save(&mut store, conversation(3), &saved.first.1).id;
        assert_is(&store, new, &saved.first.1);
        assert!(writer.integrity_check().unwrap().is_ok());
        assert_eq!(fs::read(&path).unwrap(), key.unwrap_or([9; 32]));
    }
}

#[test]
fn a_file_that_is_no_key_is_replaced_and_what_it_sealed_dropped() {
    for wrong in [vec![], vec![1; 31], vec![1; 33], vec![1; 100_000]] {
        let saved = Saved::new();
        let path = saved.place.data().snapshots_key();
        fs::write(&path, &wrong).unwrap();
        let (store, opening) = open_saying(&saved.place.writer());
        assert_eq!((opening.new_key, opening.dropped), (true, 2));
        assert_eq!(store.list().unwrap(), []);
        assert_clean(&store);
        assert_eq!(fs::read(&path).unwrap(), KEY);
    }
}

#[cfg(unix)]
#[test]
fn key_and_database_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let saved = Saved::new();
    let data = saved.place.data();
    fs::set_permissions(data.snapshots_key(), fs::Permissions::from_mode(0o644)).unwrap();
    let writer = saved.place.writer();
    let _store = open(&writer);
    for path in [data.snapshots_key(), data.snapshots_db(), data.root().join("snapshots.db-wal")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

fn set_aside(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.data().root()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("damaged")).collect()
}

/// Whatever lies there, the store opens empty and works, the file is beside it, the text untouched.
#[track_caller]
fn started_over(saved: &Saved, expect: &str) {
    let history = saved.place.data().history_db();
    let before = fs::read(&history).unwrap();
    let found = fs::read(saved.db()).ok();
    let writer = saved.place.writer();
    let (mut store, opening) = open_saying(&writer);
    let why = opening.recreated.expect("not noticed");
    assert!(why.contains(expect), "{why}");
    let aside = opening.set_aside.expect("not set aside");
    assert!(aside.file_name().unwrap().to_string_lossy().starts_with("snapshots.db.damaged-1970"));
    // Opening may have touched a header, but the file is the one that was found.
    assert_eq!(fs::read(&aside).ok().map(|bytes| bytes.len()), found.map(|bytes| bytes.len()));
    assert_eq!(set_aside(&saved.place), [aside], "only the last one is kept");
    assert_eq!(store.list().unwrap(), []);
    let id = save(&mut store, conversation(1), &saved.first.1).id;
    assert_is(&store, id, &saved.first.1);
    assert_clean(&store);
    drop((store, writer));
    assert_eq!(fs::read(&history).unwrap(), before);
    let (store, opening) = open_saying(&saved.place.writer());
    assert_eq!(opening.recreated, None);
    assert_is(&store, id, &saved.first.1);
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    for (content, why) in [
        (&b""[..], "holds only 0 bytes"),
        (b"short", "holds only 5 bytes"),
        (&b"Dear diary, ".repeat(9_000), "not a database"),
        (&vec![0; 70_000], "not a database"),
        (b"SQLite format 3\0", "file is not a database"),
    ] {
        let saved = Saved::new();
        fs::write(saved.db(), content).unwrap();
        started_over(&saved, why);
        fs::write(saved.db(), content).unwrap();
        started_over(&saved, why);
    }
}

#[test]
fn a_damaged_file_too_large_to_keep_is_deleted() {
    let saved = Saved::with(9);
    // Sparse: it takes no space here.
    fs::File::create(saved.db()).unwrap().set_len((1 << 30) + 1).unwrap();
    let (store, opening) = open_saying(&saved.place.writer());
    assert!(opening.recreated.is_some() && opening.set_aside.is_none());
    assert_eq!((set_aside(&saved.place), store.list().unwrap()), (vec![], vec![]));
}

#[test]
fn wrong_books_are_found_and_put_in_order() {
    let saved = Saved::with(100);
    saved.edit("UPDATE chunks SET refs = refs + 1 WHERE id = ?1", [saved.chunk(0)]);
    saved.edit("INSERT INTO chunk_data (id, data) VALUES (900, x'00')", []);
    saved.edit("INSERT INTO chunks (id, hash, bytes, refs) VALUES (901, zeroblob(32), 1, 0)", []);
    saved.edit("INSERT INTO chunks (id, hash, bytes, refs) VALUES (902, zeroblob(31), 1, 1)", []);
    let reader = SnapshotReader::open(&saved.place.data()).unwrap();
    let report = reader.verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.wrong_counts, report.orphans, report.stray), (2, 1, 3), "{report:?}");
    assert!(report.ok == 2 && !report.is_ok());
    drop(reader);
    let writer = saved.place.writer();
    let mut store = open(&writer);
    store.mend(&[]).unwrap();
    assert_clean(&store);
    for (id, state) in [&saved.first, &saved.second] {
        assert_is(&store, *id, state);
    }
}

#[test]
fn a_file_cut_short_is_set_aside() {
    let saved = Saved::new();
    let whole = fs::read(saved.db()).unwrap();
    for length in [whole.len() - 1, whole.len() - 65_536, whole.len() / 2, 65_536, 4_096, 100] {
        fs::write(saved.db(), &whole[..length]).unwrap();
        started_over(&saved, "");
    }
}

#[test]
fn the_database_of_something_else_is_set_aside() {
    let saved = Saved::new();
    fs::copy(saved.place.data().history_db(), saved.db()).unwrap();
    started_over(&saved, "not one of snapshots");
}

#[test]
fn another_version_or_other_tables_are_set_aside() {
    for (sql, why) in [
        ("PRAGMA user_version = 1", "another version"),
        ("CREATE TABLE more (x)", "its tables"),
        ("DROP TABLE manifests", "its tables"),
        ("CREATE TRIGGER t AFTER INSERT ON snapshots BEGIN DELETE FROM chunks; END", "its tables"),
        ("DROP INDEX snapshots_by_prefix", "its tables"),
    ] {
        let saved = Saved::new();
        Connection::open(saved.db()).unwrap().execute_batch(sql).unwrap();
        started_over(&saved, why);
    }
}

#[test]
fn a_folder_in_the_place_of_the_file_is_moved_away() {
    let saved = Saved::new();
    fs::remove_file(saved.db()).unwrap();
    fs::create_dir(saved.db()).unwrap();
    fs::write(saved.db().join("mine"), "kept").unwrap();
    let (store, opening) = open_saying(&saved.place.writer());
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(fs::read_to_string(opening.set_aside.unwrap().join("mine")).unwrap(), "kept");
}

#[test]
fn a_deleted_file_is_a_beginning_whatever_it_leaves_behind() {
    let saved = Saved::with(40);
    let beside = |name: &str| saved.place.data().root().join(format!("snapshots.db{name}"));
    // The journal of a file that is deleted must not be read into the new one.
    let writer = saved.place.writer();
    let mut store = open(&writer);
    save(&mut store, conversation(3), &State::new(3, 40));
    fs::copy(beside("-wal"), beside(".journal")).unwrap();
    drop(store);
    fs::remove_file(saved.db()).unwrap();
    fs::rename(beside(".journal"), beside("-wal")).unwrap();
    fs::write(beside("-shm"), vec![7; 32_768]).unwrap();
    fs::write(beside(".new"), "half").unwrap();
    let (mut store, opening) = open_saying(&writer);
    assert_eq!(opening, reprise_store::SnapshotOpening::default());
    assert_eq!(store.list().unwrap(), []);
    save(&mut store, conversation(1), &saved.first.1);
    assert_clean(&store);
}

/// A byte of the file changed, in its headers and all over: it opens, and what passes for whole is.
#[test]
fn no_flipped_byte_passes_for_the_truth_or_stops_the_opening() {
    let saved = Saved::with(40);
    let good = fs::read(saved.db()).unwrap();
    let (mut over, mut bad, mut fine) = (0, 0, 0);
    // Every byte of SQLite's header; then around the beginning of each page, where its structure lies.
    let structure =
        (1..good.len() / 65_536).flat_map(|page| (0..24).step_by(5).map(move |n| page * 65_536 + n));
    let places: Vec<usize> = (0..100).chain(structure).chain((0..good.len()).step_by(99_991)).collect();
    for at in places {
        let mut flipped = good.clone();
        flipped[at] ^= 0x11;
        remove_beside(&saved.db());
        fs::write(saved.db(), &flipped).unwrap();
        let writer = saved.place.writer();
        let (store, opening) = open_saying(&writer);
        if opening.recreated.is_some() {
            over += 1;
            continue;
        }
        for (id, state) in [&saved.first, &saved.second] {
            match restore(&store, *id) {
                Ok((manifest, image)) => {
                    assert!(image == state.image && manifest.tokens == state.tokens, "byte {at}");
                    fine += 1;
                }
                Err(_) => bad += 1,
            }
        }
    }
    assert!(over > 0 && bad > 0 && fine > 0, "{over} {bad} {fine}");
}

fn remove_beside(db: &Path) {
    for suffix in ["-wal", "-shm"] {
        let mut name = db.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
}

#[test]
fn found_damaged_while_open_it_can_be_started_over() {
    let saved = Saved::new();
    let writer = saved.place.writer();
    let (store, opening) = open(&writer).start_over(&writer, KEY, tick()).unwrap();
    assert!(opening.recreated.is_some() && opening.set_aside.unwrap().exists());
    assert_eq!(store.list().unwrap(), []);
}
