//! What a person settles within one conversation: names for places in it, and other instructions.
//!
//! A named message keeps a state from being evicted: the one at its end, else the shortest later one on a branch
//! through it, where that can be trimmed back. Which states are pinned for names is noted beside them: what the
//! person pinned stays pinned when a name goes.

use std::collections::{BTreeSet, HashMap};

use reprise_store::{
    Brief, ConversationId, NodeId, SnapshotId, SnapshotReader, SnapshotState, SnapshotStore, StoreError,
};
use tokio::sync::watch;

use crate::snapshots::Snapshots;
use crate::turn::not_trashed;
use crate::view::Opened;
use crate::{Chat, ChatError, Library};

/// Under what a saved state says whether its tail can be removed.
pub(crate) const CAN_TRIM: &str = "can_trim";

/// Each message of a conversation with the one before it.
type Parents = HashMap<NodeId, Option<NodeId>>;

impl Chat {
    /// Opens a conversation: reads, and changes nothing.
    pub async fn view(&self, id: ConversationId) -> Result<Opened, StoreError> {
        let opened = self.library.open_conversation(id).await?;
        Ok(self.with_pins(opened).await)
    }

    /// Shows the branch with this version of a message, to its newest end.
    pub async fn show_version(&self, message: NodeId) -> Result<Opened, ChatError> {
        let opened = self.library.show_version(message).await?;
        Ok(self.with_pins(opened).await)
    }

    /// Shows the conversation up to this message. What is written next begins a branch there.
    pub async fn jump_to(&self, message: NodeId) -> Result<Opened, ChatError> {
        let conversation = self
            .library
            .with(move |w| {
                w.jump_to(message)?;
                Ok(w.message(message)?.conversation)
            })
            .await?;
        Ok(self.view(conversation).await?)
    }

    /// Gives a message a name or another one, and pins the state that leads back to it.
    pub async fn name_checkpoint(&self, message: NodeId, name: String) -> Result<Opened, ChatError> {
        let now = self.world.now();
        let conversation = self
            .library
            .with(move |w| {
                w.name_checkpoint(message, &name, now)?;
                Ok(w.message(message)?.conversation)
            })
            .await?;
        self.pin_checkpoints(conversation).await;
        Ok(self.view(conversation).await?)
    }

    /// Takes a message's name away. The message stays; a state that no other name needs may be evicted again.
    pub async fn remove_checkpoint(&self, message: NodeId) -> Result<Opened, ChatError> {
        let conversation = self
            .library
            .with(move |w| {
                w.remove_checkpoint(message)?;
                Ok(w.message(message)?.conversation)
            })
            .await?;
        self.pin_checkpoints(conversation).await;
        Ok(self.view(conversation).await?)
    }

    /// Gives a conversation other instructions, or none: the branch that is shown is copied behind them, and the
    /// one before stays. Refused while an answer is written there.
    pub async fn change_instructions(
        &self,
        conversation: ConversationId,
        text: String,
    ) -> Result<Opened, ChatError> {
        let (_never, cancel) = watch::channel(false);
        // No turn begins meanwhile.
        let _open = self.open.open(conversation, cancel).map_err(|error| match error {
            ChatError::TurnOpen { .. } => ChatError::BadRequest {
                what: "An answer in this conversation is still being written, so its instructions were not changed.",
                remedy: "Wait for it, or stop it first.",
            },
            error => error,
        })?;
        let found = self.library.with(move |w| w.conversation(conversation)).await?;
        not_trashed(&found)?;
        let world = std::sync::Arc::clone(&self.world);
        self.library
            .with(move |w| {
                let text = Some(text.as_str()).filter(|text| !text.trim().is_empty());
                let now = world.now();
                w.change_system(conversation, text, now, &mut || NodeId::new(now, world.random()))
            })
            .await?;
        Ok(self.view(conversation).await?)
    }

    /// Pins what the names of a conversation need, and no more what none needs any more.
    pub async fn pin_checkpoints(&self, conversation: ConversationId) {
        if let Some(snapshots) = &self.snapshots {
            pin_needed(&self.library, snapshots, conversation).await;
        }
    }

    /// The same with what the states tell of the names.
    async fn with_pins(&self, mut opened: Opened) -> Opened {
        let id = opened.conversation.id;
        let Some(snapshots) = self.snapshots.as_ref().filter(|_| !opened.checkpoints.is_empty()) else {
            return opened;
        };
        let nodes: Vec<NodeId> = opened.checkpoints.iter().map(|point| point.node).collect();
        let found = async {
            let parents = self.library.with(move |w| w.parents(id)).await?;
            snapshots
                .with(move |store| {
                    let mut briefs = ready(store, id)?;
                    briefs.retain(|brief| brief.pinned);
                    let led_to = |node| reaching(store, &briefs, &parents, node).is_some();
                    Ok(nodes.into_iter().map(led_to).collect::<Vec<_>>())
                })
                .await
        };
        match found.await {
            Ok(pinned) => {
                for (point, pinned) in opened.checkpoints.iter_mut().zip(pinned) {
                    point.pinned = pinned;
                }
            }
            Err(error) => tracing::warn!(code = error.code(), "it cannot be told which names are pinned"),
        }
        opened
    }
}

