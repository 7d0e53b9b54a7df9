//! What stands in a bundle's JSON, and the way from rows to it and back. The way back trusts nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{COUNT_LIMIT, FORMAT, MESSAGES_LIMIT, REGIONS_LIMIT, STATE_LIMIT, VERSION};
use crate::{
    ChunkHash, ChunkSpec, ContentHash, Conversation, ConversationId, Layout, Manifest, Message, MessageState,
    NodeId, Notice, Role, StopReason, StoreError, Timestamp, TokenSequence,
};

/// Characters of a title, and of a model's name, at most. More is cut off.
const NAME_LIMIT: usize = 256;

/// Bytes of statistics, of a receipt, of the facts and the identity of a state at most.
const DETAILS_LIMIT: usize = 256 << 10;

/// Bytes of a challenge at most: a few probes, each with some hundred logits.
const CHALLENGE_LIMIT: usize = 1 << 20;

/// Bytes of short texts: the identity of tokens, a notice's words.
const WORDS_LIMIT: usize = 4 << 10;

/// The text part cannot be believed.
pub(crate) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::BundleDamaged { what: what.into() }
}

/// The state cannot be believed.
pub(crate) fn state_damaged(what: impl Into<String>) -> StoreError {
    StoreError::StateDamaged { what: what.into() }
}

/// The first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
    /// Version of the program that wrote it.
    pub(crate) product: String,
    /// When it was written.
    pub(crate) created: Timestamp,
    pub(crate) conversation: Part,
    pub(crate) messages: Part,
    /// How many messages there are.
    pub(crate) message_count: u64,
    pub(crate) state: Option<Part>,
}

/// An entry that is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) bytes: u64,
    pub(crate) blake3: ContentHash,
}

impl Header {
    pub(crate) fn new(product: &str, created: Timestamp, conversation: Part, messages: (Part, u64)) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            product: product.to_owned(),
            created,
            conversation,
            messages: messages.0,
            message_count: messages.1,
            state: None,
        }
    }

    /// Reads the first entry of what calls itself a bundle.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u32,
        }
        let unreadable =
            |error: serde_json::Error| damaged(format!("its beginning cannot be read ({error})"));
        let stated: Version = serde_json::from_slice(json).map_err(unreadable)?;
        if stated.format != FORMAT {
            return Err(StoreError::NotABundle { why: "it is another kind of file" });
        }
        if stated.version > VERSION {
            return Err(StoreError::BundleNewer { found: stated.version, known: VERSION });
        }
        if stated.version < VERSION {
            return Err(damaged(format!("there is no format {}", stated.version)));
        }
        let header: Self = serde_json::from_slice(json).map_err(unreadable)?;
        if header.message_count > COUNT_LIMIT || header.messages.bytes > MESSAGES_LIMIT {
            return Err(damaged("it holds more messages than a conversation can have"));
        }
        if header.state.is_some_and(|state| state.bytes > STATE_LIMIT) {
            return Err(damaged("what it says of its state is too long"));
        }
        Ok(header)
    }
}

/// The conversation as a whole. The path of its model stays where it is: it tells of the person's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationForm {
    pub(crate) id: ConversationId,
    pub(crate) title: String,
    pub(crate) title_is_custom: bool,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) seed: u64,
    pub(crate) model: Option<ModelForm>,
    pub(crate) active_leaf: Option<NodeId>,
}

/// A model, by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelForm {
    pub(crate) name: String,
    /// BLAKE3 of the model's files, where it is known.
    pub(crate) blake3: Option<ContentHash>,
}

impl ConversationForm {
    pub(crate) fn of(conversation: &Conversation, model_hash: Option<ContentHash>) -> Self {
        Self {
            id: conversation.id,
            title: conversation.title.clone(),
            title_is_custom: conversation.title_is_custom,
            created: conversation.created,
            updated: conversation.updated,
            seed: conversation.seed,
            model: conversation
                .model
                .as_ref()
                .map(|model| ModelForm { name: model.name.clone(), blake3: model_hash }),
            active_leaf: conversation.active_leaf,
        }
    }

    pub(crate) fn parse(json: &[u8], now: Timestamp) -> Result<Self, StoreError> {
        let mut form: Self = serde_json::from_slice(json)
            .map_err(|error| damaged(format!("the conversation cannot be read ({error})")))?;
        form.title = clean(&form.title);
        if let Some(model) = &mut form.model {
            model.name = clean(&model.name);
        }
        form.created = form.created.min(now);
        form.updated = form.updated.min(now);
        Ok(form)
    }
}

/// One line without control characters, of a length that a list can show.
pub(crate) fn clean(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let plain = plain.trim();
    match plain.char_indices().nth(NAME_LIMIT) {
        Some((end, _)) => format!("{}…", plain[..end].trim_end()),
        None => plain.to_owned(),
    }
}

