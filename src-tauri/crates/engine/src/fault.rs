//! What can go wrong with inference, for people and for code.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A request failed and the worker said why; it lives on.
///
/// No variant carries conversation text: faults are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Fault {
    /// There is nothing at this path.
    #[error("The model file {} is not there.", path.display())]
    ModelMissing {
        /// As asked for.
        path: PathBuf,
    },
    /// The path is a folder.
    #[error("{} is a folder, not a model file.", path.display())]
    ModelIsDirectory {
        /// As asked for.
        path: PathBuf,
    },
    /// The operating system does not let it be read.
    #[error("The model file {} cannot be read: {cause}.", path.display())]
    ModelUnreadable {
        /// As asked for.
        path: PathBuf,
        /// The operating system's words.
        cause: String,
    },
    /// The file is something else.
    #[error("{} is not a GGUF model file.", path.display())]
    ModelNotGguf {
        /// As asked for.
        path: PathBuf,
    },
    /// The file ends too early or contradicts itself.
    #[error("The model file {} is incomplete or damaged: {detail}.", path.display())]
    ModelDamaged {
        /// As asked for.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// llama.cpp at this version does not know the architecture.
    #[error("This version of Reprise cannot run models of the architecture \u{201c}{architecture}\u{201d}.")]
    ModelUnsupported {
        /// `general.architecture`.
        architecture: String,
    },
    /// llama.cpp refused it for another reason.
    #[error("The model {} could not be loaded: {detail}.", path.display())]
    ModelLoadFailed {
        /// As asked for.
        path: PathBuf,
        /// llama.cpp's words.
        detail: String,
    },
    /// The context could not be made, mostly for want of memory.
    #[error("A context of {n_ctx} tokens could not be set up: {detail}.")]
    ContextFailed {
        /// Tokens.
        n_ctx: u32,
        /// llama.cpp's words.
        detail: String,
    },
    /// Backend modules are missing, so nothing can compute.
    #[error("No compute module could be loaded from the engine folder.")]
    NoBackend,
    /// No module sees a device of this name.
    #[error("There is no device \u{201c}{device}\u{201d} here that the engine can compute on.")]
    NoSuchDevice {
        /// As asked for.
        device: String,
    },
    /// Generation was asked for before a model was loaded.
    #[error("No model is loaded.")]
    NotLoaded,
    /// There is nothing to answer.
    #[error("The message is empty.")]
    PromptEmpty,
    /// The prompt does not fit; nothing was cut.
    #[error(
        "The conversation needs {tokens} tokens and the context holds {n_ctx}: it is {} too long.",
        tokens.saturating_sub(*n_ctx) + 1
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: u32,
        /// Tokens of the context.
        n_ctx: u32,
    },
    /// The request does not fit into one message to the worker.
    #[error("The conversation is {bytes} bytes long, which is more than the engine takes.")]
    RequestTooLarge {
        /// As sent, in bytes.
        bytes: usize,
    },
    /// The chat template could not be used.
    #[error("The model's chat template cannot be used: {detail}.")]
    Template {
        /// What the template did.
        detail: String,
    },
    /// The decode step failed; the context was destroyed.
    #[error("llama.cpp could not go on computing: {detail}.")]
    DecodeFailed {
        /// llama.cpp's words.
        detail: String,
    },
    /// The live context holds nothing that could be exported, or its state cannot be.
    #[error("This conversation's state cannot be saved: {detail}.")]
    StateUnavailable {
        /// Why.
        detail: String,
    },
    /// The image was displaced by a later one.
    #[error("A later state took the place of this one.")]
    ImageGone,
    /// What was asked of an image contradicts itself.
    #[error("The engine was asked for impossible pieces of a state: {detail}.")]
    BadPieces {
        /// What is wrong with them.
        detail: String,
    },
    /// Somebody asked to end it (loads only; a cancelled answer is `Finished`).
    #[error("It was cancelled.")]
    Cancelled,
}