/// Pins what the names of a conversation need, and no more what none needs any more. States are a cache: what goes
/// wrong with them is logged.
pub(crate) async fn pin_needed(library: &Library, snapshots: &Snapshots, conversation: ConversationId) {
    let pinned = async {
        let (nodes, parents) = library
            .with(move |w| {
                let nodes: Vec<NodeId> =
                    w.checkpoints(conversation)?.iter().map(|point| point.node).collect();
                let parents = if nodes.is_empty() { Parents::new() } else { w.parents(conversation)? };
                Ok((nodes, parents))
            })
            .await?;
        snapshots.with(move |store| settle(store, conversation, &nodes, &parents)).await
    };
    if let Err(error) = pinned.await {
        tracing::warn!(code = error.code(), "the states behind names were not pinned");
    }
}

fn settle(
    store: &mut SnapshotStore,
    conversation: ConversationId,
    nodes: &[NodeId],
    parents: &Parents,
) -> Result<(), StoreError> {
    let before = noted(store, conversation)?;
    if nodes.is_empty() && before.is_empty() {
        return Ok(());
    }
    let briefs = ready(store, conversation)?;
    let needed: BTreeSet<SnapshotId> =
        nodes.iter().filter_map(|node| reaching(store, &briefs, parents, *node)).collect();
    // One that the person pinned is the person's.
    let is_new = |brief: &&Brief| needed.contains(&brief.id) && !before.contains(&brief.id) && !brief.pinned;
    let new: BTreeSet<SnapshotId> = briefs.iter().filter(is_new).map(|brief| brief.id).collect();
    if !new.is_empty() {
        // First, so that no pin is left that nobody knows of.
        note(store, conversation, &before.union(&new).copied().collect())?;
    }
    for id in &new {
        if_there(store.pin(*id))?;
    }
    for id in before.difference(&needed) {
        if_there(store.unpin(*id))?;
    }
    if before.is_subset(&needed) {
        return Ok(());
    }
    note(store, conversation, &before.intersection(&needed).chain(&new).copied().collect())
}

/// From now on a pin is the person's own wish: it outlives every name.
pub(crate) fn pinned_by_hand(store: &mut SnapshotStore, id: SnapshotId) -> Result<(), StoreError> {
    for (name, value) in store.notes(PREFIX)? {
        let mut ids = ids_in(&value);
        if !ids.remove(&id) {
            continue;
        }
        if let Some(conversation) = name.strip_prefix(PREFIX).and_then(|id| id.parse().ok()) {
            note(store, conversation, &ids)?;
        }
    }
    Ok(())
}

/// Forgets what was noted of a conversation that is erased.
pub(crate) fn forget(store: &mut SnapshotStore, conversation: ConversationId) -> Result<(), StoreError> {
    store.forget_note(&format!("{PREFIX}{conversation}"))
}

/// The states of a conversation that may be used, the most recently used first.
fn ready(store: &SnapshotReader, conversation: ConversationId) -> Result<Vec<Brief>, StoreError> {
    let mut briefs = store.briefs(&[conversation])?;
    briefs.retain(|brief| brief.state == SnapshotState::Ready);
    Ok(briefs)
}

/// The state that leads back to this message.
fn reaching(store: &SnapshotReader, briefs: &[Brief], parents: &Parents, node: NodeId) -> Option<SnapshotId> {
    if let Some(own) = briefs.iter().find(|brief| brief.node == node) {
        return Some(own.id);
    }
    let mut later: Vec<&Brief> = briefs.iter().filter(|brief| is_behind(parents, brief.node, node)).collect();
    later.sort_by_key(|brief| brief.n_tokens);
    later.into_iter().map(|brief| brief.id).find(|id| can_trim(store, *id))
}

/// Whether `later` is on a branch that goes through `node`.
fn is_behind(parents: &Parents, later: NodeId, node: NodeId) -> bool {
    let mut at = Some(later);
    // A damaged file may hold a circle.
    for _ in 0..=parents.len() {
        match at {
            Some(found) if found == node => return true,
            Some(found) => at = parents.get(&found).copied().flatten(),
            None => return false,
        }
    }
    false
}

/// Whether the tail of a state can be removed. One that does not say so cannot.
fn can_trim(store: &SnapshotReader, id: SnapshotId) -> bool {
    let Ok(manifest) = store.manifest(id) else { return false };
    // What came in a bundle says what was true where it comes from.
    let own = manifest.facts.get(CAN_TRIM).or_else(|| manifest.facts.get("there")?.get(CAN_TRIM));
    own.and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// What the names of these notes begin with; the conversation follows.
const PREFIX: &str = "pinned for names of ";

fn noted(store: &SnapshotReader, conversation: ConversationId) -> Result<BTreeSet<SnapshotId>, StoreError> {
    let value = store.noted(&format!("{PREFIX}{conversation}"))?;
    Ok(value.as_ref().map(ids_in).unwrap_or_default())
}

fn ids_in(value: &serde_json::Value) -> BTreeSet<SnapshotId> {
    let ids = value.as_array().into_iter().flatten();
    ids.filter_map(|id| id.as_str()?.parse().ok()).collect()
}

fn note(
    store: &mut SnapshotStore,
    conversation: ConversationId,
    ids: &BTreeSet<SnapshotId>,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return forget(store, conversation);
    }
    let ids: Vec<String> = ids.iter().map(SnapshotId::to_string).collect();
    store.note(&format!("{PREFIX}{conversation}"), &serde_json::json!(ids))
}

/// One that was evicted meanwhile needs nothing.
fn if_there(done: Result<(), StoreError>) -> Result<(), StoreError> {
    match done {
        Err(StoreError::NotFound { .. }) => Ok(()),
        done => done,
    }
}
