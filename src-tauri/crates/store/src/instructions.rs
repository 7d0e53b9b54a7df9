//! Another system prompt for a conversation that has messages: the branch that is shown is copied behind it.

use rusqlite::{Transaction, params};

use crate::message::{insert, path_to};
use crate::{
    ConversationId, HistoryWriter, MessageState, NewMessage, NodeId, Role, StoreError, Timestamp,
    conversation, search,
};

impl HistoryWriter {
    /// Copies the branch that is shown behind another system prompt, or behind none where `text` is empty or
    /// absent, and shows the copy. The branch that was shown stays as it is. Copies are what they are copies of,
    /// but for their token ids: the prompt differs.
    ///
    /// Returns the end of the branch that is shown now; `None` where it has that system prompt already, or
    /// where nothing is left to show. `new_id` gives ids that were never given before: for the system prompt
    /// first, where there is one, then for each copy.
    pub fn change_system(
        &mut self,
        conversation: ConversationId,
        text: Option<&str>,
        now: Timestamp,
        new_id: &mut dyn FnMut() -> NodeId,
    ) -> Result<Option<NodeId>, StoreError> {
        self.change(|tx| change(tx, conversation, text.filter(|text| !text.is_empty()), now, new_id))
    }
}

fn change(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    text: Option<&str>,
    now: Timestamp,
    new_id: &mut dyn FnMut() -> NodeId,
) -> Result<Option<NodeId>, StoreError> {
    let leaf = conversation::find(tx, conversation)?.active_leaf;
    let mut branch = leaf.map_or(Ok(Vec::new()), |leaf| path_to(tx, leaf))?;
    if branch.iter().any(|message| message.state == MessageState::Streaming) {
        return Err(StoreError::Conflict { why: "an answer of this branch is still being written" });
    }
    let begins_with_system = branch.first().is_some_and(|first| first.role == Role::System);
    let present = begins_with_system.then(|| branch.remove(0));
    // A damaged one is not what was said, whatever it reads like.
    let is_same = match (&present, text) {
        (Some(present), Some(text)) => !present.damaged && present.text == text,
        (None, None) => true,
        _ => false,
    };
    if is_same {
        return Ok(None);
    }
    let mut end = None;
    if let Some(text) = text {
        let new = NewMessage {
            id: new_id(),
            conversation,
            parent: None,
            role: Role::System,
            text: text.to_owned(),
        };
        insert(tx, &new, now)?;
        end = Some(new.id);
    }
    for message in &branch {
        let copy = new_id();
        tx.prepare_cached(COPY)?.execute(params![copy, end, message.id])?;
        search::put_message(tx, copy, &message.text)?;
        end = Some(copy);
    }
    tx.execute("UPDATE conversations SET active_leaf = ?2 WHERE id = ?1", params![conversation, end])?;
    conversation::touch(tx, conversation, now)?;
    Ok(end)
}

/// Text and hash go over as they are, so that what is damaged does not pass for what was said.
const COPY: &str = "INSERT INTO messages
    (id, conversation, parent, role, text, text_hash, state, notice, notice_code, stop, created, finished, stats,
     receipt, model_name)
    SELECT ?1, conversation, ?2, role, text, text_hash, state, notice, notice_code, stop, created, finished, stats,
           receipt, model_name
    FROM messages WHERE id = ?3";
