//! Another system prompt for a conversation that has messages.

use reprise_store::{
    ConversationId, FinishedAnswer, HistoryWriter, Message, MessageState, NodeId, Notice, Role, StopReason,
    StoreError,
};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{Place, answer, begin, begin_answer, finished, new_message, say, texts, tick, tokens};

fn change(
    writer: &mut HistoryWriter,
    conversation: ConversationId,
    text: Option<&str>,
) -> Result<Option<NodeId>, StoreError> {
    writer.change_system(conversation, text, tick(), &mut || NodeId::new(tick(), 42))
}

/// A system prompt, a question with two answers of which the second is shown, and a stopped answer.
fn tree(writer: &mut HistoryWriter) -> (ConversationId, [NodeId; 6]) {
    let id = begin(writer, "kiwi");
    let system = writer.append_message(&new_message(id, None, Role::System, "Be brief.")).unwrap().id;
    let q1 = say(writer, id, Some(system), "q1");
    writer.set_tokens(q1, &tokens("q1")).unwrap();
    let poor = answer(writer, q1, "poor");
    let better = answer(writer, q1, "better");
    let q2 = say(writer, id, Some(better), "q2 about kiwis");
    let last = begin_answer(writer, q2);
    let stopped = FinishedAnswer {
        state: MessageState::Stopped,
        stop: Some(StopReason::Cancelled),
        stats: Some(json!({ "decode_tok_s": 12.5 })),
        receipt: Some(json!({ "path": "live" })),
        notice: Some(Notice { code: Some("stopped".to_owned()), text: "You stopped it.".to_owned() }),
        ..finished("about ki")
    };
    writer.finish_answer(last, &stopped).unwrap();
    (id, [system, q1, poor, better, q2, last])
}

/// What a copy has of its own, taken away.
fn as_copied(message: &Message, of: &Message) -> Message {
    Message { id: of.id, parent: of.parent, tokens: of.tokens.clone(), ..message.clone() }
}

#[test]
fn the_branch_that_is_shown_is_copied_behind_the_new_prompt() {
    let place = Place::new();
    let mut writer = place.writer();
    let (id, nodes) = tree(&mut writer);
    let before = writer.messages(id).unwrap();
    let was = writer.active_path(id).unwrap();
    let now = tick();
    let leaf = writer
        .change_system(id, Some("Be verbose."), now, &mut || NodeId::new(tick(), 42))
        .unwrap()
        .expect("nothing changed");

    let conversation = writer.conversation(id).unwrap();
    assert_eq!((conversation.active_leaf, conversation.updated), (Some(leaf), now));
    let path = writer.active_path(id).unwrap();
    assert_eq!(texts(&path), ["Be verbose.", "q1", "better", "q2 about kiwis", "about ki"]);
    assert_eq!((path[0].role, path[0].parent, path[0].created), (Role::System, None, now));
    for (copy, of) in path.iter().zip(&was).skip(1) {
        assert_eq!(as_copied(copy, of), *of);
        assert_eq!(copy.tokens, None, "the prompt differs");
        assert_ne!(copy.id, of.id);
    }
    // What was there is there, bit for bit, and findable; so are the copies.
    assert_eq!(writer.messages(id).unwrap()[..before.len()], before);
    assert_eq!(writer.path_to(nodes[5]).unwrap(), was);
    let found = writer.search("kiwis", 10).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn versions_of_the_first_message_count_over_all_prompts() {
    let place = Place::new();
    let mut writer = place.writer();
    let (id, [system, q1, poor, better, q2, last]) = tree(&mut writer);
    let with = |writer: &reprise_store::History| {
        let path = writer.active_path(id).unwrap();
        (path.iter().map(|message| message.id).collect::<Vec<_>>(), writer.versions_along(&path).unwrap())
    };
    change(&mut writer, id, Some("Be verbose.")).unwrap();
    let (verbose, versions) = with(&writer);
    assert_eq!(versions[0], [system, verbose[0]]);
    assert_eq!(versions[1], [q1, verbose[1]]);
    assert_eq!(versions[2..], [[verbose[2]], [verbose[3]], [verbose[4]]]);

    change(&mut writer, id, None).unwrap();
    let (bare, versions) = with(&writer);
    assert_eq!(bare.len(), 4);
    assert_eq!(versions[0], [q1, verbose[1], bare[0]], "also behind no prompt");
    let edited = say(&mut writer, id, Some(system), "q1 edited");
    // A view asks without the system prompt, and for one message alone.
    let path = writer.path_to(last).unwrap();
    let firsts = vec![q1, verbose[1], bare[0], edited];
    assert_eq!(
        writer.versions_along(&path[1..]).unwrap(),
        [firsts.clone(), vec![poor, better], vec![q2], vec![last]]
    );
    assert_eq!(writer.versions_along(&[writer.message(edited).unwrap()]).unwrap(), [firsts]);
    // Each steps to the end of its own branch.
    for (node, end) in [(q1, last), (verbose[1], verbose[4]), (bare[0], bare[3]), (edited, edited)] {
        assert_eq!(writer.newest_end(node).unwrap(), end);
    }
    assert_eq!(writer.newest_end(verbose[0]).unwrap(), verbose[4]);
}

#[test]
fn an_answer_at_the_root_is_no_version_of_a_question() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let odd = writer.append_message(&new_message(id, None, Role::Assistant, "Hello!")).unwrap();
    let question = say(&mut writer, id, None, "Hello?");
    assert_eq!(writer.versions_along(std::slice::from_ref(&odd)).unwrap(), [[odd.id]]);
    assert_eq!(writer.versions_along(&[writer.message(question).unwrap()]).unwrap(), [[question]]);
}

