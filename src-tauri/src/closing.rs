//! The end: the window goes at once, a running answer is kept, the engine ends, then the app does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tauri::{AppHandle, Manager};
use tokio::time::timeout;

use crate::hub::Hub;

/// How long a running answer may take to be kept. It is on the disk up to a quarter of a second ago in
/// any case.
const KEEPING: Duration = Duration::from_millis(1200);

/// How long a state may take to be kept.
const SAVING: Duration = Duration::from_millis(600);

/// All of it. What is left then ends with this process: its engine sees its pipes close.
const AT_MOST: Duration = Duration::from_secs(3);

/// Whether the end has begun.
#[derive(Debug, Default)]
pub struct Closing(AtomicBool);

/// Whether the end has begun.
pub fn has_begun(app: &AppHandle) -> bool {
    app.state::<Closing>().0.load(Ordering::Relaxed)
}

/// Begins the end. A second call does nothing.
pub fn begin(app: &AppHandle) {
    if app.state::<Closing>().0.swap(true, Ordering::Relaxed) {
        return;
    }
    for window in app.webview_windows().values() {
        // An app that is about to end may well have lost its display.
        let _ = window.hide();
    }
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let hub = Arc::clone(&app.state::<Arc<Hub>>());
        if let Some(desk) = hub.open_desk() {
            let in_order = async {
                if timeout(KEEPING, desk.chat.close()).await.is_err() {
                    tracing::info!("the engine does not stop its answer and is ended");
                }
                // A state that is not kept in time costs time at the next start, and nothing else.
                let _ = timeout(SAVING, desk.chat.finish_saving()).await;
                desk.engine.shutdown().await;
                // An engine that was ended in mid-answer leaves that to be kept.
                desk.chat.close().await;
            };
            if timeout(AT_MOST, in_order).await.is_err() {
                tracing::warn!("closing took too long");
            }
        }
        tracing::info!("closed");
        app.exit(0);
    });
}

/// Ends in order when the system asks for it.
pub fn heed_signals(app: AppHandle) {
    tauri::async_runtime::spawn(async move {
        if let Err(error) = signalled().await {
            tracing::warn!(%error, "signals cannot be heard");
            return;
        }
        begin(&app);
    });
}

#[cfg(unix)]
async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signalled() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
