//! `reprise-cli chat`.

use std::io::Read;
use std::process::ExitCode;

use reprise_chat::engine::{Finite, FlashAttention, KvType, StopReason};
use reprise_chat::history::{ConversationId, NodeId};
use reprise_chat::{
    Ask, Chat, LoadOptions, NotSaved, Receipt, ResumePath, SamplingOptions, SavedState, Timing, TurnEvent,
    TurnOutcome, TurnRequest, doctor, require_text,
};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::args::{self, Global};
use crate::output::{Failure, Out, duration, exit_interrupted, grouped, interrupted};
use crate::place;

#[derive(Serialize)]
struct TurnJson<'a> {
    conversation: String,
    message: String,
    node: String,
    text: &'a str,
    token_ids: Vec<i32>,
    stop: StopReason,
    receipt: &'a Receipt,
    timing: &'a Timing,
    saved: Option<&'a SavedState>,
}

impl<'a> TurnJson<'a> {
    fn new(turn: &'a TurnOutcome, saved: Option<&'a SavedState>) -> Self {
        Self {
            conversation: turn.conversation.to_string(),
            message: turn.message.to_string(),
            node: turn.node.to_string(),
            text: &turn.text,
            token_ids: turn.token_ids.iter().map(|token| token.0).collect(),
            stop: turn.stop,
            receipt: &turn.receipt,
            timing: &turn.timing,
            saved,
        }
    }
}

/// One command: where it goes on, and with what.
struct Run<'a> {
    args: &'a args::Chat,
    out: &'a Out,
    chat: Chat,
    /// States that are not kept.
    news: mpsc::UnboundedReceiver<NotSaved>,
    load: LoadOptions,
    conversation: Option<ConversationId>,
    parent: Option<NodeId>,
    cancelled: watch::Receiver<bool>,
}

pub(crate) async fn run(global: &Global, args: &args::Chat, out: &Out) -> Result<ExitCode, Failure> {
    let prompts = prompts(args)?;
    prompts.iter().try_for_each(|text| require_text(text))?;
    let conversation = args.conversation.as_deref().map(str::parse::<ConversationId>).transpose()?;
    let parent = args.parent.as_deref().map(str::parse::<NodeId>).transpose()?;

    let (library, dir) = place::writer(global)?;
    if library.interrupted_at_opening() > 0 {
        out.tell("An answer that was being written when Reprise last ended is marked interrupted.");
    }
    // A wrong id is told before a model is loaded.
    if let Some(id) = conversation {
        library.with(move |w| w.conversation(id).map(drop)).await?;
    }
    if let Some(node) = parent {
        library.with(move |w| w.message(node).map(drop)).await?;
    }
    let engine = place::engine(global, &dir)?;
    let load = LoadOptions {
        n_ctx: args.n_ctx,
        n_threads: args.threads.or_else(|| doctor::default_threads(&doctor::hardware(dir.root()))),
        kv_type: match args.kv_type {
            args::KvType::F16 => KvType::F16,
            args::KvType::Q8_0 => KvType::Q8_0,
        },
        flash_attention: match args.flash_attn {
            args::FlashAttention::Auto => FlashAttention::Auto,
            args::FlashAttention::On => FlashAttention::On,
            args::FlashAttention::Off => FlashAttention::Off,
        },
        rope_freq_base: args.rope_freq_base.and_then(|base| Finite::try_from(base).ok()),
        offload: place::offload(&engine, &args.device).await?,
    };
    let chat = place::chat(library, &engine, !args.no_snapshots, out).await;
    let news = chat.not_saved();
    let run = Run { args, out, chat, news, load, conversation, parent, cancelled: heed_ctrl_c(out.clone()) };
    let result = run.take_turns(prompts).await;
    engine.shutdown().await;
    result
}

/// The first Ctrl-C ends the answer in order; a second one ends this program, and its worker with it.
fn heed_ctrl_c(out: Out) -> watch::Receiver<bool> {
    let (cancel, cancelled) = watch::channel(false);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if cancel.send_replace(true) {
                exit_interrupted();
            }
            out.tell("Stopping. Press Ctrl-C again to end at once.");
        }
    });
    cancelled
}

