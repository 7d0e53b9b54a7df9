//! From the cache of states or from the text: what is chosen, what is said of it, what becomes of a
//! snapshot that failed. The engine is a script; that real states prove themselves is tested elsewhere.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use reprise_chat::engine::{FlashAttention, KvType, StopReason};
use reprise_chat::history::{ConversationId, DataDir, MessageState, SnapshotState, StoreError};
use reprise_chat::{
    Ask, Chat, Library, NotSaved, Receipt, ResumePath, SavedState, Snapshots, TurnEvent, TurnOutcome,
    TurnRequest, World, list_snapshots, verify_snapshots,
};
use reprise_engine::scripted::{Act, OnRestore, ScriptedEngine};
use reprise_engine::{EngineHandle, Limits};

use crate::bench_desk::{CountingWorld, Desk, ask, first, further};

/// Long enough to be worth a snapshot.
fn long(text: &str) -> String {
    format!("{text} {}", "and so on ".repeat(40))
}

/// A desk whose chat keeps states, and whose model is a file.
pub struct Keeper {
    pub desk: Desk,
    pub model: PathBuf,
}

impl Keeper {
    pub async fn new() -> Self {
        let desk = Desk::new();
        let model = desk.folder.path().join("model.gguf");
        fs::write(&model, b"GGUF of a script").unwrap();
        Self { desk, model }.restart().await
    }

    /// A new engine and a new program over the same data.
    pub async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same, with something done to the data folder while nobody has it open.
    pub async fn restart_after(self, meanwhile: impl FnOnce(&std::path::Path)) -> Self {
        let Self { desk, model } = self;
        let Desk { chat, engine, world, folder, .. } = desk;
        chat.finish_saving().await;
        engine.shutdown().await;
        drop((chat, engine));
        meanwhile(folder.path());
        let (script, engine, chat) = Self::open(folder.path(), &world).await;
        Self { desk: Desk { script, engine, chat, world, folder }, model }
    }

    async fn open(
        folder: &std::path::Path,
        world: &Arc<CountingWorld>,
    ) -> (ScriptedEngine, EngineHandle, Arc<Chat>) {
        let library = Library::open(&DataDir::create(folder).unwrap(), "test", world.now()).unwrap();
        let snapshots = Snapshots::open(&library, world.as_ref()).await.unwrap();
        let script = ScriptedEngine::new();
        let engine = EngineHandle::start(script.clone(), Limits::default());
        let chat =
            Chat::new(library, engine.clone(), world.clone()).with_snapshots(snapshots).saving_at_once();
        (script, engine, Arc::new(chat))
    }

    pub fn request(&self, of: Ask) -> TurnRequest {
        TurnRequest { model: self.model.clone(), ..ask(of) }
    }

    pub async fn turn(&self, request: TurnRequest) -> (TurnOutcome, Option<SavedState>) {
        let mut outcome = self.desk.turn(request).await.unwrap();
        let saved = outcome.saving.done().await.ok();
        (outcome, saved)
    }

    pub async fn begin(&self, text: &str) -> (TurnOutcome, Option<SavedState>) {
        self.turn(self.request(Ask::Begin { text: long(text), system: None })).await
    }

    /// The conversation, and what becomes of its state.
    pub async fn begin_without_waiting(
        &self,
        text: &str,
    ) -> (ConversationId, impl Future<Output = Result<SavedState, NotSaved>>) {
        let mut outcome =
            self.desk.turn(self.request(Ask::Begin { text: long(text), system: None })).await.unwrap();
        (outcome.conversation, async move { outcome.saving.done().await })
    }

    pub async fn go_on(&self, conversation: ConversationId, text: &str) -> (TurnOutcome, Option<SavedState>) {
        self.turn(self.request(Ask::Continue { conversation, parent: None, text: text.to_owned() })).await
    }

    pub fn dir(&self) -> DataDir {
        DataDir::at(self.desk.folder.path()).unwrap()
    }
}

/// Path, reason and the checks, those that failed with a mark.
pub fn told(receipt: &Receipt) -> String {
    let checks: Vec<String> = receipt
        .checks
        .iter()
        .map(|check| format!("{}{}", check.name, if check.ok { "" } else { "!" }))
        .collect();
    let reason = receipt.reason.as_ref().map_or("-", |reason| reason.code.as_str());
    format!("{:?} {reason} {}", receipt.path, checks.join(" ")).trim_end().to_owned()
}

