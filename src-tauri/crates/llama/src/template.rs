//! Chat templates: the Jinja program inside a GGUF file that turns messages into a prompt.
//!
//! The environment is the one that Hugging Face's transformers gives to templates: blocks trimmed,
//! no escaping, `raise_exception`, `strftime_now`, `tojson` without HTML escapes, loop controls,
//! the methods of Python's `str`, `dict` and `list`, and `tools` and `documents` set to none.
//!
//! # A template is untrusted
//! It came with the model, from anywhere. Two fences stand around it.
//!
//! 1. **Inside the process** ([`ChatTemplate`]): a budget of steps that also pays for bytes
//!    (minijinja charges 1 step for 64 bytes), caps on source, output and recursion, no loader.
//!    It ends nearly every bad template early, and says why.
//! 2. **Around the process** ([`SandboxedRenderer`]): a short-lived child with an address-space
//!    limit and a deadline. It is needed because the first fence has gaps, found with minijinja
//!    3.1.0 under a budget of 1,000,000 steps:
//!
//!    | template | in-process result |
//!    |---|---|
//!    | doubling `x ~ x`, sixty times | out of steps at 45 MB: safe |
//!    | `{% set a, b = [0] * 99999999 %}` | 2.3 GB, 17 s |
//!    | `x.replace('', x)`, x of 20 kB | 0.8 GB, and quadratic in x |
//!    | `s.join([0] * 100000)`, s of 100 kB | asked for 13 GB: the process aborted |
//!    | `'{:1000000000}'.format(1)` | 2 GB, 4 s |
//!    | forty times `x = [x, x]`, then `x == y` | never ends |
//!    | `{{ 1+a+a+…` or `--…a`, below 1 MiB | stack overflow: the process aborted |
//!
//!    No check of values or of the source stops all of these; an operating system does.
//!
//! So a template of a model is compiled and rendered only through the sandbox. The built-in
//! [`CHATML`] is our own text and may be rendered in the process.

mod calendar;
mod failure;
mod python;
mod sandbox;
#[cfg(test)]
mod tests;
mod tojson;

pub use calendar::LocalTime;
pub use failure::TemplateError;
pub use sandbox::{RENDER_ARGUMENT, SandboxedRenderer, run_child_main};

use std::io;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

/// The template used for a model that brings none: `ChatML`, as most such models were trained on.
pub const CHATML: &str = "{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// What ends a message in [`CHATML`].
pub const CHATML_END: &str = "<|im_end|>";

/// The only template of an environment; its name is seen in no message.
const NAME: &str = "chat";

/// Steps that a message may cost beyond its bytes: a generous template takes about a hundred.
const STEPS_PER_MESSAGE: u64 = 1_000;

/// Steps that a byte of input may cost. A step pays for 64 bytes, so this lets a template touch
/// each byte of a conversation 128 times.
const STEPS_PER_INPUT_BYTE: u64 = 2;

/// Output that a byte of input may cause, beyond [`Limits::output_bytes`].
const OUTPUT_PER_INPUT_BYTE: usize = 4;

/// One message as a template sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or whatever else the template knows.
    pub role: String,
    /// The text, passed on verbatim: nothing in it is taken for template syntax.
    pub content: String,
}

/// What a template is rendered with.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RenderInput<'a> {
    /// The conversation, oldest first.
    pub messages: &'a [ChatMessage],
    /// Whether to end with the header of an assistant's turn that is still to be written.
    pub add_generation_prompt: bool,
    /// Text of the model's beginning-of-sequence token, empty where it has none.
    pub bos_token: &'a str,
    /// Text of the model's end-of-sequence token, empty where it has none.
    pub eos_token: &'a str,
    /// What `strftime_now` shows. Pass the time at which the conversation began, not the clock:
    /// else a prompt with a date in it changes at midnight and no longer matches its prefix.
    pub now: LocalTime,
    /// More variables, such as `enable_thinking`. Those named above cannot be replaced.
    pub extra: &'a serde_json::Map<String, serde_json::Value>,
}

impl RenderInput<'_> {
    /// Bytes of text in the messages, the measure that allowances are scaled by.
    fn bytes(&self) -> usize {
        self.messages.iter().map(|m| m.role.len() + m.content.len()).sum()
    }

    fn context(&self) -> Value {
        let messages: Value = self
            .messages
            .iter()
            .map(|message| {
                Value::from_pairs([
                    ("role", Value::from(message.role.as_str())),
                    ("content", Value::from(message.content.as_str())),
                ])
            })
            .collect();
        let now = self.now;
        let own = [
            ("messages", messages),
            ("add_generation_prompt", Value::from(self.add_generation_prompt)),
            ("bos_token", Value::from(self.bos_token)),
            ("eos_token", Value::from(self.eos_token)),
            // transformers passes these two always, and none where a caller gave nothing.
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("strftime_now", Value::from_function(move |format: &str| now.strftime(format))),
        ];
        let extra = self.extra.iter().map(|(name, value)| (name.as_str(), tojson::to_template(value)));
        Value::from_pairs(extra.chain(own))
    }
}

