//! Turns in a data folder that is opened anew for each, as by a program that ended in between.

use std::path::Path;
use std::sync::Arc;

use reprise_chat::history::{ConversationId, DataDir, NodeId, Timestamp};
use reprise_chat::{
    Ask, Chat, Library, LoadOptions, NotSaved, SamplingOptions, SavedState, Snapshots, SystemWorld,
    TurnOutcome, TurnRequest,
};
use reprise_engine::EngineHandle;
use tokio::sync::{mpsc, watch};

/// One data folder and an engine that outlives it.
pub struct Folder<'a> {
    pub path: &'a Path,
    pub model: &'a Path,
    pub engine: &'a EngineHandle,
}

impl Folder<'_> {
    pub async fn turn(&self, ask: Ask) -> (TurnOutcome, Result<SavedState, NotSaved>) {
        let dir = DataDir::create(self.path).unwrap();
        let library = Library::open(&dir, "the test", Timestamp::from_millis(5)).unwrap();
        let snapshots = Snapshots::open(&library, &SystemWorld).await.unwrap();
        let chat = Chat::new(library, self.engine.clone(), Arc::new(SystemWorld));
        let chat = chat.with_snapshots(snapshots).saving_at_once();
        let request = TurnRequest {
            ask,
            model: self.model.to_owned(),
            load: LoadOptions { n_ctx: Some(1024), n_threads: Some(2), ..LoadOptions::default() },
            sampling: SamplingOptions { temperature: Some(0.0), ..SamplingOptions::default() },
            max_tokens: Some(2),
            stop: Vec::new(),
            snapshots: true,
        };
        // Nobody reads them: a sender without a reader never waits.
        let events = mpsc::channel(1).0;
        let mut turn = chat.take_turn(request, events, watch::channel(false).1).await.unwrap();
        let saved = turn.saving.done().await;
        chat.finish_saving().await;
        (turn, saved)
    }
}

pub fn go_on(conversation: ConversationId, parent: NodeId) -> Ask {
    Ask::Continue { conversation, parent: Some(parent), text: "And then?".to_owned() }
}
