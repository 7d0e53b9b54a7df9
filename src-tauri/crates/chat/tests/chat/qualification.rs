//! Where what is live must be overwritten to be kept, nothing is kept before it is known that states survive;
//! where they do not, nothing is kept or restored, and it is said. The engine is a script.

use std::sync::Arc;
use std::time::Duration;

use reprise_chat::engine::KvPlace;
use reprise_chat::{Ask, Chat, Snapshots, Verdict};
use reprise_engine::message::{CacheKind, Offload};
use reprise_engine::qualify::Qualified;
use reprise_engine::{EngineHandle, Limits};

use crate::bench_desk::{Desk, further};
use crate::resume::{ALL_FIVE, Keeper, told};

/// States that two restores do not agree on.
fn does_not_survive() -> Qualified {
    Qualified { steps: 32, control_kl: 5.0, challenge_kl: 2.0, ..Qualified::default() }
}

async fn windowed() -> Keeper {
    let keeper = Keeper::new().await;
    keeper.desk.script.remembers_by(CacheKind::SlidingWindow);
    keeper
}

#[tokio::test]
async fn states_are_compared_once_and_then_kept_and_restored() {
    let keeper = windowed().await;
    let (first, saved) = keeper.begin("one").await;
    assert!(saved.is_some());
    assert_eq!(keeper.desk.chat.qualification().await.unwrap().verdict, Verdict::Identical);
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert!(saved.is_some());
    assert_eq!(told(&second.receipt), "Live -", "what was overwritten with its own image is live");
    let script = &keeper.desk.script;
    assert_eq!((script.times_asked("qualify"), script.times_asked("accept")), (1, 2));

    let keeper = keeper.restart().await;
    keeper.desk.script.remembers_by(CacheKind::SlidingWindow);
    let (third, _) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(told(&third.receipt), ALL_FIVE);
    assert_eq!(keeper.desk.script.times_asked("qualify"), 0, "it is known from before");
}

#[tokio::test]
async fn where_states_do_not_survive_none_is_kept_or_restored_and_it_is_said_once() {
    let keeper = windowed().await;
    keeper.desk.script.on_qualify(does_not_survive());
    let mut news = keeper.desk.chat.not_saved();
    let (first, saved) = keeper.begin("one").await;
    assert!(saved.is_none());
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert!(saved.is_none());
    assert_eq!(told(&second.receipt), "Live -", "the live conversation goes on");
    let told_of = news.try_recv().unwrap();
    assert_eq!(told_of.code, "qualification_failed");
    assert!(told_of.message.contains("two restores"), "{}", told_of.message);
    assert!(news.try_recv().is_err(), "once");
    let script = &keeper.desk.script;
    assert_eq!((script.times_asked("qualify"), script.times_asked("export")), (1, 0));

    let keeper = keeper.restart().await;
    keeper.desk.script.remembers_by(CacheKind::SlidingWindow);
    let (third, saved) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(told(&third.receipt), "Replayed unqualified");
    assert!(saved.is_none());
    assert_eq!(keeper.desk.path(first.conversation).len(), 6, "every message is there");
}

#[tokio::test]
async fn a_state_that_its_own_image_changed_is_thrown_away() {
    let keeper = windowed().await;
    keeper.desk.script.change_on_export();
    let mut news = keeper.desk.chat.not_saved();
    let (first, saved) = keeper.begin("one").await;
    assert!(saved.is_none());
    assert_eq!(news.try_recv().unwrap().code, "state_changed");
    assert_eq!(keeper.desk.script.times_asked("discard"), 1);
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), "Replayed no_snapshot", "what is wrong is not gone on from");
}

#[tokio::test]
async fn full_attention_needs_no_comparison_to_be_kept_and_obeys_one_that_failed() {
    let keeper = Keeper::new().await;
    let (first, saved) = keeper.begin("one").await;
    assert!(saved.is_some());
    assert_eq!(keeper.desk.script.times_asked("qualify"), 0);
    keeper.desk.script.on_qualify(does_not_survive());
    assert_eq!(keeper.desk.chat.qualify().await.unwrap().verdict, Verdict::Failed);
    let keeper = keeper.restart().await;
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), "Replayed unqualified");
    assert!(saved.is_none());
    // Looked at again, it is well again.
    assert_eq!(keeper.desk.chat.qualify().await.unwrap().verdict, Verdict::Identical);
    assert!(keeper.go_on(first.conversation, "three").await.1.is_some());
}

