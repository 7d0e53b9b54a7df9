//! What SQLite refuses, and what becomes of it.

use tempfile::TempDir;

use super::*;
use crate::{ConversationId, NewAnswer, NewConversation, NewMessage, NodeId, Role, Timestamp, TitleSource};

fn library() -> (HistoryWriter, ConversationId, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create(dir.path().join("data")).unwrap();
    let holder = Holder::this_process("test", Timestamp::from_millis(1));
    let mut writer = History::open_writer(&data, &holder).unwrap();
    let id = ConversationId::new(Timestamp::from_millis(2), 0);
    let new = NewConversation {
        id,
        title: "title".to_owned(),
        title_source: TitleSource::Derived,
        model: None,
        seed: 1,
    };
    writer.create_conversation(&new).unwrap();
    (writer, id, dir)
}

fn message(conversation: ConversationId, n: u64, text: &str) -> NewMessage {
    NewMessage {
        id: NodeId::new(Timestamp::from_millis(10 + n), 0),
        conversation,
        parent: None,
        role: Role::User,
        text: text.to_owned(),
    }
}

#[test]
fn the_writer_is_set_up_to_keep_and_to_erase() {
    let (writer, ..) = library();
    let pragma = |name: &str| -> String {
        writer
            .conn
            .query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("foreign_keys"), "1");
    assert_eq!(pragma("secure_delete"), "1");
}

#[test]
fn a_full_disk_loses_nothing_and_says_so() {
    let (mut writer, id, _dir) = library();
    let kept = writer.append_message(&message(id, 0, "kept")).unwrap();
    let pages: u32 = writer.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = |writer: &HistoryWriter, pages: u32| {
        writer.conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(&writer, pages + 2);
    let text = "x y z ".repeat(50_000);
    let error = writer.append_message(&message(id, 1, &text)).unwrap_err();
    assert_eq!(error.code(), "disk_full");
    assert_eq!(writer.messages(id).unwrap(), std::slice::from_ref(&kept));
    assert_eq!(writer.conversation(id).unwrap().active_leaf, Some(kept.id));
    assert!(writer.integrity_check().unwrap().is_ok());
    limit(&writer, 1_000_000);
    writer.append_message(&message(id, 1, &text)).unwrap();
    assert_eq!(writer.messages(id).unwrap().len(), 2);
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn a_lock_held_by_another_program_is_named() {
    let (mut writer, id, _dir) = library();
    writer.conn.busy_timeout(Duration::ZERO).unwrap();
    let mut other = Connection::open(writer.dir.history_db()).unwrap();
    let held = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let error = writer.append_message(&message(id, 0, "text")).unwrap_err();
    assert_eq!(error.code(), "database_locked");
    drop(held);
    writer.append_message(&message(id, 0, "text")).unwrap();
}

#[test]
fn a_reader_cannot_change_anything() {
    let (writer, ..) = library();
    let reader = History::open_reader(&writer.dir).unwrap();
    let error: StoreError = reader.conn.execute("DELETE FROM conversations", []).unwrap_err().into();
    assert_eq!(error.code(), "data_dir_readonly");
}

#[test]
fn sqlite_failures_have_their_own_kinds() {
    use rusqlite::ffi;
    let check = |code: i32, expect: &str| {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert_eq!(StoreError::from(error).code(), expect, "{code}");
    };
    check(ffi::SQLITE_FULL, "disk_full");
    check(ffi::SQLITE_IOERR, "disk_error");
    check(ffi::SQLITE_IOERR_FSYNC, "disk_error");
    check(ffi::SQLITE_READONLY, "data_dir_readonly");
    check(ffi::SQLITE_READONLY_DIRECTORY, "data_dir_readonly");
    check(ffi::SQLITE_CORRUPT, "data_damaged");
    check(ffi::SQLITE_NOTADB, "data_damaged");
    check(ffi::SQLITE_BUSY, "database_locked");
    check(ffi::SQLITE_LOCKED, "database_locked");
    check(ffi::SQLITE_ERROR, "storage");
}

/// The rules of the tree hold in the file itself, whatever code writes to it.
#[test]
fn the_file_refuses_what_breaks_the_tree() {
    let (mut writer, id, _dir) = library();
    let mine = writer.append_message(&message(id, 0, "mine")).unwrap().id;
    let other = ConversationId::new(Timestamp::from_millis(3), 0);
    let new = NewConversation {
        id: other,
        title: String::new(),
        title_source: TitleSource::Derived,
        model: None,
        seed: 1,
    };
    writer.create_conversation(&new).unwrap();
    let theirs = writer.append_message(&message(other, 1, "theirs")).unwrap().id;
    let refused = |sql: &str| {
        let error = writer.conn.execute(sql, []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{sql}");
    };
    refused(&format!("UPDATE messages SET parent = '{theirs}' WHERE id = '{mine}'"));
    refused(&format!("UPDATE messages SET parent = '{mine}' WHERE id = '{mine}'"));
    refused(&format!("UPDATE conversations SET active_leaf = '{theirs}' WHERE id = '{id}'"));
    refused(&format!("DELETE FROM messages WHERE id = '{mine}'"));
    refused(&format!("DELETE FROM conversations WHERE id = '{id}'"));
    refused("UPDATE messages SET state = 'streaming'");
    refused("UPDATE messages SET role = 'tool'");
    refused("UPDATE messages SET text_hash = x'00'");
    refused("UPDATE messages SET token_ids = x'00000000'");
    refused("UPDATE messages SET token_ids = x'000000', token_identity = 'i'");
    refused("UPDATE messages SET receipt = '{'");
    refused("UPDATE messages SET created = 'yesterday'");
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn a_failed_change_leaves_no_trace() {
    let (mut writer, id, _dir) = library();
    let parent = writer.append_message(&message(id, 0, "question")).unwrap().id;
    let before = writer.conversation(id).unwrap();
    // The same id twice fails at the insert, after the transaction has begun.
    assert!(writer.append_message(&message(id, 0, "again")).is_err());
    let answer = NewAnswer { id: parent, parent, model_name: None };
    assert!(writer.begin_answer(&answer).is_err());
    assert_eq!(writer.conversation(id).unwrap(), before);
    assert!(writer.conn.is_autocommit());
}
