//! Where things lie when nobody says otherwise.

use std::path::{Path, PathBuf};

use reprise_engine::Fault;

/// The app's identifier, as in tauri.conf.json: its data folder is named after it.
const IDENTIFIER: &str = "dev.reprise.app";

/// The app's data folder; `None` where the system knows no home.
#[must_use]
pub fn default_data_dir() -> Option<PathBuf> {
    dirs::data_dir().map(|dir| dir.join(IDENTIFIER))
}

/// The engine lies beside the program that uses it: in development, in tests and installed.
#[must_use]
pub fn default_engine_dir() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(PathBuf::from)
}

/// A model's path as the worker can be told it: absolute, because the worker has another working
/// directory, and Unicode, because requests travel as JSON.
pub(crate) fn model_path(model: &Path) -> Result<PathBuf, Fault> {
    let path = std::path::absolute(model).unwrap_or_else(|_| model.to_owned());
    if path.to_str().is_none() {
        let cause = "its path is not valid Unicode".to_owned();
        return Err(Fault::ModelUnreadable { path, cause });
    }
    Ok(path)
}
