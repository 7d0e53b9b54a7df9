//! What all commands share: the desk once it is open, and the way to the page.

use std::sync::{Mutex, PoisonError};

use reprise_protocol::{AppError, AppEvent};
use tauri::ipc::Channel;
use tokio::sync::{SetOnce, watch};

use crate::desk::Desk;
use crate::refusal::Refusal;

/// What the engine is doing, as far as turns tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// Nothing.
    None,
    /// A model is being loaded.
    Loading {
        /// Its file.
        path: String,
        /// 0 to 1.
        fraction: f32,
    },
    /// It reads or writes in this conversation.
    Answering(String),
}

/// Shared by all commands.
pub struct Hub {
    desk: SetOnce<Result<Desk, AppError>>,
    /// The page that listens; a reloaded one takes the place of the one before. Held for one send.
    listener: Mutex<Option<Channel<AppEvent>>>,
    activity: watch::Sender<Activity>,
    /// Ends the check of snapshots that goes on. Held for one exchange.
    check: Mutex<watch::Sender<bool>>,
}

impl Hub {
    pub fn new() -> Self {
        Self {
            desk: SetOnce::new(),
            listener: Mutex::default(),
            activity: watch::Sender::new(Activity::None),
            check: Mutex::new(watch::Sender::new(true)),
        }
    }

    /// Puts the desk there, or why there is none. Only the first one counts.
    pub fn set_desk(&self, desk: Result<Desk, Refusal>) {
        if let Err(Refusal(error)) = &desk {
            tracing::warn!(code = error.code, "the library cannot be opened");
        }
        // An error means that it is there already.
        let _ = self.desk.set(desk.map_err(|Refusal(error)| error));
    }

    /// The desk, as soon as it is open.
    pub async fn desk(&self) -> Result<&Desk, Refusal> {
        self.desk.wait().await.as_ref().map_err(|error| Refusal(error.clone()))
    }

    /// The desk, if it is open by now.
    pub fn open_desk(&self) -> Option<&Desk> {
        self.desk.get().and_then(|desk| desk.as_ref().ok())
    }

    /// Takes a page that listens.
    pub fn listen(&self, page: Channel<AppEvent>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
    }

    /// Tells the page, if one listens.
    pub fn tell(&self, event: AppEvent) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = &*listener {
            // A page that is gone needs not be told.
            let _ = page.send(event);
        }
    }

    /// Notes what turns make the engine do.
    pub fn is_doing(&self, activity: Activity) {
        self.activity.send_if_modified(|now| {
            let changed = *now != activity;
            *now = activity;
            changed
        });
    }

    /// A check of snapshots begins; it ends soon once this holds `true`. One that goes on ends.
    pub fn begin_check(&self) -> watch::Receiver<bool> {
        let (stop, stopped) = watch::channel(false);
        let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *check, stop).send_replace(true);
        stopped
    }

    /// Ends the check of snapshots that goes on.
    pub fn stop_check(&self) {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).send_replace(true);
    }

    /// To watch what turns make the engine do.
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }
}
