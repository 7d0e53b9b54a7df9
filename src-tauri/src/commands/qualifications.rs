//! Whether states survive here, as it was found out.

use reprise_protocol::{AppEvent, Qualifications};

use super::Shared;
use crate::desk::Desk;
use crate::refusal::Refusal;
use crate::wire::qualification::rows;

#[tauri::command]
pub async fn qualifications(hub: Shared<'_>) -> Result<Qualifications, Refusal> {
    listed(hub.desk().await?).await
}

/// Finds it out anew for the loaded model.
#[tauri::command]
pub async fn qualify(hub: Shared<'_>) -> Result<Qualifications, Refusal> {
    let desk = hub.desk().await?;
    let found = desk.chat.qualify().await;
    // States of a model that failed are not used.
    hub.tell(AppEvent::Marks);
    found?;
    listed(desk).await
}

async fn listed(desk: &Desk) -> Result<Qualifications, Refusal> {
    let kept = desk.chat.qualifications(&desk.load_options().await?).await?;
    Ok(rows(kept, desk.chat.loaded_model()))
}
