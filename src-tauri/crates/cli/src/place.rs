//! Folders, the log and the engine of one command.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reprise_chat::engine::{EngineFolder, EngineHandle, KvPlace, Limits, Offload};
use reprise_chat::history::{DataDir, History, StoreError};
use reprise_chat::{
    Chat, Library, Snapshots, SystemWorld, World, default_data_dir, default_engine_dir, devices,
};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;

use crate::args::{self, Global};
use crate::output::{Failure, Out};

/// Daily log files kept.
const LOG_FILES: usize = 7;

/// The name that others read when they find the data folder taken.
const PROGRAM: &str = "reprise-cli";

/// The data folder, made where it is missing. A folder that somebody named is not made with its
/// parents: an unmounted disk must not look like an empty library.
fn data_dir(global: &Global) -> Result<Result<DataDir, StoreError>, Failure> {
    Ok(match &global.data_dir {
        Some(dir) => DataDir::create(dir),
        None => DataDir::create_with_parents(default_data_dir().ok_or_else(no_home)?),
    })
}

fn root(global: &Global) -> Result<PathBuf, Failure> {
    global.data_dir.clone().or_else(default_data_dir).ok_or_else(no_home)
}

fn no_home() -> Failure {
    let what = "This system does not say where your data belongs.";
    Failure::new("data_dir_unusable", what, "Name a folder with --data-dir.")
}

/// The data folder for a command that only leaves logs in it: one that cannot be written will do.
pub(crate) fn log_dir(global: &Global) -> Result<DataDir, Failure> {
    Ok(match data_dir(global)? {
        Err(StoreError::ReadOnly { .. }) => DataDir::at(root(global)?)?,
        other => other?,
    })
}

/// The library to read, whoever else has it open.
pub(crate) fn reader(global: &Global) -> Result<History, Failure> {
    Ok(History::open_reader(&existing(global)?)?)
}

/// The data folder as it is; nothing is made in it.
pub(crate) fn existing(global: &Global) -> Result<DataDir, Failure> {
    Ok(DataDir::at(root(global)?)?)
}

/// The library to change.
pub(crate) fn writer(global: &Global) -> Result<(Library, DataDir), Failure> {
    let dir = data_dir(global)??;
    let library = Library::open(&dir, PROGRAM, SystemWorld.now())?;
    start_log(&dir);
    Ok((library, dir))
}

/// The folder of the engine.
pub(crate) fn engine_dir(global: &Global) -> Result<PathBuf, Failure> {
    let dir = global.engine_dir.clone().or_else(default_engine_dir);
    dir.ok_or_else(|| {
        let what = "This program cannot tell where its engine is.";
        Failure::new("engine_missing", what, "Name the folder with --engine-dir.")
    })
}

/// The engine; its worker starts when it is first asked.
pub(crate) fn engine(global: &Global, dir: &DataDir) -> Result<EngineHandle, Failure> {
    let folder = EngineFolder::new(&engine_dir(global)?, &dir.logs());
    Ok(EngineHandle::start(folder, Limits::default()))
}

/// The use-cases, with the cache of states where it is wanted and can be opened. Without it everything
/// works, only slower.
pub(crate) async fn chat(library: Library, engine: &EngineHandle, snapshots: bool, out: &Out) -> Chat {
    let world = SystemWorld;
    let opened = if snapshots { Some(Snapshots::open(&library, &world).await) } else { None };
    let chat = Chat::new(library, engine.clone(), Arc::new(world)).saving_at_once();
    match opened {
        Some(Ok(snapshots)) => {
            if let Some(why) = &snapshots.opening().recreated {
                out.tell(&format!(
                    "The snapshots could not be used and begin anew ({why}). No message is touched."
                ));
            }
            chat.with_snapshots(snapshots)
        }
        Some(Err(error)) => chat.without_snapshots(&error),
        None => chat,
    }
}

/// The cache of states, where nobody else has the data folder and it can be opened; with the library, which
/// keeps the folder locked.
pub(crate) async fn snapshots_if_free(global: &Global, out: &Out) -> Option<(Library, Snapshots)> {
    let (library, _) = writer(global).ok()?;
    match Snapshots::open(&library, &SystemWorld).await {
        Ok(snapshots) => Some((library, snapshots)),
        Err(error) => {
            out.tell(&format!("What is found out is not kept: {error}"));
            None
        }
    }
}

/// What is to be offloaded for these arguments.
pub(crate) async fn offload(
    engine: &EngineHandle,
    device: &args::Device,
) -> Result<Option<Offload>, Failure> {
    let kv = match device.kv_place {
        args::KvPlace::Device => KvPlace::Device,
        args::KvPlace::Host => KvPlace::Host,
    };
    Ok(devices::offload_for(engine, &device.backend, device.gpu_layers, kv).await?)
}

/// Steps go to a file beside the data; without one there is no log, and no complaint.
fn start_log(dir: &DataDir) {
    // The appender complains on standard error where it has to make the folder itself.
    let made = std::fs::create_dir(dir.logs());
    if made.is_err_and(|error| error.kind() != std::io::ErrorKind::AlreadyExists) {
        return;
    }
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("cli")
        .filename_suffix("log")
        .max_log_files(LOG_FILES)
        .build(dir.logs());
    let filter = EnvFilter::try_from_env("REPRISE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    if let Ok(file) = file {
        let _ = tracing_subscriber::fmt()
            .with_ansi(false)
            // A full disk is told once, by the command itself.
            .log_internal_errors(false)
            .with_env_filter(filter)
            .with_writer(Mutex::new(file))
            .try_init();
    }
}
