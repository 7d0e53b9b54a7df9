//! What a snapshot is made of, written down once and sealed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::snapshots::hash::{ChunkHash, ContentHash, Tag};
use crate::snapshots::key::Key;
use crate::snapshots::layout::{ChunkSpec, Layout};
use crate::{ConversationId, Damage, NodeId, SnapshotId, StoreError, Timestamp};

/// Another number means another meaning; such a manifest is not read.
const VERSION: u32 = 1;

/// Bytes of the largest manifest that is written or read.
pub(crate) const MANIFEST_LIMIT: usize = 64 << 20;

/// Tokens whose hash finds snapshots of other conversations with the same beginning. Shorter states
/// are not worth restoring.
pub const PREFIX_TOKENS: usize = 256;

/// A state to be kept, all of whose chunks are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSnapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Whose state it is.
    pub conversation: ConversationId,
    /// The message at whose end it was taken.
    pub node: NodeId,
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
    /// What the state answered to the challenge. Kept and sealed, never looked into.
    pub challenge: serde_json::Value,
    /// Whatever else is to be known at a resume, such as the device. Kept and sealed, never looked into.
    pub facts: serde_json::Value,
    /// When it was taken.
    pub created: Timestamp,
    /// Earlier snapshots that this one makes superfluous; they go in the same transaction.
    pub supersede: Vec<SnapshotId>,
}

/// A snapshot's description, after its seal was found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its name.
    pub id: SnapshotId,
    /// Whose state it is.
    pub conversation: ConversationId,
    /// The message at whose end it was taken.
    pub node: NodeId,
    /// Everything that has to be the same for the state to mean the same, by name.
    pub identity: BTreeMap<String, String>,
    /// The tokens that the state has seen, in order.
    pub tokens: Vec<i32>,
    /// Where the image has rows.
    pub layout: Layout,
    /// The chunks in the order in which they were given.
    pub chunks: Vec<Chunk>,
    /// BLAKE3 of the whole image, where it is known.
    pub image_hash: Option<ContentHash>,
    /// What the state answered to the challenge.
    pub challenge: serde_json::Value,
    /// Whatever else was to be known.
    pub facts: serde_json::Value,
    /// When it was taken.
    pub created: Timestamp,
}

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What of the image it holds.
    pub spec: ChunkSpec,
    /// Its name.
    pub hash: ChunkHash,
    /// How many bytes it holds.
    pub bytes: u64,
}

/// As stored: JSON, so that it explains itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    identity: BTreeMap<String, String>,
    n_tokens: u64,
    layout: Layout,
    chunks: Vec<(ChunkSpec, ChunkHash)>,
    image_hash: Option<ContentHash>,
    challenge: serde_json::Value,
    facts: serde_json::Value,
    created: Timestamp,
}

/// The stored row of a snapshot, as far as its seal covers it.
pub(crate) struct Sealed<'a> {
    pub(crate) id: SnapshotId,
    pub(crate) conversation: ConversationId,
    pub(crate) node: NodeId,
    pub(crate) manifest: &'a [u8],
    pub(crate) tokens: &'a [u8],
}

