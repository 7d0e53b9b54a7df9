//! Conversations and their trees of messages.

use reprise_store::{
    FinishedAnswer, ListFilter, MessageState, ModelRef, NodeId, Notice, Role, StopReason, StoreError,
    TitleSource, TokenSequence,
};

use crate::support::{Place, answer, begin, begin_answer, finished, new_message, say, texts, tick, tokens};

#[track_caller]
fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert_eq!(result.unwrap_err().code(), "conflict");
}

#[track_caller]
fn not_found<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert_eq!(result.unwrap_err().code(), "not_found");
}

#[test]
fn a_turn_is_kept_with_all_its_details() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "title");
    let system = new_message(id, None, Role::System, "Be brief.");
    let system = writer.append_message(&system).unwrap();
    let question = say(&mut writer, id, Some(system.id), "What is 2 + 2?");
    let node = begin_answer(&mut writer, question);
    let streaming = writer.message(node).unwrap();
    assert_eq!(streaming.state, MessageState::Streaming);
    assert_eq!((streaming.text.as_str(), streaming.finished), ("", None));
    assert_eq!(writer.conversation(id).unwrap().active_leaf, Some(node));

    writer.update_answer(node, "Fo", Some(&tokens("Fo"))).unwrap();
    assert_eq!(writer.message(node).unwrap().text, "Fo");
    let full = FinishedAnswer {
        text: "Four \u{1F600}\0.".to_owned(),
        tokens: Some(TokenSequence { identity: "abc".to_owned(), ids: vec![0, 1, u32::MAX] }),
        state: MessageState::Stopped,
        stop: Some(StopReason::Cancelled),
        stats: Some(serde_json::json!({"decode_tok_s": 12.5})),
        receipt: Some(serde_json::json!({"path": "live", "checks": []})),
        notice: Some(Notice {
            code: Some("stopped".to_owned()),
            text: "You stopped this answer.".to_owned(),
        }),
        finished: tick(),
    };
    writer.finish_answer(node, &full).unwrap();
    drop(writer);

    let reader = place.reader();
    let path = reader.active_path(id).unwrap();
    assert_eq!(texts(&path), ["Be brief.", "What is 2 + 2?", "Four \u{1F600}\0."]);
    let kept = &path[2];
    assert!(!kept.damaged);
    assert_eq!((kept.role, kept.state), (Role::Assistant, full.state));
    assert_eq!((kept.parent, kept.stop), (Some(question), full.stop));
    assert_eq!((&kept.tokens, &kept.stats), (&full.tokens, &full.stats));
    assert_eq!((&kept.receipt, &kept.notice), (&full.receipt, &full.notice));
    assert_eq!(kept.finished, Some(full.finished));
    assert_eq!(kept.model_name.as_deref(), Some("tiny"));
    assert_eq!(reader.conversation(id).unwrap().updated, full.finished);
    assert!(reader.integrity_check().unwrap().is_ok());
}

#[test]
fn editing_and_regenerating_make_branches() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let q1 = say(&mut writer, id, None, "q1");
    let a1 = answer(&mut writer, q1, "a1");
    let a2 = answer(&mut writer, q1, "a2");
    let q2 = say(&mut writer, id, Some(a2), "q2");
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["q1", "a2", "q2"]);
    let other_root = say(&mut writer, id, None, "q1 edited");
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["q1 edited"]);
    assert_eq!(texts(&writer.path_to(a1).unwrap()), ["q1", "a1"]);
    assert_eq!(texts(&writer.children(q1).unwrap()), ["a1", "a2"]);
    assert_eq!(texts(&writer.children(q2).unwrap()), [""; 0]);
    assert_eq!(texts(&writer.siblings(a2).unwrap()), ["a1", "a2"]);
    assert_eq!(texts(&writer.siblings(other_root).unwrap()), ["q1", "q1 edited"]);
    let all = writer.messages(id).unwrap();
    assert_eq!(texts(&all), ["q1", "a1", "a2", "q2", "q1 edited"]);

    writer.set_active_leaf(id, Some(a1)).unwrap();
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["q1", "a1"]);
    writer.set_active_leaf(id, None).unwrap();
    assert_eq!(writer.active_path(id).unwrap(), []);
    assert_eq!(writer.messages(id).unwrap(), all);
}

