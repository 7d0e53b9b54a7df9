use serde::{Deserialize, Serialize};

use crate::{AppError, MessageView};

/// What the person asks of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// A first message: a conversation begins, answered by the chosen model.
    Begin {
        /// The message.
        text: String,
    },
    /// A further message.
    Continue {
        /// In this conversation.
        conversation: String,
        /// Behind the last message that is shown.
        text: String,
    },
    /// One's own message, written anew: a branch beside it.
    Edit {
        /// The person's message.
        message: String,
        /// What it says now.
        text: String,
    },
    /// Another answer to the same message: a branch beside the present one.
    Regenerate {
        /// The answer.
        answer: String,
    },
    /// An answer to a message that has none: the engine failed before it wrote anything.
    Retry {
        /// The person's message.
        message: String,
    },
}

/// What a turn reports, in this order; the last one is `Done` or `Failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TurnUpdate {
    /// The person's message is on the disk.
    Kept {
        /// Where.
        conversation: String,
        /// The conversation's title.
        title: String,
        /// The message; for `Regenerate` and `Retry` the one that is answered.
        message: MessageView,
    },
    /// An answer in another conversation is still being written; this one begins after it.
    Queued,
    /// The model is being loaded.
    Loading {
        /// 0 to 1.
        fraction: f32,
    },
    /// The engine was lost before it had written anything, and is tried once more.
    Retrying {
        /// How it was lost.
        error: AppError,
    },
    /// The prompt is tokenised, and what is known of it is in the KV cache.
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
        /// Time that is left at the rate so far, in milliseconds, where it can be told.
        left_ms: Option<f64>,
    },
    /// The answer has begun and has a place in the tree.
    Answering {
        /// The answer, empty so far.
        message: MessageView,
    },
    /// More of the answer; sent every 40 ms at most.
    Text {
        /// What came since the last update.
        text: String,
        /// Tokens sampled so far.
        tokens: u32,
    },
    /// The answer could not be kept so far; it goes on, and is tried again.
    NotKept {
        /// Why.
        error: AppError,
    },
    /// The answer is whole, or was stopped, and is on the disk.
    Done {
        /// The answer.
        message: MessageView,
        /// Tokens of the KV cache that the conversation takes now.
        context_used: u32,
    },
    /// There is no answer, or only a part of one.
    Failed {
        /// Why, and what to do.
        error: AppError,
        /// The part, where there is one; it is kept and marked interrupted.
        message: Option<MessageView>,
    },
}
