//! Every type that crosses to the web UI, and nothing else.
//!
//! These are wire types: plain data with serde, no behaviour, no type of a sibling crate. Domain types
//! are mapped to them in the app and in the command line. The UI's TypeScript in `ui/src/ipc/generated/`
//! is made from them by this crate's test; after a change run
//!
//! ```text
//! REPRISE_UPDATE=1 cargo test -p reprise-protocol
//! ```
//!
//! and commit the result: the same test fails on a stale file. To add a type: a module of its own or its
//! subject's, the derives of its neighbours, and a line in `tests::generated`.

mod app;
mod conversation;
mod engine;
mod error;
mod qualification;
mod receipt;
mod resume;
mod settings;
mod storage;
mod turn;

pub use app::{AppEvent, AppInfo, Startup};
pub use conversation::{
    Checkpoint, Choices, ConversationPage, ConversationRow, ConversationView, MessageState, MessageView,
    Notice, SearchHit, SearchResults, SnippetPart, Speaker, StopReason,
};
pub use engine::{EnginePhase, EngineView, LoadedModel, ModelChoice, ModelRow, TokenCount};
pub use error::AppError;
pub use qualification::{QualificationRow, Qualifications, Verdict};
pub use receipt::{Check, Reason, Receipt, ResumePath, Timing};
pub use resume::{
    Crossing, CrossingSide, EditCost, Mark, NotYet, Outlook, ResumeTrigger, ResumeUpdate, Resumed,
};
pub use settings::{KvType, Language, SendKey, Settings, Theme};
pub use storage::{Cleared, SnapshotOrder, SnapshotPage, SnapshotRow, StorageView, VerifyUpdate};
pub use turn::{Ask, TurnUpdate};

#[cfg(test)]
mod tests;
