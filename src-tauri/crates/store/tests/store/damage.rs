//! Files that are not what was written: refused or reported, and left alone.

use std::fs;
use std::path::Path;

use reprise_store::{History, Timestamp};
use rusqlite::Connection;

use crate::support::{Place, answer, begin, finished, me, say, texts, tokens};

/// Neither a writer nor a reader opens it, and not a byte of it changes.
#[track_caller]
fn refused(place: &Place, code: &str) {
    let path = place.data().history_db();
    let before = fs::read(&path).ok();
    let writing = History::open_writer(&place.data(), &me()).unwrap_err();
    assert_eq!(writing.code(), code, "{writing}");
    let reading = History::open_reader(&place.data()).unwrap_err();
    assert_eq!(reading.code(), code, "{reading}");
    assert!(writing.to_string().contains(&*path.to_string_lossy()), "{writing}");
    assert_eq!(fs::read(&path).ok(), before);
}

fn library(place: &Place) {
    let mut writer = place.writer();
    let id = begin(&mut writer, "title");
    let mut leaf = None;
    for n in 0..200 {
        leaf = Some(say(&mut writer, id, leaf, &format!("{n} {}", "text ".repeat(100))));
    }
}

#[test]
fn garbage_is_refused() {
    for garbage in [b"".to_vec(), b"short".to_vec(), b"Dear diary, ".repeat(1_000), vec![0; 8_192]] {
        let place = Place::new();
        fs::write(place.data().history_db(), garbage).unwrap();
        refused(&place, "data_damaged");
    }
}

#[test]
fn a_file_cut_short_is_refused() {
    let place = Place::new();
    library(&place);
    let path = place.data().history_db();
    let whole = fs::read(&path).unwrap();
    for length in [whole.len() - 1, whole.len() - 4_096, whole.len() / 2, 4_096, 100, 99, 0] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&place, "data_damaged");
    }
    fs::write(&path, &whole).unwrap();
    assert!(place.writer().integrity_check().unwrap().is_ok());
}

#[test]
fn a_journal_without_its_file_is_refused() {
    let place = Place::new();
    fs::write(place.data().root().join("history.db-wal"), vec![7; 8_192]).unwrap();
    refused(&place, "data_damaged");
    assert!(!place.data().history_db().exists());
}

#[test]
fn the_database_of_another_program_is_refused() {
    let place = Place::new();
    let conn = Connection::open(place.data().history_db()).unwrap();
    conn.execute_batch("CREATE TABLE urls (url TEXT); PRAGMA user_version = 1;").unwrap();
    drop(conn);
    refused(&place, "data_dir_unusable");
}

#[test]
fn a_folder_in_the_place_of_the_file_is_refused() {
    let place = Place::new();
    fs::create_dir(place.data().history_db()).unwrap();
    refused(&place, "data_dir_unusable");
}

fn edit(path: &Path, sql: &str) {
    assert_eq!(Connection::open(path).unwrap().execute(sql, []).unwrap(), 1);
}

#[test]
fn a_message_that_changed_on_the_disk_says_so_and_takes_nothing_with_it() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let q = say(&mut writer, id, None, "the original words");
    let a = answer(&mut writer, q, "an answer");
    drop(writer);
    let path = place.data().history_db();
    edit(&path, "UPDATE messages SET text = replace(text, 'original', 'altered') WHERE role = 'user'");
    let writer = place.writer();
    let messages = writer.active_path(id).unwrap();
    assert_eq!(texts(&messages), ["the altered words", "an answer"]);
    assert_eq!((messages[0].damaged, messages[1].damaged), (true, false));
    let report = writer.integrity_check().unwrap();
    assert_eq!((report.messages, report.damaged), (2, vec![q]));
    assert_eq!(report.index.stale, 1);
    drop(writer);

    // Not even text any more.
    edit(&path, "UPDATE messages SET text = CAST(x'68FF69' AS TEXT) WHERE role = 'user'");
    let mut writer = place.writer();
    assert_eq!(writer.message(q).unwrap().text, "h\u{FFFD}i");
    assert!(writer.message(q).unwrap().damaged);
    // The conversation goes on.
    say(&mut writer, id, Some(a), "and on");
    assert_eq!(writer.active_path(id).unwrap().len(), 3);
    writer.rebuild_index().unwrap();
    assert!(writer.check_index().unwrap().is_ok());
}

/// A byte of the file changed, each of the texts' own among them: an error or a report, or a message that is still right,
/// but never a panic and never other words passed off as whole.
#[test]
fn no_flipped_byte_passes_for_the_truth() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "title");
    let q = say(&mut writer, id, None, "the question that was asked");
    let a = writer
        .begin_answer(&reprise_store::NewAnswer {
            id: reprise_store::NodeId::new(Timestamp::from_millis(9), 9),
            parent: q,
            model_name: None,
        })
        .unwrap()
        .id;
    let mut whole = finished("the answer that was given");
    whole.tokens = Some(tokens("ids"));
    whole.receipt = Some(serde_json::json!({"path": "fresh"}));
    writer.finish_answer(a, &whole).unwrap();
    drop(writer);
    let path = place.data().history_db();
    let good = fs::read(&path).unwrap();
    let truth = ["the question that was asked", "the answer that was given"];
    let mut noticed = 0;
    let in_texts = truth.iter().flat_map(|text| {
        let found = good.windows(text.len()).enumerate();
        let found = found.filter(|(_, bytes)| *bytes == text.as_bytes());
        found.flat_map(|(at, _)| at..at + text.len()).collect::<Vec<_>>()
    });
    let places: Vec<usize> = (0..good.len()).step_by(97).chain(in_texts).collect();
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let Ok(reader) = History::open_reader(&place.data()) else {
            noticed += 1;
            continue;
        };
        let _ = reader.search("question", 10);
        match reader.active_path(id) {
            Ok(messages) => {
                for message in messages.iter().filter(|message| !message.damaged) {
                    assert!(truth.contains(&message.text.as_str()), "byte {at}: {:?}", message.text);
                }
            }
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > 0);
}
