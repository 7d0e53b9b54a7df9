//! Opening a conversation: when it is made ready, by what, and to whom it gives way. The engine is a script.

use std::path::Path;
use std::sync::Arc;

use reprise_chat::history::{ConversationId, NodeId, SnapshotState};
use reprise_chat::{
    Ask, ChatError, LoadOptions, NotYet, OpenEvent, OpenRequest, Opening, Receipt, ResumePath, Trigger,
    TurnEvent, list_snapshots,
};
use reprise_engine::scripted::{Act, OnRestore};
use reprise_store::ConversationChoices;
use tokio::sync::mpsc;

use crate::resume::{ALL_FIVE, Keeper, told};

/// An opening that goes on.
pub struct Opened {
    pub events: mpsc::Receiver<OpenEvent>,
    opening: tokio::task::JoinHandle<Result<Opening, ChatError>>,
}

impl Opened {
    async fn until(&mut self, fits: impl Fn(&OpenEvent) -> bool) -> OpenEvent {
        loop {
            let event = self.events.recv().await.expect("the opening ended before that");
            if fits(&event) {
                return event;
            }
        }
    }

    pub async fn finish(mut self) -> Opening {
        while self.events.recv().await.is_some() {}
        self.opening.await.unwrap().unwrap()
    }
}

impl Keeper {
    fn open_request(&self, conversation: ConversationId, trigger: Trigger) -> OpenRequest {
        let (model, load) = (self.model.clone(), LoadOptions::default());
        OpenRequest { conversation, model, load, snapshots: true, trigger }
    }

    pub fn open_one(&self, conversation: ConversationId, trigger: Trigger) -> Opened {
        self.open_by(self.open_request(conversation, trigger))
    }

    fn open_by(&self, request: OpenRequest) -> Opened {
        let (told, events) = mpsc::channel(64);
        let chat = Arc::clone(&self.desk.chat);
        let opening = tokio::spawn(async move { chat.open(request, told).await });
        Opened { events, opening }
    }

    pub async fn opened(&self, conversation: ConversationId, trigger: Trigger) -> Opening {
        self.open_one(conversation, trigger).finish().await
    }

    /// Receipts of openings that are kept with a message.
    fn kept(&self, node: NodeId) -> Vec<Receipt> {
        let mut kept = self.desk.reader().receipts_of(&[node]).unwrap();
        let kept = kept.remove(&node).map(|kept| kept.kept).unwrap_or_default();
        kept.into_iter().map(|(_, value)| serde_json::from_value(value).unwrap()).collect()
    }
}