#[test]
fn a_long_conversation_is_in_order() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let mut leaf = None;
    for n in 0..1_500 {
        leaf = Some(say(&mut writer, id, leaf, &n.to_string()));
    }
    let path = writer.active_path(id).unwrap();
    let expected: Vec<String> = (0..1_500).map(|n| n.to_string()).collect();
    assert_eq!(texts(&path), expected);
    // As deep as it is, it can be erased.
    assert_eq!(writer.purge(id).unwrap().messages, 1_500);
}

#[test]
fn what_does_not_fit_the_tree_is_refused() {
    let place = Place::new();
    let mut writer = place.writer();
    let mine = begin(&mut writer, "mine");
    let other = begin(&mut writer, "other");
    let q = say(&mut writer, mine, None, "q");
    let theirs = say(&mut writer, other, None, "theirs");
    let before = (writer.conversation(mine).unwrap(), writer.messages(mine).unwrap());

    conflict(writer.append_message(&new_message(mine, Some(theirs), Role::User, "x")));
    conflict(writer.append_message(&new_message(mine, Some(q), Role::System, "x")));
    conflict(writer.set_active_leaf(mine, Some(theirs)));
    let unknown = NodeId::new(tick(), 1);
    not_found(writer.append_message(&new_message(mine, Some(unknown), Role::User, "x")));
    not_found(writer.set_active_leaf(mine, Some(unknown)));
    not_found(writer.update_answer(unknown, "x", None));
    not_found(writer.path_to(unknown));
    not_found(writer.children(unknown));
    let gone = reprise_store::ConversationId::new(tick(), 1);
    not_found(writer.append_message(&new_message(gone, None, Role::User, "x")));
    not_found(writer.conversation(gone));
    not_found(writer.messages(gone));
    not_found(writer.rename(gone, "x", TitleSource::Custom));
    not_found(writer.trash(gone, tick()));
    not_found(writer.restore(gone));
    not_found(writer.purge(gone));
    not_found(writer.touch(gone, tick()));
    not_found(writer.set_model(gone, None));
    assert_eq!((writer.conversation(mine).unwrap(), writer.messages(mine).unwrap()), before);
}

#[test]
fn a_finished_answer_never_changes() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let q = say(&mut writer, id, None, "q");
    let a = begin_answer(&mut writer, q);
    conflict(writer.append_message(&new_message(id, Some(a), Role::User, "too early")));
    let mut unfinished = finished("x");
    unfinished.state = MessageState::Streaming;
    conflict(writer.finish_answer(a, &unfinished));
    let no_identity = TokenSequence { identity: String::new(), ids: vec![1] };
    conflict(writer.update_answer(a, "x", Some(&no_identity)));
    let kept = writer.finish_answer(a, &finished("final")).unwrap();
    conflict(writer.update_answer(a, "changed", None));
    conflict(writer.finish_answer(a, &finished("changed")));
    conflict(writer.update_answer(q, "changed", None));
    assert_eq!(writer.message(a).unwrap(), kept);
    assert_eq!(writer.message(q).unwrap().text, "q");
}

#[test]
fn answers_left_open_are_marked_at_the_next_start() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let q = say(&mut writer, id, None, "q");
    answer(&mut writer, q, "whole");
    let left = begin_answer(&mut writer, q);
    writer.update_answer(left, "half a kiwi", Some(&tokens("half"))).unwrap();
    drop(writer);
    let writer = place.writer();
    assert_eq!(writer.opening().interrupted, 1);
    let found = writer.message(left).unwrap();
    assert_eq!(found.state, MessageState::Interrupted);
    assert_eq!((found.text.as_str(), found.damaged), ("half a kiwi", false));
    assert_eq!(found.tokens, Some(tokens("half")));
    assert_eq!(writer.search("kiwi", 10).unwrap().len(), 1);
    assert!(writer.integrity_check().unwrap().is_ok());
    drop(writer);
    assert_eq!(place.writer().opening().interrupted, 0);
}

