//! Taking the text of a bundle into a library: all of it, or nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{CachedStatement, Connection, Transaction, params};

use crate::bundle::form::damaged;
use crate::bundle::read::BundleContents;
use crate::message::hash;
use crate::{ConversationId, HistoryWriter, Message, NodeId, StoreError, Timestamp, TokenSequence, search};

/// Fresh ids that are tried before giving up. One is enough where randomness is.
const TRIES: usize = 16;

/// What became of a bundle's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedText {
    /// The conversation as it is called here.
    pub conversation: ConversationId,
    /// How many messages it has.
    pub messages: u64,
    /// Whether it stands beside one of the same id that was there already, in the trash perhaps.
    pub copied: bool,
    /// What messages are called here, by their name in the bundle.
    nodes: HashMap<NodeId, NodeId>,
}

impl ImportedText {
    /// What a message of the bundle is called here; `None` where the bundle has none of this name.
    #[must_use]
    pub fn node(&self, in_bundle: NodeId) -> Option<NodeId> {
        self.nodes.get(&in_bundle).copied()
    }
}

impl HistoryWriter {
    /// Adds the conversation of a bundle in one transaction. Ids are kept where they are free here; a
    /// conversation that is there already, in the trash or not, is left as it is, and a copy with fresh ids
    /// is added. `random` gives randomness that was never given before.
    pub fn import(
        &mut self,
        bundle: &mut BundleContents<'_>,
        now: Timestamp,
        random: &mut dyn FnMut() -> u128,
    ) -> Result<ImportedText, StoreError> {
        self.change(|tx| import(tx, bundle, now, random))
    }
}

fn import(
    tx: &Transaction<'_>,
    bundle: &mut BundleContents<'_>,
    now: Timestamp,
    random: &mut dyn FnMut() -> u128,
) -> Result<ImportedText, StoreError> {
    let form = bundle.conversation.clone();
    let copied = is_taken(tx, CONVERSATION_TAKEN, &form.id)?;
    let id = if copied {
        fresh(|random| ConversationId::new(now, random), random, |id| is_taken(tx, CONVERSATION_TAKEN, id))?
    } else {
        form.id
    };
    tx.execute(
        // Where the model's file lies on this machine is not known; its name is.
        "INSERT INTO conversations
             (id, title, title_is_custom, created, updated, model_path, model_name, seed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            id,
            form.title,
            form.title_is_custom,
            form.created,
            form.updated,
            form.model.as_ref().map(|_| ""),
            form.model.as_ref().map(|model| &model.name),
            form.seed.cast_signed(),
        ],
    )?;
    search::put_title(tx, id, &form.title)?;

    let mut nodes = HashMap::new();
    let mut insert = tx.prepare_cached(INSERT)?;
    let messages = bundle.each_message(id, now, |mut message| {
        let in_bundle = message.id;
        // Each follows one that came before, so there is no circle.
        let parent = message.parent.map(|parent| nodes.get(&parent).copied());
        message.parent = match parent {
            Some(None) => return Err(damaged("a message follows one that is not there")),
            Some(parent) => parent,
            None => None,
        };
        let Entry::Vacant(place) = nodes.entry(in_bundle) else {
            return Err(damaged("two messages have one name"));
        };
        if copied || is_taken(tx, MESSAGE_TAKEN, &message.id)? {
            let created = message.created;
            message.id =
                fresh(|random| NodeId::new(created, random), random, |id| is_taken(tx, MESSAGE_TAKEN, id))?;
        }
        place.insert(message.id);
        add(&mut insert, &message)?;
        search::put_message(tx, message.id, &message.text)
    })?;
    let leaf = match form.active_leaf.map(|leaf| nodes.get(&leaf)) {
        Some(None) => return Err(damaged("the message that it shows is not there")),
        Some(leaf) => leaf,
        None => None,
    };
    tx.execute("UPDATE conversations SET active_leaf = ?2 WHERE id = ?1", params![id, leaf])?;
    Ok(ImportedText { conversation: id, messages, copied, nodes })
}

const CONVERSATION_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)";
const MESSAGE_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM messages WHERE id = ?1)";

const INSERT: &str = "INSERT INTO messages
    (id, conversation, parent, role, text, text_hash, state, notice, notice_code, token_ids, token_identity,
     stop, created, finished, stats, receipt, model_name)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

fn add(insert: &mut CachedStatement<'_>, message: &Message) -> Result<(), StoreError> {
    // No text has this hash: what was damaged before stays so.
    let text_hash = if message.damaged { [0; 32] } else { hash(&message.text) };
    insert.execute(params![
        message.id,
        message.conversation,
        message.parent,
        message.role,
        message.text,
        text_hash,
        message.state,
        message.notice.as_ref().map(|notice| &notice.text),
        message.notice.as_ref().and_then(|notice| notice.code.as_ref()),
        message.tokens.as_ref().map(TokenSequence::to_blob),
        message.tokens.as_ref().map(|tokens| &tokens.identity),
        message.stop,
        message.created,
        message.finished,
        message.stats.as_ref().map(ToString::to_string),
        message.receipt.as_ref().map(ToString::to_string),
        message.model_name,
    ])?;
    Ok(())
}

fn is_taken(conn: &Connection, sql: &str, id: &impl rusqlite::ToSql) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
}

fn fresh<T>(
    make: impl Fn(u128) -> T,
    random: &mut dyn FnMut() -> u128,
    is_taken: impl Fn(&T) -> Result<bool, StoreError>,
) -> Result<T, StoreError> {
    for _ in 0..TRIES {
        let id = make(random());
        if !is_taken(&id)? {
            return Ok(id);
        }
    }
    Err(StoreError::Storage { detail: "no id is free".to_owned() })
}
