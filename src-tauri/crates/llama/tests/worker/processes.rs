//! Workers that are killed or stopped, parents that die, and ends in good order.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reprise_engine::message::{StopReason, TokenId};
use reprise_engine::{Death, EngineError, Generation, GenerationEvent, Limits};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::rig::{GEMMA, PATIENCE, Rig, SMOLLM2, alive, ask, model, never, spec, user, wait_until_gone};

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// An answer that is well under way.
async fn under_way(rig: &Rig) -> Generation {
    let story = ask(user("Write a very long story about the sea."), 700);
    let mut generation = rig.engine.generate(story, never()).await.unwrap();
    let mut pieces = 0;
    while pieces < 3 {
        match timeout(PATIENCE, generation.next()).await.unwrap() {
            GenerationEvent::Piece { .. } => pieces += 1,
            GenerationEvent::Ended(ended) => panic!("{ended:?}"),
            _ => {}
        }
    }
    generation
}

async fn end_of(mut generation: Generation) -> Result<StopReason, EngineError> {
    loop {
        if let GenerationEvent::Ended(ended) = timeout(PATIENCE, generation.next()).await.unwrap() {
            return ended.map(|finished| finished.stop);
        }
    }
}

async fn next_answer_works(rig: &Rig, model: &Path, lost: u32) {
    assert_ne!(rig.pid().await, lost);
    wait_until_gone(lost);
    rig.load(model).await;
    assert_eq!(rig.ask(ask(user("Hello"), 3)).await.tokens.len(), 3);
    assert_eq!(rig.engine.status().borrow().deaths, 1);
}

fn killed() -> EngineError {
    EngineError::Died(Death::Exited("it was killed".to_owned()))
}

#[tokio::test]
async fn killed_in_mid_answer() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let pid = rig.pid().await;
    let generation = under_way(&rig).await;
    signal(pid, Signal::KILL);
    assert_eq!(end_of(generation).await, Err(killed()));
    next_answer_works(&rig, &smollm2, pid).await;
}

#[tokio::test]
async fn killed_in_mid_load() {
    let (Some(smollm2), Some(gemma)) = (model(SMOLLM2), model(GEMMA)) else {
        return;
    };
    let rig = Rig::start();
    let pid = rig.pid().await;
    let (progress, mut reported) = mpsc::channel(1024);
    let engine = rig.engine.clone();
    let loading = tokio::spawn(async move { engine.load(spec(&gemma), progress, never()).await });
    let fraction = timeout(PATIENCE, reported.recv()).await.unwrap().unwrap();
    assert!(fraction < 1.0);
    signal(pid, Signal::KILL);
    assert_eq!(loading.await.unwrap(), Err(killed()));
    next_answer_works(&rig, &smollm2, pid).await;
}

#[tokio::test]
async fn stopped_in_mid_answer() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with_limits(Limits {
        decode: Duration::from_secs(3),
        ping_every: Duration::from_millis(500),
        ping: Duration::from_secs(2),
        ..Limits::default()
    });
    rig.load(&smollm2).await;
    let pid = rig.pid().await;
    let generation = under_way(&rig).await;
    signal(pid, Signal::STOP);
    let ended = end_of(generation).await;
    assert!(matches!(ended, Err(EngineError::Died(Death::Silent(_)))), "{ended:?}");
    next_answer_works(&rig, &smollm2, pid).await;
}

#[tokio::test]
async fn shut_down_in_mid_answer() {
    let Some(smollm2) = model(SMOLLM2) else { return };
    let rig = Rig::with(&smollm2).await;
    let pid = rig.pid().await;
    let generation = under_way(&rig).await;
    let started = Instant::now();
    rig.engine.shutdown().await;
    // In good order: not by waiting until force is used.
    assert!(started.elapsed() < Limits::default().shutdown, "{:?}", started.elapsed());
    assert!(!alive(pid));
    assert_eq!(end_of(generation).await, Err(EngineError::Closed));
    assert_eq!(rig.engine.status().borrow().deaths, 0);
}

/// Set for the process that stands for the app; tells which part it plays.
const PART: &str = "REPRISE_TEST_PART";

/// This program again, playing a part.
pub fn play(part: &str, environment: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::as_the_app", "--nocapture"])
        .env(PART, part)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a part says behind this mark.
const MARK: &str = "worker:";

/// The process id of the worker that a part has started.
pub fn worker_of(child: &mut Child) -> u32 {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| {
        let (_, pid) = line.split_once(MARK)?;
        pid.trim().parse().ok()
    });
    told.expect("the part names its worker")
}

/// Not a test: what `play` runs. Without a part it has nothing to do.
#[tokio::test]
async fn as_the_app() {
    let Some(part) = std::env::var_os(PART) else { return };
    let rig = Rig::start();
    let mut generation = None;
    if part == "answering" {
        rig.load(&model(SMOLLM2).unwrap()).await;
        generation = Some(under_way(&rig).await);
    }
    let pid = rig.pid().await;
    // Not through `println!`, whose output tests capture.
    writeln!(std::io::stdout(), "{MARK}{pid}").unwrap();
    if let Some(mut generation) = generation {
        let mut tokens: Vec<TokenId> = Vec::new();
        while let GenerationEvent::Piece { tokens: more, .. } = generation.next().await {
            tokens.extend(more);
        }
    }
    // Until it is killed.
    std::future::pending::<()>().await;
}

#[test]
fn a_worker_does_not_outlive_its_parent() {
    if model(SMOLLM2).is_none() {
        return;
    }
    for part in ["answering", "idle"] {
        let mut parent = play(part, &[]);
        let worker = worker_of(&mut parent);
        assert!(alive(worker));
        parent.kill().unwrap();
        parent.wait().unwrap();
        wait_until_gone(worker);
    }
}