impl Run<'_> {
    async fn take_turns(mut self, prompts: Vec<String>) -> Result<ExitCode, Failure> {
        // Before anything is kept: a wrong path leaves no conversation behind.
        let mut load_ms = self.load().await?;
        let count = prompts.len();
        let mut turns = Vec::with_capacity(count);
        for (index, text) in prompts.into_iter().enumerate() {
            let mut turn = match self.take_turn(text).await {
                Ok(turn) => turn,
                Err(failure) => return Err(failure.after(turns)),
            };
            turn.timing.load_ms = turn.timing.load_ms.or(load_ms.take());
            self.conversation = Some(turn.conversation);
            self.out.end_line();
            self.out.step(&format!("finished {}", turn.node));
            let saved = self.saved(&mut turn).await;
            if self.out.is_json() {
                turns.push(serde_json::to_value(TurnJson::new(&turn, saved.as_ref())).unwrap_or_default());
            } else {
                self.out.tell(&summary(&turn, saved.as_ref()));
            }
            if turn.stop == StopReason::Cancelled {
                if count > 1 {
                    let what =
                        format!("You stopped message {} of {count}; what was written is kept.", index + 1);
                    let failure = Failure::new("cancelled", what, "Go on with --conversation.");
                    return Err(failure.at(turn.conversation, turn.message).after(turns));
                }
                self.print(&turns, count);
                return Ok(interrupted());
            }
        }
        self.print(&turns, count);
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, turns: &[serde_json::Value], asked: usize) {
        if !self.out.is_json() {
            return;
        }
        match turns {
            [turn] if asked == 1 => self.out.result(turn, String::new),
            turns => self.out.result(&serde_json::json!({ "turns": turns }), String::new),
        }
    }

    /// Waits until the turn's state is kept: nobody does it when this program has ended.
    async fn saved(&mut self, turn: &mut TurnOutcome) -> Option<SavedState> {
        match turn.saving.done().await {
            Ok(saved) => {
                self.out.step(&format!("saved {}", saved.snapshot));
                Some(saved)
            }
            Err(why) => {
                self.out.step(&format!("not saved, {}: {}", why.code, why.message));
                // Each cause is told once.
                while let Ok(why) = self.news.try_recv() {
                    self.out.tell(&format!("{} {}", why.message, why.remedy));
                }
                None
            }
        }
    }

    async fn load(&self) -> Result<Option<f64>, Failure> {
        let (events, receiver) = mpsc::channel(64);
        let shown = tokio::spawn(show(receiver, self.out.clone()));
        let loaded = self.chat.load(&self.args.model, &self.load, &events, &self.cancelled).await;
        drop(events);
        let _ = shown.await;
        Ok(loaded?)
    }

    async fn take_turn(&mut self, text: String) -> Result<TurnOutcome, Failure> {
        let ask = match self.conversation {
            None => Ask::Begin { text, system: self.args.system.clone() },
            Some(conversation) => Ask::Continue { conversation, parent: self.parent.take(), text },
        };
        let request = request(self.args, ask, self.load.clone());
        let (events, receiver) = mpsc::channel(64);
        let shown = tokio::spawn(show(receiver, self.out.clone()));
        let result = self.chat.take_turn(request, events, self.cancelled.clone()).await;
        // The task ends when the turn has dropped its sender.
        let kept = shown.await.ok().flatten();
        result.map_err(|error| {
            let failure = Failure::from(error);
            match kept {
                Some((conversation, message)) => failure.at(conversation, message),
                None => failure,
            }
        })
    }
}

fn prompts(args: &args::Chat) -> Result<Vec<String>, Failure> {
    let Some(file) = &args.prompt_file else { return Ok(args.prompt.clone()) };
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    let failed = |why: &str, remedy: &str| {
        let what = format!("The message could not be read from {}: {why}.", file.display());
        Failure::new("prompt_unreadable", what, remedy)
    };
    read.map_err(|error| failed(&error.to_string(), "Check the file's path and permissions."))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text", "Save it as UTF-8."))?;
    Ok(vec![text])
}

fn request(args: &args::Chat, ask: Ask, load: LoadOptions) -> TurnRequest {
    TurnRequest {
        ask,
        model: args.model.clone(),
        load,
        sampling: SamplingOptions {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            repeat_penalty: args.repeat_penalty,
            seed: args.seed,
        },
        max_tokens: args.max_tokens,
        stop: args.stop.clone(),
        snapshots: !args.no_snapshots,
    }
}

/// Shows what happens, and gives back where the person's message was kept.
async fn show(mut events: mpsc::Receiver<TurnEvent>, out: Out) -> Option<(ConversationId, NodeId)> {
    let mut kept = None;
    while let Some(event) = events.recv().await {
        match event {
            TurnEvent::Text { text, .. } => out.stream(&text),
            TurnEvent::Kept { conversation, message } => {
                out.step(&format!("kept {conversation} {message}"));
                kept = Some((conversation, message));
            }
            TurnEvent::Queued => out.step("waiting for another turn"),
            TurnEvent::Loading { fraction } => out.step(&format!("loading {:.0} %", fraction * 100.0)),
            TurnEvent::Resumed { path, reason } => {
                let why = reason.map(|reason| format!(": {}", reason.message)).unwrap_or_default();
                out.step(&format!("ready, {path:?}{why}").to_lowercase());
            }
            TurnEvent::Prepared { tokens, reused } => {
                out.step(&format!("prompt of {tokens} tokens, {reused} of them live"));
            }
            TurnEvent::Reading { done, of } => out.step(&format!("read {done} of {of} tokens")),
            TurnEvent::Answering { node } => out.step(&format!("answering {node}")),
            TurnEvent::Retrying { error } => out.tell(&format!("{error} Trying once more.")),
            TurnEvent::NotKept { message, .. } => out.tell(&message),
        }
    }
    kept
}

fn summary(turn: &TurnOutcome, saved: Option<&SavedState>) -> String {
    let receipt = &turn.receipt;
    let why = receipt.reason.as_ref().map(|reason| format!(" · {}", reason.message)).unwrap_or_default();
    let reused = grouped(u64::from(receipt.tokens_reused));
    let total = grouped(u64::from(receipt.tokens_total));
    let what = match receipt.path {
        ResumePath::Fresh => format!("Started from the text, {total} tokens in {}", duration(receipt.ms)),
        ResumePath::Live => {
            format!("Continued with {reused} of {total} tokens live, ready in {}", duration(receipt.ms))
        }
        ResumePath::Restored => {
            format!("Resumed {reused} of {total} tokens in {} · verified", duration(turn.timing.resume_ms))
        }
        ResumePath::Replayed => format!("Replayed {total} tokens in {}{why}", duration(receipt.ms)),
    };
    let rate = turn.timing.decode_tok_s.map(|rate| format!(" · {rate:.0} tokens/s")).unwrap_or_default();
    let end = match turn.stop {
        StopReason::End => "",
        StopReason::Length => " · ended at the limit",
        StopReason::Cancelled => " · stopped",
    };
    let saved = saved.map(|saved| format!(" · saved in {}", duration(saved.ms))).unwrap_or_default();
    format!("[{what}{rate}{end}{saved} · conversation {}]", turn.conversation)
}
