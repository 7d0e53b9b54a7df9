//! What a window shows of conversations: a part of the list, one branch, one message.

use reprise_store::{
    Conversation, ConversationId, History, ListPart, Message, NodeId, Role, SearchHit, StoreError,
};

use crate::Library;

/// Rows of the list, and places found, that are given at once at most: what is more no screen shows.
const MOST_ROWS: u32 = 500;

/// A message, and the versions beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The message.
    pub message: Message,
    /// All versions, itself included, oldest first.
    pub versions: Vec<NodeId>,
}

/// An opened conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The conversation.
    pub conversation: Conversation,
    /// Its system prompt.
    pub system: Option<String>,
    /// The branch that is shown, without the system prompt.
    pub messages: Vec<Shown>,
    /// What was typed and not sent.
    pub draft: String,
}

impl Library {
    /// A part of the list of conversations.
    pub async fn list_part(&self, offset: u32, limit: u32) -> Result<ListPart, StoreError> {
        self.with(move |w| w.list_part(offset, limit.min(MOST_ROWS))).await
    }

    /// Opens a conversation: reads, and changes nothing.
    pub async fn open_conversation(&self, id: ConversationId) -> Result<Opened, StoreError> {
        self.with(move |w| opened(w, id)).await
    }

    /// Shows the branch with this version of a message, to its newest end.
    pub async fn show_version(&self, message: NodeId) -> Result<Opened, StoreError> {
        self.with(move |w| {
            let conversation = w.message(message)?.conversation;
            let end = w.newest_end(message)?;
            w.set_active_leaf(conversation, Some(end))?;
            opened(w, conversation)
        })
        .await
    }

    /// One message with its versions.
    pub async fn shown(&self, message: NodeId) -> Result<Shown, StoreError> {
        self.with(move |w| {
            let one = [w.message(message)?];
            let versions = w.versions_along(&one)?.pop().unwrap_or_default();
            let [message] = one;
            Ok(Shown { message, versions })
        })
        .await
    }

    /// The best places that hold all the words.
    pub async fn search(&self, words: String, limit: u32) -> Result<Vec<SearchHit>, StoreError> {
        self.with(move |w| w.search(&words, limit.min(MOST_ROWS) as usize)).await
    }
}

fn opened(history: &History, id: ConversationId) -> Result<Opened, StoreError> {
    let conversation = history.conversation(id)?;
    let mut path = history.active_path(id)?;
    let begins_with_system = path.first().is_some_and(|first| first.role == Role::System);
    let system = begins_with_system.then(|| path.remove(0).text);
    let versions = history.versions_along(&path)?;
    let messages =
        path.into_iter().zip(versions).map(|(message, versions)| Shown { message, versions }).collect();
    Ok(Opened { system, messages, draft: history.draft(Some(id))?, conversation })
}
