//! The real worker: a child process with private inherited pipes.
//!
//! Four pipes besides standard input and output: control in, control out, state in, state out. Each is
//! served by one blocking thread here, so that a gigabyte of state never holds up a token, and no
//! worker that stops reading holds up the app. Standard output and error belong to the log, by way of a
//! fifth pipe and thread.

use std::io::{BufReader, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::fault::{Death, Fault};
use crate::frame::{self, FrameError};
use crate::link::{Incoming, Link, Loss, Spawner, WorkerProcess};
use crate::message::{Event, EventFrame, RequestFrame};

mod output;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// File name of the worker inside the engine folder.
pub const PROGRAM: &str = if cfg!(windows) { "reprise-engine.exe" } else { "reprise-engine" };

/// How long a worker that closed its pipes may take to end by itself: its own exit status says more than
/// our kill.
const LAST_BREATH: Duration = Duration::from_millis(500);
/// How long a killed worker is waited for. The operating system takes milliseconds, unless a driver or a
/// dead network disk holds the process; then it is left behind for a thread of its own to collect.
const BURIAL: Duration = Duration::from_secs(2);

/// Starts `reprise-engine` from an engine folder: worker, libraries and modules side by side.
#[derive(Debug, Clone)]
pub struct EngineFolder {
    program: PathBuf,
    logs: PathBuf,
}

impl EngineFolder {
    /// The folder `dir` holds the program; the worker writes its logs into `logs`.
    #[must_use]
    pub fn new(dir: &Path, logs: &Path) -> Self {
        Self { program: dir.join(PROGRAM), logs: logs.to_owned() }
    }

    /// Another program in the worker's place, for tests of supervision.
    #[must_use]
    pub fn with_program(program: &Path, logs: &Path) -> Self {
        Self { program: program.to_owned(), logs: logs.to_owned() }
    }
}

/// The worker's ends of the four pipes.
struct WorkerEnds {
    control_in: PipeReader,
    control_out: PipeWriter,
    state_in: PipeReader,
    state_out: PipeWriter,
}

impl Spawner for EngineFolder {
    fn spawn(&mut self) -> Result<Link, Death> {
        let program = std::path::absolute(&self.program).map_err(|e| Death::NotStarted(e.to_string()))?;
        let Some(dir) = program.parent().filter(|_| program.is_file()) else {
            return Err(Death::NotStarted(format!("{} is missing", program.display())));
        };
        let io = |e: std::io::Error| Death::NotStarted(format!("{} ({e})", program.display()));
        // The worker runs in another folder.
        let logs = std::path::absolute(&self.logs).map_err(io)?;

        let (control_in, to_worker) = std::io::pipe().map_err(io)?;
        let (from_worker, control_out) = std::io::pipe().map_err(io)?;
        let (state_in, state_to_worker) = std::io::pipe().map_err(io)?;
        let (state_from_worker, state_out) = std::io::pipe().map_err(io)?;
        let (printed, output) = std::io::pipe().map_err(io)?;
        widen(&state_to_worker);
        widen(&state_out);

        let mut command = Command::new(&program);
        command.arg("--log-dir").arg(&logs).stdin(Stdio::null());
        // llama.cpp searches the current directory for modules: let it be the engine folder.
        command.current_dir(dir);
        scrub_environment(&mut command);
        command.stdout(output.try_clone().map_err(io)?).stderr(output);

        let ends = WorkerEnds { control_in, control_out, state_in, state_out };
        let child = platform::spawn(command, ends).map_err(io)?;
        output::keep(printed, logs);
        tracing::info!(pid = child.child.id(), "engine started");
        Ok(connect(child, to_worker, from_worker, state_to_worker, state_from_worker))
    }
}

/// Makes room in a pipe for a whole frame of state: with the usual 64 KiB both sides spend their time
/// waking each other. Where the system refuses it goes on as it is.
#[cfg(target_os = "linux")]
fn widen(pipe: &PipeWriter) {
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(pipe, frame::MAX_STATE) {
        tracing::debug!(%error, "a pipe stays narrow");
    }
}

#[cfg(not(target_os = "linux"))]
fn widen(_pipe: &PipeWriter) {}

/// Some of these make ggml load code or change numerics: they are not the app's settings.
pub(crate) fn scrub_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_ascii_uppercase();
        if upper.starts_with("GGML_") || upper.starts_with("LLAMA_") {
            command.env_remove(name);
        }
    }
}

