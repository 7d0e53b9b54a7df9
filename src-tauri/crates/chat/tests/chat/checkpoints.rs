//! Names for places in a conversation, the states behind them, other instructions, and choices.

use reprise_chat::history::{ConversationChoices, ConversationId, NodeId, SnapshotInfo};
use reprise_chat::{Ask, Opened, list_snapshots};
use reprise_engine::message::CacheKind;
use reprise_engine::scripted::Act;

use crate::bench_desk::{Desk, ask, further, texts};
use crate::resume::Keeper;

impl Keeper {
    async fn name(&self, message: NodeId, name: &str) -> Opened {
        self.desk.chat.name_checkpoint(message, name.to_owned()).await.unwrap()
    }

    async fn unname(&self, message: NodeId) -> Opened {
        self.desk.chat.remove_checkpoint(message).await.unwrap()
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        list_snapshots(&self.dir()).unwrap().0
    }

    /// The messages whose states are pinned, and all that have one.
    fn pinned(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let mut all = self.snapshots();
        all.sort_by_key(|snapshot| snapshot.id);
        let pinned = all.iter().filter(|snapshot| snapshot.pinned).map(|snapshot| snapshot.node).collect();
        (pinned, all.iter().map(|snapshot| snapshot.node).collect())
    }

    async fn view(&self, conversation: ConversationId) -> Opened {
        self.desk.chat.view(conversation).await.unwrap()
    }
}

/// Names, and whether their states are pinned.
fn points(opened: &Opened) -> Vec<(&str, bool)> {
    opened.checkpoints.iter().map(|point| (point.name.as_str(), point.pinned)).collect()
}

#[tokio::test]
async fn a_name_pins_the_state_at_its_message_until_it_goes() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let opened = keeper.name(first.node, "  a good place ").await;
    assert_eq!(points(&opened), [("a good place", true)]);
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    let (third, _) = keeper.go_on(first.conversation, "three").await;
    // The second one is contained in the third; so is the first one, but it is pinned.
    assert_eq!(keeper.pinned(), (vec![first.node], vec![first.node, third.node]));
    assert_eq!(points(&keeper.name(first.node, "another name").await), [("another name", true)]);

    let keeper = keeper.restart().await;
    assert_eq!(points(&keeper.view(first.conversation).await), [("another name", true)]);
    assert_eq!(points(&keeper.unname(first.node).await), []);
    assert_eq!(keeper.pinned(), (vec![], vec![first.node, third.node]));
    let (fourth, _) = keeper.go_on(first.conversation, "four").await;
    assert_eq!(keeper.pinned(), (vec![], vec![fourth.node]));
    assert_eq!(keeper.desk.message(second.node).text, "ok", "no message is touched");
}

#[tokio::test]
async fn a_message_without_a_state_is_reached_by_the_shortest_later_one() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    let conversation = first.conversation;
    // The first state is contained in the second, and gone.
    assert_eq!(points(&keeper.name(first.node, "answer").await), [("answer", true)]);
    assert_eq!(points(&keeper.name(first.message, "question").await), [("answer", true), ("question", true)]);
    let (third, _) = keeper.go_on(conversation, "three").await;
    assert_eq!(keeper.pinned(), (vec![second.node], vec![second.node, third.node]));
    keeper.unname(first.node).await;
    assert_eq!(keeper.pinned().0, [second.node], "the other name needs it");
    keeper.unname(first.message).await;
    assert_eq!(keeper.pinned().0, []);
}

#[tokio::test]
async fn a_state_that_cannot_be_trimmed_leads_back_to_its_own_message_only() {
    let keeper = Keeper::new().await;
    keeper.desk.script.remembers_by(CacheKind::SlidingWindow);
    let (first, _) = keeper.begin("one").await;
    keeper.desk.chat.clear_snapshots().await.unwrap();
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert!(saved.is_some());
    assert_eq!(points(&keeper.name(first.node, "before").await), [("before", false)]);
    assert_eq!(keeper.pinned().0, []);
    let opened = keeper.name(second.node, "at it").await;
    assert_eq!(points(&opened), [("before", false), ("at it", true)]);
}