pub const ALL_FIVE: &str = "Restored - integrity identity tokens restore challenge";

#[tokio::test]
async fn a_conversation_resumes_from_its_state_after_a_restart() {
    let keeper = Keeper::new().await;
    let (first, saved) = keeper.begin("one").await;
    assert_eq!(told(&first.receipt), "Fresh -");
    let saved = saved.unwrap();
    assert!(saved.bytes_written >= saved.new_kv_bytes && saved.new_kv_bytes > 0, "{saved:?}");

    let keeper = keeper.restart().await;
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), ALL_FIVE);
    // All that was live when it was saved: the first prompt and its answer.
    assert_eq!(second.receipt.tokens_reused, first.receipt.tokens_total + 2);
    assert!(second.receipt.bytes_read > 0);
    assert!(saved.unwrap().bytes_written < second.receipt.bytes_read, "only what is new is written");
    // The second snapshot contains the first.
    assert_eq!(list_snapshots(&keeper.dir()).unwrap().0.len(), 1);

    let (third, _) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(told(&third.receipt), "Live -");
    let report = verify_snapshots(&keeper.dir()).unwrap();
    assert!(report.is_ok() && report.checked == 1, "{report:?}");
}

#[tokio::test]
async fn the_state_is_read_while_the_model_is_loaded_and_only_the_one_that_is_used() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let detail = |receipt: &Receipt| receipt.checks.first().map(|check| check.detail.clone());
    let keeper = keeper.restart().await;
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), ALL_FIVE);
    let early = |receipt: &Receipt| detail(receipt).unwrap().ends_with("read while the model was loaded");
    assert!(early(&second.receipt), "{:?}", second.receipt);
    let (other, _) = keeper.begin("other").await;
    assert_eq!(told(&other.receipt), "Fresh -");
    let (third, _) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(told(&third.receipt), ALL_FIVE);
    assert!(!early(&third.receipt), "the model was loaded already");

    // A branch from the first answer, which the latest state contains.
    let keeper = keeper.restart().await;
    let branch = Ask::Continue {
        conversation: first.conversation,
        parent: Some(first.node),
        text: "another way".to_owned(),
    };
    let (branch, _) = keeper.turn(keeper.request(branch)).await;
    assert_eq!(told(&branch.receipt), ALL_FIVE);
    assert!(early(&branch.receipt));
    assert!(branch.receipt.tokens_reused >= first.receipt.tokens_total + 2, "{:?}", branch.receipt);
}

#[tokio::test]
async fn an_engine_that_dies_at_any_step_of_restoring_or_keeping_costs_no_words() {
    let mut seen = Vec::new();
    for request in ["prepare", "receive", "restore", "accept", "export", "hash", "ship", "release"] {
        let keeper = Keeper::new().await;
        let (first, _) = keeper.begin("one").await;
        let keeper = keeper.restart().await;
        keeper.desk.script.die_at(request);
        let (second, saved) = keeper.go_on(first.conversation, "two").await;
        assert_eq!(keeper.desk.script.deaths_left(), 0, "{request} was asked for");
        let (third, _) = keeper.go_on(first.conversation, "three").await;
        let path = keeper.desk.path(first.conversation);
        assert!(path.len() == 6 && path.iter().all(|message| message.state == MessageState::Complete));
        assert!(verify_snapshots(&keeper.dir()).unwrap().is_ok());
        let kept = if saved.is_some() { "kept" } else { "not kept" };
        seen.push(format!("{request}: {}, {kept}; {}", told(&second.receipt), told(&third.receipt)));
    }
    insta::assert_snapshot!(seen.join("\n"), @"
    prepare: Restored - integrity identity tokens restore challenge, kept; Live -
    receive: Restored - integrity identity tokens restore challenge, kept; Live -
    restore: Replayed engine_died, kept; Live -
    accept: Replayed engine_died, kept; Live -
    export: Restored - integrity identity tokens restore challenge, not kept; Restored - integrity identity tokens restore challenge
    hash: Restored - integrity identity tokens restore challenge, not kept; Restored - integrity identity tokens restore challenge
    ship: Restored - integrity identity tokens restore challenge, not kept; Restored - integrity identity tokens restore challenge
    release: Restored - integrity identity tokens restore challenge, kept; Restored - integrity identity tokens restore challenge
    ");
}

#[tokio::test]
async fn a_model_file_that_is_replaced_is_loaded_anew_and_its_states_are_not_mistaken_for_the_other_s() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    assert!(first.timing.load_ms.is_some());
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    assert_eq!((told(&second.receipt).as_str(), second.timing.load_ms), ("Live -", None));
    fs::write(&keeper.model, b"GGUF of another script").unwrap();
    let (third, saved) = keeper.go_on(first.conversation, "three").await;
    assert!(third.timing.load_ms.is_some(), "another file is another model");
    assert_eq!(told(&third.receipt), "Replayed identity");
    assert!(saved.is_some());
    // A file that is gone takes nothing away but what only it could prove.
    fs::remove_file(&keeper.model).unwrap();
    let (fourth, saved) = keeper.go_on(first.conversation, "four").await;
    assert_eq!((fourth.timing.load_ms, saved), (None, None));
    assert!(matches!(fourth.receipt.path, ResumePath::Live), "{:?}", fourth.receipt);
}

