use serde::{Deserialize, Serialize};

/// Why something asked for did not happen. The only error that crosses to the UI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AppError {
    /// Stable `snake_case` word, for code that branches on it: `data_dir_busy`.
    pub code: String,
    /// One sentence: what happened, and what is safe.
    pub message: String,
    /// One sentence: what to do next.
    pub remedy: String,
}
