//! The use-cases: what a person does with Reprise, without a window and without a terminal.
//!
//! [`Chat`] takes turns in conversations; [`Library`] keeps, finds, renames and deletes them; [`doctor`]
//! says what the machine and the engine are; `bundle` moves a conversation elsewhere. `resume` gets a
//! conversation ready, by [`Snapshots`] where one proves itself; `saving` keeps its state afterwards;
//! `challenge` is the verdict. They combine the store, the engine and the hardware, which
//! know nothing of one another. The app and `reprise-cli` unpack, call one of these, and show the result.
//!
//! To add a use-case: a module named after it, an error variant only where somebody branches on it, and
//! a test with [`reprise_engine::scripted::ScriptedEngine`].

mod answer;
pub mod bundle;
pub mod challenge;
mod checkpoints;
mod deaths;
pub mod devices;
pub mod doctor;
mod error;
pub mod export;
mod identity;
mod library;
mod link;
mod models;
mod not_saved;
mod open_turns;
mod opening;
mod outlook;
mod pace;
mod places;
mod prompt;
mod purge;
mod qualification;
mod qualifications;
mod receipt;
mod request;
mod resume;
mod saving;
mod snapshots;
mod state_use;
mod states;
mod storage;
mod token_count;
mod turn;
mod view;
mod world;

pub use error::ChatError;
pub use library::Library;
pub use link::Link;
pub use models::{ListedModel, default_starter};
pub use not_saved::{NotSaved, StateKept};
pub use opening::{NotYet, OpenEvent, OpenRequest, Opening, Trigger};
pub use outlook::{Crossing, EditCost, Mark, Outlook, Side};
pub use places::{default_data_dir, default_engine_dir};
pub use purge::{Purged, purge};
pub use qualification::{Qualification, Verdict};
pub use qualifications::KeptQualification;
pub use receipt::{Check, Reason, Receipt, ResumePath, Timing};
pub use request::{Ask, LoadOptions, SamplingOptions, Saving, TurnEvent, TurnOutcome, TurnRequest};
pub use saving::SavedState;
pub use snapshots::{Snapshots, list_snapshots, verify_snapshots};
pub use storage::{Cleared, SnapshotInList, SnapshotPart, StorageFacts, Verified};
pub use token_count::TokenCount;
pub use turn::{Chat, require_text};
pub use view::{Checkpoint, Opened, Shown};
pub use world::{SystemWorld, World};

/// What the face of the app needs of the engine, re-exported so that it needs no other room.
pub mod engine {
    pub use reprise_engine::bare::BareDecode;
    pub use reprise_engine::message::{
        DEFAULT_MAX_CONTEXT, Device, DeviceKind, Finite, FlashAttention, Hello, KvPlace, KvType, LoadSpec,
        ModelInfo, Module, Offload, Sampling, StopReason,
    };
    pub use reprise_engine::process::{EngineFolder, PROGRAM};
    pub use reprise_engine::{Direction, EngineError, EngineHandle, Fault, Limits, Status};
}

/// What the face of the app needs of the history.
pub mod history {
    pub use reprise_store::{
        Conversation, ConversationChoices, ConversationId, ConversationSummary, DataDir, History, Holder,
        KnownModel, ListFilter, ListPart, ListedSnapshot, Message, MessageState, ModelId, NodeId,
        PurgeReport, Role, SearchHit, SnapshotId, SnapshotInfo, SnapshotOrder, SnapshotState, StopReason,
        StoreError, Timestamp, VerifyProgress, VerifyReport,
    };
}
