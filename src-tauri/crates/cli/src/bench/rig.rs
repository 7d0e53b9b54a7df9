//! A library, an engine and turns to be timed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reprise_chat::engine::{EngineHandle, KvType};
use reprise_chat::history::{ConversationId, DataDir, NodeId};
use reprise_chat::{
    Ask, Chat, Library, LoadOptions, ResumePath, SamplingOptions, SavedState, Snapshots, SystemWorld,
    TurnEvent, TurnOutcome, TurnRequest, World, doctor,
};
use tokio::sync::{mpsc, watch};

use crate::args::{self, Global, Subject};
use crate::output::Failure;
use crate::place;

/// Tokens that fit behind the conversation that is measured.
const ROOM: u32 = 1024;

pub(super) struct Rig {
    pub(super) chat: Chat,
    pub(super) engine: EngineHandle,
    model: PathBuf,
    load: LoadOptions,
}

/// A turn that was timed.
pub(super) struct Timed {
    pub(super) turn: TurnOutcome,
    /// From the request to the context being ready for what is new in the prompt.
    pub(super) ready: Duration,
    pub(super) path: ResumePath,
}

impl Rig {
    /// Starts the worker and opens the folder; the model is loaded by the first turn.
    pub(super) async fn start(global: &Global, dir: &DataDir, subject: &Subject) -> Result<Self, Failure> {
        let engine = place::engine(global, dir)?;
        let library = Library::open(dir, "reprise-cli bench", SystemWorld.now())?;
        let snapshots = Snapshots::open(&library, &SystemWorld).await?;
        let load = LoadOptions {
            n_ctx: Some(subject.tokens + ROOM),
            n_threads: doctor::default_threads(&doctor::hardware(dir.root())),
            kv_type: match subject.kv_type {
                args::KvType::F16 => KvType::F16,
                args::KvType::Q8_0 => KvType::Q8_0,
            },
            offload: place::offload(&engine, &subject.device).await?,
            ..LoadOptions::default()
        };
        let chat = Chat::new(library, engine.clone(), Arc::new(SystemWorld));
        let chat = chat.with_snapshots(snapshots).saving_at_once();
        Ok(Self { chat, engine, model: subject.model.clone(), load })
    }

    pub(super) async fn load_model(&self) -> Result<(), Failure> {
        let (_keep, cancel) = watch::channel(false);
        let (nobody, _) = mpsc::channel(1);
        self.chat.load(&self.model, &self.load, &nobody, &cancel).await?;
        Ok(())
    }

    /// Process id of the worker.
    pub(super) async fn worker(&self) -> Result<u32, Failure> {
        Ok(self.engine.hello().await?.pid)
    }

    pub(super) async fn turn(&self, ask: Ask, max_tokens: u32, snapshots: bool) -> Result<Timed, Failure> {
        let request = TurnRequest {
            ask,
            model: self.model.clone(),
            load: self.load.clone(),
            sampling: SamplingOptions { temperature: Some(0.0), ..SamplingOptions::default() },
            max_tokens: Some(max_tokens),
            stop: Vec::new(),
            snapshots,
        };
        let (_keep, cancel) = watch::channel(false);
        let (events, mut receiver) = mpsc::channel(64);
        let ready = tokio::spawn(async move {
            let mut ready = None;
            while let Some(event) = receiver.recv().await {
                if let TurnEvent::Resumed { path, .. } = event {
                    ready = Some((Instant::now(), path));
                }
            }
            ready
        });
        let began = Instant::now();
        let turn = self.chat.take_turn(request, events, cancel).await?;
        let (at, path) = ready.await.ok().flatten().ok_or_else(|| unexpected("a turn did not get ready"))?;
        Ok(Timed { turn, ready: at - began, path })
    }

    /// A conversation of about so many tokens, computed and kept: where it is, what reading it took in
    /// milliseconds, and what keeping it.
    pub(super) async fn converse(
        &self,
        tokens: u32,
    ) -> Result<(ConversationId, NodeId, f64, SavedState), Failure> {
        let text = self.text_of(tokens.saturating_sub(64), 1).await?;
        let mut first = self.turn(Ask::Begin { text, system: None }, 16, true).await?.turn;
        let saved = saved(&mut first).await?;
        Ok((first.conversation, first.node, prefill_ms(&first), saved))
    }

    /// The first message of a conversation, written anew with as many other tokens.
    pub(super) async fn other_beginning(
        &self,
        conversation: ConversationId,
        tokens: u32,
    ) -> Result<Ask, Failure> {
        let text = self.text_of(tokens.saturating_sub(64), 100_000).await?;
        let first = self.chat.library().with(move |library| library.messages(conversation)).await?;
        let message = first.first().ok_or_else(|| unexpected("a conversation has no message"))?.id;
        Ok(Ask::Edit { message, text })
    }

    /// Another conversation takes the live context.
    pub(super) async fn distract(&self) -> Result<(), Failure> {
        let ask = Ask::Begin { text: "What is the time?".to_owned(), system: None };
        self.turn(ask, 1, false).await.map(drop)
    }

    /// Text of so many tokens or a few more. Different days are different sentences.
    pub(super) async fn text_of(&self, tokens: u32, first_day: u32) -> Result<String, Failure> {
        let mut text = String::from("Here are my notes of the journey.");
        let mut count = 0;
        for day in first_day.. {
            if count >= tokens {
                break;
            }
            let pick = |from: &[&'static str], salt: u32| {
                from[(day.wrapping_mul(2_654_435_761).rotate_left(salt) >> 8) as usize % from.len()]
            };
            let sentence = format!(
                " On day {day} the {} {} the {} {} before the {} came back.",
                pick(&["captain", "cook", "doctor", "painter", "girl", "old man", "pilot"], 3),
                pick(&["carried", "sold", "lost", "mended", "praised", "drew"], 7),
                pick(&["copper", "wooden", "broken", "silver", "borrowed"], 11),
                pick(&["lamp", "boat", "clock", "violin", "map", "kettle", "door"], 17),
                pick(&["rain", "fog", "postman", "tide", "wind", "guests"], 23),
            );
            count += self.engine.count_tokens(sentence.clone()).await?;
            text.push_str(&sentence);
        }
        text.push_str(" What do you make of them?");
        Ok(text)
    }

    /// Ends the worker and frees the folder.
    pub(super) async fn end(self) {
        self.engine.shutdown().await;
    }
}

/// Time of the prompt's decoding.
pub(super) fn prefill_ms(turn: &TurnOutcome) -> f64 {
    let rate = turn.timing.prefill_tok_s.unwrap_or(f64::NAN);
    f64::from(turn.timing.prefill_tokens) * 1000.0 / rate
}

/// Waits until the turn's state is kept.
pub(super) async fn saved(turn: &mut TurnOutcome) -> Result<SavedState, Failure> {
    turn.saving.done().await.map_err(|why| unexpected(&format!("a state was not kept: {}", why.message)))
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What must not happen where something is measured.
pub(super) fn unexpected(what: &str) -> Failure {
    Failure::new(
        "bench_failed",
        format!("Nothing was measured: {what}."),
        "Try again, with -v for the steps.",
    )
}
