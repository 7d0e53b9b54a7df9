//! One turn after another.

use std::time::{Duration, Instant};

use reprise_chat::engine::StopReason;
use reprise_chat::history::{ListFilter, MessageState, NodeId, Role};
use reprise_chat::{Ask, ChatError, ResumePath, TurnEvent};
use reprise_engine::message::TokenId;
use reprise_engine::scripted::Act;
use reprise_engine::{EngineError, Fault};
use reprise_store::NewAnswer;

use crate::bench_desk::{Desk, ask, first, further, texts};

#[tokio::test]
async fn a_message_is_on_the_disk_before_the_engine_hears_of_it() {
    let desk = Desk::new();
    // The engine hangs while loading: nothing was generated, and the message is there.
    desk.script.on_load(vec![Act::Wait(Duration::from_mins(1))]);
    let mut turn = desk.start(first("Keep me"));
    let TurnEvent::Kept { conversation, message } = turn.until(|e| matches!(e, TurnEvent::Kept { .. })).await
    else {
        unreachable!()
    };
    assert!(desk.script.prompts().is_empty());
    assert_eq!(desk.message(message).text, "Keep me");
    assert_eq!(desk.reader().conversation(conversation).unwrap().title, "Keep me");
    turn.cancel.send(true).unwrap();
    let error = turn.finish().await.unwrap_err();
    assert_eq!(error.code(), "cancelled");
    assert_eq!(desk.message(message).text, "Keep me");
}

#[tokio::test]
async fn five_turns_reuse_exactly_what_is_live() {
    let desk = Desk::new();
    let mut outcome = desk.begin("one").await;
    let conversation = outcome.conversation;
    assert_eq!(outcome.receipt.path, ResumePath::Fresh);
    assert_eq!(outcome.receipt.tokens_reused, 0);
    for text in ["two", "three", "four", "five"] {
        let live = outcome.receipt.tokens_total + 2; // the answer is "ok"
        outcome = desk.go_on(conversation, text).await;
        assert_eq!(outcome.receipt.path, ResumePath::Live);
        assert_eq!(outcome.receipt.tokens_reused, live);
        assert_eq!(
            outcome.receipt.tokens_decoded,
            outcome.receipt.tokens_total - outcome.receipt.tokens_reused
        );
    }
    let path = desk.path(conversation);
    assert_eq!(texts(&path), ["one", "ok", "two", "ok", "three", "ok", "four", "ok", "five", "ok"]);
    assert_eq!(
        desk.script.prompts().last().unwrap(),
        "<user>one\n<assistant>ok\n<user>two\n<assistant>ok\n<user>three\n<assistant>ok\n\
         <user>four\n<assistant>ok\n<user>five\n<assistant>"
    );
}

#[tokio::test]
async fn tokens_come_back_after_a_restart() {
    let desk = Desk::new();
    let conversation = desk.begin("one").await.conversation;
    desk.go_on(conversation, "two").await;
    let desk = desk.restart();
    desk.go_on(conversation, "three").await;
    let known = desk.script.specs().pop().unwrap().known;
    let spelled: String =
        known.iter().map(|TokenId(id)| char::from_u32(id.cast_unsigned()).unwrap()).collect();
    assert_eq!(spelled, "<user>one\n<assistant>ok\n<user>two\n<assistant>ok");
}

#[tokio::test]
async fn instructions_stand_at_the_root() {
    let desk = Desk::new();
    let system = Some("Be brief.".to_owned());
    let outcome = desk.turn(ask(Ask::Begin { text: "hi".to_owned(), system })).await.unwrap();
    let path = desk.path(outcome.conversation);
    assert_eq!(path[0].role, Role::System);
    assert_eq!(texts(&path), ["Be brief.", "hi", "ok"]);
    assert_eq!(desk.script.prompts(), ["<system>Be brief.\n<user>hi\n<assistant>"]);
}

#[tokio::test]
async fn a_stopped_answer_is_kept_as_far_as_it_came() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Say("half an ans".to_owned()), Act::Babble]);
    let mut turn = desk.start(first("go"));
    turn.until(|e| matches!(e, TurnEvent::Text { .. })).await;
    turn.cancel.send(true).unwrap();
    let outcome = turn.finish().await.unwrap();
    assert_eq!(outcome.stop, StopReason::Cancelled);
    assert!(outcome.text.starts_with("half an ans"));
    let kept = desk.message(outcome.node);
    assert_eq!(kept.state, MessageState::Stopped);
    assert_eq!(kept.text, outcome.text);
    // And the conversation goes on from there, with what was computed.
    let next = desk.go_on(outcome.conversation, "and?").await;
    assert_eq!(next.receipt.path, ResumePath::Live);
}

