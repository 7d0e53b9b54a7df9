//! Supervision of the worker: with scripted workers on a clock that stands still while anything can
//! still happen, and with real child processes that misbehave.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod answers;
mod deaths;
mod loading;
#[cfg(unix)]
mod processes;
mod starting;
mod states;

use std::future::Future;
use std::time::Duration;

use reprise_engine::message::{ChatMessage, GenerateSpec, LoadSpec, ModelInfo, Role};
use reprise_engine::scripted::ScriptedEngine;
use reprise_engine::{EngineError, EngineHandle, Generation, GenerationEvent, Limits};
use tokio::sync::{mpsc, watch};

/// Nothing here may hang: a test that waits for ever fails instead. On the paused clock this costs no
/// time at all.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_hours(1), what).await.expect("it hangs")
}

fn start(script: &ScriptedEngine) -> EngineHandle {
    EngineHandle::start(script.clone(), Limits::default())
}

/// A cancel that never comes.
fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

fn model() -> LoadSpec {
    LoadSpec::new("scripted.gguf")
}

fn question(text: &str) -> GenerateSpec {
    GenerateSpec::new(vec![ChatMessage { role: Role::User, content: text.to_owned() }])
}

async fn load(engine: &EngineHandle) -> Result<ModelInfo, EngineError> {
    in_time(engine.load(model(), mpsc::channel(1).0, never())).await
}

/// A handle with a model loaded.
async fn loaded(script: &ScriptedEngine) -> EngineHandle {
    let engine = start(script);
    load(&engine).await.unwrap();
    engine
}

async fn ask(engine: &EngineHandle) -> Generation {
    in_time(engine.generate(question("why?"), never())).await.unwrap()
}

/// Everything up to and with the end.
async fn read(mut answer: Generation) -> Vec<GenerationEvent> {
    let mut events = Vec::new();
    loop {
        let event = in_time(answer.next()).await;
        let ended = matches!(event, GenerationEvent::Ended(_));
        events.push(event);
        if ended {
            return events;
        }
    }
}

/// Reads until text comes, and gives it back.
async fn first_piece(answer: &mut Generation) -> String {
    loop {
        match in_time(answer.next()).await {
            GenerationEvent::Piece { text, .. } => return text,
            GenerationEvent::Ended(end) => panic!("it ended without text: {end:?}"),
            _ => {}
        }
    }
}

fn text(events: &[GenerationEvent]) -> String {
    let piece = |event: &GenerationEvent| match event {
        GenerationEvent::Piece { text, .. } => text.clone(),
        _ => String::new(),
    };
    events.iter().map(piece).collect()
}

fn end(events: &[GenerationEvent]) -> Result<reprise_engine::message::Finished, EngineError> {
    match events.last() {
        Some(GenerationEvent::Ended(end)) => end.clone(),
        other => panic!("no end: {other:?}"),
    }
}
