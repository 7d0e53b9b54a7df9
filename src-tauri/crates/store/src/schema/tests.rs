//! Upgrades, with invented later versions in place of those to come.

use tempfile::TempDir;

use super::*;
use crate::{ConversationId, History, HistoryWriter, Holder, NewConversation, TitleSource};

/// Released SQL never changes: files made by it are out there. A new version gets a new line.
const RELEASED_HASHES: &[&str] = &[
    "9f8d88b000f6ac91673ebba8e31712ff0efaec1618b522f74f60081bad2a96b7",
    "f421f3be1bc9df18f76288dcbfde0d2bacfc3f98ded1a34b21252ef0bd67d76a",
    "9924e89ef07c5f16d038b1e0ba79816341104ddf1dc215fc05f81b1174020fb6",
    "f9005ed0f15ef0b4d907d86afdb7357002733a501722c715b521230d96db3e2e",
];

#[test]
fn released_sql_is_frozen() {
    let hashes: Vec<String> =
        RELEASED.iter().map(|step| blake3::hash(step.concat().as_bytes()).to_hex().to_string()).collect();
    assert_eq!(hashes, RELEASED_HASHES);
}

#[test]
fn the_application_id_is_the_same_in_sql_and_code() {
    assert!(APPLICATION.contains(&format!("0x{APPLICATION_ID:x}")));
    assert_eq!(&APPLICATION_ID.to_be_bytes(), b"RPRS");
}

#[test]
fn a_library_of_the_first_version_opens_with_all_it_holds() {
    let place = Place::of_v1();
    let writer = place.open(RELEASED).unwrap();
    assert!(writer.opening().backup.is_some());
    assert_eq!(writer.list(crate::ListFilter::default()).unwrap()[0].title, "kept");
    assert_eq!(writer.draft(None).unwrap(), "");
    assert_eq!(writer.snapshot_budget().unwrap(), None);
    assert!(writer.integrity_check().unwrap().is_ok());
    drop(writer);
    assert_eq!(place.version(), version_of(RELEASED));
}

const NEXT: Step =
    &["CREATE TABLE folders (id TEXT NOT NULL) STRICT;", "INSERT INTO folders VALUES ('one');"];
const AFTER: Step = &["ALTER TABLE folders ADD COLUMN name TEXT;"];
/// Fails at its last statement.
const BROKEN: Step = &[
    "CREATE TABLE tags (id TEXT) STRICT;",
    "INSERT INTO tags VALUES ('x'); INSERT INTO nowhere VALUES (1);",
];
/// Each statement is fine, but the outcome refers to what is not there.
const DANGLING: Step = &["UPDATE conversations SET active_leaf = '01ARZ3NDEKTSV4RRFFQ69G5FAV';"];

const V2: &[Step] = &[RELEASED[0], NEXT];
const V3: &[Step] = &[RELEASED[0], NEXT, AFTER];

struct Place {
    data: DataDir,
    _dir: TempDir,
}

