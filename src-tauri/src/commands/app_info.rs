//! What the app is.

use reprise_protocol::AppInfo;

/// Name and version, for the window's foot and for reports.
#[tauri::command]
pub fn app_info() -> AppInfo {
    AppInfo { name: "Reprise".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
