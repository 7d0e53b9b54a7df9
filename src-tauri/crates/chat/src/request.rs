//! What a turn is asked for, what it reports, what it ends with.

use std::path::PathBuf;

use reprise_engine::EngineError;
use reprise_engine::message::{Finite, FlashAttention, KvType, Offload, Sampling, StopReason, TokenId};
use reprise_store::{ConversationId, NodeId};

use crate::{NotSaved, Reason, Receipt, ResumePath, SavedState, Timing};
use tokio::sync::oneshot;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A first message: a conversation begins.
    Begin {
        /// The message.
        text: String,
        /// Instructions for the model.
        system: Option<String>,
    },
    /// A further message.
    Continue {
        /// In this conversation.
        conversation: ConversationId,
        /// Behind this message; `None`: behind the one that is shown last. Behind an earlier one it
        /// begins a branch, and nothing is overwritten.
        parent: Option<NodeId>,
        /// The message.
        text: String,
    },
    /// A message of the person, written anew: a branch beside it.
    Edit {
        /// The person's message.
        message: NodeId,
        /// What it says now.
        text: String,
    },
    /// Another answer to the same message: a branch beside the present one.
    Regenerate {
        /// The answer that is not good enough.
        answer: NodeId,
    },
    /// An answer to a message that has none.
    Retry {
        /// The person's message.
        message: NodeId,
    },
}

/// How the model is loaded. The same options and file mean that a loaded model stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Context in tokens; `None`: the model's own within a default.
    pub n_ctx: Option<u32>,
    /// Threads; `None`: the engine's choice.
    pub n_threads: Option<u32>,
    /// Element type of the KV cache.
    pub kv_type: KvType,
    /// Whether attention is computed in the fused way.
    pub flash_attention: FlashAttention,
    /// Base frequency of the rotary position embedding; `None`: the model's own.
    pub rope_freq_base: Option<Finite>,
    /// What is computed on a device with memory of its own; `None`: nothing.
    pub offload: Option<Offload>,
}

/// How tokens are chosen; what is `None` is llama.cpp's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplingOptions {
    /// See [`Sampling::temperature`].
    pub temperature: Option<f32>,
    /// See [`Sampling::top_k`].
    pub top_k: Option<i32>,
    /// See [`Sampling::top_p`].
    pub top_p: Option<f32>,
    /// See [`Sampling::min_p`].
    pub min_p: Option<f32>,
    /// See [`Sampling::repeat_penalty`].
    pub repeat_penalty: Option<f32>,
    /// The seed of the conversation's answers; `None`: the one it began with.
    pub seed: Option<u64>,
}

impl SamplingOptions {
    pub(crate) fn resolve(&self, seed: u32) -> Sampling {
        let usual = Sampling::default();
        Sampling {
            temperature: self.temperature.unwrap_or(usual.temperature),
            top_k: self.top_k.unwrap_or(usual.top_k),
            top_p: self.top_p.unwrap_or(usual.top_p),
            min_p: self.min_p.unwrap_or(usual.min_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(usual.repeat_penalty),
            repeat_last_n: usual.repeat_last_n,
            seed,
        }
    }
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnRequest {
    /// What is asked for.
    pub ask: Ask,
    /// The GGUF file that answers.
    pub model: PathBuf,
    /// How it is loaded.
    pub load: LoadOptions,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Tokens at most; `None`: as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether states are restored and kept.
    pub snapshots: bool,
}

/// What a turn reports while it goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnEvent {
    /// The message is on the disk.
    Kept {
        /// Where.
        conversation: ConversationId,
        /// The message.
        message: NodeId,
    },
    /// Another turn goes on; this one begins after it.
    Queued,
    /// The model is being loaded.
    Loading {
        /// 0 to 1.
        fraction: f32,
    },
    /// The engine was lost before it had written anything, and is tried once more.
    Retrying {
        /// How it was lost.
        error: EngineError,
    },
    /// The context is ready for the prompt.
    Resumed {
        /// How.
        path: ResumePath,
        /// Why not in a cheaper way.
        reason: Option<Reason>,
    },
    /// The prompt is tokenised.
    Prepared {
        /// Tokens of the prompt.
        tokens: u32,
        /// Of these, reused.
        reused: u32,
    },
    /// The prompt is being read.
    Reading {
        /// Tokens decoded.
        done: u32,
        /// Tokens to decode.
        of: u32,
    },
    /// The answer has begun and has a place in the tree.
    Answering {
        /// The answer.
        node: NodeId,
    },
    /// More of the answer.
    Text {
        /// What came since the last one.
        text: String,
        /// Tokens sampled so far.
        tokens: u32,
    },
    /// The answer could not be kept so far; it goes on.
    NotKept {
        /// Stable snake-case word.
        code: &'static str,
        /// One sentence.
        message: String,
    },
}

/// A finished turn.
#[derive(Debug)]
pub struct TurnOutcome {
    /// Where it belongs.
    pub conversation: ConversationId,
    /// The message that was answered.
    pub message: NodeId,
    /// The answer.
    pub node: NodeId,
    /// Its text.
    pub text: String,
    /// The tokens that were sampled.
    pub token_ids: Vec<TokenId>,
    /// Why it ended.
    pub stop: StopReason,
    /// How the prompt came to be in the KV cache.
    pub receipt: Receipt,
    /// What it took.
    pub timing: Timing,
    /// What becomes of its state.
    pub saving: Saving,
}

/// A state on its way to the disk.
#[derive(Debug)]
pub struct Saving(pub(crate) oneshot::Receiver<Result<SavedState, NotSaved>>);

impl Saving {
    /// Ended already.
    pub(crate) fn ended(result: Result<SavedState, NotSaved>) -> Self {
        let (sender, receiver) = oneshot::channel();
        // The receiver is here.
        let _ = sender.send(result);
        Self(receiver)
    }

    /// Waits until it is kept, or is given up. To be asked once.
    pub async fn done(&mut self) -> Result<SavedState, NotSaved> {
        (&mut self.0).await.unwrap_or_else(|_| Err(NotSaved::overtaken("A later turn took its place.")))
    }
}
