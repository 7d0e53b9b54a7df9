//! One writer, any number of readers.

use std::fs;

use reprise_store::{DataDir, History, Holder, ListFilter, StoreError, Timestamp, WriterLock};

use crate::child::{Spawned, command};
use crate::support::{Place, begin, me, say};

#[test]
fn another_process_is_named_and_its_death_frees_the_folder() {
    let place = Place::new();
    let data = place.data();
    let mut other = Spawned::start(command("hold", data.root())).unwrap();
    assert_eq!(other.next().as_deref(), Some("holding"));

    let error = History::open_writer(&data, &me()).unwrap_err();
    assert_eq!(error.code(), "data_dir_busy");
    let StoreError::Busy { holder: Some(holder), .. } = &error else {
        panic!("{error:?}");
    };
    let expected = Holder {
        pid: other.process.id(),
        program: "the other one".to_owned(),
        since: Timestamp::from_millis(5),
    };
    assert_eq!(holder, &expected);
    let said = error.to_string();
    assert!(said.contains("the other one") && said.contains(&expected.pid.to_string()), "{said}");

    // Reading goes on beside it, and sees what it has committed.
    let list = place.reader().list(ListFilter::default()).unwrap();
    assert_eq!(list[0].title, "from the other process");

    other.kill();
    assert_eq!(WriterLock::holder(&data), Some(expected), "its note is left behind");
    let writer = place.writer();
    assert_eq!(WriterLock::holder(&data), Some(me()));
    assert_eq!(writer.list(ListFilter::default()).unwrap().len(), 1);
}

#[test]
fn two_writers_of_one_process_exclude_each_other_too() {
    let place = Place::new();
    let first = place.writer();
    let error = History::open_writer(&place.data(), &me()).unwrap_err();
    assert_eq!(error.code(), "data_dir_busy");
    drop(first);
    assert_eq!(WriterLock::holder(&place.data()), None);
    place.writer();
}

#[test]
fn an_unreadable_note_is_harmless() {
    let place = Place::new();
    fs::write(place.data().writer_info(), "{ not json").unwrap();
    let writer = place.writer();
    fs::write(place.data().writer_info(), "{ not json").unwrap();
    let error = History::open_writer(&place.data(), &me()).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    drop(writer);
}

#[test]
fn a_reader_sees_each_commit() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "shared");
    let reader = place.reader();
    assert_eq!(reader.messages(id).unwrap().len(), 0);
    let mut leaf = None;
    for n in 1..=20 {
        leaf = Some(say(&mut writer, id, leaf, &format!("message {n}")));
        assert_eq!(reader.messages(id).unwrap().len(), n);
    }
    assert_eq!(reader.search("message 20", 10).unwrap().len(), 1);
    // It goes on after the writer has closed, and beside the next one.
    drop(writer);
    assert_eq!(reader.messages(id).unwrap().len(), 20);
    let mut writer = place.writer();
    say(&mut writer, id, leaf, "one more");
    assert_eq!(reader.messages(id).unwrap().len(), 21);
}

#[test]
fn a_reader_makes_nothing_in_an_empty_folder() {
    let place = Place::new();
    let data = place.data();
    let reader = History::open_reader(&data).unwrap();
    assert_eq!(reader.list(ListFilter::default()).unwrap(), []);
    assert_eq!(reader.search("anything", 10).unwrap(), []);
    assert!(reader.integrity_check().unwrap().is_ok());
    assert_eq!(fs::read_dir(data.root()).unwrap().count(), 0);

    let nowhere = DataDir::at(place.path("nowhere")).unwrap();
    let reader = History::open_reader(&nowhere).unwrap();
    assert_eq!(reader.list(ListFilter { trashed: true }).unwrap(), []);
    assert!(!place.path("nowhere").exists());
}
