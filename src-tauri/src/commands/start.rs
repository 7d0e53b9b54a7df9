//! What the page begins with, and how it hears of what happens.

use reprise_protocol::{AppEvent, AppInfo, ConversationPage, Settings, Startup};
use tauri::WebviewWindow;
use tauri::ipc::Channel;

use super::Shared;
use crate::desk::Desk;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::{engine_watch, window, wire};

/// Rows of the list that come at once: what a tall screen shows, and some more.
const FIRST_ROWS: u32 = 100;

/// All that the page needs to show itself. Trouble is part of the answer, not an error.
#[tauri::command]
pub async fn start(hub: Shared<'_>, window: WebviewWindow) -> Result<Startup, Refusal> {
    let startup = match hub.desk().await {
        Ok(desk) => match healthy(&hub, desk).await {
            Ok(startup) => startup,
            Err(refusal) => troubled(refusal),
        },
        Err(refusal) => troubled(refusal),
    };
    window::show(&window);
    Ok(startup)
}

/// Hears of what happens without having been asked for.
#[tauri::command]
pub async fn listen(hub: Shared<'_>, hear: Channel<AppEvent>) -> Result<(), Refusal> {
    hub.listen(hear);
    if let Ok(desk) = hub.desk().await {
        // What changed between `start` and now would be missed.
        let engine = engine_watch::view(&hub, desk).await;
        hub.tell(AppEvent::Engine { engine });
    }
    Ok(())
}

fn info() -> AppInfo {
    AppInfo { name: "Reprise".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

async fn healthy(hub: &Hub, desk: &Desk) -> Result<Startup, Refusal> {
    let library = desk.library();
    Ok(Startup {
        info: info(),
        settings: desk.settings().await?,
        conversations: wire::conversation::page(library.list_part(0, FIRST_ROWS).await?, 0),
        models: wire::model::rows(library.models().await?),
        engine: engine_watch::view(hub, desk).await,
        draft: library.new_draft().await?,
        trouble: None,
        interrupted: u32::try_from(library.interrupted_at_opening()).unwrap_or(u32::MAX),
    })
}

fn troubled(Refusal(trouble): Refusal) -> Startup {
    Startup {
        info: info(),
        settings: Settings::default(),
        conversations: ConversationPage { rows: Vec::new(), offset: 0, total: 0 },
        models: Vec::new(),
        engine: engine_watch::absent(),
        draft: String::new(),
        trouble: Some(trouble),
        interrupted: 0,
    }
}
