//! States that were kept, and those that were not: why, and who hears of it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reprise_engine::{EngineError, Fault};
use reprise_store::{ConversationId, NodeId, StoreError, Timestamp};
use tokio::sync::mpsc;

use crate::SavedState;

/// What goes on where a state was not kept.
const READ_NEXT_TIME: &str = "Go on: the conversation is read from its text next time.";

/// Why a state was not kept. The conversation goes on all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct NotSaved {
    /// Stable snake-case word.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// What the person can do about it, as one sentence.
    pub remedy: &'static str,
    /// Whether the person should hear of it: not of what was wished, what passes by itself, what the model
    /// cannot do, or what is told elsewhere.
    pub is_news: bool,
}

impl NotSaved {
    fn quiet(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: READ_NEXT_TIME, is_news: false }
    }

    /// It was not wished.
    pub(crate) fn disabled() -> Self {
        Self::quiet("disabled", "No state is kept.")
    }

    /// Something else took its place.
    pub(crate) fn overtaken(by: &str) -> Self {
        Self::quiet("overtaken", by)
    }

    /// What was exported cannot be kept as it is.
    pub(crate) fn unavailable(why: impl std::fmt::Display) -> Self {
        Self::quiet("state_unavailable", why.to_string())
    }

    /// Nothing could tell later whether it is right.
    pub(crate) fn unprovable(why: &str) -> Self {
        Self::quiet("unqualified", format!("The state could not prove itself later: {why}."))
    }

    /// Where keeping a state means to overwrite what is live, and nobody knows yet whether that is safe.
    pub(crate) fn not_qualified() -> Self {
        Self::quiet("unqualified", "It is not known yet whether states of this model survive here.")
    }

    /// It was found that states do not survive.
    pub(crate) fn disqualified(why: &str) -> Self {
        let message = format!(
            "States of this model do not survive being saved on this machine: {why}. None are kept; no message is touched."
        );
        let remedy = "Conversations with it are read from their text. Another model, or another place to compute, may do better.";
        Self { code: "qualification_failed", message, remedy, is_news: true }
    }

    /// The live state and what its own image makes of it are not the same.
    pub(crate) fn changed_by_saving(why: &str) -> Self {
        let message = format!(
            "Saving changed what the model remembers: {why}. The state was thrown away; no message is touched."
        );
        Self { code: "state_changed", message, remedy: READ_NEXT_TIME, is_news: true }
    }

    /// It takes more than half of the budget; both in bytes.
    pub(crate) fn too_large(bytes: u64, budget: u64) -> Self {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let message = format!(
            "The state of this conversation takes {:.1} MB, more than half of the {:.1} MB set aside for snapshots.",
            mb(bytes),
            mb(budget)
        );
        let remedy = "Free some disk space or choose a larger budget for snapshots; q8_0 for the KV cache halves the state.";
        Self { code: "state_too_large", message, remedy, is_news: true }
    }

    /// The engine died of being asked for it, twice.
    pub(crate) fn given_up() -> Self {
        let message = "The engine was lost twice while it gave the state of a conversation with this model; it is not asked again. No message is touched.";
        Self { code: "export_given_up", message: message.to_owned(), remedy: READ_NEXT_TIME, is_news: true }
    }
}

impl From<StoreError> for NotSaved {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for NotSaved {
    fn from(error: &StoreError) -> Self {
        Self { code: error.code(), message: error.to_string(), remedy: error.remedy(), is_news: true }
    }
}

/// An engine that was lost is told by whoever watches it.
impl From<EngineError> for NotSaved {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Fault(Fault::ImageGone) => "overtaken",
            error => error.code(),
        };
        Self::quiet(code, error.to_string())
    }
}

/// A state that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateKept {
    /// Of this conversation.
    pub conversation: ConversationId,
    /// The message at whose end it is.
    pub node: NodeId,
    /// When it was taken.
    pub at: Timestamp,
}

/// Tells whoever listens what was not kept: each thing once, until it goes well again.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Held for one look-up.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    listener: Option<mpsc::UnboundedSender<NotSaved>>,
    kept: Option<mpsc::UnboundedSender<StateKept>>,
    /// What was told. A state that is too large is its conversation's matter, everything else that of all.
    told: HashSet<(&'static str, Option<ConversationId>)>,
}

impl News {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of the listener before.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<NotSaved> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inner().listener = Some(sender);
        receiver
    }

    /// The same for states that are kept.
    pub(crate) fn listen_to_kept(&self) -> mpsc::UnboundedReceiver<StateKept> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.inner().kept = Some(sender);
        receiver
    }

    pub(crate) fn kept(&self, kept: StateKept) {
        if let Some(listener) = &self.inner().kept {
            // Nobody may listen any more.
            let _ = listener.send(kept);
        }
    }

    /// Takes in how a save ended.
    pub(crate) fn ended(&self, conversation: ConversationId, result: &Result<SavedState, NotSaved>) {
        let mut inner = self.inner();
        match result {
            Ok(_) => inner.told.retain(|(_, of)| of.is_some_and(|of| of != conversation)),
            Err(why) if why.is_news => {
                let of = (why.code == "state_too_large").then_some(conversation);
                if inner.told.insert((why.code, of))
                    && let Some(listener) = &inner.listener
                {
                    // Nobody may listen any more.
                    let _ = listener.send(why.clone());
                }
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use reprise_store::{SnapshotId, Timestamp};

    use super::*;

    fn saved() -> SavedState {
        let snapshot = SnapshotId::new(Timestamp::from_millis(1), 1);
        SavedState { snapshot, state_bytes: 1, new_kv_bytes: 1, bytes_written: 1, ms: 1.0, engine_ms: 1.0 }
    }

    /// Codes that are told while these saves end one after the other.
    fn told(saves: impl IntoIterator<Item = (u128, Result<SavedState, NotSaved>)>) -> Vec<&'static str> {
        let news = News::default();
        let mut heard = news.listen();
        for (of, result) in saves {
            news.ended(ConversationId::new(Timestamp::from_millis(1), of), &result);
        }
        std::iter::from_fn(|| heard.try_recv().ok()).map(|why| why.code).collect()
    }

    #[test]
    fn a_full_disk_is_told_once_until_a_state_is_kept_again() {
        let full = || Err(StoreError::DiskFull.into());
        assert_eq!(told([(1, full()), (1, full()), (2, full())]), ["disk_full"]);
        assert_eq!(told([(1, full()), (2, Ok(saved())), (1, full())]), ["disk_full", "disk_full"]);
    }

    #[test]
    fn a_state_that_is_too_large_is_told_once_for_its_conversation() {
        let large = || Err(NotSaved::too_large(2, 1));
        let code = "state_too_large";
        assert_eq!(told([(1, large()), (2, Ok(saved())), (1, large())]), [code]);
        assert_eq!(told([(1, large()), (2, large())]), [code, code]);
        assert_eq!(told([(1, large()), (1, Ok(saved())), (1, large())]), [code, code]);
    }

    #[test]
    fn what_was_wished_or_passes_by_itself_is_not_told() {
        let saves = [NotSaved::disabled(), NotSaved::overtaken("Another."), EngineError::Closed.into()];
        assert_eq!(told(saves.map(|why| (1, Err(why)))), <[&str; 0]>::default());
    }
}
