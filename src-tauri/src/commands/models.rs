//! Model files. The page names them by id; paths come from the system's dialog or from a drop.

use std::path::PathBuf;

use reprise_protocol::{AppEvent, ModelChoice, ModelRow};
use tauri::WebviewWindow;
use tauri_plugin_dialog::DialogExt;
use tokio::sync::oneshot;

use super::Shared;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::{wire, words};

/// Asks with the system's own dialog.
#[tauri::command]
pub async fn pick_model(hub: Shared<'_>, window: WebviewWindow) -> Result<ModelChoice, Refusal> {
    let words = words::of(hub.desk().await?.settings().await?.language);
    let (answer, picked) = oneshot::channel();
    window
        .dialog()
        .file()
        .set_parent(&window)
        .set_title(words.pick_model)
        .add_filter(words.models, &["gguf"])
        .pick_file(move |file| {
            // The page may be gone.
            let _ = answer.send(file);
        });
    let Some(file) = picked.await.ok().flatten() else { return Ok(ModelChoice::Cancelled) };
    Ok(choose_files(&hub, file.into_path().into_iter().collect()).await)
}

#[tauri::command]
pub async fn choose_model(hub: Shared<'_>, id: &str) -> Result<Vec<ModelRow>, Refusal> {
    let desk = hub.desk().await?;
    desk.library().choose_model(id.parse()?, &desk.world).await?;
    hub.tell(AppEvent::Marks);
    Ok(wire::model::rows(desk.library().models().await?))
}

#[tauri::command]
pub async fn forget_model(hub: Shared<'_>, id: &str) -> Result<Vec<ModelRow>, Refusal> {
    let library = hub.desk().await?.library();
    library.forget_model(id.parse()?).await?;
    hub.tell(AppEvent::Marks);
    Ok(wire::model::rows(library.models().await?))
}

/// Chooses a file that the person picked or dropped.
pub async fn choose_files(hub: &Hub, files: Vec<PathBuf>) -> ModelChoice {
    match try_choose(hub, files).await {
        Ok(models) => ModelChoice::Chosen { models },
        Err(Refusal(error)) => ModelChoice::Refused { error },
    }
}

async fn try_choose(hub: &Hub, files: Vec<PathBuf>) -> Result<Vec<ModelRow>, Refusal> {
    let desk = hub.desk().await?;
    desk.library().choose_model_file(files, &desk.world).await?;
    hub.tell(AppEvent::Marks);
    Ok(wire::model::rows(desk.library().models().await?))
}