fn connect(
    child: platform::Worker,
    mut to_worker: PipeWriter,
    from_worker: PipeReader,
    mut state_to_worker: PipeWriter,
    mut state_from_worker: PipeReader,
) -> Link {
    let (requests, mut requests_rx) = mpsc::channel::<RequestFrame>(64);
    let (events_tx, events) = mpsc::channel(256);
    let (state_in, mut state_in_rx) = mpsc::channel::<Vec<u8>>(4);
    let (state_out_tx, state_out) = mpsc::channel(4);

    let refusals = events_tx.clone();
    thread::spawn(move || {
        while let Some(frame) = requests_rx.blocking_recv() {
            match frame::write_control(&mut to_worker, &frame) {
                Ok(()) => {}
                Err(FrameError::TooLarge(bytes)) => {
                    // Nothing of it was sent; the worker never hears of it.
                    let event = Event::Failed(Fault::RequestTooLarge { bytes });
                    let refusal = EventFrame { id: Some(frame.id), event };
                    if refusals.blocking_send(Incoming::Event(refusal)).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    // The reading thread notices the death itself.
                    tracing::debug!(%error, "control path closed");
                    break;
                }
            }
        }
    });
    let objections = events_tx.clone();
    thread::spawn(move || {
        let mut from_worker = BufReader::with_capacity(64 << 10, from_worker);
        loop {
            let incoming = match frame::read_control(&mut from_worker) {
                Ok(event) => Incoming::Event(event),
                Err(FrameError::Closed | FrameError::Io(_)) => Incoming::Lost(Loss::Closed),
                Err(error) => Incoming::Lost(Loss::Garbled(error.to_string())),
            };
            let last = matches!(incoming, Incoming::Lost(_));
            if events_tx.blocking_send(incoming).is_err() || last {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Some(bytes) = state_in_rx.blocking_recv() {
            if frame::write_state(&mut state_to_worker, &bytes).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        let mut buffer = Vec::new();
        loop {
            match frame::read_state(&mut state_from_worker, &mut buffer) {
                Ok(()) => {
                    if state_out_tx.blocking_send(std::mem::take(&mut buffer)).is_err() {
                        break;
                    }
                }
                // The worker's end is told from the control path.
                Err(FrameError::Closed | FrameError::Io(_)) => break,
                Err(error) => {
                    let what = format!("{error} of state");
                    // An error means that the worker has been given up already.
                    let _ = objections.blocking_send(Incoming::Lost(Loss::Garbled(what)));
                    break;
                }
            }
        }
    });
    Link { requests, events, state_in, state_out, process: Box::new(ChildProcess { worker: Some(child) }) }
}

#[derive(Debug)]
struct ChildProcess {
    /// `None` once it has been collected, or is left to a thread.
    worker: Option<platform::Worker>,
}

impl ChildProcess {
    /// How it ended; `None` if it has not within this time.
    fn ended_within(&mut self, time: Duration) -> Option<String> {
        let patience = Instant::now() + time;
        while let Some(worker) = &mut self.worker {
            match worker.child.try_wait() {
                Ok(Some(status)) => {
                    self.worker = None;
                    return Some(describe(status));
                }
                Ok(None) if Instant::now() >= patience => return None,
                // There is no portable way to wait for a process and for a clock at once.
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Some(error.to_string()),
            }
        }
        Some("it had ended before".to_owned())
    }
}

impl WorkerProcess for ChildProcess {
    fn reap(&mut self) -> String {
        if let Some(how) = self.ended_within(LAST_BREATH) {
            return how;
        }
        self.kill();
        match self.ended_within(BURIAL) {
            Some(_) => "it closed its connection without ending, and was killed".to_owned(),
            None => "it closed its connection, and cannot be killed".to_owned(),
        }
    }

    fn kill(&mut self) {
        if let Some(worker) = &mut self.worker {
            // Fails only where it has already ended.
            let _ = worker.child.kill();
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut worker) = self.worker.take() {
            // Takes milliseconds, or for ever: not on the caller's time.
            thread::spawn(move || drop(worker.child.wait()));
        }
    }
}

fn describe(status: std::process::ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            6 => "it aborted".to_owned(),
            9 => "it was killed".to_owned(),
            15 => "it was terminated".to_owned(),
            // Bad instruction, bus error, bad arithmetic, bad address: alike on every Unix but for the
            // bus error, which is 7 on Linux and 10 on macOS.
            4 | 7 | 8 | 10 | 11 => format!("it crashed, signal {signal}"),
            other => format!("signal {other}"),
        };
    }
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}
