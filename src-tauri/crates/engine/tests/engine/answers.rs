//! Answers of a worker that behaves.

use std::time::Duration;

use reprise_engine::message::{ChatMessage, GenerateSpec, Role, StopReason};
use reprise_engine::scripted::{Act, ScriptedEngine};
use reprise_engine::{Death, EngineError, Fault, GenerationEvent, Limits};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{ask, end, first_piece, in_time, loaded, never, question, read, start, text};

fn kind(event: &GenerationEvent) -> &'static str {
    match event {
        GenerationEvent::Prepared(_) => "prepared",
        GenerationEvent::Prefill { .. } => "prefill",
        GenerationEvent::Piece { .. } => "piece",
        GenerationEvent::Ended(_) => "ended",
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_in_their_order() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say("hé!".to_owned())]);
    let engine = loaded(&script).await;
    let events = read(ask(&engine).await).await;
    let kinds: Vec<_> = events.iter().map(kind).collect();
    assert_eq!(kinds, ["prepared", "prefill", "piece", "piece", "piece", "ended"]);
    assert_eq!(text(&events), "hé!");
    let finished = end(&events).unwrap();
    assert_eq!((finished.stop, finished.decode_tokens), (StopReason::End, 3));
    assert_eq!(script.prompts(), ["<user>why?\n<assistant>"]);
}

/// What the next message finds live, and nothing that is decoded twice.
#[tokio::test(start_paused = true)]
async fn a_conversation_is_read_once_and_no_further_than_any_next_message() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say("because".to_owned())]);
    let engine = loaded(&script).await;
    let say = |role, content: &str| ChatMessage { role, content: content.to_owned() };
    let talked = [say(Role::User, "why?"), say(Role::Assistant, "because")];
    let reading =
        |messages: &[ChatMessage]| GenerateSpec { reading: true, ..GenerateSpec::new(messages.to_vec()) };
    let run = |spec| async { read(in_time(engine.generate(spec, never())).await.unwrap()).await };
    let prepared = |events: &[GenerationEvent]| match &events[0] {
        GenerationEvent::Prepared(prepared) => (prepared.reused, prepared.to_decode),
        other => panic!("{other:?}"),
    };

    // 36 characters, of which half are live when it is stopped.
    let (stop, stopped) = watch::channel(false);
    script.on_reading(vec![Act::Wait(Duration::from_secs(5))]);
    let stopping = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send(true).unwrap();
    });
    let events = read(in_time(engine.generate(reading(&talked), stopped)).await.unwrap()).await;
    stopping.await.unwrap();
    let finished = end(&events).unwrap();
    assert_eq!((finished.stop, finished.prefill_tokens), (StopReason::Cancelled, 18));
    let events = run(reading(&talked)).await;
    assert_eq!(events.iter().map(kind).collect::<Vec<_>>(), ["prepared", "prefill", "prefill", "ended"]);
    assert_eq!((prepared(&events), end(&events).unwrap().stop), ((18, 18), StopReason::End));
    assert_eq!(script.prompts().last().unwrap(), "<user>why?\n<assistant>because\n<user>");
    // Again, and with a message that is not answered yet.
    let asked = [&talked[..], &[say(Role::User, "really?")]].concat();
    for messages in [&talked[..], &asked] {
        let prompt = in_time(engine.prepare(reading(messages))).await.unwrap();
        assert_eq!((prompt.live, prompt.tokens.len()), (36, 36));
        let events = run(reading(messages)).await;
        assert_eq!(events.iter().map(kind).collect::<Vec<_>>(), ["prepared", "ended"]);
        assert_eq!((prepared(&events), end(&events).unwrap().decode_tokens), ((36, 0), 0));
    }
    let events = run(GenerateSpec::new(asked)).await;
    assert_eq!((prepared(&events), text(&events).as_str()), ((36, 19), "because"), "readings take no answer");
    for nothing in [&[][..], &talked[..1]] {
        let empty = EngineError::Fault(Fault::PromptEmpty);
        assert_eq!(end(&run(reading(nothing)).await), Err(empty.clone()));
        assert_eq!(in_time(engine.prepare(reading(nothing))).await.unwrap_err(), empty);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_come_one_after_the_other() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Wait(Duration::from_secs(5)), Act::Say("first".to_owned())]);
    script.on_answer(vec![Act::Say("second".to_owned())]);
    let engine = loaded(&script).await;
    let (first, second) = (ask(&engine).await, ask(&engine).await);
    assert_eq!(text(&read(first).await), "first");
    assert_eq!(text(&read(second).await), "second");
}