/// A desk whose chat waits for pauses.
async fn patient() -> (Keeper, Arc<Chat>, tokio::task::JoinHandle<()>) {
    let keeper = windowed().await;
    let snapshots = Snapshots::open(keeper.desk.chat.library(), keeper.desk.world.as_ref()).await.unwrap();
    let engine = EngineHandle::start(keeper.desk.script.clone(), Limits::default());
    let library = keeper.desk.chat.library().clone();
    let chat = Arc::new(Chat::new(library, engine, keeper.desk.world.clone()).with_snapshots(snapshots));
    let waiting = Arc::clone(&chat);
    let pauses = tokio::spawn(async move { waiting.save_in_pauses().await });
    (keeper, chat, pauses)
}

#[tokio::test]
async fn in_a_pause_states_are_compared_and_a_turn_does_not_wait_for_it() {
    let (keeper, chat, pauses) = patient().await;
    let script = keeper.desk.script.clone();
    let desk = Desk { chat: Arc::clone(&chat), ..keeper.desk };
    let keeper = Keeper { desk, ..keeper };
    script.compare_for_ever();
    let request = keeper.request(Ask::Begin { text: "one ".repeat(200), system: None });
    let first = keeper.desk.turn(request).await.unwrap();
    while script.times_asked("qualify") == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let running = keeper.desk.start(keeper.request(further(first.conversation, "two").ask));
    let mut second = running.finish().await.unwrap();
    assert_eq!(told(&second.receipt), "Live -");
    // The next pause comes, and this time nobody wants anything.
    second.saving.done().await.unwrap();
    assert_eq!(script.times_asked("qualify"), 2);
    pauses.abort();
}

#[tokio::test]
async fn a_state_that_waits_for_a_pause_gives_way_to_the_next_of_its_conversation() {
    let (keeper, chat, pauses) = patient().await;
    // Nobody pauses here.
    pauses.abort();
    let script = keeper.desk.script.clone();
    let desk = Desk { chat: Arc::clone(&chat), ..keeper.desk };
    let keeper = Keeper { desk, ..keeper };
    let (first, saved) = keeper.begin_without_waiting("one").await;
    // It becomes known meanwhile that states survive.
    chat.qualify().await.unwrap();
    let (_, second) = keeper.go_on(first, "two").await;
    assert!(second.is_some(), "kept at once");
    assert_eq!(saved.await.unwrap_err().code, "overtaken");
    chat.finish_saving().await;
    assert_eq!(script.times_asked("export"), 1);
}

#[tokio::test]
async fn what_failed_on_the_device_is_loaded_with_its_cache_on_the_host() {
    let keeper = Keeper::new().await;
    let offload = |kv| Some(Offload { device: "GPU0".to_owned(), layers: 9, kv });
    let request = |keeper: &Keeper, ask| {
        let mut request = keeper.request(ask);
        request.load.offload = offload(KvPlace::Device);
        request
    };
    let begin = Ask::Begin { text: "one ".repeat(200), system: None };
    let (first, saved) = keeper.turn(request(&keeper, begin)).await;
    assert!(saved.is_some());
    keeper.desk.script.on_qualify(does_not_survive());
    assert_eq!(keeper.desk.chat.qualify().await.unwrap().verdict, Verdict::Failed);
    let loaded = |keeper: &Keeper| keeper.desk.engine.status().borrow().loaded.clone().unwrap().spec.offload;
    assert_eq!(loaded(&keeper), offload(KvPlace::Device));
    let go_on = |text| further(first.conversation, text).ask;
    keeper.turn(request(&keeper, go_on("two"))).await;
    assert_eq!(loaded(&keeper), offload(KvPlace::Host));
    keeper.desk.script.on_qualify(does_not_survive());
    keeper.desk.chat.qualify().await.unwrap();
    keeper.turn(request(&keeper, go_on("three"))).await;
    assert_eq!(loaded(&keeper), None);
}