#[tokio::test]
async fn an_answer_stopped_before_its_first_token_has_its_place() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Wait(Duration::from_mins(1))]);
    let mut turn = desk.start(first("go"));
    turn.until(|e| matches!(e, TurnEvent::Reading { .. })).await;
    turn.cancel.send(true).unwrap();
    let outcome = turn.finish().await.unwrap();
    assert_eq!((outcome.text.as_str(), outcome.stop), ("", StopReason::Cancelled));
    assert_eq!(desk.message(outcome.node).state, MessageState::Stopped);
    // An empty answer is nothing that a template could show: the two questions become one.
    desk.go_on(outcome.conversation, "still there?").await;
    assert_eq!(desk.script.prompts().last().unwrap(), "<user>go\n\nstill there?\n<assistant>");
}

#[tokio::test]
async fn a_growing_answer_is_on_the_disk_while_it_grows() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Say("so far".to_owned()), Act::Wait(Duration::from_mins(1))]);
    let mut turn = desk.start(first("go"));
    let TurnEvent::Answering { node } = turn.until(|e| matches!(e, TurnEvent::Answering { .. })).await else {
        unreachable!()
    };
    // The reader polls: a deadline only, so that a defect fails instead of hanging.
    let deadline = Instant::now() + Duration::from_secs(20);
    while desk.message(node).text != "so far" {
        assert!(Instant::now() < deadline, "found {:?}", desk.message(node).text);
        tokio::task::yield_now().await;
    }
    let kept = desk.message(node);
    assert_eq!(kept.state, MessageState::Streaming);
    assert!(!kept.damaged);
    assert_eq!(kept.tokens.unwrap().ids.len(), 6);
    turn.cancel.send(true).unwrap();
    turn.finish().await.unwrap();
}

#[tokio::test]
async fn tokens_are_counted_by_the_model_while_it_is_loaded_and_idle() {
    let desk = Desk::new();
    let text = "twelve chars";
    // The script's tokeniser makes a token of each character; four bytes a token are the estimate.
    let count = async || {
        let counted = desk.chat.count_tokens(text).await;
        (counted.tokens, counted.exact)
    };
    assert_eq!(count().await, (3, false), "nothing is loaded, and nothing is loaded for it");
    assert_eq!(desk.script.spawned(), 0);
    desk.turn(first("go")).await.unwrap();
    assert_eq!(count().await, (12, true));
    assert!(!desk.chat.count_tokens(&text.repeat(50_000)).await.exact, "too long to be counted");
    desk.script.on_answer(vec![Act::Wait(Duration::from_mins(1))]);
    let mut turn = desk.start(first("wait"));
    turn.until(|event| matches!(event, TurnEvent::Prepared { .. })).await;
    assert_eq!(count().await, (3, false), "an answer is not held up");
    turn.cancel.send(true).unwrap();
    turn.finish().await.unwrap();
}

#[tokio::test]
async fn a_stream_without_a_pause_is_kept_too() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Babble]);
    let mut turn = desk.start(first("go"));
    let TurnEvent::Answering { node } = turn.until(|e| matches!(e, TurnEvent::Answering { .. })).await else {
        unreachable!()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while desk.message(node).text.is_empty() {
        assert!(Instant::now() < deadline);
        // Reading keeps the stream flowing.
        turn.until(|e| matches!(e, TurnEvent::Text { .. })).await;
    }
    turn.cancel.send(true).unwrap();
    turn.finish().await.unwrap();
}

#[tokio::test]
async fn the_receipt_and_the_figures_are_kept_with_the_answer() {
    let desk = Desk::new();
    let outcome = desk.begin("one").await;
    let kept = desk.message(outcome.node);
    let receipt = kept.receipt.unwrap();
    assert_eq!(receipt["path"], "fresh");
    assert_eq!(receipt["tokens_total"], outcome.receipt.tokens_total);
    assert_eq!(kept.stats.unwrap()["decode_tokens"], 2);
    assert_eq!(kept.tokens.unwrap().ids, ['o' as u32, 'k' as u32]);
}