fn receipt_of(opening: Opening) -> Option<Receipt> {
    match opening {
        Opening::Ready { resumed, .. } => resumed.map(|(_, receipt)| receipt),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_opened_conversation_is_restored_told_kept_and_ready() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let keeper = keeper.restart().await;
    assert_eq!(keeper.opened(id, Trigger::Opened).await, Opening::NotYet(NotYet::NotLoaded));
    assert_eq!(keeper.desk.script.times_asked("load"), 0, "no model is loaded because somebody looks");

    let mut opening = keeper.open_one(id, Trigger::Composing);
    opening.until(|event| matches!(event, OpenEvent::Checking)).await;
    assert_eq!(keeper.desk.script.times_asked("load"), 1);
    let receipt = receipt_of(opening.finish().await).unwrap();
    assert_eq!(told(&receipt), ALL_FIVE);
    let kept = keeper.kept(first.node);
    assert_eq!(kept.iter().map(told).collect::<Vec<_>>(), [ALL_FIVE]);
    assert_eq!(kept[0].tokens_reused, receipt.tokens_reused);

    assert_eq!(receipt_of(keeper.opened(id, Trigger::Opened).await), None, "it is ready already");
    assert_eq!(keeper.kept(first.node).len(), 1);
    let (second, _) = keeper.go_on(id, "two").await;
    assert_eq!(told(&second.receipt), "Live -");
    assert!(second.receipt.tokens_decoded < 30, "{:?}", second.receipt);
}

#[tokio::test]
async fn without_a_state_the_text_is_read_and_its_state_kept() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    let keeper = keeper.restart().await;
    let mut opening = keeper.open_one(id, Trigger::Composing);
    match opening.until(|event| matches!(event, OpenEvent::Reading { .. })).await {
        OpenEvent::Reading { done, of, reason } => {
            assert!(done > 0 && done < of);
            assert_eq!(reason.unwrap().code, "no_snapshot");
        }
        _ => unreachable!(),
    }
    assert_eq!(told(&receipt_of(opening.finish().await).unwrap()), "Replayed no_snapshot");

    let keeper = keeper.restart().await;
    let again = receipt_of(keeper.opened(id, Trigger::Composing).await).unwrap();
    assert_eq!(told(&again), ALL_FIVE, "what was read for an opening is kept");
    assert_eq!(keeper.kept(first.node).len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_written_is_not_disturbed() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    keeper.desk.script.on_answer(vec![Act::Babble]);
    let mut answer = keeper.desk.start(keeper.request(Ask::Begin { text: "other".to_owned(), system: None }));
    answer.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    for trigger in [Trigger::Opened, Trigger::Composing, Trigger::Replay] {
        assert_eq!(keeper.opened(id, trigger).await, Opening::NotYet(NotYet::Busy));
    }
    answer.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    answer.cancel.send(true).unwrap();
    answer.finish().await.unwrap();
    assert_eq!(told(&receipt_of(keeper.opened(id, Trigger::Opened).await).unwrap()), ALL_FIVE);
}

#[tokio::test]
async fn a_message_elsewhere_ends_an_opening_and_one_in_the_same_conversation_waits_for_it() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    let keeper = keeper.restart().await;
    keeper.desk.script.on_reading(vec![Act::Babble]);
    let mut opening = keeper.open_one(id, Trigger::Composing);
    opening.until(|event| matches!(event, OpenEvent::Reading { .. })).await;
    let (other, _) = keeper.begin("elsewhere").await;
    assert_eq!(other.text, "ok");
    assert_eq!(opening.finish().await, Opening::Stopped);

    let held = keeper.desk.script.hold_at("generate");
    let opening = keeper.open_one(id, Trigger::Opened);
    // It has asked for everything once the engine is held at reading.
    while keeper.desk.script.times_asked("generate") < 3 {
        tokio::task::yield_now().await;
    }
    let of = Ask::Continue { conversation: id, parent: None, text: "two".to_owned() };
    let mut turn = keeper.desk.start(keeper.request(of));
    turn.until(|event| matches!(event, TurnEvent::Queued)).await;
    held.send(()).unwrap();
    let read = receipt_of(opening.finish().await).unwrap();
    assert_eq!(read.path, ResumePath::Replayed);
    let second = turn.finish().await.unwrap();
    assert_eq!(told(&second.receipt), "Live -");
    assert_eq!(second.receipt.tokens_reused, read.tokens_total, "the message needs what was read for it");
}

#[tokio::test]
async fn a_stopped_replay_keeps_what_it_read_and_the_message_goes_on_from_there() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    let keeper = keeper.restart().await;
    keeper.desk.script.on_reading(vec![Act::Babble]);
    let mut opening = keeper.open_one(id, Trigger::Composing);
    opening.until(|event| matches!(event, OpenEvent::Reading { .. })).await;
    assert!(!keeper.desk.chat.stop_opening(ConversationId::new(first_moment(), 7)), "another one's");
    assert!(keeper.desk.chat.stop_opening(id));
    assert_eq!(opening.finish().await, Opening::Stopped);
    assert!(!keeper.desk.chat.stop_opening(id), "it has ended");
    assert!(keeper.kept(first.node).is_empty(), "nothing was made ready");
    let (second, _) = keeper.go_on(id, "two").await;
    assert_eq!(second.text, "ok");
    let receipt = second.receipt;
    assert!(receipt.tokens_reused > 100 && receipt.tokens_reused < receipt.tokens_total - 100, "{receipt:?}");
}

fn first_moment() -> reprise_chat::history::Timestamp {
    reprise_chat::history::Timestamp::from_millis(1)
}

