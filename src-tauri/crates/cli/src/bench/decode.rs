//! Decode rate: the whole path, and a bare llama.cpp loop.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use reprise_chat::engine::BareDecode;
use reprise_chat::history::DataDir;
use reprise_chat::{
    Ask, Chat, Library, LoadOptions, SamplingOptions, SystemWorld, TurnEvent, TurnRequest, World, doctor,
};
use tokio::sync::{mpsc, watch};

use crate::args::Global;
use crate::bench::figures::{Figures, median};
use crate::output::{Failure, Out};
use crate::place;

/// What is asked: long enough an answer for any number of tokens.
const PROMPT: &str = "Write a long story about the sea and the people who live beside it.";

/// The whole path (use-case, library, pipes, worker) and a bare llama.cpp loop, in turn.
pub(super) async fn measure(
    global: &Global,
    dir: &DataDir,
    model: &Path,
    tokens: u32,
    runs: u32,
    out: &Out,
) -> Result<Figures, Failure> {
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
    let mut figures = Figures::default();
    figures.ratio("reprise_over_bare", median(&pairs));
    figures.case("decode_through_reprise", "tok/s", ours);
    figures.case("decode_bare_llama_cpp", "tok/s", bare);
    Ok(figures)
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
