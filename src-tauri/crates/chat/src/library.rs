//! The library of conversations, for callers that must not block.

use std::sync::{Arc, Mutex, PoisonError};

use reprise_store::{
    ConversationId, DataDir, History, HistoryWriter, Holder, NodeId, Opening, PurgeReport, StoreError,
    Timestamp, TitleSource,
};

/// The one writer of a data folder. Cheap to clone; the folder is free again when the last clone goes.
#[derive(Debug, Clone)]
pub struct Library {
    /// Guards the connection: one change at a time. Held for the length of one query, never across an
    /// await.
    writer: Arc<Mutex<HistoryWriter>>,
    opening: Opening,
}

impl Library {
    /// Opens the data folder for writing; fails where another process has it.
    pub fn open(dir: &DataDir, program: &str, now: Timestamp) -> Result<Self, StoreError> {
        let writer = History::open_writer(dir, &Holder::this_process(program, now))?;
        let opening = writer.opening().clone();
        Ok(Self { writer: Arc::new(Mutex::new(writer)), opening })
    }

    /// Answers that an earlier run left unfinished and that are marked interrupted now.
    #[must_use]
    pub fn interrupted_at_opening(&self) -> usize {
        self.opening.interrupted
    }

    /// Runs one query or change beside the async tasks.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut HistoryWriter) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let writer = Arc::clone(&self.writer);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(result) => result,
            // A panic in a query is a defect of ours; let it be seen where it is awaited.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(StoreError::Storage { detail: error.to_string() }),
            },
        }
    }

    /// The same, for a caller on a thread that may wait.
    pub(crate) fn blocking_with<T>(
        &self,
        work: impl FnOnce(&mut HistoryWriter) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a conversation a title of the person's choice.
    pub async fn rename(&self, id: ConversationId, title: String) -> Result<(), StoreError> {
        self.with(move |w| w.rename(id, title.trim(), TitleSource::Custom).map(drop)).await
    }

    /// Puts a conversation into the trash, from where it can be restored.
    pub async fn trash(&self, id: ConversationId, now: Timestamp) -> Result<(), StoreError> {
        self.with(move |w| w.trash(id, now)).await
    }

    /// Takes a conversation out of the trash.
    pub async fn restore(&self, id: ConversationId) -> Result<(), StoreError> {
        self.with(move |w| w.restore(id)).await
    }

    /// Takes conversations out of the trash.
    pub async fn restore_all(&self, ids: Vec<ConversationId>) -> Result<(), StoreError> {
        self.with(move |w| ids.iter().try_for_each(|id| w.restore(*id))).await
    }

    /// Erases one conversation for good.
    pub async fn purge(&self, id: ConversationId) -> Result<PurgeReport, StoreError> {
        self.with(move |w| w.purge(id)).await
    }

    /// Erases everything in the trash for good.
    pub async fn empty_trash(&self) -> Result<PurgeReport, StoreError> {
        self.with(HistoryWriter::empty_trash).await
    }

    /// Keeps what is typed and not sent; `None` is the next new conversation's.
    pub async fn save_draft(
        &self,
        conversation: Option<ConversationId>,
        text: String,
    ) -> Result<(), StoreError> {
        self.with(move |w| w.save_draft(conversation, &text)).await
    }

    /// What was typed for the next new conversation and not sent.
    pub async fn new_draft(&self) -> Result<String, StoreError> {
        self.with(|w| w.draft(None)).await
    }

    /// What the person chose, as the caller keeps it.
    pub async fn preferences(&self) -> Result<Option<serde_json::Value>, StoreError> {
        self.with(|w| w.preferences()).await
    }

    /// Keeps what the person chose.
    pub async fn save_preferences(&self, value: serde_json::Value) -> Result<(), StoreError> {
        self.with(move |w| w.save_preferences(&value)).await
    }

    /// Shows another branch of a conversation.
    pub async fn show_branch(&self, id: ConversationId, leaf: NodeId) -> Result<(), StoreError> {
        self.with(move |w| w.set_active_leaf(id, Some(leaf))).await
    }
}
