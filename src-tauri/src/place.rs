//! Folders and the log of this instance.

use std::path::PathBuf;
use std::sync::Mutex;

use reprise_chat::history::DataDir;
use reprise_chat::{default_data_dir, default_engine_dir, default_starter};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;

use crate::refusal::Refusal;

/// The name that others read when they find the data folder taken.
pub const PROGRAM: &str = "Reprise";

/// Daily log files kept.
const LOG_FILES: usize = 7;

/// A path that the environment names; an empty one names none.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The data folder, made where it is missing. One that somebody named is not made with its parents: an
/// unmounted disk must not look like an empty library.
pub fn data_dir() -> Result<DataDir, Refusal> {
    if let Some(dir) = named("REPRISE_DATA_DIR") {
        // Another working directory must not mean another folder.
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        return Ok(DataDir::create(dir)?);
    }
    let dir = default_data_dir().ok_or_else(|| {
        let what = "This system does not say where your data belongs.";
        Refusal::new("data_dir_unusable", what, "Name a folder with REPRISE_DATA_DIR.")
    })?;
    Ok(DataDir::create_with_parents(dir)?)
}

/// The folder of the engine.
pub fn engine_dir() -> Result<PathBuf, Refusal> {
    named("REPRISE_ENGINE_DIR").or_else(default_engine_dir).ok_or_else(|| {
        let what = "Reprise cannot tell where its engine is.";
        Refusal::new("engine_missing", what, "Name the folder with REPRISE_ENGINE_DIR.")
    })
}

/// The model that is offered where none is known.
pub fn starter_model() -> Option<PathBuf> {
    named("REPRISE_STARTER_MODEL").or_else(default_starter)
}

/// Steps go to a file beside the data; without one there is no log, and no complaint.
pub fn start_log(dir: &DataDir) {
    // The appender complains on standard error where it has to make the folder itself.
    let made = std::fs::create_dir(dir.logs());
    if made.is_err_and(|error| error.kind() != std::io::ErrorKind::AlreadyExists) {
        return;
    }
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("app")
        .filename_suffix("log")
        .max_log_files(LOG_FILES)
        .build(dir.logs());
    // Libraries of the window may put what the page says into their lines.
    let usual = "warn,reprise=info,reprise_app=info,reprise_chat=info,reprise_engine=info,reprise_store=info";
    let filter = EnvFilter::try_from_env("REPRISE_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    if let Ok(file) = file {
        let _ = tracing_subscriber::fmt()
            .with_ansi(false)
            .log_internal_errors(false)
            .with_env_filter(filter)
            .with_writer(Mutex::new(file))
            .try_init();
    }
}
