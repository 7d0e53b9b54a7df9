//! The real engine ends within llama.cpp's own call: no words are lost, nothing unproven is used.

use reprise_chat::history::{DataDir, History, MessageState};
use reprise_chat::{Ask, NotSaved, SavedState, TurnOutcome, verify_snapshots};

use crate::folder::{Folder, go_on};
use crate::rig::{Settings, Worker, needed, story};

/// Path, reason, and whether the state was kept.
fn told(turn: &TurnOutcome, saved: &Result<SavedState, NotSaved>) -> String {
    let reason = turn.receipt.reason.as_ref().map_or("-", |reason| reason.code.as_str());
    let kept = saved.as_ref().map_or_else(|why| why.code, |_| "kept");
    format!("{:?} {reason} {kept}", turn.receipt.path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_dies_within_the_copying_of_a_state_costs_no_words() {
    let Some((worker, model)) = needed() else { return };
    let mut seen = Vec::new();
    for (side, when) in [("export", "before"), ("export", "after"), ("import", "before"), ("import", "after")]
    {
        let worker = Worker::new(&worker, &model, Settings::of(1024, 2)).await;
        let folder = tempfile::tempdir().unwrap();
        let here = Folder { path: folder.path(), model: &model, engine: &worker.engine };
        let (first, _) = here.turn(Ask::Begin { text: story(320, 1), system: None }).await;
        let mut line = format!("{side}, {when}:");
        let mut last = first.node;
        for fault in [Some(format!("dies_{when}")), None, None] {
            worker.engine.discard().await.unwrap();
            match &fault {
                Some(fault) => worker.set(side, fault),
                None => worker.set("-", "-"),
            }
            let (turn, saved) = here.turn(go_on(first.conversation, last)).await;
            last = turn.node;
            line = format!("{line} {},", told(&turn, &saved));
        }
        let dir = DataDir::at(folder.path()).unwrap();
        let path = History::open_reader(&dir).unwrap().active_path(first.conversation).unwrap();
        assert_eq!(path.len(), 8, "{line}");
        let whole = |message: &reprise_chat::history::Message| {
            message.state == MessageState::Complete && !message.damaged
        };
        assert!(path.iter().all(whole), "{line}");
        assert!(verify_snapshots(&dir).unwrap().is_ok(), "{line}");
        worker.engine.shutdown().await;
        seen.push(line);
    }
    insta::assert_snapshot!(seen.join("\n"), @"
    export, before: Restored - engine_died, Restored - kept, Restored - kept,
    export, after: Restored - engine_died, Restored - kept, Restored - kept,
    import, before: Replayed engine_died kept, Restored - kept, Restored - kept,
    import, after: Replayed engine_died kept, Restored - kept, Restored - kept,
    ");
}
