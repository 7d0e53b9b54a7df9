//! The desktop app: the window, its commands, and the wiring of the crates below.
//!
//! Nothing is decided here. A command unpacks its arguments, calls one use-case, maps the result to
//! a type of `reprise-protocol`. To add one: a module in `commands/`, its name in `src-tauri/build.rs`,
//! its permission in `tauri.conf.json`, and a line in [`run`].

mod commands;

/// Opens the window and serves it until it is closed.
pub fn run() -> Result<(), tauri::Error> {
    tauri::Builder::default()
        .invoke_handler(tauri::generate_handler![commands::app_info::app_info])
        .run(tauri::generate_context!())
}
