//! Bundles: a conversation with all its branches, and the state that it resumes from, as one file.
//!
//! A bundle is a tar archive of regular files in a fixed order, so that it is written and read in one go and
//! nothing of it is ever unpacked to a path:
//!
//! | entry | holds |
//! |---|---|
//! | `reprise-bundle.json` | format, version, product, moment; length and BLAKE3 of what follows |
//! | `conversation.json` | title, times, seed, model, the end of the branch that is shown |
//! | `messages.jsonl` | every message, one a line, each behind the one that it follows |
//! | `state.json` | of at most one state: identity, tokens, layout, challenge, chunks by hash |
//! | `chunks/HASH` | each chunk once, in the order in which `state.json` first names it |
//!
//! `write` makes one, `read` takes one apart, `import` adds it to a library; `form` is what the JSON looks
//! like, and every check of it. Whoever reads one believes nothing: lengths are capped before a byte is
//! read, an entry is what stands next in the table or the reading ends, and the text is a library's only once
//! all of it was found to be what was written.

pub(crate) mod form;
pub(crate) mod import;
pub(crate) mod read;
pub(crate) mod write;

/// What the first entry says it is.
const FORMAT: &str = "reprise conversation bundle";

/// Another number means another meaning; such a bundle is not read.
const VERSION: u32 = 1;

const HEADER: &str = "reprise-bundle.json";
const CONVERSATION: &str = "conversation.json";
const MESSAGES: &str = "messages.jsonl";
const STATE: &str = "state.json";

/// Bytes of the header at most.
const HEADER_LIMIT: u64 = 4 << 10;

/// Bytes of what is said of the conversation as a whole at most.
const CONVERSATION_LIMIT: u64 = 64 << 10;

/// Bytes of all messages together at most.
const MESSAGES_LIMIT: u64 = 1 << 30;

/// Bytes of one message at most: text and tokens of a context of a million tokens fit.
const MESSAGE_LIMIT: usize = 32 << 20;

/// The most messages.
const COUNT_LIMIT: u64 = 100_000;

/// Bytes of what is said of a state at most: that of a million tokens in tens of gigabytes fits.
const STATE_LIMIT: u64 = 16 << 20;

/// Regions of a state at most, which is more than any model has. Checking a description takes time with
/// their number times that of the chunks.
const REGIONS_LIMIT: usize = 8192;

/// The name of a chunk's entry.
fn chunk_name(hash: &crate::ChunkHash) -> String {
    format!("chunks/{hash}")
}
