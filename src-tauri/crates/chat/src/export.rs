//! Conversations on their way out: one JSON document, or Markdown to read.

use std::fmt::Write as _;

use reprise_store::{Conversation, History, Message, MessageState, Role, StoreError};
use serde::Serialize;

/// Version of the JSON document.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    conversation: String,
    title: &'a str,
    created: u64,
    updated: u64,
    seed: u64,
    model: Option<&'a str>,
    active_leaf: Option<String>,
    messages: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: String,
    parent: Option<String>,
    role: &'static str,
    text: &'a str,
    state: &'static str,
    created: u64,
    model: Option<&'a str>,
    damaged: bool,
}

/// The whole tree, every branch, as JSON.
pub fn json(history: &History, conversation: &Conversation) -> Result<String, StoreError> {
    let messages = history.messages(conversation.id)?;
    let document = Document {
        format: FORMAT,
        conversation: conversation.id.to_string(),
        title: &conversation.title,
        created: conversation.created.as_millis(),
        updated: conversation.updated.as_millis(),
        seed: conversation.seed,
        model: conversation.model.as_ref().map(|model| model.name.as_str()),
        active_leaf: conversation.active_leaf.map(|leaf| leaf.to_string()),
        messages: messages.iter().map(entry).collect(),
    };
    serde_json::to_string_pretty(&document).map_err(|error| StoreError::Storage { detail: error.to_string() })
}

fn entry(message: &Message) -> Entry<'_> {
    Entry {
        id: message.id.to_string(),
        parent: message.parent.map(|parent| parent.to_string()),
        role: message.role.as_str(),
        text: &message.text,
        state: message.state.as_str(),
        created: message.created.as_millis(),
        model: message.model_name.as_deref(),
        damaged: message.damaged,
    }
}

/// The branch that is shown, as Markdown. The text of messages stands as it is: it is Markdown already.
pub fn markdown(history: &History, conversation: &Conversation) -> Result<String, StoreError> {
    let mut out = format!("# {}\n", one_line(&conversation.title));
    for message in history.active_path(conversation.id)? {
        let who = match message.role {
            Role::System => "Instructions",
            Role::User => "You",
            Role::Assistant => message.model_name.as_deref().unwrap_or("Model"),
        };
        let mark = match message.state {
            MessageState::Interrupted => " (interrupted)",
            MessageState::Stopped => " (stopped)",
            MessageState::Complete | MessageState::Streaming => "",
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "\n## {}{mark}\n\n{}\n", one_line(who), message.text);
    }
    Ok(out)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
