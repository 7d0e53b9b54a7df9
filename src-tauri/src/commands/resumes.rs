//! Making a conversation ready, and what that will cost.

use reprise_chat::history::ConversationId;
use reprise_protocol::{Mark, Outlook, ResumeTrigger, ResumeUpdate};
use tauri::ipc::Channel;

use super::Shared;
use super::conversations::parsed;
use crate::refusal::Refusal;
use crate::{resumes, wire};

#[tauri::command]
pub async fn resume_conversation(
    hub: Shared<'_>,
    conversation: &str,
    trigger: ResumeTrigger,
    hear: Channel<ResumeUpdate>,
) -> Result<(), Refusal> {
    resumes::resume(&hub, conversation.parse()?, trigger, hear).await
}

/// One that has ended meanwhile needs no stopping.
#[tauri::command]
pub async fn stop_resume(hub: Shared<'_>, conversation: &str) -> Result<(), Refusal> {
    hub.desk().await?.chat.stop_opening(conversation.parse()?);
    Ok(())
}

/// Where no model is chosen, nothing can open at once.
#[tauri::command]
pub async fn marks(hub: Shared<'_>, conversations: Vec<String>) -> Result<Vec<Mark>, Refusal> {
    let desk = hub.desk().await?;
    let ids = parsed(&conversations)?;
    let Some(model) = desk.chosen_model().await? else {
        return Ok(ids.into_iter().map(wire::resume::no_mark).collect());
    };
    let marks = desk.chat.marks(ids, &model, &desk.load_options().await?).await?;
    Ok(marks.into_iter().map(wire::resume::mark).collect())
}

#[tauri::command]
pub async fn outlook(hub: Shared<'_>, conversation: &str) -> Result<Outlook, Refusal> {
    let desk = hub.desk().await?;
    let conversation: ConversationId = conversation.parse()?;
    let model = desk.library().chosen_model().await?;
    let load = desk.load_options().await?;
    let outlook = desk.chat.outlook(conversation, model.path.as_ref(), &load).await?;
    Ok(wire::resume::outlook(conversation, outlook, &desk.library().models().await?))
}
