//! The real worker: a child process with private inherited pipes.
//!
//! Four pipes besides standard input and output: control in, control out, state in, state out. Each is
//! served by one blocking thread here, so that a gigabyte of state never holds up a token, and no
//! worker that stops reading holds up the app. Standard output and error belong to the log.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::fault::Death;
use crate::frame::{self, FrameError};
use crate::link::{Incoming, Link, Loss, Spawner, WorkerProcess};
use crate::message::RequestFrame;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// File name of the worker inside the engine folder.
pub const PROGRAM: &str = if cfg!(windows) {
    "reprise-engine.exe"
} else {
    "reprise-engine"
};

/// What native code printed before it died; kept to this size in bytes.
const OUTPUT_LOG_CAP: u64 = 1 << 20;

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
        Self {
            program: dir.join(PROGRAM),
            logs: logs.to_owned(),
        }
    }

    /// Another program in the worker's place, for tests of supervision.
    #[must_use]
    pub fn with_program(program: &Path, logs: &Path) -> Self {
        Self {
            program: program.to_owned(),
            logs: logs.to_owned(),
        }
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
        let not_started = |cause: String| Death::NotStarted(cause);
        let program = std::path::absolute(&self.program).map_err(|e| not_started(e.to_string()))?;
        let Some(dir) = program.parent().filter(|_| program.is_file()) else {
            return Err(not_started(format!("{} is missing", program.display())));
        };
        let io = |e: std::io::Error| Death::NotStarted(format!("{} ({e})", program.display()));

        let (control_in, to_worker) = std::io::pipe().map_err(io)?;
        let (from_worker, control_out) = std::io::pipe().map_err(io)?;
        let (state_in, state_to_worker) = std::io::pipe().map_err(io)?;
        let (state_from_worker, state_out) = std::io::pipe().map_err(io)?;

        let mut command = Command::new(&program);
        command.arg("--log-dir").arg(&self.logs).stdin(Stdio::null());
        // llama.cpp searches the current directory for modules: let it be the engine folder.
        command.current_dir(dir);
        scrub_environment(&mut command);
        let output = output_log(&self.logs).map_err(io)?;
        command.stdout(output.try_clone().map_err(io)?).stderr(output);

        let ends = WorkerEnds {
            control_in,
            control_out,
            state_in,
            state_out,
        };
        let child = platform::spawn(command, ends).map_err(io)?;
        tracing::info!(pid = child.child.id(), "engine started");
        Ok(connect(
            child,
            to_worker,
            from_worker,
            state_to_worker,
            state_from_worker,
        ))
    }
}

/// Some of these make ggml load code or change numerics: they are not the app's settings.
fn scrub_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_ascii_uppercase();
        if upper.starts_with("GGML_") || upper.starts_with("LLAMA_") {
            command.env_remove(name);
        }
    }
}

fn output_log(logs: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(logs)?;
    let path = logs.join("engine-output.log");
    let full = path.metadata().is_ok_and(|m| m.len() > OUTPUT_LOG_CAP);
    OpenOptions::new()
        .create(true)
        .append(!full)
        .write(true)
        .truncate(full)
        .open(path)
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

    thread::spawn(move || {
        while let Some(frame) = requests_rx.blocking_recv() {
            if let Err(error) = frame::write_control(&mut to_worker, &frame) {
                // The reading thread notices the death itself.
                tracing::debug!(%error, "control path closed");
                break;
            }
        }
    });
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
        while frame::read_state(&mut state_from_worker, &mut buffer).is_ok() {
            if state_out_tx.blocking_send(std::mem::take(&mut buffer)).is_err() {
                break;
            }
        }
    });
    Link {
        requests,
        events,
        state_in,
        state_out,
        process: Box::new(ChildProcess { worker: child }),
    }
}

#[derive(Debug)]
struct ChildProcess {
    worker: platform::Worker,
}

impl ChildProcess {
    fn child(&mut self) -> &mut Child {
        &mut self.worker.child
    }
}

impl WorkerProcess for ChildProcess {
    fn reap(&mut self) -> String {
        // A worker that closed its pipes is about to end: its own exit status says more than our kill.
        let patience = Instant::now() + Duration::from_millis(500);
        while Instant::now() < patience {
            match self.child().try_wait() {
                Ok(Some(status)) => return describe(status),
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Err(error) => return error.to_string(),
            }
        }
        self.kill();
        self.child()
            .wait()
            .map_or_else(|error| error.to_string(), describe)
    }

    fn kill(&mut self) {
        // Fails only where it has already ended.
        let _ = self.child().kill();
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child().wait();
    }
}

fn describe(status: std::process::ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            6 => "it aborted".to_owned(),
            9 => "it was killed".to_owned(),
            11 => "it crashed".to_owned(),
            15 => "it was terminated".to_owned(),
            other => format!("signal {other}"),
        };
    }
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}
