//! Several turns at once, and turns that are stopped from beside.

use std::sync::Arc;
use std::time::Duration;

use reprise_chat::history::{MessageState, Role};
use reprise_chat::{Ask, ChatError, TurnEvent};
use reprise_engine::Fault;
use reprise_engine::scripted::Act;

use crate::bench_desk::{Desk, Running, ask, first, further, texts};

async fn kept(turn: &mut Running) -> (reprise_chat::history::ConversationId, reprise_chat::history::NodeId) {
    match turn.until(|event| matches!(event, TurnEvent::Kept { .. })).await {
        TurnEvent::Kept { conversation, message } => (conversation, message),
        _ => unreachable!(),
    }
}

#[tokio::test]
async fn a_message_is_kept_at_once_while_another_answer_is_written() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Babble]);
    let mut long = desk.start(first("long"));
    long.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    let mut short = desk.start(first("short"));
    let (conversation, message) = kept(&mut short).await;
    short.until(|event| matches!(event, TurnEvent::Queued)).await;
    assert_eq!(desk.message(message).text, "short");
    assert_eq!(desk.script.prompts().len(), 1, "the engine has not heard of it");
    long.cancel.send(true).unwrap();
    long.finish().await.unwrap();
    assert_eq!(short.finish().await.unwrap().text, "ok");
    assert_eq!(texts(&desk.path(conversation)), ["short", "ok"]);
}

#[tokio::test]
async fn the_first_to_ask_is_the_first_to_be_answered() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Babble]);
    let mut long = desk.start(first("0"));
    long.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    let mut waiting = Vec::new();
    for text in ["1", "2", "3"] {
        let mut turn = desk.start(first(text));
        turn.until(|event| matches!(event, TurnEvent::Queued)).await;
        waiting.push(turn);
    }
    long.cancel.send(true).unwrap();
    for turn in waiting {
        turn.finish().await.unwrap();
    }
    let asked: Vec<String> =
        desk.script.specs().iter().map(|spec| spec.messages.last().unwrap().content.clone()).collect();
    assert_eq!(asked, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_second_turn_in_the_same_conversation_is_refused_and_keeps_nothing() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Babble]);
    let mut long = desk.start(first("long"));
    let (conversation, message) = kept(&mut long).await;
    long.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    for second in [
        further(conversation, "too soon"),
        ask(Ask::Edit { message, text: "too soon".to_owned() }),
        ask(Ask::Retry { message }),
    ] {
        let error = desk.turn(second).await.unwrap_err();
        assert_eq!(error.code(), "turn_open");
    }
    assert_eq!(desk.reader().messages(conversation).unwrap().len(), 2);
    assert!(desk.chat.stop(conversation));
    let outcome = long.finish().await.unwrap();
    assert_eq!(desk.message(outcome.node).state, MessageState::Stopped);
    assert!(!desk.chat.stop(conversation), "there is nothing left to stop");
    desk.go_on(conversation, "now").await;
}

#[tokio::test]
async fn a_waiting_turn_is_taken_out_of_the_line_and_can_be_tried_again() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Babble]);
    let mut long = desk.start(first("long"));
    let (busy, _) = kept(&mut long).await;
    long.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    let mut short = desk.start(first("short"));
    let (conversation, message) = kept(&mut short).await;
    short.until(|event| matches!(event, TurnEvent::Queued)).await;
    assert!(desk.chat.stop(conversation));
    let error = short.finish().await.unwrap_err();
    assert!(
        matches!(&error, ChatError::Engine { error, .. } if *error == Fault::Cancelled.into()),
        "{error:?}"
    );
    assert_eq!(texts(&desk.path(conversation)), ["short"]);
    desk.chat.stop(busy);
    long.finish().await.unwrap();
    let outcome = desk.turn(ask(Ask::Retry { message })).await.unwrap();
    assert_eq!(outcome.message, message);
    assert_eq!(texts(&desk.path(conversation)), ["short", "ok"]);
    let again = desk.turn(ask(Ask::Retry { message })).await.unwrap_err();
    assert_eq!(again.code(), "bad_request");
    assert_eq!(desk.turn(ask(Ask::Retry { message: outcome.node })).await.unwrap_err().code(), "bad_request");
}

#[tokio::test]
async fn closing_ends_every_turn_keeps_what_came_and_lets_none_begin() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Say("half".to_owned()), Act::Wait(Duration::from_mins(1))]);
    let mut long = desk.start(first("long"));
    let (conversation, _) = kept(&mut long).await;
    long.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    let mut short = desk.start(first("short"));
    short.until(|event| matches!(event, TurnEvent::Queued)).await;
    let chat = Arc::clone(&desk.chat);
    let closing = tokio::spawn(async move { chat.close().await });
    long.finish().await.unwrap();
    assert_eq!(short.finish().await.unwrap_err().code(), "cancelled");
    closing.await.unwrap();
    let path = desk.path(conversation);
    assert_eq!(path[1].state, MessageState::Stopped);
    assert!(path[1].text.starts_with('h'), "{:?}", path[1].text);
    assert_eq!(desk.turn(first("late")).await.unwrap_err().code(), "closing");
}

#[tokio::test]
async fn an_edited_message_is_a_branch_beside_the_first_also_at_the_root() {
    let desk = Desk::new();
    let before = desk.begin("first").await;
    desk.go_on(before.conversation, "second").await;
    let edit = ask(Ask::Edit { message: before.message, text: "first, edited".to_owned() });
    let outcome = desk.turn(edit).await.unwrap();
    assert_eq!(texts(&desk.path(before.conversation)), ["first, edited", "ok"]);
    let opened = desk.chat.library().open_conversation(before.conversation).await.unwrap();
    assert_eq!(opened.messages[0].versions, [before.message, outcome.message]);
    let shown = desk.chat.library().show_version(before.message).await.unwrap();
    let roles: Vec<Role> = shown.messages.iter().map(|shown| shown.message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User, Role::Assistant]);
    let not_mine = ask(Ask::Edit { message: outcome.node, text: "x".to_owned() });
    assert_eq!(desk.turn(not_mine).await.unwrap_err().code(), "bad_request");
}

#[tokio::test]
async fn trashing_a_conversation_ends_its_answer() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Babble]);
    let mut long = desk.start(first("long"));
    let (conversation, _) = kept(&mut long).await;
    long.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    let now = desk.reader().conversation(conversation).unwrap().updated;
    desk.chat.trash(vec![conversation], now).await.unwrap();
    let outcome = long.finish().await.unwrap();
    assert_eq!(desk.message(outcome.node).state, MessageState::Stopped);
}
