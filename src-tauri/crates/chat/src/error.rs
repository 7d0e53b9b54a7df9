//! Why a use-case failed, in words for people and a code for programs.

use reprise_engine::{EngineError, Fault};
use reprise_store::{ConversationId, NodeId, StoreError};

/// Why a use-case failed.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The library said no.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The engine said no, before anything of an answer came.
    #[error("{error}{}", after_death(error, *message_kept))]
    Engine {
        /// What it said.
        error: EngineError,
        /// Whether the person's message is in the library.
        message_kept: bool,
    },
    /// The engine was lost in the middle of an answer. What came is kept.
    #[error(
        "{}; what was written of the answer until then is kept and marked interrupted.",
        error.to_string().trim_end_matches('.')
    )]
    Interrupted {
        /// How it was lost.
        error: EngineError,
        /// Where the answer belongs.
        conversation: ConversationId,
        /// The interrupted answer.
        node: NodeId,
    },
    /// The prompt does not fit. Nothing was cut; the message is kept as a branch.
    #[error("{fault} Nothing was cut; your message is kept.")]
    PromptTooLong {
        /// By how much.
        fault: Fault,
        /// Where the message belongs.
        conversation: ConversationId,
        /// The message.
        message: NodeId,
    },
    /// The conversation's last answer is not finished. Nothing was kept.
    #[error("An answer in this conversation is still being written, so nothing was sent.")]
    TurnOpen {
        /// The conversation.
        conversation: ConversationId,
    },
    /// The program is about to end. Nothing was kept.
    #[error("Reprise is closing, so nothing was sent.")]
    Closing,
    /// No model is chosen. Nothing was kept.
    #[error("No model is chosen, so there is nobody to answer. Nothing was sent.")]
    NoModel,
    /// The file cannot be chosen as a model. Nothing was changed.
    #[error("{0}")]
    Model(Fault),
    /// Several files were given where one is wanted. Nothing was changed.
    #[error("{count} files were dropped, and only one can be the model. Nothing was changed.")]
    ManyFiles {
        /// How many.
        count: usize,
    },
    /// The address will not be opened.
    #[error("This link was not opened: {why}.")]
    Link {
        /// Why not.
        why: &'static str,
    },
    /// The request contradicts itself or the conversation.
    #[error("{what}")]
    BadRequest {
        /// What is wrong with it.
        what: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
}

fn after_death(error: &EngineError, message_kept: bool) -> &'static str {
    match error {
        EngineError::Died(_) if message_kept => " Your message is saved.",
        _ => "",
    }
}

impl ChatError {
    /// Stable snake-case word for code to branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Engine { error, .. } | Self::Interrupted { error, .. } => error.code(),
            Self::PromptTooLong { fault, .. } | Self::Model(fault) => fault.code(),
            Self::TurnOpen { .. } => "turn_open",
            Self::Closing => "closing",
            Self::NoModel => "no_model",
            Self::ManyFiles { .. } => "many_files",
            Self::Link { .. } => "link_refused",
            Self::BadRequest { .. } => "bad_request",
        }
    }

    /// What the person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Store(error) => error.remedy(),
            Self::Engine { error, .. } | Self::Interrupted { error, .. } => error.remedy(),
            Self::PromptTooLong { fault, .. } | Self::Model(fault) => fault.remedy(),
            Self::TurnOpen { .. } => "Wait for it, or stop it first.",
            Self::Closing => "Start Reprise again.",
            Self::NoModel => "Choose a model file (GGUF) first.",
            Self::ManyFiles { .. } => "Drop one .gguf file; of a model in several parts, the first.",
            Self::Link { .. } => "Copy the address and look at it before you open it anywhere.",
            Self::BadRequest { remedy, .. } => remedy,
        }
    }
}
