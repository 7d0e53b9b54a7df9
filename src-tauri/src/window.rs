//! The one window: made hidden, shown when the page has something to show, hidden at once when closed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reprise_protocol::AppEvent;
use tauri::utils::config::WindowConfig;
use tauri::webview::NewWindowResponse;
use tauri::{App, AppHandle, DragDropEvent, Manager, Url, WebviewWindow, WebviewWindowBuilder, WindowEvent};

use crate::drawing::Drawing;
use crate::hub::Hub;
use crate::{closing, commands};

/// A page that says nothing for this long is shown as it is: an empty window can be closed, a hidden one
/// cannot.
const SHOW_AT_LATEST: Duration = Duration::from_millis(1500);

/// Makes the window of tauri.conf.json. What its engine stores lies in `data`, where that is known.
pub fn open(app: &App, data: Option<PathBuf>) -> tauri::Result<()> {
    let config: &WindowConfig = &app.config().app.windows[0];
    let mut builder = WebviewWindowBuilder::from_config(app, config)?
        // The page is the app's own; nothing else is ever shown in its place.
        .on_navigation(is_own_page)
        .on_new_window(|_, _| NewWindowResponse::Deny);
    if let Some(data) = data {
        builder = builder.data_directory(data);
    }
    let window = builder.build()?;
    Drawing::here().apply(&window);
    let handle = app.handle().clone();
    window.on_window_event(move |event| on_event(&handle, event));
    tauri::async_runtime::spawn(async move {
        tokio::time::sleep(SHOW_AT_LATEST).await;
        show(&window);
    });
    Ok(())
}

fn is_own_page(url: &Url) -> bool {
    url.scheme() == "tauri" || url.host_str() == Some("tauri.localhost")
}

/// Shows the window unless it is shown, or is being closed.
pub fn show(window: &WebviewWindow) {
    if closing::has_begun(window.app_handle()) || window.is_visible().unwrap_or(false) {
        return;
    }
    if let Err(error) = window.show() {
        tracing::warn!(%error, "the window cannot be shown");
    }
}

/// Brings the window before the others.
pub fn come_forward(app: &AppHandle) {
    if closing::has_begun(app) {
        return;
    }
    for window in app.webview_windows().values() {
        let forward = window.unminimize().and_then(|()| window.show()).and_then(|()| window.set_focus());
        if let Err(error) = forward {
            tracing::warn!(%error, "the window cannot come forward");
        }
    }
    tracing::info!("another instance was started; this one came forward");
}

fn on_event(app: &AppHandle, event: &WindowEvent) {
    let hub = || app.state::<Arc<Hub>>();
    match event {
        WindowEvent::CloseRequested { api, .. } => {
            api.prevent_close();
            closing::begin(app);
        }
        WindowEvent::DragDrop(DragDropEvent::Enter { .. }) => {
            hub().tell(AppEvent::Dragging { over: true });
        }
        WindowEvent::DragDrop(DragDropEvent::Leave) => hub().tell(AppEvent::Dragging { over: false }),
        WindowEvent::DragDrop(DragDropEvent::Drop { paths, .. }) => {
            let (hub, paths) = (Arc::clone(&hub()), paths.clone());
            hub.tell(AppEvent::Dragging { over: false });
            tauri::async_runtime::spawn(async move {
                let choice = commands::models::choose_files(&hub, paths).await;
                hub.tell(AppEvent::Dropped { choice });
            });
        }
        _ => {}
    }
}
