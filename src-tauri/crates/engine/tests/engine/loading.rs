//! Loading, unloading and moving state.

use std::time::Duration;

use reprise_engine::message::LoadSpec;
use reprise_engine::scripted::{Act, ScriptedEngine};
use reprise_engine::{Direction, EngineError, Fault, Limits};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::{ask, end, in_time, load, loaded, model, never, read, start, text};

#[tokio::test(start_paused = true)]
async fn a_load_reports_progress_and_then_the_model() {
    let script = ScriptedEngine::new();
    let engine = start(&script);
    let (progress, mut reports) = mpsc::channel(8);
    let info = in_time(engine.load(model(), progress, never())).await.unwrap();
    assert_eq!(reports.recv().await, Some(0.5));
    assert_eq!(reports.recv().await, None);
    let loaded = engine.status().borrow().loaded.clone().unwrap();
    assert_eq!((loaded.spec, loaded.info), (model(), info));
}

#[tokio::test(start_paused = true)]
async fn progress_that_nobody_reads_holds_nothing_up() {
    let script = ScriptedEngine::new();
    let engine = start(&script);
    let (progress, _unread) = mpsc::channel(1);
    progress.try_send(0.0).unwrap();
    in_time(engine.load(model(), progress, never())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_load_ends_and_the_worker_lives_on() {
    let script = ScriptedEngine::new();
    script.on_load(vec![Act::Wait(Duration::from_secs(100))]);
    let engine = start(&script);
    let (cancel, cancelled) = watch::channel(false);
    let (progress, mut reports) = mpsc::channel(8);
    let loading = tokio::spawn({
        let engine = engine.clone();
        async move { engine.load(model(), progress, cancelled).await }
    });
    in_time(reports.recv()).await.unwrap();
    let began = Instant::now();
    cancel.send(true).unwrap();
    assert_eq!(in_time(loading).await.unwrap(), Err(EngineError::Fault(Fault::Cancelled)));
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(engine.status().borrow().loaded, None);
    load(&engine).await.unwrap();
    assert_eq!(script.spawned(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_load_cancels_it() {
    let script = ScriptedEngine::new();
    script.on_load(vec![Act::Wait(Duration::from_secs(100))]);
    let engine = start(&script);
    let (progress, mut reports) = mpsc::channel(8);
    let loading = tokio::spawn({
        let engine = engine.clone();
        async move { engine.load(model(), progress, never()).await }
    });
    in_time(reports.recv()).await.unwrap();
    loading.abort();
    let began = Instant::now();
    load(&engine).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_load_cancelled_before_it_begins_leaves_the_loaded_model_alone() {
    let script = ScriptedEngine::new();
    let engine = loaded(&script).await;
    let other = LoadSpec { model: "other.gguf".into(), ..model() };
    let (_cancel, cancelled) = watch::channel(true);
    let result = in_time(engine.load(other, mpsc::channel(1).0, cancelled)).await;
    assert_eq!(result, Err(EngineError::Fault(Fault::Cancelled)));
    let status = engine.status().borrow().loaded.clone();
    assert_eq!(status.map(|loaded| loaded.spec), Some(model()));
    assert_eq!(text(&read(ask(&engine).await).await), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_says_why_and_leaves_nothing_loaded() {
    let script = ScriptedEngine::new();
    let engine = loaded(&script).await;
    let fault = Fault::ModelNotGguf { path: "scripted.gguf".into() };
    script.on_load(vec![Act::Fail(fault.clone())]);
    assert_eq!(load(&engine).await, Err(EngineError::Fault(fault)));
    let status = engine.status().borrow().clone();
    assert_eq!((status.loaded, status.deaths), (None, 0));
    assert!(status.worker.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_load_without_a_sign_of_progress_is_given_up() {
    let script = ScriptedEngine::new();
    script.on_load(vec![Act::Wait(Duration::from_hours(10))]);
    let engine = start(&script);
    let began = Instant::now();
    let error = load(&engine).await.unwrap_err();
    assert_eq!(error.to_string(), "The engine did not respond for 120 s and was stopped.");
    assert_eq!(began.elapsed().as_secs(), Limits::default().load.as_secs());
    load(&engine).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_an_unload_nothing_is_loaded() {
    let script = ScriptedEngine::new();
    let engine = loaded(&script).await;
    in_time(engine.unload()).await.unwrap();
    assert_eq!(engine.status().borrow().loaded, None);
    assert_eq!(end(&read(ask(&engine).await).await), Err(EngineError::Fault(Fault::NotLoaded)));
}

#[tokio::test(start_paused = true)]
async fn state_moves_both_ways_and_leaves_the_paths_clean() {
    let script = ScriptedEngine::new();
    let engine = loaded(&script).await;
    // More than every buffer on the way, not a multiple of a frame, and nothing at all.
    for bytes in [(40 << 20) + 1, 0, 1] {
        for direction in [Direction::FromWorker, Direction::ToWorker] {
            in_time(engine.move_state(bytes, direction)).await.unwrap();
        }
    }
    assert_eq!(text(&read(ask(&engine).await).await), "ok");
    assert_eq!(script.spawned(), 1);
}
