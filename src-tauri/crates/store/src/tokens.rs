//! Token ids of a message, with the tokenizer and template that they belong to.

use rusqlite::Row;

use crate::StoreError;

/// Token ids as sampled or spliced. They mean nothing under another tokenizer or template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenSequence {
    /// Hash of the tokenizer and template that the ids were made with.
    pub identity: String,
    /// The ids, in order.
    pub ids: Vec<u32>,
}

impl TokenSequence {
    /// As stored: each id as four bytes, little endian.
    pub(crate) fn to_blob(&self) -> Vec<u8> {
        self.ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    /// From the columns `token_identity` and `token_ids`.
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let identity: Option<String> = row.get("token_identity")?;
        let blob: Option<Vec<u8>> = row.get("token_ids")?;
        Ok(identity.zip(blob).map(|(identity, blob)| Self {
            identity,
            ids: blob.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
        }))
    }
}

/// An identity is what tells stale ids from good ones: without it they must not be kept.
pub(crate) fn require_identity(tokens: Option<&TokenSequence>) -> Result<(), StoreError> {
    match tokens {
        Some(tokens) if tokens.identity.is_empty() => Err(StoreError::Conflict {
            why: "token ids without the identity of their tokenizer and template",
        }),
        _ => Ok(()),
    }
}
