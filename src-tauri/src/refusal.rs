//! The one error that crosses to the page, made from those of the use-cases.

use reprise_chat::ChatError;
use reprise_chat::engine::EngineError;
use reprise_chat::history::StoreError;
use reprise_protocol::AppError;
use serde::Serialize;

/// Why a command did not do what was asked. On the wire it is an [`AppError`].
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Refusal(pub AppError);

impl Refusal {
    pub fn new(code: &str, message: impl Into<String>, remedy: &str) -> Self {
        Self(AppError { code: code.to_owned(), message: message.into(), remedy: remedy.to_owned() })
    }
}

impl From<ChatError> for Refusal {
    fn from(error: ChatError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}
