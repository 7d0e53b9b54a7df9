use serde::{Deserialize, Serialize};

use crate::AppError;

/// What snapshots take, and may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StorageView {
    /// Snapshots that are kept.
    pub snapshots: u32,
    /// Of these, pinned ones.
    pub pinned: u32,
    /// Bytes that all of them take together: what they share counts once.
    #[cfg_attr(test, ts(type = "number"))]
    pub bytes: u64,
    /// Bytes that they may take.
    #[cfg_attr(test, ts(type = "number"))]
    pub budget: u64,
    /// What that is where the person chose nothing.
    #[cfg_attr(test, ts(type = "number"))]
    pub default_budget: u64,
    /// Whether the person chose it.
    pub chosen: bool,
    /// Bytes that are free on the disk; `None` where that cannot be told.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub free: Option<u64>,
    /// Bytes of the history: messages, which nothing evicts.
    #[cfg_attr(test, ts(type = "number"))]
    pub history: u64,
    /// The folder, to be shown only.
    pub folder: String,
    /// Why there are no snapshots at all, where their file cannot be opened.
    pub unusable: Option<AppError>,
}

/// How the list of snapshots is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum SnapshotOrder {
    /// Largest first.
    Size,
    /// Saved last first.
    Age,
    /// Used last first.
    Used,
}

/// A part of the list of snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SnapshotPage {
    /// The rows from `offset` on.
    pub rows: Vec<SnapshotRow>,
    /// Where in the whole list they begin.
    pub offset: u32,
    /// Rows in the whole list.
    pub total: u32,
}

/// A snapshot as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SnapshotRow {
    /// Its id.
    pub id: String,
    /// The conversation it is of.
    pub conversation: String,
    /// That conversation's title; may be empty.
    pub title: String,
    /// Name of the model the conversation was last used with.
    pub model: Option<String>,
    /// Tokens it has seen.
    pub tokens: u32,
    /// Bytes of the state.
    #[cfg_attr(test, ts(type = "number"))]
    pub bytes: u64,
    /// When it was saved, in milliseconds since 1970.
    pub created: f64,
    /// When it was last used, in milliseconds since 1970.
    pub used: f64,
    /// Whether it is never evicted.
    pub pinned: bool,
    /// Why it is not used any more, where it failed a check.
    pub quarantined: Option<String>,
}

/// What a check of all snapshots reports; the last one is `Done` or `Failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VerifyUpdate {
    /// It goes on.
    Progress {
        /// Snapshots checked.
        checked: u32,
        /// Of so many.
        of: u32,
        /// Bytes read.
        #[cfg_attr(test, ts(type = "number"))]
        bytes: u64,
    },
    /// It ended, and what was damaged is removed.
    Done {
        /// Snapshots that are whole.
        whole: u32,
        /// Snapshots that were damaged and were removed.
        removed: u32,
        /// Bytes read.
        #[cfg_attr(test, ts(type = "number"))]
        bytes: u64,
        /// What it took, in milliseconds.
        ms: f64,
        /// Whether it was stopped before it had seen all.
        stopped: bool,
    },
    /// It could not go on. No message is touched.
    Failed {
        /// Why, and what to do.
        error: AppError,
    },
}

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Cleared {
    /// Snapshots.
    pub snapshots: u32,
    /// Bytes that are free again.
    #[cfg_attr(test, ts(type = "number"))]
    pub bytes: u64,
}