/// One message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageForm {
    id: NodeId,
    parent: Option<NodeId>,
    role: Role,
    text: String,
    /// Of the text.
    blake3: ContentHash,
    /// Whether it was damaged where it comes from. It stays so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    damaged: bool,
    state: MessageState,
    stop: Option<StopReason>,
    created: Timestamp,
    finished: Timestamp,
    model: Option<String>,
    notice: Option<NoticeForm>,
    tokens: Option<TokensForm>,
    stats: Option<Box<RawValue>>,
    receipt: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoticeForm {
    code: Option<String>,
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensForm {
    identity: String,
    ids: Vec<u32>,
}

impl MessageForm {
    /// An answer that is being written is packed as far as it got by `now`.
    pub(crate) fn of(message: Message, now: Timestamp) -> Result<Self, StoreError> {
        let raw = |details: Option<serde_json::Value>| details.as_ref().map(raw).transpose();
        let streaming = message.state == MessageState::Streaming;
        Ok(Self {
            id: message.id,
            parent: message.parent,
            role: message.role,
            blake3: ContentHash::of(message.text.as_bytes()),
            text: message.text,
            damaged: message.damaged,
            state: if streaming { MessageState::Interrupted } else { message.state },
            stop: message.stop,
            created: message.created,
            finished: message.finished.unwrap_or(now),
            model: message.model_name,
            notice: message.notice.map(|notice| NoticeForm { code: notice.code, text: notice.text }),
            tokens: message.tokens.map(|tokens| TokensForm { identity: tokens.identity, ids: tokens.ids }),
            stats: raw(message.stats)?,
            receipt: raw(message.receipt)?,
        })
    }

    /// Reads a line and checks all of it but its place in the tree.
    pub(crate) fn parse(
        line: &[u8],
        conversation: ConversationId,
        now: Timestamp,
    ) -> Result<Message, StoreError> {
        let form: Self = serde_json::from_slice(line)
            .map_err(|error| damaged(format!("a message cannot be read ({error})")))?;
        if ContentHash::of(form.text.as_bytes()) != form.blake3 {
            return Err(damaged("the text of a message is not what was written"));
        }
        if form.role == Role::System && form.parent.is_some() {
            return Err(damaged("a system prompt stands inside the conversation"));
        }
        if form.state == MessageState::Streaming {
            return Err(damaged("a message says that it is still being written"));
        }
        if form.role != Role::Assistant && form.state != MessageState::Complete {
            return Err(damaged("a message that is no answer is not whole"));
        }
        if form.role != Role::Assistant && (form.stop.is_some() || form.model.is_some()) {
            return Err(damaged("a message that is no answer says how it was generated"));
        }
        Ok(Message {
            id: form.id,
            conversation,
            parent: form.parent,
            role: form.role,
            text: form.text,
            damaged: form.damaged,
            state: form.state,
            notice: form.notice.map(NoticeForm::check).transpose()?,
            tokens: form.tokens.map(TokensForm::check).transpose()?,
            stop: form.stop,
            created: form.created.min(now),
            finished: Some(form.finished.min(now)),
            stats: form.stats.as_deref().map(|stats| details(stats, "statistics")).transpose()?,
            receipt: form.receipt.as_deref().map(|receipt| details(receipt, "receipt")).transpose()?,
            model_name: form.model.map(|name| clean(&name)),
        })
    }
}

impl NoticeForm {
    fn check(self) -> Result<Notice, StoreError> {
        let is_word = |code: &String| {
            (1..=64).contains(&code.len()) && code.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
        };
        if self.text.len() > WORDS_LIMIT || !self.code.as_ref().is_none_or(is_word) {
            return Err(damaged("a notice is not one of Reprise"));
        }
        let text = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Ok(Notice { code: self.code, text })
    }
}

impl TokensForm {
    fn check(self) -> Result<TokenSequence, StoreError> {
        if self.identity.is_empty() || self.identity.len() > WORDS_LIMIT {
            return Err(damaged("the tokens of a message do not say what made them"));
        }
        Ok(TokenSequence { identity: self.identity, ids: self.ids })
    }
}

/// JSON that is kept without being looked into. Looked at by its length first: as a tree it takes many
/// times as much memory.
fn details(raw: &RawValue, what: &str) -> Result<serde_json::Value, StoreError> {
    if raw.get().len() > DETAILS_LIMIT {
        return Err(damaged(format!("a {what} is too long")));
    }
    serde_json::from_str(raw.get()).map_err(|error| damaged(format!("a {what} cannot be read ({error})")))
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, StoreError> {
    serde_json::value::to_raw_value(value).map_err(|error| StoreError::Storage { detail: error.to_string() })
}

/// A state, without its chunks. Its name, and the seal, are made where it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateForm {
    node: NodeId,
    created: Timestamp,
    identity: Box<RawValue>,
    layout: Layout,
    chunks: Vec<(ChunkSpec, ChunkHash)>,
    image_hash: Option<ContentHash>,
    challenge: Box<RawValue>,
    facts: Box<RawValue>,
    tokens: Vec<i32>,
}

/// A state as a bundle describes it, checked as far as a description can be.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedState {
    /// The message at whose end it was taken, under the name that it has in the bundle.
    pub node: NodeId,
    /// When it was taken.
    pub created: Timestamp,
    /// Everything that has to be the same for the state to mean the same, by name.
    pub identity: BTreeMap<String, String>,
    /// The tokens that the state has seen, in order.
    pub tokens: Vec<i32>,
    /// Where the image has rows.
    pub layout: Layout,
    /// The chunks, which together hold every byte of the image exactly once.
    pub chunks: Vec<(ChunkSpec, ChunkHash)>,
    /// BLAKE3 of the whole image, where it is known.
    pub image_hash: Option<ContentHash>,
    /// What the state answered to the challenge.
    pub challenge: serde_json::Value,
    /// Whatever else was to be known.
    pub facts: serde_json::Value,
}

