use serde::{Deserialize, Serialize};

/// How a conversation's KV cache came to hold its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ResumePath {
    /// From the text: nothing was computed before.
    Fresh,
    /// From the context that was live.
    Live,
    /// From a snapshot that passed all five checks.
    Restored,
    /// From the text, although it was computed before; the reason says why.
    Replayed,
}

/// What was done to be ready for an answer, and what it cost. The same as `reprise-cli` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Receipt {
    /// What was done.
    pub path: ResumePath,
    /// Why it was not something cheaper.
    pub reason: Option<Reason>,
    /// Tokens of the prompt.
    pub tokens_total: u32,
    /// Of these, tokens that did not have to be decoded again.
    pub tokens_reused: u32,
    /// Of these, tokens decoded.
    pub tokens_decoded: u32,
    /// Bytes of state that were read.
    #[cfg_attr(test, ts(type = "number"))]
    pub bytes_read: u64,
    /// From the request to the end of the prompt, in milliseconds, loading the model not included.
    pub ms: f64,
    /// Of that, reading state.
    pub ms_bytes: Option<f64>,
    /// Of that, proving it.
    pub ms_challenge: Option<f64>,
    /// What decoding the whole prompt would have taken.
    pub estimated_replay_ms: Option<f64>,
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

/// Why a path was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Reason {
    /// Stable snake-case word: `no_snapshot`, `integrity`, `identity`, …
    pub code: String,
    /// One sentence, in English.
    pub message: String,
    /// Of `identity`: what differs, as a stable snake-case word.
    #[serde(default)]
    pub field: Option<String>,
}

/// One check of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Check {
    /// `integrity`, `identity`, `tokens`, `restore` or `challenge`.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// What it took, in milliseconds.
    pub ms: f64,
    /// What was measured, in English.
    pub detail: String,
}

/// What an answer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Timing {
    /// Loading the model, in milliseconds; `None` where it was loaded already.
    pub load_ms: Option<f64>,
    /// From the request to being ready to read what is new in the prompt, in milliseconds.
    pub resume_ms: f64,
    /// From the request to the first token, in milliseconds; `None` where there was none.
    pub ttft_ms: Option<f64>,
    /// Prompt tokens decoded.
    pub prefill_tokens: u32,
    /// Prompt tokens per second.
    pub prefill_tok_s: Option<f64>,
    /// Tokens sampled.
    pub decode_tokens: u32,
    /// Sampled tokens per second.
    pub decode_tok_s: Option<f64>,
}