#[tokio::test]
async fn a_state_of_another_branch_does_not_lead_back() {
    let keeper = Keeper::new().await;
    keeper.desk.script.on_answer(vec![Act::Say("poor".to_owned())]);
    keeper.desk.script.on_answer(vec![Act::Say("better".to_owned())]);
    let (poor, saved) = keeper.begin("one").await;
    keeper.desk.chat.drop_snapshot(saved.unwrap().snapshot).await.unwrap();
    let (better, saved) = keeper.turn(keeper.request(Ask::Regenerate { answer: poor.node })).await;
    assert!(saved.is_some());
    assert_eq!(points(&keeper.name(poor.node, "poor").await), [("poor", false)]);
    let opened = keeper.name(poor.message, "both").await;
    assert_eq!(points(&opened), [("poor", false), ("both", true)]);
    assert_eq!(keeper.pinned().0, [better.node]);
}

#[tokio::test]
async fn a_name_that_was_given_before_there_was_a_state_is_pinned_with_the_first() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    keeper.desk.chat.clear_snapshots().await.unwrap();
    assert_eq!(points(&keeper.name(first.node, "here").await), [("here", false)]);
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(keeper.pinned(), (vec![second.node], vec![second.node]));
    assert_eq!(points(&keeper.view(first.conversation).await), [("here", true)]);
}

#[tokio::test]
async fn what_the_person_pinned_or_unpinned_stays_so() {
    let keeper = Keeper::new().await;
    let chat = &keeper.desk.chat;
    let (first, saved) = keeper.begin("one").await;
    let id = saved.unwrap().snapshot;
    chat.pin_snapshot(id, true).await.unwrap();
    keeper.name(first.node, "here").await;
    keeper.unname(first.node).await;
    assert_eq!(keeper.pinned().0, [first.node], "pinned before it had a name");

    chat.pin_snapshot(id, false).await.unwrap();
    keeper.name(first.node, "here").await;
    chat.pin_snapshot(id, false).await.unwrap();
    assert_eq!(points(&keeper.name(first.node, "there").await), [("there", false)]);
    chat.pin_snapshot(id, true).await.unwrap();
    keeper.unname(first.node).await;
    assert_eq!(keeper.pinned().0, [first.node], "pinned while it had a name");
    assert_eq!(chat.pin_snapshot(id, true).await.ok(), Some(()));
    chat.drop_snapshot(id).await.unwrap();
    assert_eq!(chat.pin_snapshot(id, true).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn a_name_says_something_and_belongs_to_a_message() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    for name in ["", " \n", "x".repeat(81).as_str()] {
        let error = keeper.desk.chat.name_checkpoint(first.node, name.to_owned()).await.unwrap_err();
        assert_eq!(error.code(), "conflict", "{name:?}");
    }
    let nobody = NodeId::new(reprise_chat::history::Timestamp::from_millis(1), 1);
    let chat = &keeper.desk.chat;
    assert_eq!(chat.name_checkpoint(nobody, "x".to_owned()).await.unwrap_err().code(), "not_found");
    assert_eq!(chat.jump_to(nobody).await.unwrap_err().code(), "not_found");
    assert_eq!(points(&keeper.view(first.conversation).await), []);
}

#[tokio::test]
async fn a_purged_conversation_takes_its_names_and_pins_with_it() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    keeper.name(first.node, "here").await;
    let purged = keeper.desk.chat.purge(first.conversation).await.unwrap();
    assert_eq!(purged.snapshots.unwrap(), 1);
    assert_eq!(keeper.desk.chat.view(first.conversation).await.unwrap_err().code(), "not_found");
    let facts = keeper.desk.chat.storage().await.unwrap();
    assert_eq!((facts.snapshots, facts.pinned), (0, 0));
}

#[tokio::test]
async fn what_is_written_after_a_jump_begins_a_branch_there() {
    let desk = Desk::new();
    let first = desk.begin("one").await;
    let second = desk.go_on(first.conversation, "two").await;
    let opened = desk.chat.jump_to(first.node).await.unwrap();
    let shown: Vec<&str> = opened.messages.iter().map(|shown| shown.message.text.as_str()).collect();
    assert_eq!(shown, ["one", "ok"]);
    desk.go_on(first.conversation, "something else").await;
    assert_eq!(texts(&desk.path(first.conversation)), ["one", "ok", "something else", "ok"]);
    let opened = desk.chat.show_version(second.message).await.unwrap();
    assert_eq!(opened.messages.len(), 4);
    assert_eq!(texts(&desk.path(first.conversation)), ["one", "ok", "two", "ok"]);
}

