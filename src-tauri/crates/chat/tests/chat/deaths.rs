//! The engine dies, hangs, or speaks nonsense; the conversation goes on.

use reprise_chat::history::{ListFilter, MessageState, NodeId};
use reprise_chat::{ChatError, TurnEvent};
use reprise_engine::scripted::{Act, Start};

use crate::bench_desk::{Desk, first, further, texts};

async fn lost_in_mid_answer(act: Act, says: &str) {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Say("as far as it".to_owned()), act]);
    let error = desk.turn(first("go")).await.unwrap_err();
    let ChatError::Interrupted { conversation, node, .. } = error else { panic!("{error:?}") };
    assert_eq!(error.code(), "engine_died");
    assert!(error.to_string().contains(says), "{error}");
    check_kept(&desk, node, says);
    // A new worker is there without being asked for, and the conversation goes on.
    let next = desk.go_on(conversation, "more").await;
    assert_eq!(next.text, "ok");
    assert_eq!(texts(&desk.path(conversation)), ["go", "as far as it", "more", "ok"]);
    assert_eq!(desk.script.spawned(), 2);
    assert_eq!(
        desk.script.prompts().last().unwrap(),
        "<user>go\n<assistant>as far as it\n<user>more\n<assistant>"
    );
}

fn check_kept(desk: &Desk, node: NodeId, says: &str) {
    let kept = desk.message(node);
    assert_eq!(kept.text, "as far as it");
    assert_eq!(kept.state, MessageState::Interrupted);
    let notice = kept.notice.unwrap();
    assert!(notice.code.as_deref() == Some("engine_died") && notice.text.contains(says), "{notice:?}");
}

#[tokio::test]
async fn killed_in_mid_answer() {
    lost_in_mid_answer(Act::Die, "The engine stopped").await;
}

#[tokio::test]
async fn hung_in_mid_answer() {
    lost_in_mid_answer(Act::Freeze, "did not respond").await;
}

#[tokio::test]
async fn garbled_in_mid_answer() {
    lost_in_mid_answer(Act::Garble, "unreadable").await;
}

#[tokio::test]
async fn lost_before_the_first_token_it_is_tried_once_more() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Die]);
    let (outcome, events) = desk.start(first("go")).finish_with_events().await;
    assert_eq!(outcome.unwrap().text, "ok");
    let retries = events.iter().filter(|event| matches!(event, TurnEvent::Retrying { .. })).count();
    assert_eq!(retries, 1);
    let kept = events.iter().filter(|event| matches!(event, TurnEvent::Kept { .. })).count();
    assert_eq!(kept, 1, "the message is kept once");
}

#[tokio::test]
async fn two_deaths_in_a_row_on_the_same_answer_stop_the_retry() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Die]);
    desk.script.on_answer(vec![Act::Die]);
    let error = desk.turn(first("go")).await.unwrap_err();
    assert_eq!(error.code(), "engine_died");
    assert!(error.to_string().contains("Your message is saved"), "{error}");
    assert_eq!(desk.script.prompts().len(), 2);
    let conversation = desk.reader().list(ListFilter::default()).unwrap().remove(0).id;
    assert_eq!(texts(&desk.path(conversation)), ["go"]);
    // Asked again by the person it is tried, once.
    desk.script.on_answer(vec![Act::Die]);
    desk.turn(further(conversation, "please")).await.unwrap_err();
    assert_eq!(desk.script.prompts().len(), 3);
    // What worked is forgiven.
    desk.go_on(conversation, "now?").await;
    desk.script.on_answer(vec![Act::Die]);
    desk.go_on(conversation, "and now?").await;
}

#[tokio::test]
async fn a_model_that_kills_its_engine_is_loaded_twice_and_no_more() {
    let desk = Desk::new();
    for _ in 0..5 {
        desk.script.on_load(vec![Act::Die]);
    }
    let error = desk.turn(first("go")).await.unwrap_err();
    assert_eq!(error.code(), "engine_died");
    // Two that died and the one that is ready.
    assert_eq!(desk.script.spawned(), 3);
}

#[tokio::test]
async fn an_engine_that_does_not_start_is_tried_twice() {
    let desk = Desk::new();
    for _ in 0..10 {
        desk.script.on_start(Start::Dying);
    }
    let error = desk.turn(first("go")).await.unwrap_err();
    assert_eq!(error.code(), "engine_died");
    assert!(desk.script.spawned() <= 4, "started {} times", desk.script.spawned());
    let conversation = desk.reader().list(ListFilter::default()).unwrap().remove(0).id;
    assert_eq!(texts(&desk.path(conversation)), ["go"]);
}

#[tokio::test]
async fn an_engine_of_another_version_is_named() {
    let desk = Desk::new();
    for _ in 0..10 {
        desk.script.on_start(Start::OfVersion(99));
    }
    let error = desk.turn(first("go")).await.unwrap_err();
    assert_eq!(error.code(), "engine_version");
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test]
async fn an_engine_lost_while_idle_is_replaced_unnoticed() {
    let desk = Desk::new();
    let conversation = desk.begin("one").await.conversation;
    let mut status = desk.engine.status();
    desk.script.kill();
    status.wait_for(|status| status.deaths == 1 && status.worker.is_some()).await.unwrap();
    let next = desk.go_on(conversation, "two").await;
    assert_eq!(next.text, "ok");
    assert!(next.timing.load_ms.is_some(), "the model is loaded anew");
}