#[test]
fn token_ids_can_be_kept_for_any_message() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let q = say(&mut writer, id, None, "q");
    assert_eq!(writer.message(q).unwrap().tokens, None);
    writer.set_tokens(q, &tokens("q")).unwrap();
    assert_eq!(writer.message(q).unwrap().tokens, Some(tokens("q")));
    let none = TokenSequence { identity: "i".to_owned(), ids: vec![] };
    writer.set_tokens(q, &none).unwrap();
    assert_eq!(writer.message(q).unwrap().tokens, Some(none));
    not_found(writer.set_tokens(NodeId::new(tick(), 9), &tokens("q")));
}

#[test]
fn the_list_counts_sorts_and_filters() {
    let place = Place::new();
    let mut writer = place.writer();
    let first = begin(&mut writer, "first");
    let second = begin(&mut writer, "second");
    let empty = begin(&mut writer, "empty");
    let system = writer.append_message(&new_message(first, None, Role::System, "sys")).unwrap();
    let q = say(&mut writer, first, Some(system.id), "四个汉字");
    answer(&mut writer, q, "a1");
    answer(&mut writer, q, "a2");
    let model = ModelRef { path: "/models/tiny.gguf".to_owned(), name: "Tiny".to_owned() };
    writer.set_model(first, Some(&model)).unwrap();

    let list = writer.list(ListFilter::default()).unwrap();
    let row = |n: usize| (list[n].id, list[n].messages, list[n].text_bytes);
    assert_eq!(row(0), (first, 3, 3 + 12 + 2 + 2));
    assert_eq!(row(1), (empty, 0, 0));
    assert_eq!(row(2), (second, 0, 0));
    assert_eq!(list[0].model, Some(model));

    let at = tick();
    writer.trash(second, at).unwrap();
    writer.trash(second, tick()).unwrap();
    let trashed = writer.list(ListFilter { trashed: true }).unwrap();
    assert_eq!(trashed.len(), 1);
    assert_eq!((trashed[0].id, trashed[0].trashed_at), (second, Some(at)));
    assert_eq!(writer.list(ListFilter::default()).unwrap().len(), 2);
    writer.restore(second).unwrap();
    writer.touch(second, tick()).unwrap();
    let list = writer.list(ListFilter::default()).unwrap();
    assert_eq!((list[0].id, list[0].trashed_at), (second, None));
}

#[test]
fn a_title_that_the_user_chose_is_never_replaced() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let title = |writer: &reprise_store::HistoryWriter| writer.conversation(id).unwrap().title;
    writer.rename(id, "derived", TitleSource::Derived).unwrap();
    writer.rename(id, "derived again", TitleSource::Derived).unwrap();
    assert_eq!(title(&writer), "derived again");
    writer.rename(id, "chosen", TitleSource::Custom).unwrap();
    let kept = writer.rename(id, "derived late", TitleSource::Derived).unwrap();
    assert_eq!((kept.title.as_str(), kept.title_is_custom), ("chosen", true));
    assert_eq!(writer.search("late", 10).unwrap().len(), 0);
    writer.rename(id, "chosen again", TitleSource::Custom).unwrap();
    assert_eq!(title(&writer), "chosen again");
}

#[test]
fn a_clock_set_back_moves_no_conversation_back() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let early = tick();
    let late = tick();
    writer.touch(id, late).unwrap();
    writer.touch(id, early).unwrap();
    assert_eq!(writer.conversation(id).unwrap().updated, late);
}
