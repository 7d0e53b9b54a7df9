//! Small facts, kept and sealed.

use rusqlite::Connection;
use serde_json::json;

use crate::states::open;
use crate::support::Place;

#[test]
fn a_note_is_kept_replaced_listed_and_forgotten() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    assert_eq!(store.noted("model a").unwrap(), None);
    store.note("model a", &json!({ "speed": 1.5 })).unwrap();
    store.note("model b", &json!([1, 2])).unwrap();
    store.note("other", &json!(null)).unwrap();
    store.note("model a", &json!({ "speed": 2.5 })).unwrap();
    drop(store);
    let mut store = open(&writer);
    assert_eq!(store.noted("model a").unwrap(), Some(json!({ "speed": 2.5 })));
    let notes = [("model a".to_owned(), json!({ "speed": 2.5 })), ("model b".to_owned(), json!([1, 2]))];
    assert_eq!(store.notes("model ").unwrap(), notes);
    store.forget_note("model a").unwrap();
    store.forget_note("model a").unwrap();
    assert_eq!(store.notes("model ").unwrap().len(), 1);
    let long = "x".repeat(70_000);
    assert_eq!(store.note("long", &json!(long)).unwrap_err().code(), "snapshot_refused");
}

#[test]
fn a_note_that_was_changed_is_none() {
    let place = Place::new();
    let writer = place.writer();
    let mut store = open(&writer);
    store.note("verdict", &json!("failed")).unwrap();
    store.note("other", &json!("passed")).unwrap();
    drop(store);
    let file = writer.data_dir().snapshots_db();
    // The seal of another note, with its value, under this name.
    let swap = "UPDATE notes SET value = o.value, tag = o.tag FROM (SELECT value, tag FROM notes WHERE name = 'other') o
                WHERE name = 'verdict'";
    Connection::open(&file).unwrap().execute(swap, []).unwrap();
    let store = open(&writer);
    assert_eq!(store.noted("verdict").unwrap(), None);
    assert_eq!(store.noted("other").unwrap(), Some(json!("passed")));
    drop(store);
    Connection::open(&file).unwrap().execute("UPDATE notes SET value = '\"lies\"'", []).unwrap();
    assert!(open(&writer).notes("").unwrap().is_empty());
}