impl StateForm {
    pub(crate) fn of(manifest: &Manifest) -> Result<Self, StoreError> {
        Ok(Self {
            node: manifest.node,
            created: manifest.created,
            identity: raw(&manifest.identity)?,
            layout: manifest.layout.clone(),
            chunks: manifest.chunks.iter().map(|chunk| (chunk.spec.clone(), chunk.hash)).collect(),
            image_hash: manifest.image_hash,
            challenge: raw(&manifest.challenge)?,
            facts: raw(&manifest.facts)?,
            tokens: manifest.tokens.clone(),
        })
    }

    /// Reads the description, and refuses one that does not describe a state wholly.
    pub(crate) fn parse(json: &[u8], now: Timestamp) -> Result<PackedState, StoreError> {
        let unreadable = |error: serde_json::Error| state_damaged(format!("it cannot be read ({error})"));
        let form: Self = serde_json::from_slice(json).map_err(unreadable)?;
        let short = |raw: &RawValue, limit, what| {
            if raw.get().len() > limit {
                Err(state_damaged(format!("its {what} is too long")))
            } else {
                Ok(())
            }
        };
        short(&form.identity, DETAILS_LIMIT, "identity")?;
        short(&form.facts, DETAILS_LIMIT, "facts")?;
        short(&form.challenge, CHALLENGE_LIMIT, "challenge")?;
        let identity: BTreeMap<String, String> =
            serde_json::from_str(form.identity.get()).map_err(unreadable)?;
        if identity.is_empty() {
            return Err(state_damaged("it does not say what it belongs to"));
        }
        if form.tokens.is_empty() {
            return Err(state_damaged("it has no tokens"));
        }
        if form.layout.regions.len() > REGIONS_LIMIT {
            return Err(state_damaged("it is described with too many parts"));
        }
        let specs: Vec<ChunkSpec> = form.chunks.iter().map(|(spec, _)| spec.clone()).collect();
        form.layout
            .validate()
            .and_then(|()| form.layout.check_cover(&specs))
            .map_err(|fault| state_damaged(fault.to_string()))?;
        Ok(PackedState {
            node: form.node,
            created: form.created.min(now),
            identity,
            tokens: form.tokens,
            layout: form.layout,
            chunks: form.chunks,
            image_hash: form.image_hash,
            challenge: serde_json::from_str(form.challenge.get()).map_err(unreadable)?,
            facts: serde_json::from_str(form.facts.get()).map_err(unreadable)?,
        })
    }
}

impl PackedState {
    /// The entries of its chunks: each hash once, in the order in which it is first named, with its bytes.
    pub(crate) fn entries(&self) -> Result<Vec<(ChunkHash, u64)>, StoreError> {
        let weighed = self.chunks.iter().map(|(spec, hash)| {
            let bytes = spec.bytes(&self.layout).map_err(|fault| state_damaged(fault.to_string()))?;
            Ok((*hash, bytes))
        });
        distinct(weighed)
    }
}

/// Each hash once, in the order in which it is first named.
pub(crate) fn distinct(
    chunks: impl Iterator<Item = Result<(ChunkHash, u64), StoreError>>,
) -> Result<Vec<(ChunkHash, u64)>, StoreError> {
    let mut seen = BTreeMap::new();
    let mut entries = Vec::new();
    for chunk in chunks {
        let (hash, bytes) = chunk?;
        match seen.insert(hash, bytes) {
            None => entries.push((hash, bytes)),
            Some(before) if before == bytes => {}
            Some(_) => return Err(state_damaged("two pieces of different length have one name")),
        }
    }
    Ok(entries)
}
