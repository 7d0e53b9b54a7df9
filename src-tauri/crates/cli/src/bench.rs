//! `reprise-cli bench`: figures as ratios in one run, medians with their spread.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use reprise_chat::engine::{BareDecode, Direction, EngineHandle};
use reprise_chat::history::DataDir;
use reprise_chat::{
    Ask, Chat, Library, LoadOptions, SamplingOptions, SystemWorld, TurnEvent, TurnRequest, World, doctor,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

use crate::args::{Bench, Global};
use crate::output::{Failure, Out};
use crate::place;

/// Pings a run.
const PINGS: usize = 1000;
/// State bytes a run: that of a long conversation with a small model.
const STATE: u64 = 256 << 20;
/// What is asked: long enough an answer for any number of tokens.
const PROMPT: &str = "Write a long story about the sea and the people who live beside it.";

#[derive(Debug, Serialize)]
struct Case {
    name: &'static str,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

impl Case {
    fn of(name: &'static str, unit: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |index: usize| samples.get(index).copied().unwrap_or(f64::NAN);
        let last = samples.len().saturating_sub(1);
        Self { name, unit, median: median(&samples), min: at(0), max: at(last), runs: samples.len() }
    }
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Measured in a folder of its own: nobody's library grows by it.
struct Scratch {
    dir: DataDir,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let name = format!("reprise-bench-{:032x}", SystemWorld.random());
        Ok(Self { dir: DataDir::create(std::env::temp_dir().join(name))? })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is a few kilobytes in the system's own folder for such.
        let _ = std::fs::remove_dir_all(self.dir.root());
    }
}

pub(crate) async fn run(global: &Global, bench: &Bench, out: &Out) -> Result<ExitCode, Failure> {
    let scratch = Scratch::new()?;
    let dir = &scratch.dir;
    let (name, cases, ratios) = match bench {
        Bench::Decode { model, tokens, runs } => {
            let (cases, ratios) = decode(global, dir, model, *tokens, *runs, out).await?;
            ("decode", cases, ratios)
        }
        Bench::Ipc { runs } => ("ipc", ipc(global, dir, *runs, out).await?, Map::new()),
    };
    let hardware = doctor::hardware(&std::env::temp_dir());
    let brand = hardware.cpu.brand.unwrap_or_default();
    let machine = format!(
        "{}, {} cores, {} {}",
        brand.trim(),
        hardware.cpu.physical_cores.unwrap_or(0),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    out.result(&json!({ "bench": name, "machine": machine, "cases": cases, "ratios": ratios }), || {
        table(&machine, &cases, &ratios)
    });
    Ok(ExitCode::SUCCESS)
}

fn table(machine: &str, cases: &[Case], ratios: &Map<String, Value>) -> String {
    let mut text = format!("{machine}\n");
    for case in cases {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<28} {:>10.2} {:<8} (min {:.2}, max {:.2}, {} runs)",
            case.name, case.median, case.unit, case.min, case.max, case.runs
        );
    }
    for (name, value) in ratios {
        let _ = writeln!(text, "{name:<28} {:>10.3}", value.as_f64().unwrap_or(f64::NAN));
    }
    text
}

/// The whole path (use-case, library, pipes, worker) and a bare llama.cpp loop, in turn.
async fn decode(
    global: &Global,
    dir: &DataDir,
    model: &Path,
    tokens: u32,
    runs: u32,
    out: &Out,
) -> Result<(Vec<Case>, Map<String, Value>), Failure> {
    let engine_dir = place::engine_dir(global)?;
    let engine = place::engine(global, dir)?;
    let library = Library::open(dir, "reprise-cli bench", SystemWorld.now())?;
    let threads = doctor::default_threads(&doctor::hardware(dir.root())).unwrap_or(1);
    let load = LoadOptions { n_threads: Some(threads), ..LoadOptions::default() };
    let chat = Chat::new(library, engine.clone(), Arc::new(SystemWorld));
    let (_keep, cancel) = watch::channel(false);
    let (nobody, _) = mpsc::channel(1);
    chat.load(model, &load, &nobody, &cancel).await?;
    let (mut ours, mut bare, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs {
        let request = TurnRequest {
            ask: Ask::Begin { text: PROMPT.to_owned(), system: None },
            model: model.to_owned(),
            load: load.clone(),
            sampling: SamplingOptions { temperature: Some(0.0), ..SamplingOptions::default() },
            max_tokens: Some(tokens),
            stop: Vec::new(),
            snapshots: false,
        };
        let (events, receiver) = mpsc::channel(64);
        let first = tokio::spawn(first_token(receiver));
        let turn = chat.take_turn(request, events, cancel.clone()).await?;
        let ended = Instant::now();
        // From the first token as the face sees it to the answer kept on the disk.
        let started = first.await.ok().flatten().unwrap_or(ended);
        let rate = f64::from(turn.timing.decode_tokens.saturating_sub(1)) / (ended - started).as_secs_f64();
        let loop_ = BareDecode::run(&engine_dir, model, tokens, threads).map_err(|error| {
            let what = format!("The bare loop could not be run: {error}.");
            Failure::new("engine_missing", what, "Name the engine's folder with --engine-dir.")
        })?;
        let bare_rate = f64::from(loop_.tokens) * 1000.0 / loop_.ms;
        out.step(&format!("run {}: {rate:.1} and bare {bare_rate:.1} tokens/s", run + 1));
        ours.push(rate);
        bare.push(bare_rate);
        pairs.push(rate / bare_rate);
    }
    engine.shutdown().await;
    pairs.sort_by(f64::total_cmp);
    let mut ratios = Map::new();
    ratios.insert("reprise_over_bare".to_owned(), json!(median(&pairs)));
    let cases = vec![
        Case::of("decode_through_reprise", "tok/s", ours),
        Case::of("decode_bare_llama_cpp", "tok/s", bare),
    ];
    Ok((cases, ratios))
}

async fn first_token(mut events: mpsc::Receiver<TurnEvent>) -> Option<Instant> {
    let mut first = None;
    while let Some(event) = events.recv().await {
        if matches!(event, TurnEvent::Text { .. }) {
            first.get_or_insert_with(Instant::now);
        }
    }
    first
}

async fn ipc(global: &Global, dir: &DataDir, runs: u32, out: &Out) -> Result<Vec<Case>, Failure> {
    let engine = place::engine(global, dir)?;
    let hello = engine.hello().await?;
    let mut cases = Vec::new();
    if let Some(resident) = resident_mb(hello.pid) {
        cases.push(Case::of("worker_idle_resident", "MB", vec![resident]));
    }
    let (mut alone, mut beside, mut from, mut to) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        pings(&engine, PINGS, &mut alone).await?;
        from.push(move_state(&engine, Direction::FromWorker).await?);
        to.push(move_state(&engine, Direction::ToWorker).await?);
        // Control beside state bytes: they travel on a path of their own.
        let moving = tokio::spawn({
            let engine = engine.clone();
            async move { engine.move_state(4 * STATE, Direction::FromWorker).await }
        });
        while !moving.is_finished() {
            pings(&engine, 1, &mut beside).await?;
        }
        moving.await.map_err(|error| Failure::new("bench", error.to_string(), "Try again."))??;
    }
    out.step("measured");
    engine.shutdown().await;
    cases.push(Case::of("control_round_trip", "µs", alone));
    cases.push(Case::of("control_beside_state", "µs", beside));
    cases.push(Case::of("state_from_worker", "GB/s", from));
    cases.push(Case::of("state_to_worker", "GB/s", to));
    Ok(cases)
}

async fn pings(engine: &EngineHandle, count: usize, samples: &mut Vec<f64>) -> Result<(), Failure> {
    for _ in 0..count {
        let started = Instant::now();
        engine.ping().await?;
        samples.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(())
}

async fn move_state(engine: &EngineHandle, direction: Direction) -> Result<f64, Failure> {
    let started = Instant::now();
    engine.move_state(STATE, direction).await?;
    Ok(STATE as f64 / 1e9 / started.elapsed().as_secs_f64())
}

/// Resident memory of a process in MB; `None` where the system has no /proc.
fn resident_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
