//! What the person chose.

use reprise_protocol::{AppEvent, Settings};

use super::Shared;
use crate::refusal::Refusal;

#[tauri::command]
pub async fn save_settings(hub: Shared<'_>, settings: Settings) -> Result<(), Refusal> {
    let value = serde_json::to_value(settings).map_err(|error| {
        Refusal::new("settings_invalid", format!("The settings were not kept: {error}."), "Try again.")
    })?;
    hub.desk().await?.library().save_preferences(value).await?;
    // How a model is loaded decides which states fit it.
    hub.tell(AppEvent::Marks);
    Ok(())
}
