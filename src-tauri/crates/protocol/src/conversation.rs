use serde::{Deserialize, Serialize};

use crate::{Receipt, Resumed, Timing};

/// A conversation as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ConversationRow {
    /// Its id.
    pub id: String,
    /// Its title; may be empty.
    pub title: String,
    /// When it last changed, in milliseconds since 1970.
    pub updated: f64,
    /// Messages in all branches, system prompts not counted.
    pub messages: u32,
    /// Name of the model it was last used with.
    pub model: Option<String>,
}

/// Part of the list of conversations, the one that changed last first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ConversationPage {
    /// The rows from `offset` on.
    pub rows: Vec<ConversationRow>,
    /// Where in the whole list they begin.
    pub offset: u32,
    /// Rows in the whole list.
    pub total: u32,
}

/// An opened conversation: the branch that is shown, from its first message to its last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ConversationView {
    /// Its id.
    pub id: String,
    /// Its title; may be empty.
    pub title: String,
    /// The model it was last used with, as a name for people.
    pub model: Option<String>,
    /// Its system prompt, where it has one.
    pub system: Option<String>,
    /// The branch that is shown, without the system prompt.
    pub messages: Vec<MessageView>,
    /// What was typed and not sent.
    pub draft: String,
    /// What the person chose for this conversation.
    pub choices: Choices,
    /// Places that the person gave a name, in all branches, the first one first.
    pub checkpoints: Vec<Checkpoint>,
}

/// What the person chose for one conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Choices {
    /// Its text is read each time: no state is restored or kept.
    pub always_replay: bool,
    /// It is computed on the processor, whatever else there is.
    pub always_cpu: bool,
}

/// A message that the person gave a name, to come back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Checkpoint {
    /// The message.
    pub message: String,
    /// Its name.
    pub name: String,
    /// When it was named, in milliseconds since 1970.
    pub created: f64,
    /// Whether a snapshot that reaches it is kept and pinned.
    pub pinned: bool,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// How far a message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It is whole.
    Complete,
    /// It is being written.
    Streaming,
    /// The person stopped it.
    Stopped,
    /// The engine or the app ended before it was whole.
    Interrupted,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model had finished.
    End,
    /// A limit of tokens, or the context's end, was reached.
    Length,
    /// The person stopped it.
    Cancelled,
    /// The engine failed.
    Failed,
}

/// What there is to say about how a message came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Notice {
    /// Stable `snake_case` word, as in [`crate::AppError`]; `None` where it was written before there were any.
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
}

/// A message of the branch that is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct MessageView {
    /// Its id.
    pub id: String,
    /// The message that it follows.
    pub parent: Option<String>,
    /// Who speaks.
    pub speaker: Speaker,
    /// What was said, in Markdown where the model speaks.
    pub text: String,
    /// How far it got.
    pub state: MessageState,
    /// Why an answer ended.
    pub stop: Option<StopReason>,
    /// How it came to be, where there is something to say.
    pub notice: Option<Notice>,
    /// Whether the disk gave back something else than what was written.
    pub damaged: bool,
    /// When it was begun, in milliseconds since 1970.
    pub created: f64,
    /// All versions beside this one and itself, oldest first: what `‹ 2/3 ›` steps through.
    pub versions: Vec<String>,
    /// How the conversation came into the KV cache for this answer.
    pub receipt: Option<Receipt>,
    /// How the conversation was made ready again when it was opened at this message, the last few times; the
    /// latest last.
    pub resumes: Vec<Resumed>,
    /// How many more there were before these.
    pub resumes_before: u32,
    /// What this answer took.
    pub timing: Option<Timing>,
    /// Name of the model that wrote it.
    pub model: Option<String>,
}

/// One place where a search found its words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SearchHit {
    /// The conversation.
    pub conversation: String,
    /// The message; `None` where the title matches.
    pub message: Option<String>,
    /// The conversation's title.
    pub title: String,
    /// The matching part of the text, in pieces.
    pub snippet: Vec<SnippetPart>,
}

/// A piece of a snippet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SnippetPart {
    /// Plain text.
    pub text: String,
    /// Whether it is what was searched for.
    pub hit: bool,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SearchResults {
    /// Best first.
    pub hits: Vec<SearchHit>,
    /// What it took.
    pub ms: f64,
}
