//! The desktop app: the window, its commands, and the wiring of the crates below.
//!
//! Nothing is decided here. A command unpacks its arguments, calls one use-case, maps the result to
//! a type of `reprise-protocol` (in [`wire`]). To add one: a function in `commands/`, its name in
//! `src-tauri/build.rs`, its permission in `tauri.conf.json`, and a line in [`run`].

mod closing;
mod commands;
mod desk;
mod drawing;
mod engine_watch;
mod hub;
mod instance;
mod place;
mod refusal;
mod resumes;
mod turns;
mod window;
mod wire;
mod words;

use std::sync::Arc;

use reprise_protocol::AppEvent;
use tauri::{App, RunEvent};
use tauri_plugin_window_state::StateFlags;

use desk::Desk;
use hub::Hub;
use instance::Instance;
use refusal::Refusal;

/// Opens the window and serves it until it is closed. Where another instance has the data folder, that
/// one comes forward and this one ends.
pub fn run() -> Result<(), tauri::Error> {
    let dir = place::data_dir();
    let mut others = None;
    if let Ok(dir) = &dir {
        match instance::of(dir.root()) {
            Instance::Second => return Ok(()),
            Instance::First(listener) => others = listener,
        }
    }
    let root = dir.as_ref().ok().map(|dir| dir.root().to_owned());

    let mut builder = tauri::Builder::default()
        .plugin(tauri_plugin_clipboard_manager::init())
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_opener::Builder::new().open_js_links_on_click(false).build());
    if let Some(root) = &root {
        // Beside the data: another data folder is another instance, with a window of its own.
        let kept = root.join("window.json");
        builder = builder.plugin(
            tauri_plugin_window_state::Builder::new()
                .with_state_flags(StateFlags::all() - StateFlags::VISIBLE - StateFlags::DECORATIONS)
                .with_filename(kept.to_string_lossy())
                .build(),
        );
    }
    builder
        .manage(Arc::new(Hub::new()))
        .manage(closing::Closing::default())
        .invoke_handler(tauri::generate_handler![
            commands::start::start,
            commands::start::listen,
            commands::conversations::list_conversations,
            commands::conversations::open_conversation,
            commands::conversations::show_version,
            commands::conversations::rename_conversation,
            commands::conversations::trash_conversations,
            commands::conversations::restore_conversations,
            commands::conversations::choose_for_conversation,
            commands::conversations::change_instructions,
            commands::conversations::name_checkpoint,
            commands::conversations::remove_checkpoint,
            commands::conversations::jump_to,
            commands::conversations::search,
            commands::turns::take_turn,
            commands::turns::stop_turn,
            commands::resumes::resume_conversation,
            commands::resumes::stop_resume,
            commands::resumes::marks,
            commands::resumes::outlook,
            commands::storage::storage,
            commands::storage::list_snapshots,
            commands::storage::set_snapshot_budget,
            commands::storage::pin_snapshot,
            commands::storage::drop_snapshot,
            commands::storage::clear_snapshots,
            commands::storage::verify_snapshots,
            commands::storage::stop_verify,
            commands::storage::show_data_folder,
            commands::qualifications::qualifications,
            commands::qualifications::qualify,
            commands::drafts::save_draft,
            commands::drafts::count_tokens,
            commands::models::pick_model,
            commands::models::choose_model,
            commands::models::forget_model,
            commands::settings::save_settings,
            commands::outside::copy_text,
            commands::outside::open_link,
        ])
        .setup(move |app| {
            open_desk(app, dir);
            window::open(app, root.map(|root| root.join("window")))?;
            closing::heed_signals(app.handle().clone());
            if let Some(listener) = others {
                let app = app.handle().clone();
                instance::hear(listener, move || window::come_forward(&app));
            }
            Ok(())
        })
        .build(context())?
        .run(|app, event| {
            // Asked for by the system; our own end has a code.
            if let RunEvent::ExitRequested { api, code: None, .. } = event {
                api.prevent_exit();
                closing::begin(app);
            }
        });
    Ok(())
}

/// What was compiled in: configuration, page and permissions.
#[must_use]
pub fn context() -> tauri::Context {
    tauri::generate_context!()
}

/// A state that is not kept costs time later; why it is not is told at once.
async fn tell_what_is_not_saved(hub: &Hub) {
    let Some(desk) = hub.open_desk() else { return };
    let mut news = desk.chat.not_saved();
    while let Some(why) = news.recv().await {
        let Refusal(error) = Refusal::new(why.code, why.message, why.remedy);
        hub.tell(AppEvent::NotSaved { error });
    }
}

/// What is kept may open at once, and what made room for it does not any more.
async fn tell_what_is_saved(hub: &Hub) {
    let Some(desk) = hub.open_desk() else { return };
    let mut news = desk.chat.states_kept();
    while let Some(kept) = news.recv().await {
        let conversation = kept.conversation.to_string();
        hub.tell(AppEvent::Saved { conversation, at: wire::conversation::millis(kept.at) });
        hub.tell(AppEvent::Marks);
    }
}

/// Beside the window: a long history, or one that must be upgraded first, does not hold it up.
fn open_desk(app: &App, dir: Result<reprise_chat::history::DataDir, Refusal>) {
    use tauri::Manager;
    let hub = Arc::clone(&app.state::<Arc<Hub>>());
    tauri::async_runtime::spawn(async move {
        let desk = match dir {
            Ok(dir) => Desk::open(dir).await,
            Err(refusal) => Err(refusal),
        };
        hub.set_desk(desk);
        let saver = Arc::clone(&hub);
        tauri::async_runtime::spawn(async move {
            if let Some(desk) = saver.open_desk() {
                desk.chat.save_in_pauses().await;
            }
        });
        let teller = Arc::clone(&hub);
        tauri::async_runtime::spawn(async move {
            tokio::join!(tell_what_is_not_saved(&teller), tell_what_is_saved(&teller));
        });
        engine_watch::watch(hub).await;
    });
}
