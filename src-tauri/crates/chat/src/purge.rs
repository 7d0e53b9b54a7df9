//! Erasing a conversation for good: its text, and what models remember of it.

use std::path::PathBuf;
use std::sync::PoisonError;

use reprise_store::{ConversationId, StoreError};

use crate::{Chat, Library, Snapshots};

/// What was erased, and what is still there.
#[derive(Debug)]
pub struct Purged {
    /// Messages that are gone.
    pub messages: usize,
    /// Snapshots that went with them; an error where they could not be erased.
    pub snapshots: Result<usize, StoreError>,
    /// Whether the journals were emptied too. Where another program was reading, they give up what was
    /// erased when it closes.
    pub journal_erased: bool,
    /// Backups that still hold the text, or could not be read to find out.
    pub backups: Vec<PathBuf>,
}

/// Erases a conversation of a library, and its states. A cache that cannot be opened is an error within
/// the result: the text is gone all the same.
pub async fn purge(
    library: &Library,
    snapshots: Result<Snapshots, StoreError>,
    id: ConversationId,
) -> Result<Purged, StoreError> {
    // The text first: a state that is being kept meanwhile sees that it is gone, and goes too.
    let report = library.purge(id).await?;
    let dropped = match snapshots {
        Ok(snapshots) => snapshots.drop_conversation(id).await,
        Err(error) => Err(error),
    };
    Ok(Purged {
        messages: report.messages,
        journal_erased: report.journal_erased && dropped.as_ref().is_ok_and(|dropped| dropped.journal_erased),
        snapshots: dropped.map(|dropped| dropped.snapshots),
        backups: report.backups,
    })
}

impl Chat {
    /// Erases a conversation for good. An answer that is being written there ends first.
    pub async fn purge(&self, id: ConversationId) -> Result<Purged, StoreError> {
        self.stop_opening(id);
        self.end_turn(id).await;
        // Nothing of it is worth a place in the live context, nor in the line of what is to be kept.
        if let Ok(mut unsaved) = self.turn.try_lock() {
            self.wanted.notify_waiters();
            drop(unsaved.take_if(|unsaved| unsaved.is_of(id)));
            let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).take_if(|live| *live == id);
            if live.is_some()
                && let Err(error) = self.engine.discard().await
            {
                // It is gone with its worker then.
                tracing::info!(%error, "the context of an erased conversation was not discarded");
            }
        }
        if let Some(snapshots) = self.snapshots() {
            return purge(&self.library, Ok(snapshots.clone()), id).await;
        }
        let report = self.library.purge(id).await?;
        let (messages, backups) = (report.messages, report.backups);
        Ok(Purged { messages, backups, journal_erased: report.journal_erased, snapshots: Ok(0) })
    }
}
