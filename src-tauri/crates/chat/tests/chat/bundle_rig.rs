//! Libraries that bundles come from and go to, and the ways to make a bundle wrong.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use reprise_chat::bundle::{self, ImportedBundle};
use reprise_chat::history::{ConversationId, DataDir, History, ListFilter, Message};
use reprise_chat::{Ask, Chat, Library, Snapshots, SystemWorld, World, list_snapshots};
use reprise_engine::scripted::{Act, ScriptedEngine};
use reprise_engine::{EngineHandle, Limits};
use reprise_store::{ContentHash, Conversation, StoreError, Timestamp};
use serde_json::Value;

use crate::archive::Entry;
use crate::bench_desk::{CountingWorld, Desk, ask};

/// The library that a bundle comes from.
pub struct Sender {
    pub desk: Desk,
    pub conversation: ConversationId,
}

/// A conversation with branches, an answer that was cut off, instructions, and a state.
pub async fn sender() -> Sender {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    fs::write(&model, b"GGUF of a script").unwrap();
    let world = Arc::new(CountingWorld::default());
    let library = Library::open(&DataDir::create(folder.path()).unwrap(), "test", world.now()).unwrap();
    let snapshots = Snapshots::open(&library, world.as_ref()).await.unwrap();
    let script = ScriptedEngine::new();
    let engine = EngineHandle::start(script.clone(), Limits::default());
    let chat = Chat::new(library, engine.clone(), world.clone()).with_snapshots(snapshots).saving_at_once();
    let desk = Desk { script, engine, chat: Arc::new(chat), world, folder };
    let request = |of| reprise_chat::TurnRequest { model: model.clone(), ..ask(of) };
    let text = format!("Zephyr, 你好. {}", "and so on ".repeat(40));
    let mut one = desk.turn(request(Ask::Begin { text, system: Some("Be kind.".to_owned()) })).await.unwrap();
    one.saving.done().await.unwrap();
    let conversation = one.conversation;
    desk.script.on_answer(vec![Act::Say("half an ans".to_owned()), Act::Die]);
    desk.turn(request(Ask::Regenerate { answer: one.node })).await.unwrap_err();
    desk.chat.library().show_branch(conversation, one.node).await.unwrap();
    let further = Ask::Continue { conversation, parent: None, text: "And then?".to_owned() };
    let mut two = desk.turn(request(further)).await.unwrap();
    two.saving.done().await.unwrap();
    desk.chat.library().rename(conversation, "A title of one's own".to_owned()).await.unwrap();
    Sender { desk, conversation }
}

impl Sender {
    pub fn dir(&self) -> DataDir {
        DataDir::at(self.desk.folder.path()).unwrap()
    }

    pub fn pack(&self) -> Vec<u8> {
        let to = self.desk.folder.path().join("packed.reprise");
        let done = bundle::export(&self.dir(), self.conversation, &to, true, true, self.desk.world.as_ref());
        let done = done.unwrap();
        assert!(done.state.is_some(), "{:?}", done.left_out);
        let bytes = fs::read(&to).unwrap();
        assert_eq!(done.bytes, bytes.len() as u64);
        bytes
    }

    pub fn text(&self) -> Text {
        text_of(&self.desk.reader(), self.conversation)
    }
}

/// Everything that a bundle has to bring of the text.
pub type Text = (Conversation, Vec<Message>);

pub fn text_of(history: &History, id: ConversationId) -> Text {
    let mut conversation = history.conversation(id).unwrap();
    // Where the file of a model lies says nothing on another machine.
    conversation.model =
        conversation.model.map(|model| reprise_store::ModelRef { path: String::new(), ..model });
    (conversation, history.messages(id).unwrap())
}

/// A library that bundles come to.
pub struct Receiver {
    pub folder: tempfile::TempDir,
    pub library: Library,
    pub snapshots: Snapshots,
    pub world: Arc<SystemWorld>,
}