#[tokio::test]
async fn a_conversation_that_is_erased_while_its_state_is_kept_leaves_none() {
    let keeper = Keeper::new().await;
    let (other, _) = keeper.begin("other").await;
    let go_on = keeper.desk.script.hold_at("ship");
    let mut first =
        keeper.desk.turn(keeper.request(Ask::Begin { text: long("one"), system: None })).await.unwrap();
    let chat = &keeper.desk.chat;
    let snapshots = chat.snapshots().unwrap().clone();
    let purged = reprise_chat::purge(chat.library(), Ok(snapshots), first.conversation).await.unwrap();
    assert_eq!((purged.messages, purged.snapshots.unwrap()), (2, 0), "nothing is on the disk yet");
    go_on.send(()).unwrap();
    assert_eq!(first.saving.done().await.unwrap_err().code, "overtaken");
    let (listed, _) = list_snapshots(&keeper.dir()).unwrap();
    let of: Vec<ConversationId> = listed.iter().map(|snapshot| snapshot.conversation).collect();
    assert_eq!(of, [other.conversation]);
    let purged = chat.purge(other.conversation).await.unwrap();
    assert_eq!((purged.messages, purged.snapshots.unwrap()), (2, 1));
    assert_eq!(list_snapshots(&keeper.dir()).unwrap().0, []);
}

#[tokio::test]
async fn a_conversation_that_is_being_answered_can_be_erased() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    keeper.desk.script.on_answer(vec![Act::Babble]);
    let more = Ask::Continue { conversation: first.conversation, parent: None, text: "and then?".to_owned() };
    let mut running = keeper.desk.start(keeper.request(more));
    running.until(|event| matches!(event, TurnEvent::Text { .. })).await;
    let chat = Arc::clone(&keeper.desk.chat);
    let purging = tokio::spawn(async move { chat.purge(first.conversation).await });
    let stopped = running.finish().await.unwrap();
    assert_eq!(stopped.stop, StopReason::Cancelled);
    let purged = purging.await.unwrap().unwrap();
    assert_eq!(purged.messages, 4);
    keeper.desk.chat.finish_saving().await;
    assert_eq!(list_snapshots(&keeper.dir()).unwrap().0, []);
    let reader = keeper.desk.reader();
    assert!(matches!(reader.conversation(first.conversation), Err(StoreError::NotFound { .. })));
    let asked = keeper.desk.script.specs().pop().unwrap();
    assert_eq!(keeper.desk.engine.prepare(asked).await.unwrap().live_total, 0, "nothing of it is live");
}

#[tokio::test]
async fn snapshots_that_cannot_be_opened_are_said_once_and_the_chat_goes_on() {
    let desk = Desk::new();
    let Desk { chat, engine, world, folder, .. } = desk;
    let library = chat.library().clone();
    drop(chat);
    let why = StoreError::Snapshots { detail: "no luck".to_owned(), damaged: false };
    let chat = Arc::new(Chat::new(library, engine.clone(), world.clone()).without_snapshots(&why));
    let mut news = chat.not_saved();
    let desk = Desk { script: ScriptedEngine::new(), engine, chat, world, folder };
    let mut first = desk.turn(first("one")).await.unwrap();
    assert_eq!(first.saving.done().await.unwrap_err().code, "snapshots_unusable");
    desk.begin("other").await;
    let second = desk.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), "Replayed snapshots_unusable");
    let said = news.try_recv().unwrap();
    assert!(said.message.contains("no luck"), "{said:?}");
    assert!(news.try_recv().is_err(), "once");
    // Not wished: nothing to say.
    let quiet = TurnRequest { snapshots: false, ..further(first.conversation, "three") };
    desk.begin("another").await;
    assert_eq!(told(&desk.turn(quiet).await.unwrap().receipt), "Replayed disabled");
}