#[tokio::test]
async fn an_empty_message_makes_nothing() {
    let desk = Desk::new();
    for text in ["", "  \n\t "] {
        let error = desk.turn(first(text)).await.unwrap_err();
        assert_eq!(error.code(), "prompt_empty");
    }
    assert!(desk.reader().list(ListFilter::default()).unwrap().is_empty());
    assert_eq!(desk.script.spawned(), 0, "no engine is needed to say so");
}

#[tokio::test]
async fn a_message_too_long_is_kept_as_a_branch_and_the_conversation_goes_on() {
    let desk = Desk::new();
    let outcome = desk.begin("short").await;
    let conversation = outcome.conversation;
    let long = "x".repeat(5000);
    let error = desk.turn(further(conversation, &long)).await.unwrap_err();
    let ChatError::PromptTooLong { fault: Fault::PromptTooLong { tokens, n_ctx }, message, .. } = &error
    else {
        panic!("{error:?}")
    };
    assert!(tokens > n_ctx);
    assert!(error.to_string().contains(&format!("{} too long", tokens - n_ctx + 1)), "{error}");
    assert_eq!(desk.message(*message).text, long, "nothing is cut, nothing is lost");
    assert_eq!(texts(&desk.path(conversation)), ["short", "ok"]);
    desk.go_on(conversation, "again").await;
    assert_eq!(texts(&desk.path(conversation)), ["short", "ok", "again", "ok"]);
}

#[tokio::test]
async fn a_fault_of_the_template_keeps_the_message() {
    let desk = Desk::new();
    let detail = "line 3: it calls what is not there".to_owned();
    desk.script.on_answer(vec![Act::Fail(Fault::Template { detail })]);
    let error = desk.turn(first("hello")).await.unwrap_err();
    assert_eq!(error.code(), "template_failed");
    let conversation = desk.reader().list(ListFilter::default()).unwrap().remove(0);
    assert_eq!(texts(&desk.path(conversation.id)), ["hello"]);
}

#[tokio::test]
async fn another_model_or_context_is_loaded_and_the_same_one_stays() {
    let desk = Desk::new();
    let conversation = desk.begin("one").await.conversation;
    let again = desk.go_on(conversation, "two").await;
    assert_eq!(again.timing.load_ms, None);
    let mut other = further(conversation, "three");
    other.load.n_ctx = Some(2048);
    let other = desk.turn(other).await.unwrap();
    assert_eq!(other.timing.load_ms, Some(1.0));
    assert_eq!(other.receipt.path, ResumePath::Replayed);
}

#[tokio::test]
async fn a_load_that_fails_is_said_and_the_message_is_kept() {
    let desk = Desk::new();
    desk.script.on_load(vec![Act::Fail(Fault::ModelUnsupported { architecture: "alien".to_owned() })]);
    let error = desk.turn(first("hello")).await.unwrap_err();
    assert_eq!(error.code(), "model_unsupported");
    assert!(matches!(error, ChatError::Engine { error: EngineError::Fault(_), message_kept: true }));
    assert_eq!(desk.reader().list(ListFilter::default()).unwrap().len(), 1);
}

#[tokio::test]
async fn two_turns_at_once_are_taken_one_after_the_other() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Say("first".to_owned())]);
    desk.script.on_answer(vec![Act::Say("second".to_owned())]);
    let one = desk.start(first("a"));
    let two = desk.start(first("b"));
    let (one, two) = tokio::join!(one.finish(), two.finish());
    let mut said = [one.unwrap().text, two.unwrap().text];
    said.sort();
    assert_eq!(said, ["first", "second"]);
}

#[tokio::test]
async fn an_answer_whose_end_could_not_be_kept_does_not_block_its_conversation() {
    let desk = Desk::new();
    let one = desk.begin("one").await;
    // As after a disk that was full at the end: the row is there, and nobody writes it.
    let answer = NewAnswer { id: NodeId::new(one.node.created(), 99), parent: one.message, model_name: None };
    let abandoned = answer.id;
    desk.chat.library().with(move |w| w.begin_answer(&answer)).await.unwrap();
    desk.go_on(one.conversation, "two").await;
    assert_eq!(desk.message(abandoned).state, MessageState::Interrupted);
    assert_eq!(texts(&desk.path(one.conversation)), ["one", "", "two", "ok"]);
}