impl Receiver {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(SystemWorld);
        let dir = DataDir::create(folder.path().join("data")).unwrap();
        let library = Library::open(&dir, "test", world.now()).unwrap();
        let snapshots = Snapshots::open(&library, world.as_ref()).await.unwrap();
        Self { folder, library, snapshots, world }
    }

    pub fn dir(&self) -> DataDir {
        DataDir::at(self.folder.path().join("data")).unwrap()
    }

    pub fn reader(&self) -> History {
        History::open_reader(&self.dir()).unwrap()
    }

    pub fn file(&self, bytes: &[u8]) -> PathBuf {
        let file = self.folder.path().join("arrived.reprise");
        fs::write(&file, bytes).unwrap();
        file
    }

    pub async fn import(&self, bytes: &[u8]) -> Result<ImportedBundle, StoreError> {
        self.import_file(self.file(bytes)).await
    }

    pub async fn import_file(&self, file: PathBuf) -> Result<ImportedBundle, StoreError> {
        // The scripted world of the sender is in the future; what is later than now is taken as now.
        bundle::import(&self.library, Some(Ok(self.snapshots.clone())), file, Arc::new(Tomorrow)).await
    }

    pub fn conversations(&self) -> usize {
        let count = |trashed| self.reader().list(ListFilter { trashed }).unwrap().len();
        count(false) + count(true)
    }

    /// What was changed was refused with all its text, and nothing of it is here.
    pub async fn refuses(&self, bytes: &[u8], codes: &[&str], what: &str) {
        let before = self.conversations();
        let error = self.import(bytes).await.expect_err(what);
        assert!(codes.contains(&error.code()), "{what}: {} {error}", error.code());
        assert_eq!(self.conversations(), before, "{what}");
        assert!(self.reader().integrity_check().unwrap().is_ok(), "{what}");
    }

    /// The text is here, whole, and the state is not; and then neither is.
    pub async fn takes_the_text_alone(&self, bytes: &[u8], text: &Text, code: &str, what: &str) {
        let done = self.import(bytes).await.expect(what);
        assert_eq!(done.state, None, "{what}");
        let refused = done.refused.expect(what);
        assert_eq!(refused.code, code, "{what}: {}", refused.message);
        assert_eq!(&text_of(&self.reader(), done.conversation), text, "{what}");
        assert_eq!(list_snapshots(&self.dir()).unwrap().0, [], "{what}");
        self.library.purge(done.conversation).await.unwrap();
    }
}

/// The system's randomness at a moment after everything that the scripted world says.
#[derive(Debug)]
pub struct Tomorrow;

impl World for Tomorrow {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_900_000_000_000)
    }

    fn random(&self) -> u128 {
        SystemWorld.random()
    }
}

/// Changes the description of the state, and puts length and hash right.
pub fn edit_state(parts: &mut [Entry], change: impl FnOnce(&mut Value)) {
    let mut state: Value = serde_json::from_slice(&parts[3].data).unwrap();
    change(&mut state);
    put(parts, 3, "state", &serde_json::to_vec(&state).unwrap());
}

pub fn edit_messages(parts: &mut [Entry], change: impl FnOnce(&mut Vec<Value>)) {
    let lines = String::from_utf8(parts[2].data.clone()).unwrap();
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    change(&mut lines);
    let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    let count = lines.len();
    put(parts, 2, "messages", text.as_bytes());
    edit_header(parts, |header| header["message_count"] = count.into());
}

pub fn edit_conversation(parts: &mut [Entry], change: impl FnOnce(&mut Value)) {
    let mut conversation: Value = serde_json::from_slice(&parts[1].data).unwrap();
    change(&mut conversation);
    put(parts, 1, "conversation", &serde_json::to_vec(&conversation).unwrap());
}

pub fn put(parts: &mut [Entry], at: usize, name: &str, bytes: &[u8]) {
    parts[at] = Entry::new(&parts[at].name(), bytes);
    let part = serde_json::json!({ "bytes": bytes.len(), "blake3": ContentHash::of(bytes) });
    edit_header(parts, |header| header[name] = part);
}

pub fn edit_header(parts: &mut [Entry], change: impl FnOnce(&mut Value)) {
    let mut header: Value = serde_json::from_slice(&parts[0].data).unwrap();
    change(&mut header);
    parts[0] = Entry::new(&parts[0].name(), &serde_json::to_vec(&header).unwrap());
}