#[tokio::test]
async fn another_opening_takes_the_place_of_the_one_before() {
    let keeper = Keeper::new().await;
    let (one, _) = keeper.begin("one").await;
    let (two, _) = keeper.begin("two").await;
    let held = keeper.desk.script.hold_at("receive");
    let opening = keeper.open_one(one.conversation, Trigger::Opened);
    while keeper.desk.script.times_asked("receive") == 0 {
        tokio::task::yield_now().await;
    }
    let other = keeper.open_one(two.conversation, Trigger::Opened);
    assert_eq!(opening.finish().await, Opening::Stopped);
    held.send(()).unwrap();
    let receipt = receipt_of(other.finish().await);
    // It was live until the first opening began; whatever is left of that, the second one is ready now.
    assert!(receipt.is_none_or(|receipt| told(&receipt) == ALL_FIVE));
    let (next, _) = keeper.go_on(two.conversation, "three").await;
    assert_eq!(told(&next.receipt), "Live -");
}

#[tokio::test]
async fn a_replay_that_was_asked_for_reads_the_text_whatever_is_there_and_keeps_its_state() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let receipt = receipt_of(keeper.opened(id, Trigger::Replay).await).unwrap();
    assert_eq!(told(&receipt), "Replayed asked");
    assert_eq!(receipt.tokens_reused, 0, "not even what was live");
    let keeper = keeper.restart().await;
    let again = receipt_of(keeper.opened(id, Trigger::Composing).await).unwrap();
    assert_eq!(told(&again), ALL_FIVE);
}

#[tokio::test]
async fn what_is_chosen_for_a_conversation_holds_for_its_answers_and_openings() {
    let keeper = Keeper::new().await;
    let (first, saved) = keeper.begin("one").await;
    let id = first.conversation;
    assert!(saved.is_some());
    let library = keeper.desk.chat.library().clone();
    let choose = |always_replay| {
        let library = library.clone();
        async move {
            let choices = ConversationChoices { always_replay, ..ConversationChoices::default() };
            library.with(move |w| w.choose(id, choices)).await.unwrap();
        }
    };
    choose(true).await;
    drop(library);
    let keeper = keeper.restart().await;
    let receipt = receipt_of(keeper.opened(id, Trigger::Composing).await).unwrap();
    assert_eq!(told(&receipt), "Replayed always_replay");
    let (second, saved) = keeper.go_on(id, "two").await;
    assert_eq!(told(&second.receipt), "Live -", "what is live is no snapshot");
    assert!(saved.is_none());
    let keeper = keeper.restart().await;
    let (third, _) = keeper.go_on(id, "three").await;
    assert_eq!(told(&third.receipt), "Replayed always_replay");
    let mark = keeper.desk.chat.marks(vec![id], &keeper.model, &LoadOptions::default()).await.unwrap();
    assert!(mark[0].instant, "it is live");
}

#[tokio::test]
async fn there_may_be_nothing_to_be_ready_for() {
    let keeper = Keeper::new().await;
    for says in ["", " \n"] {
        keeper.desk.script.on_answer(vec![Act::Say(says.to_owned())]);
        let (first, _) = keeper.begin("one").await;
        let opening = keeper.opened(first.conversation, Trigger::Opened).await;
        assert_eq!(opening, Opening::NotYet(NotYet::Nothing));
    }
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    keeper.desk.chat.trash(vec![id], first_moment()).await.unwrap();
    assert_eq!(keeper.opened(id, Trigger::Opened).await, Opening::NotYet(NotYet::Nothing));
    let unknown = ConversationId::new(first_moment(), 5);
    let failed = keeper.open_one(unknown, Trigger::Opened);
    assert!(failed.opening.await.unwrap().is_err());
}

#[tokio::test]
async fn a_model_that_is_loaded_otherwise_is_not_loaded_anew_for_a_look() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let mut request = keeper.open_request(id, Trigger::Opened);
    request.load.n_ctx = Some(2048);
    assert_eq!(keeper.open_by(request).finish().await, Opening::NotYet(NotYet::OtherModel));
    let mut request = keeper.open_request(id, Trigger::Opened);
    request.model = Path::new("/models/another.gguf").to_owned();
    assert_eq!(keeper.open_by(request).finish().await, Opening::NotYet(NotYet::OtherModel));
    std::fs::write(&keeper.model, b"GGUF of another script").unwrap();
    let opening = keeper.opened(id, Trigger::Opened).await;
    assert_eq!(opening, Opening::NotYet(NotYet::OtherModel), "the file was replaced");
    assert_eq!(keeper.desk.script.times_asked("load"), 1);
}