#[tokio::test(start_paused = true)]
async fn a_fault_ends_the_answer_and_not_the_worker() {
    let script = ScriptedEngine::new();
    let fault = Fault::DecodeFailed { detail: "no memory".to_owned() };
    script.on_answer(vec![Act::Say("a".to_owned()), Act::Fail(fault.clone())]);
    let engine = loaded(&script).await;
    let events = read(ask(&engine).await).await;
    assert_eq!((text(&events).as_str(), end(&events)), ("a", Err(EngineError::Fault(fault))));
    assert_eq!(text(&read(ask(&engine).await).await), "ok");
    assert_eq!(script.spawned(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_watch_cancels_an_answer() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Babble]);
    let engine = loaded(&script).await;
    let (cancel, cancelled) = watch::channel(false);
    let mut answer = in_time(engine.generate(question("why?"), cancelled)).await.unwrap();
    first_piece(&mut answer).await;
    cancel.send(true).unwrap();
    assert_eq!(end(&read(answer).await).unwrap().stop, StopReason::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_sender_of_the_watch_cancels_nothing() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Wait(Duration::from_secs(5)), Act::Say("still here".to_owned())]);
    let engine = loaded(&script).await;
    // `ask` drops it at once.
    let events = read(ask(&engine).await).await;
    assert_eq!(text(&events), "still here");
    assert_eq!(end(&events).unwrap().stop, StopReason::End);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_answer_ends_it() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Babble]);
    let engine = loaded(&script).await;
    let mut answer = ask(&engine).await;
    first_piece(&mut answer).await;
    drop(answer);
    let began = Instant::now();
    assert_eq!(text(&read(ask(&engine).await).await), "ok");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(engine.status().borrow().deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_cancelled_before_it_begins_reaches_no_worker() {
    let script = ScriptedEngine::new();
    let engine = start(&script);
    let (_cancel, cancelled) = watch::channel(true);
    let answer = in_time(engine.generate(question("why?"), cancelled)).await.unwrap();
    let events = read(answer).await;
    assert_eq!(events.len(), 1);
    let finished = end(&events).unwrap();
    assert_eq!((finished.stop, finished.ttft_ms), (StopReason::Cancelled, None));
    assert_eq!((script.spawned(), script.prompts().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_in_the_middle_of_an_answer() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Wait(Duration::from_secs(10)), Act::Say("done".to_owned())]);
    let engine = loaded(&script).await;
    let answer = ask(&engine).await;
    let began = Instant::now();
    for _ in 0..100 {
        in_time(engine.ping()).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(text(&read(answer).await), "done");
}

/// The channel holds 64 events, the one before it 256: this is far more.
const LONG: usize = 5000;

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_everything_and_costs_no_worker() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Say("x".repeat(LONG))]);
    let engine = loaded(&script).await;
    let mut answer = ask(&engine).await;
    first_piece(&mut answer).await;
    // Longer than any limit on the worker's silence: it is not the worker that is silent.
    tokio::time::sleep(Duration::from_mins(30)).await;
    let events = read(answer).await;
    assert_eq!(text(&events).len(), LONG - 1);
    assert_eq!(end(&events).unwrap().stop, StopReason::End);
    assert_eq!(engine.status().borrow().deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_can_still_leave() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Babble]);
    let engine = loaded(&script).await;
    let unread = ask(&engine).await;
    tokio::time::sleep(Duration::from_mins(30)).await;
    drop(unread);
    assert_eq!(text(&read(ask(&engine).await).await), "ok");
    assert_eq!(engine.status().borrow().deaths, 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_heed_a_cancel_is_ended() {
    let script = ScriptedEngine::new();
    script.on_answer(vec![Act::Rave]);
    let limits = Limits { ping: Duration::from_hours(1), ..Limits::default() };
    let engine = reprise_engine::EngineHandle::start(script.clone(), limits);
    crate::load(&engine).await.unwrap();
    let (cancel, cancelled) = watch::channel(false);
    let mut answer = in_time(engine.generate(question("why?"), cancelled)).await.unwrap();
    first_piece(&mut answer).await;
    let began = Instant::now();
    cancel.send(true).unwrap();
    let error = end(&read(answer).await).unwrap_err();
    assert_eq!(error, EngineError::Died(Death::Silent(180)));
    assert_eq!(began.elapsed().as_secs(), Limits::default().settle.as_secs());
}
