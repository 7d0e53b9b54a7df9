//! What snapshots take, and what the person does to them.

use reprise_protocol::{AppEvent, Cleared, SnapshotOrder, SnapshotPage, StorageView, VerifyUpdate};
use tauri::AppHandle;
use tauri::ipc::Channel;
use tauri_plugin_opener::OpenerExt;

use super::Shared;
use crate::refusal::Refusal;
use crate::wire::storage::{cleared, done, page, progress, sorted_by, view};

#[tauri::command]
pub async fn storage(hub: Shared<'_>) -> Result<StorageView, Refusal> {
    Ok(view(hub.desk().await?.chat.storage().await?))
}

#[tauri::command]
pub async fn list_snapshots(
    hub: Shared<'_>,
    order: SnapshotOrder,
    offset: u32,
    limit: u32,
) -> Result<SnapshotPage, Refusal> {
    let by = sorted_by(order);
    Ok(page(hub.desk().await?.chat.snapshot_page(by, offset, limit).await?, offset))
}

#[tauri::command]
pub async fn set_snapshot_budget(hub: Shared<'_>, bytes: Option<u64>) -> Result<StorageView, Refusal> {
    let facts = hub.desk().await?.chat.set_budget(bytes).await;
    hub.tell(AppEvent::Marks);
    Ok(view(facts?))
}

#[tauri::command]
pub async fn pin_snapshot(hub: Shared<'_>, id: &str, pinned: bool) -> Result<(), Refusal> {
    Ok(hub.desk().await?.chat.pin_snapshot(id.parse()?, pinned).await?)
}

#[tauri::command]
pub async fn drop_snapshot(hub: Shared<'_>, id: &str) -> Result<Cleared, Refusal> {
    let gone = hub.desk().await?.chat.drop_snapshot(id.parse()?).await;
    hub.tell(AppEvent::Marks);
    Ok(cleared(gone?))
}

#[tauri::command]
pub async fn clear_snapshots(hub: Shared<'_>) -> Result<Cleared, Refusal> {
    let gone = hub.desk().await?.chat.clear_snapshots().await;
    // What went before an error is gone, too.
    hub.tell(AppEvent::Marks);
    Ok(cleared(gone?))
}

/// A check that goes on already ends: one screen shows one.
#[tauri::command]
pub async fn verify_snapshots(hub: Shared<'_>, hear: Channel<VerifyUpdate>) -> Result<(), Refusal> {
    let chat = &hub.desk().await?.chat;
    let stop = hub.begin_check();
    let page = hear.clone();
    // Here and below: a page that is gone needs not be told.
    let verified = chat.verify_snapshots(stop, move |now| drop(page.send(progress(now)))).await;
    hub.tell(AppEvent::Marks);
    let _ = hear.send(match verified {
        Ok(verified) => done(verified),
        Err(error) => VerifyUpdate::Failed { error: Refusal::from(error).0 },
    });
    Ok(())
}

/// One that has ended meanwhile needs no stopping.
#[tauri::command]
pub async fn stop_verify(hub: Shared<'_>) -> Result<(), Refusal> {
    hub.stop_check();
    Ok(())
}

/// In the system's file manager.
#[tauri::command]
pub async fn show_data_folder(hub: Shared<'_>, app: AppHandle) -> Result<(), Refusal> {
    let folder = hub.desk().await?.data_dir().to_string_lossy();
    app.opener().open_path(folder.clone(), None::<&str>).map_err(|error| {
        let what = format!("The folder {folder} could not be shown: {error}.");
        Refusal::new("folder_not_shown", what, "Open it in your file manager.")
    })
}
