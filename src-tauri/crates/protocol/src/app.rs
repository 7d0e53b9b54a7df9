use serde::{Deserialize, Serialize};

/// What the app is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AppInfo {
    /// The product's name, as shown.
    pub name: String,
    /// Semantic version, without a leading `v`.
    pub version: String,
}
