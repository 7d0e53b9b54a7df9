//! Rendering in a short-lived child process, so that a hostile template costs only that child.
//!
//! The child is the worker's own program with one argument ([`RENDER_ARGUMENT`]). It reads one
//! request (JSON) from its standard input, confines itself, renders, and writes one answer: its
//! length (u64, little endian), then JSON. The parent caps what it reads, and kills the child when
//! the time is over. The child also ends itself shortly after that, should its parent be gone.
//!
//! Limits that the child sets on itself: no core file (it would hold the conversation), and an
//! address space of what it has when the request is parsed plus [`Limits::memory_bytes`]. An
//! allocation beyond aborts the child; the parent knows that from the note that Rust's runtime
//! leaves on standard error, and tells it from an overflown stack. Nothing else of that stream is
//! used or kept. On Windows and macOS there is no such limit: steps, output and time must do.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ChatMessage, ChatTemplate, Limits, LocalTime, RenderInput, TemplateError};

/// The argument with which the program renders one template and ends. It must be looked at
/// before anything else is set up.
pub const RENDER_ARGUMENT: &str = "--render-template";

/// Stack of the thread that compiles and renders. Parsing and rendering are bounded well below;
/// it is the way from a long chain of operators to instructions that has no bound of its own.
const STACK_BYTES: usize = 16 << 20;

/// Memory that a byte of input may cause, beyond [`Limits::memory_bytes`].
const MEMORY_PER_INPUT_BYTE: u64 = 16;

/// How long after its parent should have killed it a child ends itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// How long a child waits for its request before it ends itself.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// What is read of the child's standard error.
const NOTE_BYTES: u64 = 4096;

/// JSON writes one control character as six bytes.
const JSON_EXPANSION: usize = 6;

/// Room in an answer for what is not the prompt.
const ANSWER_FRAME_BYTES: usize = 16 << 10;

#[derive(Serialize)]
struct Request<'a> {
    source: &'a str,
    limits: Limits,
    /// Absent: compile only.
    input: Option<&'a RenderInput<'a>>,
}

#[derive(Deserialize)]
struct ReceivedRequest {
    source: String,
    limits: Limits,
    input: Option<ReceivedInput>,
}

#[derive(Deserialize)]
struct ReceivedInput {
    messages: Vec<ChatMessage>,
    add_generation_prompt: bool,
    bos_token: String,
    eos_token: String,
    now: LocalTime,
    extra: serde_json::Map<String, serde_json::Value>,
}

impl ReceivedInput {
    fn as_input(&self) -> RenderInput<'_> {
        RenderInput {
            messages: &self.messages,
            add_generation_prompt: self.add_generation_prompt,
            bos_token: &self.bos_token,
            eos_token: &self.eos_token,
            now: self.now,
            extra: &self.extra,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Compiled,
    Rendered(String),
    Failed(TemplateError),
}

/// Renders the templates of models, each time in a new child process.
#[derive(Clone, Debug)]
pub struct SandboxedRenderer {
    program: PathBuf,
    limits: Limits,
}

impl SandboxedRenderer {
    /// A renderer whose child is `program`: one that calls [`run_child_main`] when given
    /// [`RENDER_ARGUMENT`].
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self::with_limits(program, Limits::default())
    }

    /// As [`new`](Self::new), with other limits.
    #[must_use]
    pub fn with_limits(program: PathBuf, limits: Limits) -> Self {
        Self { program, limits }
    }

