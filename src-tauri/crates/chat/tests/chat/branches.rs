//! Edit and regenerate make branches; nothing is overwritten.

use reprise_chat::Ask;
use reprise_chat::ResumePath;
use reprise_engine::scripted::Act;

use crate::bench_desk::{Desk, ask, first, texts};

#[tokio::test]
async fn regenerating_makes_a_branch_with_another_seed() {
    let desk = Desk::new();
    desk.script.on_answer(vec![Act::Say("poor".to_owned())]);
    desk.script.on_answer(vec![Act::Say("better".to_owned())]);
    let poor = desk.begin("question").await;
    let better = desk.turn(ask(Ask::Regenerate { answer: poor.node })).await.unwrap();
    assert_eq!(better.message, poor.message);
    assert_eq!(texts(&desk.path(poor.conversation)), ["question", "better"]);
    let reader = desk.reader();
    let siblings = reader.siblings(better.node).unwrap();
    assert_eq!(texts(&siblings), ["poor", "better"]);
    let specs = desk.script.specs();
    assert_ne!(specs[0].sampling.seed, specs[1].sampling.seed);
    // All of the prompt but its last token is live.
    assert_eq!(better.receipt.path, ResumePath::Live);
    assert_eq!(better.receipt.tokens_decoded, 1);
}

#[tokio::test]
async fn the_same_seed_and_place_give_the_same_sampling() {
    let seeds = |desk: Desk| async move {
        for text in ["one", "two"] {
            let mut request = first(text);
            request.sampling.seed = Some(42);
            desk.turn(request).await.unwrap();
        }
        desk.script.specs().iter().map(|spec| spec.sampling.seed).collect::<Vec<_>>()
    };
    let (here, there) = (seeds(Desk::new()).await, seeds(Desk::new()).await);
    assert_eq!(here, there);
    assert_eq!(here[0], here[1]);
}

#[tokio::test]
async fn an_edit_is_a_branch_and_shares_the_prefix() {
    let desk = Desk::new();
    let one = desk.begin("one").await;
    let two = desk.go_on(one.conversation, "two").await;
    let edited = Ask::Continue {
        conversation: one.conversation,
        parent: Some(one.node),
        text: "two, but better".to_owned(),
    };
    let edited = desk.turn(ask(edited)).await.unwrap();
    assert_eq!(texts(&desk.path(one.conversation)), ["one", "ok", "two, but better", "ok"]);
    assert_eq!(desk.message(two.node).text, "ok", "the old branch is there");
    let shared = u32::try_from("<user>one\n<assistant>ok\n<user>two".len()).unwrap();
    assert_eq!(edited.receipt.tokens_reused, shared);
    // Back to the old branch, which goes on.
    desk.chat.library().show_branch(one.conversation, two.node).await.unwrap();
    desk.go_on(one.conversation, "three").await;
    assert_eq!(texts(&desk.path(one.conversation)), ["one", "ok", "two", "ok", "three", "ok"]);
}

#[tokio::test]
async fn only_an_answer_is_generated_again() {
    let desk = Desk::new();
    let one = desk.begin("one").await;
    let error = desk.turn(ask(Ask::Regenerate { answer: one.message })).await.unwrap_err();
    assert_eq!(error.code(), "bad_request");
}

#[tokio::test]
async fn a_parent_of_another_conversation_is_refused() {
    let desk = Desk::new();
    let one = desk.begin("one").await;
    let other = desk.begin("other").await;
    let strange =
        Ask::Continue { conversation: one.conversation, parent: Some(other.node), text: "x".to_owned() };
    let error = desk.turn(ask(strange)).await.unwrap_err();
    assert!(["not_found", "conflict", "storage"].contains(&error.code()), "{}", error.code());
    assert_eq!(texts(&desk.path(one.conversation)), ["one", "ok"]);
}
