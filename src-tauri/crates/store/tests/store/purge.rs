//! Erased is erased, and what is left elsewhere is named.

use std::fs;

use reprise_store::{ConversationId, HistoryWriter, ListFilter, Notice, TitleSource};
use rusqlite::Connection;

use crate::support::{Place, begin, begin_answer, finished, say, tick, tokens};

/// Words that appear nowhere else, and share no beginning with another: an index stores a word
/// without what it has in common with the one before it.
const SECRETS: [&str; 4] = ["qxvjzkw", "xkqwzvj", "zwkxjqv", "jvqzkxw"];

/// A conversation that says each secret in its own way, between two that are kept.
fn secret_conversation(writer: &mut HistoryWriter) -> ConversationId {
    let kept = begin(writer, "kept");
    say(writer, kept, None, &"ordinary words ".repeat(300));
    let id = begin(writer, &format!("title {}", SECRETS[0]));
    let long = format!("{} {} {}", "before ".repeat(2_000), SECRETS[1], "after ".repeat(2_000));
    let q = say(writer, id, None, &long);
    let a = begin_answer(writer, q);
    writer.update_answer(a, &format!("draft {}", SECRETS[2]), None).unwrap();
    let mut done = finished("replaced");
    done.notice = Some(Notice { code: None, text: SECRETS[3].to_owned() });
    done.receipt = Some(serde_json::json!({ "about": SECRETS[2] }));
    done.tokens = Some(tokens(SECRETS[3]));
    writer.finish_answer(a, &done).unwrap();
    let last = say(writer, id, Some(a), &format!("short {}", SECRETS[3]));
    for n in 0..10 {
        writer.keep_receipt(a, tick(), &serde_json::json!({ "n": n, "about": SECRETS[1] })).unwrap();
    }
    writer.name_checkpoint(last, SECRETS[0], tick()).unwrap();
    writer.name_checkpoint(last, SECRETS[2], tick()).unwrap();
    writer.rename(id, &format!("renamed {}", SECRETS[1]), TitleSource::Custom).unwrap();
    let kept = begin(writer, "kept too");
    say(writer, kept, None, &"ordinary words ".repeat(300));
    id
}

/// The files of the data folder itself that hold one of the secrets.
fn files_with_secrets(place: &Place) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place.data().root()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for secret in SECRETS {
            // Its first letter may be shared with a neighbour in the index.
            let needle = &secret.as_bytes()[1..];
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(format!("{secret} in {}", path.file_name().unwrap().display()));
            }
        }
    }
    found
}

#[test]
fn nothing_of_it_is_left_in_the_files() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = secret_conversation(&mut writer);
    // Some of it in the file, some in the journal.
    drop(writer);
    let mut writer = place.writer();
    say(&mut writer, id, None, &format!("late {}", SECRETS[0]));
    assert!(files_with_secrets(&place).len() >= 4, "the test would see nothing");

    let report = writer.purge(id).unwrap();
    assert_eq!((report.conversations, report.messages), (vec![id], 4));
    assert!(report.journal_erased);
    assert_eq!(files_with_secrets(&place), [""; 0]);
    assert_eq!(writer.conversation(id).unwrap_err().code(), "not_found");
    for secret in SECRETS {
        assert_eq!(writer.search(secret, 10).unwrap(), []);
    }
    assert_eq!(writer.list(ListFilter::default()).unwrap().len(), 2);
    assert!(writer.integrity_check().unwrap().is_ok());
    drop(writer);
    assert_eq!(files_with_secrets(&place), [""; 0]);
}

#[test]
fn a_rebuilt_index_leaves_nothing_either() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = secret_conversation(&mut writer);
    writer.rebuild_index().unwrap();
    writer.purge(id).unwrap();
    assert_eq!(files_with_secrets(&place), [""; 0]);
}

#[test]
fn emptying_the_trash_erases_what_is_in_it_and_nothing_else() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = secret_conversation(&mut writer);
    assert_eq!(writer.empty_trash().unwrap().conversations, []);
    writer.trash(id, tick()).unwrap();
    let report = writer.empty_trash().unwrap();
    assert_eq!(report.conversations, [id]);
    assert_eq!(files_with_secrets(&place), [""; 0]);
    assert_eq!(writer.list(ListFilter::default()).unwrap().len(), 2);
    assert_eq!(writer.list(ListFilter { trashed: true }).unwrap().len(), 0);
}

#[test]
fn backups_that_still_hold_it_are_named() {
    let place = Place::new();
    let mut writer = place.writer();
    let kept = begin(&mut writer, "kept");
    let backups = place.data().backups();
    fs::create_dir(&backups).unwrap();
    let back_up = |name: &str| {
        let path = backups.join(name);
        let conn = Connection::open(place.data().history_db()).unwrap();
        conn.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        path
    };
    let before = back_up("history-v1-1.db");
    let id = secret_conversation(&mut writer);
    let after = back_up("history-v1-2.db");
    let unreadable = backups.join("history-v1-3.db");
    fs::write(&unreadable, "not a database").unwrap();

    let report = writer.purge(id).unwrap();
    assert_eq!(report.backups, [after.clone(), unreadable.clone()]);
    assert_eq!(writer.purge(kept).unwrap().backups, [before, after, unreadable]);
    // Looking into them left nothing beside them.
    assert_eq!(fs::read_dir(&backups).unwrap().count(), 3);
}

#[test]
fn a_reader_in_the_way_is_reported_and_made_up_for() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = secret_conversation(&mut writer);
    let reader = Connection::open(place.data().history_db()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages;").unwrap();
    assert!(!writer.purge(id).unwrap().journal_erased);
    assert_ne!(files_with_secrets(&place), [""; 0]);
    reader.execute_batch("COMMIT").unwrap();
    let kept = begin(&mut writer, "another");
    assert!(writer.purge(kept).unwrap().journal_erased);
    assert_eq!(files_with_secrets(&place), [""; 0]);
}
