//! The data folder and its two databases: `history.db`, every conversation, kept, found again and never
//! half-written; and `snapshots.db`, a cache of what models remember of them, which may be lost.
//!
//! - [`DataDir`] knows where each file lies; [`WriterLock`] lets one process at a time write there.
//! - [`History`] reads, beside a live writer too; [`HistoryWriter`] adds every change. A change that
//!   returns `Ok` is on the disk; one that returns an error changed nothing.
//! - `conversation`, `message`, `answer`, `search`, `draft`, `preference`, `known_model`, `receipt`,
//!   `checkpoint` and `choice` each hold a table's SQL, its row types and its queries; `schema` strings their
//!   SQL into versions and upgrades older files, after a backup. `instructions` copies a branch.
//! - [`SnapshotStore`] writes saved states and [`SnapshotReader`] reads them, in chunks cut by [`Split`];
//!   `snapshots` says which of its modules holds what.
//! - [`Bundle`] writes a conversation and its state as one file, [`BundleFile`] reads one, which is trusted
//!   in nothing; `bundle` says what such a file looks like.
//! - Nothing here reads a clock or makes randomness: moments and ids are passed in.
//!
//! To extend: give the table a module, put its SQL in a *new* entry of `schema::RELEASED` (released
//! SQL never changes; a test holds its hash), and write to several tables in one transaction.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod bundle;
mod checkpoint;
mod choice;
mod conversation;
mod data_dir;
mod draft;
mod error;
mod history;
mod id;
mod instructions;
mod integrity;
mod known_model;
mod lock;
mod message;
mod preference;
mod purge;
mod receipt;
mod schema;
mod search;
mod snapshots;
mod tokens;

pub use answer::{FinishedAnswer, NewAnswer, StopReason};
pub use bundle::form::PackedState;
pub use bundle::import::ImportedText;
pub use bundle::read::{BundleContents, BundleFile};
pub use bundle::write::{Bundle, BundleWritten};
pub use checkpoint::NamedCheckpoint;
pub use choice::ConversationChoices;
pub use conversation::{
    Conversation, ConversationSummary, ListFilter, ListPart, ModelRef, NewConversation, TitleSource,
};
pub use data_dir::DataDir;
pub use error::StoreError;
pub use history::{History, HistoryWriter, Opening};
pub use id::{ConversationId, ModelId, NodeId, SnapshotId, Timestamp};
pub use integrity::{IndexCheck, IntegrityReport};
pub use known_model::KnownModel;
pub use lock::{Holder, WriterLock};
pub use message::{Message, MessageState, NewMessage, Notice, Role};
pub use purge::PurgeReport;
pub use receipt::KeptReceipts;
pub use schema::list_backups;
pub use search::SearchHit;
pub use snapshots::budget::{Budget, FreeDisk, Pruned};
pub use snapshots::damage::Damage;
pub use snapshots::file_hash::{FileStamp, HashCache, NoHashCache, content_hash, content_hash_all};
pub use snapshots::find::Candidate;
pub use snapshots::hash::{ChunkHash, ContentHash};
pub use snapshots::layout::{
    CHUNK_LIMIT, CHUNK_TARGET, ChunkSpec, Layout, LayoutFault, PARTS_LIMIT, Region, Span, Split, gather,
    scatter,
};
pub use snapshots::listing::{Brief, ListedSnapshot, SnapshotOrder};
pub use snapshots::manifest::{Chunk, Manifest, NewSnapshot, PREFIX_TOKENS};
pub use snapshots::reader::{ChunkToRead, SnapshotInfo, SnapshotReader, SnapshotState};
pub use snapshots::save::{Begun, Save, Saved};
pub use snapshots::store::{Dropped, SnapshotOpening, SnapshotStore};
pub use snapshots::verify::{BadSnapshot, VerifyProgress, VerifyReport};
pub use tokens::TokenSequence;
