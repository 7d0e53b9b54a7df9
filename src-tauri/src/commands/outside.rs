//! What leaves the window: text for the clipboard, addresses for a browser.

use reprise_chat::Link;
use tauri::{AppHandle, WebviewWindow};
use tauri_plugin_clipboard_manager::ClipboardExt;
use tauri_plugin_dialog::{DialogExt, MessageDialogButtons};
use tauri_plugin_opener::OpenerExt;
use tokio::sync::oneshot;

use super::Shared;
use crate::refusal::Refusal;
use crate::words;

#[tauri::command]
pub async fn copy_text(app: AppHandle, text: String) -> Result<(), Refusal> {
    app.clipboard().write_text(text).map_err(|error| {
        let what = format!("The text could not be copied: {error}.");
        Refusal::new("clipboard", what, "Select the text and copy it with the keyboard.")
    })
}

/// Shows the whole address and asks, then opens it.
#[tauri::command]
pub async fn open_link(hub: Shared<'_>, window: WebviewWindow, address: &str) -> Result<(), Refusal> {
    let link = Link::parse(address)?;
    let words = words::of(hub.desk().await?.settings().await?.language);
    let (answer, answered) = oneshot::channel();
    window
        .dialog()
        .message(link.as_str())
        .title(words.open_link)
        .parent(&window)
        .buttons(MessageDialogButtons::OkCancelCustom(words.open.to_owned(), words.cancel.to_owned()))
        .show(move |yes| {
            // The page may be gone.
            let _ = answer.send(yes);
        });
    if !answered.await.unwrap_or(false) {
        return Ok(());
    }
    window.opener().open_url(link.as_str(), None::<&str>).map_err(|error| {
        let what = format!("The address could not be opened: {error}.");
        Refusal::new("link_not_opened", what, "Copy it and open it in a browser.")
    })
}