impl Sealed<'_> {
    /// Names are sealed with the content, so that one conversation's cannot pass for another's.
    pub(crate) fn tag(&self, key: &Key) -> Tag {
        let (id, conversation, node) =
            (self.id.to_string(), self.conversation.to_string(), self.node.to_string());
        key.seal(
            "reprise: snapshot",
            &[self.manifest, id.as_bytes(), conversation.as_bytes(), node.as_bytes(), self.tokens],
        )
    }

    /// Reads what the seal covers. Only to be called once the seal is found good.
    pub(crate) fn parse(&self) -> Result<Manifest, Damage> {
        let unreadable = |why: String| Damage::Manifest { why };
        if self.manifest.len() > MANIFEST_LIMIT {
            return Err(unreadable("it is too large".to_owned()));
        }
        let stored: Stored =
            serde_json::from_slice(self.manifest).map_err(|error| unreadable(error.to_string()))?;
        if stored.version != VERSION {
            return Err(unreadable(format!("its version is {}", stored.version)));
        }
        let (tokens, rest) = self.tokens.as_chunks();
        if tokens.len() as u64 != stored.n_tokens || !rest.is_empty() {
            return Err(unreadable("it speaks of other tokens".to_owned()));
        }
        let chunks = measure(&stored.layout, stored.chunks).map_err(|fault| unreadable(fault.to_string()))?;
        Ok(Manifest {
            id: self.id,
            conversation: self.conversation,
            node: self.node,
            identity: stored.identity,
            tokens: tokens.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect(),
            layout: stored.layout,
            chunks,
            image_hash: stored.image_hash,
            challenge: stored.challenge,
            facts: stored.facts,
            created: stored.created,
        })
    }
}

/// Checks that layout and chunks fit, and weighs the chunks.
fn measure(layout: &Layout, chunks: Vec<(ChunkSpec, ChunkHash)>) -> Result<Vec<Chunk>, crate::LayoutFault> {
    layout.validate()?;
    let (specs, hashes): (Vec<_>, Vec<_>) = chunks.into_iter().unzip();
    layout.check_cover(&specs)?;
    specs
        .into_iter()
        .zip(hashes)
        .map(|(spec, hash)| Ok(Chunk { bytes: spec.bytes(layout)?, spec, hash }))
        .collect()
}

/// A new snapshot, checked and written out.
pub(crate) struct Written {
    pub(crate) manifest: Vec<u8>,
    pub(crate) tokens: Vec<u8>,
    pub(crate) chunks: Vec<Chunk>,
}

impl NewSnapshot {
    /// Checks that it describes itself wholly, and writes it out.
    pub(crate) fn write(&self) -> Result<Written, StoreError> {
        let refused = |why: String| StoreError::SnapshotRefused { why };
        if self.tokens.is_empty() {
            return Err(refused("it has no tokens".to_owned()));
        }
        if self.identity.is_empty() {
            return Err(refused("it does not say what it belongs to".to_owned()));
        }
        let chunks =
            measure(&self.layout, self.chunks.clone()).map_err(|fault| refused(fault.to_string()))?;
        let stored = Stored {
            version: VERSION,
            identity: self.identity.clone(),
            n_tokens: self.tokens.len() as u64,
            layout: self.layout.clone(),
            chunks: self.chunks.clone(),
            image_hash: self.image_hash,
            challenge: self.challenge.clone(),
            facts: self.facts.clone(),
            created: self.created,
        };
        let manifest = serde_json::to_vec(&stored).map_err(|error| refused(error.to_string()))?;
        if manifest.len() > MANIFEST_LIMIT {
            return Err(refused("its description is too large".to_owned()));
        }
        Ok(Written { manifest, tokens: token_bytes(&self.tokens), chunks })
    }
}

/// Tokens as stored: four bytes each, little endian.
pub(crate) fn token_bytes(tokens: &[i32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// Names the first [`PREFIX_TOKENS`] tokens, or all where there are fewer.
pub(crate) fn prefix_hash(tokens: &[i32]) -> [u8; 32] {
    *blake3::hash(&token_bytes(&tokens[..tokens.len().min(PREFIX_TOKENS)])).as_bytes()
}

/// Names an identity: the same names with the same values give the same hash.
pub(crate) fn identity_hash(identity: &BTreeMap<String, String>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in identity.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The identity in a manifest that may not be what was sealed, to name a difference.
pub(crate) fn peek_identity(manifest: &[u8]) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Identity {
        identity: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Identity>(manifest).ok().map(|stored| stored.identity)
}

/// The first name under which two identities differ.
pub(crate) fn first_difference(
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Option<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().find(|name| one.get(*name) != other.get(*name)).cloned()
}
