//! Data folders that are fine, and those that are not.

use std::fs;

use reprise_store::{DataDir, StoreError};

use crate::support::{Place, begin};

#[track_caller]
fn unusable(result: Result<DataDir, StoreError>, why: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), "data_dir_unusable");
    assert!(error.to_string().contains(why), "{error}");
    assert!(!error.remedy().is_empty());
}

#[test]
fn a_file_is_not_a_folder() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "precious").unwrap();
    unusable(DataDir::create(&file), "it is a file");
    unusable(DataDir::at(&file), "it is a file");
    unusable(DataDir::create(file.join("below")), "part of its path is a file");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn a_missing_parent_is_not_made_unless_asked_for() {
    let place = Place::new();
    let deep = place.path("missing").join("data");
    unusable(DataDir::create(&deep), "does not exist");
    assert!(!place.path("missing").exists());
    DataDir::create_with_parents(&deep).unwrap();
    assert!(deep.is_dir());
}

#[test]
fn paths_lie_in_the_folder() {
    let place = Place::new();
    let data = place.data();
    for path in [data.history_db(), data.backups(), data.logs(), data.writer_lock(), data.writer_info()] {
        assert_eq!(path.parent(), Some(data.root()));
    }
    assert_eq!(DataDir::create(data.root()).unwrap(), data);
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let mut writer = place.writer();
    begin(&mut writer, "private");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.data().root().to_owned()), 0o700);
    for entry in fs::read_dir(place.data().root()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
}

/// What permission bits forbid. They do not bind root, so there the child is another user.
#[cfg(unix)]
mod permissions {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    use std::path::Path;

    use rusqlite::Connection;

    use crate::child::{Spawned, command};
    use crate::support::{Place, begin};

    const NOBODY: u32 = 65_534;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The place's data folder with these bits, and its files readable by everybody.
    fn seal(place: &Place, mode: u32) {
        set_mode(place.root(), 0o755);
        for entry in fs::read_dir(place.path("data")).unwrap() {
            set_mode(&entry.unwrap().path(), 0o444);
        }
        set_mode(&place.path("data"), mode);
    }

    /// Reads and tries to write in a child that the bits bind; `check` gets both outcomes.
    fn check(place: &Place, expect: [&str; 2]) {
        let mut child = command("read_and_try_to_write", &place.path("data"));
        let am_root = fs::metadata(place.root()).unwrap().uid() == 0;
        if am_root {
            child.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        let started = Spawned::start(child);
        let said = started.map(|mut child| [child.next(), child.next()]);
        set_mode(&place.path("data"), 0o755);
        match said {
            Ok(said) => assert_eq!(said, expect.map(|word| Some(word.to_owned()))),
            Err(error) if am_root => {
                eprintln!(
                    "skipped, because running as root, and another user cannot run this test program: {error}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_can_be_read() {
        let place = Place::new();
        begin(&mut place.writer(), "kept");
        seal(&place, 0o555);
        check(&place, ["kept", "data_dir_readonly"]);
    }

    #[test]
    fn files_that_cannot_be_written_are_named() {
        let place = Place::new();
        begin(&mut place.writer(), "kept");
        seal(&place, 0o777);
        fs::remove_file(place.data().writer_lock()).unwrap();
        check(&place, ["kept", "data_dir_readonly"]);
    }

    #[test]
    fn a_folder_that_cannot_be_entered_is_named() {
        let place = Place::new();
        begin(&mut place.writer(), "kept");
        seal(&place, 0o000);
        check(&place, ["data_dir_unusable", "data_dir_unusable"]);
    }

    #[test]
    fn an_empty_folder_that_cannot_be_written_reads_as_empty() {
        let place = Place::new();
        place.data();
        seal(&place, 0o555);
        check(&place, ["", "data_dir_readonly"]);
    }

    /// Changes that were never merged are not passed over in silence.
    #[test]
    fn a_waiting_journal_in_a_folder_that_cannot_be_written_is_named() {
        let place = Place::new();
        let live = Place::new();
        let mut writer = live.writer();
        begin(&mut writer, "in the journal only");
        for name in ["history.db", "history.db-wal"] {
            fs::copy(live.path("data").join(name), place.data().root().join(name)).unwrap();
        }
        seal(&place, 0o555);
        check(&place, ["data_dir_readonly", "data_dir_readonly"]);
        // Where it can be written, it is read.
        let conn = Connection::open(place.data().history_db()).unwrap();
        drop(conn);
        set_mode(&place.data().history_db(), 0o600);
        set_mode(&place.path("data").join("history.db-wal"), 0o600);
        assert_eq!(place.writer().list(reprise_store::ListFilter::default()).unwrap().len(), 1);
    }
}