#[tokio::test]
async fn a_state_whose_conversation_is_gone_goes_too() {
    let keeper = Keeper::new().await;
    let (gone, _) = keeper.begin("gone").await;
    let (stays, _) = keeper.begin("stays").await;
    let id = gone.conversation;
    // As when the program dies between erasing the text and erasing the state.
    keeper.desk.chat.library().with(move |w| w.purge(id).map(drop)).await.unwrap();
    assert_eq!(list_snapshots(&keeper.dir()).unwrap().0.len(), 2);
    let keeper = keeper.restart().await;
    let (left, _) = list_snapshots(&keeper.dir()).unwrap();
    assert_eq!(left.iter().map(|left| left.conversation).collect::<Vec<_>>(), [stays.conversation]);
}

#[tokio::test]
async fn hopping_between_conversations_restores_each() {
    let keeper = Keeper::new().await;
    let (a, _) = keeper.begin("alpha").await;
    let (b, _) = keeper.begin("beta").await;
    for _ in 0..2 {
        for conversation in [a.conversation, b.conversation] {
            let (turn, _) = keeper.go_on(conversation, "next").await;
            assert_eq!(told(&turn.receipt), ALL_FIVE);
        }
    }
}

#[tokio::test]
async fn another_branch_restores_what_it_shares() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let (second, _) = keeper.go_on(first.conversation, &long("two")).await;
    let keeper = keeper.restart().await;
    let ask = Ask::Continue {
        conversation: first.conversation,
        parent: Some(first.node),
        text: long("something else"),
    };
    let (branch, _) = keeper.turn(keeper.request(ask)).await;
    assert_eq!(told(&branch.receipt), ALL_FIVE);
    assert!(branch.receipt.tokens_reused >= first.receipt.tokens_total);
    assert!(branch.receipt.tokens_reused < second.receipt.tokens_total);
    assert_eq!(list_snapshots(&keeper.dir()).unwrap().0.len(), 2, "one for each branch");
}

#[tokio::test]
async fn a_state_that_the_computation_does_not_see_is_never_used() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let keeper = keeper.restart().await;
    keeper.desk.script.on_restore(OnRestore::Forget);
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    let receipt = &second.receipt;
    assert_eq!(told(receipt), "Replayed challenge integrity identity tokens restore challenge!");
    assert_eq!((receipt.tokens_reused, receipt.tokens_decoded), (0, receipt.tokens_total));

    // It stays put away; the state that the replay gave is used.
    let keeper = keeper.restart().await;
    let (snapshots, _) = list_snapshots(&keeper.dir()).unwrap();
    let states: Vec<bool> = snapshots.iter().map(|snapshot| snapshot.state == SnapshotState::Ready).collect();
    assert_eq!(states.iter().filter(|ready| **ready).count(), 1, "{snapshots:?}");
    let (third, _) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(told(&third.receipt), ALL_FIVE);
}

#[tokio::test]
async fn a_state_that_the_engine_refuses_or_dies_of_is_put_away() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let keeper = keeper.restart().await;
    keeper.desk.script.on_restore(OnRestore::Refuse("no".to_owned()));
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), "Replayed restore integrity identity tokens restore!");

    let keeper = keeper.restart().await;
    keeper.desk.script.on_restore(OnRestore::Die);
    let (third, _) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(third.receipt.path, ResumePath::Replayed);
    assert_eq!(third.receipt.reason.unwrap().code, "engine_died");
    assert_eq!(keeper.desk.script.spawned(), 2);
    assert_eq!(keeper.desk.path(first.conversation).len(), 6);
}

