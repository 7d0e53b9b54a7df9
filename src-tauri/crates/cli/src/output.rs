//! What goes to standard output and to standard error, and how failures look.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reprise_chat::ChatError;
use reprise_chat::engine::EngineError;
use reprise_chat::history::{ConversationId, NodeId, StoreError};
use reprise_protocol::AppError;
use serde::Serialize;

use crate::args::Global;

/// Ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Where results and steps go. Nothing fails because a pipe was closed.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
    verbose: bool,
    /// Whether streamed text stands in a line that is not ended.
    open_line: Arc<AtomicBool>,
}

impl Out {
    pub(crate) fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet, verbose: global.verbose, open_line: Arc::default() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// The result: one JSON object, or what people read.
    pub(crate) fn result(&self, json: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            print_json(json);
        } else {
            print(&text());
        }
    }

    /// Part of a streamed answer: standard output belongs to the JSON object where one is wanted.
    pub(crate) fn stream(&self, text: &str) {
        if text.is_empty() || (self.json && self.quiet) {
            return;
        }
        let terminal = if self.json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        // A file gets what the model wrote; a terminal must not obey it.
        let shown = if terminal { plain(text) } else { text.to_owned() };
        if self.json {
            note(&shown);
        } else {
            print(&shown);
        }
        self.open_line.store(!text.ends_with('\n'), Ordering::Relaxed);
    }

    /// Ends the line of a streamed answer.
    pub(crate) fn end_line(&self) {
        if self.open_line.load(Ordering::Relaxed) {
            self.stream("\n");
        }
    }

    /// Something worth knowing that is no result.
    pub(crate) fn tell(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    /// A step, for those who asked for steps.
    pub(crate) fn step(&self, line: &str) {
        if self.verbose {
            self.line(line);
        }
    }

    /// A line of its own, also in the middle of a streamed answer that is seen in the same place.
    fn line(&self, line: &str) {
        let same_place = self.json || (io::stdout().is_terminal() && io::stderr().is_terminal());
        let open = same_place && self.open_line.swap(false, Ordering::Relaxed);
        note(&format!("{}{line}\n", if open { "\n" } else { "" }));
    }

    /// Shows a failure and gives the exit code.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        self.end_line();
        if self.json {
            print_json(failure);
        } else {
            note(&format!("{}\n{}\n", failure.error.message, failure.error.remedy));
            if let Some(kept) = &failure.kept {
                note(&format!("[conversation {}]\n", kept.conversation));
            }
        }
        failure.exit_code()
    }
}

/// Ctrl-C is no failure of the program's: shells know its code.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Ends the process at once, as Ctrl-C would have.
pub(crate) fn exit_interrupted() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}

fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints the one JSON object.
pub(crate) fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => print(&format!("{line}\n")),
        Err(error) => note(&format!("{error}\n")),
    }
}

/// Text for a terminal: control characters, which could move the cursor or change the terminal, are
/// shown as what they are.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{FFFD}',
            c => c,
        })
        .collect()
}

/// Why a command failed.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    error: AppError,
    /// Where to go on, where a message was kept before it failed.
    #[serde(flatten)]
    kept: Option<Box<Kept>>,
    /// Turns of the same command that went well before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    turns: Vec<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Kept {
    conversation: String,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>, remedy: &str) -> Self {
        let error = AppError { code: code.to_owned(), message: message.into(), remedy: remedy.to_owned() };
        Self { error, kept: None, turns: Vec::new() }
    }

    pub(crate) fn after(mut self, turns: Vec<serde_json::Value>) -> Self {
        self.turns = turns;
        self
    }

    pub(crate) fn at(mut self, conversation: ConversationId, message: NodeId) -> Self {
        let kept = Kept { conversation: conversation.to_string(), message: message.to_string() };
        self.kept = Some(Box::new(kept));
        self
    }

    /// 130 where somebody interrupted it, else 1.
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.error.code == "cancelled" { INTERRUPTED } else { 1 })
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

/// A duration for people: milliseconds below a second, then one decimal, then minutes.
pub(crate) fn duration(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else if ms < 60_000.0 {
        format!("{:.1} s", ms / 1000.0)
    } else {
        let minutes = (ms / 60_000.0).floor();
        format!("{minutes:.0}:{:02.0}", (ms / 1000.0 - minutes * 60.0).floor())
    }
}

/// A number with thousands separated.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes for people; sizes are decimal.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.0} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.0} kB", b / 1e3),
        b => format!("{b:.0} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_commanded_by_what_a_model_writes() {
        assert_eq!(plain("a\u{1b}[2J\r\n\tb 你好"), "a\u{FFFD}[2J\u{FFFD}\n\tb 你好");
    }

    #[test]
    fn figures_read_as_the_design_says() {
        assert_eq!(duration(83.4), "83 ms");
        assert_eq!(duration(18_640.0), "18.6 s");
        assert_eq!(duration(125_900.0), "2:05");
        assert_eq!(grouped(4096), "4,096");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(size(4_900_000_000), "4.9 GB");
    }
}
