use serde::{Deserialize, Serialize};

use crate::AppError;

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EnginePhase {
    /// No worker runs: it starts when it is needed.
    Absent,
    /// A worker runs, no model is loaded.
    Idle,
    /// A model is being loaded.
    Loading {
        /// 0 to 1.
        fraction: f32,
    },
    /// A model is loaded and waits.
    Ready,
    /// It reads or writes.
    Answering {
        /// In this conversation.
        conversation: String,
    },
}

/// The engine as the status bar shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct EngineView {
    /// What it is doing.
    pub phase: EnginePhase,
    /// The model that is loaded or being loaded.
    pub loaded: Option<LoadedModel>,
    /// What computes: `CPU`, or a device's name.
    pub device: String,
}

/// A loaded model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LoadedModel {
    /// Id in the list of models.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Context that it is loaded with, in tokens.
    pub n_ctx: u32,
}

/// A model file that was used or chosen before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ModelRow {
    /// Its id; the page never names a path.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Where it lies, to be shown only.
    pub path: String,
    /// Size in bytes; `None` where the file is missing.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub bytes: Option<u64>,
    /// Whether new conversations use it.
    pub chosen: bool,
}

/// What came of files that were dropped on the window, or picked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelChoice {
    /// It is the chosen model now.
    Chosen {
        /// All models that are known.
        models: Vec<ModelRow>,
    },
    /// It is not a model, or cannot be read; nothing changed.
    Refused {
        /// Why, and what to do.
        error: AppError,
    },
    /// Nothing was picked.
    Cancelled,
}

/// How long a text is for the loaded model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TokenCount {
    /// Tokens.
    pub tokens: u32,
    /// Whether it was counted by the model's own tokeniser; else it is estimated from the length.
    pub exact: bool,
}
