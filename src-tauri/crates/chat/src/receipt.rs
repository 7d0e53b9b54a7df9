//! What was done to be ready for an answer, and what it cost.

use reprise_engine::message::{Finished, Prepared};
use serde::{Deserialize, Serialize};

use crate::resume::Resumption;

/// How a conversation's KV cache came to hold its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// Kept with every answer. The field names are the contract of `reprise-cli`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub bytes_read: u64,
    /// From the request to the end of the prompt, in milliseconds, model loading not included.
    pub ms: f64,
    /// Of that, reading state.
    pub ms_bytes: Option<f64>,
    /// Of that, proving it.
    pub ms_challenge: Option<f64>,
    /// What decoding the whole prompt would have taken.
    pub estimated_replay_ms: Option<f64>,
    /// The checks that a restored state passed.
    pub checks: Vec<Check>,
}

/// Why a path was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable snake-case word.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Of `identity`: what differs, as a stable snake-case word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// One check of a restored state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// What it took.
    pub ms: f64,
    /// What was measured.
    pub detail: String,
}

/// What an answer took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Loading the model; `None` where it was loaded already.
    pub load_ms: Option<f64>,
    /// From the request to being ready to read what is new in the prompt.
    pub resume_ms: f64,
    /// From the request to the first token; `None` where there was none.
    pub ttft_ms: Option<f64>,
    /// Of that, what taking a state within the prompt cost, in milliseconds; `None` where none was taken.
    pub checkpoint_ms: Option<f64>,
    /// Prompt tokens decoded.
    pub prefill_tokens: u32,
    /// Prompt tokens per second.
    pub prefill_tok_s: Option<f64>,
    /// Tokens sampled.
    pub decode_tokens: u32,
    /// Sampled tokens per second, the first one not counted.
    pub decode_tok_s: Option<f64>,
}

/// Tokens per second, where there is something to divide.
fn rate(tokens: u32, ms: f64) -> Option<f64> {
    (tokens > 0 && ms > 0.0).then(|| f64::from(tokens) * 1000.0 / ms)
}

/// What a finished answer says of its prompt and of its cost.
pub(crate) fn account(
    resumption: &Resumption,
    prepared: Option<&Prepared>,
    finished: &Finished,
) -> (Receipt, Timing) {
    let (total, reused, prepare_ms) =
        prepared.map_or((0, 0, 0.0), |p| (p.prompt_tokens, p.reused, p.prepare_ms));
    let by_reuse = if reused > 0 { ResumePath::Live } else { ResumePath::Fresh };
    let receipt = Receipt {
        path: resumption.path.unwrap_or(by_reuse),
        reason: resumption.reason.clone(),
        tokens_total: total,
        tokens_reused: reused,
        tokens_decoded: finished.prefill_tokens,
        bytes_read: resumption.bytes_read,
        ms: resumption.ms + prepare_ms + finished.prefill_ms,
        ms_bytes: resumption.ms_bytes,
        ms_challenge: resumption.ms_challenge,
        estimated_replay_ms: resumption.estimated_replay_ms,
        checks: resumption.checks.clone(),
    };
    let timing = Timing {
        load_ms: None,
        resume_ms: resumption.ms + prepare_ms,
        ttft_ms: finished.ttft_ms.map(|ms| ms + resumption.ms),
        checkpoint_ms: finished.checkpoint_ms,
        prefill_tokens: finished.prefill_tokens,
        prefill_tok_s: rate(finished.prefill_tokens, finished.prefill_ms),
        decode_tokens: finished.decode_tokens,
        decode_tok_s: rate(finished.decode_tokens.saturating_sub(1), finished.decode_ms),
    };
    (receipt, timing)
}
