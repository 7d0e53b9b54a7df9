//! The list of conversations, and one of them opened.

use reprise_chat::World;
use reprise_chat::history::ConversationId;
use reprise_protocol::{AppEvent, Choices, ConversationPage, ConversationView, SearchResults};
use tokio::time::Instant;

use super::Shared;
use crate::refusal::Refusal;
use crate::wire::conversation::{choices as chosen, hit, page, view};

#[tauri::command]
pub async fn list_conversations(
    hub: Shared<'_>,
    offset: u32,
    limit: u32,
) -> Result<ConversationPage, Refusal> {
    Ok(page(hub.desk().await?.library().list_part(offset, limit).await?, offset))
}

#[tauri::command]
pub async fn open_conversation(hub: Shared<'_>, id: &str) -> Result<ConversationView, Refusal> {
    Ok(view(hub.desk().await?.chat.view(id.parse()?).await?))
}

#[tauri::command]
pub async fn show_version(hub: Shared<'_>, message: &str) -> Result<ConversationView, Refusal> {
    let opened = hub.desk().await?.chat.show_version(message.parse()?).await?;
    hub.tell(AppEvent::Marks);
    Ok(view(opened))
}

/// Shows the conversation up to this message. What is written next begins a branch there.
#[tauri::command]
pub async fn jump_to(hub: Shared<'_>, message: &str) -> Result<ConversationView, Refusal> {
    let opened = hub.desk().await?.chat.jump_to(message.parse()?).await?;
    hub.tell(AppEvent::Marks);
    Ok(view(opened))
}

#[tauri::command]
pub async fn name_checkpoint(
    hub: Shared<'_>,
    message: &str,
    name: String,
) -> Result<ConversationView, Refusal> {
    Ok(view(hub.desk().await?.chat.name_checkpoint(message.parse()?, name).await?))
}

#[tauri::command]
pub async fn remove_checkpoint(hub: Shared<'_>, message: &str) -> Result<ConversationView, Refusal> {
    Ok(view(hub.desk().await?.chat.remove_checkpoint(message.parse()?).await?))
}

#[tauri::command]
pub async fn change_instructions(
    hub: Shared<'_>,
    conversation: &str,
    text: String,
) -> Result<ConversationView, Refusal> {
    let opened = hub.desk().await?.chat.change_instructions(conversation.parse()?, text).await?;
    hub.tell(AppEvent::Marks);
    Ok(view(opened))
}

#[tauri::command]
pub async fn choose_for_conversation(
    hub: Shared<'_>,
    conversation: &str,
    choices: Choices,
) -> Result<(), Refusal> {
    hub.desk().await?.library().choose_for(conversation.parse()?, chosen(choices)).await?;
    hub.tell(AppEvent::Marks);
    Ok(())
}

#[tauri::command]
pub async fn rename_conversation(hub: Shared<'_>, id: &str, title: String) -> Result<(), Refusal> {
    Ok(hub.desk().await?.library().rename(id.parse()?, title).await?)
}

#[tauri::command]
pub async fn trash_conversations(hub: Shared<'_>, ids: Vec<String>) -> Result<(), Refusal> {
    let desk = hub.desk().await?;
    Ok(desk.chat.trash(parsed(&ids)?, desk.world.now()).await?)
}

#[tauri::command]
pub async fn restore_conversations(hub: Shared<'_>, ids: Vec<String>) -> Result<(), Refusal> {
    Ok(hub.desk().await?.library().restore_all(parsed(&ids)?).await?)
}

#[tauri::command]
pub async fn search(hub: Shared<'_>, query: String, limit: u32) -> Result<SearchResults, Refusal> {
    let desk = hub.desk().await?;
    let since = Instant::now();
    let found = desk.library().search(query, limit).await?;
    let ms = since.elapsed().as_secs_f64() * 1000.0;
    Ok(SearchResults { hits: found.into_iter().map(hit).collect(), ms })
}

pub fn parsed(ids: &[String]) -> Result<Vec<ConversationId>, Refusal> {
    Ok(ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?)
}