impl Fault {
    /// Stable snake-case word for code to branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModelMissing { .. } => "model_missing",
            Self::ModelIsDirectory { .. } => "model_is_directory",
            Self::ModelUnreadable { .. } => "model_unreadable",
            Self::ModelNotGguf { .. } => "model_not_gguf",
            Self::ModelDamaged { .. } => "model_damaged",
            Self::ModelUnsupported { .. } => "model_unsupported",
            Self::ModelLoadFailed { .. } => "model_load_failed",
            Self::ContextFailed { .. } => "context_failed",
            Self::NoBackend => "no_backend",
            Self::NoSuchDevice { .. } => "no_such_device",
            Self::NotLoaded => "not_loaded",
            Self::PromptEmpty => "prompt_empty",
            Self::PromptTooLong { .. } => "prompt_too_long",
            Self::RequestTooLarge { .. } => "request_too_large",
            Self::Template { .. } => "template_failed",
            Self::DecodeFailed { .. } => "decode_failed",
            Self::StateUnavailable { .. } => "state_unavailable",
            Self::ImageGone => "image_gone",
            Self::BadPieces { .. } => "bad_pieces",
            Self::Cancelled => "cancelled",
        }
    }

    /// What the person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ModelMissing { .. } => "Check the path, or choose another model file.",
            Self::ModelIsDirectory { .. } => "Choose the .gguf file inside it.",
            Self::ModelUnreadable { .. } => "Check the file's permissions and the disk it is on.",
            Self::ModelNotGguf { .. } => {
                "Choose a file in GGUF format; other formats must be converted first."
            }
            Self::ModelDamaged { .. } => "Download the file again; it was probably cut short.",
            Self::ModelUnsupported { .. } => "Choose another model, or a newer version of Reprise.",
            Self::ModelLoadFailed { .. } => "Try another file of this model; the log has the details.",
            Self::ContextFailed { .. } => "Choose a smaller context, or close other programs to free memory.",
            Self::NoBackend => "Reinstall Reprise: files of its engine are missing.",
            Self::NoSuchDevice { .. } => {
                "Choose one that `reprise-cli doctor` lists, or let Reprise choose: `--backend auto`."
            }
            Self::NotLoaded => "Choose a model first.",
            Self::PromptEmpty => "Write something first.",
            Self::PromptTooLong { .. } | Self::RequestTooLarge { .. } => {
                "Shorten the message, start a new conversation, or choose a larger context."
            }
            Self::Template { .. } => "Choose another file of this model; this one's template is at fault.",
            Self::DecodeFailed { .. } => {
                "Send the message again; if it happens again, choose a smaller context."
            }
            Self::StateUnavailable { .. } | Self::ImageGone | Self::BadPieces { .. } => {
                "Nothing to do: the text is kept, and the conversation is read again next time."
            }
            Self::Cancelled => "Nothing to do.",
        }
    }
}

/// How a worker was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// The program could not be started.
    #[error("the engine could not be started: {0}")]
    NotStarted(String),
    /// It ended by itself or was ended.
    #[error("the engine stopped ({0})")]
    Exited(String),
    /// It said nothing for too long and was ended.
    #[error("the engine did not respond for {0} s and was stopped")]
    Silent(u64),
    /// It said something that is not this protocol.
    #[error("the engine sent something unreadable and was stopped ({0})")]
    Garbled(String),
    /// App and worker are of different versions.
    #[error("the engine is of another version (protocol {theirs}, expected {ours})")]
    WrongVersion {
        /// The worker's.
        theirs: u32,
        /// The app's.
        ours: u32,
    },
}

impl Death {
    /// Whether another try may end better: the same program is of the same version, and a file that is
    /// missing stays so.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::NotStarted(_) | Self::WrongVersion { .. })
    }
}

/// Why a call on [`crate::EngineHandle`] failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The worker said no.
    #[error("{0}")]
    Fault(Fault),
    /// The worker died on this request.
    #[error("{}", sentence(.0))]
    Died(Death),
    /// The engine was shut down.
    #[error("The engine has been shut down.")]
    Closed,
}

fn sentence(death: &Death) -> String {
    let text = death.to_string();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).chain(['.']).collect()).unwrap_or_default()
}

impl EngineError {
    /// Stable snake-case word for code to branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::Died(Death::NotStarted(_)) => "engine_missing",
            Self::Died(Death::WrongVersion { .. }) => "engine_version",
            Self::Died(_) => "engine_died",
            Self::Closed => "engine_closed",
        }
    }

    /// What the person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.remedy(),
            Self::Died(Death::NotStarted(_) | Death::WrongVersion { .. }) => {
                "Reinstall Reprise, or point --engine-dir at the engine folder."
            }
            Self::Died(_) => {
                "Send the message again; if it happens again, choose a smaller context or model."
            }
            Self::Closed => "Start Reprise again.",
        }
    }
}

impl From<Fault> for EngineError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_says_by_how_much_including_room_for_one_token() {
        let fault = Fault::PromptTooLong { tokens: 9000, n_ctx: 8192 };
        assert_eq!(
            fault.to_string(),
            "The conversation needs 9000 tokens and the context holds 8192: it is 809 too long."
        );
    }

    #[test]
    fn the_code_on_the_wire_is_the_code() {
        for fault in [
            Fault::NoBackend,
            Fault::PromptEmpty,
            Fault::ModelMissing { path: "x".into() },
            Fault::Template { detail: "x".into() },
        ] {
            // `Template` is the one whose wire tag is shorter than its public code.
            let wire = serde_json::to_value(&fault).unwrap();
            let tag = wire["code"].as_str().unwrap().to_owned();
            assert!(fault.code().starts_with(&tag), "{tag} vs {}", fault.code());
        }
    }
}
