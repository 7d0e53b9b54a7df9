//! State bytes on their way: callers that go, dawdle or give up, and workers that are lost meanwhile.

use std::time::Duration;

use reprise_engine::scripted::{Act, ScriptedEngine};
use reprise_engine::state::{Exported, Pieces, RestoreSpec};
use reprise_engine::{Death, EngineError, EngineHandle, Fault, Limits};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::{ask, in_time, loaded, read, text};

/// An engine that has answered, and the state it is in.
async fn talked(script: &ScriptedEngine) -> (EngineHandle, Exported) {
    let engine = loaded(script).await;
    // A state of several frames.
    script.on_answer(vec![Act::Say("o".repeat(400))]);
    read(ask(&engine).await).await;
    let exported = in_time(engine.export()).await.unwrap();
    (engine, exported)
}

fn whole(exported: &Exported) -> Vec<Pieces> {
    let mut pieces = Pieces::default();
    pieces.push(0, exported.table.len);
    vec![pieces]
}

fn spec(exported: &Exported) -> RestoreSpec {
    RestoreSpec {
        tokens: exported.tokens.clone(),
        table: exported.table.clone(),
        probes: exported.fingerprints.iter().map(|fingerprint| fingerprint.probe.clone()).collect(),
    }
}

/// The whole image, by a reader who takes this long for each frame.
async fn fetch(engine: &EngineHandle, exported: &Exported, dawdling: Duration) -> Vec<u8> {
    let (sink, mut frames) = mpsc::channel::<Vec<u8>>(1);
    let came = async {
        let mut came = Vec::new();
        while let Some(frame) = frames.recv().await {
            came.extend(frame);
            sleep(dawdling).await;
        }
        came
    };
    let (shipped, came) = tokio::join!(engine.ship(exported.image, whole(exported), sink), came);
    shipped.unwrap();
    came
}

async fn put(engine: &EngineHandle, exported: &Exported, bytes: Vec<u8>) -> Result<(), EngineError> {
    let (frames, source) = mpsc::channel(64);
    let fed = async {
        for part in bytes.chunks(100_000) {
            // An error: the worker is gone.
            let _ = frames.send(part.to_vec()).await;
        }
        drop(frames);
    };
    in_time(async { tokio::join!(engine.receive(exported.table.len, whole(exported), source), fed).0 }).await
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_thrown_away_and_what_comes_next_is_whole() {
    let (engine, exported) = talked(&ScriptedEngine::new()).await;
    let bytes = fetch(&engine, &exported, Duration::ZERO).await;
    assert_eq!(bytes.len() as u64, exported.table.len);
    let (sink, unread) = mpsc::channel(1);
    drop(unread);
    in_time(engine.ship(exported.image, whole(&exported), sink)).await.unwrap();
    assert!(fetch(&engine, &exported, Duration::ZERO).await == bytes);
    // A caller that stops waiting in the middle leaves nothing of his for the next one.
    let (sink, mut frames) = mpsc::channel(1);
    tokio::select! {
        _ = engine.ship(exported.image, whole(&exported), sink) => panic!("nobody read all of it"),
        first = frames.recv() => assert!(first.is_some()),
    }
    drop(frames);
    assert!(fetch(&engine, &exported, Duration::ZERO).await == bytes);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_dawdles_is_waited_for_and_does_not_hold_up_an_answer() {
    // As long as a worker may be silent, and longer, at the moment of a ping and beside it.
    let Limits { settle, ping_every, .. } = Limits::default();
    for slow in [settle, settle + Duration::from_secs(1), settle + ping_every] {
        let script = ScriptedEngine::new();
        let (engine, exported) = talked(&script).await;
        let began = Instant::now();
        let bytes = fetch(&engine, &exported, slow).await;
        assert!(began.elapsed() >= slow && script.spawned() == 1, "nobody took the silence for a death");
        assert_eq!(bytes.len() as u64, exported.table.len);
        assert_eq!(text(&read(ask(&engine).await).await), "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_early_gives_the_image_up_and_the_next_one_arrives() {
    let (engine, exported) = talked(&ScriptedEngine::new()).await;
    let bytes = fetch(&engine, &exported, Duration::ZERO).await;
    let half = bytes[..bytes.len() / 2].to_vec();
    assert_eq!(put(&engine, &exported, half).await.unwrap_err(), EngineError::Fault(Fault::Cancelled));
    put(&engine, &exported, bytes).await.unwrap();
    let restored = in_time(engine.restore(spec(&exported))).await.unwrap();
    assert_eq!(restored.fingerprints, exported.fingerprints);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_at_any_request_about_states_is_told_of_and_replaced() {
    for request in ["export", "hash", "ship", "receive", "restore", "accept", "discard", "release"] {
        let script = ScriptedEngine::new();
        let (engine, exported) = talked(&script).await;
        let bytes = fetch(&engine, &exported, Duration::ZERO).await;
        script.die_at(request);
        let lost = match request {
            "export" => in_time(engine.export()).await.map(drop),
            "hash" => in_time(engine.hash(exported.image, whole(&exported))).await.map(drop),
            "ship" => {
                let (sink, mut frames) = mpsc::channel(1);
                let shipped = tokio::spawn({
                    let (engine, exported) = (engine.clone(), exported.clone());
                    async move { engine.ship(exported.image, whole(&exported), sink).await }
                });
                while frames.recv().await.is_some() {}
                in_time(shipped).await.unwrap()
            }
            "receive" => put(&engine, &exported, bytes).await,
            "restore" => in_time(engine.restore(spec(&exported))).await.map(drop),
            "accept" => in_time(engine.accept()).await,
            "discard" => in_time(engine.discard()).await,
            _ => in_time(engine.release(exported.image)).await,
        };
        assert!(matches!(lost, Err(EngineError::Died(_))), "{request}: {lost:?}");
        crate::load(&engine).await.unwrap();
        assert_eq!(text(&read(ask(&engine).await).await), "ok", "{request}");
        assert_eq!(script.spawned(), 2, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_over_a_state_is_found_out() {
    for request in ["export", "hash", "ship", "restore"] {
        let script = ScriptedEngine::new();
        let (engine, exported) = talked(&script).await;
        let _never = script.hold_at(request);
        let (sink, _unread) = mpsc::channel(1);
        let lost = match request {
            "export" => in_time(engine.export()).await.map(drop),
            "hash" => in_time(engine.hash(exported.image, whole(&exported))).await.map(drop),
            "ship" => in_time(engine.ship(exported.image, whole(&exported), sink)).await,
            _ => in_time(engine.restore(spec(&exported))).await.map(drop),
        };
        assert!(matches!(lost, Err(EngineError::Died(Death::Silent(_)))), "{request}: {lost:?}");
    }
}