const NOW: Timestamp = Timestamp::from_millis(1_772_323_200_000);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { data: DataDir::create(dir.path().join("data")).unwrap(), _dir: dir }
    }

    /// A place with a library of the first version that holds one conversation.
    fn of_v1() -> Self {
        let place = Self::new();
        let mut writer = place.open(&RELEASED[..1]).unwrap();
        let new = NewConversation {
            id: ConversationId::new(NOW, 7),
            title: "kept".to_owned(),
            title_source: TitleSource::Custom,
            model: None,
            seed: u64::MAX,
        };
        writer.create_conversation(&new).unwrap();
        place
    }

    fn open(&self, steps: &[Step]) -> Result<HistoryWriter, StoreError> {
        History::open_writer_at(&self.data, &Holder::this_process("test", NOW), steps)
    }

    fn version(&self) -> u32 {
        match inspect(&self.data.history_db(), 1_000).unwrap() {
            Found::Version(version) => version,
            Found::Absent => panic!("no file"),
        }
    }

    fn tables(&self) -> Vec<String> {
        let conn = Connection::open(self.data.history_db()).unwrap();
        let mut statement = conn
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('folders', 'tags')")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Every file of the data folder with its bytes, but for the lock.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.data.root())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && !path.ends_with("writer.lock"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

#[test]
fn a_new_library_is_of_the_newest_version_and_needs_no_backup() {
    let place = Place::new();
    let writer = place.open(V3).unwrap();
    assert_eq!(writer.opening().backup, None);
    drop(writer);
    assert_eq!(place.version(), 3);
    assert_eq!(list_backups(&place.data).unwrap(), Vec::<PathBuf>::new());
    assert!(!beside(&place.data.history_db(), ".new").exists());
}

#[test]
fn an_upgrade_makes_a_whole_backup_first() {
    let place = Place::of_v1();
    let writer = place.open(V3).unwrap();
    let backup = place.data.backups().join("history-v1-20260301T000000Z.db");
    assert_eq!(writer.opening().backup.as_ref(), Some(&backup));
    assert_eq!(writer.list(crate::ListFilter::default()).unwrap()[0].title, "kept");
    drop(writer);
    assert_eq!(place.version(), 3);
    assert_eq!(list_backups(&place.data).unwrap(), std::slice::from_ref(&backup));
    assert!(!place.data.backups().join(UNFINISHED).exists());

    // The backup is a library of the first version, which an earlier program can go on with.
    fs::copy(&backup, place.data.history_db()).unwrap();
    assert_eq!(place.version(), 1);
    let writer = place.open(&RELEASED[..1]).unwrap();
    let kept = writer.conversation(ConversationId::new(NOW, 7)).unwrap();
    assert_eq!((kept.title.as_str(), kept.seed), ("kept", u64::MAX));
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn opening_again_upgrades_nothing_and_backups_are_kept() {
    let place = Place::of_v1();
    drop(place.open(V2).unwrap());
    assert_eq!(place.open(V2).unwrap().opening().backup, None);
    drop(place.open(V3).unwrap());
    let names: Vec<_> = list_backups(&place.data)
        .unwrap()
        .into_iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["history-v1-20260301T000000Z.db", "history-v2-20260301T000000Z.db"]);
}

#[test]
fn two_backups_of_one_moment_have_two_names() {
    let place = Place::of_v1();
    let conn = Connection::open(place.data.history_db()).unwrap();
    let first = back_up(&conn, &place.data, 1, NOW).unwrap();
    let second = back_up(&conn, &place.data, 1, NOW).unwrap();
    assert_ne!(first, second);
    assert_eq!(list_backups(&place.data).unwrap().len(), 2);
}

#[test]
fn a_failing_upgrade_leaves_the_earlier_version_whole() {
    for last in [BROKEN, DANGLING] {
        let place = Place::of_v1();
        let error = place.open(&[RELEASED[0], NEXT, last]).unwrap_err();
        let StoreError::Upgrade { backup: Some(backup), .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(error.code(), "upgrade_failed");
        assert!(error.to_string().contains(&backup.display().to_string()));
        assert!(backup.exists());
        assert_eq!(place.version(), 1);
        assert_eq!(place.tables(), Vec::<String>::new());
        // And goes on working.
        let writer = place.open(&RELEASED[..1]).unwrap();
        assert_eq!(writer.list(crate::ListFilter::default()).unwrap().len(), 1);
    }
}

#[test]
fn without_a_backup_there_is_no_upgrade() {
    let place = Place::of_v1();
    fs::write(place.data.backups(), "in the way").unwrap();
    let error = place.open(V2).unwrap_err();
    assert_eq!(error.code(), "upgrade_failed");
    assert_eq!(place.version(), 1);
}

#[test]
fn an_unfinished_backup_is_removed() {
    let place = Place::of_v1();
    fs::create_dir(place.data.backups()).unwrap();
    let partial = place.data.backups().join(UNFINISHED);
    for (steps, backups) in [(&RELEASED[..1], 0), (V2, 1)] {
        fs::write(&partial, "half of it").unwrap();
        drop(place.open(steps).unwrap());
        assert!(!partial.exists());
        assert_eq!(list_backups(&place.data).unwrap().len(), backups);
    }
}

#[test]
fn a_newer_library_is_left_untouched() {
    let place = Place::of_v1();
    drop(place.open(V3).unwrap());
    let before = place.files();
    let error = place.open(V2).unwrap_err();
    assert_eq!(error.code(), "data_newer");
    let reading = History::open_reader_at(&place.data, V2).unwrap_err();
    assert_eq!(reading.code(), "data_newer");
    assert_eq!(place.files(), before);
}

/// The version may stand in the journal only: after a crash of the newer program.
#[test]
fn a_newer_library_with_a_journal_is_left_untouched() {
    let place = Place::of_v1();
    let newer = Connection::open(place.data.history_db()).unwrap();
    newer.pragma_update(None, "user_version", 9).unwrap();
    let crashed = Place::new();
    for name in ["history.db", "history.db-wal"] {
        fs::copy(place.data.root().join(name), crashed.data.root().join(name)).unwrap();
    }
    let of_interest = |place: &Place| {
        let mut files = place.files();
        files.retain(|(path, _)| !path.ends_with("history.db-shm"));
        files
    };
    let before = of_interest(&crashed);
    assert!(before.iter().any(|(path, bytes)| path.ends_with("history.db-wal") && !bytes.is_empty()));
    let error = crashed.open(RELEASED).unwrap_err();
    let known = version_of(RELEASED);
    assert!(matches!(error, StoreError::Newer { found: 9, known: k, .. } if k == known), "{error:?}");
    assert_eq!(of_interest(&crashed), before);
}

#[test]
fn a_reader_does_not_upgrade() {
    let place = Place::of_v1();
    let before = place.files();
    let error = History::open_reader_at(&place.data, V2).unwrap_err();
    assert_eq!(error.code(), "data_older");
    assert_eq!(place.files(), before);
}

#[test]
fn a_beginning_cut_off_is_begun_again() {
    let place = Place::new();
    fs::write(beside(&place.data.history_db(), ".new"), "half of it").unwrap();
    drop(place.open(RELEASED).unwrap());
    assert_eq!(place.version(), version_of(RELEASED));
}

#[cfg(unix)]
#[test]
fn odd_paths_work() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    for name in [&b"50% #1? & more"[..], "数据 \u{1F600}".as_bytes(), b"not utf-8 \xFF"] {
        let root = dir.path().join(std::ffi::OsStr::from_bytes(name));
        let data = DataDir::create(&root).unwrap();
        drop(History::open_writer_at(&data, &Holder::this_process("test", NOW), &RELEASED[..1]).unwrap());
        open_unchanging(&data.history_db()).unwrap();
        let writer = History::open_writer_at(&data, &Holder::this_process("test", NOW), V2).unwrap();
        assert!(writer.opening().backup.as_ref().unwrap().exists());
    }
}
