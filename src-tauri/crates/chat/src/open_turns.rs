//! Which conversations have a turn open, and how each is stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reprise_store::ConversationId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::ChatError;

/// Turns that wait or go on. One a conversation: what a second one would follow is not there yet.
#[derive(Debug)]
pub(crate) struct OpenTurns {
    open: Arc<Mutex<Open>>,
    /// How many there are, to wait for.
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Open {
    stops: HashMap<ConversationId, watch::Sender<bool>>,
    closing: bool,
}

/// One open turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenTurn {
    conversation: ConversationId,
    open: Arc<Mutex<Open>>,
    count: watch::Sender<usize>,
    relay: AbortHandle,
    stopped: watch::Receiver<bool>,
}

impl Default for OpenTurns {
    fn default() -> Self {
        Self { open: Arc::default(), count: watch::Sender::new(0) }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenTurns {
    /// Opens a turn that ends with `cancel` or with [`OpenTurns::stop`]; refuses a second one in the
    /// same conversation, and any once everything is being closed.
    pub(crate) fn open(
        &self,
        conversation: ConversationId,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<OpenTurn, ChatError> {
        let mut open = lock(&self.open);
        if open.closing {
            return Err(ChatError::Closing);
        }
        if open.stops.contains_key(&conversation) {
            return Err(ChatError::TurnOpen { conversation });
        }
        let (stop, stopped) = watch::channel(false);
        open.stops.insert(conversation, stop.clone());
        self.count.send_replace(open.stops.len());
        let relay = tokio::spawn(async move {
            // An error: whoever asked for the turn has given up the means to cancel it, not the turn.
            if cancel.wait_for(|cancelled| *cancelled).await.is_ok() {
                stop.send_replace(true);
            }
        });
        Ok(OpenTurn {
            conversation,
            open: Arc::clone(&self.open),
            count: self.count.clone(),
            relay: relay.abort_handle(),
            stopped,
        })
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        !lock(&self.open).stops.is_empty()
    }

    /// Ends the turn of a conversation soon. False where there is none.
    pub(crate) fn stop(&self, conversation: ConversationId) -> bool {
        let open = lock(&self.open);
        open.stops.get(&conversation).is_some_and(|stop| {
            stop.send_replace(true);
            true
        })
    }

    /// Ends the turn of a conversation and waits until what came of it is kept.
    pub(crate) async fn end(&self, conversation: ConversationId) {
        let mut count = self.count.subscribe();
        while self.stop(conversation) {
            // Another turn may have ended; the sender lives as long as `self`.
            let _ = count.changed().await;
        }
    }

    /// Ends all turns, lets none begin, and waits for the last one.
    pub(crate) async fn close(&self) {
        {
            let mut open = lock(&self.open);
            open.closing = true;
            for stop in open.stops.values() {
                stop.send_replace(true);
            }
        }
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl OpenTurn {
    /// Holds `true` once the turn is to end.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.clone()
    }
}

impl Drop for OpenTurn {
    fn drop(&mut self) {
        self.relay.abort();
        let mut open = lock(&self.open);
        open.stops.remove(&self.conversation);
        self.count.send_replace(open.stops.len());
    }
}
