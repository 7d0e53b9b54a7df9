//! Turns.

use reprise_protocol::{Ask, TurnUpdate};
use tauri::ipc::Channel;

use super::Shared;
use crate::refusal::Refusal;
use crate::turns;

#[tauri::command]
pub async fn take_turn(hub: Shared<'_>, ask: Ask, hear: Channel<TurnUpdate>) -> Result<(), Refusal> {
    turns::take(&hub, ask, hear).await
}

/// One that has ended meanwhile needs no stopping.
#[tauri::command]
pub async fn stop_turn(hub: Shared<'_>, conversation: &str) -> Result<(), Refusal> {
    hub.desk().await?.chat.stop(conversation.parse()?);
    Ok(())
}
