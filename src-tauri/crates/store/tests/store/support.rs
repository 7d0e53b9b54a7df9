//! A library in a folder of its own, with a clock that only moves when asked.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use reprise_store::{
    ConversationId, DataDir, FinishedAnswer, History, HistoryWriter, Holder, Message, MessageState,
    NewAnswer, NewConversation, NewMessage, NodeId, Role, StopReason, Timestamp, TitleSource, TokenSequence,
};
use tempfile::TempDir;

/// A temporary place; `path("x")` lies in it.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The data folder of this place, made on first use.
    pub fn data(&self) -> DataDir {
        DataDir::create(self.path("data")).unwrap()
    }

    pub fn writer(&self) -> HistoryWriter {
        History::open_writer(&self.data(), &me()).unwrap()
    }

    pub fn reader(&self) -> History {
        History::open_reader(&self.data()).unwrap()
    }
}

pub fn me() -> Holder {
    Holder::this_process("store tests", Timestamp::from_millis(1))
}

thread_local! {
    static CLOCK: Cell<u64> = const { Cell::new(1_000) };
}

/// Each call is one millisecond later.
pub fn tick() -> Timestamp {
    CLOCK.set(CLOCK.get() + 1);
    Timestamp::from_millis(CLOCK.get())
}

/// For a process that goes on where another stopped.
pub fn set_clock(ms: u64) {
    CLOCK.set(ms);
}

pub fn begin(writer: &mut HistoryWriter, title: &str) -> ConversationId {
    let new = NewConversation {
        id: ConversationId::new(tick(), 42),
        title: title.to_owned(),
        title_source: TitleSource::Derived,
        model: None,
        seed: 7,
    };
    writer.create_conversation(&new).unwrap().id
}

pub fn new_message(
    conversation: ConversationId,
    parent: Option<NodeId>,
    role: Role,
    text: &str,
) -> NewMessage {
    NewMessage { id: NodeId::new(tick(), 42), conversation, parent, role, text: text.to_owned() }
}

pub fn say(
    writer: &mut HistoryWriter,
    conversation: ConversationId,
    parent: Option<NodeId>,
    text: &str,
) -> NodeId {
    let new = new_message(conversation, parent, Role::User, text);
    writer.append_message(&new).unwrap().id
}

pub fn begin_answer(writer: &mut HistoryWriter, parent: NodeId) -> NodeId {
    let new = NewAnswer { id: NodeId::new(tick(), 42), parent, model_name: Some("tiny".to_owned()) };
    writer.begin_answer(&new).unwrap().id
}

pub fn answer(writer: &mut HistoryWriter, parent: NodeId, text: &str) -> NodeId {
    let node = begin_answer(writer, parent);
    writer.finish_answer(node, &finished(text)).unwrap().id
}

pub fn finished(text: &str) -> FinishedAnswer {
    FinishedAnswer {
        text: text.to_owned(),
        tokens: Some(tokens(text)),
        state: MessageState::Complete,
        stop: Some(StopReason::End),
        stats: None,
        receipt: None,
        notice: None,
        finished: tick(),
    }
}

/// Some token ids that depend on the text.
pub fn tokens(text: &str) -> TokenSequence {
    TokenSequence {
        identity: "tokenizer and template".to_owned(),
        ids: text.chars().map(u32::from).collect(),
    }
}

pub fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}
