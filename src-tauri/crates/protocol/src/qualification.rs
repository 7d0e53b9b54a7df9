use serde::{Deserialize, Serialize};

/// Whether states survive being saved and restored, as it was found out on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A restored state goes on as the uninterrupted run did, in every bit.
    Identical,
    /// It goes on within the tolerance of the challenge.
    WithinTolerance,
    /// It does not: conversations are read from their text.
    Failed,
}

/// What was found out for one model on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct QualificationRow {
    /// Name of the model, for people.
    pub model: String,
    /// What computes: `CPU`, or a device's name.
    pub device: String,
    /// Where the KV cache lies: `host` or `device`.
    pub kv_place: String,
    /// Type of the KV cache: `f16` or `q8_0`.
    pub kv_type: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Why it failed, in English.
    pub why: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: f64,
    /// Whether it is of the engine, device and settings of now.
    pub current: bool,
}

/// All that was found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Qualifications {
    /// The latest first.
    pub rows: Vec<QualificationRow>,
    /// Name of the loaded model, for which it can be found out now; `None` where none is loaded.
    pub loaded: Option<String>,
}