#[tokio::test]
async fn a_state_that_takes_the_engine_with_it_is_put_away_and_the_text_read() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let keeper = keeper.restart().await;
    keeper.desk.script.on_restore(OnRestore::Die);
    let receipt = receipt_of(keeper.opened(first.conversation, Trigger::Composing).await).unwrap();
    assert_eq!(told(&receipt), "Replayed engine_died");
    let states = list_snapshots(&keeper.dir()).unwrap().0;
    assert!(states.iter().any(|info| matches!(info.state, SnapshotState::Quarantined { .. })), "{states:?}");
    assert_eq!(keeper.desk.script.spawned(), 2);
}

#[tokio::test]
async fn a_state_that_proves_nothing_is_told_with_its_reason() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let keeper = keeper.restart().await;
    keeper.desk.script.on_restore(OnRestore::Forget);
    let receipt = receipt_of(keeper.opened(first.conversation, Trigger::Composing).await).unwrap();
    assert_eq!(told(&receipt), "Replayed challenge integrity identity tokens restore challenge!");
}

#[tokio::test]
async fn the_branch_that_is_shown_is_the_one_that_is_made_ready() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let id = first.conversation;
    let (second, _) = keeper.go_on(id, &"a long second message ".repeat(30)).await;
    keeper.desk.chat.jump_to(first.node).await.unwrap();
    match keeper.opened(id, Trigger::Opened).await {
        Opening::Ready { node, .. } => assert_eq!(node, first.node),
        other => panic!("{other:?}"),
    }
    let (branch, _) = keeper.go_on(id, "another second").await;
    assert_ne!(branch.node, second.node);
    assert!(branch.receipt.tokens_reused >= first.receipt.tokens_total, "{:?}", branch.receipt);
    assert!(branch.receipt.tokens_decoded < 40, "{:?}", branch.receipt);
}

#[tokio::test]
async fn a_state_that_is_kept_is_told() {
    let keeper = Keeper::new().await;
    let mut kept = keeper.desk.chat.states_kept();
    let (first, saved) = keeper.begin("one").await;
    assert!(saved.is_some());
    let told = kept.recv().await.unwrap();
    assert_eq!((told.conversation, told.node), (first.conversation, first.node));
}

/// Their messages have no tokens until they are answered here.
#[tokio::test]
async fn a_conversation_from_elsewhere_is_fresh_once_and_replayed_later() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let text = keeper.desk.path(first.conversation).remove(0).text.repeat(4);
    let id = ConversationId::new(first_moment(), 9);
    let model = keeper.model.display().to_string();
    let (asked, answered) = (NodeId::new(first_moment(), 10), NodeId::new(first_moment(), 11));
    let library = keeper.desk.chat.library().clone();
    library
        .with(move |w| {
            let title = "Elsewhere".to_owned();
            let model = Some(reprise_store::ModelRef { path: model, name: "model".to_owned() });
            let title_source = reprise_store::TitleSource::Custom;
            w.create_conversation(&reprise_store::NewConversation {
                id,
                title,
                title_source,
                model,
                seed: 1,
            })?;
            let said = |id_, parent, role, text| reprise_store::NewMessage {
                id: id_,
                conversation: id,
                parent,
                role,
                text,
            };
            w.append_message(&said(asked, None, reprise_store::Role::User, text))?;
            let answer = said(answered, Some(asked), reprise_store::Role::Assistant, "ok".to_owned());
            w.append_message(&answer).map(drop)
        })
        .await
        .unwrap();
    drop(library);
    let read = receipt_of(keeper.opened(id, Trigger::Opened).await).unwrap();
    assert_eq!(told(&read), "Fresh -");
    let keeper = keeper.restart().await;
    keeper.desk.script.on_restore(OnRestore::Forget);
    let read = receipt_of(keeper.opened(id, Trigger::Composing).await).unwrap();
    assert_eq!(told(&read), "Replayed challenge integrity identity tokens restore challenge!");
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    let keeper = keeper.restart().await;
    keeper.desk.chat.snapshots().unwrap().clear().await.unwrap();
    let read = receipt_of(keeper.opened(id, Trigger::Composing).await).unwrap();
    assert_eq!(told(&read), "Replayed no_snapshot");
}