#[test]
fn the_same_prompt_changes_nothing() {
    let place = Place::new();
    let mut writer = place.writer();
    let (id, _) = tree(&mut writer);
    let before = (writer.conversation(id).unwrap(), writer.messages(id).unwrap());
    assert_eq!(change(&mut writer, id, Some("Be brief.")).unwrap(), None);
    assert_eq!((writer.conversation(id).unwrap(), writer.messages(id).unwrap()), before);
    change(&mut writer, id, Some("")).unwrap().expect("an empty prompt is none");
    let bare = (writer.conversation(id).unwrap(), writer.messages(id).unwrap());
    for none in [None, Some("")] {
        assert_eq!(change(&mut writer, id, none).unwrap(), None);
    }
    assert_eq!((writer.conversation(id).unwrap(), writer.messages(id).unwrap()), bare);
}

#[test]
fn a_conversation_without_messages_gets_and_loses_its_prompt() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    assert_eq!(change(&mut writer, id, None).unwrap(), None);
    let first = change(&mut writer, id, Some("one")).unwrap().unwrap();
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["one"]);
    let second = change(&mut writer, id, Some("two")).unwrap().unwrap();
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["two"]);
    assert_ne!(first, second);
    assert_eq!(change(&mut writer, id, None).unwrap(), None);
    assert_eq!(writer.conversation(id).unwrap().active_leaf, None);
    // Where no branch is shown, there is none to copy.
    say(&mut writer, id, None, "hello");
    writer.set_active_leaf(id, None).unwrap();
    change(&mut writer, id, Some("three")).unwrap();
    assert_eq!(texts(&writer.active_path(id).unwrap()), ["three"]);
    assert!(writer.integrity_check().unwrap().is_ok());
}

#[test]
fn it_waits_for_an_answer_and_is_whole_or_not_at_all() {
    let place = Place::new();
    let mut writer = place.writer();
    let (id, [.., q2, last]) = tree(&mut writer);
    let streaming = begin_answer(&mut writer, q2);
    let before = (writer.conversation(id).unwrap(), writer.messages(id).unwrap());
    let error = change(&mut writer, id, Some("Be verbose.")).unwrap_err();
    assert_eq!(error.code(), "conflict", "{error}");
    assert_eq!((writer.conversation(id).unwrap(), writer.messages(id).unwrap()), before);
    // One that runs in another branch is no hindrance.
    writer.jump_to(last).unwrap();
    change(&mut writer, id, Some("Be verbose.")).unwrap().unwrap();
    writer.finish_answer(streaming, &finished("late")).unwrap();

    let before = (writer.conversation(id).unwrap(), writer.messages(id).unwrap());
    let mut ids = [NodeId::new(tick(), 1), NodeId::new(tick(), 1), q2].into_iter();
    // The third id is taken: the first two copies are undone.
    assert!(writer.change_system(id, Some("Be kind."), tick(), &mut || ids.next().unwrap()).is_err());
    assert_eq!((writer.conversation(id).unwrap(), writer.messages(id).unwrap()), before);
    writer.purge(id).unwrap();
    assert_eq!(change(&mut writer, id, Some("x")).unwrap_err().code(), "not_found");
    assert!(writer.integrity_check().unwrap().is_ok());
}

/// What the disk changed must not become what was said by being copied.
#[test]
fn a_damaged_message_stays_damaged() {
    let place = Place::new();
    let mut writer = place.writer();
    let (id, [system, q1, ..]) = tree(&mut writer);
    drop(writer);
    let conn = Connection::open(place.data().history_db()).unwrap();
    let edit = |sql: &str, node: NodeId| assert_eq!(conn.execute(sql, [node.to_string()]).unwrap(), 1);
    edit("UPDATE messages SET text = CAST(x'71ff31' AS TEXT) WHERE id = ?1", q1);
    edit("UPDATE messages SET text = 'Be cruel.' WHERE id = ?1", system);
    drop(conn);
    let mut writer = place.writer();
    writer.rebuild_index().unwrap();
    // It reads like the new one, but is not what was written.
    change(&mut writer, id, Some("Be cruel.")).unwrap().unwrap();
    let path = writer.active_path(id).unwrap();
    assert_eq!(
        path.iter().map(|message| message.damaged).collect::<Vec<_>>(),
        [false, true, false, false, false]
    );
    assert_eq!(path[1].text, "q\u{FFFD}1");
    assert!(writer.check_index().unwrap().is_ok());
}

#[test]
fn a_long_conversation_is_copied_in_order() {
    let place = Place::new();
    let mut writer = place.writer();
    let id = begin(&mut writer, "");
    let mut leaf = None;
    for n in 0..600 {
        leaf = Some(say(&mut writer, id, leaf, &n.to_string()));
    }
    change(&mut writer, id, Some("Count.")).unwrap();
    let expected: Vec<String> =
        std::iter::once("Count.".to_owned()).chain((0..600).map(|n| n.to_string())).collect();
    assert_eq!(texts(&writer.active_path(id).unwrap()), expected);
    assert_eq!(writer.purge(id).unwrap().messages, 1_201);
}
