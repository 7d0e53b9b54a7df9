use serde::{Deserialize, Serialize};

use crate::{AppError, ConversationPage, EngineView, ModelChoice, ModelRow, Settings};

/// What the app is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AppInfo {
    /// The product's name, as shown.
    pub name: String,
    /// Semantic version, without a leading `v`.
    pub version: String,
}

/// All that the window needs to show itself, in one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Startup {
    /// What the app is.
    pub info: AppInfo,
    /// What the person chose.
    pub settings: Settings,
    /// The beginning of the list of conversations.
    pub conversations: ConversationPage,
    /// Models that are known, the one used last first.
    pub models: Vec<ModelRow>,
    /// The engine.
    pub engine: EngineView,
    /// What was typed for a new conversation and not sent.
    pub draft: String,
    /// What the person should know at once: the library could not be opened, say. Then there are no
    /// conversations, and nothing can be sent.
    pub trouble: Option<AppError>,
    /// Answers that were being written when the app last ended; they are marked interrupted.
    pub interrupted: u32,
}

/// What happens without having been asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AppEvent {
    /// The engine changed.
    Engine {
        /// What it is now.
        engine: EngineView,
    },
    /// The engine was lost. Another one starts by itself.
    EngineLost {
        /// How, and what is safe.
        error: AppError,
    },
    /// What the model remembers of a conversation was not kept. No message is touched.
    NotSaved {
        /// Why, and what to do about it.
        error: AppError,
    },
    /// What the model remembers of a conversation is on the disk.
    Saved {
        /// Of this conversation.
        conversation: String,
        /// When, in milliseconds since 1970.
        at: f64,
    },
    /// Conversations may open at once now that did not, or the other way round.
    Marks,
    /// Files are held over the window, or were taken away again.
    Dragging {
        /// Whether they are over it.
        over: bool,
    },
    /// Files were dropped on the window.
    Dropped {
        /// What came of it.
        choice: ModelChoice,
    },
}