/// What a template may use up. The defaults leave real templates a wide margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest source, in bytes.
    pub source_bytes: usize,
    /// Depth of macros, includes and recursive loops, in minijinja's units: a macro call costs 4.
    /// Above 500 the environment takes 500.
    pub depth: usize,
    /// Steps (minijinja's fuel) of an empty conversation. To these come 1,000 for each message
    /// and 2 for each byte of it.
    pub steps: u64,
    /// Bytes of output of an empty conversation. To these come 4 for each byte of input.
    pub output_bytes: usize,
    /// Time for everything together, from starting the child to its answer. Only the sandbox
    /// can hold a template to it.
    pub time: Duration,
    /// Memory that rendering may take beyond what the child had at its start and the input itself,
    /// in bytes. To these come 16 for each byte of input. Only the sandbox can hold a template
    /// to it, and only where the system can limit an address space: Linux and the BSDs, not
    /// Windows and not macOS, where steps, output and time must do.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_bytes: 1 << 20,
            depth: 500,
            steps: 2_000_000,
            output_bytes: 1 << 20,
            time: Duration::from_secs(5),
            memory_bytes: 256 << 20,
        }
    }
}

impl Limits {
    fn steps_for(&self, input: &RenderInput) -> u64 {
        self.steps
            .saturating_add((input.messages.len() as u64).saturating_mul(STEPS_PER_MESSAGE))
            .saturating_add((input.bytes() as u64).saturating_mul(STEPS_PER_INPUT_BYTE))
    }

    fn output_for(&self, input: &RenderInput) -> usize {
        self.output_bytes.saturating_add(input.bytes().saturating_mul(OUTPUT_PER_INPUT_BYTE))
    }
}

/// A compiled template, held to the limits that a process can enforce upon itself.
///
/// For [`CHATML`] and for the child of [`SandboxedRenderer`]. A hostile source given to
/// [`compile`](Self::compile) elsewhere can take the process down (see the module's page).
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    limits: Limits,
}

impl ChatTemplate {
    /// Compiles a template.
    pub fn compile(source: &str, limits: Limits) -> Result<Self, TemplateError> {
        if source.len() > limits.source_bytes {
            return Err(TemplateError::SourceTooLarge { bytes: source.len(), limit: limits.source_bytes });
        }
        let source = prepare(source);
        let mut environment = environment(limits.depth);
        environment
            .add_template_owned(NAME, source.clone())
            .map_err(|error| failure::from_engine(&error, &source, 0))?;
        Ok(Self { environment, source, limits })
    }

    /// The built-in template, [`CHATML`].
    ///
    /// # Panics
    /// Never in a build that passed its tests: the source is a constant that they compile.
    #[must_use]
    pub fn chatml() -> Self {
        Self::compile(CHATML, Limits::default()).expect("the built-in template compiles")
    }

    /// Renders a conversation.
    pub fn render(&self, input: &RenderInput) -> Result<String, TemplateError> {
        let cap = self.limits.output_for(input);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(self.limits.steps_for(input)));
        let mut output = Capped { bytes: Vec::new(), cap };
        environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(input.context(), &mut output).map(|_| ()))
            .map_err(|error| failure::from_engine(&error, &self.source, cap))?;
        String::from_utf8(output.bytes)
            .map_err(|_| TemplateError::Runtime { line: None, message: "its output is not text".to_owned() })
    }
}

/// Brings a source to what minijinja reads the same way as Jinja2.
///
/// Jinja2 takes every kind of line end for `\n`. transformers adds the tags `generation` and
/// `endgeneration`, which mark what to train on and change nothing in the output; minijinja takes
/// no new tags, so they become an `if` that always holds, which treats spaces alike.
fn prepare(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut prepared = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        prepared.push_str(before);
        let body = tag.trim_start_matches(['-', '+']);
        let word = body.trim_start();
        prepared.push_str(&tag[..tag.len() - word.len()]);
        rest = word;
        for (ours, theirs) in [("generation", "if true"), ("endgeneration", "endif")] {
            if let Some(after) = word.strip_prefix(ours)
                && after.trim_start().trim_start_matches(['-', '+']).starts_with("%}")
            {
                prepared.push_str(theirs);
                rest = after;
            }
        }
    }
    prepared.push_str(rest);
    prepared
}

fn environment(depth: usize) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    // Only delimiters can be refused, and these are the usual ones.
    environment.set_syntax(syntax.unwrap_or_default());
    // Undefined prints as nothing and is false, but has no attributes: Jinja2's default.
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // With this on, errors carry the variables, and so the conversation.
    environment.set_debug(false);
    environment.set_recursion_limit(depth.min(500));
    environment.set_unknown_method_callback(python::call_method);
    environment.add_filter("tojson", tojson::filter);
    environment.add_function("raise_exception", |message: &str| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception")
            .with_source(failure::RaisedByTemplate(message.to_owned())))
    });
    environment.remove_global("debug");
    environment
}

/// Takes bytes up to a cap and fails at the first one beyond.
struct Capped {
    bytes: Vec<u8>,
    cap: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.cap {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
