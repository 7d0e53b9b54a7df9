//! Bundles of a history alone; what becomes of changed ones is tested where they are imported.

use std::fs;
use std::path::{Path, PathBuf};

use reprise_store::{
    Bundle, BundleFile, BundleWritten, ConversationId, HistoryWriter, ImportedText, Message, MessageState,
    NewMessage, NodeId, Role, StoreError, Timestamp,
};

use crate::states::{State, open, save};
use crate::support::{Place, answer, begin, begin_answer, say, tick};

fn write(place: &Place, id: ConversationId) -> Result<(PathBuf, BundleWritten), StoreError> {
    let history = place.reader();
    let now = tick();
    let file = place.path("a.reprise");
    let bundle =
        Bundle { history: &history, conversation: id, model_hash: None, state: None, product: "test", now };
    let written = bundle.write(&file, true)?;
    Ok((file, written))
}

fn read(writer: &mut HistoryWriter, file: &Path) -> Result<ImportedText, StoreError> {
    let now = tick();
    let mut file = BundleFile::open(file)?;
    let mut random = 1_000;
    let mut fresh = || {
        random += 1;
        random
    };
    let mut contents = file.contents(now)?;
    writer.import(&mut contents, now, &mut fresh)
}

#[test]
fn an_empty_conversation_moves() {
    let (from, to) = (Place::new(), Place::new());
    let id = begin(&mut from.writer(), "");
    let (file, written) = write(&from, id).unwrap();
    assert_eq!((written.messages, written.chunks), (0, 0));
    assert_eq!(written.bytes, fs::metadata(&file).unwrap().len());
    let mut writer = to.writer();
    let text = read(&mut writer, &file).unwrap();
    assert_eq!((text.conversation, text.messages, text.copied), (id, 0, false));
    assert_eq!(writer.conversation(id).unwrap(), from.reader().conversation(id).unwrap());
}

#[test]
fn an_answer_that_is_being_written_goes_along_as_far_as_it_got() {
    let (from, to) = (Place::new(), Place::new());
    let mut writer = from.writer();
    let id = begin(&mut writer, "a");
    let question = say(&mut writer, id, None, "why?");
    let node = begin_answer(&mut writer, question);
    writer.update_answer(node, "because", None).unwrap();
    let (file, _) = write(&from, id).unwrap();
    let mut there = to.writer();
    read(&mut there, &file).unwrap();
    let message = there.message(node).unwrap();
    assert_eq!((message.text.as_str(), message.state), ("because", MessageState::Interrupted));
    assert!(message.finished.is_some() && !message.damaged);
    // Where it is being written, it goes on.
    assert_eq!(writer.message(node).unwrap().state, MessageState::Streaming);
}

#[test]
fn a_name_that_is_taken_here_is_changed_and_the_tree_is_the_same() {
    let (from, to) = (Place::new(), Place::new());
    let mut writer = from.writer();
    let id = begin(&mut writer, "a");
    let first = say(&mut writer, id, None, "one");
    let second = answer(&mut writer, first, "two");
    let other = answer(&mut writer, first, "or two");
    let (file, _) = write(&from, id).unwrap();
    let mut there = to.writer();
    let elsewhere = begin(&mut there, "other");
    let taken = NewMessage {
        id: first,
        conversation: elsewhere,
        parent: None,
        role: Role::User,
        text: "mine".to_owned(),
    };
    there.append_message(&taken).unwrap();
    let text = read(&mut there, &file).unwrap();
    assert_eq!((text.conversation, text.copied), (id, false));
    let renamed = text.node(first).unwrap();
    assert_ne!(renamed, first);
    assert_eq!(there.message(first).unwrap().text, "mine");
    assert_eq!((text.node(second), text.node(other)), (Some(second), Some(other)));
    let told: Vec<(Option<NodeId>, String)> = there
        .messages(id)
        .unwrap()
        .into_iter()
        .map(|message: Message| (message.parent, message.text))
        .collect();
    let expected = [(None, "one"), (Some(renamed), "two"), (Some(renamed), "or two")];
    assert_eq!(told, expected.map(|(parent, text)| (parent, text.to_owned())));
    assert_eq!(there.conversation(id).unwrap().active_leaf, Some(other));
    assert!(there.integrity_check().unwrap().is_ok());
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let from = Place::new();
    let mut writer = from.writer();
    let id = begin(&mut writer, "a");
    say(&mut writer, id, None, &"long ".repeat(7 << 20));
    let error = write(&from, id).unwrap_err();
    assert_eq!(error.code(), "export_failed", "{error}");
    assert!(!from.path("a.reprise").exists());
}

#[test]
fn a_state_goes_along_chunk_by_chunk() {
    let from = Place::new();
    let mut writer = from.writer();
    let id = begin(&mut writer, "a");
    say(&mut writer, id, None, "one");
    let mut store = open(&writer);
    let state = State::new(1, 300);
    let saved = save(&mut store, id, &state);
    let manifest = store.manifest(saved.id).unwrap();
    let reader = store.another().unwrap();
    let history = from.reader();
    let file = from.path("a.reprise");
    let bundle = Bundle {
        history: &history,
        conversation: id,
        model_hash: None,
        state: Some((&reader, &manifest)),
        product: "test",
        now: tick(),
    };
    let written = bundle.write(&file, false).unwrap();
    assert_eq!((written.messages, written.chunks, written.state_left_out), (1, 4, None));
    assert!(written.bytes > state.layout.len && written.bytes < state.layout.len + 32_000);

    let to = Place::new();
    let mut there = to.writer();
    let mut packed = BundleFile::open(&file).unwrap();
    let mut contents = packed.contents(tick()).unwrap();
    there.import(&mut contents, Timestamp::from_millis(9_999_999), &mut || 5).unwrap();
    let described = contents.state(Timestamp::from_millis(9_999_999)).unwrap().unwrap();
    assert_eq!((&described.tokens, &described.layout), (&manifest.tokens, &manifest.layout));
    assert_eq!((&described.identity, &described.challenge), (&manifest.identity, &manifest.challenge));
    let mut chunk = Vec::new();
    let mut came = Vec::new();
    while let Some(hash) = contents.next_chunk(&mut chunk).unwrap() {
        came.push((hash, chunk.clone()));
    }
    let there: Vec<_> = state.chunks().into_iter().map(|(_, hash, bytes)| (hash, bytes)).collect();
    assert!(came == there);
}