#[tokio::test]
async fn other_instructions_begin_a_copy_and_the_branch_before_stays() {
    let desk = Desk::new();
    let first = desk.turn(ask(Ask::Begin { text: "one".to_owned(), system: Some("Be brief.".to_owned()) }));
    let first = first.await.unwrap();
    let id = first.conversation;
    let opened = desk.chat.change_instructions(id, "Be kind.".to_owned()).await.unwrap();
    assert_eq!(opened.system.as_deref(), Some("Be kind."));
    assert_eq!(texts(&desk.path(id)), ["Be kind.", "one", "ok"]);
    desk.go_on(id, "two").await;
    let asked = desk.script.prompts().pop().unwrap();
    assert!(asked.starts_with("<system>Be kind.\n<user>one\n<assistant>ok\n<user>two"), "{asked}");

    // Back to the branch before, which is as it was.
    let [before, now] = opened.messages[0].versions[..] else { panic!("{:?}", opened.messages[0].versions) };
    assert_eq!((before, now), (first.message, opened.messages[0].message.id));
    let opened = desk.chat.show_version(before).await.unwrap();
    assert_eq!(opened.system.as_deref(), Some("Be brief."));
    assert_eq!(texts(&desk.path(id)), ["Be brief.", "one", "ok"]);
    for none in ["", " \n"] {
        let opened = desk.chat.change_instructions(id, none.to_owned()).await.unwrap();
        assert_eq!((opened.system, opened.messages.len()), (None, 2));
    }
    assert_eq!(desk.chat.view(id).await.unwrap().messages[0].versions.len(), 3);
}

#[tokio::test]
async fn instructions_are_not_changed_under_an_answer_or_in_the_trash() {
    let desk = Desk::new();
    let id = desk.begin("one").await.conversation;
    desk.script.on_answer(vec![Act::Babble]);
    let mut running = desk.start(further(id, "two"));
    running.until(|event| matches!(event, reprise_chat::TurnEvent::Text { .. })).await;
    let error = desk.chat.change_instructions(id, "Be kind.".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), "bad_request");
    assert!(error.to_string().contains("instructions were not changed"), "{error}");
    desk.chat.stop(id);
    running.finish().await.unwrap();
    assert_eq!(desk.chat.view(id).await.unwrap().system, None);
    desk.chat.trash(vec![id], reprise_chat::World::now(desk.world.as_ref())).await.unwrap();
    let error = desk.chat.change_instructions(id, "Be kind.".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), "bad_request");
}

#[tokio::test]
async fn choices_are_kept_with_their_conversation() {
    let desk = Desk::new();
    let (one, other) = (desk.begin("one").await.conversation, desk.begin("other").await.conversation);
    let chosen = ConversationChoices { always_replay: true, always_cpu: true };
    desk.chat.library().choose_for(one, chosen).await.unwrap();
    let desk = desk.restart();
    assert_eq!(desk.chat.view(one).await.unwrap().choices, chosen);
    assert_eq!(desk.chat.view(other).await.unwrap().choices, ConversationChoices::default());
    let nobody = ConversationId::new(reprise_chat::history::Timestamp::from_millis(1), 1);
    assert_eq!(desk.chat.library().choose_for(nobody, chosen).await.unwrap_err().code(), "not_found");
}

#[tokio::test]
async fn receipts_of_openings_stand_with_their_message() {
    let desk = Desk::new();
    let first = desk.begin("one").await;
    let node = first.node;
    for nth in 0..10_u64 {
        // As a clock that was set back writes them.
        let at = reprise_chat::history::Timestamp::from_millis(1000 - nth);
        let receipt = serde_json::json!({ "nth": nth });
        desk.chat.library().with(move |w| w.keep_receipt(node, at, &receipt)).await.unwrap();
    }
    let opened = desk.chat.view(first.conversation).await.unwrap();
    let shown = &opened.messages[1];
    let nths: Vec<u64> = shown.resumes.iter().map(|(_, receipt)| receipt["nth"].as_u64().unwrap()).collect();
    assert_eq!((nths, shown.resumes_before), ((2..10).collect(), 2));
    assert_eq!(opened.messages[0].resumes, []);
    assert_eq!(desk.chat.library().shown(node).await.unwrap(), *shown);
}
