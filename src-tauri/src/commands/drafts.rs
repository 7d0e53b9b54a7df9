//! What is typed and not sent.

use reprise_protocol::TokenCount;

use super::Shared;
use crate::refusal::Refusal;
use crate::wire;

#[tauri::command]
pub async fn save_draft(hub: Shared<'_>, conversation: Option<String>, text: String) -> Result<(), Refusal> {
    let conversation = conversation.map(|id| id.parse()).transpose()?;
    Ok(hub.desk().await?.library().save_draft(conversation, text).await?)
}

#[tauri::command]
pub async fn count_tokens(hub: Shared<'_>, text: String) -> Result<TokenCount, Refusal> {
    Ok(wire::model::count(hub.desk().await?.chat.count_tokens(&text).await))
}
