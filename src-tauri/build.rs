//! Embeds tauri.conf.json, the icons and the permissions of the commands into the app.

use tauri_build::{AppManifest, Attributes};

/// Commands the window can be allowed to call. Each name here makes a permission `allow-<name>`;
/// tauri.conf.json lists the ones granted. A command that is missing here cannot be called at all.
const COMMANDS: &[&str] = &["app_info"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let attributes = Attributes::new().app_manifest(AppManifest::new().commands(COMMANDS));
    tauri_build::try_build(attributes)?;
    Ok(())
}
