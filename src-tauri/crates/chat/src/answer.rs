//! An answer while it is written: kept as it grows, closed when it ends.

use std::time::Duration;

use reprise_engine::EngineError;
use reprise_engine::message::{Finished, ModelInfo, StopReason, TokenId};
use reprise_store::{
    ConversationId, FinishedAnswer, MessageState, NewAnswer, NodeId, Notice, StopReason as StoredStop,
    StoreError,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::request::Saving;
use crate::{ChatError, Library, NotSaved, Receipt, Timing, TurnEvent, TurnOutcome, World, prompt};

/// How often a growing answer is kept. The promise is 250 ms; the disk gets the rest.
const SAVE_EVERY: Duration = Duration::from_millis(200);

/// An answer while it is written.
pub(crate) struct GrowingAnswer<'a> {
    library: &'a Library,
    world: &'a dyn World,
    info: ModelInfo,
    message: NodeId,
    events: &'a mpsc::Sender<TurnEvent>,
    /// Set with the first token: until then nothing needs a place in the tree.
    node: Option<NodeId>,
    text: String,
    tokens: Vec<TokenId>,
    unsaved_since: Option<Instant>,
    /// Whether the person knows that it could not be kept.
    told: bool,
}

impl<'a> GrowingAnswer<'a> {
    pub(crate) fn new(
        library: &'a Library,
        world: &'a dyn World,
        events: &'a mpsc::Sender<TurnEvent>,
        info: ModelInfo,
        message: NodeId,
    ) -> Self {
        Self {
            library,
            world,
            info,
            message,
            events,
            node: None,
            text: String::new(),
            tokens: Vec::new(),
            unsaved_since: None,
            told: false,
        }
    }

    /// When it must be kept again; `None` while there is nothing new.
    pub(crate) fn save_at(&self) -> Option<Instant> {
        self.unsaved_since.map(|since| since + SAVE_EVERY)
    }

    async fn begin(&mut self) -> Result<NodeId, StoreError> {
        if let Some(node) = self.node {
            return Ok(node);
        }
        let id = NodeId::new(self.world.now(), self.world.random());
        let new = NewAnswer { id, parent: self.message, model_name: Some(self.info.name.clone()) };
        self.library.with(move |w| w.begin_answer(&new)).await?;
        self.node = Some(id);
        let _ = self.events.send(TurnEvent::Answering { node: id }).await;
        Ok(id)
    }

    pub(crate) async fn grow(&mut self, text: String, tokens: &[TokenId]) -> Result<(), StoreError> {
        self.begin().await?;
        self.text.push_str(&text);
        self.tokens.extend_from_slice(tokens);
        self.unsaved_since.get_or_insert_with(Instant::now);
        if !text.is_empty() {
            let tokens = u32::try_from(self.tokens.len()).unwrap_or(u32::MAX);
            let _ = self.events.send(TurnEvent::Text { text, tokens }).await;
        }
        Ok(())
    }

    /// A failure here is told once; the end of the answer tries again.
    pub(crate) async fn save(&mut self) {
        self.unsaved_since = None;
        let Some(node) = self.node else { return };
        let text = self.text.clone();
        let tokens = prompt::sequence(&self.info.token_identity, &self.tokens);
        let saved = self.library.with(move |w| w.update_answer(node, &text, Some(&tokens))).await;
        if let Err(error) = saved {
            tracing::warn!(code = error.code(), "a growing answer could not be kept");
            if !std::mem::replace(&mut self.told, true) {
                let told = TurnEvent::NotKept { code: error.code(), message: error.to_string() };
                let _ = self.events.send(told).await;
            }
        }
    }

    async fn close(&self, node: NodeId, end: Ending) -> Result<(), StoreError> {
        let answer = FinishedAnswer {
            text: self.text.clone(),
            tokens: Some(prompt::sequence(&self.info.token_identity, &self.tokens)),
            state: end.state,
            stop: Some(end.stop),
            stats: end.stats,
            receipt: end.receipt,
            notice: end.notice,
            finished: self.world.now(),
        };
        self.library.with(move |w| w.finish_answer(node, &answer)).await.map(drop)
    }

    pub(crate) async fn finish(
        mut self,
        conversation: ConversationId,
        finished: &Finished,
        (receipt, timing): (Receipt, Timing),
    ) -> Result<TurnOutcome, ChatError> {
        // An answer stopped before its first token still has its place, empty.
        let node = self.begin().await?;
        let (state, stop) = match finished.stop {
            StopReason::End => (MessageState::Complete, StoredStop::End),
            StopReason::Length => (MessageState::Complete, StoredStop::Length),
            StopReason::Cancelled => (MessageState::Stopped, StoredStop::Cancelled),
        };
        let end = Ending {
            state,
            stop,
            stats: serde_json::to_value(&timing).ok(),
            receipt: serde_json::to_value(&receipt).ok(),
            notice: None,
        };
        self.close(node, end).await?;
        Ok(TurnOutcome {
            conversation,
            message: self.message,
            node,
            text: self.text,
            token_ids: self.tokens,
            stop: finished.stop,
            receipt,
            timing,
            saving: Saving::ended(Err(NotSaved::disabled())),
        })
    }

    /// Keeps what came, marked interrupted; the node, where anything came.
    pub(crate) async fn interrupt(&self, error: &EngineError) -> Result<Option<NodeId>, StoreError> {
        let Some(node) = self.node else { return Ok(None) };
        let end = Ending {
            state: MessageState::Interrupted,
            stop: StoredStop::Failed,
            stats: None,
            receipt: None,
            notice: Some(Notice { code: Some(error.code().to_owned()), text: error.to_string() }),
        };
        self.close(node, end).await?;
        Ok(Some(node))
    }
}

/// How an answer is closed.
struct Ending {
    state: MessageState,
    stop: StoredStop,
    stats: Option<serde_json::Value>,
    receipt: Option<serde_json::Value>,
    notice: Option<Notice>,
}