    /// Compiles a template, so that its mistakes are known before the first message.
    pub fn check(&self, source: &str) -> Result<(), TemplateError> {
        match self.ask(source, None)? {
            Answer::Compiled => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Renders a conversation with a template.
    pub fn render(&self, source: &str, input: &RenderInput) -> Result<String, TemplateError> {
        match self.ask(source, Some(input))? {
            Answer::Rendered(prompt) => Ok(prompt),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&self, source: &str, input: Option<&RenderInput>) -> Result<Answer, TemplateError> {
        if source.len() > self.limits.source_bytes {
            // Not worth a process.
            return Err(TemplateError::SourceTooLarge {
                bytes: source.len(),
                limit: self.limits.source_bytes,
            });
        }
        let request = serde_json::to_vec(&Request { source, limits: self.limits, input })
            .map_err(|error| unavailable("the request could not be written", &error))?;
        let output = input.map_or(0, |input| self.limits.output_for(input));
        let cap = output.saturating_mul(JSON_EXPANSION).saturating_add(ANSWER_FRAME_BYTES);
        let answer = match self.exchange(&request, cap)? {
            Reply::Answer(answer) => answer,
            Reply::TooLarge => return Err(TemplateError::OutputTooLarge { limit: output }),
        };
        serde_json::from_slice(&answer)
            .map_err(|error| unavailable("the renderer gave no valid answer", &error))
    }

    /// Runs one child from request to answer; it is gone when this returns.
    fn exchange(&self, request: &[u8], cap: usize) -> Result<Reply, TemplateError> {
        let deadline = Instant::now() + self.limits.time;
        let mut child = Reaped(self.spawn()?);
        let (stdin, stdout, stderr) = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(TemplateError::Unavailable { reason: "the renderer has no pipes".into() });
        };
        thread::scope(|scope| {
            // Each stream has its thread: a child that does not read, or writes without end,
            // must hold up neither the others nor the deadline. They end when the child does.
            scope.spawn(move || {
                // A child that died before it read everything is noticed by its missing answer.
                let _ = stdin.write_all(request);
            });
            let note = scope.spawn(move || {
                let mut note = Vec::new();
                let _ = stderr.take(NOTE_BYTES).read_to_end(&mut note);
                note
            });
            let (answered, answer) = mpsc::sync_channel(1);
            scope.spawn(move || answered.send(read_answer(stdout, cap)));
            let reply = answer.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            // Answered, dead or late: in no case has it anything left to do.
            child.end();
            match reply {
                Ok(Ok(reply)) => Ok(reply),
                Err(RecvTimeoutError::Timeout) => Err(TemplateError::TimedOut {
                    millis: u64::try_from(self.limits.time.as_millis()).unwrap_or(u64::MAX),
                }),
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                    Err(cause_of_death(&note.join().unwrap_or_default()))
                }
            }
        })
    }

    fn spawn(&self) -> Result<Child, TemplateError> {
        let mut command = Command::new(&self.program);
        command
            .arg(RENDER_ARGUMENT)
            // A second arena of glibc's allocator reserves 128 MB of the limited address space.
            .env("MALLOC_ARENA_MAX", "1")
            // Looking up symbols takes memory and time, in a child that is out of one of them.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(windows)]
        {
            use std::os::windows::process::CommandExt;
            /// From winbase.h: no console window flashes up.
            const CREATE_NO_WINDOW: u32 = 0x0800_0000;
            command.creation_flags(CREATE_NO_WINDOW);
        }
        command.spawn().map_err(|error| unavailable("the renderer did not start", &error))
    }
}

/// A child that does not outlive its owner, whichever way that ends.
struct Reaped(Child);

impl Reaped {
    fn end(&mut self) {
        // Both fail only for a child that is gone, which is what they are for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        self.end();
    }
}

enum Reply {
    Answer(Vec<u8>),
    TooLarge,
}

fn read_answer(mut stdout: impl Read, cap: usize) -> io::Result<Reply> {
    let mut length = [0; 8];
    stdout.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > cap as u64 {
        return Ok(Reply::TooLarge);
    }
    let mut answer = Vec::new();
    stdout.take(length).read_to_end(&mut answer)?;
    if (answer.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Reply::Answer(answer))
}

/// Reads why a child died from what Rust's runtime wrote before it aborted.
fn cause_of_death(note: &[u8]) -> TemplateError {
    let note = String::from_utf8_lossy(note);
    if note.contains("memory allocation of") {
        TemplateError::OutOfMemory
    } else if note.contains("overflowed its stack") {
        TemplateError::TooDeep
    } else {
        TemplateError::Unavailable { reason: "the renderer ended unexpectedly".into() }
    }
}

fn unexpected(answer: Answer) -> TemplateError {
    match answer {
        Answer::Failed(error) => error,
        Answer::Compiled | Answer::Rendered(_) => {
            TemplateError::Unavailable { reason: "the renderer answered something else".into() }
        }
    }
}

/// `error` is one of the operating system or of a JSON parser, which quotes no values.
fn unavailable(what: &str, error: &impl std::fmt::Display) -> TemplateError {
    TemplateError::Unavailable { reason: format!("{what} ({error})") }
}

/// The whole life of the child: one request in, one answer out. Sets limits on the calling
/// process, which is good for nothing else afterwards.
pub fn run_child_main(mut stdin: impl Read, mut stdout: impl Write) -> ExitCode {
    // A panic's message may quote a value.
    std::panic::set_hook(Box::new(|_| {}));
    forbid_core_file();
    end_after(REQUEST_TIME);
    let mut request = Vec::new();
    if stdin.read_to_end(&mut request).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(received) = serde_json::from_slice::<ReceivedRequest>(&request) else {
        return ExitCode::FAILURE;
    };
    let input_bytes = request.len() as u64;
    drop(request);
    end_after(received.limits.time + ORPHAN_GRACE);

    let memory =
        received.limits.memory_bytes.saturating_add(input_bytes.saturating_mul(MEMORY_PER_INPUT_BYTE));
    let work = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        // Here, where the stack is already counted to what the process has.
        let answer = match limit_memory(memory) {
            Ok(()) => answer(&received),
            Err(error) => Answer::Failed(unavailable("the renderer could not be confined", &error)),
        };
        serde_json::to_vec(&answer)
    });
    let Ok(work) = work else { return ExitCode::FAILURE };
    let answer = match work.join() {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return ExitCode::FAILURE,
        // minijinja panicked; nothing of its message is passed on.
        Err(_) => match serde_json::to_vec(&Answer::Failed(TemplateError::Runtime {
            line: None,
            message: "the template engine gave up".to_owned(),
        })) {
            Ok(answer) => answer,
            Err(_) => return ExitCode::FAILURE,
        },
    };
    let length = (answer.len() as u64).to_le_bytes();
    let written =
        stdout.write_all(&length).and_then(|()| stdout.write_all(&answer)).and_then(|()| stdout.flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn answer(received: &ReceivedRequest) -> Answer {
    let outcome = ChatTemplate::compile(&received.source, received.limits).and_then(|template| {
        let input = received.input.as_ref().map(ReceivedInput::as_input);
        input.map(|input| template.render(&input)).transpose()
    });
    match outcome {
        Ok(None) => Answer::Compiled,
        Ok(Some(prompt)) => Answer::Rendered(prompt),
        Err(error) => Answer::Failed(error),
    }
}

/// Aborts this process after a time, without the exit handlers of libraries it is linked to.
fn end_after(time: Duration) {
    thread::spawn(move || {
        thread::sleep(time);
        std::process::abort();
    });
}

#[cfg(unix)]
fn forbid_core_file() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // Lowering one's own limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

#[cfg(not(unix))]
fn forbid_core_file() {}

/// Limits the address space to what is in use now and `more` bytes.
#[cfg(target_os = "linux")]
fn limit_memory(more: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = address_space()?.saturating_add(more);
    // A limit that came from outside may be tighter already, and cannot be raised.
    let limit = getrlimit(Resource::As).current.map_or(limit, |outer| outer.min(limit));
    setrlimit(Resource::As, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "fails on Linux")]
fn limit_memory(_more: u64) -> io::Result<()> {
    Ok(())
}

/// Bytes of address space of this process.
#[cfg(target_os = "linux")]
fn address_space() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
