use serde::{Deserialize, Serialize};

use crate::{AppError, Reason, Receipt};

/// Why a conversation is to be made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ResumeTrigger {
    /// It is shown, and the person stayed with it: only where the loaded model fits.
    Opened,
    /// The person is about to write in it: the chosen model is loaded for it, too.
    Composing,
    /// The person asked that its text is read, whatever is there.
    Replay,
}

/// How a conversation was made ready, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Resumed {
    /// When, in milliseconds since 1970.
    pub at: f64,
    /// What was done.
    pub receipt: Receipt,
}

/// What making a conversation ready reports, in this order; the last one is `Ready`, `NotYet`, `Stopped` or
/// `Failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ResumeUpdate {
    /// The model is being loaded.
    Loading {
        /// 0 to 1.
        fraction: f32,
    },
    /// A snapshot is looked for, read and proved.
    Checking,
    /// The text is being read.
    Reading {
        /// Tokens decoded.
        done: u32,
        /// Tokens to decode.
        of: u32,
        /// Tokens per second so far, where it can be told.
        tok_s: Option<f64>,
        /// Time that is left at that rate, in milliseconds, where it can be told.
        left_ms: Option<f64>,
        /// Why no snapshot is used, where there is something to say.
        reason: Option<Reason>,
    },
    /// The next message can be answered at once.
    Ready {
        /// The last message that is in the KV cache now.
        message: String,
        /// What was done for it; `None` where it was ready already.
        resumed: Option<Resumed>,
    },
    /// Nothing was done.
    NotYet {
        /// Why.
        why: NotYet,
    },
    /// It was given up: the person wished it, or turned to something else.
    Stopped,
    /// It cannot be made ready. The next message tries again.
    Failed {
        /// Why, and what to do.
        error: AppError,
    },
}

/// Why nothing was done to make a conversation ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum NotYet {
    /// An answer is being written.
    Busy,
    /// No model is loaded, and none is loaded just because a conversation is looked at.
    NotLoaded,
    /// Another model is loaded, or the same one with other settings.
    OtherModel,
    /// There is nothing to be ready for: no answer was written yet.
    Nothing,
}

/// Whether a conversation opens at once, as far as can be told without reading its state. A hint, not a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Mark {
    /// The conversation.
    pub conversation: String,
    /// Whether a snapshot of it, or what is live, fits the model and settings that would answer now.
    pub instant: bool,
    /// Where it does not: why.
    pub reason: Option<Reason>,
}

/// What it will cost to go on with a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Outlook {
    /// The conversation.
    pub conversation: String,
    /// Tokens of the branch that is shown; estimated from the text where they were never counted.
    pub tokens: u32,
    /// Reading all of them, in milliseconds, at the pace measured here with the model that would answer;
    /// `None` where none was measured yet.
    pub replay_ms: Option<f64>,
    /// Whether it opens at once.
    pub mark: Mark,
    /// What writing a message anew means, for each message of the person.
    pub edits: Vec<EditCost>,
    /// Set where another model than the chosen one wrote the last answer.
    pub crossing: Option<Crossing>,
}

/// What has to be read when a message is written anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct EditCost {
    /// The message.
    pub message: String,
    /// Tokens to read, the message's own included.
    pub tokens: u32,
    /// Reading them, in milliseconds; `None` where no pace was measured.
    pub ms: Option<f64>,
}

/// The two models between which a conversation stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Crossing {
    /// The one that wrote the last answer.
    pub before: CrossingSide,
    /// The chosen one, which would write the next.
    pub now: CrossingSide,
}

/// Going on with one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CrossingSide {
    /// Id in the list of models; `None` where it is not in it any more, or its file is gone.
    pub model: Option<String>,
    /// Name for people.
    pub name: String,
    /// Loading it, in milliseconds; 0 where it is loaded, `None` where that was never measured.
    pub load_ms: Option<f64>,
    /// Whether a snapshot fits it.
    pub instant: bool,
    /// Getting ready once it is loaded, in milliseconds; `None` where nothing was measured.
    pub ready_ms: Option<f64>,
}
