//! What a window shows of conversations: a part of the list, one branch, one message.

use reprise_store::{
    Conversation, ConversationChoices, ConversationId, History, ListPart, Message, NodeId, Role, SearchHit,
    StoreError, Timestamp,
};
use serde_json::Value;

use crate::Library;

/// Rows of the list, and places found, that are given at once at most: what is more no screen shows.
pub(crate) const MOST_ROWS: u32 = 500;

/// A message, the versions beside it, and how the conversation was made ready at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The message.
    pub message: Message,
    /// All versions, itself included, oldest first.
    pub versions: Vec<NodeId>,
    /// When the conversation was made ready again at this message, and the receipt of it: the last few times, in
    /// the order in which they were kept.
    pub resumes: Vec<(Timestamp, Value)>,
    /// How many more there were before these.
    pub resumes_before: u32,
}

/// A message with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The message.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// When it was first named.
    pub created: Timestamp,
    /// Whether a state that leads back to it is kept and pinned. Only [`crate::Chat::view`] can tell.
    pub pinned: bool,
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
    /// What the person chose for it.
    pub choices: ConversationChoices,
    /// Its named messages, in all branches, the one that was named first first.
    pub checkpoints: Vec<Checkpoint>,
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
            let one = vec![w.message(message)?];
            shown(w, one)?
                .pop()
                .ok_or_else(|| StoreError::NotFound { noun: "message", id: message.to_string() })
        })
        .await
    }

    /// The best places that hold all the words.
    pub async fn search(&self, words: String, limit: u32) -> Result<Vec<SearchHit>, StoreError> {
        self.with(move |w| w.search(&words, limit.min(MOST_ROWS) as usize)).await
    }

    /// Chooses for one conversation. It holds from its next opening and its next answer on.
    pub async fn choose_for(
        &self,
        conversation: ConversationId,
        choices: ConversationChoices,
    ) -> Result<(), StoreError> {
        self.with(move |w| w.choose(conversation, choices)).await
    }
}

fn opened(history: &History, id: ConversationId) -> Result<Opened, StoreError> {
    let conversation = history.conversation(id)?;
    let mut path = history.active_path(id)?;
    let begins_with_system = path.first().is_some_and(|first| first.role == Role::System);
    let system = begins_with_system.then(|| path.remove(0).text);
    let named = history.checkpoints(id)?.into_iter();
    let checkpoints = named.map(|point| Checkpoint {
        node: point.node,
        name: point.name,
        created: point.created,
        pinned: false,
    });
    Ok(Opened {
        system,
        messages: shown(history, path)?,
        draft: history.draft(Some(id))?,
        choices: history.choices(id)?,
        checkpoints: checkpoints.collect(),
        conversation,
    })
}

fn shown(history: &History, path: Vec<Message>) -> Result<Vec<Shown>, StoreError> {
    let versions = history.versions_along(&path)?;
    let nodes: Vec<NodeId> = path.iter().map(|message| message.id).collect();
    let mut receipts = history.receipts_of(&nodes)?;
    let whole = |(message, versions): (Message, Vec<NodeId>)| {
        let resumed = receipts.remove(&message.id).unwrap_or_default();
        Shown { message, versions, resumes: resumed.kept, resumes_before: resumed.before }
    };
    Ok(path.into_iter().zip(versions).map(whole).collect())
}
