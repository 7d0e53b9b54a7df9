//! Embeds tauri.conf.json, the icons, the built page and the permissions of the commands into the app.

use std::path::Path;

use tauri_build::{AppManifest, Attributes};

/// Commands the window can be allowed to call. Each name here makes a permission `allow-<name>`;
/// tauri.conf.json lists the ones granted. A command that is missing here cannot be called at all.
const COMMANDS: &[&str] = &[
    "start",
    "listen",
    "list_conversations",
    "open_conversation",
    "show_version",
    "rename_conversation",
    "trash_conversations",
    "restore_conversations",
    "choose_for_conversation",
    "change_instructions",
    "name_checkpoint",
    "remove_checkpoint",
    "jump_to",
    "search",
    "take_turn",
    "stop_turn",
    "resume_conversation",
    "stop_resume",
    "marks",
    "outlook",
    "storage",
    "list_snapshots",
    "set_snapshot_budget",
    "pin_snapshot",
    "drop_snapshot",
    "clear_snapshots",
    "verify_snapshots",
    "stop_verify",
    "show_data_folder",
    "qualifications",
    "qualify",
    "save_draft",
    "count_tokens",
    "pick_model",
    "choose_model",
    "forget_model",
    "save_settings",
    "copy_text",
    "open_link",
];

/// The page, as `frontendDist` of tauri.conf.json names it.
const PAGE: &str = "ui/dist";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PAGE}");
    if !Path::new(PAGE).join("index.html").is_file() {
        return Err(
            "the window's page is not built: run `make build`, or `npm ci && npm run build` in ui/".into()
        );
    }
    let attributes = Attributes::new().app_manifest(AppManifest::new().commands(COMMANDS));
    tauri_build::try_build(attributes)?;
    Ok(())
}
