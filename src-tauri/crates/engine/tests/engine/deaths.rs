//! Workers that die, freeze or talk nonsense while they are at work.

use std::time::Duration;

use reprise_engine::scripted::{Act, ScriptedEngine, Start};
use reprise_engine::{Death, EngineError, EngineHandle, Limits};
use tokio::time::Instant;

use crate::{ask, end, first_piece, in_time, load, loaded, read, start, text};

const SAID: &str = "what it said before";

/// Lets the first worker do `act` in mid-answer; gives how it was lost, and checks that everything said
/// before arrived, that the status tells of it, and that the next worker works.
async fn lost_by(act: Act) -> Death {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say(SAID.to_owned()), act]);
    let engine = loaded(&script).await;
    let first = engine.status().borrow().worker.clone();
    assert!(first.is_some());

    let events = read(ask(&engine).await).await;
    let status = engine.status().borrow().clone();
    let death = match end(&events) {
        Err(EngineError::Died(death)) => death,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&events), SAID);
    assert_eq!((status.deaths, status.last_death.as_ref()), (1, Some(&death)));
    assert_eq!(status.loaded, None);

    // The next worker comes without being asked for.
    let mut status = engine.status();
    in_time(status.wait_for(|status| status.worker.is_some())).await.unwrap();
    assert_eq!(script.spawned(), 2);
    load(&engine).await.unwrap();
    assert_eq!(text(&read(ask(&engine).await).await), "ok");
    assert_eq!(script.spawned(), 2);
    death
}

#[tokio::test(start_paused = true)]
async fn a_death_in_the_middle_of_an_answer() {
    assert_eq!(lost_by(Act::Die).await, Death::Exited("the script ended it".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn garbage_in_the_middle_of_an_answer() {
    assert_eq!(lost_by(Act::Garble).await, Death::Garbled("not a message".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_process_is_found_by_the_ping() {
    let began = Instant::now();
    assert_eq!(lost_by(Act::Freeze).await, Death::Silent(20));
    let Limits { ping_every, ping, .. } = Limits::default();
    assert_eq!(began.elapsed().as_secs(), (ping_every + ping).as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_decode_that_hangs_is_found_although_pings_are_answered() {
    let began = Instant::now();
    assert_eq!(lost_by(Act::Wait(Duration::from_hours(10))).await, Death::Silent(60));
    assert_eq!(began.elapsed().as_secs(), Limits::default().decode.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_prefill_may_take_longer_than_a_token() {
    let script = ScriptedEngine::new();
    let Limits { decode, prefill, .. } = Limits::default();
    script.on_answer(vec![Act::Wait((decode + prefill) / 2), Act::Say("late".to_owned())]);
    let engine = loaded(&script).await;
    assert_eq!(text(&read(ask(&engine).await).await), "late");
    assert_eq!(engine.status().borrow().deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_answer_is_left_alone() {
    let script = ScriptedEngine::new();
    let pause = Act::Wait(Limits::default().decode * 9 / 10);
    script.on_answer(vec![[Act::Say("x".to_owned()), pause]; 20].concat());
    let engine = loaded(&script).await;
    assert_eq!(text(&read(ask(&engine).await).await).len(), 20);
    assert_eq!(engine.status().borrow().deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn a_death_with_no_successor_is_told_before_the_successor_is_given_up() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say(SAID.to_owned()), Act::Die]);
    script.on_start(Start::Well);
    script.on_start(Start::Silent);
    script.on_start(Start::Silent);
    let engine = loaded(&script).await;
    let began = Instant::now();
    let events = read(ask(&engine).await).await;
    assert!(matches!(end(&events), Err(EngineError::Died(Death::Exited(_)))));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // The next request finds the third and fourth of them.
    load(&engine).await.unwrap();
    assert_eq!(script.spawned(), 4);
    assert_eq!(engine.status().borrow().deaths, 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_behind_a_death_goes_to_the_next_worker() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say("a".to_owned()), Act::Die]);
    let engine = loaded(&script).await;
    let mut answer = ask(&engine).await;
    let next = tokio::spawn({
        let engine: EngineHandle = engine.clone();
        async move { load(&engine).await }
    });
    first_piece(&mut answer).await;
    assert!(end(&read(answer).await).is_err());
    in_time(next).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_does_not_cost_the_worker() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Wait(Duration::from_secs(30)), Act::Say("good morning".to_owned())]);
    let engine = start(&script);
    load(&engine).await.unwrap();
    let answer = ask(&engine).await;
    // A ping is under way or due when the clock jumps past every limit at once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::time::advance(Duration::from_hours(8)).await;
    assert_eq!(text(&read(answer).await), "good morning");
    assert_eq!(engine.status().borrow().deaths, 0);
}
