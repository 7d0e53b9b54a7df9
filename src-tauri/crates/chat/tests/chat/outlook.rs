//! What going on with a conversation will cost, as far as can be told beforehand. The engine is a script.

use std::fs;
use std::path::Path;

use reprise_chat::history::ConversationId;
use reprise_chat::{LoadOptions, Mark, Outlook, Trigger};
use reprise_engine::scripted::OnRestore;

use crate::resume::Keeper;

impl Keeper {
    async fn mark_by(&self, id: ConversationId, model: &Path, load: &LoadOptions) -> String {
        let mut marks = self.desk.chat.marks(vec![id], model, load).await.unwrap();
        let Mark { conversation, instant, reason } = marks.pop().unwrap();
        assert!(conversation == id && marks.is_empty());
        assert_eq!(instant, reason.is_none());
        reason.map_or_else(
            || "instant".to_owned(),
            |reason| [reason.code, reason.field.unwrap_or_default()].join(" ").trim().to_owned(),
        )
    }

    async fn mark(&self, id: ConversationId) -> String {
        self.mark_by(id, &self.model, &LoadOptions::default()).await
    }

    async fn outlook(&self, id: ConversationId) -> Outlook {
        self.desk.chat.outlook(id, &self.model, &LoadOptions::default()).await.unwrap()
    }
}

#[tokio::test]
async fn a_mark_says_whether_a_conversation_opens_at_once_and_why_not() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    assert_eq!(keeper.mark(id).await, "instant", "it is live");
    let keeper = keeper.restart().await;
    assert_eq!(keeper.mark(id).await, "instant", "its state is kept; no model is loaded to tell");
    assert_eq!(keeper.desk.script.spawned(), 0);

    let other = keeper.desk.folder.path().join("other.gguf");
    fs::write(&other, b"GGUF of another").unwrap();
    let unknown = keeper.mark_by(id, &other, &LoadOptions::default()).await;
    assert_eq!(unknown, "not_loaded", "nobody has read that file yet");
    let quantised = LoadOptions { kv_type: reprise_chat::engine::KvType::Q8_0, ..LoadOptions::default() };
    assert_eq!(keeper.mark_by(id, &keeper.model, &quantised).await, "identity kv_type");

    let (second, _) = keeper.begin("two").await;
    assert_eq!(keeper.mark(id).await, "instant");
    assert_eq!(keeper.mark(second.conversation).await, "instant");
    keeper.desk.script.on_restore(OnRestore::Forget);
    drop(keeper.opened(id, Trigger::Opened).await);
    keeper.desk.chat.finish_saving().await;
    let (third, _) = keeper.begin("three").await;
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    assert_eq!(keeper.mark(id).await, "no_snapshot");
    assert_eq!(keeper.mark(third.conversation).await, "instant", "it is live");
}

#[tokio::test]
async fn a_state_of_another_branch_does_not_open_this_one_at_once() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let (second, _) = keeper.go_on(id, &"a second message ".repeat(30)).await;
    let keeper = keeper.restart().await;
    // The state of the second answer holds the first one too.
    keeper.desk.chat.jump_to(first.node).await.unwrap();
    assert_eq!(keeper.mark(id).await, "instant");
    keeper.desk.chat.show_version(second.node).await.unwrap();
    assert_eq!(keeper.mark(id).await, "instant");
    let path = keeper.desk.path(id);
    let edited = reprise_chat::Ask::Edit { message: path[2].id, text: "another ".repeat(40) };
    let mut request = keeper.request(edited);
    request.snapshots = false;
    keeper.desk.turn(request).await.unwrap();
    let keeper = keeper.restart().await;
    assert_eq!(keeper.mark(id).await, "tokens");
}

#[tokio::test]
async fn marks_of_nobody_are_left_out_and_only_so_many_are_looked_at() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let moment = reprise_chat::history::Timestamp::from_millis(1);
    let mut ids = vec![first.conversation];
    ids.extend((0..300).map(|n| ConversationId::new(moment, n)));
    let marks = keeper.desk.chat.marks(ids, &keeper.model, &LoadOptions::default()).await.unwrap();
    assert_eq!(marks.len(), 1);
}

#[tokio::test]
async fn an_estimate_is_there_right_after_a_start_and_follows_what_was_measured() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let keeper = keeper.restart().await;
    let outlook = keeper.outlook(id).await;
    // Counted by the engine: the prompt and the answer.
    assert_eq!(outlook.tokens, first.receipt.tokens_total + 2);
    let rate = f64::from(outlook.tokens) / outlook.replay_ms.unwrap();
    assert!(rate > 0.0 && rate.is_finite());
    assert!(outlook.crossing.is_none());
    let path = keeper.desk.path(id);
    assert_eq!(outlook.edits.len(), 1);
    assert_eq!(outlook.edits[0].message, path[0].id);
    assert!(outlook.edits[0].ms.is_some());

    let fresh = Keeper::new().await;
    let unmeasured = fresh.desk.begin("never measured").await;
    let outlook = fresh.outlook(unmeasured.conversation).await;
    assert_eq!(outlook.replay_ms, None, "nothing is made up");
}

#[tokio::test]
async fn writing_a_message_anew_costs_what_stands_before_it_only_where_no_state_holds_it() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let (second, _) = keeper.go_on(id, &"a second message ".repeat(30)).await;
    let tokens = |outlook: &Outlook| outlook.edits.iter().map(|edit| edit.tokens).collect::<Vec<_>>();
    let with_state = tokens(&keeper.outlook(id).await);
    let keeper = keeper.restart().await;
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    let without = tokens(&keeper.outlook(id).await);
    assert_eq!(with_state.len(), 2);
    assert_eq!(with_state[0], without[0]);
    assert!(without[1] > with_state[1] + first.receipt.tokens_total / 2, "{with_state:?} {without:?}");
    assert!(without[1] <= second.receipt.tokens_total);
}

#[tokio::test]
async fn between_two_models_both_prices_are_told_before_anything_is_done() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let other = keeper.desk.folder.path().join("other.gguf");
    fs::write(&other, b"GGUF of another").unwrap();
    let outlook = keeper.desk.chat.outlook(id, &other, &LoadOptions::default()).await.unwrap();
    let crossing = outlook.crossing.unwrap();
    assert_eq!((crossing.before.name.as_str(), crossing.now.name.as_str()), ("model", "other"));
    assert_eq!(crossing.before.load_ms, Some(0.0), "it is loaded");
    assert!(crossing.before.instant && !crossing.now.instant);
    assert_eq!((crossing.now.load_ms, crossing.now.ready_ms), (None, None), "nothing was measured of it");
    assert_eq!(keeper.desk.script.times_asked("load"), 1, "nothing is loaded to tell");
}