#[tokio::test]
async fn another_model_or_setting_keeps_the_snapshot_for_later() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let keeper = keeper.restart().await;
    let with = |change: fn(&mut TurnRequest), text: &str| {
        let conversation = first.conversation;
        let mut request =
            keeper.request(Ask::Continue { conversation, parent: Some(first.node), text: long(text) });
        change(&mut request);
        request
    };
    let (q8, _) = keeper.turn(with(|request| request.load.kv_type = KvType::Q8_0, "two")).await;
    let reason = q8.receipt.reason.clone().unwrap();
    assert_eq!((q8.receipt.path, reason.code.as_str()), (ResumePath::Replayed, "identity"));
    assert!(reason.message.contains("KV cache"), "{}", reason.message);
    let (other, _) =
        keeper.turn(with(|request| request.load.flash_attention = FlashAttention::Off, "three")).await;
    assert_eq!(other.receipt.reason.unwrap().code, "identity");
    // As it was: the first state is of use again.
    let (same, _) = keeper.turn(with(|_| {}, "four")).await;
    assert_eq!(told(&same.receipt), ALL_FIVE);

    let model = keeper.model.clone();
    let keeper = keeper.restart_after(|_| fs::write(model, b"GGUF of a Script").unwrap()).await;
    let (changed, _) = keeper.go_on(first.conversation, "five").await;
    let reason = changed.receipt.reason.unwrap();
    assert_eq!((reason.code.as_str(), reason.message.contains("model file")), ("identity", true));
}

#[tokio::test]
async fn a_cache_that_is_gone_costs_time_and_no_words() {
    type Damage = fn(&std::path::Path);
    let damage: [(&str, Damage); 4] = [
        ("deleted", |file| fs::remove_file(file).unwrap()),
        ("empty", |file| fs::write(file, b"").unwrap()),
        ("text", |file| fs::write(file, "this is no database\n".repeat(9999)).unwrap()),
        ("cut", |file| {
            let half = fs::metadata(file).unwrap().len() / 2;
            fs::File::options().write(true).open(file).unwrap().set_len(half).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let keeper = Keeper::new().await;
        let (first, _) = keeper.begin("one").await;
        let keeper = keeper
            .restart_after(|folder| {
                damage(&folder.join("snapshots.db"));
            })
            .await;
        let (second, saved) = keeper.go_on(first.conversation, "two").await;
        assert_eq!(second.receipt.path, ResumePath::Replayed, "{what}");
        let code = second.receipt.reason.unwrap().code;
        assert!(["no_snapshot", "integrity"].contains(&code.as_str()), "{what}: {code}");
        assert!(saved.is_some(), "{what}: the cache works again");
        assert_eq!(keeper.desk.path(first.conversation).len(), 4, "{what}");
    }
}

#[tokio::test]
async fn without_the_key_nothing_passes_for_whole() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let keeper = keeper.restart_after(|folder| fs::remove_file(folder.join("snapshots.key")).unwrap()).await;
    let (second, saved) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), "Replayed integrity integrity!");
    assert!(saved.is_some());
}

#[tokio::test]
async fn short_conversations_and_those_that_want_none_are_read() {
    let keeper = Keeper::new().await;
    let ask = Ask::Begin { text: "short".to_owned(), system: None };
    let (first, _) = keeper.turn(keeper.request(ask)).await;
    let keeper = keeper.restart().await;
    let (second, _) = keeper.go_on(first.conversation, "two").await;
    assert_eq!(told(&second.receipt), "Replayed too_short");

    let (long, _) = keeper.begin("one").await;
    let keeper = keeper.restart().await;
    let ask = Ask::Continue { conversation: long.conversation, parent: None, text: "two".to_owned() };
    let (off, saved) = keeper.turn(TurnRequest { snapshots: false, ..keeper.request(ask) }).await;
    assert_eq!((told(&off.receipt).as_str(), saved), ("Replayed disabled", None));
}

#[tokio::test]
async fn an_answer_that_failed_leaves_no_state_and_the_next_one_does() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    keeper.desk.script.on_answer(vec![Act::Say("partly".to_owned()), Act::Die]);
    let ask = Ask::Continue { conversation: first.conversation, parent: None, text: "two".to_owned() };
    keeper.desk.turn(keeper.request(ask)).await.unwrap_err();
    let (before, _) = list_snapshots(&keeper.dir()).unwrap();
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].node, first.node);
    let (third, saved) = keeper.go_on(first.conversation, "three").await;
    assert_eq!(told(&third.receipt), ALL_FIVE);
    assert!(saved.is_some());
}

#[tokio::test]
async fn a_purged_conversation_leaves_no_state() {
    let keeper = Keeper::new().await;
    let (first, _) = keeper.begin("one").await;
    let snapshots = keeper.desk.chat.snapshots().unwrap();
    assert_eq!(snapshots.drop_conversation(first.conversation).await.unwrap().snapshots, 1);
    assert!(list_snapshots(&keeper.dir()).unwrap().0.is_empty());
}
