//! From the first request to the worker's introduction, and from the wish to stop to its end.

use std::time::Duration;

use reprise_engine::message::PROTOCOL_VERSION;
use reprise_engine::scripted::{Act, ScriptedEngine, Start};
use reprise_engine::{Death, EngineError, Limits};
use tokio::time::Instant;

use crate::{ask, end, first_piece, in_time, load, loaded, read, start};

/// The error of the first request to workers that start like this, and how many were started.
async fn refused(starts: &[Start]) -> (EngineError, u32) {
    let script = ScriptedEngine::new();
    for how in starts {
        script.on_start(how.clone());
    }
    let engine = start(&script);
    let error = in_time(engine.hello()).await.unwrap_err();
    let status = engine.status().borrow().clone();
    assert_eq!(status.worker, None);
    assert_eq!(status.last_death.map(EngineError::Died), Some(error.clone()));
    assert_eq!(status.deaths, u64::from(script.spawned()));
    (error, script.spawned())
}

#[tokio::test(start_paused = true)]
async fn no_worker_is_started_before_it_is_needed() {
    let script = ScriptedEngine::new();
    let engine = start(&script);
    assert_eq!(script.spawned(), 0);
    let hello = in_time(engine.hello()).await.unwrap();
    assert_eq!(engine.status().borrow().worker, Some(hello));
    in_time(engine.hello()).await.unwrap();
    assert_eq!(script.spawned(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_another_version_is_refused_and_not_tried_again() {
    let (error, spawned) = refused(&[Start::OfVersion(PROTOCOL_VERSION + 1)]).await;
    let theirs = PROTOCOL_VERSION + 1;
    let sentence =
        format!("The engine is of another version (protocol {theirs}, expected {PROTOCOL_VERSION}).");
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.code(), "engine_version");
    assert_eq!(spawned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_says_nothing_is_given_up_after_two_handshakes() {
    let began = Instant::now();
    let (error, spawned) = refused(&[Start::Silent, Start::Silent]).await;
    assert_eq!(error.to_string(), "The engine did not respond for 20 s and was stopped.");
    assert_eq!(spawned, 2);
    assert_eq!(began.elapsed().as_secs(), 2 * Limits::default().handshake.as_secs());
}

#[tokio::test(start_paused = true)]
async fn two_deaths_at_the_start_are_an_answer() {
    let (error, spawned) = refused(&[Start::Dying, Start::Dying]).await;
    assert_eq!(error.to_string(), "The engine stopped (the script ended it).");
    assert_eq!(error.code(), "engine_died");
    assert_eq!(spawned, 2);
}

#[tokio::test(start_paused = true)]
async fn one_death_at_the_start_is_not() {
    let script = ScriptedEngine::new();
    script.on_start(Start::Dying);
    let engine = loaded(&script).await;
    assert_eq!(script.spawned(), 2);
    assert_eq!(engine.status().borrow().deaths, 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_request_tries_again_after_two_deaths() {
    let script = ScriptedEngine::new();
    script.on_start(Start::Dying);
    script.on_start(Start::Dying);
    let engine = start(&script);
    assert!(matches!(load(&engine).await, Err(EngineError::Died(Death::Exited(_)))));
    load(&engine).await.unwrap();
    assert_eq!(script.spawned(), 3);
}

#[tokio::test(start_paused = true)]
async fn workers_that_end_before_they_are_asked_anything_are_not_replaced_for_ever() {
    let script = ScriptedEngine::new();
    for _ in 0..100 {
        script.on_start(Start::Fleeting);
    }
    let engine = start(&script);
    in_time(engine.hello()).await.unwrap();
    let mut status = engine.status();
    in_time(status.wait_for(|status| status.deaths == 1)).await.unwrap();
    // The clock only moves when nothing else can happen.
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(script.spawned(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_worker_that_says_nothing() {
    let script = ScriptedEngine::new();
    script.on_start(Start::Silent);
    let engine = start(&script);
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.hello().await }
    });
    // Only now is the handshake under way for certain.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(script.spawned(), 1);
    let began = Instant::now();
    in_time(engine.shutdown()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(waiting.await.unwrap(), Err(EngineError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_an_answer_and_every_later_call() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Babble]);
    let engine = loaded(&script).await;
    let mut answer = ask(&engine).await;
    first_piece(&mut answer).await;
    in_time(engine.shutdown()).await;
    assert_eq!(end(&read(answer).await), Err(EngineError::Closed));
    assert_eq!(in_time(engine.ping()).await, Err(EngineError::Closed));
    assert_eq!(load(&engine).await.map(drop), Err(EngineError::Closed));
    assert_eq!(engine.status().borrow().worker, None);
    in_time(engine.shutdown()).await;
    assert_eq!(script.spawned(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_its_time_and_no_longer() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say("a".to_owned()), Act::Freeze]);
    let engine = loaded(&script).await;
    let mut answer = ask(&engine).await;
    first_piece(&mut answer).await;
    let began = Instant::now();
    in_time(engine.shutdown()).await;
    assert_eq!(began.elapsed().as_secs(), Limits::default().shutdown.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_reader_that_does_not_read() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Babble]);
    let engine = loaded(&script).await;
    let unread = ask(&engine).await;
    // Long enough for every channel on the way to be full.
    tokio::time::sleep(Duration::from_mins(1)).await;
    in_time(engine.shutdown()).await;
    assert_eq!(end(&read(unread).await), Err(EngineError::Closed));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_worker() {
    let script = ScriptedEngine::new();
    let engine = loaded(&script).await;
    let other = engine.clone();
    let mut status = engine.status();
    drop(engine);
    in_time(other.ping()).await.unwrap();
    drop(other);
    in_time(status.wait_for(|status| status.worker.is_none())).await.unwrap();
    assert_eq!(script.spawned(), 1);
}
