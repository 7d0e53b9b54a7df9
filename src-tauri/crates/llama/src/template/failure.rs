//! What can go wrong with a template, in words that never quote the conversation.

use std::error::Error as StdError;
use std::fmt;

use minijinja::ErrorKind;
use serde::{Deserialize, Serialize};

/// Longest text of a template that is shown to anyone, in characters.
const SHOWN: usize = 200;

/// Why a prompt could not be made. The sentences are for people, and never hold words of the
/// conversation: text that a template raises is shown only where it stands in the template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TemplateError {
    /// The source is not valid Jinja.
    #[error("The model's chat template has a mistake in line {line}: {message}.")]
    Syntax {
        /// Line of the source, from 1.
        line: usize,
        /// What the parser says of it.
        message: String,
    },
    /// The template called `raise_exception`, which is how it refuses a conversation.
    #[error("The model's chat template refuses this conversation{}.", raised(.message.as_deref()))]
    Raised {
        /// Its message, absent where it does not stand in the template itself.
        message: Option<String>,
    },
    /// Something undefined was used in a way that Jinja does not allow.
    #[error("The model's chat template uses something undefined{}.", in_line(*.line))]
    Undefined {
        /// Line of the source, from 1, where known.
        line: Option<usize>,
    },
    /// Any other failure while rendering.
    #[error("The model's chat template failed{}: {message}.", in_line(*.line))]
    Runtime {
        /// Line of the source, from 1, where known.
        line: Option<usize>,
        /// The kind of the failure, with details only where they cannot hold conversation text.
        message: String,
    },
    /// The budget of steps is used up: a loop without end, or an explosion of text.
    #[error("The model's chat template takes too many steps and was stopped.")]
    TooManySteps,
    /// The prompt is out of all proportion to the conversation.
    #[error("The model's chat template writes more than {limit} bytes and was stopped.")]
    OutputTooLarge {
        /// The cap, in bytes.
        limit: usize,
    },
    /// Macros or loops call themselves too deep, or the source nests too deep.
    #[error("The model's chat template nests too deep and was stopped.")]
    TooDeep,
    /// No answer within the time.
    #[error("The model's chat template took longer than {millis} ms and was stopped.")]
    TimedOut {
        /// The limit, in milliseconds.
        millis: u64,
    },
    /// More memory was asked for than a prompt can need.
    #[error("The model's chat template needs too much memory and was stopped.")]
    OutOfMemory,
    /// The source itself is too long.
    #[error("The model's chat template is {bytes} bytes long; at most {limit} are accepted.")]
    SourceTooLarge {
        /// Length of the source, in bytes.
        bytes: usize,
        /// The cap, in bytes.
        limit: usize,
    },
    /// The renderer itself could not do its work; the template may be fine.
    #[error("The prompt could not be made: {reason}.")]
    Unavailable {
        /// What failed.
        reason: String,
    },
}

fn raised(message: Option<&str>) -> String {
    // Its own full stop would double ours.
    message.map_or_else(String::new, |message| format!(": {}", message.trim_end_matches('.')))
}

fn in_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" in line {line}"))
}

/// Carries the message of `raise_exception` through minijinja.
#[derive(Debug)]
pub(super) struct RaisedByTemplate(pub(super) String);

impl fmt::Display for RaisedByTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("raise_exception")
    }
}

impl StdError for RaisedByTemplate {}

/// Sorts an error of minijinja. `output_limit` is what its writer was held to.
pub(super) fn from_engine(error: &minijinja::Error, source: &str, output_limit: usize) -> TemplateError {
    // A failure within a block or an include comes wrapped; the innermost says what it was.
    let mut innermost = error;
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(RaisedByTemplate(message)) = cause.downcast_ref() {
            return TemplateError::Raised { message: own_words(message, source) };
        }
        if let Some(inner) = cause.downcast_ref() {
            innermost = inner;
        }
        next = cause.source();
    }

    let detail = innermost.detail().unwrap_or_default();
    let line = innermost.line();
    match innermost.kind() {
        _ if matches!(
            detail,
            "recursion limit exceeded" | "template exceeds maximum recursion limits" | TOO_DEEP
        ) =>
        {
            TemplateError::TooDeep
        }
        ErrorKind::OutOfFuel => TemplateError::TooManySteps,
        ErrorKind::WriteFailure => TemplateError::OutputTooLarge { limit: output_limit },
        // The parser has seen no conversation.
        ErrorKind::SyntaxError | ErrorKind::BadEscape => TemplateError::Syntax {
            line: line.unwrap_or(1),
            message: shown(if detail.is_empty() { "bad escape in a string" } else { detail }),
        },
        ErrorKind::UndefinedError => TemplateError::Undefined { line },
        kind => TemplateError::Runtime { line, message: runtime_message(kind, detail, source) },
    }
}

/// The detail with which our own filters say that a value nests too deep.
pub(super) const TOO_DEEP: &str = "value nests too deep";

/// A message of the template, if it is the template's own: conversation text that was put into
/// it is not found in the source. Backslashes of escapes are left out of the comparison.
fn own_words(message: &str, source: &str) -> Option<String> {
    let unescaped = |text: &str| text.replace('\\', "");
    let known = !message.trim().is_empty() && unescaped(source).contains(&unescaped(message));
    known.then(|| shown(message))
}

/// Most details of minijinja may quote a value. These two forms cannot: operators on types, and
/// names that stand in the source.
pub(super) fn runtime_message(kind: ErrorKind, detail: &str, source: &str) -> String {
    const WORDS: [&str; 24] = [
        "filter",
        "test",
        "function",
        "is",
        "unknown",
        "has",
        "no",
        "method",
        "named",
        "string",
        "map",
        "sequence",
        "iterator",
        "number",
        "bool",
        "none",
        "undefined",
        "plain",
        "object",
        "bytes",
        "type",
        "of",
        "value",
        "attribute",
    ];
    let safe = match kind {
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod => detail
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .all(|word| WORDS.contains(&word) || source.contains(word)),
        ErrorKind::InvalidOperation => {
            detail.starts_with("tried to use ") && detail.contains(" operator on unsupported types ")
        }
        _ => false,
    };
    if safe && !detail.is_empty() { shown(detail) } else { shown(&kind.to_string()) }
}

/// Makes text of a template fit for a sentence: no control characters, no novel.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown.trim_end_matches('.').to_owned()
}
