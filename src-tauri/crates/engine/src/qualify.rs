//! What is asked to find out whether states of a model survive here, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualifySpec {
    /// Tokens to read before the state is taken. More than a model's window, where it has one, so that
    /// the window has gone round; the worker raises it as far as that needs.
    pub tokens: u32,
    /// Tokens to continue with, and to compare.
    pub steps: u32,
}

impl Default for QualifySpec {
    fn default() -> Self {
        Self { tokens: 320, steps: 32 }
    }
}

/// What a run came to. Three continuations of the same beginning were computed with the same tokens: the
/// *uninterrupted* one; that of the state *set again* in the same context; and that of the state set in a *new*
/// context. Divergences are those of Kullback and Leibler, of next-token distributions over the whole
/// vocabulary, in nats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Qualified {
    /// Tokens that were read before the state was taken.
    pub tokens: u32,
    /// Tokens that were compared.
    pub steps: u32,
    /// Bytes of the state.
    pub state_bytes: u64,
    /// Why the state could not be taken out or put in, where it could not. Then nothing was compared.
    pub fault: Option<String>,
    /// Whether the continuation in the new context is that of the uninterrupted run in every bit.
    pub identical: bool,
    /// Whether the continuation in the new context is that of the state set again in every bit: two
    /// restores give the same.
    pub repeatable: bool,
    /// From the uninterrupted run to the new context, at the first token after the state.
    pub challenge_kl: f64,
    /// The mean of that over all steps.
    pub mean_kl: f64,
    /// From the uninterrupted run to an empty context, at the first token: what a lost state would give.
    pub control_kl: f64,
    /// The largest difference of two logits, uninterrupted against new context.
    pub max_logit_difference: f64,
    /// Steps at which both hold the same token for the likeliest.
    pub same_tokens: u32,
    /// What was computed on: device, modules, threads.
    pub class: BTreeMap<String, String>,
    /// Time it took, in milliseconds.
    pub ms: f64,
}
