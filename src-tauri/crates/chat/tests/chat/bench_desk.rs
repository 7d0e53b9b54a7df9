//! What every test here works at: a library in a temporary folder, a scripted engine, a counting world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reprise_chat::history::{ConversationId, DataDir, History, Message, NodeId, Timestamp};
use reprise_chat::{
    Ask, Chat, ChatError, Library, LoadOptions, SamplingOptions, TurnEvent, TurnOutcome, TurnRequest, World,
};
use reprise_engine::scripted::ScriptedEngine;
use reprise_engine::{EngineHandle, Limits};
use tokio::sync::{mpsc, watch};

/// Time that passes by one millisecond a look, and randomness that counts.
#[derive(Debug, Default)]
pub struct CountingWorld(AtomicU64);

impl World for CountingWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn random(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub struct Desk {
    pub script: ScriptedEngine,
    pub engine: EngineHandle,
    pub chat: Arc<Chat>,
    pub world: Arc<CountingWorld>,
    pub folder: tempfile::TempDir,
}

/// Silence is found out quickly here.
fn limits() -> Limits {
    Limits { ping_every: Duration::from_millis(20), ping: Duration::from_millis(200), ..Limits::default() }
}

impl Desk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(CountingWorld::default());
        let library = Library::open(&DataDir::create(folder.path()).unwrap(), "test", world.now()).unwrap();
        let script = ScriptedEngine::new();
        let engine = EngineHandle::start(script.clone(), limits());
        let chat = Arc::new(Chat::new(library, engine.clone(), world.clone()));
        Self { script, engine, chat, world, folder }
    }

    /// The same library with a new engine, as after a restart of the program.
    pub fn restart(self) -> Self {
        let Self { chat, world, folder, engine, .. } = self;
        drop((chat, engine));
        let dir = DataDir::create(folder.path()).unwrap();
        // The lock is free when the last clone of the library is gone.
        let library = Library::open(&dir, "test", world.now()).unwrap();
        let script = ScriptedEngine::new();
        let engine = EngineHandle::start(script.clone(), limits());
        let chat = Arc::new(Chat::new(library, engine.clone(), world.clone()));
        Self { script, engine, chat, world, folder }
    }

    pub fn reader(&self) -> History {
        History::open_reader(&DataDir::at(self.folder.path()).unwrap()).unwrap()
    }

    pub fn path(&self, conversation: ConversationId) -> Vec<Message> {
        self.reader().active_path(conversation).unwrap()
    }

    pub fn message(&self, node: NodeId) -> Message {
        self.reader().message(node).unwrap()
    }

    /// A turn with its events and the way to stop it.
    pub fn start(&self, request: TurnRequest) -> Running {
        let (events_tx, events) = mpsc::channel(64);
        let (cancel, cancelled) = watch::channel(false);
        let chat = Arc::clone(&self.chat);
        let turn = tokio::spawn(async move { chat.take_turn(request, events_tx, cancelled).await });
        Running { events, cancel, turn }
    }

    pub async fn turn(&self, request: TurnRequest) -> Result<TurnOutcome, ChatError> {
        self.start(request).finish().await
    }

    pub async fn begin(&self, text: &str) -> TurnOutcome {
        self.turn(ask(Ask::Begin { text: text.to_owned(), system: None })).await.unwrap()
    }

    pub async fn go_on(&self, conversation: ConversationId, text: &str) -> TurnOutcome {
        self.turn(further(conversation, text)).await.unwrap()
    }
}

pub struct Running {
    pub events: mpsc::Receiver<TurnEvent>,
    pub cancel: watch::Sender<bool>,
    turn: tokio::task::JoinHandle<Result<TurnOutcome, ChatError>>,
}

impl Running {
    /// Reads events up to the first that fits.
    pub async fn until(&mut self, fits: impl Fn(&TurnEvent) -> bool) -> TurnEvent {
        loop {
            let event = self.events.recv().await.expect("the turn ended before that");
            if fits(&event) {
                return event;
            }
        }
    }

    pub async fn finish(mut self) -> Result<TurnOutcome, ChatError> {
        while self.events.recv().await.is_some() {}
        self.turn.await.unwrap()
    }

    /// The result, and every event that was not read before.
    pub async fn finish_with_events(mut self) -> (Result<TurnOutcome, ChatError>, Vec<TurnEvent>) {
        let mut events = Vec::new();
        while let Some(event) = self.events.recv().await {
            events.push(event);
        }
        (self.turn.await.unwrap(), events)
    }
}

pub fn ask(ask: Ask) -> TurnRequest {
    TurnRequest {
        ask,
        model: "/models/script.gguf".into(),
        load: LoadOptions::default(),
        sampling: SamplingOptions::default(),
        max_tokens: None,
        stop: Vec::new(),
        snapshots: true,
    }
}

pub fn first(text: &str) -> TurnRequest {
    ask(Ask::Begin { text: text.to_owned(), system: None })
}

pub fn further(conversation: ConversationId, text: &str) -> TurnRequest {
    ask(Ask::Continue { conversation, parent: None, text: text.to_owned() })
}

pub fn texts(path: &[Message]) -> Vec<&str> {
    path.iter().map(|message| message.text.as_str()).collect()
}
